//! Names: creating, renaming, removing, directories, links, and files that are no regular ones.

use std::path::{Path, PathBuf};

use super::{APPEND, NEW, READ, errno, on_disk, path, read, write};
use crate::net::conformance::bench::Bench;
use crate::net::conformance::programs;
use crate::net::files::{FileKind, OpenFile};
use rustix::io::Errno;

programs![
    a_missing_file_is_not_found,
    a_file_in_a_missing_directory_is_not_found,
    a_file_is_no_directory,
    an_empty_path_is_not_found,
    a_path_with_a_nul_byte_is_invalid,
    a_name_can_be_too_long,
    a_new_file_must_not_exist,
    a_new_file_does_not_follow_a_link,
    a_rename_moves_the_contents,
    a_rename_replaces_a_file,
    an_open_file_is_the_one_that_was_replaced,
    an_open_file_outlives_its_name,
    a_replaced_file_is_another_one,
    a_rename_of_a_missing_file_is_not_found,
    a_rename_into_a_missing_directory_is_not_found,
    a_file_does_not_replace_a_directory,
    a_directory_does_not_replace_a_file,
    a_directory_does_not_move_into_itself,
    a_directory_is_renamed_with_its_files,
    a_removed_file_is_not_found,
    a_file_is_removed_once,
    an_empty_directory_is_removed,
    a_directory_with_files_is_not_removed,
    a_directory_is_created_once,
    a_directory_cannot_be_appended_to,
    a_directory_that_is_opened_is_one,
    a_directory_is_listed,
    a_list_has_at_most_its_limit,
    a_file_cannot_be_listed,
    dots_lead_to_the_directory_and_to_its_parent,
    a_link_is_followed,
    a_link_is_refused,
    a_link_has_its_own_metadata,
    a_link_to_nothing_is_not_found,
    a_link_to_nothing_is_created_through,
    links_in_a_circle_are_an_error,
    a_link_to_a_directory_is_followed_on_the_way,
    a_link_that_is_switched_leads_to_the_other_file,
    a_link_is_removed_and_not_its_target,
    a_fifo_is_opened_and_blocks_no_thread,
    a_synced_directory_must_exist,
];

/// Calls on a fresh folder.
fn errno_of(bench: &mut Bench, act: impl FnOnce(&mut dyn super::Disk, &Path) -> i32 + Send + 'static) -> i32 {
    let folder = path(bench, "");
    on_disk(bench, move |disk| act(disk, &folder))
}

fn a_missing_file_is_not_found(bench: &mut Bench) {
    let found = errno_of(bench, |disk, folder| {
        let missing = folder.join("missing");
        let errors = [
            errno(disk.open(&missing, READ)),
            errno(disk.metadata_at(&missing, true)),
            errno(disk.metadata_at(&missing, false)),
            errno(disk.remove(&missing)),
            errno(disk.list(&missing, 10)),
        ];
        assert!(errors.iter().all(|error| *error == errors[0]), "{errors:?}");
        errors[0]
    });
    assert_eq!(found, Errno::NOENT.raw_os_error());
}

fn a_file_in_a_missing_directory_is_not_found(bench: &mut Bench) {
    let found = errno_of(bench, |disk, folder| errno(disk.open(&folder.join("missing/file"), APPEND)));
    assert_eq!(found, Errno::NOENT.raw_os_error());
}

fn a_file_is_no_directory(bench: &mut Bench) {
    let found = errno_of(bench, |disk, folder| {
        write(disk, &folder.join("file"), b"");
        errno(disk.open(&folder.join("file/below"), APPEND))
    });
    assert_eq!(found, Errno::NOTDIR.raw_os_error());
}

fn an_empty_path_is_not_found(bench: &mut Bench) {
    let found = errno_of(bench, |disk, _| errno(disk.open(Path::new(""), READ)));
    assert_eq!(found, Errno::NOENT.raw_os_error());
}

