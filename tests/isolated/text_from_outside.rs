//! Text from outside never controls a terminal, breaks a line or hides: neither in errors and addresses, nor in the log,
//! nor in reports.

#[cfg(feature = "cli")]
#[path = "../support/command/mod.rs"]
mod command;
#[path = "../support/world/mod.rs"]
mod world;

use std::fmt::Display;
use std::io;
use std::path::PathBuf;
use std::sync::{Mutex, Once, PoisonError};
use std::time::Duration;

use twistor::endpoint::{client_from_string, datagram_from_string, quote_argument, server_from_string};
use twistor::escape::{Escaped, EscapedBytes, is_unprintable};
use twistor::policy::{DumpLayer, DumpStyle, dump_traffic};
use twistor::proxy_protocol::{HeaderError, Side};
use twistor::service::{ClientService, RunError, ServiceError, run_service};
use twistor::stream::{StreamError, StreamReader, StreamWriter, open_connection, start_server};
use twistor::{
    BadAddress, ConnectTcp, ConnectUnix, Error, ExitReason, Failure, JobPanicked, LayerError, ListenUnix,
    ProcessProtocol, ProcessTransport, ProtocolError, Reactor, Reason, Settings, SpawnFault, SpawnProcess,
    UnixAddress,
};
use world::back_end::BackEnd;
use world::folder::Folder;
use world::idle_protocol;

/// Texts that must not reach a terminal as they are.
const NASTY: [&str; 12] = [
    "\u{1b}]0;owned\u{7}",
    "a\nforged line",
    "over\rwritten\tand \u{8}\u{8}gone",
    "del\u{7f}",
    "c1 \u{9b}2J\u{85}",
    "\u{202e}gpj.exe\u{202c}",
    "\u{2066}\u{2067}\u{2068}\u{2069}\u{200e}\u{200f}\u{61c}",
    "a\u{200b}b\u{200c}c\u{200d}d\u{feff}e\u{ad}f\u{2060}g\u{2064}h",
    "x\u{2028}y\u{2029}z",
    "\u{e0001}\u{e0041}\u{e007f}\u{e0100}",
    "\u{180e}\u{fff9}\u{fffa}\u{fffb}\u{fe0f}\u{34f}\u{3164}",
    "nul\0nul",
];

#[track_caller]
fn assert_printable(shown: &str, of: &str) {
    let raw: Vec<char> = shown.chars().filter(|character| is_unprintable(*character)).collect();
    assert!(raw.is_empty(), "{raw:?} in {shown:?}, of {of:?}");
}

/// On lines: nothing unprintable but the ends of lines.
#[cfg(feature = "cli")]
#[track_caller]
fn assert_lines(shown: &[u8], lines: usize, of: &str) {
    let shown = std::str::from_utf8(shown).unwrap();
    assert!(shown.ends_with('\n') && shown.matches('\n').count() == lines, "{shown:?}, of {of:?}");
    shown.lines().for_each(|line| assert_printable(line, of));
}

fn other(text: &str) -> io::Error {
    io::Error::other(text.to_owned())
}

