//! Options of a stream in each of its states.

use crate::net::conformance::tables;

tables! {
    options_can_be_set(option, answer): "
        pair a b
        set a {option} -> {answer}
        set a {option} -> {answer}
        set b {option} -> {answer}
        send a hello -> 5
        recv b -> \"hello\"
        error a -> none
    " {
        "no delay": "nodelay=on", "ok";
        "a delay": "nodelay=off", "ok";
        "keepalive": "keepalive=60000", "ok";
        "keepalive of a second": "keepalive=1000", "ok";
        "no keepalive": "keepalive=off", "ok";
        "a user timeout": "user_timeout=8500", "ok";
        "the longest user timeout": "user_timeout=2147483647", "ok";
        "too long a user timeout": "user_timeout=2147483648", "InvalidInput";
        "no user timeout": "user_timeout=off", "ok";
    }
    // The system counts in whole seconds, up to 32,767.
    keepalive_has_a_range(idle, answer): "
        pair a b
        set a keepalive={idle} -> {answer}
        send a hello -> 5
        recv b -> \"hello\"
    " {
        "none": "0", "InvalidInput";
        "less than a second": "999", "InvalidInput";
        "a second and more": "1999", "ok";
        "the longest": "32767999", "ok";
        "too long": "32768000", "InvalidInput";
    }
    options_can_be_set_at_any_time(made, answer, keepalive): "
        listen l 127.0.0.1:0 backlog=1 -> ok
        connect a l -> ok
        accept l b -> from 127.0.0.1:a
        wait a writable -> yes
        {made}
        settle
        set a nodelay=on -> {answer}
        set a keepalive=60000 -> {keepalive}
        set a keepalive=off -> {keepalive}
        set a user_timeout=5000 -> {keepalive}
    " {
        "of an open connection": "wait a writable -> yes", "ok", "ok";
        "after an end": "shutdown b -> ok", "ok", "ok";
        "after the own end": "shutdown a -> ok", "ok", "ok";
        "after a close": "close b", "ok", "ok";
        "after a reset": "reset b", "ok", "ok";
        "after the own close": "close a", "NotFound", "NotFound";
        "after both ends": "
            shutdown a -> ok
            shutdown b -> ok", "ok", "ok";
        "of a connection refused": "connect a 127.0.0.2:a -> ok", "ok", "ok";
        "of a connection under way": "
            connect c l -> ok
            connect d l -> ok
            wait d writable -> yes
            connect a l -> ok", "ok", "ok";
    }
}
