//! The report as text for people.

use super::report::{Report, Verdict};
use crate::escape::Escaped;
use crate::report::time_format::rfc3339;
use crate::report::{HumanDuration, Painted, Palette};
use crate::tls::{Certificate, Hexadecimal};
use anstyle::Style;
use std::fmt;
use std::time::SystemTime;
use unicode_width::UnicodeWidthStr;

/// A report. `Display` prints it in at most `columns` columns, where words allow. Without a number,
/// no line is broken.
pub(super) struct Text<'a> {
    pub(super) report: &'a Report,
    pub(super) palette: Palette,
    pub(super) columns: Option<usize>,
}

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Text { report, palette, .. } = self;
        let endpoint = Escaped(&report.endpoint).to_string();
        let left = report.days_left().map_or(String::new(), |days| format!(", {}", days_left(days)));
        let (style, verdict) = match report.verdict() {
            Verdict::Trusted => (palette.good, format!("trusted{left}")),
            Verdict::ExpiresSoon => (palette.unknown, format!("trusted, and expires soon{left}")),
            Verdict::NotTrusted(problem) => {
                (palette.bad, format!("not trusted: {}", problem.name().replace('_', " ")))
            }
        };
        writeln!(f, "{}  {}", Painted(palette.strong, endpoint), Painted(style, verdict))?;
        if let Verdict::NotTrusted(problem) = report.verdict() {
            let why = Escaped(problem).to_string();
            for line in broken(&why, self.columns.map(|columns| columns.saturating_sub(2))) {
                writeln!(f, "  {line}")?;
            }
        }
        writeln!(f)?;
        self.rows(f, 2, &self.session())?;
        for (position, parsed) in report.certificates().iter().enumerate() {
            writeln!(f)?;
            self.certificate(f, position, parsed)?;
        }
        if report.info.chain().is_empty() {
            writeln!(f, "\n  The server has sent no certificate.")?;
        }
        Ok(())
    }
}

