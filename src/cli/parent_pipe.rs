//! The pipe from a parent process: lines arrive on standard input, and its end means that the
//! parent is gone, even if the parent was killed.

use crate::cli::Failure;
use crate::{Protocol, Reactor, Reason, Transport};
use std::ffi::OsString;

/// The protocol of a child's standard input.
struct ParentPipe<L, E> {
    /// The start of an incomplete line.
    rest: Vec<u8>,
    line: L,
    end: E,
}

/// Calls `line` for each line that the parent sends, and `end` when the parent is gone.
pub(in crate::cli) fn hold(
    reactor: &mut Reactor,
    line: impl FnMut(&mut Reactor, &str) + 'static,
    end: impl FnMut(&mut Reactor) + 'static,
) -> Result<(), Failure> {
    reactor.standard_streams(ParentPipe { rest: Vec::new(), line, end })?;
    Ok(())
}

impl<L, E> Protocol for ParentPipe<L, E>
where
    L: FnMut(&mut Reactor, &str) + 'static,
    E: FnMut(&mut Reactor) + 'static,
{
    fn data_received(&mut self, transport: &mut Transport<'_>, data: &[u8]) {
        for line in whole_lines(&mut self.rest, data) {
            (self.line)(transport.reactor(), &line);
        }
    }

    fn read_connection_lost(&mut self, transport: &mut Transport<'_>) {
        (self.end)(transport.reactor());
    }

    fn connection_lost(&mut self, transport: &mut Transport<'_>, reason: &Reason) {
        // Other reasons mean that this process closed it, or that its reactor stops.
        if matches!(reason, Reason::Lost(_)) {
            (self.end)(transport.reactor());
        }
    }
}

/// Appends data and returns the complete lines; an incomplete one stays in `rest`.
pub(in crate::cli) fn whole_lines(rest: &mut Vec<u8>, data: &[u8]) -> Vec<String> {
    rest.extend_from_slice(data);
    let Some(last) = rest.iter().rposition(|byte| *byte == b'\n') else { return Vec::new() };
    let whole: Vec<u8> = rest.drain(..=last).collect();
    String::from_utf8_lossy(&whole).lines().map(str::to_owned).collect()
}

/// Returns the arguments of this process for a child, with `more` after the command's name.
pub(in crate::cli) fn arguments_with(more: impl IntoIterator<Item = String>) -> Vec<OsString> {
    let mut own = std::env::args_os().skip(1);
    own.next().into_iter().chain(more.into_iter().map(OsString::from)).chain(own).collect()
}

#[cfg(test)]
mod tests {
    use super::whole_lines;

    #[test]
    fn lines_are_whole_however_they_are_cut() {
        let mut rest = Vec::new();
        assert_eq!(whole_lines(&mut rest, b"on"), [""; 0]);
        assert_eq!(whole_lines(&mut rest, b"e\ntwo\nth"), ["one", "two"]);
        assert_eq!(whole_lines(&mut rest, b"ree\n"), ["three"]);
        assert_eq!(rest, b"");
    }
}
