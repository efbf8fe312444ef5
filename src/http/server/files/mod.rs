//! Static files.

mod body;
mod conditions;
mod listing;
mod media_types;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use rustix::io::Errno;

use self::body::FileBody;
use self::conditions::{Conditions, Outcome};
use super::handler::{Reply, Resource, Responder};
use super::path::{decode, encode};
use super::request::Request;
use super::response::Response;
use super::site::http_date;
use crate::files::{self, FileError, FileFault, FileKind, ReadFile};
use crate::{Reactor, escape::Escaped};

/// The files of a directory, as a [`Resource`]. (Twisted: `static.File`.)
///
/// [`Site::files`](super::Site::files) adds it to a site. It answers `GET` and `HEAD` with
/// `Last-Modified`, `ETag`, conditional requests and one range. Files are opened and read on the
/// threads of the reactor for files, one piece ahead.
///
/// Nothing outside of the directory is served, for any path and any symbolic link
/// ([`open_beneath`](crate::files::open_beneath)). Names that begin with a dot are hidden.
///
/// ```
/// use twistor::http::server::{Site, StaticFiles};
///
/// let files = StaticFiles::new("/srv/www").listing(true);
/// let site = Site::new().files("/", files);
/// # drop(site);
/// ```
#[derive(Clone, Debug)]
pub struct StaticFiles {
    root: PathBuf,
    index: String,
    listing: bool,
    hidden: bool,
    cache_control: Option<String>,
}

impl StaticFiles {
    /// Serves the files of this directory.
    pub fn new(root: impl Into<PathBuf>) -> StaticFiles {
        StaticFiles {
            root: root.into(),
            index: "index.html".to_owned(),
            listing: false,
            hidden: false,
            cache_control: None,
        }
    }

    /// Whether a directory without an index file is answered with a page that lists it, and else
    /// with 404. Default: off.
    pub fn listing(mut self, on: bool) -> StaticFiles {
        self.listing = on;
        self
    }

    /// Sets the name of the file that stands for its directory. Default: `index.html`.
    pub fn index(mut self, name: &str) -> StaticFiles {
        name.clone_into(&mut self.index);
        self
    }

    /// Whether names that begin with a dot are served and listed. Default: off.
    pub fn hidden(mut self, on: bool) -> StaticFiles {
        self.hidden = on;
        self
    }

    /// Sets the `Cache-Control` of all files, such as `max-age=3600`. Default: none, so clients ask
    /// again with a conditional request. A value with a control character is ignored.
    pub fn cache_control(mut self, value: &str) -> StaticFiles {
        self.cache_control = value.bytes().all(|byte| !byte.is_ascii_control()).then(|| value.to_owned());
        self
    }

    /// The path of a file below the root. `None`: the path names nothing here.
    fn resolve(&self, path: &str) -> Option<PathBuf> {
        let mut resolved = PathBuf::new();
        for segment in path.split('/').filter(|segment| !segment.is_empty()) {
            let hidden = segment.starts_with('.') && !self.hidden;
            if hidden || matches!(segment, "." | "..") || segment.contains('\0') {
                return None;
            }
            resolved.push(segment);
        }
        Some(resolved)
    }
}

impl Resource for StaticFiles {
    fn handle(&mut self, request: &mut Request<'_>) -> Reply {
        if !matches!(request.method(), "GET" | "HEAD") {
            return Response::of_status(405).header("Allow", "GET, HEAD").into();
        }
        let path = request.parameter("path").unwrap_or_default().to_owned();
        let Some(file) = self.resolve(&path) else { return Response::of_status(404).into() };
        let fetch = Fetch {
            files: self.clone(),
            file,
            url: decode(request.path(), false).map_or_else(String::new, |path| path.into_owned()),
            raw: request.target().to_owned(),
            is_dir: path.is_empty() || path.ends_with('/'),
            conditions: Conditions::of(request),
        };
        let responder = request.responder();
        open(request.reactor(), Rc::new(fetch), responder);
        Reply::Later
    }
}

/// A request for a file.
struct Fetch {
    files: StaticFiles,
    /// Relative to the root.
    file: PathBuf,
    url: String,
    raw: String,
    /// Whether the URL names a directory.
    is_dir: bool,
    conditions: Conditions,
}

type Opened = Result<ReadFile, FileError>;

/// Opens the file, or the index of a directory.
fn open(reactor: &mut Reactor, fetch: Rc<Fetch>, responder: Responder) {
    let file = match fetch.is_dir {
        true => fetch.file.join(&fetch.files.index),
        false => fetch.file.clone(),
    };
    let mut pending = Some((fetch, responder));
    let root = pending.as_ref().map_or_else(PathBuf::new, |(fetch, _)| fetch.files.root.clone());
    let slot = Rc::new(std::cell::RefCell::new(pending.take()));
    let taken = Rc::clone(&slot);
    let started = files::open_beneath(root, file).start(reactor, move |reactor, opened| {
        if let Some((fetch, responder)) = taken.borrow_mut().take() {
            opened_file(reactor, fetch, responder, opened);
        }
    });
    if let Err(error) = started
        && let Some((_, responder)) = slot.borrow_mut().take()
    {
        responder.respond(reactor, failure(&error));
    }
}

fn opened_file(reactor: &mut Reactor, fetch: Rc<Fetch>, responder: Responder, opened: Opened) {
    match opened {
        Ok(file) => send(reactor, &fetch, responder, file),
        Err(error) => match (&error.fault, fetch.is_dir) {
            // The URL of a directory ends with a slash, so that relative links work.
            (FileFault::NotRegular(FileKind::Directory), false) => {
                responder.respond(reactor, redirect(&fetch.raw));
            }
            (_, true) if error.is_not_found() && fetch.files.listing => list(reactor, fetch, responder),
            _ => responder.respond(reactor, failure(&error)),
        },
    }
}