#[test]
fn errors_and_addresses_print_on_one_line() {
    for text in NASTY {
        let owned = text.to_owned();
        let bytes = [text.as_bytes(), b"\xff\xfe\x9b"].concat();
        let quoted = quote_argument(text);
        let mut shown: Vec<Box<dyn Display>> = vec![
            Box::new(UnixAddress::of_abstract(bytes.clone()).unwrap()),
            Box::new(UnixAddress::of_abstract(bytes.repeat(30)).unwrap_err()),
            Box::new(UnixAddress::of_path(text.repeat(30)).unwrap_err()),
            Box::new(BadAddress { text: owned.clone(), why: "it is bad" }),
            Box::new(format!("{text}:x").parse::<ConnectTcp>().unwrap_err()),
            Box::new(ConnectTcp::new(text, 80)),
            Box::new(ConnectTcp::new(format!("::{text}"), 80)),
            Box::new(Error::CannotListen { address: owned.clone(), call: "bind", source: other(text) }),
            Box::new(Error::CannotSpawn {
                program: owned.clone(),
                fault: SpawnFault::Directory(text.into()),
                source: other(text),
            }),
            Box::new(Error::System { call: "open", source: other(text) }),
            Box::new(JobPanicked { message: owned.clone() }),
            Box::new(Reason::Panicked(owned.clone())),
            Box::new(Reason::Unresolved { host: owned.clone(), why: owned.clone() }),
            Box::new(Reason::LookupTimedOut { host: owned.clone(), limit: Duration::ZERO }),
            Box::new(Reason::LookupFailed { host: owned.clone(), why: owned.clone() }),
            Box::new(Reason::Protocol(ProtocolError::new(other(text)))),
            Box::new(Reason::Layer(LayerError::new("layer", other(text)))),
            Box::new(StreamError::Lost(Reason::Panicked(owned.clone()))),
            Box::new(Failure::from(other(text))),
            Box::new(ExitReason::Panicked(owned.clone())),
            Box::new(SpawnProcess::new(text, [text])),
            Box::new(ServiceError::NameTaken(owned.clone())),
            Box::new(ServiceError::Failed { service: owned.clone(), source: other(text).into() }),
            Box::new(ServiceError::Busy(owned.clone())),
            Box::new(ServiceError::Panicked(owned.clone())),
            Box::new(RunError::Configuration(owned.clone())),
            Box::new(RunError::Privileges(owned.clone())),
            Box::new(RunError::PidFile { path: PathBuf::from(text), source: other(text) }),
            Box::new(RunError::AlreadyRuns { path: PathBuf::from(text), process: 1 }),
            Box::new(HeaderError::BadProtocol(owned.clone())),
            Box::new(HeaderError::BadAddress(Side::Source, owned.clone())),
            Box::new(HeaderError::BadPort(Side::Source, owned.clone())),
        ];
        shown.extend(UnixAddress::of_path(text).map(|address| Box::new(address) as Box<dyn Display>));
        for endpoint in [
            owned.clone(),
            format!("{quoted}:80"),
            format!("tcp:80:{quoted}=1"),
            format!("tcp:80:interface={quoted}"),
            format!("tcp:80:{quoted}"),
            format!("unix:/x:mode={quoted}"),
            format!("haproxy:{quoted}:80"),
            format!("haproxy:tcp\\:80:allow={quoted}"),
            format!("tcp:host:80:timeout={quoted}"),
            format!("tcp:host:80:bind={quoted}"),
        ] {
            let wrong = [
                server_from_string(&endpoint).err(),
                client_from_string(&endpoint).err(),
                datagram_from_string(&endpoint).err(),
            ];
            let wrong = wrong.into_iter().flatten();
            shown.extend(wrong.map(|error| Box::new(error) as Box<dyn Display>));
        }
        for shown in shown {
            assert_printable(&shown.to_string(), text);
        }
    }
}

#[test]
#[cfg(feature = "http")]
fn errors_of_http_print_on_one_line() {
    use twistor::http::{FetchError, HttpError, Limits, Request, ResponseReader, Url, UrlError};
    for text in NASTY {
        let mut shown: Vec<Box<dyn Display>> = vec![
            Box::new(HttpError::ContentLength(text.to_owned())),
            Box::new(HttpError::TransferEncoding(text.to_owned())),
            Box::new(HttpError::ChunkSize(text.to_owned())),
            Box::new(UrlError::Scheme(text.to_owned())),
            Box::new(FetchError::Connect(Reason::Panicked(text.to_owned()))),
        ];
        shown.extend(
            text.chars().map(|character| Box::new(UrlError::Character(character)) as Box<dyn Display>),
        );
        for url in [format!("{text}://h/"), format!("http://{text}/"), format!("http://h/{text}")] {
            match url.parse::<Url>() {
                Ok(url) => shown.push(Box::new(url)),
                Err(error) => shown.push(Box::new(error)),
            }
        }
        let request = Request::get(&"http://h/".parse().unwrap());
        shown
            .extend(request.clone().header(text, "v").err().map(|error| Box::new(error) as Box<dyn Display>));
        shown.extend(request.header("name", text).err().map(|error| Box::new(error) as Box<dyn Display>));
        let body = text.replace(['\r', '\n'], "");
        for answer in [
            format!("HTTP/1.1 {body} {body}\r\n\r\n"),
            format!("HTTP/1.1 200 {body}\r\n\r\n"),
            format!("HTTP/1.1 200 OK\r\n{body}: x\r\n\r\n"),
            format!("HTTP/1.1 200 OK\r\nContent-Length: {body}\r\n\r\n"),
            format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: {body}\r\n\r\n"),
            format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{body}\r\n"),
        ] {
            let mut reader = ResponseReader::new(Limits::default());
            let error = reader.feed(&mut answer.as_bytes()).err();
            shown.extend(error.map(|error| Box::new(error) as Box<dyn Display>));
        }
        for shown in shown {
            assert_printable(&shown.to_string(), text);
        }
    }
}

