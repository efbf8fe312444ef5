//! A program is one line: `run` starts its service, ends it when it is told to, and leaves nothing behind.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::process;
use std::time::Duration;

use crate::world::child::test_path;
use crate::world::child::{self, Child};
use crate::world::folder::Folder;
use crate::world::{idle_protocol, on_the_real_network};
use rustix::process::Signal;
use twistor::Failure;
use twistor::service::{MultiService, RunSettings, Service, ServiceError, StopToken, TimerService};
use twistor::service::{StreamServerService, notify_status, run_with};
use twistor::{ListenTcp, Reactor};

const OWN_PROCESS: &str = "it is about a process, from its start to its exit code";

/// Says what it is told.
struct Says {
    /// How long it takes to stop; `None`: for ever.
    stopping: Option<Duration>,
    failing: Option<&'static str>,
}

const SAYS: Says = Says { stopping: Some(Duration::ZERO), failing: None };

impl Service for Says {
    fn privileged_start(&mut self, _: &mut Reactor) -> Result<(), Failure> {
        eprintln!("privileged {}", rustix::process::geteuid().as_raw());
        Ok(())
    }

    fn start(&mut self, reactor: &mut Reactor) -> Result<(), Failure> {
        eprintln!("starts {}", rustix::process::geteuid().as_raw());
        reactor.call_when_running(|_| eprintln!("runs"));
        self.failing.map_or(Ok(()), |why| Err(Failure::new(why)))
    }

    fn stop(&mut self, reactor: &mut Reactor, stopped: StopToken) {
        eprintln!("stops");
        match self.stopping {
            Some(delay) => {
                reactor.call_later(delay, move |_| {
                    eprintln!("has stopped");
                    drop(stopped);
                });
            }
            None => std::mem::forget(stopped),
        }
    }

    fn reload(&mut self, _: &mut Reactor) {
        eprintln!("reloads");
        let _ = notify_status("as good\nas new");
    }
}

/// Runs a program in a child, which this test is then: it ends with its exit code.
fn program(test: &str, first: &str, settings: RunSettings, service: impl Service) -> Child {
    match child::begin(test, first) {
        Some(child) => child,
        None => {
            let code = run_with(settings, service);
            // What an ExitCode is, it only tells the system.
            let code =
                (0..=2).find(|other| format!("{code:?}") == format!("{:?}", process::ExitCode::from(*other)));
            process::exit(code.map_or(99, i32::from));
        }
    }
}

#[test]
fn a_signal_stops_it_gracefully_and_its_exit_code_is_0() {
    on_the_real_network(OWN_PROCESS, |_| {
        for signal in [Signal::TERM, Signal::INT] {
            let test = test_path(a_signal_stops_it_gracefully_and_its_exit_code_is_0);
            let mut child = program(test, "", RunSettings::default(), SAYS);
            child.says("runs");
            child.kill(signal);
            child.says("stops");
            child.says("has stopped");
            assert_eq!(child.code(), 0);
        }
    });
}

#[test]
fn a_second_signal_ends_it_at_once() {
    on_the_real_network(OWN_PROCESS, |_| {
        let service = Says { stopping: None, ..SAYS };
        let mut child =
            program(test_path(a_second_signal_ends_it_at_once), "", RunSettings::default(), service);
        child.says("runs");
        child.kill(Signal::TERM);
        child.says("stops");
        child.kill(Signal::TERM);
        child.dies_of(Signal::TERM);
    });
}

#[test]
fn a_service_that_does_not_stop_in_time_exits_with_code_1() {
    on_the_real_network(OWN_PROCESS, |_| {
        let settings = RunSettings { stop_timeout: Duration::from_millis(20), ..RunSettings::default() };
        let test = test_path(a_service_that_does_not_stop_in_time_exits_with_code_1);
        let mut child = program(test, "", settings, Says { stopping: None, ..SAYS });
        child.says("runs");
        child.kill(Signal::TERM);
        child.complains("the services have not stopped within 20ms");
        assert_eq!(child.code(), 1);
    });
}

