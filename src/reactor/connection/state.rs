//! The life of a connection: a table of states and events, without a reactor.
//!
//! The files around it report an [`Event`] to [`Reactor::change_state`], and perform the [`Action`]
//! that it returns. Nothing else assigns a state.

use crate::net::Token;
use crate::reactor::Reactor;

/// The state of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::reactor) enum State {
    /// Bytes flow both ways.
    Open,
    /// The peer's FIN was read. Writing continues.
    InputClosed,
    /// Our FIN is sent once all output is sent. Reading continues.
    OutputClosing,
    /// Our FIN was sent. Reading continues.
    OutputClosed,
    /// The peer's FIN was read. Ours is sent once all output is sent.
    InputClosedOutputClosing,
    /// A write failed. Data received before is still delivered, then the connection is lost.
    Broken,
    /// After `lose_connection`: closes once all output is sent. `eof`: the peer's FIN was read.
    Closing { eof: bool },
    /// The loss is queued. `connection_lost` is the only callback that follows.
    Lost,
    /// The loss was delivered and our FIN was sent. Further input is discarded.
    Lingering,
}

/// An event in the life of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::reactor) enum Event {
    /// `lose_connection`.
    Close,
    /// `lose_write_connection`.
    CloseOutput,
    /// A read has returned the peer's FIN.
    InputEnded,
    /// Everything is sent, and neither producers nor layers have more.
    OutputDone,
    /// A write has failed.
    OutputFailed,
    /// The connection is lost, for any reason.
    Ended,
    /// `connection_lost` has returned. The socket is kept for a while.
    Lingers,
}

/// The action that follows an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::reactor) enum Action {
    /// Nothing: the event changes nothing.
    Nothing,
    /// Send what is queued, and set a limit for it.
    Flush,
    /// The connection is closing already: only a new limit counts.
    LimitClose,
    /// Call `read_connection_lost`.
    DeliverEof,
    /// Send our FIN. Reading goes on.
    SendFin,
    /// Send our FIN, and then close: both directions have ended.
    SendLastFin,
    /// Close, or linger if a reset could destroy output: never after the peer's FIN.
    Disconnect { eof: bool },
    /// Discard output. Deliver earlier input, if it is wanted, and then the loss.
    DiscardOutput,
    /// Report the loss that a failed write has caused.
    ReportBroken,
    /// Discard what is left, and queue `connection_lost`.
    QueueLoss,
    /// Read and discard input for a while.
    Linger,
    /// Close the lingering socket.
    EndLingering,
}

impl State {
    /// The next state after an event, and what has to be done.
    pub(in crate::reactor) fn on(self, event: Event) -> (State, Action) {
        match (self, event) {
            (State::Lost, Event::Lingers) => (State::Lingering, Action::Linger),
            (State::Lingering, Event::InputEnded) => (State::Lingering, Action::EndLingering),
            // Nothing else happens to a connection that is over, and no other one lingers.
            (State::Lost | State::Lingering, _) | (_, Event::Lingers) => (self, Action::Nothing),

            (_, Event::Ended) => (State::Lost, Action::QueueLoss),
            (_, Event::OutputFailed) => (State::Broken, Action::DiscardOutput),

            (State::Open | State::OutputClosing | State::OutputClosed, Event::Close) => {
                (State::Closing { eof: false }, Action::Flush)
            }
            (State::InputClosed | State::InputClosedOutputClosing, Event::Close) => {
                (State::Closing { eof: true }, Action::Flush)
            }
            (State::Closing { .. }, Event::Close) => (self, Action::LimitClose),
            // Data received before the failure is no longer wanted.
            (State::Broken, Event::Close | Event::InputEnded) => (self, Action::ReportBroken),

            (State::Open, Event::CloseOutput) => (State::OutputClosing, Action::Flush),
            (State::InputClosed, Event::CloseOutput) => (State::InputClosedOutputClosing, Action::Flush),
            (_, Event::CloseOutput) => (self, Action::Nothing),

            (State::Open, Event::InputEnded) => (State::InputClosed, Action::DeliverEof),
            (State::OutputClosing, Event::InputEnded) => {
                (State::InputClosedOutputClosing, Action::DeliverEof)
            }
            // Both directions have ended, so the connection does, and the protocol cannot keep it.
            (State::OutputClosed, Event::InputEnded) => (State::Closing { eof: true }, Action::DeliverEof),
            (_, Event::InputEnded) => (self, Action::Nothing),

            (State::OutputClosing, Event::OutputDone) => (State::OutputClosed, Action::SendFin),
            (State::InputClosedOutputClosing, Event::OutputDone) => {
                (State::Closing { eof: true }, Action::SendLastFin)
            }
            (State::Closing { eof }, Event::OutputDone) => (self, Action::Disconnect { eof }),
            (_, Event::OutputDone) => (self, Action::Nothing),
        }
    }

    /// Whether bytes flow both ways. Shorter than `==`, and on the path of every message.
    #[inline]
    pub(in crate::reactor) fn is_open(self) -> bool {
        matches!(self, State::Open)
    }

    /// Whether input is read.
    pub(in crate::reactor) fn reads(self) -> bool {
        match self {
            State::Open | State::OutputClosing | State::OutputClosed | State::Broken | State::Lingering => {
                true
            }
            State::InputClosed | State::InputClosedOutputClosing | State::Closing { .. } | State::Lost => {
                false
            }
        }
    }

    /// Whether queued output is sent.
    pub(in crate::reactor) fn sends(self) -> bool {
        match self {
            State::Open
            | State::InputClosed
            | State::OutputClosing
            | State::InputClosedOutputClosing
            | State::Closing { .. } => true,
            State::OutputClosed | State::Broken | State::Lost | State::Lingering => false,
        }
    }

