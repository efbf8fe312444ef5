//! Bad usage is one line on stderr that names what was wrong, exit code 2, and nothing started.

use crate::command::{Ended, Running, Signal, run};

/// One line on stderr with these words, nothing on stdout, and this exit code.
#[track_caller]
fn assert_complains(ended: &Ended, code: i32, words: &str) {
    let Ended { out, err, .. } = ended;
    assert_eq!((ended.code, out.as_str(), err.lines().count()), (Some(code), "", 1), "{words:?}: {err}");
    assert!(err.starts_with("twistor: ") && err.contains(words), "{words:?} is not in {err}");
}

#[test]
fn a_bad_argument_is_named_on_one_line() {
    for (arguments, named) in [
        (&["monitor", "tcp://h:0"][..], "tcp://h:0"),
        (&["monitor", "tcp://h:70000"], "tcp://h:70000"),
        (&["monitor", "tcp://:80"], "tcp://:80"),
        (&["monitor", "udp://h:80"], "udp"),
        (&["monitor", "garbage"], "the port is missing; write garbage:PORT"),
        (&["monitor", "web=[::1]"], "the port is missing; write [::1]:PORT"),
        (&["monitor", "hold://localhost"], "the port is missing; write HOST:PORT"),
        (&["monitor", "tcp:localhost"], "port: it is missing; write tcp:HOST:PORT"),
        (&["monitor", "hodl://x:1"], "unknown scheme \"hodl\"; did you mean hold://x:1?"),
        (&["monitor", "tpc:x:1"], "did you mean tcp:x:1?"),
        (&["monitor", "tcp://[fe80::1]:80"], "a link-local address needs a zone, such as fe80::1%eth0"),
        (&["monitor", "tcp:[fe80::1]:80"], "host: a link-local address needs a zone"),
        (&["monitor", "tcp://localhost:1", "tcp://1.2.3.256:9"], "1.2.3.256"),
        (&["monitor", "tcp://h:1\nx"], "tcp://h:1\\nx"),
        (
            &["monitor", "tcp:h:1:timeuot=5"],
            "column 9: timeuot: tcp has no such argument; did you mean timeout?",
        ),
        (&["monitor", "web=hold:unix:"], "column 15: path"),
        (&["monitor", "udp:h:1"], "hold://HOST:PORT"),
        (&["monitor", ""], "it is empty: a target is"),
        (&["monitor", "tcp:7007"], "did you mean tcp:localhost:7007?"),
        (&["monitor", "tcp://7007"], "did you mean localhost:7007?"),
        (&["monitor", "hold://:7007"], "did you mean localhost:7007?"),
        (&["monitor", "hold:7007"], "did you mean localhost:7007?"),
        (&["monitor", "7007"], "did you mean localhost:7007?"),
        (&["monitor", "tcp://h:1", "--inter", "5s"], "did you mean --interval?"),
        (&["monitor", "tcp://h:1", "--interval", "-1s"], "the time -1s is negative"),
        (&["monitor", "tcp://h:1", "--interval", "5 weeks"], "is not a unit of time"),
        (&["monitor", "tcp://h:1", "--interval", "5minuets"], "did you mean minutes?"),
        (&["monitor", "tcp://h:1", "--interval", "--watch"], "'--interval <TIME>': the time is missing"),
        (&["monitor", "tcp:h:1:timeout=-1s"], "timeout: the time -1s is negative"),
        (&["moniter"], "did you mean monitor?"),
        (&["help", "moniter"], "did you mean monitor?"),
        (&["monitor"], "TARGET"),
        (&["monitor", "--interval", "0", "tcp://h:1"], "--interval"),
        (&["monitor", "--interval", "soon", "tcp://h:1"], "soon"),
        (&["monitor", "--count", "0", "tcp://h:1"], "--count"),
        (&["monitor", "--once", "--watch", "tcp://h:1"], "--watch"),
        (&["monitor", "--once", "--interval", "2s", "tcp://h:1"], "--interval"),
        (&["monitor", "--once", "--every-probe", "tcp://h:1"], "--every-probe"),
        (&["monitor", "--once", "--lost-after", "5s", "hold://h:1"], "--lost-after"),
        (&["monitor", "--once", "--backoff", "5s", "hold://h:1"], "--backoff"),
        (&["monitor", "--once", "--quiet", "--json", "tcp://h:1"], "--json has no effect"),
        (&["monitor", "--lost-after", "10s", "tcp://h:1"], "--lost-after has no effect: no target is held"),
        (&["monitor", "--lost-after", "10s", "hold:unix:/x"], "--lost-after has no effect"),
        (&["monitor", "--lost-after", "10s", "hold:tcp:h:1:keepalive=5"], "--lost-after has no effect"),
        (&["monitor", "--lost-after", "500ms", "hold://h:1"], "the minimum is 3 s"),
        (&["monitor", "--lost-after", "10h", "hold://h:1"], "the maximum is 9 h"),
        (&["monitor", "--backoff", "1s", "tcp://h:1"], "--backoff has no effect"),
        (&["monitor", "--backoff-max", "1s", "tcp://h:1"], "--backoff-max has no effect"),
        (&["monitor", "--backoff-factor", "2", "tcp://h:1"], "--backoff-factor has no effect"),
        (&["monitor", "--backoff", "2m", "hold://h:1"], "--backoff 2 min is above --backoff-max 1 min"),
        (
            &["monitor", "--backoff", "2s", "--backoff-max", "1s", "hold://h:1"],
            "is above --backoff-max 1.0 s",
        ),
        (
            &["monitor", "--backoff-factor", "2", "--backoff-max", "1s", "hold://h:1"],
            "--backoff-factor has no effect",
        ),
        (
            &["monitor", "--interval", "1s", "hold://h:1", "hold:unix:/x"],
            "--interval has no effect: all targets",
        ),
        (
            &["monitor", "--interval", "1s", "--count", "1", "tcp://h:1"],
            "--interval has no effect: with --count 1",
        ),
        (&["monitor", "--every-probe", "--count", "1", "tcp://h:1"], "--every-probe has no effect"),
        (&["monitor", "--backoff", "1s", "--count", "1", "hold://h:1"], "--backoff has no effect"),
        (&["monitor", "--backoff-max", "1s", "--count", "1", "hold://h:1"], "--backoff-max has no effect"),
        (
            &["monitor", "--backoff-factor", "2", "--count", "1", "hold://h:1"],
            "--backoff-factor has no effect",
        ),
        (&["monitor", "--lost-after", "5s", "--count", "1", "hold://h:1"], "--lost-after has no effect"),
        (&["monitor", "--timeout", "2s", "tcp:h:1:timeout=3"], "--timeout has no effect"),
        (&["monitor", "tcp:h:1:keepalive=5"], "keepalive has no effect"),
        (&["monitor", "hold:tcp:h:1:keepalive=36000"], "keepalive: must be at most 32767 seconds"),
        (&["monitor", "hold:tcp:h:1:nodelay=yes"], "nodelay has no effect"),
        (&["echo", "--listen", "tcp:0:keepalive=36000"], "keepalive: must be at most 32767 seconds"),
        (&["echo", "--listen", "tcp:0:user_timeout=0"], "user_timeout: must be greater than zero"),
        (&["echo", "--listen", "tcp:0", "--no-loop-guard"], "--no-loop-guard has no effect"),
        (&["echo"], "--listen"),
        (&["echo", "--listen", "127.0.0.1"], "the port is missing; write HOST:PORT"),
        (&["echo", "--listen", "::1"], "the port is missing; write [::1]:PORT"),
        (&["echo", "--listen", "tcp6:[::1]"], "port: it is missing; write [::1]:PORT"),
        (&["echo", "--listen", "udp:127.0.0.1"], "port: it is missing; write 127.0.0.1:PORT"),
        (&["echo", "--listen", "haproxy:127.0.0.1"], "it is missing; write 127.0.0.1:PORT"),
        (&["echo", "--listen", "[fe80::1]:0"], "a link-local address needs a zone"),
        (&["echo", "--listen", "tcp:0:interface=fe80::1"], "a link-local address needs a zone"),
        (&["echo", "--listen", "udp:[fe80::1]:0"], "a link-local address needs a zone"),
        (&["echo", "--listen", "haproxy:udp:1"], "haproxy wraps a stream server; known are: fd, haproxy"),
        (&["echo", "--listen", "haproxy:tcp:0:allow=everbody"], "did you mean everybody?"),
        (&["echo", "--listen", ":80"], "column 1"),
        (&["echo", "--listen", "tcpp:80"], "did you mean tcp?"),
        (&["echo", "--listen", ""], "at column 1: it is empty; known are: fd, haproxy"),
        (&["echo", "--listen", "x"], "known are: fd, haproxy, systemd, tcp, tcp6, tls, udp, unix"),
        (&["echo", "--listen", "udp"], "write udp:PORT or udp:IP:PORT"),
        (&["echo", "--listen", "upd:7"], "did you mean udp?"),
        (&["echo", "--listen", "7007"], "did you mean tcp:7007?"),
        (&["echo", "--listen", ":7007"], "did you mean tcp:7007?"),
        (&["echo", "--listen", "haproxy:tcp:h:1"], "column 13: interface: \"h\" is not an IP address"),
        (&["echo", "--listen", "haproxy:127.0.0.1:99999"], "column 19: port: 99999 is too large"),
        (&["echo", "--lisen", "tcp:0"], "did you mean --listen?"),
        (
            &["echo", "--listen", "tcp:0:backlgo=5"],
            "column 7: backlgo: tcp has no such argument; did you mean backlog?",
        ),
        (
            &["echo", "--listen", "tcp:0:interface=here"],
            "column 17: interface: \"here\" is not an IP address",
        ),
        (&["echo", "--listen", "unix:"], "column 6: path: the path of the socket is empty"),
        (&["echo", "--listen", "unix:/run/x:mode=999"], "column 18: mode"),
        (
            &["echo", "--listen", "unix:@x", "--workers", "2"],
            "workers can share tcp, tls over tcp, udp, fd and systemd",
        ),
        (
            &["echo", "--listen", "unix:@x", "--processes", "2"],
            "processes can share tcp, tls over tcp, udp and fd",
        ),
        (&["echo", "--listen", "systemd:name=web", "--processes", "2"], "leave --processes out"),
        (&["echo", "--listen", "tcp:127.0.0.1:0", "--processes", "0"], "--processes"),
        (&["echo", "--listen", "udp:localhost"], "localhost"),
        (&["echo", "--listen", "udp:10.0.0.1:80:bind=10.0.0.2"], "write udp:PORT"),
        (&["echo", "--listen", "systemd"], "name=NAME or index=N"),
        (&["echo", "--listen", "tcp:127.0.0.1:70000"], "tcp:127.0.0.1:70000"),
        (&["echo", "--listen", "tcp:127.0.0.1:0", "--listen", "tcp:example.org:1"], "tcp:example.org:1"),
        (&["echo", "--listen", "tcp:127.0.0.1:0", "--workers", "0"], "--workers"),
        (&["traffic", "https://h/", "--ca", "/nonexistent/ca.pem"], "/nonexistent/ca.pem"),
        (&["traffic", "https://h/", "--ca", "x", "--insecure"], "cannot be used with"),
        (&["traffic", "ftp://h/"], "ftp"),
        (&["traffic", "htpp://h/"], "did you mean http://?"),
        (&["traffic", "http://[fe80::1]/"], "a link-local address needs a zone"),
        (&["traffic", "http://h/", "--via", "localhost"], "the port is missing; write localhost:PORT"),
        (&["traffic", "http://h/", "--via", "tpc:h:1"], "did you mean tcp?"),
        (
            &["traffic", "http://h/", "--via", "udp:h:1"],
            "it is a kind of datagram endpoint; known are: tcp, tls, unix",
        ),
        (&["traffic", "http://h/", "--via", "tcp:h:80:timeuot=5"], "column 10: timeuot"),
        (&["traffic", "http://h:99999/"], "99999"),
        (&["traffic", "http://h/", "--field", "a.b"], "a.b"),
        (&["traffic", "http://h/", "--via", ""], "it is empty; known are: tcp, tls, unix"),
        (&["traffic", "http://h/", "--via", "7007"], "did you mean localhost:7007?"),
        (&["traffic", "http://h/", "--via", "tcp:7007"], "did you mean tcp:localhost:7007?"),
        (&["traffic", "http://:80/"], "the host is missing"),
        (&["traffic", ""], "http://"),
        (&["traffic", "http://h/", "--interval", "2s", "--count", "1"], "--interval has no effect"),
        (&["demo", "--for", "ever"], "ever"),
        (&["demo", "--fo", "5s"], "did you mean --for?"),
        (&["load"], "ENDPOINT"),
        (&["load", "tcp:h:0"], "tcp:h:0"),
        (&["load", "h"], "the port is missing; write h:PORT"),
        (&["load", "127.0.0.1"], "the port is missing; write 127.0.0.1:PORT"),
        (&["load", "udp"], "write udp:HOST:PORT"),
        (&["load", "udp:localhost"], "the port is missing; write HOST:PORT"),
        (&["load", "nope:h:1"], "known are: tcp, tls, udp, unix"),
        (&["load", "upd:h:1"], "did you mean udp?"),
        (&["load", "tpc://h:1"], "did you mean tcp?"),
        (&["load", "[fe80::1]:7001"], "a link-local address needs a zone, such as fe80::1%eth0"),
        (&["load", "udp:[fe80::1]:7001"], "a link-local address needs a zone"),
        (&["load", ""], "it is empty"),
        (&["load", "tcp:7007"], "did you mean tcp:localhost:7007?"),
        (&["load", "tcp://7007"], "the host is missing before the port"),
        (&["load", "udp:7007"], "the host is missing before the port"),
        (&["load", "7007"], "did you mean localhost:7007?"),
        (&["load", ":7007"], "did you mean localhost:7007?"),
        (&["load", "1.2.3.256:7"], "looks like an IP address"),
        (&["load", "h:1", "--connections", "0"], "--connections"),
        (&["load", "h:1", "--size", "0"], "--size"),
        (&["load", "h:1", "--depth", "x"], "--depth"),
        (&["load", "h:1", "--rate", "0"], "--rate"),
        (&["load", "h:1", "--rate", "NaN"], "--rate"),
        (&["load", "h:1", "--for", "0"], "--for"),
        (&["load", "h:1", "--churn", "--hold"], "--hold"),
        (&["load", "h:1", "--churn", "--depth", "2"], "--depth"),
        (&["load", "h:1", "--hold", "--rate", "5"], "--rate"),
        (&["load", "h:1", "--interval", "5s"], "--hold"),
        (&["load", "h:1", "--spin"], "--rate"),
        (&["load", "h:1", "--reset"], "--churn"),
        (&["load", "h:1", "--threads", "0"], "--threads"),
        (&["load", "h:1", "--processes", "0"], "--processes"),
        (&["load", "h:1", "--from", "here"], "'here' for '--from <ADDRESS>': it is not an IP address"),
        (&["load", "h:1", "--from", "fe80::1"], "a link-local address needs a zone"),
        (&["load", "unix:@x", "--from", "127.0.0.2"], "only connections of TCP have source addresses"),
        (&["load", "udp:h:1", "--from", "127.0.0.2"], "only connections of TCP have source addresses"),
        (&["load", "udp:h:0"], "h:0"),
        (&["load", "h:1", "--lost-after", "2s"], "--lost-after has no effect"),
        (&["load", "unix:/x", "--lost-after", "2s"], "--lost-after has no effect"),
        (&["load", "udp:h:1", "--ramp", "2s"], "--ramp has no effect"),
        (&["load", "h:1", "--churn", "--ramp", "2s"], "--ramp"),
        (&["load", "udp:h:1", "--size", "7"], "size"),
        (&["load", "udp:h:1", "--churn"], "churn"),
        (&["load", "udp:h:1", "--hold"], "hold"),
        (&["dig"], "the NAME to ask for is missing"),
        (&["dig", "a.example", "MXX"], "MXX is not a type of records; did you mean MX?"),
        (&["dig", "a..example"], "a label is empty"),
        (&["dig", "m\u{fc}nchen.example"], "write its ASCII form, with labels that begin with xn--"),
        (&["dig", "http://a.example/"], "did you mean a.example?"),
        (&["dig", "a.example", "@ns:0"], "port 0 cannot be connected to"),
        (&["dig", "a.example", "@"], "the server after @ is missing"),
        (&["dig", "a.example", "MX", "b.example"], "one word too many: b.example"),
        (&["dig", "-x", "a.example"], "-x needs an IP address"),
        (&["dig", "192.0.2.1", "A"], "leave the type out"),
        (&["dig", "a.example", "AXFR"], "zone transfers are not supported"),
        (&["dig", "a.example", "--short", "--json"], "--json"),
        (&["dig", "a.example", "--short", "--bench", "1s"], "--bench"),
        (&["dig", "a.example", "--depth", "5"], "--bench"),
        (&["dig", "a.example", "--bench", "0"], "--bench"),
        (&["dig", "a.example", "--shrot"], "did you mean --short?"),
        (&["dgi", "a.example"], "did you mean dig?"),
        (&["nonsense"], "nonsense"),
    ] {
        let ended = run(arguments);
        assert_complains(&ended, 2, named);
    }
}

