//! UDP: truncation, ports in use, ICMP errors, and multiple receivers.

use crate::net::conformance::{tables, transcripts};

transcripts! {
    a_datagram_has_its_senders_address: "
        datagrams a 127.0.0.1:0 -> ok
        datagrams b 127.0.0.1:0 -> ok
        post a b hello -> 1
        take b -> \"hello\" from 127.0.0.1:a
        post b a world -> 1
        take a -> \"world\" from 127.0.0.1:b
        take_now a -> WouldBlock
    ";
    over_ipv6_too: "
        datagrams a [::1]:0 -> ok
        datagrams b [::1]:0 -> ok
        local a -> [::1]:a
        post a b hello -> 1
        take b -> \"hello\" from [::1]:a
    ";
    an_unbound_sender_has_the_address_of_the_route: "
        datagrams a 0.0.0.0:0 -> ok
        datagrams b 127.0.0.1:0 -> ok
        local a -> 0.0.0.0:a
        post a b hello -> 1
        take b -> \"hello\" from 127.0.0.1:a
        local a -> 0.0.0.0:a
    ";
    the_destination_is_reported_at_any_address: "
        datagrams a 127.0.0.1:0 -> ok
        datagrams b 0.0.0.0:0 -> ok
        post a 127.0.0.1:b one -> 1
        take_addressed b -> \"one\" to 127.0.0.1, answered from there
        post a 127.0.0.2:b two six -> 2
        settle
        take_addressed b -> \"two\" to 127.0.0.2, answered from there; \"six\" to 127.0.0.2, answered from there
        datagrams c [::]:0 dual -> ok
        post a 127.0.0.3:c one -> 1
        take_addressed c -> \"one\" to ::ffff:127.0.0.3, answered from there
        datagrams d [::1]:0 -> ok
        post d [::1]:c two -> 1
        take_addressed c -> \"two\" to ::1, answered from there
        post a 127.0.0.4:c six -> 1
        take_addressed c -> \"six\" to ::ffff:127.0.0.4, answered from there
    ";
    the_destination_is_unreported_at_one_address_or_with_a_peer: "
        datagrams a 127.0.0.1:0 -> ok
        datagrams b 127.0.0.2:0 -> ok
        post a b one -> 1
        take_addressed b -> \"one\" to an unknown destination
        datagrams c 0.0.0.0:0 to=a -> ok
        post a c two -> 1
        take_addressed c -> \"two\" to an unknown destination
    ";
    a_multicast_is_answered_from_the_systems_choice: "
        datagrams a 127.0.0.1:0 broadcast -> ok
        datagrams b 0.0.0.0:0 -> ok
        set b join=239.1.2.10%127.0.0.1 -> ok
        post a 239.1.2.10:b one -> 1
        take_addressed b -> \"one\" to 239.1.2.10, answered from anywhere
        post a 127.255.255.255:b two -> 1
        take_addressed b -> \"two\" to 127.255.255.255, answered from anywhere
    ";
    a_datagram_leaves_from_the_requested_address: "
        datagrams a 0.0.0.0:0 -> ok
        datagrams b 127.0.0.1:0 -> ok
        post_from a 127.0.0.2 b one -> 1
        take b -> \"one\" from 127.0.0.2:a
        post_from a 127.0.0.3 b one two six ten x -> 5
        settle
        take b -> \"one\" from 127.0.0.3:a; \"two\" from 127.0.0.3:a; \"six\" from 127.0.0.3:a; \"ten\" from 127.0.0.3:a; \"x\" from 127.0.0.3:a
        post a b one -> 1
        take b -> \"one\" from 127.0.0.1:a
        datagrams c [::]:0 dual -> ok
        post_from c ::ffff:127.0.0.2 [::ffff:127.0.0.1]:b one two -> 2
        settle
        take b -> \"one\" from 127.0.0.2:c; \"two\" from 127.0.0.2:c
        datagrams d [::1]:0 -> ok
        post_from c ::1 d one two six -> 3
        settle
        take d -> \"one\" from [::1]:c; \"two\" from [::1]:c; \"six\" from [::1]:c
        datagrams e 127.0.0.5:0 -> ok
        post_from e 127.0.0.2 b one -> 1
        take b -> \"one\" from 127.0.0.2:e
    ";
    sending_from_a_foreign_address_fails: "
        datagrams a 0.0.0.0:0 -> ok
        datagrams b 127.0.0.1:0 -> ok
        post_from a 203.0.113.1 b one -> NetworkUnreachable
        post_from a 203.0.113.1 b one two six -> NetworkUnreachable
        post_from a 224.0.0.1 b one -> InvalidInput
        datagrams c [::]:0 dual -> ok
        post_from c 2001:db8::1 [::1]:9 one -> InvalidInput
        post_from c ::ffff:203.0.113.1 [::ffff:127.0.0.1]:b one -> NetworkUnreachable
        post_from a 127.0.0.1 203.0.113.9:9 one -> InvalidInput
        post a b one -> 1
        take b -> \"one\" from 127.0.0.1:a
    ";
    a_dual_socket_sees_ipv4_as_mapped: "
        datagrams a 127.0.0.1:0 -> ok
        datagrams b [::]:0 dual -> ok
        post a 127.0.0.1:b hello -> 1
        take b -> \"hello\" from [::ffff:127.0.0.1]:a
        post b 127.0.0.1:a one -> 1
        take a -> \"one\" from 127.0.0.1:b
        post b [::ffff:127.0.0.1]:a two -> 1
        take a -> \"two\" from 127.0.0.1:b
    ";
    an_ipv6_only_socket_cannot_send_to_ipv4: "
        datagrams a [::]:0 v6only -> ok
        post_now a 127.0.0.1:9 hello -> NetworkUnreachable
        datagrams b 127.0.0.1:0 -> ok
        post_now b [::1]:9 hello -> AddressFamilyNotSupported
    ";
    one_call_receives_many_in_order: "
        datagrams a 127.0.0.1:0 -> ok
        datagrams b 127.0.0.1:0 -> ok
        post a b one two -> 2
        settle
        take b -> \"one\" from 127.0.0.1:a; \"two\" from 127.0.0.1:a
        take_now b -> WouldBlock
        post a b 1 22 333 4444 -> 4
        settle
        take b -> \"1\" from 127.0.0.1:a; \"22\" from 127.0.0.1:a; \"333\" from 127.0.0.1:a; \"4444\" from 127.0.0.1:a
    ";
    equal_datagrams_are_kept_apart: "
        datagrams a 127.0.0.1:0 -> ok
        datagrams b 127.0.0.1:0 -> ok
        post a b one two six ten x -> 5
        settle
        take b -> \"one\" from 127.0.0.1:a; \"two\" from 127.0.0.1:a; \"six\" from 127.0.0.1:a; \"ten\" from 127.0.0.1:a; \"x\" from 127.0.0.1:a
    ";
    an_empty_datagram_is_not_the_end: "
        datagrams a 127.0.0.1:0 -> ok
        datagrams b 127.0.0.1:0 -> ok
        post a b nothing -> 1
        take b -> \"\" from 127.0.0.1:a
        take_now b -> WouldBlock
        post a b nothing nothing x -> 3
        settle
        take b -> \"\" from 127.0.0.1:a; \"\" from 127.0.0.1:a; \"x\" from 127.0.0.1:a
    ";
    a_datagram_that_does_not_fit_is_cut: "
        datagrams a 127.0.0.1:0 -> ok
        datagrams b 127.0.0.1:0 -> ok
        post a b hello -> 1
        take b 3 -> \"hel\" from 127.0.0.1:a, cut
        take_now b -> WouldBlock
        post a b hello hel -> 2
        settle
        take b 3 -> \"hel\" from 127.0.0.1:a, cut; \"hel\" from 127.0.0.1:a
        post a b long=65507 -> 1
        take b 65507 -> 65507 bytes from 127.0.0.1:a
    ";
    a_connected_socket_has_one_peer: "
        datagrams a 127.0.0.1:0 -> ok
        datagrams b 127.0.0.1:0 to=a -> ok
        datagrams c 127.0.0.1:0 -> ok
        peer b -> 127.0.0.1:a
        peer a -> NotConnected
        post c b hello -> 1
        settle
        take_now b -> WouldBlock
        post a b hello -> 1
        take b -> \"hello\" from 127.0.0.1:a
        post b - world -> 1
        take a -> \"world\" from 127.0.0.1:b
    ";
    a_connected_socket_has_the_address_of_the_route: "
        datagrams a 127.0.0.1:0 -> ok
        datagrams b 0.0.0.0:0 to=127.0.0.1:a -> ok
        local b -> 127.0.0.1:b
        datagrams c [::]:0 dual to=127.0.0.1:a -> ok
        local c -> [::ffff:127.0.0.1]:c
        peer c -> [::ffff:127.0.0.1]:a
        post c - hello -> 1
        take a -> \"hello\" from 127.0.0.1:c
    ";
    a_read_gets_a_refusal_once: "
        datagrams a 127.0.0.1:0 -> ok
        datagrams b 127.0.0.1:0 to=a -> ok
        close a
        post b - hello -> 1
        wait b readable -> yes
        take_now b -> ConnectionRefused
        take_now b -> WouldBlock
    ";
    a_send_gets_a_refusal_once: "
        datagrams a 127.0.0.1:0 -> ok
        datagrams b 127.0.0.1:0 to=a -> ok
        close a
        post b - hello -> 1
        settle
        post_now b - hello -> ConnectionRefused
        post_now b - hello -> 1
        settle
        post_now b - hello -> ConnectionRefused
        take_now b -> WouldBlock
    ";
    an_error_query_gets_a_refusal_once: "
        datagrams a 127.0.0.1:0 -> ok
        datagrams b 127.0.0.1:0 to=a -> ok
        close a
        post b - hello -> 1
        settle
        error b -> ConnectionRefused
        error b -> none
        take_now b -> WouldBlock
    ";
    a_refusal_comes_before_waiting_datagrams: "
        datagrams a 127.0.0.1:0 -> ok
        datagrams b 127.0.0.1:0 to=a -> ok
        post a b hello -> 1
        close a
        post b - hello -> 1
        settle
        take_now b -> ConnectionRefused
        take b -> \"hello\" from 127.0.0.1:a
    ";
    an_unconnected_socket_gets_no_refusal: "
        datagrams a 127.0.0.1:0 -> ok
        datagrams b 127.0.0.1:0 -> ok
        close a
        post b 127.0.0.1:a hello -> 1
        settle
        error b -> none
        take_now b -> WouldBlock
        post_now b 127.0.0.1:a hello -> 1
    ";
    a_socket_that_is_bound_again_is_sent_to_again: "
        datagrams a 127.0.0.1:0 -> ok
        datagrams b 127.0.0.1:0 to=a -> ok
        close a
        post b - one -> 1
        settle
        error b -> ConnectionRefused
        datagrams c 127.0.0.1:a -> ok
        post b - two -> 1
        take c -> \"two\" from 127.0.0.1:b
    ";
    datagrams_beyond_the_buffer_are_lost: "
        datagrams a 127.0.0.1:0 -> ok
        datagrams b 127.0.0.1:0 receive=4096 -> ok
        flood a b -> takes everything
        settle
        error a -> none
        error b -> none
        gather b a -> no report
    ";
    the_most_specific_address_receives: "
        datagrams a 127.0.0.1:0 -> ok
        datagrams b 127.0.0.1:0 to=a reuse_address -> ok
        datagrams c 127.0.0.1:b reuse_address -> ok
        post a b hello -> 1
        take b -> \"hello\" from 127.0.0.1:a
        datagrams d 127.0.0.1:0 reuse_address -> ok
        datagrams e 0.0.0.0:d reuse_address -> ok
        post a d hello -> 1
        take d -> \"hello\" from 127.0.0.1:a
        post d b hello -> 1
        take c -> \"hello\" from 127.0.0.1:d
        post a 127.0.0.2:d hello -> 1
        take e -> \"hello\" from 127.0.0.1:a
    ";
    a_closed_socket_leaves_its_port_free: "
        datagrams a 127.0.0.1:0 -> ok
        close a
        datagrams b 127.0.0.1:a -> ok
    ";
    ports_of_udp_and_tcp_are_independent: "
        free p
        listen l 127.0.0.1:p -> ok
        datagrams a 127.0.0.1:p -> ok
    ";
    a_broadcast_needs_the_option: "
        datagrams a 127.0.0.1:0 -> ok
        datagrams b 0.0.0.0:0 -> ok
        post_now a 127.255.255.255:b hello -> PermissionDenied
        set a broadcast=on -> ok
        post_now a 127.255.255.255:b hello -> 1
        take b -> \"hello\" from 127.0.0.1:a
        set a broadcast=off -> ok
        post_now a 127.255.255.255:b hello -> PermissionDenied
        post_now a 255.255.255.255:b hello -> PermissionDenied
        datagrams c 127.0.0.1:0 to=127.255.255.255:b -> connect: PermissionDenied
    ";
    a_broadcast_reaches_all_wildcard_sockets: "
        datagrams a 127.0.0.1:0 broadcast -> ok
        datagrams b 0.0.0.0:0 reuse_address -> ok
        datagrams c 0.0.0.0:b reuse_address -> ok
        datagrams d 127.0.0.1:b reuse_address -> ok
        post a 127.255.255.255:b hello -> 1
        take b -> \"hello\" from 127.0.0.1:a
        take c -> \"hello\" from 127.0.0.1:a
        settle
        take_now d -> WouldBlock
    ";
    members_of_a_group_receive_its_datagrams: "
        datagrams a 127.0.0.1:0 -> ok
        datagrams b 0.0.0.0:0 reuse_address -> ok
        datagrams c 0.0.0.0:b reuse_address -> ok
        set b join=239.1.2.3%127.0.0.1 -> ok
        set c join=239.1.2.3%1 -> ok
        post a 239.1.2.3:b hello -> 1
        take b -> \"hello\" from 127.0.0.1:a
        take c -> \"hello\" from 127.0.0.1:a
        set b leave=239.1.2.3%127.0.0.1 -> ok
        post a 239.1.2.3:b more -> 1
        take c -> \"more\" from 127.0.0.1:a
        settle
        take_now b -> WouldBlock
    ";
    a_member_of_one_group_does_not_get_another_s: "
        datagrams a 127.0.0.1:0 -> ok
        datagrams b 0.0.0.0:0 reuse_address -> ok
        datagrams c 0.0.0.0:b reuse_address -> ok
        set b join=239.1.2.3%1 -> ok
        set c join=239.1.2.4%1 -> ok
        post a 239.1.2.4:b hello -> 1
        take c -> \"hello\" from 127.0.0.1:a
        settle
        take_now b -> WouldBlock
    ";
    a_multicast_leaves_by_the_chosen_interface: "
        datagrams a 0.0.0.0:0 -> ok
        datagrams b 0.0.0.0:0 -> ok
        set b join=239.1.2.5%127.0.0.1 -> ok
        set a interface=127.0.0.1 -> ok
        set a multicast_ttl=0 -> ok
        post a 239.1.2.5:b hello -> 1
        take b -> \"hello\" from 127.0.0.1:a
        # Multicasts by the loopback interface always come back with either option value.
        set a loop=off -> ok
        post a 239.1.2.5:b more -> 1
        take b -> \"more\" from 127.0.0.1:a
    ";
    a_sender_can_be_a_member: "
        datagrams a 127.0.0.1:0 -> ok
        datagrams b 0.0.0.0:0 -> ok
        set b join=239.1.2.6%127.0.0.1 -> ok
        set b interface=127.0.0.1 -> ok
        post b 239.1.2.6:b hello -> 1
        take b -> \"hello\" from 127.0.0.1:b
    ";
    a_group_without_members_gets_nothing: "
        datagrams a 127.0.0.1:0 -> ok
        datagrams b 0.0.0.0:0 -> ok
        post a 239.1.2.7:b hello -> 1
        settle
        take_now b -> WouldBlock
        error a -> none
    ";
    sockets_sharing_a_port_keep_each_senders_datagrams_together: "
        datagrams a 127.0.0.1:0 -> ok
        datagrams b 127.0.0.1:0 reuse_port -> ok
        datagrams c 127.0.0.1:b -> bind: AddrInUse
        datagrams d 127.0.0.1:b reuse_port -> ok
        close d
        post a b one two -> 2
        settle
        take b -> \"one\" from 127.0.0.1:a; \"two\" from 127.0.0.1:a
    ";
    a_socket_of_datagrams_is_no_stream: "
        datagrams a 127.0.0.1:0 -> ok
        recv_now a -> NotFound
        send_now a x -> NotFound
        shutdown a -> NotFound
        accept_now a b -> NotFound
        shed a 9 -> 0
        credentials a -> NotFound
        error a -> none
        peer a -> NotConnected
    ";
    a_stream_is_no_socket_of_datagrams: "
        pair a b
        take_now a -> NotFound
        post_now a - x -> NotFound
        take_now l -> NotFound
        post_now l - x -> NotFound
        take_now missing -> NotFound
        post_now missing - x -> NotFound
    ";
    a_new_datagram_is_reported_after_a_drain: "
        datagrams a 127.0.0.1:0 -> ok
        datagrams b 127.0.0.1:0 -> ok
        wait b writable -> yes
        take_now b -> WouldBlock
        forget b
        post a b hello -> 1
        take b -> \"hello\" from 127.0.0.1:a
        forget b
        post a b more -> 1
        take b -> \"more\" from 127.0.0.1:a
    ";
    from_process_to_process: "
        datagrams b 127.0.0.1:0 -> ok
        process 1
        datagrams a 127.0.0.1:0 to=b -> ok
        post a - hello -> 1
        take b -> \"hello\" from 127.0.0.1:a
        ends 1
        process 0
        datagrams c 127.0.0.1:a -> ok
    ";
}