/// Everything that was logged: the message, then each value.
static LOGGED: Mutex<Vec<String>> = Mutex::new(Vec::new());

struct Log;

impl log::Log for Log {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        struct Values<'a>(&'a mut Vec<String>);
        impl<'kvs> log::kv::VisitSource<'kvs> for Values<'_> {
            fn visit_pair(
                &mut self,
                _: log::kv::Key<'kvs>,
                value: log::kv::Value<'kvs>,
            ) -> Result<(), log::kv::Error> {
                self.0.push(value.to_string());
                Ok(())
            }
        }
        let mut logged = LOGGED.lock().unwrap_or_else(PoisonError::into_inner);
        logged.push(record.args().to_string());
        record.key_values().visit(&mut Values(&mut logged)).unwrap();
    }

    fn flush(&self) {}
}

/// What is logged at any level while `run` runs, in this thread or another.
fn logged(run: impl FnOnce()) -> Vec<String> {
    static ONCE: Once = Once::new();
    static TURN: Mutex<()> = Mutex::new(());
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    ONCE.call_once(|| {
        log::set_logger(&Log).unwrap();
        log::set_max_level(log::LevelFilter::Trace);
    });
    LOGGED.lock().unwrap_or_else(PoisonError::into_inner).clear();
    run();
    std::mem::take(&mut *LOGGED.lock().unwrap_or_else(PoisonError::into_inner))
}

fn reactor(back_end: &BackEnd) -> Reactor {
    back_end.reactor(Settings { handle_signals: false, ..Settings::default() })
}

#[test]
fn what_is_logged_of_peers_and_errors_is_one_line() {
    for back_end in BackEnd::all() {
        let folder = Folder::new();
        // A path has no NUL.
        for (number, text) in NASTY.iter().filter(|text| !text.contains('\0')).enumerate() {
            let name = |what: &str| folder.path(&format!("{number}{what}{text}"));
            let (at, from, nowhere) = (name("s"), name("c"), name("n"));
            let (error, service) = ((*text).to_owned(), (*text).to_owned());
            let logged = logged(|| {
                let mut reactor = reactor(&back_end);
                let talk = async {
                    let refuse = move |_: StreamReader, _: StreamWriter| {
                        let error = error.clone();
                        async move { Err::<(), _>(other(&error)) }
                    };
                    let server = start_server(ListenUnix::at(&at).unwrap(), refuse).unwrap();
                    let bind = UnixAddress::of_path(&from).ok();
                    let client = ConnectUnix { bind, ..ConnectUnix::at(&at).unwrap() };
                    let (mut reader, _writer) = open_connection(client).await.unwrap();
                    assert_eq!(reader.read_to_end(1).await.unwrap(), b"");
                    server.close();
                    server.wait_closed().await;
                };
                reactor.block_on(talk).unwrap();
                let client = ConnectUnix::at(&nowhere).unwrap();
                reactor.connect_unix(client.clone(), idle_protocol).unwrap();
                reactor
                    .connect_unix(
                        client.clone(),
                        dump_traffic(idle_protocol, DumpStyle::Text, DumpLayer::to_log()),
                    )
                    .unwrap();
                run_service(
                    &mut reactor,
                    ClientService::new(client, idle_protocol).named(&service),
                    Duration::ZERO,
                )
                .unwrap();
                reactor.call_when_running(move |_| panic!("{service}"));
                stop_when_logged(&mut reactor, "next attempt in");
                reactor.run().unwrap();
            });
            let path = EscapedBytes(from.as_os_str().as_encoded_bytes()).to_string();
            let text = Escaped(text);
            for expected in [
                format!("{path}: connection handler failed: {text}"),
                format!("panic in a timed call: {text}"),
            ] {
                assert!(logged.contains(&expected), "no {expected:?} in {logged:#?}");
            }
            let nowhere = EscapedBytes(nowhere.as_os_str().as_encoded_bytes()).to_string();
            for begin in [format!("cannot connect to {nowhere}: "), format!("{text}: no connection: ")] {
                assert!(logged.iter().any(|line| line.starts_with(&begin)), "no {begin:?} in {logged:#?}");
            }
            logged.iter().for_each(|line| assert_printable(line, &begin_of(line)));
        }
    }
}

