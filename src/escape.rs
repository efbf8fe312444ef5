//! Escaping of untrusted text for terminals, logs and single lines.
//!
//! Names, banners, addresses and error texts come from peers, files and users. Unescaped, they can
//! move the cursor, set the window's title, forge a second log line, or reverse the order of the
//! text after them. [`Escaped`] and [`EscapedBytes`] print such text with every
//! [unprintable](is_unprintable) character replaced:
//!
//! | in the text | printed |
//! |---|---|
//! | newline, carriage return, tab | `\n`, `\r`, `\t` |
//! | any other unprintable character | `\u{1b}`, `\u{202e}` |
//! | a byte that is not UTF-8 | `\xff` |
//! | all other characters, including backslash and quotes | unchanged |
//!
//! A backslash is not doubled, so the escaping cannot be reversed: the two characters `\` and `n`
//! print like a newline does. In return, Windows paths and regular expressions stay readable, and a
//! second pass does not change escaped text.
//!
//! twistor escapes all text that it prints: the `Display` of its addresses and errors, and every
//! message and value that it passes to the [`log`] facade. A logger receives one line per record,
//! fully escaped. The fields of errors and the accessors of addresses return the raw text. Rust's
//! panic hook prints a panic's message before twistor sees it. A program has to escape the text
//! that it prints or logs itself:
//!
//! ```
//! use twistor::escape::{Escaped, EscapedBytes};
//!
//! let name = "eve\n\u{1b}]0;owned\u{7}";
//! assert_eq!(format!("{} joined", Escaped(name)), r"eve\n\u{1b}]0;owned\u{7} joined");
//! assert_eq!(EscapedBytes(b"gr\xc3\xbcn \xff").to_string(), r"grün \xff");
//! ```
use std::fmt::{self, Write};

/// Returns whether a character is invisible, moves the cursor, or changes how the text around it is
/// shown.
///
/// These are:
///
/// - control characters: C0 with newline and tab, DEL, C1;
/// - line and paragraph separators: U+2028, U+2029;
/// - direction marks and overrides: U+061C, U+200E, U+200F, U+202A to U+202E, U+2066 to U+2069;
/// - zero-width characters: soft hyphen, zero-width space, joiners, byte order mark, variation
///   selectors, tags, and the rest of Unicode's *Default_Ignorable_Code_Point*;
/// - annotation marks (U+FFF9 to U+FFFB) and the joiners of hieroglyphs (U+13430 to U+1343F).
///
/// Joiners and variation selectors are part of some emoji and of some words in Persian and in Indic
/// scripts. Those print with an escape in them. Combining accents are printable.
///
/// ```
/// use twistor::escape::is_unprintable;
///
/// assert!(is_unprintable('\u{1b}') && is_unprintable('\u{9b}') && is_unprintable('\u{202e}'));
/// assert!(!is_unprintable(' ') && !is_unprintable('é'));
/// assert!(!is_unprintable('語') && !is_unprintable('\u{301}'));
/// ```
pub fn is_unprintable(character: char) -> bool {
    match character {
        ' '..='~' => false,
        _ => {
            character.is_control()
                || matches!(
                    character,
                    '\u{ad}'
                        | '\u{34f}'
                        | '\u{61c}'
                        | '\u{115f}'..='\u{1160}'
                        | '\u{17b4}'..='\u{17b5}'
                        | '\u{180b}'..='\u{180f}'
                        | '\u{200b}'..='\u{200f}'
                        | '\u{2028}'..='\u{202e}'
                        | '\u{2060}'..='\u{206f}'
                        | '\u{3164}'
                        | '\u{fe00}'..='\u{fe0f}'
                        | '\u{feff}'
                        | '\u{ffa0}'
                        | '\u{fff0}'..='\u{fffb}'
                        | '\u{13430}'..='\u{1343f}'
                        | '\u{1bca0}'..='\u{1bca3}'
                        | '\u{1d173}'..='\u{1d17a}'
                        | '\u{e0000}'..='\u{e0fff}'
                )
        }
    }
}

