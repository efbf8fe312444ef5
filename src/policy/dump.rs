//! Dumping traffic, for whoever looks for a mistake in a protocol.

use crate::escape::{Escaped, EscapedBytes};
use std::cell::RefCell;
use std::fmt::Write as _;
use std::io::Write;
use std::rc::Rc;

use crate::{Factory, Layer, LayerContext, Layered, Reactor, Reason, layered};

/// How bytes are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DumpStyle {
    /// Sixteen a line: their place in the stream, in hex, and as text.
    Hex,
    /// A line each, what is not printable escaped.
    Text,
}

/// Shows everything that the connections of a factory send and receive. (Twisted: `TrafficLoggingFactory`,
/// `SpewingFactory`.) Each line begins with the connection's name, and `+` for its begin, `<` for bytes that came, `>`
/// for bytes that were written, `<.` and `>.` for the end of either, `-` for its loss with the reason.
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
/// For other places: [`DumpLayer::to_log`], [`DumpLayer::to_writer`].
pub fn dump_traffic<F: Factory>(
    factory: F,
    style: DumpStyle,
    show: impl FnMut(&str) + 'static,
) -> Layered<F, impl FnMut() -> DumpLayer> {
    let show: Show = Rc::new(RefCell::new(show));
    layered(factory, move || DumpLayer { style, show: Rc::clone(&show), name: String::new(), places: [0; 2] })
}

type Show = Rc<RefCell<dyn FnMut(&str)>>;

/// Shows one connection's traffic.
pub struct DumpLayer {
    style: DumpStyle,
    show: Show,
    name: String,
    /// How much was received and written up to now.
    places: [u64; 2],
}

impl DumpLayer {
    /// Hands each line to `show`.
    pub fn new(style: DumpStyle, show: impl FnMut(&str) + 'static) -> DumpLayer {
        DumpLayer { style, show: Rc::new(RefCell::new(show)), name: String::new(), places: [0; 2] }
    }

    /// What lets [`dump_traffic`] write to the log, as debug messages.
    pub fn to_log() -> impl FnMut(&str) {
        |line| log::debug!("{}", Escaped(line))
    }

    /// What lets [`dump_traffic`] write lines to a file or the like. It writes from the loop; what fails is not shown.
    pub fn to_writer(mut to: impl Write + 'static) -> impl FnMut(&str) {
        move |line| {
            // A dump that cannot be written must not end the connection.
            let _ = writeln!(to, "{line}");
        }
    }

    fn line(&self, what: &str) {
        // It may panic, or be in use: by a line that is shown from inside of this one.
        if let Ok(mut show) = self.show.try_borrow_mut() {
            show(&format!("{} {what}", self.name));
        }
    }

    fn bytes(&mut self, way: Way, data: &[u8]) {
        let (sign, index) = match way {
            Way::Received => ('<', 0),
            Way::Written => ('>', 1),
        };
        match self.style {
            DumpStyle::Text => self.line(&format!("{sign} {}", EscapedBytes(data))),
            DumpStyle::Hex => {
                for piece in data.chunks(16) {
                    self.line(&format!("{sign} {}", hex(self.places[index], piece)));
                    self.places[index] += piece.len() as u64;
                }
            }
        }
    }
}

#[derive(Clone, Copy)]
enum Way {
    Received,
    Written,
}

fn hex(place: u64, piece: &[u8]) -> String {
    let mut line = format!("{place:08x} ");
    for index in 0..16 {
        // Writing to a string cannot fail.
        let _ = match piece.get(index) {
            Some(byte) => write!(line, " {byte:02x}"),
            None => write!(line, "   "),
        };
        if index == 7 {
            line.push(' ');
        }
    }
    line.push_str("  |");
    line.extend(piece.iter().map(|byte| match byte {
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
        self.bytes(Way::Received, data);
        below.pass_up(data);
    }

    fn data_written(&mut self, below: &mut LayerContext<'_>, data: &[u8]) {
        self.bytes(Way::Written, data);
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
