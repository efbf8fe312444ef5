//! RST: which calls see it, when, and how often.

use crate::net::conformance::{tables, transcripts};

transcripts! {
    a_reset_is_read_once: "
        pair a b
        reset a
        wait b closed -> yes
        recv_now b -> ConnectionReset
        recv_now b -> end
        recv_now b -> end
        error b -> none
    ";
    a_reset_is_reported_to_a_peer_that_has_read_everything: "
        pair a b
        recv_now b -> WouldBlock
        forget b
        reset a
        wait b closed -> yes
        recv b -> ConnectionReset
    ";
    a_reset_is_reported_to_a_peer_that_waits_to_write: "
        pair a b
        fill b -> WouldBlock
        forget b
        reset a
        wait b writable -> yes
        send_now b x -> ConnectionReset
        send_now b y -> BrokenPipe
        recv_now b -> end
        error b -> none
    ";
    a_reset_drops_undelivered_data: "
        pair a b
        fill a -> WouldBlock
        reset a
        wait b closed -> yes
        settle
        error b -> ConnectionReset
    ";
    bytes_come_before_a_reset: "
        pair a b
        send a hello -> 5
        wait b readable -> yes
        reset a
        wait b closed -> yes
        recv_now b 3 -> \"hel\"
        recv_now b 3 -> \"lo\"
        recv_now b 3 -> ConnectionReset
        recv_now b 3 -> end
    ";
    a_reset_before_the_accept_is_seen_after_it: "
        listen l 127.0.0.1:0 -> ok
        connect a l -> ok
        wait a writable -> yes
        wait l readable -> yes
        reset a
        settle
        accept l b -> from 127.0.0.1:a
        peer b -> NotConnected
        local b -> 127.0.0.1:l
        wait b closed -> yes
        recv_now b -> ConnectionReset
        recv_now b -> end
    ";
    bytes_and_a_reset_before_the_accept: "
        listen l 127.0.0.1:0 -> ok
        connect a l -> ok
        send a hello -> 5
        wait l readable -> yes
        reset a
        settle
        accept l b -> from 127.0.0.1:a
        peer b -> NotConnected
        recv b -> \"hello\"
        recv b -> ConnectionReset
        recv b -> end
    ";
    a_reset_connection_keeps_its_place_in_the_queue: "
        listen l 127.0.0.1:0 -> ok
        connect a l -> ok
        connect b l -> ok
        wait b writable -> yes
        reset a
        settle
        accept l c -> from 127.0.0.1:a
        accept l d -> from 127.0.0.1:b
        recv c -> ConnectionReset
        recv_now d -> WouldBlock
    ";
    a_reset_of_a_connection_in_progress_is_a_close: "
        listen l 127.0.0.1:0 backlog=1 -> ok
        connect a l -> ok
        connect b l -> ok
        wait b writable -> yes
        connect c l -> ok
        reset c
        accept l d -> from 127.0.0.1:a
        accept l e -> from 127.0.0.1:b
        settle
        accept_now l f -> WouldBlock
    ";
    a_reset_leaves_the_addresses_of_this_side: "
        pair a b
        reset a
        wait b closed -> yes
        local b -> 127.0.0.1:l
        peer b -> NotConnected
        recv_now b -> ConnectionReset
        local b -> 127.0.0.1:l
        peer b -> NotConnected
    ";
    a_reset_from_both_sides: "
        pair a b
        reset a
        reset b
        settle
        connect c l -> ok
        accept l d -> from 127.0.0.1:c
    ";
    a_reset_after_the_own_end: "
        pair a b
        shutdown b -> ok
        reset a
        wait b closed -> yes
        settle
        recv_now b -> ConnectionReset
        recv_now b -> end
        send_now b x -> BrokenPipe
        error b -> none
    ";
    a_reset_after_the_end_was_read: "
        pair a b
        shutdown a -> ok
        recv b -> end
        reset a
        settle
        error b -> BrokenPipe
        recv_now b -> end
        send_now b x -> BrokenPipe
        peer b -> NotConnected
    ";
    a_reset_after_the_end_was_read_breaks_the_next_write: "
        pair a b
        shutdown a -> ok
        recv b -> end
        reset a
        settle
        send_now b x -> BrokenPipe
        send_now b y -> BrokenPipe
        error b -> none
        recv_now b -> end
    ";
    a_port_whose_connection_was_reset_is_free: "
        listen l 127.0.0.1:0 -> ok
        free p
        connect a l from=127.0.0.1:p -> ok
        accept l b -> from 127.0.0.1:p
        reset a
        recv b -> ConnectionReset
        close b
        connect c l from=127.0.0.1:p -> ok
        accept l d -> from 127.0.0.1:p
    ";
}

