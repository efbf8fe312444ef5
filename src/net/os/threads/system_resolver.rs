//! The system's resolver: `getaddrinfo`, which blocks.

use std::fs::File;
use std::io;
use std::net::SocketAddr;

use dns_lookup::{AddrInfoHints, LookupError, LookupErrorKind, SockType, getaddrinfo};

use crate::net::NameError;

/// Returns the addresses of a host name, in the system's order, with port 0. Blocks until the
/// system answers or gives up.
///
/// Address families that this machine has no address of are included (no `AI_ADDRCONFIG`). With
/// that flag, glibc hides the `::1` of `localhost` on a machine whose only IPv6 address is
/// loopback. A connect to an address without a route fails at once, and does not delay the others.
pub(crate) fn look_up(host: &str) -> Result<Vec<SocketAddr>, NameError> {
    let hints = AddrInfoHints { socktype: SockType::Stream.into(), ..AddrInfoHints::default() };
    let found = getaddrinfo(Some(host), None, Some(hints)).map_err(name_error)?;
    // Entries of other families cannot be connected to.
    Ok(found.filter_map(|entry| entry.ok().map(|entry| entry.sockaddr)).collect())
}

fn name_error(error: LookupError) -> NameError {
    use LookupErrorKind as Kind;
    match error.kind() {
        // The text of EAI_SYSTEM has the error number.
        Kind::Again | Kind::Memory | Kind::System => NameError::Failed(error.to_string()),
        // glibc also reports an unknown name when it could open neither /etc/hosts nor a socket.
        _ => match File::open("/dev/null") {
            Err(failed) if out_of_descriptors(&failed) => NameError::Failed(failed.to_string()),
            _ => NameError::NotFound(error.to_string()),
        },
    }
}

fn out_of_descriptors(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let limits = [Errno::MFILE, Errno::NFILE].map(Errno::raw_os_error);
    error.raw_os_error().is_some_and(|code| limits.contains(&code))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// EAI numbers are negative in glibc and musl, positive elsewhere.
    #[cfg(target_os = "linux")]
    #[test]
    fn only_an_answer_of_the_resolver_means_no_address() {
        for (number, answered) in [
            (-2, true),   // EAI_NONAME
            (-5, true),   // EAI_NODATA
            (-4, true),   // EAI_FAIL
            (-3, false),  // EAI_AGAIN
            (-10, false), // EAI_MEMORY
            (-11, false), // EAI_SYSTEM
        ] {
            let error = name_error(LookupError::new(number));
            assert_eq!(matches!(error, NameError::NotFound(_)), answered, "{number}: {error:?}");
        }
    }
}
