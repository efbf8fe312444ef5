//! Listeners: addresses in use, accepted connections and their order.

use crate::net::conformance::{tables, transcripts};

transcripts! {
    connections_are_accepted_in_the_order_in_which_they_came: "
        listen l 127.0.0.1:0 -> ok
        connect a l -> ok
        connect b l -> ok
        connect c l -> ok
        wait c writable -> yes
        accept l d -> from 127.0.0.1:a
        accept l e -> from 127.0.0.1:b
        accept l f -> from 127.0.0.1:c
        accept_now l g -> WouldBlock
    ";
    one_report_can_stand_for_several_connections: "
        listen l 127.0.0.1:0 -> ok
        connect a l -> ok
        connect b l -> ok
        wait l readable -> yes
        wait b writable -> yes
        accept_now l c -> from 127.0.0.1:a
        accept_now l d -> from 127.0.0.1:b
        accept_now l e -> WouldBlock
    ";
    an_accept_from_an_empty_queue_would_block: "
        listen l 127.0.0.1:0 -> ok
        accept_now l a -> WouldBlock
    ";
    after_an_empty_queue_the_next_connection_is_reported: "
        listen l 127.0.0.1:0 -> ok
        accept_now l a -> WouldBlock
        connect a l -> ok
        accept l b -> from 127.0.0.1:a
        accept_now l c -> WouldBlock
        forget l
        connect d l -> ok
        accept l e -> from 127.0.0.1:d
    ";
    each_listener_has_its_own_connections: "
        listen l 127.0.0.1:0 -> ok
        listen m 127.0.0.1:0 -> ok
        connect a l -> ok
        # The source address differs; otherwise it could have the same port.
        connect b m from=127.0.0.2:0 -> ok
        accept m c -> from 127.0.0.2:b
        accept_now m d -> WouldBlock
        accept l d -> from 127.0.0.1:a
        local c -> 127.0.0.1:m
        local d -> 127.0.0.1:l
    ";
    listeners_get_ports_of_their_own: "
        listen l 127.0.0.1:0 -> ok
        listen m 127.0.0.1:0 -> ok
        listen n 0.0.0.0:0 -> ok
        listen o [::]:0 -> ok
        local l -> 127.0.0.1:l
        local m -> 127.0.0.1:m
        local n -> 0.0.0.0:n
        local o -> [::]:o
    ";
    a_closed_listener_resets_waiting_connections: "
        listen l 127.0.0.1:0 -> ok
        connect a l -> ok
        connect b l -> ok
        send a hello -> 5
        wait b writable -> yes
        close l
        wait a closed -> yes
        wait b closed -> yes
        recv_now a -> ConnectionReset
        error a -> none
        error b -> ConnectionReset
        recv_now b -> end
    ";
    a_listener_can_be_reset_too: "
        listen l 127.0.0.1:0 -> ok
        connect a l -> ok
        wait a writable -> yes
        reset l
        wait a closed -> yes
        recv_now a -> ConnectionReset
    ";
    accepted_connections_outlive_their_listener: "
        listen l 127.0.0.1:0 -> ok
        connect a l -> ok
        accept l b -> from 127.0.0.1:a
        close l
        send a hello -> 5
        recv b -> \"hello\"
        local b -> 127.0.0.1:l
    ";
    a_closed_listener_leaves_its_port_free: "
        listen l 127.0.0.1:0 -> ok
        close l
        listen m 127.0.0.1:l -> ok
        connect a m -> ok
        accept m b -> from 127.0.0.1:a
    ";
    a_closed_listener_with_connections_leaves_its_port_to_reuse: "
        listen l 127.0.0.1:0 reuse_address -> ok
        connect a l -> ok
        accept l b -> from 127.0.0.1:a
        close l
        listen m 127.0.0.1:l -> bind: AddrInUse
        listen n 127.0.0.1:l reuse_address -> ok
        connect c n -> ok
        accept n d -> from 127.0.0.1:c
        send a hello -> 5
        recv b -> \"hello\"
    ";
    a_listener_with_a_small_backlog_holds_one_more: "
        listen l 127.0.0.1:0 backlog=1 -> ok
        connect a l -> ok
        connect b l -> ok
        connect c l -> ok
        wait a writable -> yes
        wait b writable -> yes
        settle
        error c -> none
        peer c -> NotConnected
        accept l d -> from 127.0.0.1:a
        accept l e -> from 127.0.0.1:b
    ";
    a_backlog_of_nothing_holds_one: "
        listen l 127.0.0.1:0 backlog=0 -> ok
        connect a l -> ok
        connect b l -> ok
        wait a writable -> yes
        settle
        error b -> none
        peer b -> NotConnected
        accept l c -> from 127.0.0.1:a
    ";
    a_dual_listener_sees_ipv4_peers_as_mapped: "
        listen l [::]:0 dual -> ok
        connect a 127.0.0.1:l -> ok
        accept l b -> from [::ffff:127.0.0.1]:a
        local b -> [::ffff:127.0.0.1]:l
        peer b -> [::ffff:127.0.0.1]:a
        local a -> 127.0.0.1:a
        wait a writable -> yes
        peer a -> 127.0.0.1:l
        send a hello -> 5
        recv b -> \"hello\"
    ";
    a_dual_listener_sees_ipv6_peers_as_they_are: "
        listen l [::]:0 dual -> ok
        connect a [::1]:l -> ok
        accept l b -> from [::1]:a
        local b -> [::1]:l
        peer b -> [::1]:a
        wait a writable -> yes
        peer a -> [::1]:l
    ";
    a_listener_for_ipv6_alone_refuses_ipv4: "
        free p
        listen l [::]:p v6only -> ok
        connect a 127.0.0.1:p -> ok
        wait a closed -> yes
        error a -> ConnectionRefused
        connect b [::1]:p -> ok
        accept l c -> from [::1]:b
    ";
    a_mapped_address_reaches_an_ipv4_listener: "
        listen l 127.0.0.1:0 -> ok
        connect a [::ffff:127.0.0.1]:l -> ok
        accept l b -> from 127.0.0.1:a
        local a -> [::ffff:127.0.0.1]:a
        wait a writable -> yes
        peer a -> [::ffff:127.0.0.1]:l
        peer b -> 127.0.0.1:a
    ";
    a_shed_connection_reads_the_end: "
        listen l 127.0.0.1:0 -> ok
        connect a l -> ok
        connect b l -> ok
        connect c l -> ok
        wait c writable -> yes
        wait l readable -> yes
        shed l 2 -> 2
        recv a -> end
        recv b -> end
        accept_now l d -> from 127.0.0.1:c
        shed l 2 -> 0
        accept_now l e -> WouldBlock
    ";
    a_shed_connection_with_unread_bytes_is_reset: "
        listen l 127.0.0.1:0 -> ok
        connect a l -> ok
        send a hello -> 5
        wait l readable -> yes
        settle
        shed l 9 -> 1
        recv a -> ConnectionReset
        recv a -> end
    ";
    an_empty_queue_has_nothing_to_shed: "
        listen l 127.0.0.1:0 -> ok
        shed l 9 -> 0
        connect a l -> ok
        accept l b -> from 127.0.0.1:a
        recv_now a -> WouldBlock
    ";
    a_listener_of_another_process_has_the_port_too: "
        listen l 127.0.0.1:0 -> ok
        process 1
        listen m 127.0.0.1:l -> bind: AddrInUse
        listen n 127.0.0.1:0 -> ok
        local n -> 127.0.0.1:n
    ";
    the_port_of_a_process_that_ends_is_free: "
        process 1
        listen l 127.0.0.1:0 -> ok
        ends 1
        process 0
        listen m 127.0.0.1:l -> ok
    ";
    a_port_of_the_system_s_choice_can_be_connected_from_at_once: "
        listen l 127.0.0.1:0 -> ok
        listen m 127.0.0.1:0 -> ok
        close m
        connect a l from=127.0.0.1:m -> ok
        accept l b -> from 127.0.0.1:m
    ";
}

