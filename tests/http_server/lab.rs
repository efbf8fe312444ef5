//! A site on a reactor in memory, and its clients.

use std::time::Duration;

use twistor::Settings;
use twistor::http::server::{Site, SiteLimits, SiteStatistics};
use twistor::testing::{MemoryReactor, Peer};

pub(crate) struct Lab {
    pub(crate) memory: MemoryReactor,
    pub(crate) statistics: SiteStatistics,
}

const PLACE: ([u8; 4], u16) = ([192, 0, 2, 1], 80);

impl Lab {
    pub(crate) fn new(site: Site) -> Lab {
        Lab::with_settings(Settings::default(), site)
    }

    pub(crate) fn with_settings(settings: Settings, site: Site) -> Lab {
        let mut memory = MemoryReactor::with_settings(settings);
        let statistics = site.statistics();
        memory.reactor().listen_tcp("192.0.2.1:80", site).unwrap();
        Lab { memory, statistics }
    }

    pub(crate) fn connect(&mut self) -> Peer {
        self.memory.connect(PLACE)
    }

    pub(crate) fn seconds(&mut self, seconds: u64) {
        self.memory.advance(Duration::from_secs(seconds));
    }

    /// The unsent bytes of the newest connection.
    pub(crate) fn unsent(&mut self) -> usize {
        let mut reactor = self.memory.reactor();
        let newest = *reactor.connections().last().unwrap();
        reactor.transport(newest).unwrap().write_buffer_size()
    }

    /// Sends bytes on a new connection. Returns the response, and whether the connection is open.
    pub(crate) fn ask(&mut self, request: impl AsRef<[u8]>) -> (String, bool) {
        let mut peer = self.connect();
        peer.feed(request.as_ref());
        (text(&mut peer), peer.end().is_none())
    }
}

/// What was received, without the dates.
pub(crate) fn text(peer: &mut Peer) -> String {
    undated(&peer.take())
}

pub(crate) fn undated(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let lines = text.split_inclusive("\r\n").filter(|line| !line.starts_with("Date: "));
    lines.collect()
}

/// The status of each response.
pub(crate) fn statuses(text: &str) -> Vec<u16> {
    let starts = text.match_indices("HTTP/1.1 ").map(|(at, start)| at + start.len());
    starts.map(|at| text[at..at + 3].parse().unwrap()).collect()
}

pub(crate) fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")
}

pub(crate) fn with_limits(limits: SiteLimits) -> Site {
    Site::new().limits(limits)
}