fn redirect(target: &str) -> Response {
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (path, format!("?{query}")),
        None => (target, String::new()),
    };
    // More than one slash at the begin would be another host.
    let location = format!("/{}/{query}", path.trim_start_matches('/'));
    Response::redirect(308, &location).unwrap_or_else(|_| Response::of_status(404))
}

/// Sends an open file, or what the conditions of the request say.
fn send(reactor: &mut Reactor, fetch: &Fetch, responder: Responder, file: ReadFile) {
    let metadata = *file.opened();
    let etag = conditions::etag(&metadata);
    let modified = http_date(metadata.modified);
    let modified = String::from_utf8_lossy(&modified).into_owned();
    let outcome = fetch.conditions.outcome(&metadata, &etag);
    let with_fields = move |mut response: Response, cache_control: Option<&str>| {
        response.push_field("Last-Modified", &modified);
        response.push_field("ETag", &etag);
        response.push_field("Accept-Ranges", "bytes");
        response.push_field("X-Content-Type-Options", "nosniff");
        if let Some(value) = cache_control {
            response.push_field("Cache-Control", value);
        }
        response
    };
    let cache_control = fetch.files.cache_control.clone();
    let (offset, length, status) = match outcome {
        Outcome::Status(status @ (304 | 412)) => {
            let response = with_fields(Response::new(status), cache_control.as_deref());
            return responder.respond(reactor, response);
        }
        Outcome::Status(status) => {
            let mut response = Response::of_status(status);
            response.push_field("Content-Range", &format!("bytes */{}", metadata.length));
            return responder.respond(reactor, response);
        }
        Outcome::Whole => (0, metadata.length, 200),
        Outcome::Range(first, length) => (first, length, 206),
    };
    let media_type = media_types::of_path(file.path());
    let total = metadata.length;
    let finish = move |response: Response| {
        let mut response = with_fields(response.with_status(status), cache_control.as_deref());
        if status == 206 {
            let last = offset + length.saturating_sub(1);
            response.push_field("Content-Range", &format!("bytes {offset}-{last}/{total}"));
        }
        response
    };
    if length > SMALL {
        let response =
            finish(Response::sized_stream(media_type, length, FileBody::new(file, offset, length)));
        return responder.respond(reactor, response);
    }
    // A small file is sent with its head.
    let slot = Rc::new(std::cell::RefCell::new(Some(responder)));
    let taken = Rc::clone(&slot);
    let started = file.read(offset, length as usize).start(reactor, move |reactor, read| {
        let Some(responder) = taken.borrow_mut().take() else { return };
        responder.respond(
            reactor,
            match read {
                // Shorter: it was cut meanwhile, so the fields are not true.
                Ok(data) if data.len() as u64 != length => Response::of_status(500),
                Ok(data) => finish(Response::bytes(media_type, data)),
                Err(error) => failure(&error),
            },
        );
    });
    if let Err(error) = started
        && let Some(responder) = slot.borrow_mut().take()
    {
        responder.respond(reactor, failure(&error));
    }
}

fn list(reactor: &mut Reactor, fetch: Rc<Fetch>, responder: Responder) {
    let slot = Rc::new(std::cell::RefCell::new(Some(responder)));
    let taken = Rc::clone(&slot);
    let (root, dir) = (fetch.files.root.clone(), fetch.file.clone());
    let dir = if dir.as_os_str().is_empty() { PathBuf::from(".") } else { dir };
    let started = files::list_beneath(root, dir).start(reactor, move |reactor, listed| {
        let Some(responder) = taken.borrow_mut().take() else { return };
        let response = match listed {
            Ok(mut entries) => {
                entries.retain(|(entry, _)| {
                    fetch.files.hidden || !entry.name.as_encoded_bytes().starts_with(b".")
                });
                listing::page(&fetch.url, &entries)
            }
            Err(error) => failure(&error),
        };
        responder.respond(reactor, response);
    });
    if let Err(error) = started
        && let Some(responder) = slot.borrow_mut().take()
    {
        responder.respond(reactor, failure(&error));
    }
}

/// The response to a failed operation.
fn failure(error: &FileError) -> Response {
    let status = match &error.fault {
        FileFault::System { source, .. } => match source.kind() {
            io::ErrorKind::NotFound => 404,
            io::ErrorKind::PermissionDenied => 403,
            _ => match Errno::from_io_error(source) {
                // A path through a file, a link that leads out or around, a name that cannot be.
                Some(Errno::NOTDIR | Errno::XDEV | Errno::LOOP | Errno::NAMETOOLONG | Errno::INVAL) => 404,
                Some(Errno::MFILE | Errno::NFILE) => 503,
                _ => 500,
            },
        },
        FileFault::NotRegular(_) | FileFault::Symlink => 404,
        FileFault::QueueFull { .. } | FileFault::Stopped => 503,
        _ => 500,
    };
    if status >= 500 {
        log::warn!(target: "twistor::http::server", "a file cannot be served: {}", Escaped(error));
    }
    Response::of_status(status)
}

/// Percent-encodes a name for a relative link.
fn link(name: &Path) -> String {
    encode(name.as_os_str().as_encoded_bytes())
}

/// Files up to this length are read at once.
const SMALL: u64 = 64 * 1024;

impl fmt::Debug for Fetch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fetch").field("file", &self.file).finish_non_exhaustive()
    }
}
