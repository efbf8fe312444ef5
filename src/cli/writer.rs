//! The writers of stdout and stderr: a thread for each takes text from a bounded queue.
//!
//! A write to a pipe whose reader stands still, or to a terminal that was stopped, blocks until the reader goes on. Here
//! it blocks a thread, and never the loop: a full queue drops whole lines, counts them, and says so on stderr once the
//! reader goes on, or at the end. There are two threads because the one says what happens to the other.
//!
//! At the end the queues are emptied. A reader that reads gets everything. After a signal a reader that does not is
//! waited for half a second; without one it is waited for as every program does that writes into a pipe.

use super::output;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use std::collections::VecDeque;
use std::io::{self, IsTerminal, Write};
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

/// Writes to stdout without ever waiting.
pub(super) fn stdout() -> Out {
    Out { stream: Stream::of(&STDOUT, "stdout", rustix::stdio::stdout), line: Vec::new() }
}

/// Writes to stderr without ever waiting.
pub(super) fn stderr() -> Out {
    Out { stream: Stream::of(&STDERR, "stderr", rustix::stdio::stderr), line: Vec::new() }
}

/// Lines that `write` writes to stdout take the place of others when the queue is full.
pub(super) fn keep<R>(write: impl FnOnce() -> R) -> R {
    KEEP.store(true, Ordering::Relaxed);
    let result = write();
    KEEP.store(false, Ordering::Relaxed);
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

/// Keeps what stderr is to show until it is let go, when stderr is a terminal: a live page is on it.
pub(super) fn hold_stderr(hold: bool) {
    let stream = stderr().stream;
    stream.lock().held = hold && io::stderr().is_terminal();
    stream.work.notify_one();
}

/// Waits until stdout has shown what there is, for so long at the most.
pub(super) fn settle(limit: Duration) {
    let Some(stream) = STDOUT.get() else { return };
    let (mut queue, mut waited) = (stream.lock(), Duration::ZERO);
    while queue.error.is_none() && !queue.is_empty() && waited < limit {
        queue = stream.progress.wait_timeout(queue, SLICE).unwrap_or_else(PoisonError::into_inner).0;
        waited += SLICE;
    }
}

/// A signal ends the command: a reader that stands still is not waited for.
pub(super) fn hurry() {
    HURRY.store(true, Ordering::Relaxed);
}

/// Waits until stdout is written, or cannot be. What it failed with.
pub(super) fn finish_stdout() -> Option<io::Error> {
    let stream = STDOUT.get()?;
    let lost = stream.finish(PATIENCE);
    if lost > 0 {
        stream.tell_dropped(lost);
    }
    stream.lock().error.map(io::Error::from)
}

/// Waits until stderr is written, or cannot be.
pub(super) fn finish_stderr() {
    if let Some(stream) = STDERR.get() {
        hold_stderr(false);
        // There is no place left to say how many are lost.
        stream.finish(PATIENCE_WITH_ERRORS);
    }
}

/// One of the two streams, for whoever writes lines.
pub(super) struct Out {
    stream: &'static Stream,
    /// What is no whole line yet.
    line: Vec<u8>,
}

impl Out {
    /// Shows `text` in place of the frame before, which is left out when it was not written yet.
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
        match memchr::memrchr(b'\n', &self.line) {
            Some(last) => {
                let rest = self.line.split_off(last + 1);
                let lines = std::mem::replace(&mut self.line, rest);
                self.stream.push(&lines)?;
            }
            // Text without an end does not collect without one.
            None if self.line.len() > BATCH => self.flush()?,
            None => {}
        }
        Ok(data.len())
    }

    /// Gives out what is no whole line as well.
    fn flush(&mut self) -> io::Result<()> {
        match std::mem::take(&mut self.line) {
            text if text.is_empty() => Ok(()),
            text => self.stream.push(&text),
        }
    }
}

impl Drop for Out {
    fn drop(&mut self) {
        // It was told before when the stream cannot be written to.
        let _ = self.flush();
    }
}

/// A stream with its queue and its thread.
struct Stream {
    name: &'static str,
    descriptor: BorrowedFd<'static>,
    queue: Mutex<Queue>,
    /// There is something to write.
    work: Condvar,
    /// Something was written, or cannot be.
    progress: Condvar,
}

#[derive(Default)]
struct Queue {
    /// The thread runs.
    started: bool,
    /// Nothing is to be written for now.
    held: bool,
    lines: VecDeque<Line>,
    bytes: usize,
    frame: Option<Box<[u8]>>,
    /// Lines that the thread has taken and not written yet.
    in_flight: u64,
    /// Bytes that were written.
    written: u64,
    /// Lines that were dropped and not told yet.
    dropped: u64,
    error: Option<Errno>,
    on_error: Option<Box<dyn FnOnce(io::Error) + Send>>,
}

