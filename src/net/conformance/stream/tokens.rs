//! Stale and unused tokens.

use crate::net::conformance::{tables, transcripts};

transcripts! {
    closing_a_socket_that_is_not_open_does_nothing: "
        close a
        reset a
        close a
        listen l 127.0.0.1:0 -> ok
        close a
        connect b l -> ok
        accept l c -> from 127.0.0.1:b
    ";
    a_token_that_failed_to_open_names_nothing: "
        listen l 203.0.113.1:0 -> bind: AddrNotAvailable
        local l -> NotFound
        accept_now l a -> NotFound
        listen l 127.0.0.1:0 -> ok
        local l -> 127.0.0.1:l
    ";
    an_index_is_used_again_under_another_name: "
        listen l 127.0.0.1:0 -> ok
        connect a l -> ok
        close a
        connect b l -> ok
        wait b writable -> yes
        recv_now a -> NotFound
        close a
        reset a
        recv_now b -> WouldBlock
        local b -> 127.0.0.1:b
    ";
    a_listener_s_index_can_become_a_stream_s: "
        listen l 127.0.0.1:0 -> ok
        listen m 127.0.0.1:0 -> ok
        close m
        connect a l -> ok
        wait a writable -> yes
        accept_now m b -> NotFound
        accept_now a b -> NotFound
        recv_now a -> WouldBlock
    ";
    a_token_of_one_process_names_nothing_in_another: "
        listen l 127.0.0.1:0 -> ok
        process 1
        recv_now x -> NotFound
        accept_now x y -> NotFound
        local x -> NotFound
        close x
        connect a 127.0.0.1:l -> ok
        accept l b -> from 127.0.0.1:a
    ";
}

tables! {
    a_token_names_nothing(made): "
        pair x b
        {made}
        recv_now s -> NotFound
        recv_now s 0 -> NotFound
        send_now s x -> NotFound
        send_now s nothing -> NotFound
        shutdown s -> NotFound
        local s -> NotFound
        peer s -> NotFound
        error s -> failed: NotFound
        set s nodelay=on -> NotFound
        set s keepalive=off -> NotFound
        accept_now s t -> NotFound
        shed s 9 -> 0
        close s
        reset s
        send x hello -> 5
        recv b -> \"hello\"
    " {
        "that was never used": "settle";
        "of a closed stream": "
            connect s l -> ok
            close s";
        "of a stream that was reset": "
            connect s l -> ok
            reset s";
        "of an accepted stream that was closed": "
            connect c l -> ok
            accept l s -> from 127.0.0.1:c
            close s";
        "of a closed listener": "
            listen s 127.0.0.1:0 -> ok
            close s";
        "whose index a stream has": "
            connect s l -> ok
            close s
            connect c l -> ok";
        "whose index a listener has": "
            connect s l -> ok
            close s
            listen c 127.0.0.1:0 -> ok";
        "of a listener whose index a stream has": "
            listen s 127.0.0.1:0 -> ok
            close s
            connect c l -> ok";
    }
    a_listener_is_no_stream(call, answer): "
        listen l 127.0.0.1:0 -> ok
        {call} -> {answer}
        connect a l -> ok
        accept l b -> from 127.0.0.1:a
    " {
        "to read": "recv_now l", "NotFound";
        "to write": "send_now l x", "NotFound";
        "to shut down": "shutdown l", "NotFound";
        "to have a peer": "peer l", "NotFound";
        "to have an error": "error l", "failed: NotFound";
        "to have options": "set l nodelay=on", "NotFound";
        "but has an address": "local l", "127.0.0.1:l";
    }
    a_stream_is_no_listener(call, answer): "
        pair a b
        {call} -> {answer}
        send a hello -> 5
        recv b -> \"hello\"
    " {
        "to accept from": "accept_now a c", "NotFound";
        "to shed from": "shed a 9", "0";
    }
}
