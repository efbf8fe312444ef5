//! Queues of the loop: callbacks for a fresh stack, sockets to resume, connections to flush, and
//! events of the poll.

use std::collections::VecDeque;

use crate::net::{Close, Event, Token};
use crate::reactor::turn::PollProgress;
use crate::reactor::{CallbackKind, Protocol, Reactor, Reason};

/// Work of the loop that is queued within or between turns.
#[derive(Default)]
pub(in crate::reactor) struct Queues {
    pub(in crate::reactor) callbacks: CallbackQueue,
    /// Connections and datagram sockets that used up their budget of the turn and have more to do.
    pub(in crate::reactor) resume: VecDeque<Token>,
    /// Connections to flush at the end of the turn.
    pub(in crate::reactor) flush: Vec<Token>,
    pub(in crate::reactor) events: Vec<Event>,
    pub(in crate::reactor) poll_progress: PollProgress,
}

/// A queued action that calls user code from the loop.
pub(crate) enum Callback {
    /// A connection is lost: calls `connection_lost`, then frees its slot.
    Lost(Token, Reason, SocketDisposal),
    PauseWriting(Token),
    ResumeWriting(Token),
    /// A push producer was registered on a paused connection.
    PauseProducer(Token),
    WriteConnectionLost(Token),
    /// Asks the protocol to finish.
    Drain(Token),
    /// Asks a pull producer for its next piece.
    Pull(Token),
    StartFactory(Token),
    /// Starts an adopted connection.
    StartAdopted(Token, Box<dyn Protocol>),
    StartDatagram(Token),
    /// A datagram socket is closed: calls its protocol, if it has started, then frees its slot.
    StopDatagram(Token, Reason, bool),
    /// A watched descriptor is to be called without an event.
    DescriptorReady(Token),
    /// A watch has ended: calls `connection_lost`, then frees its slot.
    DescriptorLost(Token, Reason),
    StartProcess(Token),
    ProcessEnded(Token),
    Connect(Token),
    ConnectFailed(Token, Reason),
    /// A connector was cancelled while it waited to reconnect.
    Release(Token),
    Call(Box<dyn FnOnce(&mut Reactor)>),
}

/// The treatment of a lost connection's socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SocketDisposal {
    Close(Close),
    /// FIN was sent. Incoming data is read and discarded for a while.
    Linger,
}

/// A first-in, first-out queue of callbacks.
#[derive(Default)]
pub(crate) struct CallbackQueue {
    queue: VecDeque<Callback>,
}

impl CallbackQueue {
    pub(in crate::reactor) fn push(&mut self, task: Callback) {
        self.queue.push_back(task);
    }

    pub(in crate::reactor) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Replaces the reason of a queued loss. A later event in the same callback gives the better
    /// one.
    pub(in crate::reactor) fn correct_loss(&mut self, token: Token, correct: Reason) {
        let found = self.queue.iter_mut().find_map(|task| match task {
            Callback::Lost(other, reason, _) if *other == token => Some(reason),
            _ => None,
        });
        if let Some(reason) = found {
            *reason = correct;
        }
    }
}

impl Reactor {
    /// Runs the queued callbacks. Callbacks that they queue wait for the next turn.
    pub(in crate::reactor) fn run_callbacks(&mut self) {
        for _ in 0..self.queues.callbacks.queue.len() {
            let Some(task) = self.queues.callbacks.queue.pop_front() else {
                break;
            };
            match task {
                Callback::Lost(token, reason, disposal) => self.deliver_loss(token, &reason, disposal),
                Callback::PauseWriting(token) => self.tell_to_pause(token),
                Callback::ResumeWriting(token) => self.tell_to_resume(token),
                Callback::PauseProducer(token) => self.pause_producer(token),
                Callback::WriteConnectionLost(token) => self.notify_write_closed(token),
                Callback::Drain(token) => self.drain_connection(token),
                Callback::Pull(token) => self.pull(token),
                Callback::StartFactory(token) => self.start_listener_factory(token),
                Callback::StartAdopted(token, protocol) => self.start_adopted(token, protocol),
                Callback::StartDatagram(token) => self.start_datagram(token),
                Callback::StopDatagram(token, reason, started) => {
                    self.datagram_stopped(token, &reason, started)
                }
                Callback::DescriptorReady(token) => self.descriptor_scheduled(token),
                Callback::DescriptorLost(token, reason) => self.descriptor_lost(token, &reason),
                Callback::StartProcess(token) => self.start_process(token),
                Callback::ProcessEnded(token) => self.process_ended(token),
                Callback::Connect(token) => self.start_connecting(token),
                Callback::ConnectFailed(token, reason) => self.connector_failed(token, &reason),
                Callback::Release(token) => self.release_connector(token),
                Callback::Call(call) => self.call(CallbackKind::TimedCall, call),
            }
        }
    }
}
