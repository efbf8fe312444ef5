//! Non-blocking writers of stdout and stderr: a thread for each takes text from a bounded queue.
//!
//! A write to a pipe whose reader stalls, or to a stopped terminal, blocks until the reader
//! continues. Here it blocks only a thread, never the loop. A full queue drops whole lines and
//! counts them. The number is written to stderr once the reader continues, or at the end. Each
//! stream has its own thread, because stderr reports the dropped lines of stdout.
//!
//! At the end the queues are emptied. A reader that reads gets everything. After a signal, a
//! stalled reader is awaited for half a second. Without a signal it is awaited without limit, as in
//! any program that writes to a pipe.

mod queue;

use self::queue::{BATCH, Batch, LIMIT, Line, Queue};
use super::output;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use std::io::{self, IsTerminal, Write};
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

/// Returns a writer of stdout that never blocks.
pub(super) fn stdout() -> Out {
    Out { stream: Stream::of(&STDOUT, "stdout", rustix::stdio::stdout), line: Vec::new() }
}

/// Returns a writer of stderr that never blocks.
pub(super) fn stderr() -> Out {
    Out { stream: Stream::of(&STDERR, "stderr", rustix::stdio::stderr), line: Vec::new() }
}

/// Gives the lines that `write` writes to stdout priority: when the queue is full, they replace
/// others.
pub(super) fn prioritize<R>(write: impl FnOnce() -> R) -> R {
    PRIORITIZED.store(true, Ordering::Relaxed);
    let result = write();
    PRIORITIZED.store(false, Ordering::Relaxed);
    result
}

/// Calls `call` once, from another thread, when stdout cannot be written to.
pub(super) fn on_stdout_error(call: impl FnOnce(io::Error) + Send + 'static) {
    let stream = stdout().stream;
    let mut queue = stream.lock();
    match queue.error {
        None => queue.on_error = Some(Box::new(call)),
        Some(error) => {
            drop(queue);
            call(error.into());
        }
    }
}

/// If stderr is a terminal, holds its output back while a live table is shown, or releases it.
pub(super) fn hold_stderr(hold: bool) {
    let stream = stderr().stream;
    stream.lock().held = hold && io::stderr().is_terminal();
    stream.work.notify_one();
}

/// Waits until stdout is written, for at most `limit`.
pub(super) fn wait_until_written(limit: Duration) {
    let Some(stream) = STDOUT.get() else { return };
    let (mut queue, mut waited) = (stream.lock(), Duration::ZERO);
    while queue.error.is_none() && !queue.is_empty() && waited < limit {
        queue = stream.progress.wait_timeout(queue, SLICE).unwrap_or_else(PoisonError::into_inner).0;
        waited += SLICE;
    }
}

/// Notes that a signal ends the command: a stalled reader is no longer awaited without limit.
pub(super) fn limit_finish() {
    FINISH_LIMITED.store(true, Ordering::Relaxed);
}

/// Waits until stdout is written or has failed. Returns the error.
pub(super) fn finish_stdout() -> Option<io::Error> {
    let stream = STDOUT.get()?;
    let lost = stream.finish(STALL_LIMIT);
    if lost > 0 {
        stream.report_dropped(lost);
    }
    stream.lock().error.map(io::Error::from)
}

/// Waits until stderr is written or has failed.
pub(super) fn finish_stderr() {
    if let Some(stream) = STDERR.get() {
        hold_stderr(false);
        // There is no stream left to report lost lines on.
        stream.finish(STDERR_STALL_LIMIT);
    }
}

/// A line-buffered writer to one of the two streams.
pub(super) struct Out {
    stream: &'static Stream,
    /// The start of an incomplete line.
    line: Vec<u8>,
}

impl Out {
    /// Shows `text` in place of the previous frame, which is dropped if it was not written yet.
    pub(super) fn frame(&mut self, text: &[u8]) -> io::Result<()> {
        self.stream.change(|queue| queue.frame = Some(text.into()))
    }
}

impl Clone for Out {
    fn clone(&self) -> Out {
        Out { stream: self.stream, line: Vec::new() }
    }
}

impl Write for Out {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.line.extend_from_slice(data);
        match self.line.iter().rposition(|byte| *byte == b'\n') {
            Some(last) => {
                let rest = self.line.split_off(last + 1);
                let lines = std::mem::replace(&mut self.line, rest);
                self.stream.push(&lines)?;
            }
            // Text without a line end is flushed at the size of a batch.
            None if self.line.len() > BATCH => self.flush()?,
            None => {}
        }
        Ok(data.len())
    }

    /// Also queues an incomplete line.
    fn flush(&mut self) -> io::Result<()> {
        match std::mem::take(&mut self.line) {
            text if text.is_empty() => Ok(()),
            text => self.stream.push(&text),
        }
    }
}