struct Line {
    text: Box<[u8]>,
    /// Others make room for it.
    kept: bool,
}

/// What the thread writes next.
struct Batch {
    text: Vec<u8>,
    lines: u64,
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

    /// Starts the thread, with the first thing to write.
    fn start(&'static self) {
        let thread = thread::Builder::new().name(self.name.into()).spawn(move || self.run());
        if let Err(error) = thread {
            self.fail(Errno::from_io_error(&error).unwrap_or(Errno::AGAIN));
        }
    }

    /// Adds lines, or one text without an end.
    fn push(&'static self, text: &[u8]) -> io::Result<()> {
        let kept = KEEP.load(Ordering::Relaxed);
        self.change(|queue| {
            // What follows a frame makes it old.
            queue.frame = None;
            for line in text.split_inclusive(|byte| *byte == b'\n') {
                queue.push(Line { text: line.into(), kept });
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

    /// The thread.
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
            // Lines that are dropped while the reader is slow are told together.
            let resumed = queue.dropped > 0 && queue.bytes < LIMIT / 2;
            let dropped = if resumed { std::mem::take(&mut queue.dropped) } else { 0 };
            drop(queue);
            self.progress.notify_all();
            if dropped > 0 {
                self.tell_dropped(dropped);
            }
        }
    }

    /// What to write. `None` now and then while there is nothing, when a loop wants to know of errors: a reader that has
    /// gone is then seen without a line for it.
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
            let waited = self.work.wait_timeout(queue, LOOK).unwrap_or_else(PoisonError::into_inner);
            queue = waited.0;
            if waited.1.timed_out() && queue.is_empty() {
                return None;
            }
        }
    }