/// Stops the reactor when something was logged with these words.
fn stop_when_logged(reactor: &mut Reactor, words: &'static str) {
    reactor.call_later(Duration::from_millis(1), move |reactor| {
        let has =
            LOGGED.lock().unwrap_or_else(PoisonError::into_inner).iter().any(|line| line.contains(words));
        if has {
            reactor.stop();
        } else {
            stop_when_logged(reactor, words);
        }
    });
}

fn begin_of(line: &str) -> String {
    line.chars().take(20).collect()
}

#[test]
fn what_programs_write_to_standard_error_is_logged_on_one_line() {
    struct Quiet;
    impl ProcessProtocol for Quiet {
        fn process_ended(&mut self, process: &mut ProcessTransport<'_>, _: &ExitReason) {
            process.reactor().stop();
        }
    }
    // The simulation has programs of its own only.
    for text in NASTY.iter().filter(|text| !text.contains('\0')) {
        let logged = logged(|| {
            let mut reactor = reactor(&BackEnd::Os);
            let program = SpawnProcess::new("sh", ["-c", "printf '%s\\377' \"$0\" >&2", text]);
            reactor.spawn_process(program, Quiet).unwrap();
            reactor.run().unwrap();
        });
        let expected = format!(": {}", EscapedBytes(&[text.as_bytes(), b"\xff"].concat()));
        assert!(logged.iter().any(|line| line.ends_with(&expected)), "no {expected:?} in {logged:#?}");
        assert!(logged.iter().any(|line| line.contains(" runs sh -c printf")), "{logged:#?}");
        logged.iter().for_each(|line| assert_printable(line, text));
    }
}

#[cfg(feature = "cli")]
mod reports {
    use super::{NASTY, assert_lines, assert_printable};
    use serde_json::{Value, json};
    use std::cell::RefCell;
    use std::io::{self, Write};
    use std::rc::Rc;
    use std::time::Duration;
    use twistor::endpoint::quote_argument;
    use twistor::escape::EscapedJson;
    use twistor::load::{LoadConfig, LoadError, Report, Totals};
    use twistor::monitor::{self, Monitor, Reporter, Target, View};
    use twistor::report::{JsonReporter, Palette, TextReporter, TimeFormat};
    use twistor::sim::Network;
    use twistor::traffic::{self, Feed, FeedObserver, FeedReader};
    use twistor::{Protocol, Reactor, Settings, Transport};

    /// What a reporter has written.
    #[derive(Clone, Default)]
    struct Page(Rc<RefCell<Vec<u8>>>);

    impl Write for Page {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.borrow_mut().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn time_format() -> TimeFormat {
        TimeFormat { zone: jiff::tz::TimeZone::UTC, date: true }
    }

    /// A reactor alone in its network, where no name has an address.
    fn reactor() -> Reactor {
        let network = Network::new(1);
        let host = network.host("here");
        network.reactor(host, Settings::default())
    }

    fn stop(reactor: &mut Reactor) {
        reactor.stop();
    }

    /// The targets that a monitor takes with this text in them.
    fn targets(text: &str) -> Vec<Target> {
        let path = quote_argument(&format!("/{text}"));
        let texts = [format!("unix:{path}"), format!("hold:unix:{path}"), format!("{text}=tcp://h:80")];
        texts.iter().filter_map(|target| target.parse().ok()).collect()
    }