fn a_path_with_a_nul_byte_is_invalid(bench: &mut Bench) {
    let at = path(bench, "a\0b");
    let kinds = on_disk(bench, move |disk| {
        [
            disk.open(&at, APPEND).map(drop),
            disk.metadata_at(&at, true).map(drop),
            disk.remove(&at),
            disk.rename(&at, &at),
            disk.create_dir(&at, 0o755),
        ]
        .map(|result| result.unwrap_err().kind())
    });
    assert_eq!(kinds, [std::io::ErrorKind::InvalidInput; 5]);
}

fn a_name_can_be_too_long(bench: &mut Bench) {
    let found = errno_of(bench, |disk, folder| {
        disk.open(&folder.join("x".repeat(255)), APPEND).unwrap();
        errno(disk.open(&folder.join("x".repeat(256)), APPEND))
    });
    assert_eq!(found, Errno::NAMETOOLONG.raw_os_error());
}

fn a_new_file_must_not_exist(bench: &mut Bench) {
    let found = errno_of(bench, |disk, folder| {
        disk.open(&folder.join("file"), NEW).unwrap();
        errno(disk.open(&folder.join("file"), NEW))
    });
    assert_eq!(found, Errno::EXIST.raw_os_error());
}

fn a_new_file_does_not_follow_a_link(bench: &mut Bench) {
    bench.symlink("target", "link");
    let found = errno_of(bench, |disk, folder| errno(disk.open(&folder.join("link"), NEW)));
    assert_eq!(found, Errno::EXIST.raw_os_error());
}

fn a_rename_moves_the_contents(bench: &mut Bench) {
    let (data, old) = in_folder(bench, |disk, folder| {
        write(disk, &folder.join("old"), b"data");
        disk.rename(&folder.join("old"), &folder.join("new")).unwrap();
        let file = disk.open(&folder.join("new"), READ).unwrap();
        (read(disk, file), errno(disk.open(&folder.join("old"), READ)))
    });
    assert_eq!((&data[..], old), (&b"data"[..], Errno::NOENT.raw_os_error()));
}

fn in_folder<T: Send + 'static>(
    bench: &mut Bench,
    act: impl FnOnce(&mut dyn super::Disk, &Path) -> T + Send + 'static,
) -> T {
    let folder = path(bench, "");
    on_disk(bench, move |disk| act(disk, &folder))
}

fn a_rename_replaces_a_file(bench: &mut Bench) {
    let data = in_folder(bench, |disk, folder| {
        write(disk, &folder.join("old"), b"old");
        write(disk, &folder.join("draft"), b"new");
        disk.rename(&folder.join("draft"), &folder.join("old")).unwrap();
        let file = disk.open(&folder.join("old"), READ).unwrap();
        read(disk, file)
    });
    assert_eq!(data, b"new");
}

fn an_open_file_is_the_one_that_was_replaced(bench: &mut Bench) {
    let data = in_folder(bench, |disk, folder| {
        let open = write(disk, &folder.join("old"), b"old");
        write(disk, &folder.join("draft"), b"new");
        disk.rename(&folder.join("draft"), &folder.join("old")).unwrap();
        disk.append(open, b"er").unwrap();
        read(disk, open)
    });
    assert_eq!(data, b"older");
}

fn an_open_file_outlives_its_name(bench: &mut Bench) {
    let (data, found) = in_folder(bench, |disk, folder| {
        let open = write(disk, &folder.join("file"), b"data");
        disk.remove(&folder.join("file")).unwrap();
        (read(disk, open), disk.metadata(open).unwrap().length)
    });
    assert_eq!((&data[..], found), (&b"data"[..], 4));
}

fn a_replaced_file_is_another_one(bench: &mut Bench) {
    let (before, after) = in_folder(bench, |disk, folder| {
        let at = folder.join("file");
        // Kept open, so that its number is not given to the other file.
        write(disk, &at, b"data");
        let before = disk.metadata_at(&at, true).unwrap();
        write(disk, &folder.join("draft"), b"data");
        disk.rename(&folder.join("draft"), &at).unwrap();
        (before, disk.metadata_at(&at, true).unwrap())
    });
    assert!(!before.is_same_file(&after));
}