    fn reader_is_gone(&self) -> bool {
        let mut look = [PollFd::new(&self.descriptor, PollFlags::empty())];
        let now = rustix::time::Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut look, Some(&now)).is_ok() && look[0].revents().intersects(PollFlags::ERR | PollFlags::HUP)
    }

    fn write(&self, mut text: &[u8]) -> Result<(), Errno> {
        while !text.is_empty() {
            // A larger write returns when all of it is read: what was read meanwhile would not be seen.
            let piece = text.get(..BATCH).unwrap_or(text);
            match rustix::io::write(self.descriptor, piece) {
                Ok(count) => {
                    text = text.get(count..).unwrap_or_default();
                    self.lock().written += count as u64;
                    self.progress.notify_all();
                }
                Err(Errno::INTR) => {}
                // Whoever shares it has made it non-blocking.
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

    fn tell_dropped(&self, lines: u64) {
        let plural = if lines == 1 { "line was" } else { "lines were" };
        let told = format!(
            "twistor: {} {plural} dropped: {} was not being read\n",
            output::grouped(lines),
            self.name
        );
        // Whoever does not read stderr is not told.
        let _ = stderr().write_all(told.as_bytes());
    }

    /// Waits until all is written, or cannot be. How many lines are lost.
    fn finish(&self, patience: Duration) -> u64 {
        let mut stalled = Duration::ZERO;
        let mut limit = patience;
        let mut queue = self.lock();
        let mut before = (queue.written, self.unread());
        while queue.error.is_none() && !queue.is_empty() {
            if HURRY.load(Ordering::Relaxed) && stalled >= limit {
                let lost = queue.dropped + queue.in_flight + queue.lines.len() as u64;
                *queue = Queue { started: true, in_flight: queue.in_flight, ..Queue::default() };
                return lost;
            }
            let waited = self.progress.wait_timeout(queue, SLICE);
            queue = waited.unwrap_or_else(PoisonError::into_inner).0;
            let now = (queue.written, self.unread());
            match now.0 > before.0 || now.1 < before.1 {
                // Somebody reads: there is more time for the next piece.
                true => (stalled, limit) = (Duration::ZERO, READING),
                false => stalled += SLICE,
            }
            before = now;
        }
        std::mem::take(&mut queue.dropped)
    }

    /// Bytes of a pipe that its reader has not read yet; 0 for what is no pipe.
    fn unread(&self) -> u64 {
        rustix::io::ioctl_fionread(self.descriptor).unwrap_or(0)
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    fn is_empty(&self) -> bool {
        self.lines.is_empty() && self.frame.is_none() && self.in_flight == 0
    }

    fn push(&mut self, line: Line) {
        let size = line.text.len() + OVERHEAD;
        while self.bytes + size > LIMIT && line.kept {
            // The oldest that need not be kept, or else the oldest.
            let at = self.lines.iter().position(|line| !line.kept).unwrap_or(0);
            match self.lines.remove(at) {
                Some(removed) => {
                    self.bytes -= removed.text.len() + OVERHEAD;
                    self.dropped += 1;
                }
                None => break,
            }
        }
        if self.bytes + size > LIMIT && !self.lines.is_empty() {
            self.dropped += 1;
            return;
        }
        self.bytes += size;
        self.lines.push_back(line);
    }

    /// As many lines as one write takes, or the frame.
    fn next(&mut self) -> Option<Batch> {
        if self.held {
            return None;
        }
        let mut batch = Batch { text: Vec::new(), lines: 0 };
        while let Some(line) = self.lines.front()
            && (batch.lines == 0 || batch.text.len() + line.text.len() <= BATCH)
        {
            batch.text.extend_from_slice(&line.text);
            batch.lines += 1;
            self.bytes -= line.text.len() + OVERHEAD;
            self.lines.pop_front();
        }
        if batch.lines > 0 {
            return Some(batch);
        }
        self.frame.take().map(|frame| Batch { text: frame.into_vec(), lines: 1 })
    }
}

static STDOUT: OnceLock<Stream> = OnceLock::new();
static STDERR: OnceLock<Stream> = OnceLock::new();
static KEEP: AtomicBool = AtomicBool::new(false);
static HURRY: AtomicBool = AtomicBool::new(false);

/// Bytes that a queue holds: some ten thousand lines.
const LIMIT: usize = 1 << 20;
/// What a line costs beside its text.
const OVERHEAD: usize = 32;
/// One write: a pipe takes so much as a whole (PIPE_BUF), so that lines of stdout and stderr stay lines.
const BATCH: usize = 4096;

/// After a signal: how long stdout, and then stderr, may stand still.
const PATIENCE: Duration = Duration::from_millis(500);
const PATIENCE_WITH_ERRORS: Duration = Duration::from_millis(250);
/// The same for a reader that was seen to read.
const READING: Duration = Duration::from_secs(2);
const SLICE: Duration = Duration::from_millis(50);
/// How often a stream with nothing to write is looked at.
const LOOK: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    fn line(text: &str, kept: bool) -> Line {
        Line { text: text.as_bytes().into(), kept }
    }

    fn texts(queue: &mut Queue) -> Vec<String> {
        std::iter::from_fn(|| queue.next()).map(|batch| String::from_utf8(batch.text).unwrap()).collect()
    }

    #[test]
    fn a_full_queue_drops_new_lines_but_for_those_to_keep() {
        let mut queue = Queue::default();
        let long = "x".repeat(LIMIT / 4 - OVERHEAD);
        for mark in ["1", "2", "3", "4", "5"] {
            queue.push(line(&format!("{mark}{}", &long[1..]), false));
        }
        assert_eq!((queue.lines.len(), queue.dropped, queue.bytes), (4, 1, LIMIT));
        queue.push(line("summary\n", true));
        assert_eq!((queue.lines.len(), queue.dropped), (4, 2));
        queue.push(line("event\n", false));
        let left: Vec<String> = texts(&mut queue).iter().map(|text| text[..1].to_owned()).collect();
        // The oldest made room.
        assert_eq!(left, ["2", "3", "4", "s"]);
        assert_eq!((queue.bytes, queue.dropped), (0, 2));
    }

    #[test]
    fn summaries_alone_leave_the_newest() {
        let mut queue = Queue::default();
        let long = "x".repeat(LIMIT / 2 - OVERHEAD - 1);
        for mark in ["1", "2", "3"] {
            queue.push(line(&format!("{mark}{long}"), true));
        }
        let left: Vec<String> = texts(&mut queue).iter().map(|text| text[..1].to_owned()).collect();
        assert_eq!((left, queue.dropped), (vec!["2".to_owned(), "3".to_owned()], 1));
        // A line that is larger than all of it is better than nothing.
        queue.push(line(&"y".repeat(2 * LIMIT), false));
        assert_eq!(texts(&mut queue).len(), 1);
    }

    #[test]
    fn lines_leave_whole_and_before_a_frame() {
        let mut queue = Queue { frame: Some(b"frame".as_slice().into()), ..Queue::default() };
        for _ in 0..3 {
            queue.push(line(&format!("{}\n", "a".repeat(2000)), false));
        }
        let batches: Vec<usize> = texts(&mut queue).iter().map(String::len).collect();
        assert_eq!(batches, [4002, 2001, 5]);
    }

    /// A stream into a pipe, whose thread does not run.
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
