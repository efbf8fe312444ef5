//! Text of observed results: the same for every driver and every port number.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::io::Errno;

use crate::net::UnixAddress;

/// The kind of an error. The contract says which errors have a system error number; deviations are
/// visible.
pub(in crate::net::conformance) fn error(error: &io::Error) -> String {
    let kind = format!("{:?}", error.kind());
    match (error.raw_os_error(), error.kind()) {
        // The driver interface's own error for an unknown token.
        (None, io::ErrorKind::NotFound) => kind,
        (None, _) => format!("{kind} without a number"),
        (Some(number), _) if number == Errno::AFNOSUPPORT.raw_os_error() => {
            "AddressFamilyNotSupported".to_owned()
        }
        (Some(number), _) if kind == "Uncategorized" => format!("errno {number}"),
        (Some(_), io::ErrorKind::NotFound) => format!("{kind} of the system"),
        (Some(_), _) => kind,
    }
}

/// The result of a call that moves bytes.
pub(in crate::net::conformance) fn bytes(data: &[u8]) -> String {
    match std::str::from_utf8(data) {
        Ok(text) if text.len() <= 64 => format!("{text:?}"),
        _ => format!("{} bytes", data.len()),
    }
}

/// The result of a call without a value.
pub(in crate::net::conformance) fn done(result: io::Result<()>) -> String {
    result.map_or_else(|failed| error(&failed), |()| "ok".to_owned())
}

/// Addresses of UNIX sockets, unique to the case: paths in a temporary directory, and abstract
/// names.
#[derive(Default)]
pub(in crate::net::conformance) struct Names {
    folder: Option<PathBuf>,
}

impl Names {
    /// Reads `/name` or `@name`.
    pub(in crate::net::conformance) fn read(&mut self, text: &str) -> UnixAddress {
        static CASES: AtomicU32 = AtomicU32::new(0);
        let folder = self.folder.get_or_insert_with(|| {
            // A UNIX address has at most 107 bytes.
            let usual = std::env::temp_dir();
            let short = if usual.as_os_str().len() <= 50 { usual } else { PathBuf::from("/tmp") };
            loop {
                let number = CASES.fetch_add(1, Ordering::Relaxed);
                let folder = short.join(format!("twistor-{}-{number}", std::process::id()));
                match std::fs::create_dir(&folder) {
                    Ok(()) => return folder,
                    // Left behind by a killed process with the same process ID.
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                    Err(error) => panic!("{}: {error}", folder.display()),
                }
            }
        });
        let name = match text.strip_prefix('/') {
            Some(name) => UnixAddress::of_path(folder.join(name)),
            None => UnixAddress::of_abstract(format!("{}{text}", folder.display())),
        };
        name.expect("a name")
    }

    /// Formats an address as [`read`](Names::read) takes it.
    pub(in crate::net::conformance) fn show(&self, address: &UnixAddress) -> String {
        let text = address.to_string();
        let folder = self.folder.as_ref().map_or(String::new(), |folder| folder.display().to_string());
        let text = text.strip_prefix('@').unwrap_or(&text);
        text.strip_prefix(&folder).unwrap_or(text).to_owned()
    }
}

impl Drop for Names {
    fn drop(&mut self) {
        if let Some(folder) = &self.folder {
            // The result does not matter: the directory is temporary.
            let _ = std::fs::remove_dir_all(folder);
        }
    }
}

/// Ports, by the names of their sockets.
#[derive(Default)]
pub(in crate::net::conformance) struct Ports {
    known: Vec<(String, u16)>,
}

impl Ports {
    /// Records a socket's port. The first name of a port stays, which shows that a second socket
    /// was bound to it.
    pub(in crate::net::conformance) fn learn(&mut self, name: &str, port: u16) {
        if port == 0 || self.known.iter().any(|(_, known)| *known == port) {
            return;
        }
        self.known.retain(|(known, _)| known != name);
        self.known.push((name.to_owned(), port));
    }

    /// Formats `address:port` with the port's name.
    pub(in crate::net::conformance) fn show(&self, address: SocketAddr) -> String {
        let host = if address.is_ipv6() { format!("[{}]", address.ip()) } else { address.ip().to_string() };
        match (address.port(), self.known.iter().find(|(_, port)| *port == address.port())) {
            (0, _) => format!("{host}:0"),
            (_, Some((name, _))) => format!("{host}:{name}"),
            (_, None) => format!("{host}:unknown"),
        }
    }

    /// Reads the format of [`show`](Ports::show), and port numbers.
    pub(in crate::net::conformance) fn read(&self, text: &str) -> SocketAddr {
        let (host, port) = text.rsplit_once(':').expect("address:port");
        let named = || self.known.iter().find(|(name, _)| name == port).map(|(_, port)| *port);
        let port = port.parse().ok().or_else(named).unwrap_or_else(|| panic!("no socket has port {port}"));
        let host = host.trim_start_matches('[').trim_end_matches(']');
        SocketAddr::new(host.parse().expect("an IP address"), port)
    }
}

#[test]
fn a_folder_that_was_left_behind_is_passed_over() {
    let folder = |names: &mut Names| {
        names.read("/name");
        names.folder.clone().expect("it was read")
    };
    let mut first = Names::default();
    let taken = folder(&mut first);
    let (start, number) = taken.to_str().and_then(|path| path.rsplit_once('-')).expect("a number at its end");
    let number: u32 = number.parse().expect("a number");
    let left: Vec<PathBuf> = (1..=20).map(|more| format!("{start}-{}", number + more).into()).collect();
    // Concurrent cases may have created some of them.
    let made: Vec<&PathBuf> = left.iter().filter(|path| std::fs::create_dir(path).is_ok()).collect();
    let mut next = Names::default();
    let path = folder(&mut next);
    made.iter().for_each(|path| std::fs::remove_dir(path).expect("an empty folder"));
    assert!(!made.contains(&&path), "{path:?}");
}
