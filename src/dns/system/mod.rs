//! The system's configuration of name look-ups: [`ResolvConf`], [`Hosts`], [`NameServiceSwitch`],
//! and [`SystemConfig`], which holds the three and tracks changes of their files.
//!
//! The parsers take bytes, and read no file themselves. They accept any input, in linear time.
//! Malformed lines are skipped, and reported as [`SkippedLine`]s.
//!
//! ```
//! use twistor::dns::system::{ResolvConf, no_interfaces};
//!
//! let conf = ResolvConf::parse(b"nameserver 192.0.2.53\nsearch example.org\n", no_interfaces);
//! assert_eq!(conf.servers, ["192.0.2.53:53".parse().unwrap()]);
//! let candidates: Vec<String> = conf.candidates("www").collect();
//! assert_eq!(candidates, ["www.example.org", "www"]);
//! ```

mod hosts;
mod line;
mod nsswitch;
mod resolv_conf;
mod system_config;

pub use hosts::Hosts;
pub use line::{SkippedLine, no_interfaces};
pub use nsswitch::{NameServiceSwitch, NameSource, SystemReason};
pub use resolv_conf::ResolvConf;
pub use system_config::{ConfigFile, FileStamp, SystemConfig};