#[test]
fn a_service_that_fails_to_start_is_stopped_and_exits_with_1() {
    on_the_real_network(OWN_PROCESS, |_| {
        let test = test_path(a_service_that_fails_to_start_is_stopped_and_exits_with_1);
        let folder = Folder::shared_with_child(test);
        let path = folder.path("manager");
        let manager = (!child::inside()).then(|| UnixDatagram::bind(&path).unwrap());
        let services = MultiService::new();
        let slow = Duration::from_millis(5);
        services.add(Says { stopping: Some(slow), failing: None }).unwrap();
        services.add(Says { failing: Some("no more paper"), ..SAYS }).unwrap();
        let first = format!("export NOTIFY_SOCKET='{}';", path.display());
        let mut child = program(test, &first, RunSettings::default(), services);
        for line in ["stops", "has stopped", "stops", "has stopped"] {
            child.says(line);
        }
        child.complains("service 2 (Says): no more paper");
        assert_eq!(child.code(), 1);
        // It was never ready.
        let mut said = [0; 200];
        let mut next = || {
            let length = manager.as_ref().unwrap().recv(&mut said).unwrap();
            String::from_utf8_lossy(&said[..length]).into_owned()
        };
        assert_eq!(next(), "STOPPING=1\nSTATUS=stopping");
        assert_eq!(next(), "STATUS=service 2 (Says): no more paper");
    });
}

#[test]
fn what_its_user_can_put_right_has_exit_code_2() {
    on_the_real_network(OWN_PROCESS, |_| {
        let test = test_path(what_its_user_can_put_right_has_exit_code_2);
        let case = std::env::var("CASE").unwrap_or_default();
        let settings = RunSettings {
            user: (case == "user").then(|| "no user of this name".to_owned()),
            group: (case == "group").then(|| "no group of this name".to_owned()),
            pid_file: (case == "pid").then(|| "/nowhere/at/all.pid".into()),
            ..RunSettings::default()
        };
        struct NamesTwice;
        impl Service for NamesTwice {
            fn start(&mut self, _: &mut Reactor) -> Result<(), Failure> {
                Err(ServiceError::NameTaken("web".to_owned()).into())
            }
        }
        struct BadAddress;
        impl Service for BadAddress {
            fn start(&mut self, reactor: &mut Reactor) -> Result<(), Failure> {
                reactor.listen_tcp("somewhere", idle_protocol)?;
                Ok(())
            }
        }
        struct BadEndpoint;
        impl Service for BadEndpoint {
            fn start(&mut self, _: &mut Reactor) -> Result<(), Failure> {
                twistor::endpoint::server_from_string("pigeon:80")?;
                Ok(())
            }
        }
        let service: Box<dyn Service> = match case.as_str() {
            "name" => Box::new(NamesTwice),
            "endpoint" => Box::new(BadEndpoint),
            _ => Box::new(BadAddress),
        };
        for (case, complaint) in [
            ("user", "there is no user \"no user of this name\""),
            ("group", "there is no group \"no group of this name\""),
            ("pid", "pid file /nowhere/at/all.pid: No such file or directory (os error 2)"),
            ("name", "the service name \"web\" is taken"),
            ("endpoint", "bad endpoint \"pigeon:80\""),
            ("address", "bad address \"somewhere\": the port is missing; write HOST:PORT"),
        ] {
            // In the child this is the first and last round.
            let first = format!("export CASE={case};");
            if child::inside() {
                return drop(program(test, "", settings, service));
            }
            let mut child = child::begin(test, &first).unwrap();
            child.complains(complaint);
            assert_eq!(child.code(), 2, "{case}");
        }
    });
}

