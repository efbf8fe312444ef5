//! A child process is reported from start to end: output, pipes and exit, once each and in order.

use std::cell::RefCell;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::rc::Rc;
use std::{fs, io};

use crate::process::{REAL, Seen, Watcher, run, said, spawn, spawn_and, zombies};
use crate::world::child::test_path;
use crate::world::folder::Folder;
use crate::world::on_the_real_network;
use crate::world::strace::under_strace;
use twistor::{
    ChildStream, Error, ExitReason, ProcessProtocol, ProcessSignal, ProcessTransport, SpawnFault,
    SpawnProcess,
};

#[test]
fn a_process_that_says_something_and_exits_is_told_of_in_order() {
    on_the_real_network(REAL, |world| {
        let reactor = &mut world.reactor();
        let seen = run(world, reactor, SpawnProcess::shell("echo out; echo err >&2"));
        let at = |what: &str| {
            seen.iter().position(|seen| seen == what).unwrap_or_else(|| panic!("no {what:?}: {seen:?}"))
        };
        assert_eq!(at("started"), 0, "{seen:?}");
        assert!(at("out out\\n") < at("lost out"), "{seen:?}");
        assert!(at("err err\\n") < at("lost err"), "{seen:?}");
        assert_eq!(at("ended: exited"), 7, "each once, and this is the last: {seen:?}");
        assert!(at("lost in badly") < 7 && at("exited: exited") < 7, "{seen:?}");
        assert_eq!(reactor.statistics().spawns, 1);
        assert_eq!((reactor.statistics().connections, reactor.statistics().processes), (0, 0));
    });
}

#[test]
fn what_is_written_is_its_input_and_closing_it_is_the_end_of_it() {
    on_the_real_network(REAL, |world| {
        let reactor = &mut world.reactor();
        let seen = spawn_and(reactor, SpawnProcess::new("cat", [""; 0]), |process| {
            assert!(process.pid().is_some());
            process.write_sequence(&[b"one ", b"two"]);
            process.close_stdin();
            process.write(b"never");
        });
        world.run_until(reactor, "the end of cat", |_| seen.ended());
        assert!(seen.place("lost in") < seen.place("lost out"));
        assert!(seen.place("out one two") < seen.place("lost out"));
        assert_eq!(seen.all().last().unwrap(), "ended: exited");
    });
}

#[test]
fn an_exit_code_and_a_signal_are_told_apart() {
    on_the_real_network(REAL, |world| {
        let reactor = &mut world.reactor();
        let seen = run(world, reactor, SpawnProcess::shell("exit 3"));
        assert_eq!(seen.last().unwrap(), "ended: exited with code 3");
        let seen = run(world, reactor, SpawnProcess::shell("kill -TERM $$"));
        assert_eq!(seen.last().unwrap(), "ended: killed by SIGTERM");
        let seen = spawn_and(reactor, SpawnProcess::new("sleep", ["1000"]), |process| {
            process.signal(ProcessSignal::HANGUP).unwrap();
        });
        world.run_until(reactor, "the end of sleep", |_| seen.ended());
        assert_eq!(seen.all().last().unwrap(), "ended: killed by SIGHUP");
    });
}

#[test]
fn a_program_that_cannot_be_run_is_an_error_that_names_it() {
    on_the_real_network(REAL, |world| {
        let reactor = &mut world.reactor();
        let watcher = || Watcher { seen: Seen::default(), started: Box::new(|_| unreachable!()) };
        let missing = SpawnProcess::new("/no/such/program", [""; 0]);
        let error = reactor.spawn_process(missing, watcher()).unwrap_err();
        assert!(matches!(error, Error::CannotSpawn { .. }));
        assert!(error.to_string().starts_with("cannot run /no/such/program: No such file"), "{error}");
        let directory = SpawnProcess::new("/etc", [""; 0]);
        let error = reactor.spawn_process(directory, watcher()).unwrap_err();
        assert!(error.to_string().starts_with("cannot run /etc: Permission denied"), "{error}");
        let place =
            SpawnProcess { directory: Some("/no/where".into()), ..SpawnProcess::new("true", [""; 0]) };
        let error = reactor.spawn_process(place, watcher()).unwrap_err();
        let said = "cannot run true: the working directory /no/where: No such file";
        assert!(error.to_string().starts_with(said), "{error}");
        assert_eq!((reactor.resource_count(), zombies()), (0, 0));
        assert_eq!(reactor.statistics().spawn_failures, 3);
    });
}