/// Prints a value with its unprintable characters escaped.
///
/// It allocates only if the format has a width or a precision. Both apply to the escaped text. A
/// precision never cuts an escape in two.
///
/// ```
/// use twistor::escape::Escaped;
///
/// assert_eq!(Escaped("one\ntwo").to_string(), r"one\ntwo");
/// assert_eq!(format!("{:>6}|{:<6}|", Escaped("a\n"), Escaped("é")), r"   a\n|é     |");
/// assert_eq!(format!("{:.4}|", Escaped("a\u{1b}b")), "a|");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Escaped<T>(
    /// The value.
    pub T,
);

impl<T: fmt::Display> fmt::Display for Escaped<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let alternate = f.alternate();
        padded(f, |out| match alternate {
            true => write!(Escaping { out, form: text_form }, "{:#}", self.0),
            false => write!(Escaping { out, form: text_form }, "{}", self.0),
        })
    }
}

/// Prints bytes as text, with unprintable characters and bytes that are not UTF-8 escaped.
///
/// ```
/// use twistor::escape::EscapedBytes;
///
/// assert_eq!(EscapedBytes(b"220 mail\r\n\xfe").to_string(), r"220 mail\r\n\xfe");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EscapedBytes<'a>(
    /// The bytes.
    pub &'a [u8],
);

impl fmt::Display for EscapedBytes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        padded(f, |out| {
            for chunk in self.0.utf8_chunks() {
                write_escaped(out, text_form, chunk.valid())?;
                for byte in chunk.invalid() {
                    write!(out, "\\x{byte:02x}")?;
                }
            }
            Ok(())
        })
    }
}

/// Prints JSON with its unprintable characters as `\u` escapes of four digits. The result is
/// equivalent JSON.
///
/// JSON itself escapes only newlines and the other characters below U+0020. The value has to be
/// JSON on one line, such as a `serde_json::Value`: there, unprintable characters occur only inside
/// strings.
///
/// ```
/// use twistor::escape::EscapedJson;
///
/// let json = "{\"\u{202e}\":\"\u{e0041}\"}";
/// assert_eq!(EscapedJson(json).to_string(), r#"{"\u202e":"\udb40\udc41"}"#);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EscapedJson<T>(
    /// The JSON value.
    pub T,
);

impl<T: fmt::Display> fmt::Display for EscapedJson<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        padded(f, |out| write!(Escaping { out, form: json_form }, "{}", self.0))
    }
}

/// Writes escaped text. With a width or a precision, which apply to the whole escaped text, it is
/// collected first.
fn padded(f: &mut fmt::Formatter<'_>, text: impl Fn(&mut dyn Write) -> fmt::Result) -> fmt::Result {
    if f.width().is_none() && f.precision().is_none() {
        return text(f);
    }
    let mut whole = String::new();
    text(&mut whole)?;
    if let Some(precision) = f.precision() {
        let mut characters = 0;
        let fitting = units(&whole).take_while(|unit| {
            characters += unit.chars().count();
            characters <= precision
        });
        let bytes = fitting.map(str::len).sum();
        whole.truncate(bytes);
    }
    f.pad(&whole)
}

/// Splits escaped text or JSON into units that must not be cut: escapes, and single characters. A
/// backslash of the text itself may look like the start of an escape. Then a few more characters
/// stay together.
pub(crate) fn units(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let first = rest.chars().next()?;
        let bytes = escape_length(rest.as_bytes()).unwrap_or(first.len_utf8());
        let (unit, after) = rest.split_at(bytes);
        rest = after;
        Some(unit)
    })
}

