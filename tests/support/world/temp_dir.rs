//! A folder for temporary files whose path leaves room for the name of a UNIX socket.

use std::env;
use std::path::PathBuf;

/// The system's folder for temporary files, or `/tmp` where the path of that is long: the address of a UNIX socket has
/// room for 107 bytes.
pub fn short_temp_dir() -> PathBuf {
    let usual = env::temp_dir();
    if usual.as_os_str().len() <= 50 { usual } else { PathBuf::from("/tmp") }
}