#[test]
fn help_and_version_are_no_errors() {
    for arguments in [
        &["--help"][..],
        &["monitor", "--help"],
        &["traffic", "--help"],
        &["echo", "-h"],
        &["load", "--help"],
        &["dig", "--help"],
    ] {
        let ended = run(arguments);
        assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""));
        assert!(ended.out.contains("Examples:") && ended.out.contains("Exit codes:"), "{arguments:?}");
    }
    assert_eq!(run(&["--version"]).out, concat!("twistor ", env!("CARGO_PKG_VERSION"), "\n"));
    assert_eq!(run(&[]).code, Some(2));
}

#[test]
fn a_port_in_use_is_a_failure_and_not_bad_usage() {
    for nothing in ["fd:1000000", "systemd:name=web", "unix:/nowhere/at/all", "tcp:0:interface=192.0.2.1"] {
        let ended = run(&["echo", "--listen", nothing]);
        assert_complains(&ended, 1, "");
    }
    let taken = crate::command::Service::silent("127.0.0.1:0");
    let ended = run(&["echo", "--listen", "tcp:127.0.0.1:0", "--listen", &format!("tcp:{}", taken.address)]);
    assert_complains(&ended, 1, &taken.address);
}

/// The options of a command with the names of their values, as its help has them.
fn options(command: &str) -> Vec<(String, String)> {
    let help = run(&[command, "--help"]).out;
    let option = |line: &str| {
        let (before, value) = line.trim().split_once(" <")?;
        let name = before.rsplit(", ").next().filter(|name| name.starts_with("--"))?;
        Some((name.to_owned(), value.split_once('>')?.0.to_owned()))
    };
    help.lines().filter_map(option).collect()
}