impl Drop for Out {
    fn drop(&mut self) {
        // An error of the stream was reported before.
        let _ = self.flush();
    }
}

/// A stream with its queue and its thread.
struct Stream {
    name: &'static str,
    descriptor: BorrowedFd<'static>,
    queue: Mutex<Queue>,
    /// Signals that there is something to write.
    work: Condvar,
    /// Signals that something was written, or that the stream failed.
    progress: Condvar,
}

impl Stream {
    fn of(
        place: &'static OnceLock<Stream>,
        name: &'static str,
        descriptor: fn() -> BorrowedFd<'static>,
    ) -> &'static Stream {
        place.get_or_init(|| {
            let (work, progress) = (Condvar::new(), Condvar::new());
            Stream { name, descriptor: descriptor(), queue: Mutex::default(), work, progress }
        })
    }

    /// Starts the thread, when there is something to write.
    fn start(&'static self) {
        let thread = thread::Builder::new().name(self.name.into()).spawn(move || self.run());
        if let Err(error) = thread {
            self.fail(Errno::from_io_error(&error).unwrap_or(Errno::AGAIN));
        }
    }

    /// Queues lines, or one text without a line end.
    fn push(&'static self, text: &[u8]) -> io::Result<()> {
        let prioritized = PRIORITIZED.load(Ordering::Relaxed);
        self.change(|queue| {
            // A text after a frame makes the frame obsolete.
            queue.frame = None;
            for line in text.split_inclusive(|byte| *byte == b'\n') {
                queue.push(Line { text: line.into(), prioritized });
            }
        })
    }

    fn change(&'static self, change: impl FnOnce(&mut Queue)) -> io::Result<()> {
        let mut queue = self.lock();
        if let Some(error) = queue.error {
            return Err(error.into());
        }
        change(&mut queue);
        self.work.notify_one();
        let started = std::mem::replace(&mut queue.started, true);
        drop(queue);
        if !started {
            self.start();
        }
        Ok(())
    }

    /// Runs the thread.
    fn run(&self) {
        loop {
            let Some(batch) = self.next() else {
                match self.reader_is_gone() {
                    true => return self.fail(Errno::PIPE),
                    false => continue,
                }
            };
            if let Err(error) = self.write(&batch.text) {
                return self.fail(error);
            }
            let mut queue = self.lock();
            queue.in_flight = 0;
            // Lines that are dropped while the reader is slow are reported together.
            let resumed = queue.dropped > 0 && queue.bytes < LIMIT / 2;
            let dropped = if resumed { std::mem::take(&mut queue.dropped) } else { 0 };
            drop(queue);
            self.progress.notify_all();
            if dropped > 0 {
                self.report_dropped(dropped);
            }
        }
    }

    /// Waits for the next batch. With an error callback, returns `None` periodically while idle, so
    /// that a reader that went away is noticed without a write.
    fn next(&self) -> Option<Batch> {
        let mut queue = self.lock();
        loop {
            if let Some(batch) = queue.next() {
                queue.in_flight = batch.lines;
                return Some(batch);
            }
            if queue.on_error.is_none() {
                queue = self.work.wait(queue).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            let waited = self.work.wait_timeout(queue, IDLE_CHECK).unwrap_or_else(PoisonError::into_inner);
            queue = waited.0;
            if waited.1.timed_out() && queue.is_empty() {
                return None;
            }
        }
    }

    fn reader_is_gone(&self) -> bool {
        let mut look = [PollFd::new(&self.descriptor, PollFlags::empty())];
        let now = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut look, Some(&now)).is_ok() && look[0].revents().intersects(PollFlags::ERR | PollFlags::HUP)
    }

    fn write(&self, mut text: &[u8]) -> Result<(), Errno> {
        while !text.is_empty() {
            // A larger write would return only when all of it is read, and hide the reader's
            // progress.
            let piece = text.get(..BATCH).unwrap_or(text);
            match rustix::io::write(self.descriptor, piece) {
                Ok(count) => {
                    text = text.get(count..).unwrap_or_default();
                    self.lock().written += count as u64;
                    self.progress.notify_all();
                }
                Err(Errno::INTR) => {}
                // Another process that shares the stream has made it non-blocking.
                Err(Errno::AGAIN) => {
                    let _ = poll(&mut [PollFd::new(&self.descriptor, PollFlags::OUT)], None);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn fail(&self, error: Errno) {
        let mut queue = self.lock();
        let on_error = queue.on_error.take();
        *queue = Queue { started: true, error: Some(error), ..Queue::default() };
        drop(queue);
        self.progress.notify_all();
        if let Some(on_error) = on_error {
            on_error(error.into());
        }
    }

    fn report_dropped(&self, lines: u64) {
        let plural = if lines == 1 { "line was" } else { "lines were" };
        let report = format!(
            "twistor: {} {plural} dropped: {} was not being read\n",
            output::grouped(lines),
            self.name
        );
        // An error of stderr itself cannot be reported.
        let _ = stderr().write_all(report.as_bytes());
    }

    /// Waits until all is written or the stream has failed. Returns the number of lost lines.
    fn finish(&self, stall_limit: Duration) -> u64 {
        let mut stalled = Duration::ZERO;
        let mut limit = stall_limit;
        let mut queue = self.lock();
        let mut before = (queue.written, self.unread());
        while queue.error.is_none() && !queue.is_empty() {
            if FINISH_LIMITED.load(Ordering::Relaxed) && stalled >= limit {
                let lost = queue.dropped + queue.in_flight + queue.lines.len() as u64;
                *queue = Queue { started: true, in_flight: queue.in_flight, ..Queue::default() };
                return lost;
            }
            let waited = self.progress.wait_timeout(queue, SLICE);
            queue = waited.unwrap_or_else(PoisonError::into_inner).0;
            let now = (queue.written, self.unread());
            match now.0 > before.0 || now.1 < before.1 {
                // The reader makes progress, so it gets more time for the next piece.
                true => (stalled, limit) = (Duration::ZERO, PROGRESS_LIMIT),
                false => stalled += SLICE,
            }
            before = now;
        }
        std::mem::take(&mut queue.dropped)
    }

    /// Returns the number of unread bytes of a pipe; 0 for other streams.
    fn unread(&self) -> u64 {
        rustix::io::ioctl_fionread(self.descriptor).unwrap_or(0)
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

static STDOUT: OnceLock<Stream> = OnceLock::new();
static STDERR: OnceLock<Stream> = OnceLock::new();
static PRIORITIZED: AtomicBool = AtomicBool::new(false);
static FINISH_LIMITED: AtomicBool = AtomicBool::new(false);

/// Limits for stdout, and then stderr, after a signal: time without progress.
const STALL_LIMIT: Duration = Duration::from_millis(500);
const STDERR_STALL_LIMIT: Duration = Duration::from_millis(250);
/// The same limit for a reader that has made progress.
const PROGRESS_LIMIT: Duration = Duration::from_secs(2);
const SLICE: Duration = Duration::from_millis(50);
/// Interval at which an idle stream is checked for a reader that went away.
const IDLE_CHECK: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::writer::queue::tests::texts;
    use std::os::fd::AsFd;

    /// A stream into a pipe, without a running thread.
    fn stream() -> (&'static Stream, std::io::PipeReader) {
        let (reader, writer) = std::io::pipe().unwrap();
        let writer: &'static std::io::PipeWriter = Box::leak(Box::new(writer));
        let stream = Stream {
            name: "test",
            descriptor: writer.as_fd(),
            queue: Mutex::new(Queue { started: true, ..Queue::default() }),
            work: Condvar::new(),
            progress: Condvar::new(),
        };
        (Box::leak(Box::new(stream)), reader)
    }

    #[test]
    fn a_frame_is_old_when_a_line_follows_it() {
        let (stream, _reader) = stream();
        let mut out = Out { stream, line: Vec::new() };
        out.frame(b"frame").unwrap();
        out.write_all(b"line\n").unwrap();
        assert_eq!(texts(&mut stream.lock()), ["line\n"]);
        out.write_all(b"line\n").unwrap();
        out.frame(b"frame").unwrap();
        assert_eq!(texts(&mut stream.lock()), ["line\n", "frame"]);
    }

    #[test]
    fn text_without_an_end_leaves_in_pieces() {
        let (stream, _reader) = stream();
        let mut out = Out { stream, line: Vec::new() };
        out.write_all(&[b'x'; BATCH]).unwrap();
        assert!(stream.lock().is_empty());
        out.write_all(b"x").unwrap();
        assert_eq!(texts(&mut stream.lock()).iter().map(String::len).sum::<usize>(), BATCH + 1);
    }

    #[test]
    fn a_stream_that_was_made_non_blocking_is_waited_for() {
        use std::io::Read;

        let (stream, mut reader) = stream();
        rustix::io::ioctl_fionbio(stream.descriptor, true).unwrap();
        let text = vec![b'x'; 1 << 20];
        let read = thread::spawn(move || {
            let mut all = vec![0; 1 << 20];
            reader.read_exact(&mut all).map(|()| all)
        });
        assert_eq!(stream.write(&text), Ok(()));
        assert_eq!(read.join().unwrap().unwrap(), text);
    }
}
