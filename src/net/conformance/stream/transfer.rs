//! Transfer of bytes through a TCP connection.

use crate::net::conformance::{tables, transcripts};

transcripts! {
    bytes_come_out_as_they_went_in: "
        pair a b
        send a hello -> 5
        recv b -> \"hello\"
        recv_now b -> WouldBlock
        send b world -> 5
        recv a -> \"world\"
        recv_now a -> WouldBlock
    ";
    both_ends_know_both_addresses: "
        pair a b
        local a -> 127.0.0.1:a
        peer a -> 127.0.0.1:l
        local b -> 127.0.0.1:l
        peer b -> 127.0.0.1:a
        error a -> none
        error b -> none
    ";
    sends_are_not_kept_apart: "
        pair a b
        send a hello -> 5
        send a world -> 5
        settle
        recv b -> \"helloworld\"
    ";
    reads_of_every_size_take_bytes_in_order: "
        pair a b
        send a hello -> 5
        send a world -> 5
        settle
        recv b 1 -> \"h\"
        recv b 6 -> \"ellowo\"
        recv b 6 -> \"rld\"
        recv_now b 6 -> WouldBlock
    ";
    a_send_of_nothing_sends_nothing: "
        pair a b
        send a nothing -> 0
        settle
        recv_now b -> WouldBlock
        send a hello -> 5
        recv b -> \"hello\"
    ";
    a_read_without_room_takes_nothing: "
        pair a b
        recv_now b 0 -> WouldBlock
        send a hello -> 5
        recv b 0 -> \"\"
        recv_now b 5 -> \"hello\"
        shutdown a -> ok
        wait b closed -> yes
        recv_now b 0 -> \"\"
        recv_now b -> end
    ";
    ten_megabytes_come_through: "
        pair a b
        pump a b 10000000 -> 0 missing
        pump b a 10000000 -> 0 missing
    ";
    many_bytes_come_through_over_ipv6: "
        listen l [::1]:0 -> ok
        connect a l -> ok
        accept l b -> from [::1]:a
        pump a b 3000000 -> 0 missing
    ";
    many_bytes_go_from_process_to_process: "
        listen l 127.0.0.1:0 -> ok
        process 1
        connect a 127.0.0.1:l -> ok
        accept l b -> from 127.0.0.1:a
        pump a b 3000000 -> 0 missing
        pump b a 3000000 -> 0 missing
    ";
    a_sender_without_a_reader_is_stopped: "
        pair a b
        fill a -> WouldBlock
        send_now a x -> WouldBlock
        error a -> none
        drain b a -> all
        recv_now b -> WouldBlock
    ";
    a_full_direction_does_not_stop_the_other: "
        pair a b
        fill a -> WouldBlock
        send b hello -> 5
        recv a -> \"hello\"
        pump b a 1000000 -> 0 missing
        drain b a -> all
    ";
    both_directions_can_be_full: "
        pair a b
        fill a -> WouldBlock
        fill b -> WouldBlock
        drain b a -> all
        drain a b -> all
        pump a b 1000000 -> 0 missing
    ";
    a_full_connection_does_not_stop_another: "
        pair a b
        pair c d
        fill a -> WouldBlock
        pump c d 1000000 -> 0 missing
        drain b a -> all
    ";
    nothing_is_read_from_a_full_peer: "
        pair a b
        fill a -> WouldBlock
        recv_now a -> WouldBlock
        send_now a nothing -> 0
    ";
    data_refused_while_full_is_not_taken_twice: "
        pair a b
        fill a -> WouldBlock
        fill a -> WouldBlock
        drain b a -> all
        recv_now b -> WouldBlock
        pump a b 100000 -> 0 missing
    ";
}

tables! {
    a_read_takes(sent, room, takes, next): "
        pair a b
        send a {sent}
        settle
        recv b {room} -> {takes}
        recv_now b {room} -> {next}
    " {
        "what fits exactly": "hello -> 5", "5", "\"hello\"", "WouldBlock";
        "as much as there is room": "hello -> 5", "3", "\"hel\"", "\"lo\"";
        "as much as there is": "hello -> 5", "9", "\"hello\"", "WouldBlock";
        "one byte": "h -> 1", "1", "\"h\"", "WouldBlock";
        "one byte of many": "hello -> 5", "1", "\"h\"", "\"e\"";
        "all but one": "hello -> 5", "4", "\"hell\"", "\"o\"";
    }
    data_sent_in_one_piece_arrives(count, answer): "
        pair a b
        pump a b {count} -> {answer}
        recv_now b -> WouldBlock
    " {
        "one byte": "1", "0 missing";
        "a segment of Ethernet": "1460", "0 missing";
        "one less than a page": "4095", "0 missing";
        "a piece": "65536", "0 missing";
        "a piece and one": "65537", "0 missing";
        "more than a window": "1000001", "0 missing";
    }
}
