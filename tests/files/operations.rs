//! Each operation does what it says, and its errors say what failed.

use std::io::ErrorKind;
use std::path::Path;

use crate::place::Place;
use crate::world::on_each_back_end;
use twistor::files::{self, FileAction, FileFault, FileKind};

#[test]
fn a_file_is_read_as_a_whole() {
    on_each_back_end(|world| {
        let place = Place::new(world);
        for length in [0, 1, 4096, 16 * 1024, 100_000, 3_000_000] {
            let data: Vec<u8> = (0..length).map(|number: u32| (number % 251) as u8).collect();
            place.put("file", &data);
            let read = world.run_future(async { files::read(place.path("file")).await.unwrap() });
            assert!(read == data, "{length}: {} bytes", read.len());
        }
    });
}

#[test]
fn a_file_is_read_up_to_its_limit_only() {
    on_each_back_end(|world| {
        let place = Place::new(world);
        place.put("file", b"0123456789");
        world.run_future(async {
            let path = place.path("file");
            assert_eq!(files::read(&path).limit(11).await.unwrap(), b"0123456789");
            assert_eq!(files::read(&path).limit(10).await.unwrap(), b"0123456789");
            for limit in [9, 1, 0] {
                let error = files::read(&path).limit(limit).await.unwrap_err();
                let is_limit = matches!(error.fault, FileFault::TooLong { limit: of } if of == limit as u64);
                assert!(is_limit && error.kind() == ErrorKind::FileTooLarge, "{error:?}");
            }
        });
        place.put("file", b"");
        assert_eq!(world.run_future(files::read(place.path("file")).limit(0).into_future()).unwrap(), b"");
    });
}

#[test]
fn a_range_of_a_file_is_read() {
    on_each_back_end(|world| {
        let place = Place::new(world);
        place.put("file", b"0123456789");
        world.run_future(async {
            let path = place.path("file");
            for (offset, length, found) in [
                (0, 4, &b"0123"[..]),
                (3, 4, b"3456"),
                (8, 4, b"89"),
                (10, 4, b""),
                (99, 4, b""),
                (2, 0, b""),
            ] {
                assert_eq!(files::read(&path).range(offset, length).await.unwrap(), found, "{offset}");
            }
        });
    });
}

#[test]
fn ranges_of_an_open_file_are_read_although_it_is_replaced() {
    on_each_back_end(|world| {
        let place = Place::new(world);
        place.put("file", b"0123456789");
        world.run_future(async {
            let file = files::open(place.path("file")).await.unwrap();
            assert_eq!((file.opened().length, file.path()), (10, &*place.path("file")));
            place.put("draft", b"other");
            place.rename("draft", "file");
            let reads = [file.read(0, 3), file.read(3, 3), file.read(6, 30)];
            let mut found = Vec::new();
            for read in reads {
                found.extend(read.await.unwrap());
            }
            assert_eq!(found, b"0123456789");
            assert_eq!(file.metadata().await.unwrap(), *file.opened());
        });
    });
}

#[test]
fn an_open_file_lives_as_long_as_its_reads() {
    on_each_back_end(|world| {
        let place = Place::new(world);
        place.put("file", b"0123456789");
        let read = world.run_future(async {
            let read = files::open(place.path("file")).await.unwrap().read(2, 3);
            twistor::task::yield_now().await;
            read.await
        });
        assert_eq!(read.unwrap(), b"234");
    });
}

#[test]
fn a_written_file_is_there_as_a_whole_and_nothing_else() {
    on_each_back_end(|world| {
        let place = Place::new(world);
        let data = vec![b'x'; 300_000];
        world.run_future(async {
            files::write(place.path("file"), &data[..]).mode(0o600).await.unwrap();
            let found = files::metadata(place.path("file")).await.unwrap();
            assert_eq!((found.kind, found.length, found.mode), (FileKind::Regular, 300_000, 0o600));
            files::write(place.path("file"), "short").await.unwrap();
        });
        assert_eq!((place.get("file"), place.names()), (Some(b"short".to_vec()), vec!["file".to_owned()]));
    });
}

#[test]
fn a_file_that_cannot_be_written_stays_as_it_is() {
    on_each_back_end(|world| {
        let place = Place::new(world);
        place.create_dir("dir");
        place.put("dir/below", b"");
        world.run_future(async {
            let error = files::write(place.path("missing/file"), "data").await.unwrap_err();
            assert!(error.is_not_found(), "{error}");
            assert_eq!((error.action, &*error.path), (FileAction::Write, &*place.path("missing/file")));
            let error = files::write(place.path("dir"), "data").await.unwrap_err();
            assert!(matches!(error.fault, FileFault::System { call: "rename", .. }), "{error}");
        });
        let expected = if world.simulated().is_some() { "dir/below" } else { "dir" };
        assert_eq!(place.names(), [expected], "the draft is removed");
    });
}

#[test]
fn a_link_is_replaced_by_a_write_or_refused() {
    on_each_back_end(|world| {
        let place = Place::new(world);
        place.put("target", b"old");
        place.symlink("target", "link");
        world.run_future(async {
            let error = files::write(place.path("link"), "new").no_symlink().await.unwrap_err();
            assert!(matches!(error.fault, FileFault::Symlink), "{error}");
            files::write(place.path("link"), "new").await.unwrap();
            let link = files::metadata(place.path("link")).no_symlink().await.unwrap();
            assert_eq!(link.kind, FileKind::Regular);
        });
        assert_eq!([place.get("link"), place.get("target")], [Some(b"new".to_vec()), Some(b"old".to_vec())]);
    });
}

