//! Prints the names of new files in a folder, as the kernel's inotify reports them. The inotify is
//! a descriptor that twistor knows nothing about. Linux only.
//!
//! `cargo run --example watch_folder -- /tmp`

#[cfg(any(target_os = "android", target_os = "linux"))]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    use std::mem::MaybeUninit;

    use rustix::fs::inotify::{CreateFlags, Reader, WatchFlags, add_watch, init};
    use twistor::stream::AsyncFd;
    use twistor::{FdInterest, println_or_exit};

    let folder = std::env::args().nth(1).unwrap_or_else(|| ".".to_owned());
    twistor::block_on(async {
        let changes = AsyncFd::with_interest(init(CreateFlags::NONBLOCK)?, FdInterest::Readable)?;
        add_watch(changes.get_ref(), folder.as_str(), WatchFlags::CREATE | WatchFlags::MOVED_TO)?;
        println_or_exit!("watching {folder}");
        loop {
            changes.readable().await?;
            // One read returns many events. The rest of them keeps the descriptor ready.
            let read = changes.try_io(FdInterest::Readable, |inotify| {
                let mut space = [MaybeUninit::uninit(); 4096];
                let mut events = Reader::new(inotify, &mut space);
                loop {
                    let event = events.next()?;
                    if let Some(name) = event.file_name() {
                        println_or_exit!("{}", name.to_string_lossy());
                    }
                    if events.is_buffer_empty() {
                        return Ok(());
                    }
                }
            });
            match read {
                Err(error) if error.kind() != std::io::ErrorKind::WouldBlock => return Err(error.into()),
                _ => {}
            }
        }
    })?
}

#[cfg(not(any(target_os = "android", target_os = "linux")))]
fn main() -> Result<(), &'static str> {
    Err("inotify is a part of Linux")
}