fn a_rename_of_a_missing_file_is_not_found(bench: &mut Bench) {
    let found =
        errno_of(bench, |disk, folder| errno(disk.rename(&folder.join("missing"), &folder.join("new"))));
    assert_eq!(found, Errno::NOENT.raw_os_error());
}

fn a_rename_into_a_missing_directory_is_not_found(bench: &mut Bench) {
    let found = errno_of(bench, |disk, folder| {
        write(disk, &folder.join("file"), b"");
        errno(disk.rename(&folder.join("file"), &folder.join("missing/file")))
    });
    assert_eq!(found, Errno::NOENT.raw_os_error());
}

fn a_file_does_not_replace_a_directory(bench: &mut Bench) {
    let found = errno_of(bench, |disk, folder| {
        write(disk, &folder.join("file"), b"");
        disk.create_dir(&folder.join("dir"), 0o755).unwrap();
        errno(disk.rename(&folder.join("file"), &folder.join("dir")))
    });
    assert_eq!(found, Errno::ISDIR.raw_os_error());
}

fn a_directory_does_not_replace_a_file(bench: &mut Bench) {
    let found = errno_of(bench, |disk, folder| {
        write(disk, &folder.join("file"), b"");
        disk.create_dir(&folder.join("dir"), 0o755).unwrap();
        errno(disk.rename(&folder.join("dir"), &folder.join("file")))
    });
    assert_eq!(found, Errno::NOTDIR.raw_os_error());
}

fn a_directory_does_not_move_into_itself(bench: &mut Bench) {
    let found = errno_of(bench, |disk, folder| {
        disk.create_dir(&folder.join("dir"), 0o755).unwrap();
        errno(disk.rename(&folder.join("dir"), &folder.join("dir/below")))
    });
    assert_eq!(found, Errno::INVAL.raw_os_error());
}

fn a_directory_is_renamed_with_its_files(bench: &mut Bench) {
    let data = in_folder(bench, |disk, folder| {
        disk.create_dir(&folder.join("dir"), 0o755).unwrap();
        write(disk, &folder.join("dir/file"), b"data");
        disk.rename(&folder.join("dir"), &folder.join("other")).unwrap();
        let file = disk.open(&folder.join("other/file"), READ).unwrap();
        read(disk, file)
    });
    assert_eq!(data, b"data");
}

fn a_removed_file_is_not_found(bench: &mut Bench) {
    let found = errno_of(bench, |disk, folder| {
        write(disk, &folder.join("file"), b"");
        disk.remove(&folder.join("file")).unwrap();
        errno(disk.metadata_at(&folder.join("file"), true))
    });
    assert_eq!(found, Errno::NOENT.raw_os_error());
}

fn a_file_is_removed_once(bench: &mut Bench) {
    let found = errno_of(bench, |disk, folder| {
        write(disk, &folder.join("file"), b"");
        disk.remove(&folder.join("file")).unwrap();
        errno(disk.remove(&folder.join("file")))
    });
    assert_eq!(found, Errno::NOENT.raw_os_error());
}

fn an_empty_directory_is_removed(bench: &mut Bench) {
    let found = errno_of(bench, |disk, folder| {
        disk.create_dir(&folder.join("dir"), 0o755).unwrap();
        disk.remove(&folder.join("dir")).unwrap();
        errno(disk.list(&folder.join("dir"), 10))
    });
    assert_eq!(found, Errno::NOENT.raw_os_error());
}

fn a_directory_with_files_is_not_removed(bench: &mut Bench) {
    let found = errno_of(bench, |disk, folder| {
        disk.create_dir(&folder.join("dir"), 0o755).unwrap();
        write(disk, &folder.join("dir/file"), b"");
        errno(disk.remove(&folder.join("dir")))
    });
    assert_eq!(found, Errno::NOTEMPTY.raw_os_error());
}

