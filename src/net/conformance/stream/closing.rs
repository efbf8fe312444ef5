//! The end of a connection: FIN, close, and what either side sees of them.

use crate::net::conformance::{tables, transcripts};

transcripts! {
    the_other_way_stays_open_after_a_shutdown: "
        pair a b
        shutdown a -> ok
        recv b -> end
        send b hello -> 5
        recv a -> \"hello\"
        send b world -> 5
        recv a -> \"world\"
        shutdown b -> ok
        recv a -> end
    ";
    nothing_can_be_sent_after_a_shutdown: "
        pair a b
        shutdown a -> ok
        send_now a x -> BrokenPipe
        error a -> none
        send_now a nothing -> BrokenPipe
        recv_now a -> WouldBlock
        peer a -> 127.0.0.1:l
    ";
    a_shutdown_can_be_repeated: "
        pair a b
        shutdown a -> ok
        shutdown a -> ok
        recv b -> end
        recv_now b -> end
    ";
    the_end_is_read_again_and_again: "
        pair a b
        shutdown a -> ok
        recv b -> end
        recv_now b -> end
        recv_now b 1 -> end
        error b -> none
        peer b -> 127.0.0.1:a
    ";
    bytes_come_before_the_end: "
        pair a b
        send a hello -> 5
        shutdown a -> ok
        wait b closed -> yes
        recv_now b 3 -> \"hel\"
        recv_now b 3 -> \"lo\"
        recv_now b 3 -> end
    ";
    many_bytes_come_before_the_end: "
        pair a b
        fill a -> WouldBlock
        shutdown a -> ok
        drain b a -> all
        recv b -> end
        send b hello -> 5
        recv a -> \"hello\"
    ";
    many_bytes_come_before_the_end_of_a_close: "
        pair a b
        fill a -> WouldBlock
        close a
        drain b a -> all
        recv b -> end
    ";
    both_sides_shut_down: "
        pair a b
        shutdown a -> ok
        shutdown b -> ok
        recv a -> end
        recv b -> end
        error a -> none
        error b -> none
        peer a -> NotConnected
        peer b -> NotConnected
        local a -> 127.0.0.1:a
    ";
    both_sides_shut_down_with_bytes_on_their_way: "
        pair a b
        send a hello -> 5
        send b world -> 5
        shutdown a -> ok
        shutdown b -> ok
        recv a -> \"world\"
        recv a -> end
        recv b -> \"hello\"
        recv b -> end
    ";
    both_sides_close: "
        pair a b
        close a
        close b
        recv_now a -> NotFound
        recv_now b -> NotFound
        settle
        connect c l -> ok
        accept l d -> from 127.0.0.1:c
    ";
    a_write_after_the_peer_has_closed_is_taken_once: "
        pair a b
        close a
        recv b -> end
        send_now b x -> 1
        wait b closed -> yes
        settle
        error b -> BrokenPipe
        send_now b y -> BrokenPipe
        recv_now b -> end
        peer b -> NotConnected
    ";
    a_write_after_the_peer_has_closed_breaks_the_next_write: "
        pair a b
        close a
        recv b -> end
        send_now b x -> 1
        settle
        send_now b y -> BrokenPipe
        send_now b z -> BrokenPipe
        error b -> none
        recv_now b -> end
        shutdown b -> NotConnected
    ";
    a_write_after_the_peer_has_closed_breaks_the_next_read: "
        pair a b
        close a
        recv b -> end
        send_now b x -> 1
        settle
        recv_now b -> end
        error b -> BrokenPipe
        recv_now b -> end
        send_now b y -> BrokenPipe
    ";
    a_write_after_the_peer_has_closed_leaves_what_came_before: "
        pair a b
        send a hello -> 5
        close a
        wait b closed -> yes
        send_now b x -> 1
        settle
        recv_now b -> \"hello\"
        recv_now b -> end
        recv_now b -> end
    ";
    a_write_after_the_peer_has_shut_down_arrives: "
        pair a b
        shutdown a -> ok
        recv b -> end
        send b hello -> 5
        recv a -> \"hello\"
        close b
        recv a -> end
    ";
    a_peer_that_answers_a_close_with_a_shutdown_ends_it: "
        pair a b
        close a
        recv b -> end
        shutdown b -> ok
        settle
        recv_now b -> end
        error b -> none
        send_now b x -> BrokenPipe
        peer b -> NotConnected
    ";
    only_the_own_address_is_left_when_both_ways_are_shut: "
        pair a b
        shutdown a -> ok
        recv b -> end
        shutdown b -> ok
        settle
        shutdown b -> NotConnected
        shutdown a -> NotConnected
        recv_now a -> end
        send_now a x -> BrokenPipe
        send_now b x -> BrokenPipe
        peer a -> NotConnected
        peer b -> NotConnected
        local a -> 127.0.0.1:a
        local b -> 127.0.0.1:l
    ";
    a_close_is_reported_to_a_peer_that_has_read_everything: "
        pair a b
        recv_now b -> WouldBlock
        forget b
        close a
        wait b closed -> yes
        recv b -> end
    ";
    a_process_that_ends_closes_what_it_has: "
        listen l 127.0.0.1:0 -> ok
        process 1
        connect a 127.0.0.1:l -> ok
        connect b 127.0.0.1:l -> ok
        send b hello -> 5
        accept l c -> from 127.0.0.1:a
        accept l d -> from 127.0.0.1:b
        send d unread -> 6
        wait b readable -> yes
        ends 1
        recv c -> end
        recv d -> \"hello\"
        recv d -> ConnectionReset
        recv d -> end
    ";
    a_socket_is_closed_once: "
        pair a b
        close a
        close a
        reset a
        recv b -> end
        recv_now b -> end
        error b -> none
    ";
    a_close_leaves_the_other_connections_alone: "
        pair a b
        pair c d
        close a
        recv b -> end
        send c hello -> 5
        recv d -> \"hello\"
    ";
    a_close_without_any_write_is_an_end: "
        listen l 127.0.0.1:0 -> ok
        connect a l -> ok
        wait a writable -> yes
        close a
        accept l b -> from 127.0.0.1:a
        recv b -> end
        error b -> none
    ";
}

