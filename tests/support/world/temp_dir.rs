//! A folder for temporary files with a path short enough for UNIX sockets.

use std::env;
use std::path::PathBuf;

/// Returns the system's temporary folder, or `/tmp` if its path is long: the address of a UNIX
/// socket has room for 107 bytes.
pub fn short_temp_dir() -> PathBuf {
    let usual = env::temp_dir();
    if usual.as_os_str().len() <= 50 { usual } else { PathBuf::from("/tmp") }
}
