//! Traffic dumps, for debugging protocols.

use crate::escape::{Escaped, EscapedBytes};
use std::cell::RefCell;
use std::fmt::Write as _;
use std::io::Write;
use std::rc::Rc;

use crate::{Factory, Layer, LayerContext, Layered, Reactor, Reason, layered};

/// Format of dumped bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DumpStyle {
    /// Sixteen bytes per line: offset in the stream, hex, and text.
    Hex,
    /// One line for each read or write, with unprintable bytes escaped.
    Text,
}

/// Dumps all data that the connections of a factory send and receive. (Twisted:
/// `TrafficLoggingFactory`, `SpewingFactory`.)
///
/// Each line begins with the connection's id, followed by one of
///
/// - `+`: connection made;
/// - `<`: bytes received;
/// - `>`: bytes written;
/// - `<.`: end of the received data;
/// - `>.`: end of the written data;
/// - `-`: connection lost, with the reason.
///
/// ```
/// use twistor::policy::{DumpLayer, DumpStyle, dump_traffic};
/// # struct Echo;
/// # impl twistor::Protocol for Echo {
/// #     fn data_received(&mut self, _: &mut twistor::Transport<'_>, _: &[u8]) {}
/// # }
///
/// let echo = dump_traffic(|| Echo, DumpStyle::Hex, |line| eprintln!("{line}"));
/// twistor::Reactor::new()?.listen_tcp("127.0.0.1:0", echo)?;
/// # Ok::<(), twistor::Error>(())
/// ```
///
/// [`DumpLayer::to_log`] and [`DumpLayer::to_writer`] are other outputs.
#[doc(alias = "TrafficLoggingFactory")]
pub fn dump_traffic<F: Factory>(
    factory: F,
    style: DumpStyle,
    show: impl FnMut(&str) + 'static,
) -> Layered<F, impl FnMut() -> DumpLayer> {
    let show: Show = Rc::new(RefCell::new(show));
    layered(factory, move || DumpLayer {
        style,
        show: Rc::clone(&show),
        name: String::new(),
        offsets: [0; 2],
    })
}

type Show = Rc<RefCell<dyn FnMut(&str)>>;

/// Layer that dumps the traffic of one connection.
pub struct DumpLayer {
    style: DumpStyle,
    show: Show,
    name: String,
    /// Bytes received and written so far.
    offsets: [u64; 2],
}

impl DumpLayer {
    /// Creates a layer that passes each line to `show`.
    pub fn new(style: DumpStyle, show: impl FnMut(&str) + 'static) -> DumpLayer {
        DumpLayer { style, show: Rc::new(RefCell::new(show)), name: String::new(), offsets: [0; 2] }
    }

    /// Output for [`dump_traffic`] that logs each line at debug level.
    pub fn to_log() -> impl FnMut(&str) {
        |line| log::debug!("{}", Escaped(line))
    }

    /// Output for [`dump_traffic`] that writes lines to a file or another writer. It writes on the
    /// loop's thread, and write errors are ignored.
    pub fn to_writer(mut to: impl Write + 'static) -> impl FnMut(&str) {
        move |line| {
            // A failed write of the dump must not end the connection.
            let _ = writeln!(to, "{line}");
        }
    }

    fn line(&self, text: &str) {
        // `show` may panic. It is borrowed already if it causes another line while it runs.
        if let Ok(mut show) = self.show.try_borrow_mut() {
            show(&format!("{} {text}", self.name));
        }
    }

    fn bytes(&mut self, direction: Direction, data: &[u8]) {
        let (sign, index) = match direction {
            Direction::Received => ('<', 0),
            Direction::Written => ('>', 1),
        };
        match self.style {
            DumpStyle::Text => self.line(&format!("{sign} {}", EscapedBytes(data))),
            DumpStyle::Hex => {
                for chunk in data.chunks(16) {
                    self.line(&format!("{sign} {}", hex(self.offsets[index], chunk)));
                    self.offsets[index] += chunk.len() as u64;
                }
            }
        }
    }
}

#[derive(Clone, Copy)]
enum Direction {
    Received,
    Written,
}

fn hex(offset: u64, chunk: &[u8]) -> String {
    let mut line = format!("{offset:08x} ");
    for index in 0..16 {
        // Writing to a string cannot fail.
        let _ = match chunk.get(index) {
            Some(byte) => write!(line, " {byte:02x}"),
            None => write!(line, "   "),
        };
        if index == 7 {
            line.push(' ');
        }
    }
    line.push_str("  |");
    line.extend(chunk.iter().map(|byte| match byte {
        b' '..=b'~' => char::from(*byte),
        _ => '.',
    }));
    line.push('|');
    line
}

impl Layer for DumpLayer {
    fn started(&mut self, below: &mut LayerContext<'_>) {
        self.name = below.id().to_string();
        self.line(&format!("+ {}", below.peer()));
        below.ready();
    }

    fn data_received(&mut self, below: &mut LayerContext<'_>, data: &[u8]) {
        self.bytes(Direction::Received, data);
        below.pass_up(data);
    }

    fn data_written(&mut self, below: &mut LayerContext<'_>, data: &[u8]) {
        self.bytes(Direction::Written, data);
        below.pass_down(data);
    }

    fn read_ended(&mut self, below: &mut LayerContext<'_>) {
        self.line("<.");
        below.pass_eof_up();
    }

    fn write_closing(&mut self, below: &mut LayerContext<'_>) {
        self.line(">.");
        below.pass_eof_down();
    }

    fn connection_lost(&mut self, _: &mut Reactor, reason: &Reason) {
        self.line(&format!("- {reason}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_hex_has_sixteen_bytes_and_their_place() {
        let full: Vec<u8> = (0x3a..0x4a).collect();
        let line = "00000010  3a 3b 3c 3d 3e 3f 40 41  42 43 44 45 46 47 48 49  |:;<=>?@ABCDEFGHI|";
        assert_eq!(hex(16, &full), line);
        let short = hex(0, b"a\n\xff");
        assert_eq!(short, format!("00000000  61 0a ff{}|a..|", " ".repeat(42)));
        assert_eq!(short.find('|'), line.find('|'));
    }
}