/// Returns the length in bytes of the ASCII escape at the start of a text: `\n`, `\xff`, `\u{1b}`,
/// and in JSON `\u001b` or a surrogate pair.
fn escape_length(text: &[u8]) -> Option<usize> {
    let digits = |text: &[u8]| text.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    match text {
        [b'\\', b'x', rest @ ..] if digits(rest) >= 2 => Some(4),
        [b'\\', b'u', b'{', rest @ ..] => {
            let count = digits(rest);
            ((1..=6).contains(&count) && rest.get(count) == Some(&b'}')).then_some(count + 4)
        }
        [b'\\', b'u', rest @ ..] if digits(rest) >= 4 => match (rest, rest.get(4..)) {
            ([b'd' | b'D', b'8' | b'9' | b'a' | b'b' | b'A' | b'B', ..], Some(next))
                if escape_length(next) == Some(6) =>
            {
                Some(12)
            }
            _ => Some(6),
        },
        [b'\\', b'n' | b'r' | b't' | b'b' | b'f' | b'"' | b'\\' | b'/', ..] => Some(2),
        _ => None,
    }
}

/// A writer that escapes.
struct Escaping<'a> {
    out: &'a mut dyn Write,
    form: Form,
}

/// Writes the escape of one unprintable character.
type Form = fn(&mut dyn Write, char) -> fmt::Result;

impl Write for Escaping<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        write_escaped(self.out, self.form, text)
    }
}

fn write_escaped(out: &mut dyn Write, form: Form, text: &str) -> fmt::Result {
    let mut rest = text;
    while let Some(at) = rest.find(is_unprintable) {
        let (printable, found) = rest.split_at(at);
        out.write_str(printable)?;
        let mut found = found.chars();
        if let Some(character) = found.next() {
            form(out, character)?;
        }
        rest = found.as_str();
    }
    out.write_str(rest)
}

fn text_form(out: &mut dyn Write, character: char) -> fmt::Result {
    match character {
        '\n' => out.write_str("\\n"),
        '\r' => out.write_str("\\r"),
        '\t' => out.write_str("\\t"),
        other => write!(out, "{}", other.escape_unicode()),
    }
}

