//! A reactor inside another event loop. The outer loop is poll(2), which waits for the reactor and
//! for a pipe of its own. A thread writes to the pipe, as a window system would.

use std::error::Error;
use std::io::{Read, Write};
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use twistor::{Protocol, Reactor, Transport, println_or_exit};

struct Echo;

impl Protocol for Echo {
    fn data_received(&mut self, transport: &mut Transport<'_>, data: &[u8]) {
        transport.write(data);
    }
}

/// Asks an echo server ten times a second.
struct Client;

impl Client {
    fn ask(&mut self, transport: &mut Transport<'_>) {
        transport.write(b"hello");
        transport.call_later(Duration::from_millis(100), Client::ask);
    }
}

impl Protocol for Client {
    fn connection_made(&mut self, transport: &mut Transport<'_>) {
        self.ask(transport);
    }

    fn data_received(&mut self, _: &mut Transport<'_>, data: &[u8]) {
        println_or_exit!("reactor: {}", String::from_utf8_lossy(data));
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut reactor = Reactor::new()?;
    let listener = reactor.listen_tcp("127.0.0.1:0", || Echo)?;
    reactor.connect_tcp(listener.address(), || Client)?;
    let (mut frames, mut writer) = std::io::pipe()?;
    let window = thread::spawn(move || {
        for number in b"12345" {
            thread::sleep(Duration::from_millis(150));
            writer.write_all(&[*number])?;
        }
        Ok::<(), std::io::Error>(())
    });
    loop {
        // Asked last before the wait, because any use of the reactor can change it.
        let timeout = reactor.poll_timeout().map(Timespec::try_from).transpose()?;
        let (reactor_fd, own_fd) = (reactor.poll_fd()?, &frames);
        let mut sources =
            [PollFd::from_borrowed_fd(reactor_fd, PollFlags::IN), PollFd::new(own_fd, PollFlags::IN)];
        match poll(&mut sources, timeout.as_ref()) {
            Err(error) if error != rustix::io::Errno::INTR => return Err(error.into()),
            _ => {}
        }
        let frame = !sources[1].revents().is_empty();
        // An event, a timed call or other work: one turn does what there is, and does not wait.
        reactor.iterate(Some(Duration::ZERO))?;
        if frame {
            let mut number = [0];
            if frames.read(&mut number)? == 0 {
                break;
            }
            println_or_exit!("window: frame {}", char::from(number[0]));
        }
    }
    reactor.stop();
    while reactor.iterate(None)? {}
    window.join().map_err(|_| "the window's thread panicked")??;
    Ok(())
}