#[test]
fn what_is_at_fault_is_named() {
    on_the_real_network(REAL, |world| {
        let reactor = &mut world.reactor();
        let folder = Folder::new();
        let write = |name: &str, text: &str, mode: u32| {
            let path = folder.path(name);
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            path
        };
        let script = write("script", "#!/no/interpreter -x\n", 0o755);
        let nested = write("nested", &format!("#!{}\n", script.display()), 0o755);
        let plain = write("plain", "echo\n", 0o644);
        let by_plain = write("by_plain", &format!("#! {} x\n", plain.display()), 0o755);
        let program = |path: &Path| SpawnProcess::new(path, [""; 0]);
        let within = |path: &Path, place: &Path| SpawnProcess {
            directory: Some(place.to_owned()),
            ..SpawnProcess::new(path, [""; 0])
        };
        let truth = Path::new("true");
        let interpreter = SpawnFault::Interpreter("/no/interpreter".into());
        let mut cases = vec![
            (program(&folder.path("none")), SpawnFault::Program, io::ErrorKind::NotFound),
            (program(Path::new("no-such-program")), SpawnFault::Program, io::ErrorKind::NotFound),
            (program(&plain), SpawnFault::Program, io::ErrorKind::PermissionDenied),
            (program(&plain.join("x")), SpawnFault::Program, io::ErrorKind::NotADirectory),
            (program(&script), interpreter.clone(), io::ErrorKind::NotFound),
            (program(&nested), interpreter.clone(), io::ErrorKind::NotFound),
            (within(Path::new("./script"), folder.itself()), interpreter, io::ErrorKind::NotFound),
            (program(&by_plain), SpawnFault::Interpreter(plain.clone()), io::ErrorKind::PermissionDenied),
            (within(Path::new("./none"), folder.itself()), SpawnFault::Program, io::ErrorKind::NotFound),
        ];
        for (place, kind) in [
            (folder.path("none"), io::ErrorKind::NotFound),
            (plain.clone(), io::ErrorKind::NotADirectory),
            (plain.join("x"), io::ErrorKind::NotADirectory),
        ] {
            // The second program is missing, too, but the directory fails first.
            for path in [truth, Path::new("/no/such/program")] {
                cases.push((within(path, &place), SpawnFault::Directory(place.clone()), kind));
            }
        }
        let closed = folder.path("closed");
        fs::create_dir(&closed).unwrap();
        fs::set_permissions(&closed, fs::Permissions::from_mode(0o600)).unwrap();
        let refused = io::ErrorKind::PermissionDenied;
        if rustix::process::geteuid().is_root() {
            let other = SpawnProcess { user: Some(54_321), ..within(truth, &closed) };
            cases.push((other, SpawnFault::Directory(closed.clone()), refused));
        } else {
            cases.push((within(truth, &closed), SpawnFault::Directory(closed.clone()), refused));
            let other = SpawnProcess { user: Some(0), ..program(truth) };
            cases.push((other, SpawnFault::User(0), refused));
            let other = SpawnProcess { group: Some(0), ..program(truth) };
            cases.push((other, SpawnFault::Group(0), refused));
        }
        for (what, expected, kind) in cases {
            let shown = format!("{what:?}");
            let watcher = Watcher { seen: Seen::default(), started: Box::new(|_| unreachable!()) };
            match reactor.spawn_process(what, watcher).unwrap_err() {
                Error::CannotSpawn { program, fault, source } => {
                    // A directory of PATH that this user may not search could contain the program.
                    let hidden = program == "no-such-program" && source.kind() == refused;
                    let found = if hidden { kind } else { source.kind() };
                    assert_eq!((fault, found), (expected, kind), "{shown}");
                }
                other => panic!("{shown}: {other}"),
            }
        }
        fs::set_permissions(&closed, fs::Permissions::from_mode(0o700)).unwrap();
        let owned = write("owned", "#!/no/\u{1b}]0;owned\u{7}\n", 0o755);
        let watcher = Watcher { seen: Seen::default(), started: Box::new(|_| unreachable!()) };
        let said = reactor.spawn_process(program(&owned), watcher).unwrap_err().to_string();
        assert!(said.contains(r"its interpreter /no/\u{1b}]0;owned\u{7}: "), "{said}");
    });
}

