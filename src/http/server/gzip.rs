//! Compression of text (RFC 9110, 8.4.1.3), with the feature `gzip`.

use super::head::Head;
use super::response::Response;

/// Whether the client accepts gzip (RFC 9110, 12.5.3).
pub(super) fn accepted(head: &Head<'_>) -> bool {
    let Some(value) = head.field("Accept-Encoding") else { return false };
    let mut any = false;
    for item in value.split(|byte| *byte == b',') {
        let mut parts = item.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
        let coding = parts.next().unwrap_or_default();
        let refused = parts.any(|parameter| {
            let weight = parameter.strip_prefix(b"q=").or_else(|| parameter.strip_prefix(b"Q="));
            weight.is_some_and(|weight| weight.iter().all(|byte| matches!(byte, b'0' | b'.')))
        });
        match coding {
            _ if coding.eq_ignore_ascii_case(b"gzip") => return !refused,
            b"*" => any = !refused,
            _ => {}
        }
    }
    any
}

/// Compresses a body of text, if that makes it shorter.
#[cfg(feature = "gzip")]
pub(super) fn compress(response: &mut Response) {
    use super::response::{Body, has_no_body};
    use std::borrow::Cow;

    if !is_text(&response.content_type) || has_no_body(response.status) || response.status == 206 {
        return;
    }
    let Body::Bytes(bytes) = &response.body else { return };
    if !(MIN_LENGTH..=MAX_LENGTH).contains(&bytes.len()) {
        return;
    }
    let compressed = compressed(bytes);
    let shorter = compressed.len() < bytes.len();
    response.push_field("Vary", "Accept-Encoding");
    if shorter {
        response.push_field("Content-Encoding", "gzip");
        response.body = Body::Bytes(Cow::Owned(compressed));
    }
}

#[cfg(not(feature = "gzip"))]
pub(super) fn compress(_: &mut Response) {}

#[cfg(feature = "gzip")]
fn compressed(bytes: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let room = Vec::with_capacity(bytes.len() / 2);
    let mut encoder = flate2::write::GzEncoder::new(room, flate2::Compression::fast());
    match encoder.write_all(bytes).and_then(|()| encoder.finish()) {
        Ok(compressed) => compressed,
        // A vector takes everything.
        Err(_) => bytes.to_vec(),
    }
}

/// Whether a media type is text, which compression makes shorter.
#[cfg(feature = "gzip")]
fn is_text(content_type: &str) -> bool {
    let media_type = content_type.split(';').next().unwrap_or_default().trim_ascii();
    (media_type.starts_with("text/") && media_type != "text/event-stream")
        || media_type.ends_with("+xml")
        || media_type.ends_with("json")
        || matches!(media_type, "application/javascript" | "application/xml" | "application/wasm")
}

/// Shorter bodies fit into one packet anyhow.
#[cfg(feature = "gzip")]
const MIN_LENGTH: usize = 1024;

/// Longer bodies would keep the loop busy: this takes about a millisecond.
#[cfg(feature = "gzip")]
const MAX_LENGTH: usize = 128 * 1024;
