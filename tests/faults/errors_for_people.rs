//! Errors go to other threads, say everything once along their chain, and find a program that has set no logger.

use crate::world::Turn;
use crate::world::child::test_path;
use std::collections::BTreeSet;
use std::error::Error;
use std::fs;
use std::io::{self, BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use twistor::deferred;
use twistor::service::MultiService;
use twistor::{
    ClientFactory, Deferred, Failure, LayerError, Protocol, ProtocolError, Reactor, Reason, Transport,
    error_chain, framing, http, load, monitor, policy, service, sim, stream, task, traffic,
};

struct Nothing;

impl Protocol for Nothing {
    fn data_received(&mut self, _: &mut Transport<'_>, _: &[u8]) {}
}

/// The name of a type of errors that `?` in a function of `anyhow` takes.
fn travels<T: Error + Send + Sync + 'static>() -> &'static str {
    let path = std::any::type_name::<T>().split('<').next().unwrap_or_default();
    path.rsplit("::").next().unwrap_or_default()
}

/// All public types of errors.
fn all() -> BTreeSet<&'static str> {
    [
        travels::<twistor::Error>(),
        travels::<Reason>(),
        travels::<twistor::SystemError>(),
        travels::<LayerError>(),
        travels::<ProtocolError>(),
        travels::<twistor::BadAddress>(),
        travels::<twistor::ExitReason>(),
        travels::<twistor::JobPanicked>(),
        travels::<twistor::OutputError>(),
        travels::<twistor::NameError>(),
        travels::<twistor::ResolveError>(),
        travels::<deferred::AlreadyCalled>(),
        travels::<deferred::AllFailed>(),
        travels::<deferred::CooperationError>(),
        travels::<deferred::TaskEnd>(),
        travels::<deferred::FailureKind>(),
        travels::<deferred::FirstError>(),
        travels::<deferred::LoopingError>(),
        travels::<deferred::QueueOverflow<u8>>(),
        travels::<deferred::QueueUnderflow>(),
        travels::<twistor::endpoint::ParseError>(),
        travels::<twistor::dns::DnsError>(),
        travels::<twistor::files::FileError>(),
        travels::<twistor::tls::CertificateProblem>(),
        travels::<twistor::tls::MalformedCertificate>(),
        travels::<twistor::tls::TlsConfigError>(),
        travels::<twistor::tls::TlsError>(),
        travels::<framing::DelimiterInLine>(),
        travels::<framing::LineTooLong>(),
        travels::<framing::MessageError<framing::LineTooLong>>(),
        travels::<framing::StringTooLong>(),
        travels::<framing::StringError>(),
        travels::<framing::StateError>(),
        travels::<framing::DelimiterInLine>(),
        travels::<framing::MessageError<framing::LineTooLong>>(),
        travels::<http::FetchError>(),
        travels::<http::HttpError>(),
        travels::<http::BodyError>(),
        travels::<http::ProxyError>(),
        travels::<http::TextError>(),
        travels::<http::server::Refusal>(),
        travels::<http::server::ResponseError>(),
        travels::<http::RequestError>(),
        travels::<http::UrlError>(),
        travels::<load::LoadConfigError>(),
        travels::<monitor::TargetError>(),
        travels::<traffic::FeedError>(),
        travels::<traffic::PointerError>(),
        travels::<policy::IdleTimedOut>(),
        travels::<twistor::proxy_protocol::HeaderError>(),
        travels::<twistor::proxy_protocol::ParseTrustedError>(),
        travels::<service::ServiceError>(),
        travels::<service::RunError>(),
        travels::<service::AttemptError>(),
        travels::<service::ClientServiceError>(),
        travels::<sim::SimulationError>(),
        travels::<stream::StreamError>(),
        travels::<stream::ConnectError>(),
        travels::<stream::CopyError>(),
        travels::<stream::ProcessError>(),
        travels::<stream::ReadError<framing::LineTooLong>>(),
        travels::<task::BroadcastError>(),
        travels::<task::RecvError>(),
        travels::<task::SendError<u8>>(),
        travels::<task::TrySendError<u8>>(),
        travels::<task::TaskError>(),
        travels::<task::TimedOut>(),
    ]
    .into()
}

/// The types that the sources make errors of.
fn in_sources(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            in_sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            for line in text.lines().filter(|line| line.starts_with("impl")) {
                let Some((before, name)) = line.split_once("Error for ") else { continue };
                if before.ends_with([' ', ':']) {
                    found.insert(name.split(['<', ' ', '{']).next().unwrap().to_owned());
                }
            }
        }
    }
}