#[test]
fn the_pid_file_exists_while_running_and_replaces_a_stale_one() {
    on_the_real_network(OWN_PROCESS, |_| {
        let test = test_path(the_pid_file_exists_while_running_and_replaces_a_stale_one);
        let folder = Folder::shared_with_child(test);
        let file = folder.path("program.pid");
        let settings = || RunSettings { pid_file: Some(file.clone()), ..RunSettings::default() };
        let dead = match child::inside() {
            true => 0,
            false => {
                let mut short = process::Command::new("true").spawn().unwrap();
                short.wait().unwrap();
                short.id()
            }
        };
        for stale in [None, Some(format!("{dead}\n")), Some(String::new())] {
            if let Some(text) = stale.filter(|_| !child::inside()) {
                fs::write(&file, text).unwrap();
            }
            let mut first = program(test, "", settings(), SAYS);
            first.says("runs");
            assert_eq!(fs::read_to_string(&file).unwrap(), format!("{}\n", first.id()));

            // A second one is refused, and takes nothing away.
            let mut second = program(test, "", settings(), SAYS);
            second.complains(&format!(
                "already running: process {}, according to {}",
                first.id(),
                file.display()
            ));
            assert_eq!(second.code(), 1);
            assert_eq!(fs::read_to_string(&file).unwrap(), format!("{}\n", first.id()));

            first.kill(Signal::TERM);
            assert_eq!(first.code(), 0);
            assert_eq!(fs::read_dir(file.parent().unwrap()).unwrap().count(), 0, "something is left");
        }
        // What is no pid file is not touched.
        fs::write(&file, "my novel").unwrap();
        let mut child = program(test, "", settings(), SAYS);
        child.complains(&format!(
            "pid file {}: the file exists and does not contain a process id",
            file.display()
        ));
        assert_eq!(child.code(), 2);
        assert_eq!(fs::read_to_string(&file).unwrap(), "my novel");
    });
}

#[test]
fn hangup_reloads_and_the_service_manager_is_told_everything() {
    on_the_real_network(OWN_PROCESS, |_| {
        let test = test_path(hangup_reloads_and_the_service_manager_is_told_everything);
        let folder = Folder::shared_with_child(test);
        let path = folder.path("manager");
        let mut manager = None;
        if !child::inside() {
            let socket = UnixDatagram::bind(&path).unwrap();
            socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            manager = Some(socket);
        }
        let first = format!("export NOTIFY_SOCKET='{}' WATCHDOG_USEC=20000;", path.display());
        let mut child = program(test, &first, RunSettings::default(), SAYS);
        let manager = manager.unwrap();
        let hears = |words: &str| hear(&manager, words);
        hears("READY=1\nSTATUS=running");
        for _ in 0..3 {
            hears("WATCHDOG=1");
        }
        child.kill(Signal::HUP);
        hears("RELOADING=1\nMONOTONIC_USEC=");
        hears("STATUS=as good as new");
        hears("READY=1");
        child.says("reloads");
        child.kill(Signal::TERM);
        hears("STOPPING=1");
        assert_eq!(child.code(), 0);
    });
}

#[test]
fn a_manager_may_use_an_abstract_name_be_slow_or_be_absent() {
    on_the_real_network(OWN_PROCESS, |_| {
        use std::os::linux::net::SocketAddrExt;
        use std::os::unix::net::SocketAddr;

        let test = test_path(a_manager_may_use_an_abstract_name_be_slow_or_be_absent);
        let name = format!("twistor-manager-{}", process::id());
        let mut manager = None;
        if !child::inside() {
            let address = SocketAddr::from_abstract_name(&name).unwrap();
            let socket = UnixDatagram::bind_addr(&address).unwrap();
            socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            manager = Some(socket);
        }
        let first = format!("export NOTIFY_SOCKET=@{name} WATCHDOG_USEC=2;");
        let mut child = program(test, &first, RunSettings::default(), SAYS);
        child.says("runs");
        let manager = manager.unwrap();
        hear(&manager, "READY=1\nSTATUS=running");
        // More than its queue takes; nothing of it is lost, but for the watchdog's and for what the service tells by itself.
        for _ in 0..10 {
            child.kill(Signal::HUP);
            child.says("reloads");
        }
        for _ in 0..10 {
            hear(&manager, "RELOADING=1\n");
            hear(&manager, "READY=1\n");
        }
        child.kill(Signal::TERM);
        hear(&manager, "STOPPING=1");
        assert_eq!(child.code(), 0);

        for socket in ["/nowhere/at/all", "vsock:2:1234", "@", ""] {
            let mut child =
                program(test, &format!("export NOTIFY_SOCKET={socket};"), RunSettings::default(), SAYS);
            child.says("runs");
            child.kill(Signal::TERM);
            assert_eq!(child.code(), 0);
        }
    });
}