/// A label and its value.
type Row = (&'static str, String, Style);

impl Text<'_> {
    fn session(&self) -> Vec<Row> {
        let Report { info, .. } = self.report;
        let mut tls = format!("TLS {}, {}", self.report.version(), self.report.cipher());
        if let Some(group) = info.key_exchange {
            tls += &format!(", {group:?}");
        }
        let alpn = self.report.alpn().unwrap_or_else(|| "none".to_owned());
        let (connect, handshake) =
            (HumanDuration(self.report.connect_time), HumanDuration(info.handshake_time));
        let server = format!("{}, connected in {connect}, handshake in {handshake}", self.report.peer);
        let ocsp = if info.ocsp_stapled { "stapled" } else { "not stapled" };
        let plain = Style::new();
        vec![
            ("server", server, plain),
            ("name", self.report.name.clone(), plain),
            ("protocol", tls, plain),
            ("ALPN", alpn, plain),
            ("OCSP", ocsp.to_owned(), plain),
        ]
    }

    fn certificate(
        &self,
        f: &mut fmt::Formatter<'_>,
        position: usize,
        parsed: &Result<Certificate, String>,
    ) -> fmt::Result {
        let number = position + 1;
        let own = match parsed {
            Ok(own) => own,
            Err(why) => return writeln!(f, "  {number}  malformed: {}", Escaped(why)),
        };
        let subject = match own.subject.is_empty() {
            true => "(no subject)".to_owned(),
            false => Escaped(&own.subject).to_string(),
        };
        let kind = if own.is_ca { " (CA)" } else { "" };
        let room = self.columns.map(|columns| columns.saturating_sub(INDENT));
        for (line, text) in broken(&format!("{subject}{kind}"), room).into_iter().enumerate() {
            let number = if line == 0 { number.to_string() } else { String::new() };
            writeln!(f, "  {number:1}  {}", Painted(self.palette.strong, text))?;
        }
        self.rows(f, INDENT, &self.certificate_rows(own))
    }

    fn certificate_rows(&self, own: &Certificate) -> Vec<Row> {
        let palette = &self.palette;
        let plain = Style::new();
        let now = self.report.now;
        let (begin, end) = (minute(own.not_before), minute(own.not_after));
        let (style, state) = match own.days_left(now) {
            _ if own.not_before > now => (palette.bad, "not valid yet".to_owned()),
            left if left < 0 => (palette.bad, days_left(left)),
            left => (plain, days_left(left)),
        };
        let names = if own.names.is_empty() && !own.is_ca { "none".to_owned() } else { own.names.join(", ") };
        let bits = match own.key_kind.as_str() {
            "RSA" => format!("RSA, {} bits", own.key_bits),
            kind => kind.to_owned(),
        };
        let issuer = match own.is_self_issued() {
            true => "itself".to_owned(),
            false => own.issuer.clone(),
        };
        let hexadecimal =
            |hash: Option<[u8; 32]>| hash.map_or(String::new(), |hash| Hexadecimal(&hash).to_string());
        let rows = vec![
            ("names", names, plain),
            ("issuer", issuer, plain),
            ("valid", format!("{begin} to {end} UTC, {state}"), style),
            ("key", bits, plain),
            ("pin", hexadecimal(own.key_hash), palette.faint),
            ("signature", own.signature_algorithm.clone(), palette.faint),
            ("serial", own.serial.clone(), palette.faint),
            ("SHA-256", hexadecimal(own.fingerprint), palette.faint),
        ];
        rows.into_iter().filter(|(_, value, _)| !value.is_empty()).collect()
    }

    /// Prints labels and values. Values are escaped here.
    fn rows(&self, f: &mut fmt::Formatter<'_>, indent: usize, rows: &[Row]) -> fmt::Result {
        let labels = rows.iter().map(|(label, ..)| label.len()).max().unwrap_or(0);
        let column = indent + labels + 2;
        for (label, value, style) in rows {
            let value = Escaped(value).to_string();
            let room = self.columns.map(|columns| columns.saturating_sub(column).max(MIN_VALUE));
            let mut lines = broken(&value, room).into_iter();
            let label = Painted(self.palette.faint, format!("{label:labels$}"));
            let first = lines.next().unwrap_or_default();
            writeln!(f, "{:indent$}{label}  {}", "", Painted(*style, first))?;
            for line in lines {
                writeln!(f, "{:column$}{}", "", Painted(*style, line))?;
            }
        }
        Ok(())
    }
}

/// The days left in words.
fn days_left(days: i64) -> String {
    match days {
        1 => "1 day left".to_owned(),
        0.. => format!("{days} days left"),
        -1 => "expired within the last day".to_owned(),
        _ => format!("expired {} days ago", -1 - days),
    }
}

/// A point in time, exact to the minute, in UTC.
fn minute(time: SystemTime) -> String {
    rfc3339(time).get(.."2026-12-01T00:00".len()).unwrap_or_default().replace('T', " ")
}

/// Breaks a text into lines at spaces. A word that is too long is not broken, so that it can be
/// copied.
fn broken(text: &str, columns: Option<usize>) -> Vec<String> {
    let Some(columns) = columns else { return vec![text.to_owned()] };
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.width() + 1 + word.width() <= columns => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// Indent of the rows of a certificate, with which a hash fits into 80 columns.
const INDENT: usize = 5;

/// Min width of the column of values.
const MIN_VALUE: usize = 24;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_words() {
        for (days, words) in [
            (47, "47 days left"),
            (1, "1 day left"),
            (0, "0 days left"),
            (-1, "expired within the last day"),
            (-3, "expired 2 days ago"),
        ] {
            assert_eq!(days_left(days), words);
        }
    }

    #[test]
    fn values_are_broken_at_words_and_never_within() {
        assert_eq!(broken("a b", None), ["a b"]);
        assert_eq!(broken("one two three", Some(7)), ["one two", "three"]);
        let long = "y".repeat(90);
        assert_eq!(broken(&format!("x {long}"), Some(40)), ["x", &long]);
    }
}
