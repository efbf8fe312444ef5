//! The effect of a result on the state of its target.

use super::DownCause;
use std::time::{Duration, SystemTime};

/// The effect of a result on the state of its target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Change {
    /// The target became up.
    Up {
        /// Duration of connecting.
        took: Duration,
        /// How long the target was down before; `None` for the first result, and if it was unknown
        /// before.
        down_for: Option<Duration>,
        /// How long the target was unknown for a local reason; `None` if it was not.
        unknown_for: Option<Duration>,
    },
    /// The target is still up.
    StillUp {
        /// Duration of connecting; `None` when a held connection is still open.
        took: Option<Duration>,
        /// How long the target has been up.
        up_for: Duration,
    },
    /// The target is still up: its peer closed the held connection, and a new one has lasted for a
    /// second.
    Reconnected {
        /// How long the previous connection lasted.
        after: Duration,
        /// Whether no data was received on the previous connection.
        idle: bool,
        /// Time between the close and the new connection.
        gap: Duration,
        /// Duration of connecting.
        took: Duration,
        /// Number of reconnects, this one included.
        count: u32,
    },
    /// The target became down.
    Down {
        /// The cause.
        cause: DownCause,
        /// Duration of the attempt; `None` when a held connection was lost.
        took: Option<Duration>,
        /// How long the target was up; `None` for the first result, and if it was unknown before.
        up_for: Option<Duration>,
        /// How long the target was unknown for a local reason; `None` if it was not.
        unknown_for: Option<Duration>,
    },
    /// The target is still down.
    StillDown {
        /// The cause.
        cause: DownCause,
        /// Whether the cause differs from the last one.
        new_cause: bool,
        /// Duration of the attempt; `None` if there was no attempt.
        took: Option<Duration>,
        /// How long the target has been down.
        down_for: Duration,
    },
    /// The target became unknown, for a local reason.
    Unknown {
        /// The cause.
        cause: DownCause,
        /// Duration of the attempt; `None` if there was no attempt.
        took: Option<Duration>,
        /// How long the target was up before; `None` if it was not up.
        up_for: Option<Duration>,
        /// How long the target was down before; `None` if it was not down.
        down_for: Option<Duration>,
    },
    /// The target is still unknown.
    StillUnknown {
        /// The cause.
        cause: DownCause,
        /// Duration of the attempt; `None` if there was no attempt.
        took: Option<Duration>,
        /// How long the target has been unknown.
        unknown_for: Duration,
    },
    /// The target is up, and its certificate expires within
    /// [`certificate_warning`](crate::monitor::MonitorSettings::certificate_warning).
    CertificateExpires {
        /// Number of whole days left. Negative after the end.
        days: i64,
        /// The end of the certificate's validity.
        not_after: SystemTime,
    },
}

impl Change {
    /// Whether this is a warning about the target's certificate. The state is unchanged.
    pub fn is_warning(&self) -> bool {
        matches!(self, Change::CertificateExpires { .. })
    }

    /// Whether the target is up after this change.
    pub fn is_up(&self) -> bool {
        matches!(
            self,
            Change::Up { .. }
                | Change::StillUp { .. }
                | Change::Reconnected { .. }
                | Change::CertificateExpires { .. }
        )
    }

    /// Whether the target is unknown after this change.
    pub fn is_unknown(&self) -> bool {
        matches!(self, Change::Unknown { .. } | Change::StillUnknown { .. })
    }

    /// Whether this is more than a repetition: a first result, a new state, a new cause of being
    /// down, or the first reconnection.
    pub(in crate::monitor) fn is_news(&self) -> bool {
        match self {
            Change::Up { .. }
            | Change::Down { .. }
            | Change::Unknown { .. }
            | Change::CertificateExpires { .. } => true,
            Change::StillDown { new_cause, .. } => *new_cause,
            Change::Reconnected { count, .. } => *count == 1,
            Change::StillUp { .. } | Change::StillUnknown { .. } => false,
        }
    }
}
