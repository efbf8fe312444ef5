//! Bytes that go through a connection.

use super::{tables, transcripts};

transcripts! {
    bytes_come_out_as_they_went_in: "
        pair a b
        send a hello -> 5
        recv b -> \"hello\"
        recv_now b -> WouldBlock
        send b world -> 5
        recv a -> \"world\"
        local a -> 127.0.0.1:a
        peer a -> 127.0.0.1:l
        local b -> 127.0.0.1:l
        peer b -> 127.0.0.1:a
        error a -> none
        pump a b 10000000 -> 0 missing
        fill b -> WouldBlock
        forget b
        drain a b -> all
        told b writable -> yes
    ";
}

tables! {
    a_read_takes(room, takes): "
        pair a b
        send a hello -> 5
        recv b {room} -> {takes}
    " {
        "exactly": "5", "\"hello\"";
        "less": "3", "\"hel\"";
        "nothing": "0", "\"\"";
    }
}
