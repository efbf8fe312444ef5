//! Bad usage is one line on stderr that names what was wrong, exit code 2, and nothing started.
#![cfg(feature = "cli")]

mod command;

use command::run;

#[test]
fn a_bad_argument_is_named_on_one_line() {
    for (arguments, named) in [
        (&["monitor", "tcp://h:0"][..], "tcp://h:0"),
        (&["monitor", "tcp://h:70000"], "tcp://h:70000"),
        (&["monitor", "tcp://:80"], "tcp://:80"),
        (&["monitor", "udp://h:80"], "udp"),
        (&["monitor", "garbage"], "garbage"),
        (&["monitor", "tcp://localhost:1", "tcp://1.2.3.256:9"], "1.2.3.256"),
        (&["monitor", "tcp://h:1\nx"], "tcp://h:1\\nx"),
        (
            &["monitor", "tcp:h:1:timeuot=5"],
            "column 9: timeuot: tcp has no such argument; did you mean timeout?",
        ),
        (&["monitor", "web=hold:unix:"], "column 15: path"),
        (&["monitor", "udp:h:1"], "hold://HOST:PORT"),
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
        (&["monitor", "--lost-after", "500ms", "hold://h:1"], "3 seconds are the least"),
        (&["monitor", "--lost-after", "10h", "hold://h:1"], "9 hours are the most"),
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
        (&["monitor", "--timeout", "2s", "tcp:h:1:timeout=3"], "--timeout has no effect"),
        (&["monitor", "tcp:h:1:keepalive=5"], "keepalive has no effect"),
        (&["monitor", "hold:tcp:h:1:keepalive=36000"], "keepalive: 32767 seconds is the longest"),
        (&["monitor", "hold:tcp:h:1:nodelay=yes"], "nodelay has no effect"),
        (&["echo", "--listen", "tcp:0:keepalive=36000"], "keepalive: 32767 seconds is the longest"),
        (&["echo", "--listen", "tcp:0:user_timeout=0"], "user_timeout: it has to be more than nothing"),
        (&["echo"], "--listen"),
        (&["echo", "--listen", "127.0.0.1"], "the port is missing"),
        (&["echo", "--listen", ":80"], "column 1"),
        (&["echo", "--listen", "tcpp:80"], "did you mean tcp?"),
        (
            &["echo", "--listen", "tcp:0:backlgo=5"],
            "column 7: backlgo: tcp has no such argument; did you mean backlog?",
        ),
        (&["echo", "--listen", "tcp:0:interface=here"], "column 17: interface: \"here\" is no IP address"),
        (&["echo", "--listen", "unix:"], "column 6: path: the path of the socket is empty"),
        (&["echo", "--listen", "unix:/run/x:mode=999"], "column 18: mode"),
        (&["echo", "--listen", "unix:@x", "--workers", "2"], "workers can share tcp, udp, fd and systemd"),
        (&["echo", "--listen", "unix:@x", "--processes", "2"], "processes can share tcp, udp and fd"),
        (&["echo", "--listen", "systemd:name=web", "--processes", "2"], "leave --processes out"),
        (&["echo", "--listen", "tcp:127.0.0.1:0", "--processes", "0"], "--processes"),
        (&["echo", "--listen", "udp:localhost"], "localhost"),
        (&["echo", "--listen", "udp:10.0.0.1:80:bind=10.0.0.2"], "write udp:PORT"),
        (&["echo", "--listen", "systemd"], "name=NAME or index=N"),
        (&["echo", "--listen", "tcp:127.0.0.1:70000"], "tcp:127.0.0.1:70000"),
        (&["echo", "--listen", "tcp:127.0.0.1:0", "--listen", "tcp:example.org:1"], "tcp:example.org:1"),
        (&["echo", "--listen", "tcp:127.0.0.1:0", "--workers", "0"], "--workers"),
        (&["traffic", "https://h/"], "TLS"),
        (&["traffic", "ftp://h/"], "ftp"),
        (&["traffic", "http://h/", "--via", "tcp:h:80:timeuot=5"], "column 10: timeuot"),
        (&["traffic", "http://h:99999/"], "99999"),
        (&["traffic", "http://h/", "--field", "a.b"], "a.b"),
        (&["demo", "--for", "ever"], "ever"),
        (&["load"], "ENDPOINT"),
        (&["load", "tcp:h:0"], "tcp:h:0"),
        (&["load", "h"], "\"h\""),
        (&["load", "h:1", "--connections", "0"], "--connections"),
        (&["load", "h:1", "--size", "0"], "--size"),
        (&["load", "h:1", "--depth", "x"], "--depth"),
        (&["load", "h:1", "--rate", "0"], "--rate"),
        (&["load", "h:1", "--rate", "NaN"], "--rate"),
        (&["load", "h:1", "--for", "0"], "--for"),
        (&["load", "h:1", "--churn", "--hold"], "--hold"),
        (&["load", "h:1", "--churn", "--depth", "2"], "--depth"),
        (&["load", "h:1", "--hold", "--rate", "5"], "--rate"),
        (&["load", "h:1", "--every", "5s"], "--hold"),
        (&["load", "h:1", "--spin"], "--rate"),
        (&["load", "h:1", "--reset"], "--churn"),
        (&["load", "h:1", "--threads", "0"], "--threads"),
        (&["load", "h:1", "--processes", "0"], "--processes"),
        (&["load", "h:1", "--from", "here"], "here"),
        (&["load", "unix:@x", "--from", "127.0.0.2"], "only connections of TCP have source addresses"),
        (&["load", "udp:h:1", "--from", "127.0.0.2"], "only connections of TCP have source addresses"),
        (&["load", "udp:h:0"], "h:0"),
        (&["load", "udp:h:1", "--size", "7"], "size"),
        (&["load", "udp:h:1", "--churn"], "churn"),
        (&["load", "udp:h:1", "--hold"], "hold"),
        (&["nonsense"], "nonsense"),
    ] {
        let ended = run(arguments);
        assert_eq!((ended.code, ended.out.as_str()), (Some(2), ""), "{arguments:?}");
        assert_eq!(ended.err.lines().count(), 1, "{arguments:?}: {}", ended.err);
        assert!(
            ended.err.starts_with("twistor: ") && ended.err.contains(named),
            "{arguments:?}: {}",
            ended.err
        );
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
        assert_eq!((ended.code, ended.out.as_str()), (Some(1), ""), "{nothing}");
        assert_eq!(ended.err.lines().count(), 1, "{}", ended.err);
    }
    let taken = command::Service::silent("127.0.0.1:0");
    let ended = run(&["echo", "--listen", "tcp:127.0.0.1:0", "--listen", &format!("tcp:{}", taken.address)]);
    assert_eq!((ended.code, ended.out.as_str()), (Some(1), ""));
    assert!(ended.err.contains(&taken.address) && ended.err.lines().count() == 1, "{}", ended.err);
}