#[test]
fn links_are_followed_unless_they_are_refused() {
    on_each_back_end(|world| {
        let place = Place::new(world);
        place.put("target", b"data");
        place.symlink("target", "link");
        world.run_future(async {
            let link = place.path("link");
            assert_eq!(files::read(&link).await.unwrap(), b"data");
            let refused = [
                files::read(&link).no_symlink().await.map(drop),
                files::open(&link).no_symlink().await.map(drop),
                files::append_to(&link).no_symlink().await.map(drop),
                files::lock(&link).no_symlink().await.map(drop),
            ];
            for refused in refused {
                let error = refused.unwrap_err();
                assert!(matches!(error.fault, FileFault::Symlink), "{error}");
            }
            let found = files::metadata(&link).no_symlink().await.unwrap();
            assert_eq!(found.kind, FileKind::Symlink);
        });
    });
}

#[test]
fn only_regular_files_are_read_and_appended_to() {
    on_each_back_end(|world| {
        let place = Place::new(world);
        place.create_dir("dir");
        place.fifo("fifo");
        world.run_future(async {
            for (name, kind) in [("dir", FileKind::Directory), ("fifo", FileKind::Other)] {
                let path = place.path(name);
                let refused = [
                    files::read(&path).await.map(drop),
                    files::open(&path).await.map(drop),
                    files::append_to(&path).await.map(drop),
                ];
                for refused in refused {
                    let error = refused.unwrap_err();
                    let is_kind = matches!(error.fault, FileFault::NotRegular(found) if found == kind);
                    assert!(is_kind, "{error:?}");
                }
            }
        });
        if world.simulated().is_none() {
            let device = world.run_future(files::read("/dev/zero").into_future()).unwrap_err();
            assert!(matches!(device.fault, FileFault::NotRegular(FileKind::Other)), "{device:?}");
        }
    });
}

#[test]
fn a_file_without_a_length_is_read_to_its_end() {
    crate::world::on_the_real_network("it is about /proc", |world| {
        let read = world.run_future(async { files::read("/proc/self/status").await.unwrap() });
        assert!(read.starts_with(b"Name:") && read.len() > 500);
        let limited = world.run_future(files::read("/proc/self/status").limit(100).into_future());
        assert!(matches!(limited.unwrap_err().fault, FileFault::TooLong { limit: 100 }));
    });
}

#[test]
fn names_are_changed_and_removed() {
    on_each_back_end(|world| {
        let place = Place::new(world);
        world.run_future(async {
            files::create_dir(place.path("one")).await.unwrap();
            files::create_dir(place.path("two")).mode(0o700).await.unwrap();
            files::write(place.path("one/file"), "data").await.unwrap();
            files::rename(place.path("one/file"), place.path("two/moved")).await.unwrap();
            assert_eq!(files::read(place.path("two/moved")).await.unwrap(), b"data");
            assert!(files::read(place.path("one/file")).await.unwrap_err().is_not_found());
            assert_eq!(files::metadata(place.path("two")).await.unwrap().mode, 0o700);
            let error = files::remove(place.path("two")).await.unwrap_err();
            assert_eq!((error.kind(), error.action), (ErrorKind::DirectoryNotEmpty, FileAction::Remove));
            files::remove(place.path("two/moved")).await.unwrap();
            files::remove(place.path("two")).await.unwrap();
            files::remove(place.path("one")).await.unwrap();
            let error = files::create_dir(place.path("a/b")).await.unwrap_err();
            assert!(error.is_not_found() && error.action == FileAction::CreateDir, "{error}");
            let error = files::rename(place.path("a"), place.path("b")).await.unwrap_err();
            assert!(error.is_not_found() && error.action == FileAction::Rename, "{error}");
        });
        assert_eq!(place.names(), [] as [String; 0]);
    });
}

#[test]
fn a_directory_is_listed_in_order_and_up_to_its_limit() {
    on_each_back_end(|world| {
        let place = Place::new(world);
        for name in ["c", "a", "b"] {
            place.put(name, b"");
        }
        place.symlink("a", "d");
        let dir = place.path("");
        world.run_future(async {
            let found = files::list_dir(&dir).max_entries(4).await.unwrap();
            let found: Vec<_> =
                found.iter().map(|entry| (entry.name.to_str().unwrap(), entry.kind)).collect();
            let file = FileKind::Regular;
            assert_eq!(found, [("a", file), ("b", file), ("c", file), ("d", FileKind::Symlink)]);
            let error = files::list_dir(&dir).max_entries(3).await.unwrap_err();
            assert!(matches!(error.fault, FileFault::TooManyEntries { limit: 3 }), "{error}");
            let error = files::list_dir(place.path("a")).await.unwrap_err();
            assert_eq!((error.kind(), error.action), (ErrorKind::NotADirectory, FileAction::ListDir));
        });
    });
}

#[test]
fn an_error_names_the_operation_the_path_and_the_cause() {
    on_each_back_end(|world| {
        let place = Place::new(world);
        let (missing, text) = world.run_future(async {
            let error = files::read(place.path("no\nfile")).await.unwrap_err();
            let text = error.to_string();
            (error, text)
        });
        let path = place.path("").display().to_string();
        assert_eq!(
            text,
            format!(r"cannot read {path}no\nfile: open: {}", std::io::Error::from_raw_os_error(2))
        );
        assert!(std::error::Error::source(&missing).is_none(), "the text has it");
        assert_eq!(std::io::Error::from(missing).kind(), ErrorKind::NotFound);
        let refused = world.run_future(files::append_to(place.path("file")).existing().into_future());
        assert!(refused.unwrap_err().is_not_found());
        assert_eq!(Path::new(&path), place.path(""));
    });
}
