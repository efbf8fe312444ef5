//! Contents: reading, appending, lengths, syncs, metadata.

use super::{APPEND, NEW, READ, errno, on_disk, path, read, write};
use crate::net::conformance::bench::Bench;
use crate::net::conformance::programs;
use crate::net::files::{FileKind, FileNumber};
use rustix::io::Errno;

programs![
    what_is_appended_is_read,
    appends_follow_each_other,
    an_append_goes_to_the_end_as_it_is_then,
    an_append_of_nothing_writes_nothing,
    a_read_at_an_offset_begins_there,
    a_read_at_the_end_returns_nothing,
    a_read_beyond_the_end_returns_nothing,
    a_file_opened_for_reading_cannot_be_appended_to,
    a_file_opened_for_appending_can_be_read,
    a_new_file_is_empty_and_has_its_mode,
    a_file_is_cut,
    a_file_is_extended_by_zeros,
    an_append_after_a_cut_follows_it,
    a_sync_changes_nothing_that_is_seen,
    the_metadata_of_an_open_file_and_of_its_path_are_equal,
    the_length_in_the_metadata_grows,
    an_append_changes_the_modification_time,
    another_open_file_sees_the_contents,
    a_closed_file_has_no_calls,
    a_file_closed_twice_is_closed,
    numbers_are_not_reused,
    a_file_larger_than_a_page_is_whole,
];

fn what_is_appended_is_read(bench: &mut Bench) {
    let at = path(bench, "file");
    let data = on_disk(bench, move |disk| {
        let file = write(disk, &at, b"hello");
        read(disk, file)
    });
    assert_eq!(data, b"hello");
}

fn appends_follow_each_other(bench: &mut Bench) {
    let at = path(bench, "file");
    let data = on_disk(bench, move |disk| {
        let file = write(disk, &at, b"one ");
        disk.append(file, b"two").unwrap();
        read(disk, file)
    });
    assert_eq!(data, b"one two");
}

fn an_append_goes_to_the_end_as_it_is_then(bench: &mut Bench) {
    let at = path(bench, "file");
    let data = on_disk(bench, move |disk| {
        let first = write(disk, &at, b"a");
        let second = disk.open(&at, APPEND).unwrap();
        disk.append(second, b"b").unwrap();
        disk.append(first, b"c").unwrap();
        read(disk, second)
    });
    assert_eq!(data, b"abc");
}

fn an_append_of_nothing_writes_nothing(bench: &mut Bench) {
    let at = path(bench, "file");
    let (count, data) = on_disk(bench, move |disk| {
        let file = write(disk, &at, b"a");
        (disk.append(file, b"").unwrap(), read(disk, file))
    });
    assert_eq!((count, &data[..]), (0, &b"a"[..]));
}

fn a_read_at_an_offset_begins_there(bench: &mut Bench) {
    let at = path(bench, "file");
    let (count, data) = on_disk(bench, move |disk| {
        let file = write(disk, &at, b"0123456789");
        let mut data = [0; 4];
        (disk.read_at(file, 3, &mut data).unwrap(), data)
    });
    assert_eq!((count, &data), (4, b"3456"));
}

fn a_read_at_the_end_returns_nothing(bench: &mut Bench) {
    let at = path(bench, "file");
    let count = on_disk(bench, move |disk| {
        let file = write(disk, &at, b"0123");
        disk.read_at(file, 4, &mut [0; 4]).unwrap()
    });
    assert_eq!(count, 0);
}

fn a_read_beyond_the_end_returns_nothing(bench: &mut Bench) {
    let at = path(bench, "file");
    let count = on_disk(bench, move |disk| {
        let file = write(disk, &at, b"0123");
        disk.read_at(file, 1 << 40, &mut [0; 4]).unwrap()
    });
    assert_eq!(count, 0);
}

fn a_file_opened_for_reading_cannot_be_appended_to(bench: &mut Bench) {
    let at = path(bench, "file");
    let (append, cut) = on_disk(bench, move |disk| {
        write(disk, &at, b"a");
        let file = disk.open(&at, READ).unwrap();
        (errno(disk.append(file, b"b")), errno(disk.truncate(file, 0)))
    });
    assert_eq!((append, cut), (Errno::BADF.raw_os_error(), Errno::INVAL.raw_os_error()));
}

fn a_file_opened_for_appending_can_be_read(bench: &mut Bench) {
    let at = path(bench, "file");
    let data = on_disk(bench, move |disk| {
        let first = write(disk, &at, b"a");
        disk.close(first);
        let file = disk.open(&at, APPEND).unwrap();
        read(disk, file)
    });
    assert_eq!(data, b"a");
}

fn a_new_file_is_empty_and_has_its_mode(bench: &mut Bench) {
    let at = path(bench, "file");
    let found = on_disk(bench, move |disk| {
        let file = disk.open(&at, NEW).unwrap();
        disk.metadata(file).unwrap()
    });
    assert_eq!((found.kind, found.length, found.mode), (FileKind::Regular, 0, 0o600));
}