#[test]
#[cfg(target_os = "linux")]
fn ignored_signals_have_their_default_action_in_children() {
    let name = test_path(ignored_signals_have_their_default_action_in_children);
    // Not every shell passes on an ignored SIGCHLD.
    let ignored = "exec env --ignore-signal=CHLD,HUP,INT,PIPE,TTOU,USR1 \"$0\" \"$@\";";
    crate::world::child::alone(name, ignored, || {
        let ignores = |signal: ProcessSignal| {
            let status = fs::read_to_string("/proc/self/status").unwrap();
            let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap();
            u64::from_str_radix(mask.trim(), 16).unwrap() >> (signal.number() - 1) & 1 == 1
        };
        assert!(ignores(ProcessSignal::CHILD) && ignores(ProcessSignal::PIPE));
        let mut reactor = twistor::Reactor::new().unwrap();
        let missing = Watcher { seen: Seen::default(), started: Box::new(|_| unreachable!()) };
        let error = reactor.spawn_process(SpawnProcess::new("/no/such/program", [""; 0]), missing);
        assert!(error.unwrap_err().to_string().starts_with("cannot run /no/such/program: No such file"));
        let all: Vec<Seen> = (0..60).map(|_| spawn(&mut reactor, SpawnProcess::shell("exit 3"))).collect();
        let line = "while read name mask; do [ $name = SigIgn: ] && echo $mask; done </proc/self/status";
        let inherited = spawn(&mut reactor, SpawnProcess::shell(line));
        while !all.iter().chain([&inherited]).all(Seen::ended) {
            reactor.iterate(None).unwrap();
        }
        for seen in all {
            assert_eq!(seen.all().last().unwrap(), "ended: exited with code 3");
        }
        let all = inherited.all();
        let mask = all.iter().find_map(|seen| seen.strip_prefix("out ")).unwrap();
        let mask = u64::from_str_radix(mask.trim_end_matches("\\n"), 16).unwrap();
        let ignores = |signal: ProcessSignal| mask >> (signal.number() - 1) & 1 == 1;
        assert!(!ignores(ProcessSignal::CHILD) && !ignores(ProcessSignal::PIPE), "{mask:x}");
        // A background process that ignores SIGTTOU may write to its terminal, and so may its
        // children.
        assert!(ignores(ProcessSignal::numbered(rustix::process::Signal::TTOU.as_raw())), "{mask:x}");
        for signal in [ProcessSignal::HANGUP, ProcessSignal::INTERRUPT, ProcessSignal::USER1] {
            let seen = spawn_and(&mut reactor, SpawnProcess::new("sleep", ["1000"]), move |process| {
                process.signal(signal).unwrap();
            });
            while !seen.ended() {
                reactor.iterate(None).unwrap();
            }
            assert_eq!(seen.all().last().unwrap(), &format!("ended: killed by {signal}"));
        }
    });
}

/// A library that waits for all children takes their exit codes away, without other effects.
#[test]
fn a_child_that_another_waits_for_runs_and_ends() {
    crate::world::child::alone(test_path(a_child_that_another_waits_for_runs_and_ends), "", || {
        std::thread::spawn(|| {
            let options = rustix::process::WaitIdOptions::EXITED;
            loop {
                let _ = rustix::process::waitid(rustix::process::WaitId::All, options);
            }
        });
        let mut reactor = twistor::Reactor::new().unwrap();
        for _ in 0..60 {
            let seen = spawn(&mut reactor, SpawnProcess::shell("echo out; exit 3"));
            while !seen.ended() {
                reactor.iterate(None).unwrap();
            }
            let all = seen.all();
            assert!(all.contains(&"out out\\n".to_owned()), "{all:?}");
            let last = all.last().unwrap();
            assert!(last == "ended: exited with code 3" || last.ends_with("exit status unknown"), "{last}");
        }
    });
}

#[test]
fn a_signal_after_the_exit_is_an_error() {
    on_the_real_network(REAL, |world| {
        struct Late(Rc<RefCell<Option<String>>>);
        impl ProcessProtocol for Late {
            fn process_exited(&mut self, process: &mut ProcessTransport<'_>, _: &ExitReason) {
                let error = process.signal(ProcessSignal::KILL).unwrap_err();
                assert!(!process.kill());
                *self.0.borrow_mut() = Some(error.to_string());
            }
        }
        let reactor = &mut world.reactor();
        let error = Rc::default();
        let id = reactor.spawn_process(SpawnProcess::shell("exit"), Late(Rc::clone(&error))).unwrap();
        world.run_until_idle(reactor);
        assert_eq!(error.borrow().as_deref(), Some("the process has exited"));
        assert!(reactor.process_transport(id).is_none());
    });
}

#[test]
fn a_grandchild_holding_the_output_delays_the_end_not_the_exit() {
    on_the_real_network(REAL, |world| {
        let reactor = &mut world.reactor();
        // The grandchild waits for a line on descriptor 3, which is the shell's standard input.
        let line = "exec 3<&0; { read line <&3; echo late; } & exit 0";
        let seen = Seen::default();
        let protocol = Watcher { seen: seen.clone(), started: Box::new(|_| {}) };
        let id = reactor.spawn_process(SpawnProcess::shell(line), protocol).unwrap();
        world.run_until(reactor, "the exit", |_| seen.all().iter().any(|seen| seen == "exited: exited"));
        assert!(!seen.ended());
        reactor.process_transport(id).unwrap().write(b"go\n");
        world.run_until(reactor, "the end", |_| seen.ended());
        assert!(seen.place("exited: exited") < seen.place("out late\\n"), "{:?}", seen.all());
        world.run_until_idle(reactor);
    });
}