    /// Whether our FIN follows, or the end of the connection, once all output is sent.
    pub(in crate::reactor) fn closes_when_sent(self) -> bool {
        matches!(self, State::Closing { .. } | State::OutputClosing | State::InputClosedOutputClosing)
    }

    /// Whether no further data is sent or delivered.
    pub(in crate::reactor) fn is_over(self) -> bool {
        matches!(self, State::Lost | State::Lingering)
    }

    /// Whether the connection is closing, broken or lost.
    pub(in crate::reactor) fn is_closing(self) -> bool {
        match self {
            State::Closing { .. } | State::Broken | State::Lost | State::Lingering => true,
            State::Open
            | State::InputClosed
            | State::OutputClosing
            | State::OutputClosed
            | State::InputClosedOutputClosing => false,
        }
    }
}

impl Reactor {
    /// Moves a connection to its next state. The caller performs the action.
    pub(in crate::reactor) fn change_state(&mut self, token: Token, event: Event) -> Action {
        let Some(connection) = self.registry.connection_mut(token) else { return Action::Nothing };
        let (next, action) = connection.state.on(event);
        connection.state = next;
        // Only an open connection sends its writes in batches.
        self.send.batching &= next.is_open() || self.send.connection != token;
        action
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATES: [State; 10] = [
        State::Open,
        State::InputClosed,
        State::OutputClosing,
        State::OutputClosed,
        State::InputClosedOutputClosing,
        State::Broken,
        State::Closing { eof: false },
        State::Closing { eof: true },
        State::Lost,
        State::Lingering,
    ];

    const EVENTS: [Event; 7] = [
        Event::Close,
        Event::CloseOutput,
        Event::InputEnded,
        Event::OutputDone,
        Event::OutputFailed,
        Event::Ended,
        Event::Lingers,
    ];

    /// The whole table: a row for each state, a column for each event.
    #[test]
    fn each_state_answers_each_event() {
        let closing = |eof| State::Closing { eof };
        let (broken, lost) = ((State::Broken, Action::DiscardOutput), (State::Lost, Action::QueueLoss));
        let rows: [[(State, Action); 7]; 10] = STATES.map(|state| {
            let stays = (state, Action::Nothing);
            match state {
                State::Open => [
                    (closing(false), Action::Flush),
                    (State::OutputClosing, Action::Flush),
                    (State::InputClosed, Action::DeliverEof),
                    stays,
                    broken,
                    lost,
                    stays,
                ],
                State::InputClosed => [
                    (closing(true), Action::Flush),
                    (State::InputClosedOutputClosing, Action::Flush),
                    stays,
                    stays,
                    broken,
                    lost,
                    stays,
                ],
                State::OutputClosing => [
                    (closing(false), Action::Flush),
                    stays,
                    (State::InputClosedOutputClosing, Action::DeliverEof),
                    (State::OutputClosed, Action::SendFin),
                    broken,
                    lost,
                    stays,
                ],
                State::OutputClosed => [
                    (closing(false), Action::Flush),
                    stays,
                    (closing(true), Action::DeliverEof),
                    stays,
                    broken,
                    lost,
                    stays,
                ],
                State::InputClosedOutputClosing => [
                    (closing(true), Action::Flush),
                    stays,
                    stays,
                    (closing(true), Action::SendLastFin),
                    broken,
                    lost,
                    stays,
                ],
                State::Broken => [
                    (state, Action::ReportBroken),
                    stays,
                    (state, Action::ReportBroken),
                    stays,
                    broken,
                    lost,
                    stays,
                ],
                State::Closing { eof } => [
                    (state, Action::LimitClose),
                    stays,
                    stays,
                    (state, Action::Disconnect { eof }),
                    broken,
                    lost,
                    stays,
                ],
                State::Lost => [stays, stays, stays, stays, stays, stays, (State::Lingering, Action::Linger)],
                State::Lingering => [stays, stays, (state, Action::EndLingering), stays, stays, stays, stays],
            }
        });
        for (state, row) in STATES.into_iter().zip(rows) {
            for (event, expected) in EVENTS.into_iter().zip(row) {
                assert_eq!(state.on(event), expected, "{state:?} and {event:?}");
            }
        }
    }

    /// All sequences of up to seven events.
    #[test]
    fn no_sequence_of_events_breaks_the_promises() {
        #[derive(Clone, Copy, Default)]
        struct Seen {
            eofs: u32,
            fins: u32,
            losses: u32,
        }

        fn check(state: State, seen: Seen, depth: u32) {
            assert!(seen.eofs <= 1 && seen.fins <= 1 && seen.losses <= 1, "each at most once");
            assert_eq!(state.is_over(), seen.losses == 1, "over means lost, and it stays so");
            let wanted = matches!(state, State::Open | State::OutputClosing | State::OutputClosed);
            assert!(!wanted || seen.eofs == 0, "nothing is read for the protocol after the end");
            assert!(!state.sends() || !state.is_over());
            if depth == 0 {
                return;
            }
            for event in EVENTS {
                let (next, action) = state.on(event);
                let mut seen = seen;
                match action {
                    Action::DeliverEof => seen.eofs += 1,
                    Action::SendFin | Action::SendLastFin => seen.fins += 1,
                    Action::QueueLoss => seen.losses += 1,
                    _ => {}
                }
                check(next, seen, depth - 1);
            }
        }

        check(State::Open, Seen::default(), 7);
    }
}
