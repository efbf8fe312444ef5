//! UNIX sockets: their files, and the descriptors that travel over them.

pub(super) mod fd_passing;
pub(super) mod socket_file;
mod stale_socket;