tables! {
    two_sockets(first, second, answer): "
        datagrams f 0.0.0.0:0 -> ok
        close f
        datagrams a {first} -> ok
        datagrams b {second} -> {answer}
    " {
        "at the same address": "127.0.0.1:f", "127.0.0.1:f", "bind: AddrInUse";
        "at two addresses": "127.0.0.1:f", "127.0.0.2:f", "ok";
        "everywhere, then at one": "0.0.0.0:f", "127.0.0.1:f", "bind: AddrInUse";
        "one asks for reuse": "127.0.0.1:f reuse_address", "127.0.0.1:f", "bind: AddrInUse";
        "both ask for reuse": "127.0.0.1:f reuse_address", "127.0.0.1:f reuse_address", "ok";
        "both share the port": "127.0.0.1:f reuse_port", "127.0.0.1:f reuse_port", "ok";
        "one shares, one asks for reuse": "127.0.0.1:f reuse_port", "127.0.0.1:f reuse_address", "bind: AddrInUse";
        "both families": "0.0.0.0:f", "[::]:f dual", "bind: AddrInUse";
        "both families apart": "0.0.0.0:f", "[::]:f v6only", "ok";
    }
    binding_fails(at, answer): "
        datagrams a {at} -> bind: {answer}
        local a -> NotFound
    " {
        "an address that is not ours": "203.0.113.1:0", "AddrNotAvailable";
        "an IPv6 address that is not ours": "[2001:db8::1]:0", "AddrNotAvailable";
    }
    sending_fails(to, data, answer): "
        datagrams a 127.0.0.1:0 -> ok
        post_now a {to} {data} -> {answer}
        error a -> none
    " {
        "to no peer": "-", "hello", "errno 89";
        "to port 0": "127.0.0.1:0", "hello", "InvalidInput";
        "more than there is room for": "127.0.0.1:9", "long=65508", "errno 90";
        "far more than there is room for": "127.0.0.1:9", "long=100000", "errno 90";
        "to a UNIX socket": "/s", "hello", "AddressFamilyNotSupported";
        "from the loopback to elsewhere": "203.0.113.1:9", "hello", "InvalidInput";
    }
    options_of_udp(option, answer): "
        datagrams a 127.0.0.1:0 -> ok
        set a {option} -> {answer}
    " {
        "no delay": "nodelay=on", "errno 92";
        "no keepalive": "keepalive=off", "ok";
        "a user timeout": "user_timeout=5000", "errno 92";
        "hops": "ttl=5", "ok";
        "all hops": "ttl=255", "ok";
        "no hops": "ttl=0", "InvalidInput";
        "too many hops": "ttl=256", "InvalidInput";
        "no hops for groups": "multicast_ttl=0", "ok";
        "too many hops for groups": "multicast_ttl=256", "InvalidInput";
        "no group": "join=10.1.2.3%127.0.0.1", "InvalidInput";
        "an interface that is not there": "join=239.1.2.3%9.9.9.9", "errno 19";
        "a number of an interface that is not there": "join=239.1.2.3%9999", "errno 19";
        "a group that was not joined": "leave=239.1.2.3%127.0.0.1", "AddrNotAvailable";
        "to leave by an interface that is not there": "interface=9.9.9.9", "AddrNotAvailable";
        "a group of the other family": "join=ff02::1234%1", "errno 92";
    }
    options_of_udp_over_ipv6(option, answer): "
        datagrams a [::1]:0 -> ok
        set a {option} -> {answer}
    " {
        "hops": "ttl=5", "ok";
        "too many hops": "ttl=256", "InvalidInput";
        "no group": "join=fd00::1%1", "InvalidInput";
        "a number of an interface that is not there": "join=ff02::1234%9999", "errno 19";
    }
    a_group_is_joined_once(again, answer): "
        datagrams a 0.0.0.0:0 -> ok
        set a join=239.1.2.8%127.0.0.1 -> ok
        set a {again} -> {answer}
    " {
        "at the same interface": "join=239.1.2.8%127.0.0.1", "AddrInUse";
        "at the same interface by number": "join=239.1.2.8%1", "AddrInUse";
        "another one": "join=239.1.2.9%1", "ok";
    }
}
