//! The descriptors that this process may have.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// As many as the system lets this process have; how many that are. Where that fails, the connections will tell.
pub(super) fn raise_limit() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
    self::limit()
}

/// How many that are now.
pub(super) fn limit() -> usize {
    getrlimit(Resource::Nofile)
        .current
        .map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX))
}
