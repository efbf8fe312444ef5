//! A network monitor: held connections, whose loss is reported, and timed probes.
//!
//! [`Monitor`] watches [`Target`]s from a [`Reactor`](crate::Reactor) and reports to a
//! [`Reporter`]: [`TextReporter`](crate::report::TextReporter) for people,
//! [`JsonReporter`](crate::report::JsonReporter) for machines, [`LiveTable`] for a terminal, or a
//! custom one. It performs no output of its own and reads only the reactor's clock, so it also runs
//! on a simulated network.
//!
//! ```no_run
//! use twistor::Reactor;
//! use twistor::monitor::{Monitor, MonitorSettings};
//! use twistor::report::JsonReporter;
//!
//! let mut reactor = Reactor::new()?;
//! let targets = vec!["hold://127.0.0.1:22".parse()?, "tcp://localhost:80".parse()?];
//! let reporter = JsonReporter::new(std::io::stdout());
//! Monitor::start(&mut reactor, targets, MonitorSettings::default(), reporter);
//! reactor.run()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Reading order: [`Target`]; [`Monitor`] with its [`MonitorSettings`]; [`Reporter`], its
//! [`Event`]s and [`Summary`], and its implementors; [`TargetState`] with [`DownCause`] and
//! [`History`]; [`report`](crate::report) for the presentation.

mod cause;
mod grid;
mod json;
#[expect(clippy::module_inception, reason = "the noun of the module")]
mod monitor;
mod page;
mod probe;
mod recent;
mod reporter;
mod settings;
mod sparkline;
mod target;
mod text;
mod tls_facts;
mod track;
mod view;

pub use cause::DownCause;
pub use monitor::Monitor;
pub use page::{LiveTable, Screen};
pub use recent::{History, Sample};
pub use reporter::{Event, Reporter, Row, Summary};
pub use settings::MonitorSettings;
pub use target::{Target, TargetError, TargetKind};
pub use tls_facts::TlsFacts;
pub use track::{Change, TargetState, TargetSummary};
pub use view::View;
