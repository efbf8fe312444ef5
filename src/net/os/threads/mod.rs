//! Threads for what blocks: jobs, and host name look-ups.

mod pool;
mod resolver;
mod system_resolver;

pub(super) use self::pool::{Pool, Requeue};
pub(crate) use self::resolver::LookUp;
pub(super) use self::resolver::Resolver;
pub(crate) use self::system_resolver::look_up as system_look_up;