    /// What is reported of targets where nothing listens.
    fn monitored<R: Reporter>(targets: &[Target], reporter: impl FnOnce(Page) -> R) -> Vec<u8> {
        let page = Page::default();
        let mut reactor = reactor();
        let targets = targets.to_vec();
        let settings = monitor::MonitorSettings { rounds: Some(1), ..monitor::MonitorSettings::default() };
        let monitor = Monitor::start(&mut reactor, targets, settings, reporter(page.clone()));
        let last = monitor.clone();
        monitor.on_finished(move |reactor| {
            last.finish(reactor);
            reactor.stop();
        });
        reactor.run().unwrap();
        page.0.take()
    }

    #[test]
    fn the_monitor_reports_hostile_names_on_one_line() {
        // Control characters are refused in names, a NUL in paths too: nothing of the last text is left.
        assert_eq!(NASTY.map(|text| targets(text).len()), [2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 0]);
        for text in NASTY.into_iter().filter(|text| !targets(text).is_empty()) {
            let targets = targets(text);
            let lines =
                monitored(&targets, |page| TextReporter::new(page, time_format(), Palette::plain(), 10));
            // An event and a row for each, an empty line and the headings.
            assert_lines(&lines, 2 * targets.len() + 2, text);
            let lines = monitored(&targets, JsonReporter::new);
            assert_lines(&lines, 2 * targets.len(), text);
            for line in String::from_utf8(lines).unwrap().lines() {
                let object: Value = serde_json::from_str(line).unwrap();
                let name = object["name"].as_str().or(object["target"].as_str()).unwrap();
                assert!(targets.iter().any(|target| target.name() == name), "{name:?} of {targets:?}");
            }
        }
    }

    #[test]
    fn the_live_table_shows_hostile_names_escaped() {
        for text in NASTY.into_iter().filter(|text| !targets(text).is_empty()) {
            let drawn = monitored(&targets(text), |page| {
                monitor::LiveTable::new(page, time_format(), Palette::plain(), View::new((300, 24)))
            });
            let drawn = String::from_utf8(drawn).unwrap();
            // What the table itself sends: marks, the cursor, the ends of lines.
            assert!(!drawn.contains(text), "{drawn:?}");
            let mut shown = drawn.replace("\r\n", "").replace('\n', "");
            for own in
                ["\u{1b}[?2026h", "\u{1b}[?2026l", "\u{1b}[?25l", "\u{1b}[?25h", "\u{1b}[K", "\u{1b}[J"]
            {
                shown = shown.replace(own, "");
            }
            shown.split("\u{1b}[").for_each(|part| assert_printable(part.trim_end_matches('\r'), text));
            assert!(drawn.contains("hold:unix:"), "{drawn:?}");
        }
    }

    /// Answers each request with this text.
    struct Answer(String);

    impl Protocol for Answer {
        fn data_received(&mut self, transport: &mut Transport<'_>, _: &[u8]) {
            transport.write(self.0.as_bytes());
            transport.lose_connection();
        }
    }

    fn read<O: FeedObserver>(
        name: &str,
        fields: &[&str],
        answer: &str,
        observer: impl FnOnce(Page) -> O,
    ) -> Vec<u8> {
        let page = Page::default();
        let mut reactor = reactor();
        let answer = answer.to_owned();
        let listener = reactor.listen_tcp("127.0.0.1:0", move || Answer(answer.clone())).unwrap();
        let url = format!("http://{}/", listener.address()).parse().unwrap();
        let settings = traffic::FeedSettings {
            fields: fields.iter().map(|field| field.parse().unwrap()).collect(),
            rounds: Some(1),
            ..traffic::FeedSettings::default()
        };
        let feeds = vec![Feed { name: name.to_owned(), url }];
        let traffic = FeedReader::start(&mut reactor, feeds, settings, observer(page.clone()));
        traffic.on_finished(stop);
        reactor.run().unwrap();
        page.0.take()
    }

