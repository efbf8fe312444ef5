//! A network monitor: connections that are held open, whose loss is the event, and timed probes.
//!
//! [`Monitor`] watches [`Target`]s from a [`Reactor`](crate::Reactor) and tells a [`Reporter`]:
//! [`TextReporter`] for people, [`Json`] for machines, [`LiveTable`] for a terminal, or one's own. It writes
//! nowhere and reads no clock but the reactor's, so it runs on a simulated network as it is.
//!
//! ```no_run
//! use twistor::Reactor;
//! use twistor::monitor::{Json, Monitor, Settings};
//!
//! let mut reactor = Reactor::new()?;
//! let targets = vec!["hold://127.0.0.1:22".parse()?, "tcp://localhost:80".parse()?];
//! Monitor::start(&mut reactor, targets, Settings::default(), Json::new(std::io::stdout()));
//! reactor.run()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Reading order: [`Target`]; [`TargetTracker`], the state of one target, with [`DownCause`] and [`History`];
//! [`Schedule`](crate::report::Schedule) and [`Backoff`], which say when; [`Monitor`] with its [`Settings`]; [`Reporter`] and
//! those who implement it; [`report`](crate::report), which says how things look.

mod backoff;
mod cause;
mod grid;
mod json;
mod lines;
mod page;
mod probe;
mod recent;
mod reporter;
mod settings;
mod sparkline;
mod target;
mod track;
mod view;
mod watching;

pub use backoff::Backoff;
pub use cause::DownCause;
pub use json::Json;
pub use lines::TextReporter;
pub use page::{LiveTable, Screen, Size};
pub use recent::{History, Sample};
pub use reporter::{Event, Reporter, Row, Summary};
pub use settings::Settings;
pub use target::{Kind, Target, TargetError};
pub use track::{Change, Retry, State, TargetSummary, TargetTracker};
pub use view::View;
pub use watching::Monitor;
