//! Lines of a body, such as NDJSON: one JSON text on each line.

use super::error::HttpError;
use memchr::memchr;

/// Decoder of lines that end in LF or CR LF. Empty lines are skipped.
///
/// ```
/// use twistor::http::JsonLines;
///
/// let mut lines = JsonLines::default();
/// let mut bytes: &[u8] = b"{\"a\": 1}\r\n\n{\"a\"";
/// assert_eq!(lines.next(&mut bytes)?, Some(b"{\"a\": 1}".to_vec()));
/// assert_eq!(lines.next(&mut bytes)?, None);
/// bytes = b": 2}";
/// assert_eq!(lines.next(&mut bytes)?, None);
/// assert_eq!(lines.finish(), Some(b"{\"a\": 2}".to_vec()));
/// # Ok::<(), twistor::http::HttpError>(())
/// ```
#[derive(Debug)]
pub struct JsonLines {
    line: Vec<u8>,
    max_line: usize,
}

impl Default for JsonLines {
    /// Lines of at most 1 MiB.
    fn default() -> JsonLines {
        JsonLines::new(1 << 20)
    }
}

impl JsonLines {
    /// Creates a decoder for lines of at most `max_line` bytes, without their ends.
    pub fn new(max_line: usize) -> JsonLines {
        JsonLines { line: Vec::new(), max_line }
    }

    /// Takes bytes from `data` and advances its start past them. Returns the next line that is not
    /// empty, without its end; `None` when more bytes are needed.
    ///
    /// # Errors
    /// [`HttpError::StreamLineTooLong`].
    pub fn next(&mut self, data: &mut &[u8]) -> Result<Option<Vec<u8>>, HttpError> {
        while let Some(end) = memchr(b'\n', data) {
            let (part, rest) = data.split_at(end);
            *data = rest.get(1..).unwrap_or_default();
            self.line.extend_from_slice(part);
            let mut line = std::mem::take(&mut self.line);
            if line.last() == Some(&b'\r') {
                line.pop();
            }
            if line.len() > self.max_line {
                return Err(HttpError::StreamLineTooLong(self.max_line));
            }
            if !line.is_empty() {
                return Ok(Some(line));
            }
        }
        self.line.extend_from_slice(std::mem::take(data));
        // The CR before a LF that has not come yet does not count.
        let length = self.line.strip_suffix(b"\r").unwrap_or(&self.line).len();
        match length > self.max_line {
            true => Err(HttpError::StreamLineTooLong(self.max_line)),
            false => Ok(None),
        }
    }

    /// Returns the last line, if it has no end.
    pub fn finish(&mut self) -> Option<Vec<u8>> {
        Some(std::mem::take(&mut self.line)).filter(|line| !line.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_the_same_however_they_are_cut() {
        let text = b"a\r\n\nbc\r\r\nd\n\r\ne";
        let lines = |pieces: &[&[u8]]| {
            let (mut decoder, mut lines) = (JsonLines::new(3), Vec::new());
            for piece in pieces {
                let mut data = *piece;
                while let Some(line) = decoder.next(&mut data).unwrap() {
                    lines.push(line);
                }
            }
            lines.extend(decoder.finish());
            lines
        };
        let whole = lines(&[text]);
        assert_eq!(whole, [&b"a"[..], b"bc\r", b"d", b"e"]);
        for cut in 0..text.len() {
            let (first, second) = text.split_at(cut);
            assert_eq!(lines(&[first, second]), whole, "cut at {cut}");
        }
    }

    #[test]
    fn a_line_has_a_limit() {
        let read = |text: &str| JsonLines::new(4).next(&mut text.as_bytes());
        assert_eq!(read("abc\n"), Ok(Some(b"abc".to_vec())));
        assert_eq!(read("abcd\r\n"), Ok(Some(b"abcd".to_vec())));
        assert_eq!(read("abcd\r"), Ok(None));
        assert_eq!(read("abcde\n"), Err(HttpError::StreamLineTooLong(4)));
        assert_eq!(read("abcde"), Err(HttpError::StreamLineTooLong(4)));
    }
}