#[test]
fn every_error_can_go_to_another_thread() {
    let mut found = BTreeSet::new();
    in_sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found);
    // Its connections are closed at once: nothing hands the error to a program.
    found.remove("LimitReached");
    let found: BTreeSet<&str> = found.iter().map(String::as_str).collect();
    assert_eq!(found.difference(&all()).collect::<Vec<_>>(), Vec::<&&str>::new(), "not in the list above");
    fn goes<T: Send + Sync + 'static>() {}
    goes::<Failure>();
    let boxed: Box<dyn Error + Send + Sync> = Failure::new("no").into();
    assert_eq!(boxed.to_string(), "no");
}

/// Errors that wrap others, of every type that does, each around something with a source.
fn nested() -> Vec<Box<dyn Error + Send + Sync>> {
    let system = || io::Error::other(Inner(Some(Box::new(Inner(None)))));
    let listen = || twistor::Error::CannotListen { address: "x".into(), call: "bind", source: system() };
    let layer = || Reason::Layer(LayerError::new("guard", system()));
    let failed = || Failure::from(listen());
    let service = || service::ServiceError::Failed { service: "web".into(), source: Failure::from(listen()) };
    let ended = || deferred::TaskEnd::Failed(failed().into());
    let mut reactor = Reactor::new().unwrap();
    let refused = {
        let (resolver, deferred) = Deferred::<()>::new(&reactor.handle());
        let mut all = deferred::gather(&reactor.handle(), [deferred]);
        resolver.errback(failed()).unwrap();
        reactor.iterate(Some(Duration::ZERO)).unwrap();
        all.take_outcome().unwrap().unwrap_err()
    };
    let code = io::Error::from_raw_os_error(111);
    let said = twistor::SystemError { call: "connect", kind: code.kind(), code: code.raw_os_error() };
    vec![
        Box::new(listen()),
        Box::new(twistor::Error::CannotSpawn {
            program: "x".into(),
            fault: twistor::SpawnFault::Program,
            source: system(),
        }),
        Box::new(twistor::Error::System { call: "bind", source: system() }),
        Box::new(layer()),
        Box::new(Reason::Protocol(ProtocolError::new(system()))),
        Box::new(Reason::Lost(said)),
        Box::new(Reason::Refused(said)),
        Box::new(Reason::SystemTimedOut(said)),
        Box::new(Reason::NoRoute(said)),
        Box::new(Reason::NoLocalRoute(said)),
        Box::new(Reason::Bind(said)),
        Box::new(Reason::ConnectFailed(said)),
        Box::new(twistor::ResolveError::Failed(layer())),
        Box::new(twistor::ResolveError::Reactor(listen())),
        Box::new(LayerError::new("guard", system())),
        Box::new(ProtocolError::new(system())),
        Box::new(stream::StreamError::Lost(layer())),
        Box::new(io::Error::from(stream::StreamError::Lost(layer()))),
        Box::new(stream::ConnectError::Failed(layer())),
        Box::new(stream::ConnectError::Reactor(listen())),
        Box::new(stream::ProcessError::Reactor(listen())),
        Box::new(http::FetchError::Connect(layer())),
        Box::new(http::FetchError::Closed(layer())),
        Box::new(http::FetchError::Lost(layer())),
        Box::new(service()),
        Box::new(service::RunError::Service(service())),
        Box::new(service::RunError::Reactor(listen())),
        Box::new(service::RunError::PidFile { path: "/x".into(), source: system() }),
        Box::new(sim::SimulationError::Failed { host: "x".into(), error: listen() }),
        Box::new(ended()),
        Box::new(deferred::CooperationError::Ended(ended())),
        Box::new(failed().into_kind()),
        refused.into(),
    ]
}

