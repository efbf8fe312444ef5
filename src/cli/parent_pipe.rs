//! What a process of several has to do with the one that started it: lines come on its standard input, and when that
//! ends, the other is gone, however that came.

use crate::cli::Failure;
use crate::{Protocol, Reactor, Reason, Transport};
use std::ffi::OsString;

/// The other end of a child's standard input.
struct Lifeline<L, E> {
    /// A line that is not whole yet.
    rest: Vec<u8>,
    line: L,
    end: E,
}

/// Calls `line` for each line that the process says which started this one, and `end` when it is gone.
pub(in crate::cli) fn hold(
    reactor: &mut Reactor,
    line: impl FnMut(&mut Reactor, &str) + 'static,
    end: impl FnMut(&mut Reactor) + 'static,
) -> Result<(), Failure> {
    reactor.standard_streams(Lifeline { rest: Vec::new(), line, end })?;
    Ok(())
}

impl<L, E> Protocol for Lifeline<L, E>
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
        // Cleanly, or because the reactor stops, it ends from here.
        if matches!(reason, Reason::Lost(_)) {
            (self.end)(transport.reactor());
        }
    }
}

/// The lines that are whole with these bytes; what is left of them waits.
pub(in crate::cli) fn whole_lines(rest: &mut Vec<u8>, data: &[u8]) -> Vec<String> {
    rest.extend_from_slice(data);
    let Some(last) = rest.iter().rposition(|byte| *byte == b'\n') else { return Vec::new() };
    let whole: Vec<u8> = rest.drain(..=last).collect();
    String::from_utf8_lossy(&whole).lines().map(str::to_owned).collect()
}

/// The arguments of this process for another one like it, with these after the name of the command.
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
