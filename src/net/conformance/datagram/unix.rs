//! UNIX datagrams: whole, in order, without loss. A full queue blocks the sender.

use crate::net::conformance::{tables, transcripts};

transcripts! {
    a_datagram_has_its_senders_address: "
        datagrams a /a -> ok
        datagrams b /b -> ok
        post a b hello -> 1
        take b -> \"hello\" from /a
        post b /a world -> 1
        take a -> \"world\" from /b
        take_now a -> WouldBlock
    ";
    an_unbound_sender_is_unnamed: "
        datagrams a unnamed -> ok
        local a -> (unnamed)
        datagrams b @b -> ok
        post a @b hello -> 1
        take b -> \"hello\" from (unnamed)
    ";
    abstract_names_are_addresses: "
        datagrams a @a -> ok
        datagrams b @b -> ok
        post a b hello -> 1
        take b -> \"hello\" from @a
        close b
        post a @b hello -> ConnectionRefused
        datagrams c @b -> ok
    ";
    datagrams_are_kept_apart_and_in_order: "
        datagrams a unnamed -> ok
        datagrams b /b -> ok
        post a b one -> 1
        post a b two -> 1
        post a b nothing -> 1
        post a b three -> 1
        take b -> \"one\" from (unnamed)
        take b -> \"two\" from (unnamed)
        take b -> \"\" from (unnamed)
        take b -> \"three\" from (unnamed)
        take_now b -> WouldBlock
    ";
    one_call_sends_the_first_datagram: "
        datagrams a unnamed -> ok
        datagrams b /b -> ok
        post a b one two three -> 1
        take b -> \"one\" from (unnamed)
        take_now b -> WouldBlock
    ";
    a_datagram_that_does_not_fit_is_cut: "
        datagrams a unnamed -> ok
        datagrams b /b -> ok
        post a b hello -> 1
        post a b long=70000 -> 1
        take b 3 -> \"hel\" from (unnamed), cut
        take b 100000 -> 70000 bytes from (unnamed)
    ";
    a_full_queue_stops_the_sender_and_loses_nothing: "
        datagrams a unnamed -> ok
        datagrams b /b -> ok
        flood a b -> WouldBlock
        gather b a -> all
        take_now b -> WouldBlock
        flood a b -> WouldBlock
        gather b a -> all
    ";
    room_is_reported_to_a_connected_sender: "
        datagrams b /b -> ok
        datagrams a unnamed to=b -> ok
        wait a writable -> yes
        flood a - -> WouldBlock
        forget a
        gather b a -> all
        wait a writable -> yes
        flood a - -> WouldBlock
        gather b a -> all
    ";
    two_sockets_can_be_connected_to_each_other: "
        datagrams a /a -> ok
        datagrams b /b to=/a -> ok
        peer b -> /a
        peer a -> NotConnected
        post b - hello -> 1
        take a -> \"hello\" from /b
        post a b answer -> 1
        take b -> \"answer\" from /a
        datagrams c /c -> ok
        post c b hello -> PermissionDenied
        datagrams d unnamed to=/b -> connect: PermissionDenied
    ";
    a_lost_peer_is_reported_once: "
        datagrams b /b -> ok
        datagrams a /a to=/b -> ok
        close b
        post_now a - hello -> ConnectionRefused
        post_now a - hello -> NotConnected
        peer a -> NotConnected
    ";
    a_socket_that_lost_its_peer_then_receives_from_all: "
        datagrams b /b -> ok
        datagrams a /a to=/b -> ok
        datagrams c /c -> ok
        close b
        post_now c a psst -> PermissionDenied
        post_now a - hello -> ConnectionRefused
        post c a psst -> 1
        take a -> \"psst\" from /c
    ";
    a_lost_peer_is_reported_to_a_full_sender: "
        datagrams b /b -> ok
        datagrams a unnamed to=b -> ok
        wait a writable -> yes
        flood a - -> WouldBlock
        forget a
        close b
        wait a writable -> yes
        post_now a - hello -> ConnectionRefused
    ";
    a_file_goes_with_its_socket_if_requested: "
        datagrams a /a -> ok
        datagrams b /b keep_file -> ok
        close a
        close b
        file /a -> not there
        file /b -> there
        datagrams c /b keep_stale -> bind: AddrInUse
        datagrams d /b -> ok
        datagrams e /b -> bind: AddrInUse
    ";
    a_file_s_mode_can_be_chosen: "
        datagrams a /a mode=620 -> ok
        mode /a -> 620
    ";
    a_failed_connect_leaves_no_file: "
        datagrams a /a to=/missing -> connect: NotFound of the system
        file /a -> not there
        datagrams b @b to=/missing -> connect: NotFound of the system
        datagrams c @b -> ok
    ";
    from_process_to_process: "
        datagrams b /b -> ok
        process 1
        datagrams a /a to=/b -> ok
        post a - hello -> 1
        take b -> \"hello\" from /a
    ";
    a_socket_of_datagrams_is_no_stream: "
        datagrams a /a -> ok
        recv_now a -> NotFound
        send_now a x -> NotFound
        shutdown a -> NotFound
        accept_now a b -> NotFound
        credentials a -> NotFound
        error a -> none
        local a -> /a
    ";
}

tables! {
    sending_fails(to, answer): "
        datagrams a unnamed -> ok
        listen l /l -> ok
        datagrams o /old keep_file -> ok
        close o
        post_now a {to} hello -> {answer}
        error a -> none
    " {
        "to a path without a file": "/missing", "NotFound of the system";
        "to an unused name": "@missing", "ConnectionRefused";
        "to a file that was left behind": "/old", "ConnectionRefused";
        "to a listener": "/l", "errno 91";
        "to no peer": "-", "NotConnected";
        "to an address of the network": "127.0.0.1:9", "AddressFamilyNotSupported";
    }
    datagrams_have_a_max_length(size, answer): "
        datagrams a unnamed -> ok
        datagrams b /b -> ok
        post_now a b {size} -> {answer}
    " {
        "not yet": "long=100000", "1";
        "for the sender's buffer": "long=300000", "errno 90";
    }
}
