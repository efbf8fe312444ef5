//! The page that lists a directory.

use std::fmt::Write;
use std::path::Path;

use super::super::escape_html;
use super::super::response::Response;
use super::super::site::http_date;
use crate::escape::Escaped;
use crate::files::{DirEntry, FileKind, Metadata};

/// Lists the entries of a directory: directories first, by name.
pub(super) fn page(url: &str, entries: &[(DirEntry, Metadata)]) -> Response {
    let title = escape_html(&Escaped(url).to_string());
    let mut html = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>\n<table>\n\
         <thead><tr><th>Name<th>Size<th>Changed</tr></thead>\n<tbody>\n"
    );
    if url != "/" {
        html.push_str("<tr class=\"up\"><td><a href=\"../\">..</a><td><td></tr>\n");
    }
    let is_dir = |entry: &DirEntry| entry.kind == FileKind::Directory;
    let dirs = entries.iter().filter(|(entry, _)| is_dir(entry));
    let files = entries.iter().filter(|(entry, _)| !is_dir(entry));
    for (entry, metadata) in dirs.chain(files) {
        push_row(&mut html, entry, metadata);
    }
    html.push_str("</tbody>\n</table>\n");
    if entries.is_empty() {
        html.push_str("<p>This directory is empty.</p>\n");
    }
    html.push_str("</body>\n</html>\n");
    let mut response = Response::html(html);
    response.push_field("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'");
    response.push_field("Cache-Control", "no-cache");
    response
}

fn push_row(html: &mut String, entry: &DirEntry, metadata: &Metadata) {
    let slash = if entry.kind == FileKind::Directory { "/" } else { "" };
    let href = super::link(Path::new(&entry.name));
    let name = escape_html(&Escaped(entry.name.to_string_lossy()).to_string());
    let size = match entry.kind {
        FileKind::Regular => human_size(metadata.length),
        FileKind::Symlink => "link".to_owned(),
        _ => String::new(),
    };
    let date = http_date(metadata.modified);
    let date = String::from_utf8_lossy(&date);
    // "06 Nov 1994 08:49", from "Sun, 06 Nov 1994 08:49:37 GMT".
    let date = date.get(5..22).unwrap_or_default();
    // `./` keeps a name with a colon from being a scheme.
    let _ = writeln!(
        html,
        "<tr><td><a href=\"./{href}{slash}\">{name}{slash}</a><td>{size}<td><time>{date}</time></tr>"
    );
}

/// A size in units of 1024 bytes.
fn human_size(bytes: u64) -> String {
    let mut size = bytes as f64;
    for unit in ["B", "KiB", "MiB", "GiB", "TiB"] {
        if size < 1024.0 {
            return match unit {
                "B" => format!("{bytes} B"),
                unit => format!("{size:.1} {unit}"),
            };
        }
        size /= 1024.0;
    }
    format!("{size:.1} PiB")
}

const STYLE: &str = "\
:root{color-scheme:light dark;--line:#8884;--quiet:#777}\
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}\
h1{font-size:1.3rem;font-weight:600;overflow-wrap:anywhere}\
table{border-collapse:collapse;width:100%}\
th{text-align:left;font-weight:500;color:var(--quiet);font-size:.85rem}\
th,td{padding:.35rem .75rem .35rem 0;border-bottom:1px solid var(--line)}\
td:first-child{overflow-wrap:anywhere}\
td:nth-child(2),th:nth-child(2){text-align:right;white-space:nowrap}\
td:nth-child(n+2){color:var(--quiet);font-variant-numeric:tabular-nums;white-space:nowrap}\
tbody tr:hover{background:#8881}\
a{text-decoration:none}a:hover{text-decoration:underline}\
@media(max-width:32rem){td:nth-child(3),th:nth-child(3){display:none}}";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_short() {
        for (bytes, shown) in [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (5 << 20, "5.0 MiB")] {
            assert_eq!(human_size(bytes), shown);
        }
    }
}