tables! {
    two_listeners(first, second, answer): "
        free p
        listen l {first} -> ok
        listen m {second} -> {answer}
    " {
        "at the same address": "127.0.0.1:p", "127.0.0.1:p", "bind: AddrInUse";
        "at two addresses": "127.0.0.1:p", "127.0.0.2:p", "ok";
        "everywhere, then at one": "0.0.0.0:p", "127.0.0.1:p", "bind: AddrInUse";
        "at one, then everywhere": "127.0.0.1:p", "0.0.0.0:p", "bind: AddrInUse";
        "the second asks for reuse": "127.0.0.1:p", "127.0.0.1:p reuse_address", "bind: AddrInUse";
        "the first asks for reuse": "127.0.0.1:p reuse_address", "127.0.0.1:p", "bind: AddrInUse";
        "both ask for reuse": "127.0.0.1:p reuse_address", "127.0.0.1:p reuse_address", "bind: AddrInUse";
        "everywhere and at one, both ask for reuse": "0.0.0.0:p reuse_address", "127.0.0.1:p reuse_address", "bind: AddrInUse";
        "the first shares its port": "127.0.0.1:p reuse_port", "127.0.0.1:p", "bind: AddrInUse";
        "the second shares its port": "127.0.0.1:p", "127.0.0.1:p reuse_port", "bind: AddrInUse";
        "both share the port": "127.0.0.1:p reuse_port", "127.0.0.1:p reuse_port", "ok";
        "everywhere and at one, both share the port": "0.0.0.0:p reuse_port", "127.0.0.1:p reuse_port", "ok";
        "one of each family, everywhere": "0.0.0.0:p", "[::]:p dual", "bind: AddrInUse";
        "both families, then one": "[::]:p dual", "0.0.0.0:p", "bind: AddrInUse";
        "both families, then one at an address": "[::]:p dual", "127.0.0.1:p", "bind: AddrInUse";
        "an IPv4 address, then both families": "127.0.0.1:p", "[::]:p dual", "bind: AddrInUse";
        "one of each family apart": "0.0.0.0:p", "[::]:p v6only", "ok";
        "one of each family apart, the other first": "[::]:p v6only", "0.0.0.0:p", "ok";
        "both loopback addresses": "127.0.0.1:p", "[::1]:p", "ok";
        "both families, then an IPv6 address": "[::]:p dual", "[::1]:p", "bind: AddrInUse";
        "both families and IPv6, both ask for reuse": "[::]:p dual reuse_address", "[::]:p v6only reuse_address", "bind: AddrInUse";
        "an IPv4 address and its mapped form": "127.0.0.1:p", "[::ffff:127.0.0.1]:p dual", "bind: AddrInUse";
        "all but one of two families": "[::1]:p", "0.0.0.0:p", "ok";
    }
    listening_fails(at, answer): "
        listen l {at} -> {answer}
        local l -> NotFound
    " {
        "at an address that is not ours": "203.0.113.1:0", "bind: AddrNotAvailable";
        "at an IPv6 address that is not ours": "[2001:db8::1]:0", "bind: AddrNotAvailable";
    }
    a_connection_has_its_port(option, answer, elsewhere): "
        pair a b
        listen m 127.0.0.1:a {option} -> {answer}
        listen n 127.0.0.2:a -> {elsewhere}
    " {
        "against a listener": "backlog=128", "bind: AddrInUse", "ok";
        "against one that asks for reuse": "reuse_address", "bind: AddrInUse", "ok";
        "against one that shares its port": "reuse_port", "bind: AddrInUse", "ok";
    }
}