fn a_directory_is_created_once(bench: &mut Bench) {
    let (kind, again) = in_folder(bench, |disk, folder| {
        let dir = folder.join("dir");
        disk.create_dir(&dir, 0o700).unwrap();
        (disk.metadata_at(&dir, true).unwrap(), errno(disk.create_dir(&dir, 0o700)))
    });
    assert_eq!((kind.kind, kind.mode, again), (FileKind::Directory, 0o700, Errno::EXIST.raw_os_error()));
}

fn a_directory_cannot_be_appended_to(bench: &mut Bench) {
    let found = errno_of(bench, |disk, folder| errno(disk.open(folder, APPEND)));
    assert_eq!(found, Errno::ISDIR.raw_os_error());
}

fn a_directory_that_is_opened_is_one(bench: &mut Bench) {
    let (kind, read) = in_folder(bench, |disk, folder| {
        let dir = disk.open(folder, READ).unwrap();
        (disk.metadata(dir).unwrap().kind, errno(disk.read_at(dir, 0, &mut [0; 4])))
    });
    assert_eq!((kind, read), (FileKind::Directory, Errno::ISDIR.raw_os_error()));
}

fn a_directory_is_listed(bench: &mut Bench) {
    bench.symlink("nowhere", "link");
    let mut entries = in_folder(bench, |disk, folder| {
        write(disk, &folder.join("file"), b"");
        disk.create_dir(&folder.join("dir"), 0o755).unwrap();
        disk.list(folder, 10).unwrap()
    });
    entries.sort();
    let found: Vec<_> = entries.iter().map(|entry| (entry.name.to_str().unwrap(), entry.kind)).collect();
    let expected = [("dir", FileKind::Directory), ("file", FileKind::Regular), ("link", FileKind::Symlink)];
    assert_eq!(found, expected);
}

fn a_list_has_at_most_its_limit(bench: &mut Bench) {
    let counts = in_folder(bench, |disk, folder| {
        for name in ["a", "b", "c"] {
            write(disk, &folder.join(name), b"");
        }
        [0, 2, 3, 4].map(|max| disk.list(folder, max).unwrap().len())
    });
    assert_eq!(counts, [0, 2, 3, 3]);
}

fn a_file_cannot_be_listed(bench: &mut Bench) {
    let found = errno_of(bench, |disk, folder| {
        write(disk, &folder.join("file"), b"");
        errno(disk.list(&folder.join("file"), 10))
    });
    assert_eq!(found, Errno::NOTDIR.raw_os_error());
}

fn dots_lead_to_the_directory_and_to_its_parent(bench: &mut Bench) {
    let data = in_folder(bench, |disk, folder| {
        disk.create_dir(&folder.join("dir"), 0o755).unwrap();
        write(disk, &folder.join("file"), b"data");
        let file = disk.open(&folder.join("./dir/.././file"), READ).unwrap();
        read(disk, file)
    });
    assert_eq!(data, b"data");
}

fn a_link_is_followed(bench: &mut Bench) {
    bench.symlink("file", "link");
    let data = in_folder(bench, |disk, folder| {
        write(disk, &folder.join("file"), b"data");
        let file = disk.open(&folder.join("link"), READ).unwrap();
        read(disk, file)
    });
    assert_eq!(data, b"data");
}

fn a_link_is_refused(bench: &mut Bench) {
    bench.symlink("file", "link");
    let found = errno_of(bench, |disk, folder| {
        write(disk, &folder.join("file"), b"data");
        errno(disk.open(&folder.join("link"), OpenFile { follow: false, ..READ }))
    });
    assert_eq!(found, Errno::LOOP.raw_os_error());
}

