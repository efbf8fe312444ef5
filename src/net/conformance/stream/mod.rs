//! Connections: how they are made, transfer bytes, and end.

mod closing;
mod connecting;
mod listening;
mod options;
mod readiness;
mod resetting;
mod tokens;
mod transfer;
mod unix;

use crate::net::conformance::sum;

/// The number of cases.
pub(super) const CASES: usize = sum(&[
    closing::TRANSCRIPTS,
    closing::ROWS,
    connecting::TRANSCRIPTS,
    connecting::ROWS,
    listening::TRANSCRIPTS,
    listening::ROWS,
    options::ROWS,
    readiness::TRANSCRIPTS,
    readiness::ROWS,
    resetting::TRANSCRIPTS,
    resetting::ROWS,
    tokens::TRANSCRIPTS,
    tokens::ROWS,
    transfer::TRANSCRIPTS,
    transfer::ROWS,
    unix::TRANSCRIPTS,
    unix::ROWS,
]);