const COMMANDS: [(&str, &[&str]); 6] = [
    ("monitor", &["tcp://127.0.0.1:1"]),
    ("traffic", &["http://127.0.0.1:1/"]),
    ("echo", &["--listen", "tcp:127.0.0.1:0"]),
    ("load", &["127.0.0.1:1"]),
    ("demo", &[]),
    ("dig", &["a.example", "@127.0.0.1:1"]),
];

#[test]
fn a_negative_number_is_a_bad_value_of_its_option() {
    let mut tried = 0;
    for (command, needed) in COMMANDS {
        for (option, value) in options(command) {
            let negative = match value.as_str() {
                "TIME" => "-1s",
                "NUMBER" | "N" | "S" | "D" | "R" => "-1",
                _ => continue,
            };
            let ended = run(&[&[command], needed, &[&option, negative]].concat());
            let said = format!("'{option} <{value}>");
            assert_complains(&ended, 2, &format!("{negative} is negative"));
            assert!(ended.err.contains(&said) || ended.err.contains(&format!("<{value}>'")), "{}", ended.err);
            tried += 1;
        }
    }
    assert!(tried >= 20, "only {tried} options were found in the help");
}

#[test]
fn help_breaks_its_lines_only_where_they_are_full() {
    for (command, _) in COMMANDS {
        let out = run(&[command, "--help"]).out;
        let after = &out[out.find("A TIME is").unwrap()..];
        for (line, next) in after.lines().zip(after.lines().skip(1)) {
            let prose = |line: &str| !line.is_empty() && !line.starts_with(' ');
            if prose(line) && prose(next) {
                let word = next.split(' ').next().unwrap();
                assert!(line.len() + 1 + word.len() > 100, "{command}: {line:?}, {next:?}");
            }
        }
    }
}

