//! Datagrams over UDP and UNIX sockets.

mod udp;
mod unix;

use crate::net::conformance::sum;

/// The number of cases.
pub(super) const CASES: usize = sum(&[udp::TRANSCRIPTS, udp::ROWS, unix::TRANSCRIPTS, unix::ROWS]);