/// An error that may have another below it.
#[derive(Debug)]
struct Inner(Option<Box<Inner>>);

impl std::fmt::Display for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.0.is_some() { "above" } else { "at the bottom" })
    }
}

impl Error for Inner {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.as_deref().map(|inner| inner as _)
    }
}

#[test]
fn no_error_says_what_its_source_says() {
    for error in nested() {
        let text = error_chain(&*error).to_string();
        let mut this: &dyn Error = &*error;
        while let Some(source) = this.source() {
            let (own, below) = (this.to_string(), source.to_string());
            assert!(!own.contains(&below), "{own:?} has {below:?}, in {text:?}");
            this = source;
        }
        // And nothing is left out, however deep it lies.
        let expected: &[&str] = match &*text {
            text if text.contains("connect: ") => &["onnection refused"],
            text if text.contains("web") => {
                &["service web", "cannot listen on x: bind", "above", "at the bottom"]
            }
            _ => &["above", "at the bottom"],
        };
        let mut rest = &*text;
        for part in expected {
            let at = rest.find(part).unwrap_or_else(|| panic!("{part:?} is not in {text:?}"));
            rest = &rest[at + part.len()..];
        }
        assert_eq!(text.matches("at the bottom").count(), text.matches("above").count(), "{text}");
    }
}

#[test]
fn a_failure_prints_all_that_led_to_it() {
    let mut services = MultiService::new().named("outer");
    let mut reactor = Reactor::new().unwrap();
    let taken = reactor.listen_tcp("127.0.0.1:0", || Nothing).unwrap();
    let address = twistor::ListenTcp::try_from(taken.address()).unwrap();
    services.add(service::StreamServerService::new(address, || Nothing).named("web")).unwrap();
    let failure = service::Service::privileged_start(&mut services, &mut reactor).unwrap_err();
    let begins = format!("service web: cannot listen on {}: bind: ", taken.address());
    assert!(failure.to_string().starts_with(&begins), "{failure}");
    assert_eq!(error_chain(failure.as_error()).to_string(), failure.to_string());
}

/// Runs one of the tests below once more, in a process of its own; returns what it wrote to standard error.
fn said_by(test: &str, logger: bool) -> String {
    let _turn = Turn::take();
    let output = once_more(test, logger).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{said}");
    let result = String::from_utf8_lossy(&output.stdout);
    assert!(result.contains("1 passed"), "{test}: {result}");
    said
}

fn once_more(test: &str, logger: bool) -> Command {
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args([test, "--exact", "--nocapture", "--test-threads=1"]).stdin(Stdio::null());
    child.env(INSIDE, if logger { "with a logger" } else { "without" }).env("RUST_BACKTRACE", "0");
    child
}

/// In the child of [`said_by`]: sets a logger that drops everything, if there is to be one.
fn inside() -> bool {
    struct Dropping;
    impl log::Log for Dropping {
        fn enabled(&self, _: &log::Metadata<'_>) -> bool {
            false
        }
        fn log(&self, _: &log::Record<'_>) {}
        fn flush(&self) {}
    }
    let Some(how) = std::env::var_os(INSIDE) else { return false };
    if how == "with a logger" {
        log::set_logger(&Dropping).unwrap();
        log::set_max_level(log::LevelFilter::Warn);
    }
    true
}

const INSIDE: &str = "TWISTOR_TEST_INSIDE";

/// An address that nothing listens on.
fn unused() -> std::net::SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}