#[test]
fn streams_can_be_nothing_or_a_descriptor_and_then_are_no_pipes() {
    on_the_real_network(REAL, |world| {
        let reactor = &mut world.reactor();
        let (read, write) = std::io::pipe().unwrap();
        let what = SpawnProcess {
            stdin: ChildStream::Null,
            stdout: ChildStream::from(std::os::fd::OwnedFd::from(write)),
            stderr: ChildStream::Null,
            ..SpawnProcess::shell("cat; echo to the descriptor; echo lost >&2")
        };
        let seen = run(world, reactor, what);
        assert_eq!(seen, ["started", "exited: exited", "ended: exited"]);
        assert_eq!(std::io::read_to_string(read).unwrap(), "to the descriptor\n");
    });
}

#[test]
fn environment_directory_and_name_are_what_was_asked_for() {
    on_the_real_network(REAL, |world| {
        let reactor = &mut world.reactor();
        let what = SpawnProcess {
            inherit_environment: false,
            environment: vec![("COLOUR".into(), "red".into())],
            directory: Some("/usr".into()),
            name: Some("another".into()),
            ..SpawnProcess::shell("pwd; echo $0 $COLOUR ${HOME-none}")
        };
        let seen = run(world, reactor, what);
        let said = said(&seen);
        assert_eq!(said, "/usr\\nanother red none\\n");
        let what =
            SpawnProcess { without: vec!["PATH".into()], ..SpawnProcess::new("/usr/bin/env", [""; 0]) };
        let seen = run(world, reactor, what);
        assert!(
            !seen.iter().any(|seen| seen.contains("\\nPATH=") || seen.starts_with("out PATH=")),
            "{seen:?}"
        );
    });
}

#[test]
fn a_child_has_nothing_open_but_its_standard_streams() {
    on_the_real_network(REAL, |world| {
        // Descriptors that this program itself inherited without close-on-exec are not counted.
        let list = "cd /proc/self/fd; echo *";
        let plain = std::process::Command::new("/bin/sh").args(["-c", list]).output().unwrap();
        let reactor = &mut world.reactor();
        let held = spawn(reactor, SpawnProcess::new("sleep", ["1000"]));
        let _listener = world.listen();
        let listed = spawn(reactor, SpawnProcess::shell(list));
        world.run_until(reactor, "the end of the shell", |_| listed.ended());
        assert_eq!(
            said(&listed.all()),
            String::from_utf8(plain.stdout).unwrap().escape_default().to_string()
        );
        for id in reactor.processes() {
            assert!(reactor.process_transport(id).unwrap().kill());
        }
        world.run_until(reactor, "the end of sleep", |_| held.ended());
        world.run_until_idle(reactor);
    });
}

#[test]
fn user_and_group_are_what_was_asked_for_if_we_may() {
    on_the_real_network(REAL, |world| {
        let reactor = &mut world.reactor();
        let what = SpawnProcess {
            user: Some(65_534),
            group: Some(65_533),
            ..SpawnProcess::shell("id -u; id -g; id -G")
        };
        if rustix::process::geteuid().is_root() {
            assert_eq!(said(&run(world, reactor, what)), "65534\\n65533\\n65533\\n");
        } else {
            let protocol = Watcher { seen: Seen::default(), started: Box::new(|_| unreachable!()) };
            let error = reactor.spawn_process(what, protocol).unwrap_err();
            assert!(error.to_string().starts_with("cannot run /bin/sh: "), "{error}");
        }
    });
}

#[test]
fn without_descriptors_of_processes_it_is_all_the_same() {
    let test = test_path(without_descriptors_of_processes_it_is_all_the_same);
    let tampering = "-e trace=pidfd_open -e inject=pidfd_open:error=ENOSYS";
    let traced = under_strace(test, tampering, |world| {
        let reactor = &mut world.reactor();
        let seen = run(world, reactor, SpawnProcess::shell("echo out; exit 3"));
        assert_eq!(
            (said(&seen), seen.last().unwrap().as_str()),
            ("out\\n".to_owned(), "ended: exited with code 3")
        );
        let killed = spawn_and(reactor, SpawnProcess::new("sleep", ["1000"]), |process| {
            assert!(process.kill());
        });
        world.run_until(reactor, "its end", |_| killed.ended());
        assert_eq!(killed.all().last().unwrap(), "ended: killed by SIGKILL");
        // A child without any other activity is waited for as well.
        let stays = SpawnProcess { kill_on_stop: true, ..SpawnProcess::new("sleep", ["1000"]) };
        spawn(reactor, stays);
        reactor.iterate(Some(std::time::Duration::ZERO)).unwrap();
        *reactor = world.reactor();
        assert_eq!(zombies(), 0);
    });
    assert!(traced.is_none_or(|traced| traced.matches("INJECTED").count() == 3));
}