#[test]
fn each_help_with_a_time_lists_its_units() {
    for (command, _) in COMMANDS {
        let times = options(command).iter().any(|(_, value)| value == "TIME");
        assert!(times, "{command} has no option that takes a time any more");
        for help in ["--help", "-h"] {
            let out = run(&[command, help]).out;
            assert!(out.contains("ns, us, ms, s, m, h or d"), "{command} {help}: {out}");
        }
    }
    let ended = run(&["monitor", "--once", "-q", "--timeout", "1h30m", "tcp://127.0.0.1:1"]);
    assert_eq!((ended.code, ended.err.as_str()), (Some(1), ""));
}

#[test]
fn every_form_that_a_help_text_offers_is_taken() {
    let unix = format!("unix:@twistor-usage-{}", std::process::id());
    let (unix, unix_url) = (unix.as_str(), "unix:///nowhere/at/all");
    // What cannot be listened on ends it with exit code 1, once all forms were read.
    for form in [
        "tcp:0",
        "tcp:127.0.0.1:0",
        "tcp:127.0.0.1:0:backlog=50",
        "tcp://127.0.0.1:0",
        "tcp:0:interface=127.0.0.1:backlog=50",
        "127.0.0.1:0",
        "localhost:0",
        "tcp6:0",
        "udp:0",
        "udp:127.0.0.1:0",
        "udp:127.0.0.1:0:max_size=512",
        "udp:0:interface=127.0.0.1",
        unix,
        "haproxy:tcp:0",
        "haproxy:tcp:127.0.0.1:0",
        "haproxy:tcp:127.0.0.1:0:allow=10.0.0.0/8",
        "haproxy:127.0.0.1:0",
        "haproxy:tcp6:0",
        &format!("haproxy:{unix}:mode=660"),
        "fd:1000000",
        "haproxy:fd:1000000",
        "systemd:name=web",
        "haproxy:systemd:name=web",
    ] {
        let ended = run(&["echo", "--listen", form, "--listen", "fd:1000000"]);
        assert_eq!((ended.code, ended.out.as_str()), (Some(1), ""), "{form}: {}", ended.err);
    }
    let port = "127.0.0.1:1";
    let clients = [
        port.to_owned(),
        format!("tcp:{port}"),
        format!("tcp://{port}"),
        format!("tcp:{port}:timeout=2"),
        unix.to_owned(),
        unix_url.to_owned(),
    ];
    for form in &clients {
        let ended = run(&["load", form, "--for", "1ms"]);
        assert_eq!((ended.code, ended.err.lines().count()), (Some(1), 1), "load {form}: {}", ended.err);
        let via = run(&["traffic", "http://h/", "--via", form, "--count", "1"]);
        assert_ne!(via.code, Some(2), "traffic --via {form}: {}", via.err);
        for prefix in ["", "name="] {
            let ended = run(&["monitor", "--once", &format!("{prefix}{form}")]);
            assert_eq!((ended.code, ended.err.as_str()), (Some(1), ""), "monitor {prefix}{form}");
        }
    }
    for form in ["udp:127.0.0.1:1", "udp://127.0.0.1:1"] {
        let ended = run(&["load", form, "--for", "1ms", "--drain-timeout", "0", "--lost-after", "1ms"]);
        assert_ne!(ended.code, Some(2), "load {form}: {}", ended.err);
    }
    let held = [
        format!("hold://{port}"),
        format!("hold:{port}"),
        format!("hold:tcp:{port}"),
        format!("hold:{unix}"),
    ];
    for form in held.iter().chain([&format!("web=hold:tcp:{port}:timeout=2")]) {
        let ended = run(&["monitor", "--once", form]);
        assert_eq!((ended.code, ended.err.as_str()), (Some(1), ""), "monitor {form}");
    }
}