fn a_link_has_its_own_metadata(bench: &mut Bench) {
    bench.symlink("file", "link");
    let (link, file) = in_folder(bench, |disk, folder| {
        write(disk, &folder.join("file"), b"data and more");
        let link = folder.join("link");
        (disk.metadata_at(&link, false).unwrap(), disk.metadata_at(&link, true).unwrap())
    });
    assert_eq!((link.kind, link.length), (FileKind::Symlink, 4));
    assert_eq!((file.kind, file.length), (FileKind::Regular, 13));
    assert!(!link.is_same_file(&file));
}

fn a_link_to_nothing_is_not_found(bench: &mut Bench) {
    bench.symlink("nowhere", "link");
    let found = errno_of(bench, |disk, folder| errno(disk.open(&folder.join("link"), READ)));
    assert_eq!(found, Errno::NOENT.raw_os_error());
}

fn a_link_to_nothing_is_created_through(bench: &mut Bench) {
    bench.symlink("target", "link");
    let data = in_folder(bench, |disk, folder| {
        write(disk, &folder.join("link"), b"data");
        let file = disk.open(&folder.join("target"), READ).unwrap();
        read(disk, file)
    });
    assert_eq!(data, b"data");
}

fn links_in_a_circle_are_an_error(bench: &mut Bench) {
    bench.symlink("b", "a");
    bench.symlink("a", "b");
    let found = errno_of(bench, |disk, folder| errno(disk.metadata_at(&folder.join("a"), true)));
    assert_eq!(found, Errno::LOOP.raw_os_error());
}

fn a_link_to_a_directory_is_followed_on_the_way(bench: &mut Bench) {
    bench.symlink("dir", "link");
    let data = in_folder(bench, |disk, folder| {
        disk.create_dir(&folder.join("dir"), 0o755).unwrap();
        write(disk, &folder.join("dir/file"), b"data");
        let file = disk.open(&folder.join("link/file"), OpenFile { follow: false, ..READ }).unwrap();
        read(disk, file)
    });
    assert_eq!(data, b"data");
}

fn a_link_that_is_switched_leads_to_the_other_file(bench: &mut Bench) {
    let (first, second): (PathBuf, PathBuf) = (path(bench, "first"), path(bench, "second"));
    bench.symlink("first", "data");
    bench.symlink("second", "next");
    let (before, after) = in_folder(bench, move |disk, folder| {
        write(disk, &first, b"one");
        write(disk, &second, b"two");
        let data = folder.join("data");
        let before = disk.metadata_at(&data, true).unwrap();
        disk.rename(&folder.join("next"), &data).unwrap();
        (before, disk.metadata_at(&data, true).unwrap())
    });
    assert!(!before.is_same_file(&after) && before.length == after.length);
}

fn a_link_is_removed_and_not_its_target(bench: &mut Bench) {
    bench.symlink("file", "link");
    let (link, file) = in_folder(bench, |disk, folder| {
        write(disk, &folder.join("file"), b"data");
        disk.remove(&folder.join("link")).unwrap();
        (errno(disk.metadata_at(&folder.join("link"), false)), errno(disk.open(&folder.join("file"), READ)))
    });
    assert_eq!((link, file), (Errno::NOENT.raw_os_error(), 0));
}

fn a_fifo_is_opened_and_blocks_no_thread(bench: &mut Bench) {
    bench.fifo("fifo");
    let kind = in_folder(bench, |disk, folder| {
        let file = disk.open(&folder.join("fifo"), READ).unwrap();
        let kind = disk.metadata(file).unwrap().kind;
        disk.close(file);
        kind
    });
    assert_eq!(kind, FileKind::Other);
}

fn a_synced_directory_must_exist(bench: &mut Bench) {
    let (missing, file) = in_folder(bench, |disk, folder| {
        write(disk, &folder.join("file"), b"");
        (errno(disk.sync_dir(&folder.join("missing"))), errno(disk.sync_dir(&folder.join("file"))))
    });
    assert_eq!((missing, file), (Errno::NOENT.raw_os_error(), Errno::NOTDIR.raw_os_error()));
}
