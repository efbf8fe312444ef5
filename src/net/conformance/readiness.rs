//! What has to be told, and when: no report may be missing after a call answered that it would block, or moved less
//! than it was asked to. More reports may come than have to, so no case says that one does not come.

use super::{tables, transcripts};

transcripts! {
    an_accepted_connection_is_told_to_be_writable: "
        listen l 127.0.0.1:0 -> ok
        connect a l -> ok
        accept l b -> from 127.0.0.1:a
        told b writable -> yes
    ";
    what_came_before_the_accept_is_told_after_it: "
        listen l 127.0.0.1:0 -> ok
        connect a l -> ok
        send a hello -> 5
        settle
        accept l b -> from 127.0.0.1:a
        told b readable -> yes
        recv_now b -> \"hello\"
    ";
    an_end_that_came_before_the_accept_is_told_after_it: "
        listen l 127.0.0.1:0 -> ok
        connect a l -> ok
        told a writable -> yes
        shutdown a -> ok
        settle
        accept l b -> from 127.0.0.1:a
        told b closed -> yes
    ";
    bytes_are_told_after_a_read_that_would_block: "
        pair a b
        recv_now b -> WouldBlock
        forget b
        send a hello -> 5
        told b readable -> yes
    ";
    new_bytes_are_reported_after_a_short_read: "
        pair a b
        send a hello -> 5
        recv b 9 -> \"hello\"
        forget b
        send a world -> 5
        told b readable -> yes
        recv_now b -> \"world\"
    ";
    bytes_are_told_after_a_read_of_all_and_one_that_would_block: "
        pair a b
        send a hello -> 5
        recv b 5 -> \"hello\"
        recv_now b 5 -> WouldBlock
        forget b
        send a world -> 5
        told b readable -> yes
        recv_now b 5 -> \"world\"
    ";
    bytes_are_told_again_and_again: "
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
    bytes_on_both_sides_are_told: "
        pair a b
        send a hello -> 5
        send b world -> 5
        told a readable -> yes
        told b readable -> yes
    ";
    an_end_is_told_after_a_read_that_would_block: "
        pair a b
        recv_now b -> WouldBlock
        forget b
        shutdown a -> ok
        told b closed -> yes
        told b readable -> yes
    ";
    an_end_is_told_after_a_short_read: "
        pair a b
        send a hello -> 5
        recv b -> \"hello\"
        forget b
        shutdown a -> ok
        told b closed -> yes
    ";
    bytes_and_an_end_can_be_one_report: "
        pair a b
        recv_now b -> WouldBlock
        forget b
        send a hello -> 5
        shutdown a -> ok
        told b closed -> yes
        told b readable -> yes
        recv_now b -> \"hello\"
        recv_now b -> end
    ";
    room_is_told_after_a_send_that_would_block: "
        pair a b
        fill a -> WouldBlock
        forget a
        drain b a -> all
        told a writable -> yes
        send_now a x -> 1
    ";
    room_is_told_after_a_send_that_was_taken_in_part: "
        pair a b
        fill_short a -> short
        forget a
        drain b a -> all
        told a writable -> yes
        send_now a x -> 1
    ";
    room_is_told_when_a_good_part_was_read: "
        pair a b
        fill a -> WouldBlock
        forget a
        drain_most b a -> most
        told a writable -> yes
    ";
    room_is_told_again_and_again: "
        pair a b
        fill a -> WouldBlock
        drain b a -> all
        told a writable -> yes
        fill a -> WouldBlock
        drain b a -> all
        told a writable -> yes
        fill a -> WouldBlock
        drain b a -> all
        told a writable -> yes
    ";
    the_end_of_the_peer_is_told_to_a_full_sender: "
        pair a b
        fill a -> WouldBlock
        forget a
        shutdown b -> ok
        told a closed -> yes
        recv_now a -> end
        drain b a -> all
        told a writable -> yes
    ";
    bytes_for_a_full_sender_are_told: "
        pair a b
        recv_now a -> WouldBlock
        fill a -> WouldBlock
        forget a
        send b hello -> 5
        told a readable -> yes
    ";
    a_peer_that_is_gone_is_told_to_a_full_sender: "
        pair a b
        fill a -> WouldBlock
        forget a
        told b readable -> yes
        close b
        told a writable -> yes
        told a closed -> yes
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
        told d readable -> yes
        recv_now b -> WouldBlock
        recv_now d -> \"hello\"
        recv_now f -> WouldBlock
    ";
    a_new_socket_at_an_old_index_is_told_of_itself: "
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
    a_report_about_a_socket_closed_meanwhile_harms_nobody: "
        pair a b
        send a hello -> 5
        close b
        settle
        pair c d
        recv_now d -> WouldBlock
        send c world -> 5
        recv d -> \"world\"
    ";
    each_process_hears_of_its_own: "
        listen l 127.0.0.1:0 -> ok
        process 1
        connect a 127.0.0.1:l -> ok
        told a writable -> yes
        told l readable -> yes
        accept_now l b -> from 127.0.0.1:a
        send a hello -> 5
        told b readable -> yes
        send b world -> 5
        told a readable -> yes
    ";
}

tables! {
    // The peer acts while this side has read until it would block, or has written until it would.
    it_is_told(before, act, what): "
        pair a b
        {before}
        forget b
        {act}
        told b {what} -> yes
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
