//! The bounded queue of one stream: whole lines and the latest frame.

use rustix::io::Errno;
use std::collections::VecDeque;
use std::io;

/// The lines of a stream that wait for its thread.
#[derive(Default)]
pub(super) struct Queue {
    /// Whether the thread runs.
    pub(super) started: bool,
    /// Whether output is held back.
    pub(super) held: bool,
    pub(super) lines: VecDeque<Line>,
    pub(super) bytes: usize,
    pub(super) frame: Option<Box<[u8]>>,
    /// Number of lines that the thread has taken but not written yet.
    pub(super) in_flight: u64,
    /// Number of bytes written.
    pub(super) written: u64,
    /// Number of dropped lines not reported yet.
    pub(super) dropped: u64,
    pub(super) error: Option<Errno>,
    pub(super) on_error: Option<Box<dyn FnOnce(io::Error) + Send>>,
}

pub(super) struct Line {
    pub(super) text: Box<[u8]>,
    /// Whether other lines make room for it.
    pub(super) prioritized: bool,
}

/// The text of the next write.
pub(super) struct Batch {
    pub(super) text: Vec<u8>,
    pub(super) lines: u64,
}

impl Queue {
    pub(super) fn is_empty(&self) -> bool {
        self.lines.is_empty() && self.frame.is_none() && self.in_flight == 0
    }

    pub(super) fn push(&mut self, line: Line) {
        let size = line.text.len() + OVERHEAD;
        while self.bytes + size > LIMIT && line.prioritized {
            // Drop the oldest line without priority, or else the oldest.
            let at = self.lines.iter().position(|line| !line.prioritized).unwrap_or(0);
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

    /// Returns as many lines as fit into one write, or the frame.
    pub(super) fn next(&mut self) -> Option<Batch> {
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

/// Maximum size of a queue in bytes: some ten thousand lines.
pub(super) const LIMIT: usize = 1 << 20;
/// Memory of a line besides its text.
const OVERHEAD: usize = 32;
/// Maximum size of a write. A pipe takes this size atomically (PIPE_BUF), so that lines of stdout
/// and stderr stay whole.
pub(super) const BATCH: usize = 4096;

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    fn line(text: &str, prioritized: bool) -> Line {
        Line { text: text.as_bytes().into(), prioritized }
    }

    pub(in crate::cli::writer) fn texts(queue: &mut Queue) -> Vec<String> {
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
        // The oldest line made room.
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
        // A line larger than the limit is accepted by an empty queue.
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
}
