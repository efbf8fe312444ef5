//! Server-sent events (HTML Standard, 9.2).

use super::error::HttpError;
use std::time::Duration;

/// One event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerEvent {
    /// The type. Default: `message`.
    pub event: String,
    /// The data: the lines of all `data` fields, with LF between them.
    pub data: String,
    /// The last event id so far; empty if there is none.
    pub id: String,
}

/// Decoder of an event stream. It keeps at most one line and one event.
///
/// ```
/// use twistor::http::EventStreamDecoder;
///
/// let mut decoder = EventStreamDecoder::default();
/// let mut bytes: &[u8] = b": a comment\nid: 7\nevent: jam\ndata: A1\ndata: A2\n\ndata";
/// let event = decoder.next(&mut bytes)?.expect("the event is complete");
/// assert_eq!((event.event.as_str(), event.data.as_str(), event.id.as_str()), ("jam", "A1\nA2", "7"));
/// assert_eq!(decoder.next(&mut bytes)?, None);
/// # Ok::<(), twistor::http::HttpError>(())
/// ```
///
/// The text is UTF-8; bytes that are not become U+FFFD. A byte order mark at the start is skipped.
#[derive(Debug)]
pub struct EventStreamDecoder {
    line: Vec<u8>,
    /// The last line ended in CR, and a LF after it belongs to it.
    after_cr: bool,
    started: bool,
    event: String,
    data: String,
    id: String,
    retry: Option<Duration>,
    max_event: usize,
}

impl Default for EventStreamDecoder {
    /// Events of at most 1 MiB.
    fn default() -> EventStreamDecoder {
        EventStreamDecoder::new(1 << 20)
    }
}

impl EventStreamDecoder {
    /// Creates a decoder for events whose data has at most `max_event` bytes, as each line has.
    pub fn new(max_event: usize) -> EventStreamDecoder {
        EventStreamDecoder {
            line: Vec::new(),
            after_cr: false,
            started: false,
            event: String::new(),
            data: String::new(),
            id: String::new(),
            retry: None,
            max_event,
        }
    }

    /// The last event id, which a client sends as `Last-Event-ID` when it connects again.
    pub fn last_event_id(&self) -> &str {
        &self.id
    }

    /// The time that the server has set for connecting again.
    pub fn retry(&self) -> Option<Duration> {
        self.retry
    }

    /// Takes bytes from `data` and advances its start past them. Returns the next event, or `None`
    /// when more bytes are needed. An event that is not complete at the end is dropped, as the
    /// standard says.
    ///
    /// # Errors
    /// [`HttpError::StreamLineTooLong`]: a line or an event is longer than the limit.
    pub fn next(&mut self, data: &mut &[u8]) -> Result<Option<ServerEvent>, HttpError> {
        loop {
            if self.after_cr && !data.is_empty() {
                self.after_cr = false;
                *data = data.strip_prefix(b"\n").unwrap_or(data);
            }
            let Some(end) = memchr::memchr2(b'\r', b'\n', data) else {
                self.line.extend_from_slice(std::mem::take(data));
                return match self.line.len() > self.max_event {
                    true => Err(HttpError::StreamLineTooLong(self.max_event)),
                    false => Ok(None),
                };
            };
            let (part, rest) = data.split_at(end);
            self.line.extend_from_slice(part);
            self.after_cr = rest.first() == Some(&b'\r');
            *data = rest.get(1..).unwrap_or_default();
            let line = std::mem::take(&mut self.line);
            if line.len() > self.max_event {
                return Err(HttpError::StreamLineTooLong(self.max_event));
            }
            let first = !std::mem::replace(&mut self.started, true);
            let line = match line.strip_prefix(b"\xef\xbb\xbf") {
                Some(rest) if first => rest,
                _ => &line,
            };
            if let Some(event) = self.take_line(&String::from_utf8_lossy(line))? {
                return Ok(Some(event));
            }
        }
    }

    fn take_line(&mut self, line: &str) -> Result<Option<ServerEvent>, HttpError> {
        if line.is_empty() {
            let (event, mut data) = (std::mem::take(&mut self.event), std::mem::take(&mut self.data));
            if data.is_empty() {
                return Ok(None);
            }
            // The last line feed is not part of the data.
            data.pop();
            let event = if event.is_empty() { "message".to_owned() } else { event };
            return Ok(Some(ServerEvent { event, data, id: self.id.clone() }));
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.event),
            "data" => {
                if self.data.len() + value.len() > self.max_event {
                    return Err(HttpError::StreamLineTooLong(self.max_event));
                }
                self.data.push_str(value);
                self.data.push('\n');
            }
            "id" if !value.contains('\0') => value.clone_into(&mut self.id),
            "retry" if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) => {
                self.retry = value.parse().ok().map(Duration::from_millis).or(self.retry);
            }
            // A comment, whose field is empty, or a field that is not known.
            _ => {}
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pieces: &[&[u8]]) -> (Vec<ServerEvent>, EventStreamDecoder) {
        let (mut decoder, mut events) = (EventStreamDecoder::new(100), Vec::new());
        for piece in pieces {
            let mut data = *piece;
            while let Some(event) = decoder.next(&mut data).unwrap() {
                events.push(event);
            }
        }
        (events, decoder)
    }

    fn event(event: &str, data: &str, id: &str) -> ServerEvent {
        ServerEvent { event: event.into(), data: data.into(), id: id.into() }
    }

    #[test]
    fn events_are_the_same_however_they_are_cut() {
        // The examples of the standard, with all line ends, a byte order mark and odd fields.
        let text = b"\xef\xbb\xbfdata: YHOO\ndata: +2\r\ndata:10\r\r: c\n\ndata: first\nid: 1\n\ndata:second\nid\n\n\
            data:  third\n\ndata\n\ndata\ndata\n\nevent: x\nid: a\0b\nretry: 10\nretry: 1x\nunknown: y\ndata: \xff\n\n\
            event: none\n\ndata: cut";
        let expected = [
            event("message", "YHOO\n+2\n10", ""),
            event("message", "first", "1"),
            event("message", "second", ""),
            event("message", " third", ""),
            event("message", "", ""),
            event("message", "\n", ""),
            event("x", "\u{fffd}", ""),
        ];
        let (whole, decoder) = read(&[text]);
        assert_eq!(whole, expected);
        assert_eq!((decoder.retry(), decoder.last_event_id()), (Some(Duration::from_millis(10)), ""));
        for cut in 0..text.len() {
            let (first, second) = text.split_at(cut);
            assert_eq!(read(&[first, second]).0, expected, "cut at {cut}");
        }
        let single: Vec<&[u8]> = text.chunks(1).collect();
        assert_eq!(read(&single).0, expected);
    }

    #[test]
    fn an_event_has_a_limit() {
        let read = |text: String| {
            EventStreamDecoder::new(20).next(&mut text.as_bytes()).map(|event| event.is_some())
        };
        let line = |length: usize| format!("data:{}", "x".repeat(length - 5));
        assert_eq!(read(line(20) + "\n\n"), Ok(true));
        assert_eq!(read(line(21) + "\n\n"), Err(HttpError::StreamLineTooLong(20)));
        assert_eq!(read(line(21)), Err(HttpError::StreamLineTooLong(20)));
        assert_eq!(read(line(15) + "\n" + &line(14) + "\n\n"), Ok(true));
        assert_eq!(read(line(15) + "\n" + &line(15) + "\n\n"), Err(HttpError::StreamLineTooLong(20)));
    }
}
