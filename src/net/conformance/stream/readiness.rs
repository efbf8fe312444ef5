//! Required readiness reports. No report may be missing after a call returned `WouldBlock` or moved
//! fewer bytes than requested. Extra reports are allowed, so no case checks that a report is
//! absent.

use crate::net::conformance::{tables, transcripts};

transcripts! {
    an_accepted_connection_is_reported_as_writable: "
        listen l 127.0.0.1:0 -> ok
        connect a l -> ok
        accept l b -> from 127.0.0.1:a
        wait b writable -> yes
    ";
    data_from_before_the_accept_is_reported_after_it: "
        listen l 127.0.0.1:0 -> ok
        connect a l -> ok
        send a hello -> 5
        settle
        accept l b -> from 127.0.0.1:a
        wait b readable -> yes
        recv_now b -> \"hello\"
    ";
    an_end_from_before_the_accept_is_reported_after_it: "
        listen l 127.0.0.1:0 -> ok
        connect a l -> ok
        wait a writable -> yes
        shutdown a -> ok
        settle
        accept l b -> from 127.0.0.1:a
        wait b closed -> yes
    ";
    bytes_are_reported_after_a_read_that_would_block: "
        pair a b
        recv_now b -> WouldBlock
        forget b
        send a hello -> 5
        wait b readable -> yes
    ";
    new_bytes_are_reported_after_a_short_read: "
        pair a b
        send a hello -> 5
        recv b 9 -> \"hello\"
        forget b
        send a world -> 5
        wait b readable -> yes
        recv_now b -> \"world\"
    ";
    bytes_are_reported_after_a_full_read_and_a_would_block: "
        pair a b
        send a hello -> 5
        recv b 5 -> \"hello\"
        recv_now b 5 -> WouldBlock
        forget b
        send a world -> 5
        wait b readable -> yes
        recv_now b 5 -> \"world\"
    ";
    bytes_are_reported_again_and_again: "
        pair a b
        send a one -> 3
        recv b -> \"one\"
        send a two -> 3
        recv b -> \"two\"
        send a three -> 5
        recv b -> \"three\"
        send a four -> 4
        recv b -> \"four\"
    ";
    bytes_on_both_sides_are_reported: "
        pair a b
        send a hello -> 5
        send b world -> 5
        wait a readable -> yes
        wait b readable -> yes
    ";
    an_end_is_reported_after_a_read_that_would_block: "
        pair a b
        recv_now b -> WouldBlock
        forget b
        shutdown a -> ok
        wait b closed -> yes
        wait b readable -> yes
    ";
    an_end_is_reported_after_a_short_read: "
        pair a b
        send a hello -> 5
        recv b -> \"hello\"
        forget b
        shutdown a -> ok
        wait b closed -> yes
    ";
    bytes_and_an_end_can_be_one_report: "
        pair a b
        recv_now b -> WouldBlock
        forget b
        send a hello -> 5
        shutdown a -> ok
        wait b closed -> yes
        wait b readable -> yes
        recv_now b -> \"hello\"
        recv_now b -> end
    ";
    room_is_reported_after_a_send_that_would_block: "
        pair a b
        fill a -> WouldBlock
        forget a
        drain b a -> all
        wait a writable -> yes
        send_now a x -> 1
    ";
    room_is_reported_after_a_short_send: "
        pair a b
        fill_short a -> short
        forget a
        drain b a -> all
        wait a writable -> yes
        send_now a x -> 1
    ";
    room_is_reported_when_a_large_part_was_read: "
        pair a b
        fill a -> WouldBlock
        forget a
        drain_most b a -> most
        wait a writable -> yes
    ";
    room_is_reported_again_and_again: "
        pair a b
        fill a -> WouldBlock
        drain b a -> all
        wait a writable -> yes
        fill a -> WouldBlock
        drain b a -> all
        wait a writable -> yes
        fill a -> WouldBlock
        drain b a -> all
        wait a writable -> yes
    ";
    the_end_of_the_peer_is_reported_to_a_full_sender: "
        pair a b
        fill a -> WouldBlock
        forget a
        shutdown b -> ok
        wait a closed -> yes
        recv_now a -> end
        drain b a -> all
        wait a writable -> yes
    ";
    bytes_for_a_full_sender_are_reported: "
        pair a b
        recv_now a -> WouldBlock
        fill a -> WouldBlock
        forget a
        send b hello -> 5
        wait a readable -> yes
    ";
    a_lost_peer_is_reported_to_a_full_sender: "
        pair a b
        fill a -> WouldBlock
        forget a
        wait b readable -> yes
        close b
        wait a writable -> yes
        wait a closed -> yes
        send_now a x -> ConnectionReset
        recv_now a -> end
    ";
    a_report_names_the_socket_that_it_is_about: "
        pair a b
        pair c d
        pair e f
        recv_now b -> WouldBlock
        recv_now d -> WouldBlock
        recv_now f -> WouldBlock
        forget d
        send c hello -> 5
        wait d readable -> yes
        recv_now b -> WouldBlock
        recv_now d -> \"hello\"
        recv_now f -> WouldBlock
    ";
    a_new_socket_at_an_old_index_gets_its_own_reports: "
        pair a b
        close b
        recv a -> end
        close a
        pair c d
        send c hello -> 5
        recv d -> \"hello\"
        shutdown d -> ok
        recv c -> end
    ";
    a_report_about_a_socket_closed_meanwhile_is_harmless: "
        pair a b
        send a hello -> 5
        close b
        settle
        pair c d
        recv_now d -> WouldBlock
        send c world -> 5
        recv d -> \"world\"
    ";
    each_process_gets_its_own_reports: "
        listen l 127.0.0.1:0 -> ok
        process 1
        connect a 127.0.0.1:l -> ok
        wait a writable -> yes
        wait l readable -> yes
        accept_now l b -> from 127.0.0.1:a
        send a hello -> 5
        wait b readable -> yes
        send b world -> 5
        wait a readable -> yes
    ";
}

tables! {
    // The peer acts after this side has received or sent until `WouldBlock`.
    it_is_reported(before, act, readiness): "
        pair a b
        {before}
        forget b
        {act}
        wait b {readiness} -> yes
    " {
        "of bytes, having read": "recv_now b -> WouldBlock", "send a hello -> 5", "readable";
        "of an end, having read": "recv_now b -> WouldBlock", "shutdown a -> ok", "readable";
        "of an end as such, having read": "recv_now b -> WouldBlock", "shutdown a -> ok", "closed";
        "of a close, having read": "recv_now b -> WouldBlock", "close a", "closed";
        "of a reset, having read": "recv_now b -> WouldBlock", "reset a", "closed";
        "of a reset as readable, having read": "recv_now b -> WouldBlock", "reset a", "readable";
        "of a reset as writable, having written": "fill b -> WouldBlock", "reset a", "writable";
        "of a close as writable, having written": "fill b -> WouldBlock", "close a", "writable";
        "of an end, having written": "fill b -> WouldBlock", "shutdown a -> ok", "closed";
        "of bytes, having written": "fill b -> WouldBlock", "send a hello -> 5", "readable";
        "of room, having written": "fill b -> WouldBlock", "drain a b -> all", "writable";
    }
}