    #[test]
    fn feeds_and_their_errors_are_reported_on_one_line() {
        for text in NASTY {
            let body = json!({ text: text, "n": 1 }).to_string();
            let plain = text.replace(['\r', '\n'], "");
            let pointer = format!("/{text}");
            for (fields, answer) in [
                (&[][..], format!("HTTP/1.1 200 OK\r\n\r\n{body}")),
                (&[pointer.as_str(), "/gone"], format!("HTTP/1.1 200 OK\r\n\r\n{body}")),
                (&[pointer.as_str()], "HTTP/1.1 200 OK\r\n\r\n{}".to_owned()),
                (&[], format!("HTTP/1.1 200 OK\r\n\r\n{text}")),
                (&[], format!("HTTP/1.1 404 {plain}\r\n\r\n")),
                (&[], format!("HTTP/1.1 {plain}\r\n\r\n")),
                (&[], format!("HTTP/1.1 200 OK\r\nContent-Type: {plain}; charset={plain}\r\n\r\n{plain}")),
                (&[], format!("HTTP/1.1 200 OK\r\nContent-Encoding: {plain}\r\n\r\n{plain}")),
                (&[], format!("HTTP/1.1 200 OK\r\nContent-Length: {plain}\r\n\r\n")),
                (&[], format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: {plain}\r\n\r\n")),
            ] {
                let lines = |page| TextReporter::new(page, time_format(), Palette::plain(), 10);
                assert_lines(&read(text, fields, &answer, lines), 1, &answer);
                let line = read(text, fields, &answer, JsonReporter::new);
                assert_lines(&line, 1, &answer);
                let object: Value = serde_json::from_slice(&line).unwrap();
                assert_eq!(object["name"], text);
                if answer.ends_with(&body) {
                    assert_eq!(object["values"][&pointer], text, "{object}");
                }
            }
        }
    }

    #[test]
    fn load_reports_hostile_endpoints_and_reasons_on_one_line() {
        for text in NASTY {
            let mut totals = Totals { started: 1, connected: 1, lost: 1, ..Totals::default() };
            totals.latencies.record(Duration::from_millis(1), 10);
            totals.errors.insert(("lost", text.to_owned()), 1);
            totals.first_errors.push(LoadError::NotConnected { connection: 1, reason: text.to_owned() });
            let after = Duration::ZERO;
            let reason = text.to_owned();
            totals.first_errors.push(LoadError::Lost { connection: 1, after, in_flight: 0, reason });
            let report = Report::new(format!("tcp:{text}:7"), LoadConfig::default(), totals);
            let plain = Report::new("tcp:h:7".into(), LoadConfig::default(), report.totals.clone());
            for shown in [report.to_string(), report.to_svg()] {
                shown.lines().for_each(|line| assert_printable(line, text));
            }
            assert_eq!(report.to_string().lines().count(), plain.to_string().lines().count());
            let value = report.to_json();
            let line = EscapedJson(&value).to_string();
            assert_printable(&line, text);
            assert_eq!(serde_json::from_str::<Value>(&line).unwrap(), value);
        }
    }
}

#[cfg(feature = "cli")]
mod commands {
    use super::command::{Ended, Running, Service, Signal, run, twistor};
    use super::world::folder::Folder;
    use super::{NASTY, assert_lines, assert_printable};
    use serde_json::{Value, json};
    use twistor::endpoint::quote_argument;
    use twistor::{Protocol, Transport};

    /// All of the nasty texts that can stand in an argument or a path.
    fn nasty() -> String {
        NASTY.concat().replace(['\0', '/'], "")
    }

    /// Both outputs of a command that failed.
    fn assert_one_complaint(ended: &Ended, arguments: &[&str]) {
        assert!(ended.code != Some(0) && ended.out.is_empty(), "{ended:?} of {arguments:?}");
        assert_lines(ended.err.as_bytes(), 1, &arguments.join(" "));
    }

    /// Each record of `RUST_LOG=trace` is one line.
    fn assert_records(err: &str) {
        for line in err.lines() {
            assert!(
                ["[ERROR ", "[WARN ", "[INFO ", "[DEBUG ", "[TRACE "]
                    .iter()
                    .any(|level| line.starts_with(level)),
                "{line:?}"
            );
            assert_printable(line, "the log");
        }
    }