/// Waits for a word; those of the watchdog and of the service itself may come in between.
fn hear(manager: &UnixDatagram, words: &str) {
    let mut buffer = [0; 4096];
    loop {
        let length = manager.recv(&mut buffer).unwrap_or_else(|error| panic!("no {words:?}: {error}"));
        let text = String::from_utf8_lossy(&buffer[..length]);
        if text.starts_with(words) {
            return;
        }
        assert!(text == "WATCHDOG=1" || text.starts_with("STATUS="), "{text:?} instead of {words:?}");
    }
}

#[test]
fn privileges_are_dropped_for_good_between_the_start_phases() {
    on_the_real_network(OWN_PROCESS, |_| {
        let test = test_path(privileges_are_dropped_for_good_between_the_start_phases);
        if !rustix::process::geteuid().is_root() && !child::inside() {
            return eprintln!("skipped: only root has privileges to give up");
        }

        /// Says what it is by the system's own account.
        struct Looks;
        impl Service for Looks {
            fn start(&mut self, _: &mut Reactor) -> Result<(), Failure> {
                for line in fs::read_to_string("/proc/self/status")?.lines() {
                    if ["Uid:", "Gid:", "Groups:"].iter().any(|key| line.starts_with(key)) {
                        eprintln!("{}", line.split_whitespace().collect::<Vec<_>>().join(" "));
                    }
                }
                eprintln!("looked");
                Ok(())
            }
        }

        let folder = Folder::shared_with_child(test);
        let pid_file = folder.path("program.pid");
        let case = std::env::var("CASE").unwrap_or_default();
        let user = match case.as_str() {
            "name" => "nobody",
            "number" => "54321",
            _ => "54322",
        };
        let settings = RunSettings {
            user: (case != "group").then(|| user.to_owned()),
            group: (case == "number" || case == "group").then(|| "54321".to_owned()),
            pid_file: Some(pid_file.clone()),
            ..RunSettings::default()
        };
        if child::inside() {
            let services = MultiService::new();
            services.add(SAYS).unwrap();
            let port = StreamServerService::new(ListenTcp::new(([127, 0, 0, 1], 0)), idle_protocol);
            services.add(port).unwrap();
            services.add(Looks).unwrap();
            return drop(program(test, "", settings, services));
        }
        let begin = |case: &str| child::begin(test, &format!("export CASE={case};")).unwrap();
        for (case, lines) in [
            (
                "number",
                [
                    "privileged 0",
                    "starts 54321",
                    "Uid: 54321 54321 54321 54321",
                    "Gid: 54321 54321 54321 54321",
                    "Groups: 54321",
                ],
            ),
            (
                "group",
                ["privileged 0", "starts 0", "Uid: 0 0 0 0", "Gid: 54321 54321 54321 54321", "Groups: 54321"],
            ),
        ] {
            let mut child = begin(case);
            for line in lines {
                child.says(line);
            }
            child.says("looked");
            child.kill(Signal::TERM);
            assert_eq!(child.code(), 0, "{case}");
            // The user cannot take it out of root's folder, but leaves it to the next one.
            assert_eq!(fs::read_to_string(&pid_file).unwrap_or_default(), "");
        }
        let mut child = begin("name");
        child.says("privileged 0");
        child.says("looked");
        child.kill(Signal::TERM);
        assert_eq!(child.code(), 0);

        let mut child = begin("unknown");
        child.complains("user 54322 is not known to this system: specify a group as well");
        assert_eq!(child.code(), 2);
    });
}

#[test]
fn a_service_that_ends_the_reactor_ends_the_program() {
    on_the_real_network(OWN_PROCESS, |_| {
        let test = test_path(a_service_that_ends_the_reactor_ends_the_program);
        let once = TimerService::new(Duration::from_secs(60), |reactor, _| {
            reactor.stop();
        });
        let child = program(test, "", RunSettings::default(), once);
        assert_eq!(child.code(), 0);
    });
}