fn json_form(out: &mut dyn Write, character: char) -> fmt::Result {
    let mut units = [0; 2];
    character.encode_utf16(&mut units).iter().try_for_each(|unit| write!(out, "\\u{unit:04x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Text that must not reach a terminal, one of each kind, and its escaped form.
    const UNPRINTABLE: [(&str, &str); 12] = [
        ("\u{1b}]0;owned\u{7}", r"\u{1b}]0;owned\u{7}"),
        ("one\nforged: two", r"one\nforged: two"),
        ("over\rwritten\ttab\u{8}", r"over\rwritten\ttab\u{8}"),
        ("nul\0del\u{7f}", r"nul\u{0}del\u{7f}"),
        ("c1 \u{9b}31m \u{85}", r"c1 \u{9b}31m \u{85}"),
        ("\u{202e}txt.exe\u{202c}", r"\u{202e}txt.exe\u{202c}"),
        ("\u{2066}a\u{2069}\u{61c}\u{200f}", r"\u{2066}a\u{2069}\u{61c}\u{200f}"),
        ("a\u{200b}b\u{feff}c\u{ad}d\u{2060}", r"a\u{200b}b\u{feff}c\u{ad}d\u{2060}"),
        ("x\u{2028}y\u{2029}", r"x\u{2028}y\u{2029}"),
        ("\u{e0041}\u{e007f}\u{e0100}\u{fe0f}", r"\u{e0041}\u{e007f}\u{e0100}\u{fe0f}"),
        ("\u{180e}\u{fff9}\u{fffb}", r"\u{180e}\u{fff9}\u{fffb}"),
        (r#"C:\new "quoted" grün 語 é"#, r#"C:\new "quoted" grün 語 é"#),
    ];

    #[test]
    fn unprintable_characters_are_escaped_and_others_stay() {
        for (text, shown) in UNPRINTABLE {
            assert_eq!(Escaped(text).to_string(), shown);
            assert_eq!(EscapedBytes(text.as_bytes()).to_string(), shown);
            assert_eq!(Escaped(shown).to_string(), shown, "a second pass");
        }
    }

    #[test]
    fn no_character_of_unicode_is_printed_raw_if_unprintable() {
        let unprintable =
            |ranges: &[(u32, u32)], at: u32| ranges.iter().any(|&(from, to)| (from..=to).contains(&at));
        // Control characters, direction marks and overrides, separators, zero-width characters.
        let ranges = [
            (0x00, 0x1f),
            (0x7f, 0x9f),
            (0xad, 0xad),
            (0x61c, 0x61c),
            (0x180b, 0x180f),
            (0x200b, 0x200f),
            (0x2028, 0x202e),
            (0x2060, 0x206f),
            (0xfe00, 0xfe0f),
            (0xfeff, 0xfeff),
            (0xfff9, 0xfffb),
            (0xe0000, 0xe0fff),
        ];
        let mut escaped = 0;
        for character in '\0'..=char::MAX {
            let text = String::from(character);
            let shown = Escaped(&text).to_string();
            assert!(!shown.chars().any(is_unprintable), "{shown:?}");
            assert_eq!(shown != text, is_unprintable(character));
            assert!(shown != text || !unprintable(&ranges, character as u32), "{shown:?} is printed raw");
            escaped += usize::from(shown != text);
        }
        assert_eq!(escaped, 4_260, "not more than is meant");
    }

    #[test]
    fn text_that_is_written_in_pieces_is_escaped_throughout() {
        let pieces = format!("{}", Escaped(format_args!("a\n{}{}\u{7f}", '\u{1b}', Escaped("b\r"))));
        assert_eq!(pieces, r"a\n\u{1b}b\r\u{7f}");
    }

    #[test]
    fn bytes_that_are_not_text_are_shown_one_by_one() {
        for (bytes, shown) in [
            (&b"\xff\xfe"[..], r"\xff\xfe"),
            (b"ok\xe2\x80", r"ok\xe2\x80"),
            (b"\x80\nx\x9b", r"\x80\nx\x9b"),
            ("\u{9b}".as_bytes(), r"\u{9b}"),
            (b"", ""),
        ] {
            assert_eq!(EscapedBytes(bytes).to_string(), shown);
        }
    }

    #[test]
    fn escaped_text_is_cut_between_its_units() {
        let split = |text: &'static str| units(text).collect::<Vec<_>>();
        for (text, count) in UNPRINTABLE.map(|(text, shown)| (shown, text.chars().count())) {
            // A backslash of the text itself keeps the next letter with it.
            let own = text.matches(r"\new").count();
            assert_eq!(
                (units(text).collect::<String>(), units(text).count() + own),
                (text.to_owned(), count)
            );
        }
        assert_eq!(split(r"\xff\x1"), [r"\xff", r"\", "x", "1"]);
        assert_eq!(split(r#"\"\\n\u001bé"#), [r#"\""#, r"\\", "n", r"\u001b", "é"]);
        assert_eq!(split(r"\udb40\udc41\ud800x"), [r"\udb40\udc41", r"\ud800", "x"]);
        assert_eq!(split(r"\u{\u{}\u12"), [r"\", "u", "{", r"\", "u", "{", "}", r"\", "u", "1", "2"]);
        assert_eq!(format!("{:.7}|{:.6}|", Escaped("a\u{1b}"), Escaped("a\u{1b}")), r"a\u{1b}|a|");
        assert_eq!(format!("{:.9}|", EscapedBytes(b"\xff\xfe\xfd")), r"\xff\xfe|");
    }

    #[test]
    fn width_and_precision_are_those_of_the_escaped_text() {
        assert_eq!(format!("{:8}|", Escaped("\u{1b}")), r"\u{1b}  |");
        assert_eq!(format!("{:>6}|{:.3}|", EscapedBytes(b"\xff"), Escaped("a\nbcd")), r"  \xff|a\n|");
        assert_eq!(format!("{:04}|", Escaped(7)), "7   |");
    }
}