tables! {
    // K9: unread bytes turn a close into a reset.
    a_close_looks_like(act, acted, how, first, second, third): "
        pair a b
        {act} -> {acted}
        settle
        {how} a
        wait b closed -> yes
        settle
        recv_now b -> {first}
        recv_now b -> {second}
        error b -> {third}
    " {
        "with nothing unread": "peer a", "127.0.0.1:l", "close", "end", "end", "none";
        "with bytes unread": "send b hello", "5", "close", "ConnectionReset", "end", "none";
        "a reset with nothing unread": "peer a", "127.0.0.1:l", "reset", "ConnectionReset", "end", "none";
        "a reset with bytes unread": "send b hello", "5", "reset", "ConnectionReset", "end", "none";
        "with an end unread": "shutdown b", "ok", "close", "end", "end", "none";
        "a reset with an end unread": "shutdown b", "ok", "reset", "ConnectionReset", "end", "none";
        "with bytes sent": "send a hello", "5", "close", "\"hello\"", "end", "none";
        "a reset with bytes sent": "send a hello", "5", "reset", "\"hello\"", "ConnectionReset", "none";
    }
    a_close_after_a_read(room, read, first, second): "
        pair a b
        send b hello -> 5
        recv a {room} -> {read}
        send a world -> 5
        close a
        wait b closed -> yes
        settle
        recv_now b -> {first}
        recv_now b -> {second}
    " {
        "of everything": "5", "\"hello\"", "\"world\"", "end";
        "of a part": "3", "\"hel\"", "\"world\"", "ConnectionReset";
        "of nothing": "0", "\"\"", "\"world\"", "ConnectionReset";
    }
    after_both_have_ended(last, recv, send, error, peer): "
        pair a b
        shutdown a -> ok
        {last}
        wait a closed -> yes
        settle
        recv_now a -> {recv}
        send_now a x -> {send}
        error a -> {error}
        peer a -> {peer}
    " {
        "the other shuts down": "shutdown b -> ok", "end", "BrokenPipe", "none", "NotConnected";
        "the other closes": "close b", "end", "BrokenPipe", "none", "NotConnected";
        "the other resets": "reset b", "ConnectionReset", "BrokenPipe", "none", "NotConnected";
    }
}
