//! UNIX streams: addresses and files, immediate connects, and the end of a connection.

use crate::net::conformance::{tables, transcripts};

transcripts! {
    bytes_go_both_ways_through_a_path: "
        unix_pair a b
        send a hello -> 5
        recv b -> \"hello\"
        send b world -> 5
        recv a -> \"world\"
        recv_now a -> WouldBlock
    ";
    an_abstract_name_has_no_file: "
        listen l @name -> ok
        local l -> @name
        connect a @name -> ok
        accept l b -> from (unnamed)
        peer a -> @name
        local b -> @name
        send a hello -> 5
        recv b -> \"hello\"
        close l
        connect c @name -> connect: ConnectionRefused
        listen m @name -> ok
    ";
    a_connection_is_made_at_once_and_before_it_is_accepted: "
        listen l /l -> ok
        connect a /l -> ok
        peer a -> /l
        local a -> (unnamed)
        send_now a hello -> 5
        accept l b -> from (unnamed)
        recv b -> \"hello\"
        peer b -> (unnamed)
        local b -> /l
    ";
    a_client_can_have_a_name: "
        listen l /l -> ok
        connect a /l from=/a -> ok
        local a -> /a
        accept l b -> from /a
        peer b -> /a
        connect c /a -> connect: ConnectionRefused
        file /a -> there
        connect d /l from=/a -> bind: AddrInUse
        close a
        file /a -> not there
        connect d /l from=/a -> ok
    ";
    a_client_s_abstract_name_goes_with_it: "
        listen l /l -> ok
        connect a /l from=@a -> ok
        accept l b -> from @a
        connect c /l from=@a -> bind: AddrInUse
        close a
        connect d /l from=@a -> ok
    ";
    the_name_of_a_client_that_failed_is_free_if_it_is_abstract: "
        connect a /missing from=@a -> connect: NotFound of the system
        listen l @a -> ok
    ";
    a_connect_beyond_the_backlog_and_one_more_would_block: "
        listen l /l backlog=1 -> ok
        connect a /l -> ok
        connect b /l -> ok
        connect c /l -> connect: WouldBlock
        accept l d -> from (unnamed)
        connect c /l -> ok
        connect e /l -> connect: WouldBlock
    ";
    a_listener_s_file_goes_with_it: "
        listen l /l -> ok
        file /l -> there
        close l
        file /l -> not there
        connect a /l -> connect: NotFound of the system
    ";
    a_file_that_was_left_behind_is_stale: "
        listen l /l keep_file -> ok
        close l
        file /l -> there
        connect a /l -> connect: ConnectionRefused
        listen m /l keep_stale -> bind: AddrInUse
        listen n /l -> ok
        connect b /l -> ok
        accept n c -> from (unnamed)
    ";
    a_file_that_is_listened_on_is_not_stale: "
        listen l /l -> ok
        listen m /l -> bind: AddrInUse
        connect a /l -> ok
        accept_now m b -> NotFound
    ";
    a_file_with_a_full_queue_is_not_stale: "
        listen l /l backlog=0 -> ok
        connect a /l -> ok
        listen m /l -> bind: AddrInUse
    ";
    a_file_of_datagrams_is_not_stale_while_they_live: "
        datagrams d /d keep_file -> ok
        listen l /d -> bind: AddrInUse
        connect a /d -> connect: errno 91
        close d
        listen m /d -> ok
    ";
    a_file_can_be_removed_under_its_listener: "
        listen l /l -> ok
        remove /l -> ok
        connect a /l -> connect: NotFound of the system
        listen m /l -> ok
        close l
        # The file now belongs to another listener.
        file /l -> there
        connect b /l -> ok
        accept m c -> from (unnamed)
    ";
    a_closed_listener_resets_waiting_connections: "
        listen l /l -> ok
        connect a /l -> ok
        connect b /l -> ok
        close l
        wait a closed -> yes
        recv_now a -> ConnectionReset
        recv_now a -> end
        error b -> ConnectionReset
        recv_now b -> end
    ";
    a_waiting_connection_that_was_reset_reads_why: "
        listen l /l -> ok
        connect a /l -> ok
        close l
        send_now a hello -> BrokenPipe
        recv_now a -> ConnectionReset
        send_now a hello -> BrokenPipe
    ";
    accepted_connections_outlive_their_listener: "
        unix_pair a b
        close l
        send a hello -> 5
        recv b -> \"hello\"
        peer a -> /l
    ";
    after_a_close_come_the_sent_bytes_and_then_the_end: "
        unix_pair a b
        send a hello -> 5
        close a
        wait b closed -> yes
        send_now b world -> BrokenPipe
        recv b -> \"hello\"
        recv b -> end
        recv_now b -> end
        error b -> none
        peer b -> (unnamed)
        shutdown b -> ok
    ";
    a_close_with_something_unread_is_a_reset: "
        unix_pair a b
        send a hello -> 5
        settle
        close b
        wait a closed -> yes
        send_now a more -> BrokenPipe
        recv_now a -> ConnectionReset
        recv_now a -> end
        peer a -> /l
    ";
    data_from_before_a_reset_is_read_first: "
        unix_pair a b
        send a hello -> 5
        send b world -> 5
        settle
        close b
        recv a -> \"world\"
        recv_now a -> ConnectionReset
        recv_now a -> end
    ";
    a_reset_is_a_plain_close: "
        unix_pair a b
        send a hello -> 5
        reset a
        recv b -> \"hello\"
        recv b -> end
        error b -> none
    ";
    one_direction_can_end: "
        unix_pair a b
        shutdown a -> ok
        send_now a hello -> BrokenPipe
        wait b closed -> yes
        recv b -> end
        send b hello -> 5
        recv a -> \"hello\"
        shutdown a -> ok
    ";
    both_directions_can_end: "
        unix_pair a b
        shutdown a -> ok
        shutdown b -> ok
        wait a closed -> yes
        wait b closed -> yes
        recv_now a -> end
        recv_now b -> end
        shutdown a -> ok
        peer a -> /l
        peer b -> (unnamed)
    ";
    after_both_ends_a_close_with_unread_data_is_still_an_error: "
        unix_pair a b
        send a hello -> 5
        shutdown a -> ok
        shutdown b -> ok
        settle
        close b
        settle
        recv_now a -> ConnectionReset
        recv_now a -> end
    ";
    a_shed_connection_reads_the_end: "
        listen l /l -> ok
        connect a /l -> ok
        connect b /l -> ok
        send b hello -> 5
        wait l readable -> yes
        settle
        shed l 9 -> 2
        recv a -> end
        recv b -> ConnectionReset
        recv b -> end
    ";
    a_client_may_be_gone_before_it_is_accepted: "
        listen l /l -> ok
        connect a /l -> ok
        send a hello -> 5
        close a
        accept l b -> from (unnamed)
        recv b -> \"hello\"
        recv b -> end
        peer b -> (unnamed)
    ";
    a_sender_without_a_reader_is_stopped: "
        unix_pair a b
        fill a -> WouldBlock
        send_now a x -> WouldBlock
        error a -> none
        drain b a -> all
        recv_now b -> WouldBlock
        pump a b 1000000 -> 0 missing
    ";
    both_directions_can_be_full: "
        unix_pair a b
        fill a -> WouldBlock
        fill b -> WouldBlock
        drain b a -> all
        drain a b -> all
        pump b a 1000000 -> 0 missing
    ";
    room_is_reported_when_most_was_read: "
        unix_pair a b
        fill a -> WouldBlock
        forget a
        drain b a -> all
        wait a writable -> yes
        send a x -> 1
    ";
    ten_megabytes_come_through: "
        unix_pair a b
        pump a b 10000000 -> 0 missing
        pump b a 10000000 -> 0 missing
    ";
    many_bytes_go_from_process_to_process: "
        listen l /l -> ok
        process 1
        connect a /l -> ok
        accept l b -> from (unnamed)
        pump a b 3000000 -> 0 missing
    ";
    the_files_of_a_process_that_ends_go_with_it: "
        process 1
        listen l /l -> ok
        connect a /l -> ok
        ends 1
        file /l -> not there
        process 0
        listen m /l -> ok
    ";
    both_sides_know_the_credentials_of_the_other: "
        unix_pair a b
        credentials a -> known
        credentials b -> known
        close a
        credentials b -> known
        credentials a -> NotFound
        credentials l -> NotFound
    ";
    a_read_without_room_takes_nothing: "
        unix_pair a b
        recv_now b 0 -> WouldBlock
        send a hello -> 5
        recv b 0 -> \"\"
        recv_now b 5 -> \"hello\"
        shutdown a -> ok
        wait b closed -> yes
        recv_now b -> end
    ";
    a_send_of_nothing_sends_nothing: "
        unix_pair a b
        send a nothing -> 0
        settle
        recv_now b -> WouldBlock
    ";
}

tables! {
    a_listener_s_file_has_its_mode(mode): "
        listen l /l mode={mode} -> ok
        mode /l -> {mode}
        connect a /l -> ok
        accept l b -> from (unnamed)
    " {
        "for its owner": "600";
        "for its group": "660";
        "for all users": "777";
    }
    connecting_fails(to, answer): "
        connect a {to} -> connect: {answer}
        local a -> NotFound
    " {
        "to a path without a file": "/missing", "NotFound of the system";
        "to an unused name": "@missing", "ConnectionRefused";
    }
    options_of_a_unix_stream(option, answer): "
        unix_pair a b
        set a {option} -> {answer}
        send a hello -> 5
        recv b -> \"hello\"
    " {
        "no delay": "nodelay=on", "Unsupported";
        "keepalive": "keepalive=60000", "Unsupported";
        "no keepalive": "keepalive=off", "ok";
        "a user timeout": "user_timeout=5000", "Unsupported";
    }
}
