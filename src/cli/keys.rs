//! Keys of a terminal in non-canonical mode.

use crate::{Protocol, Reactor, Transport};

/// The action of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    Up,
    Down,
    PageUp,
    PageDown,
    Home,
    End,
    Help,
    Redraw,
    Quit,
}

/// A protocol that calls `call` for each known key.
pub(super) struct Keys<F> {
    reader: Reader,
    call: F,
}

impl<F: FnMut(&mut Reactor, Key) + 'static> Keys<F> {
    pub(super) fn new(call: F) -> Keys<F> {
        Keys { reader: Reader::default(), call }
    }
}

impl<F: FnMut(&mut Reactor, Key) + 'static> Protocol for Keys<F> {
    fn data_received(&mut self, transport: &mut Transport<'_>, data: &[u8]) {
        for key in data.iter().filter_map(|byte| self.reader.read(*byte)) {
            (self.call)(transport.reactor(), key);
        }
    }
}

/// The parser from bytes to keys. An escape sequence may arrive in pieces.
#[derive(Default)]
struct Reader {
    /// The sequence in progress, without its escape byte.
    sequence: Option<Vec<u8>>,
}

impl Reader {
    fn read(&mut self, byte: u8) -> Option<Key> {
        let Some(sequence) = &mut self.sequence else {
            if byte == ESCAPE {
                self.sequence = Some(Vec::new());
            }
            return plain(byte);
        };
        match (sequence.as_slice(), byte) {
            (_, ESCAPE) => sequence.clear(),
            ([], b'[' | b'O') => sequence.push(byte),
            // A key with Alt, or after a single Escape, counts as the key itself.
            ([], _) => {
                self.sequence = None;
                return plain(byte);
            }
            ([b'['], b'0'..=b'?') | ([b'[', ..], b' '..=b'?') if sequence.len() < MAX_SEQUENCE => {
                sequence.push(byte)
            }
            _ => {
                sequence.push(byte);
                let sequence = self.sequence.take()?;
                return special(&sequence);
            }
        }
        None
    }
}

fn plain(byte: u8) -> Option<Key> {
    Some(match byte {
        b'k' => Key::Up,
        b'j' => Key::Down,
        b'b' => Key::PageUp,
        b' ' => Key::PageDown,
        b'g' => Key::Home,
        b'G' => Key::End,
        b'?' | b'h' => Key::Help,
        b'q' | b'Q' => Key::Quit,
        CONTROL_L => Key::Redraw,
        _ => return None,
    })
}

/// Parses the sequences of xterm, the Linux console and rxvt.
fn special(sequence: &[u8]) -> Option<Key> {
    Some(match sequence {
        b"[A" | b"OA" => Key::Up,
        b"[B" | b"OB" => Key::Down,
        b"[5~" => Key::PageUp,
        b"[6~" => Key::PageDown,
        b"[H" | b"OH" | b"[1~" | b"[7~" => Key::Home,
        b"[F" | b"OF" | b"[4~" | b"[8~" => Key::End,
        _ => return None,
    })
}

const ESCAPE: u8 = 0x1b;
const CONTROL_L: u8 = 0x0c;
/// Maximum length of a sequence.
const MAX_SEQUENCE: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(text: &str) -> Vec<Key> {
        let mut reader = Reader::default();
        text.bytes().filter_map(|byte| reader.read(byte)).collect()
    }

    #[test]
    fn keys_are_read_from_bytes() {
        assert_eq!(keys("jk gG?bq\x0c"), {
            use Key::*;
            [Down, Up, PageDown, Home, End, Help, PageUp, Quit, Redraw]
        });
        assert_eq!(keys("\x1b[A\x1bOB\x1b[5~\x1b[6~\x1b[H\x1bOF\x1b[1~\x1b[4~"), {
            use Key::*;
            [Up, Down, PageUp, PageDown, Home, End, Home, End]
        });
    }

    #[test]
    fn what_is_no_key_is_nothing() {
        // Unknown sequences, other letters, and an Escape before a key.
        assert_eq!(keys("xyzäß\n\x1b[1;5A\x1b[200~\x1b[15~"), []);
        assert_eq!(keys("\x1bq\x1b\x1b[A"), [Key::Quit, Key::Up]);
        assert_eq!(keys(&format!("\x1b[{}q", "1".repeat(100))).last(), Some(&Key::Quit));
    }
}