#[test]
fn a_stdout_that_is_full_is_an_error_of_help_and_version() {
    if !std::path::Path::new("/dev/full").exists() {
        return;
    }
    for arguments in [&["--help"][..], &["--version"], &["monitor", "--help"], &["help"], &["help", "load"]] {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let ended = crate::command::twistor(arguments).stdout(full).output().unwrap();
        let err = String::from_utf8(ended.stderr).unwrap();
        assert_eq!((ended.status.code(), err.lines().count()), (Some(1), 1), "{arguments:?}: {err}");
        assert!(err.starts_with("twistor: cannot write to stdout: "), "{err}");
    }
}

#[test]
fn no_escape_sequence_goes_where_none_is_wanted() {
    for arguments in [
        &[][..],
        &["--help"],
        &["monitor", "--help"],
        &["moniter"],
        &["monitor", "--watch", "--count", "1", "tcp://127.0.0.1:1"],
        &["demo", "--for", "1ms"],
    ] {
        for (name, value) in [("TERM", "dumb"), ("TERM", "xterm"), ("NO_COLOR", "1"), ("CLICOLOR", "0")] {
            let output =
                crate::command::twistor(arguments).env(name, value).env("COLUMNS", "80").output().unwrap();
            let all = [output.stdout, output.stderr].concat();
            assert!(!all.contains(&0x1b), "{arguments:?}: {}", String::from_utf8_lossy(&all));
        }
    }
    // Asked for, they are in everything that has colours.
    for (arguments, wanted) in [(&[][..], true), (&["--help"], true), (&["demo", "--for", "1ms"], true)] {
        let mut command = crate::command::twistor(arguments);
        let output = command.env("CLICOLOR_FORCE", "1").env("TERM", "xterm").env_remove("NO_COLOR").output();
        let output = output.unwrap();
        let all = [output.stdout, output.stderr].concat();
        assert_eq!(all.contains(&0x1b), wanted, "{arguments:?}");
    }
}