    #[test]
    fn what_is_wrong_with_arguments_is_told_on_one_line() {
        let text = nasty();
        let quoted = quote_argument(&text);
        let interval = format!("--interval={text}");
        let (option, name, scheme) =
            (format!("--{text}"), format!("{text}=tcp://h:1"), format!("{text}://h:1"));
        let (host, path) = (format!("tcp://{text}:1"), format!("http://h/{text}"));
        let (gone, svg) = (format!("unix:/nowhere/{quoted}"), format!("/nowhere/{text}"));
        for arguments in [
            &[text.as_str()][..],
            &["monitor", &text],
            &["monitor", &name],
            &["monitor", &scheme],
            &["monitor", &host],
            &["monitor", &option],
            &["monitor", &interval, "tcp://h:1"],
            &["traffic", &text],
            &["traffic", &scheme],
            &["traffic", &path],
            &["traffic", "http://h/", "--field", &text],
            &["traffic", "http://h/", "--via", &text],
            &["echo", "--listen", &text],
            &["echo", "--listen", &gone],
            &["load", &text],
            &["load", &gone, "--for", "1ms"],
            &["load", "unix:/nowhere/x", "--svg", &svg],
        ] {
            assert_one_complaint(&run(arguments), arguments);
        }
    }

    /// Answers the first request with hostile JSON and the second with a hostile status line.
    struct Hostile(u32);

    impl Protocol for Hostile {
        fn data_received(&mut self, transport: &mut Transport<'_>, _: &[u8]) {
            self.0 += 1;
            let text = nasty();
            let line = text.replace(['\r', '\n'], "");
            let answer = match self.0 {
                1 => {
                    let body = json!({ text.as_str(): text, "n": [text] }).to_string();
                    format!(
                        "HTTP/1.1 200 {line}\r\nX-{line}: {line}\r\nContent-Length: {}\r\n\r\n{body}",
                        body.len()
                    )
                }
                _ => format!("HTTP/1.1 {text}\r\n\r\n"),
            };
            transport.write(answer.as_bytes());
        }
    }

    #[test]
    fn a_hostile_feed_prints_nothing_but_its_lines() {
        let service = Service::start("127.0.0.1:0", || Hostile(0));
        let url = format!("http://{}/", service.address);
        let pointer = format!("/{}", nasty());
        for more in [&[][..], &["--field", &pointer, "--field", "/gone"], &["--json", "--field", &pointer]] {
            let arguments = [&["traffic", "--interval", "10ms", "--count", "2", &url], more].concat();
            let ended = twistor(&arguments).env("RUST_LOG", "trace").output().unwrap();
            assert_lines(&ended.stdout, 2, &arguments.join(" "));
            assert_records(std::str::from_utf8(&ended.stderr).unwrap());
            let out = String::from_utf8(ended.stdout).unwrap();
            if more.contains(&"--json") {
                let first: Value = serde_json::from_str(out.lines().next().unwrap()).unwrap();
                let event =
                    if first["event"] == "reading" { &first["values"][&pointer] } else { &Value::Null };
                assert!(event.is_null() || *event == nasty(), "{first}");
            }
        }
    }

    #[test]
    fn a_hostile_path_is_listened_on_watched_and_loaded_on_one_line() {
        let folder = Folder::new();
        // A path has at most 107 bytes: a part of them.
        for text in ["\u{1b}]0;owned\u{7}\nforged\r\t\u{9b}", "\u{202e}\u{200b}\u{2028}\u{e0041}\u{fe0f}"] {
            let endpoint = format!("unix:{}", quote_argument(folder.path(text).to_str().unwrap()));
            let mut echo = twistor(&["echo", "--listen", &endpoint]);
            echo.env("RUST_LOG", "trace");
            let mut echo = Running::begin(echo);
            let line = echo.line();
            assert!(line.starts_with("listening on unix:"), "{line:?}");
            assert_printable(&line, text);
            for json in [&[][..], &["--json"]] {
                let watched = run(&[&["monitor", "--once", &endpoint], json].concat());
                assert_eq!((watched.code, watched.err.as_str()), (Some(0), ""), "{watched:?}");
                assert_lines(watched.out.as_bytes(), 1, text);
                let loaded = run(&[&["load", &endpoint, "--for", "10ms"], json].concat());
                assert_eq!((loaded.code, loaded.err.as_str()), (Some(0), ""), "{loaded:?}");
                loaded.out.lines().for_each(|line| assert_printable(line, text));
                assert!(json.is_empty() || loaded.out.lines().count() == 1, "{loaded:?}");
            }
            let ended = echo.end_by(Signal::TERM);
            assert_eq!((ended.code, ended.out.as_str()), (Some(0), ""), "{ended:?}");
            assert_records(&ended.err);
            assert!(ended.err.contains("listening on "), "{}", ended.err);
        }
    }
}