#[test]
fn without_a_logger_trouble_goes_to_stderr() {
    if inside() {
        let mut reactor = Reactor::new().unwrap();
        reactor.connect_tcp(unused(), || Nothing).unwrap();
        reactor.call_later(Duration::ZERO, |_| panic!("one line\nand another"));
        Deferred::<()>::fail(&reactor.handle(), Failure::new("nothing handles this")).detach();
        while reactor.statistics().connect_failures == 0 || reactor.statistics().panics == 0 {
            reactor.iterate(None).unwrap();
        }
        return;
    }
    let test = test_path(without_a_logger_trouble_goes_to_stderr);
    let said = said_by(test, false);
    let lines: Vec<&str> = said.lines().filter(|line| line.starts_with("twistor: ")).collect();
    let has = |begin: &str, end: &str| lines.iter().any(|line| line.starts_with(begin) && line.contains(end));
    assert!(has("twistor: warning: cannot connect to 127.0.0.1:", ": connection refused"), "{said}");
    assert!(has("twistor: error: panic in a timed call: ", r"one line\nand another"), "{said}");
    assert!(has("twistor: error: unhandled failure: ", "nothing handles this"), "{said}");
    // A logger has it for itself.
    let said = said_by(test, true);
    assert!(!said.contains("twistor: "), "{said}");
}

#[test]
fn a_simulation_says_it_in_its_trace_and_not_on_stderr() {
    if !inside() {
        let said = said_by(test_path(a_simulation_says_it_in_its_trace_and_not_on_stderr), false);
        assert!(!said.contains("twistor: "), "{said}");
        return;
    }
    let run = || {
        let mut simulation = twistor::sim::Simulation::new(1);
        simulation.allow_panics();
        let (server, client) = (simulation.host("server"), simulation.host("client"));
        let address = std::net::SocketAddr::new(simulation.address(server), 7);
        let reactor = simulation.reactor(client);
        reactor.connect_tcp(address, || Nothing).unwrap();
        reactor.call_later(Duration::ZERO, |_| panic!("one line\nand another"));
        simulation.run_for(Duration::from_secs(1)).unwrap();
        (simulation.trace(usize::MAX), simulation.trace_hash())
    };
    let has =
        |trace: &str, text: &str| trace.lines().any(|line| line.contains(" client ") && line.contains(text));
    let (trace, hash) = run();
    assert!(has(&trace, "warning: cannot connect to "), "{trace}");
    assert!(has(&trace, r"error: panic in a timed call: one line\nand another"), "{trace}");
    // As with a logger: the lines are its, and the run is the same.
    log::set_max_level(log::LevelFilter::Warn);
    let (logged, same_hash) = run();
    assert!(!has(&logged, "warning: ") && !has(&logged, "error: "), "{logged}");
    assert_eq!(hash, same_hash);
}

#[test]
fn a_line_for_a_reader_that_has_gone_ends_the_process() {
    if inside() {
        loop {
            twistor::println_or_exit!("one of many lines");
        }
    }
    let _turn = Turn::take();
    let mut child = once_more(test_path(a_line_for_a_reader_that_has_gone_ends_the_process), false);
    let mut child = child.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains("one of many lines")));
    drop(lines);
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &b""[..]));
}

#[test]
fn a_closure_is_told_that_no_connection_was_made() {
    if inside() {
        let mut reactor = Reactor::new().unwrap();
        let address = unused();
        let factory = twistor::shared(|| Nothing).on_failure(move |connector, reason| {
            assert!(matches!(reason, Reason::Refused(_)), "{reason}");
            assert_eq!(connector.destination(), address.to_string());
            connector.reactor().stop();
        });
        reactor.connect_tcp(address, factory).unwrap();
        reactor.run().unwrap();
        assert_eq!(reactor.statistics().panics, 0);
        return;
    }
    let said = said_by(test_path(a_closure_is_told_that_no_connection_was_made), false);
    assert!(!said.contains("twistor: "), "{said}");
}
