//! Opening of connections: the factory of each, and the handling of failed attempts.

use super::Run;
use crate::load::config::Workload;
use crate::load::sender::{Churning, Echoing};
use crate::{BuildContext, ClientFactory, Connector, Factory, Instant, Protocol, Reason};
use std::rc::Rc;

/// The factory of one connection.
pub(in crate::load) struct Opening {
    pub(in crate::load) run: Rc<Run>,
    /// The connection's number, from 0.
    pub(in crate::load) number: u64,
    /// Time at which the connection was due or started.
    pub(in crate::load) due: Instant,
}

impl Factory for Opening {
    fn build_protocol(&mut self, _: &mut BuildContext<'_>) -> Option<Box<dyn Protocol>> {
        let run = Rc::clone(&self.run);
        Some(match run.config.work {
            Workload::Echo | Workload::Hold { .. } => Box::new(Echoing::new(run, self.number)),
            Workload::Churn => Box::new(Churning::new(run, self.number, self.due)),
        })
    }
}

impl ClientFactory for Opening {
    fn client_connection_failed(&mut self, connector: &mut Connector<'_>, reason: &Reason) {
        self.run.not_connected(connector.reactor(), self.number, reason);
    }

    // The protocol has reported the loss.
    fn client_connection_lost(&mut self, _: &mut Connector<'_>, _: &Reason) {}
}