tables! {
    // The first call gets the error. It is reported once; later calls see the closed connection.
    the_first_call_gets_the_reset(first, answer, recv, send, error, shutdown): "
        pair a b
        reset a
        wait b closed -> yes
        {first} -> {answer}
        recv_now b -> {recv}
        send_now b x -> {send}
        error b -> {error}
        shutdown b -> {shutdown}
    " {
        "a read": "recv_now b", "ConnectionReset", "end", "BrokenPipe", "none", "NotConnected";
        "a read without room": "recv_now b 0", "ConnectionReset", "end", "BrokenPipe", "none", "NotConnected";
        "a write": "send_now b x", "ConnectionReset", "end", "BrokenPipe", "none", "NotConnected";
        "a write of nothing": "send_now b nothing", "ConnectionReset", "end", "BrokenPipe", "none", "NotConnected";
        "the question": "error b", "ConnectionReset", "end", "BrokenPipe", "none", "NotConnected";
        "a shutdown": "shutdown b", "NotConnected", "ConnectionReset", "BrokenPipe", "none", "NotConnected";
        "an option": "set b nodelay=on", "ok", "ConnectionReset", "BrokenPipe", "none", "NotConnected";
        "an address": "peer b", "NotConnected", "ConnectionReset", "BrokenPipe", "none", "NotConnected";
    }
    // Every order of bytes, FIN, RST and close on one side, as the other side receives it.
    the_other_side_reads(acts, then, first, second, third, error, send): "
        pair a b
        {acts}
        {then}
        wait b closed -> yes
        settle
        recv_now b -> {first}
        recv_now b -> {second}
        recv_now b -> {third}
        error b -> {error}
        send_now b x -> {send}
    " {
        "an end": "shutdown a -> ok", "settle", "end", "end", "end", "none", "1";
        "a close": "close a", "settle", "end", "end", "end", "none", "1";
        "a reset": "reset a", "settle", "ConnectionReset", "end", "end", "none", "BrokenPipe";
        "bytes and an end": "send a hello -> 5", "shutdown a -> ok", "\"hello\"", "end", "end", "none", "1";
        "bytes and a close": "send a hello -> 5", "close a", "\"hello\"", "end", "end", "none", "1";
        "bytes and a reset": "send a hello -> 5", "reset a", "\"hello\"", "ConnectionReset", "end", "none", "BrokenPipe";
        "an end and a close": "shutdown a -> ok", "close a", "end", "end", "end", "none", "1";
        "an end and a reset": "shutdown a -> ok", "reset a", "end", "end", "end", "BrokenPipe", "BrokenPipe";
    }
    // The same with bytes first, as the other side sees it when it sends.
    the_other_side_writes(acts, then, first, second, third, recv, error): "
        pair a b
        {acts}
        {then}
        wait b closed -> yes
        settle
        send_now b x -> {first}
        settle
        send_now b y -> {second}
        settle
        send_now b z -> {third}
        recv_now b -> {recv}
        error b -> {error}
    " {
        "after an end": "shutdown a -> ok", "settle", "1", "1", "1", "end", "none";
        "after a close": "close a", "settle", "1", "BrokenPipe", "BrokenPipe", "end", "none";
        "after a reset": "reset a", "settle", "ConnectionReset", "BrokenPipe", "BrokenPipe", "end", "none";
        "after bytes and an end": "send a hello -> 5", "shutdown a -> ok", "1", "1", "1", "\"hello\"", "none";
        "after bytes and a close": "send a hello -> 5", "close a", "1", "BrokenPipe", "BrokenPipe", "\"hello\"", "none";
        "after bytes and a reset": "send a hello -> 5", "reset a", "ConnectionReset", "BrokenPipe", "BrokenPipe", "\"hello\"", "none";
        "after an end and a close": "shutdown a -> ok", "close a", "1", "BrokenPipe", "BrokenPipe", "end", "none";
        "after an end and a reset": "shutdown a -> ok", "reset a", "BrokenPipe", "BrokenPipe", "BrokenPipe", "end", "none";
    }
    after_bytes_and_an_end_comes(last, first, second, third, error): "
        pair a b
        send a hello -> 5
        shutdown a -> ok
        {last}
        wait b closed -> yes
        settle
        recv_now b -> {first}
        recv_now b -> {second}
        recv_now b -> {third}
        error b -> {error}
    " {
        "nothing": "settle", "\"hello\"", "end", "end", "none";
        "a close": "close a", "\"hello\"", "end", "end", "none";
        "a reset": "reset a", "\"hello\"", "end", "end", "BrokenPipe";
    }
}