#[test]
fn watch_without_a_terminal_says_so_and_shows_lines() {
    let ended = run(&["monitor", "--watch", "--count", "1", "tcp://127.0.0.1:1"]);
    assert_eq!((ended.code, ended.err.lines().count()), (Some(0), 1), "{}", ended.err);
    assert!(ended.err.contains("stdout is not a terminal") && ended.out.contains("down "), "{}", ended.err);
}

#[test]
fn no_example_panics_when_its_reader_goes_away() {
    let examples = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let mut seen = 0;
    for entry in std::fs::read_dir(examples).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        // std's macros panic on EPIPE; comments may name them. `println_or_exit!` does not.
        for line in text.lines().filter(|line| !line.trim_start().starts_with("//")) {
            assert!(!line.contains("print!(") && !line.contains("println!("), "{}: {line}", path.display());
            assert!(!line.contains("macro_rules!"), "{}: {line}", path.display());
        }
        assert!(text.lines().count() < 100, "{} is too long for an example", path.display());
        seen += 1;
    }
    assert!(seen >= 18);
}

#[test]
fn an_option_that_has_an_effect_is_taken() {
    let held = ["--count", "2", "--interval", "1ms", "hold://127.0.0.1:1"];
    let mixed = ["--once", "--timeout", "1s", "hold://127.0.0.1:1", "tcp://127.0.0.1:1"];
    for arguments in [&held[..], &mixed] {
        let ended = run(&[&["monitor"][..], arguments].concat());
        assert_ne!(ended.code, Some(2), "{arguments:?}: {}", ended.err);
    }
    // Two hundred targets are first looked at within the interval, and not in two seconds.
    let targets: Vec<String> = (0..200).map(|number| format!("n{number}=hold://127.0.0.1:1")).collect();
    let targets: Vec<&str> = targets.iter().map(String::as_str).collect();
    let mut monitor = Running::start(&[&["monitor", "--interval", "1s"][..], &targets].concat());
    monitor.line_with(&["n0 ", "down"]);
    assert_eq!(monitor.end_by(Signal::TERM).code, Some(0));
}

#[test]
fn the_chapter_on_commands_has_every_option() {
    let chapter = include_str!("../../src/guide/commands.md");
    for command in ["demo", "monitor", "traffic", "echo", "load", "dig", "cert", "get", "serve"] {
        let section = chapter.split("\n# ").find(|section| section.starts_with(&format!("{command}\n")));
        // The first column of its tables.
        let rows = section.unwrap().lines().filter(|line| line.starts_with("| `-"));
        let cells = rows.filter_map(|line| line.split('|').nth(1)).flat_map(|cell| cell.split('`'));
        let mut documented: Vec<&str> = cells.filter_map(|code| code.split(' ').next()).collect();
        documented.retain(|code| code.starts_with("--"));
        let help = run(&[command, "--help"]).out;
        // Descriptions are indented further.
        let heads = help.lines().filter(|line| line.starts_with("      --") || line.starts_with("  -"));
        let mut options: Vec<&str> =
            heads.filter_map(|line| line.split(' ').find(|w| w.starts_with("--"))).collect();
        options.retain(|option| *option != "--help");
        options.sort();
        documented.sort();
        documented.dedup();
        assert_eq!(documented, options, "{command}");
    }
}