fn a_file_is_cut(bench: &mut Bench) {
    let at = path(bench, "file");
    let data = on_disk(bench, move |disk| {
        let file = write(disk, &at, b"0123456789");
        disk.truncate(file, 4).unwrap();
        read(disk, file)
    });
    assert_eq!(data, b"0123");
}

fn a_file_is_extended_by_zeros(bench: &mut Bench) {
    let at = path(bench, "file");
    let data = on_disk(bench, move |disk| {
        let file = write(disk, &at, b"01");
        disk.truncate(file, 4).unwrap();
        read(disk, file)
    });
    assert_eq!(data, b"01\0\0");
}

fn an_append_after_a_cut_follows_it(bench: &mut Bench) {
    let at = path(bench, "file");
    let data = on_disk(bench, move |disk| {
        let file = write(disk, &at, b"0123456789");
        disk.truncate(file, 2).unwrap();
        disk.append(file, b"x").unwrap();
        read(disk, file)
    });
    assert_eq!(data, b"01x");
}

fn a_sync_changes_nothing_that_is_seen(bench: &mut Bench) {
    let at = path(bench, "file");
    let data = on_disk(bench, move |disk| {
        let file = write(disk, &at, b"data");
        disk.sync(file).unwrap();
        disk.sync(file).unwrap();
        disk.sync_dir(at.parent().unwrap()).unwrap();
        read(disk, file)
    });
    assert_eq!(data, b"data");
}

fn the_metadata_of_an_open_file_and_of_its_path_are_equal(bench: &mut Bench) {
    let at = path(bench, "file");
    let (open, named) = on_disk(bench, move |disk| {
        let file = write(disk, &at, b"data");
        (disk.metadata(file).unwrap(), disk.metadata_at(&at, true).unwrap())
    });
    assert_eq!(open, named);
    assert!(open.is_unchanged(&named));
}

fn the_length_in_the_metadata_grows(bench: &mut Bench) {
    let at = path(bench, "file");
    let (before, after) = on_disk(bench, move |disk| {
        let file = write(disk, &at, b"data");
        let before = disk.metadata(file).unwrap();
        disk.append(file, b"more").unwrap();
        (before, disk.metadata(file).unwrap())
    });
    assert_eq!((before.length, after.length), (4, 8));
    assert!(before.is_same_file(&after) && !before.is_unchanged(&after));
}

fn an_append_changes_the_modification_time(bench: &mut Bench) {
    let at = path(bench, "file");
    let early = path(bench, "file");
    let before = on_disk(bench, move |disk| {
        let file = write(disk, &early, b"data");
        disk.metadata(file).unwrap().modified
    });
    // The granularity of time can be some milliseconds.
    let file = on_disk(bench, move |disk| disk.open(&at, APPEND).unwrap());
    let changed = (0..1000).any(|_| {
        let after = on_disk(bench, move |disk| {
            disk.append(file, b"x").unwrap();
            disk.metadata(file).unwrap().modified
        });
        bench.settle();
        assert!(after >= before);
        after > before
    });
    assert!(changed);
}

fn another_open_file_sees_the_contents(bench: &mut Bench) {
    let at = path(bench, "file");
    let data = on_disk(bench, move |disk| {
        let writer = write(disk, &at, b"a");
        let reader = disk.open(&at, READ).unwrap();
        disk.append(writer, b"b").unwrap();
        read(disk, reader)
    });
    assert_eq!(data, b"ab");
}

fn a_closed_file_has_no_calls(bench: &mut Bench) {
    let at = path(bench, "file");
    let errors = on_disk(bench, move |disk| {
        let file = write(disk, &at, b"a");
        disk.close(file);
        [
            errno(disk.append(file, b"b")),
            errno(disk.read_at(file, 0, &mut [0])),
            errno(disk.metadata(file)),
            errno(disk.truncate(file, 0)),
            errno(disk.sync(file)),
            errno(disk.lock(file)),
            errno(disk.metadata(FileNumber(u64::MAX))),
        ]
    });
    assert_eq!(errors, [Errno::BADF.raw_os_error(); 7]);
}

fn a_file_closed_twice_is_closed(bench: &mut Bench) {
    let at = path(bench, "file");
    let data = on_disk(bench, move |disk| {
        let first = write(disk, &at, b"a");
        disk.close(first);
        let second = disk.open(&at, APPEND).unwrap();
        disk.close(first);
        read(disk, second)
    });
    assert_eq!(data, b"a");
}

fn numbers_are_not_reused(bench: &mut Bench) {
    let at = path(bench, "file");
    let (first, second) = on_disk(bench, move |disk| {
        let first = disk.open(&at, APPEND).unwrap();
        disk.close(first);
        (first, disk.open(&at, APPEND).unwrap())
    });
    assert_ne!(first, second);
}

fn a_file_larger_than_a_page_is_whole(bench: &mut Bench) {
    let at = path(bench, "file");
    let data: Vec<u8> = (0..100_000_u32).map(|number| (number % 251) as u8).collect();
    let written = data.clone();
    let back = on_disk(bench, move |disk| {
        let file = write(disk, &at, &written);
        let mut back = vec![0; 200_000];
        let count = disk.read_at(file, 0, &mut back).unwrap();
        back.truncate(count);
        back
    });
    assert!(back == data, "{} bytes", back.len());
}
