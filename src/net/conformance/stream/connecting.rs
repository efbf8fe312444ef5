//! Connects: established, refused and in progress.

use crate::net::conformance::{tables, transcripts};

transcripts! {
    a_connection_is_made_when_it_is_writable_and_has_no_error: "
        listen l 127.0.0.1:0 -> ok
        connect a l -> ok
        wait a writable -> yes
        error a -> none
        local a -> 127.0.0.1:a
        peer a -> 127.0.0.1:l
    ";
    a_connection_is_made_before_it_is_accepted: "
        listen l 127.0.0.1:0 -> ok
        connect a l -> ok
        send a hello -> 5
        accept l b -> from 127.0.0.1:a
        recv b -> \"hello\"
    ";
    // The connecting side sends the last segment of the handshake, so it is connected before the
    // accept.
    an_accepted_connection_is_made_on_its_other_side: "
        listen l 127.0.0.1:0 -> ok
        connect a l -> ok
        accept l b -> from 127.0.0.1:a
        error a -> none
        peer a -> 127.0.0.1:l
    ";
    data_sent_before_the_accept_outlives_a_close: "
        listen l 127.0.0.1:0 -> ok
        connect a l -> ok
        send a hello -> 5
        close a
        accept l b -> from 127.0.0.1:a
        recv b -> \"hello\"
        recv b -> end
        peer b -> 127.0.0.1:a
    ";
    a_refused_connection_is_reported_once: "
        pair a b
        # A port of a connection cannot have a wildcard listener, and has none at another address.
        connect c 127.0.0.2:a from=127.0.0.3:0 -> ok
        wait c closed -> yes
        local c -> 127.0.0.3:c
        peer c -> NotConnected
        error c -> ConnectionRefused
        error c -> none
        recv_now c -> end
        send_now c x -> BrokenPipe
        shutdown c -> NotConnected
    ";
    a_refused_connection_is_reported_as_writable_too: "
        pair a b
        connect c 127.0.0.2:a -> ok
        wait c writable -> yes
        wait c readable -> yes
        error c -> ConnectionRefused
    ";
    a_listener_that_has_closed_refuses: "
        listen l 127.0.0.1:0 -> ok
        close l
        # The source address differs; otherwise it could connect to itself.
        connect a 127.0.0.1:l from=127.0.0.2:0 -> ok
        wait a closed -> yes
        error a -> ConnectionRefused
    ";
    a_port_that_connects_to_itself_is_connected: "
        free p
        connect a 127.0.0.1:p from=127.0.0.1:p -> ok
        wait a writable -> yes
        error a -> none
        local a -> 127.0.0.1:p
        peer a -> 127.0.0.1:p
        send a hello -> 5
        recv a -> \"hello\"
        recv_now a -> WouldBlock
        shutdown a -> ok
        recv a -> end
        send_now a x -> BrokenPipe
    ";
    the_unspecified_address_is_this_machine: "
        listen l 127.0.0.1:0 -> ok
        connect a 0.0.0.0:l -> ok
        accept l b -> from 127.0.0.1:a
        wait a writable -> yes
        peer a -> 127.0.0.1:l
        local a -> 127.0.0.1:a
    ";
    the_unspecified_address_of_ipv6_is_this_machine: "
        listen l [::1]:0 -> ok
        connect a [::]:l -> ok
        accept l b -> from [::1]:a
        wait a writable -> yes
        peer a -> [::1]:l
        local a -> [::1]:a
    ";
    port_zero_has_no_listener: "
        connect a 127.0.0.1:0 -> ok
        wait a closed -> yes
        error a -> ConnectionRefused
    ";
    a_connection_can_come_from_any_loopback_address: "
        listen l 127.0.0.1:0 -> ok
        connect a l from=127.0.0.9:0 -> ok
        accept l b -> from 127.0.0.9:a
        local a -> 127.0.0.9:a
        peer b -> 127.0.0.9:a
    ";
    a_connection_to_any_loopback_address_comes_from_the_first: "
        listen l 127.0.0.7:0 -> ok
        connect a l -> ok
        accept l b -> from 127.0.0.1:a
        wait a writable -> yes
        peer a -> 127.0.0.7:l
    ";
    a_listener_at_one_loopback_address_is_not_at_another: "
        free p
        listen l 127.0.0.7:p -> ok
        connect a 127.0.0.1:p -> ok
        wait a closed -> yes
        error a -> ConnectionRefused
    ";
    a_wildcard_listener_is_at_all_loopback_addresses: "
        listen l 0.0.0.0:0 -> ok
        connect a 127.0.0.7:l -> ok
        accept l b -> from 127.0.0.1:a
        local l -> 0.0.0.0:l
        local b -> 127.0.0.7:l
        wait a writable -> yes
        peer a -> 127.0.0.7:l
    ";
    the_port_that_was_asked_for_is_used: "
        listen l 127.0.0.1:0 -> ok
        free p
        connect a l from=127.0.0.1:p -> ok
        accept l b -> from 127.0.0.1:p
        local a -> 127.0.0.1:p
    ";
    a_wildcard_source_becomes_an_address: "
        listen l 127.0.0.1:0 -> ok
        free p
        connect a l from=0.0.0.0:p -> ok
        wait a writable -> yes
        local a -> 127.0.0.1:p
    ";
    one_port_reaches_two_listeners_when_both_ask_for_reuse: "
        listen l 127.0.0.1:0 -> ok
        listen m 127.0.0.1:0 -> ok
        free p
        connect a l from=127.0.0.1:p reuse_address -> ok
        connect b m from=127.0.0.1:p reuse_address -> ok
        accept l c -> from 127.0.0.1:p
        accept m d -> from 127.0.0.1:p
    ";
    two_connections_cannot_have_the_same_ends: "
        listen l 127.0.0.1:0 -> ok
        free p
        connect a l from=127.0.0.1:p reuse_address -> ok
        connect b l from=127.0.0.1:p reuse_address -> connect: AddrNotAvailable
    ";
    connections_get_ports_of_their_own: "
        listen l 127.0.0.1:0 -> ok
        connect a l -> ok
        connect b l -> ok
        connect c l -> ok
        local a -> 127.0.0.1:a
        local b -> 127.0.0.1:b
        local c -> 127.0.0.1:c
    ";
    processes_reach_each_other: "
        listen l 127.0.0.1:0 -> ok
        process 1
        connect a 127.0.0.1:l -> ok
        accept l b -> from 127.0.0.1:a
        send a hello -> 5
        recv b -> \"hello\"
        close a
        recv b -> end
    ";
    a_connection_in_progress_returns_that_it_is: "
        listen l 127.0.0.1:0 backlog=1 -> ok
        connect a l -> ok
        connect b l -> ok
        wait a writable -> yes
        wait b writable -> yes
        connect c l -> ok
        settle
        error c -> none
        local c -> 127.0.0.1:c
        peer c -> NotConnected
        recv_now c -> WouldBlock
        send_now c x -> WouldBlock
        set c nodelay=on -> ok
        error c -> none
    ";
    the_output_of_a_connection_in_progress_can_be_shut: "
        listen l 127.0.0.1:0 backlog=1 -> ok
        connect a l -> ok
        connect b l -> ok
        wait b writable -> yes
        connect c l -> ok
        shutdown c -> ok
        error c -> ConnectionReset
        recv_now c -> NotConnected
        send_now c x -> BrokenPipe
    ";
    a_connection_beyond_the_backlog_is_made_when_there_is_room: "
        listen l 127.0.0.1:0 backlog=1 -> ok
        connect a l -> ok
        connect b l -> ok
        wait b writable -> yes
        connect c l -> ok
        settle
        peer c -> NotConnected
        accept l d -> from 127.0.0.1:a
        wait c writable -> yes
        error c -> none
        peer c -> 127.0.0.1:l
        accept l e -> from 127.0.0.1:b
        accept l f -> from 127.0.0.1:c
    ";
    a_connection_in_progress_that_is_closed_is_never_accepted: "
        listen l 127.0.0.1:0 backlog=1 -> ok
        connect a l -> ok
        connect b l -> ok
        wait b writable -> yes
        connect c l -> ok
        close c
        accept l d -> from 127.0.0.1:a
        accept l e -> from 127.0.0.1:b
        settle
        accept_now l f -> WouldBlock
    ";
    a_connection_in_progress_is_refused_on_listener_close: "
        listen l 127.0.0.1:0 backlog=1 -> ok
        connect a l -> ok
        connect b l -> ok
        wait b writable -> yes
        connect c l -> ok
        settle
        close l
        wait c closed -> yes
        error c -> ConnectionRefused
    ";
}

tables! {
    a_source_address_can_be_unavailable(from, answer): "
        listen l 127.0.0.1:0 -> ok
        connect a l from={from} -> {answer}
    " {
        "an address that is not ours": "203.0.113.1:0", "bind: AddrNotAvailable";
        "an address of the other family": "[::1]:0", "bind: AddressFamilyNotSupported";
        "a listener's port": "127.0.0.1:l", "bind: AddrInUse";
    }
    the_first_call_gets_the_refusal(first, answer, recv, send, error): "
        pair a b
        connect c 127.0.0.2:a -> ok
        wait c closed -> yes
        {first} -> {answer}
        recv_now c -> {recv}
        send_now c x -> {send}
        error c -> {error}
        recv_now c -> end
    " {
        "a read": "recv_now c", "ConnectionRefused", "end", "BrokenPipe", "none";
        "a write": "send_now c x", "ConnectionRefused", "end", "BrokenPipe", "none";
        "the question": "error c", "ConnectionRefused", "end", "BrokenPipe", "none";
        "not a shutdown": "shutdown c", "NotConnected", "ConnectionRefused", "BrokenPipe", "none";
    }
}
