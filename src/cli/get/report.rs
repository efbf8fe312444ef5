//! The output of `twistor get`: heads, timings, a body on a terminal, and JSON.

use super::Received;
use crate::cli::{output, writer};
use crate::escape::{Escaped, is_unprintable};
use crate::http::{Request, ResponseHead, StreamEnd, Timings, Url};
use crate::report::Palette;
use serde_json::{Value, json};
use std::fmt;
use std::io::{self, Write};
use std::time::Duration;

/// Lines on stderr about a request, if they are wanted.
pub(super) struct Report {
    shown: bool,
    palette: Palette,
}

impl Report {
    pub(super) fn new(shown: bool) -> Report {
        let coloured = output::colours(&io::stderr());
        Report { shown, palette: if coloured { Palette::coloured() } else { Palette::plain() } }
    }

    pub(super) fn request(&self, request: &Request) {
        self.line(&format_args!("> {} {}", request.method(), request.url()));
        for (name, value) in request.headers().iter().filter(|(name, _)| !is_secret(name)) {
            self.line(&format_args!("> {name}: {}", String::from_utf8_lossy(value)));
        }
    }

    pub(super) fn head(&self, head: &ResponseHead) {
        self.line(&format_args!("< HTTP/1.1 {}", head.status));
        for (name, value) in head.headers.iter() {
            self.line(&format_args!("< {name}: {}", String::from_utf8_lossy(value)));
        }
    }

    pub(super) fn end(&self, end: &StreamEnd, size: u64) {
        for (name, value) in end.trailers.iter() {
            self.line(&format_args!("< {name}: {} (trailer)", String::from_utf8_lossy(value)));
        }
        for url in &end.redirects {
            self.line(&format_args!("* redirected by {url}"));
        }
        let phases: Vec<String> = phases(&end.timings)
            .into_iter()
            .filter_map(|(name, time)| {
                time.map(|time| format!("{} {}", name.replace('_', " "), Milliseconds(time)))
            })
            .collect();
        let total = Milliseconds(end.latency);
        self.line(&format_args!("* {}, total {total}, {} bytes", phases.join(", "), output::grouped(size)));
    }

    fn line(&self, text: &dyn fmt::Display) {
        if self.shown {
            let style = self.palette.faint;
            // A closed stderr is ignored.
            let _ = writeln!(writer::stderr(), "{style}{}{style:#}", Escaped(text));
        }
    }
}

/// Whether a header has credentials.
fn is_secret(name: &str) -> bool {
    ["authorization", "proxy-authorization", "cookie"].iter().any(|secret| secret.eq_ignore_ascii_case(name))
}

/// The body on a terminal: text as it is, with its lines, and what the terminal would act on
/// escaped.
pub(super) struct OnTerminal<'a>(pub(super) &'a [u8]);

impl fmt::Display for OnTerminal<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in String::from_utf8_lossy(self.0).chars() {
            match character {
                '\n' | '\t' => write!(f, "{character}")?,
                character if is_unprintable(character) => write!(f, "{}", Escaped(character))?,
                character => write!(f, "{character}")?,
            }
        }
        Ok(())
    }
}

struct Milliseconds(Duration);

impl fmt::Display for Milliseconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1} ms", self.0.as_secs_f64() * 1e3)
    }
}

fn phases(timings: &Timings) -> [(&'static str, Option<Duration>); 6] {
    let Timings { queued, resolve, connect, tls, first_byte, transfer } = *timings;
    [
        ("queued", Some(queued).filter(|queued| !queued.is_zero())),
        ("resolve", resolve),
        ("connect", connect),
        ("tls", tls),
        ("first_byte", Some(first_byte)),
        ("transfer", Some(transfer)),
    ]
}

/// Returns the object of `--json`.
pub(super) fn json(asked: &Url, request: Option<&Request>, received: &Received) -> Value {
    let end = received.end.as_ref().and_then(|end| end.as_ref().ok());
    let milliseconds = |time: Duration| (time.as_secs_f64() * 1e6).round() / 1e3;
    let headers: Option<Vec<(&str, String)>> = received.head.as_ref().map(|head| {
        head.headers.iter().map(|(name, value)| (name, String::from_utf8_lossy(value).into_owned())).collect()
    });
    let mut object = json!({
        "url": end.map_or(asked, |end| &end.url).to_string(),
        "method": request.map(|request| request.method().as_str()),
        "status": received.head.as_ref().map(|head| head.status),
        "headers": headers,
        "size": received.size,
        "body": std::str::from_utf8(&received.body).ok(),
    });
    if let Some(end) = end {
        let mut timings = serde_json::Map::new();
        for (name, time) in phases(&end.timings) {
            timings.insert(name.to_owned(), json!(time.map(milliseconds)));
        }
        timings.insert("total".to_owned(), json!(milliseconds(end.latency)));
        object["redirects"] = json!(end.redirects.iter().map(Url::to_string).collect::<Vec<_>>());
        object["timings_ms"] = timings.into();
    }
    if let Some(Err(why)) = &received.end {
        object["status"] = Value::Null;
        object["error"] = json!(why);
    }
    object
}
