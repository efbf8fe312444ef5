//! Callbacks that wait for a fresh stack.

use std::collections::VecDeque;

use super::{CallbackKind, Protocol, Reactor, Reason};
use crate::net::{Close, Token};

/// Something that calls user code, to be done from the loop.
pub(crate) enum Task {
    /// A connection is lost: tell, then free its slot.
    Lost(Token, Reason, Farewell),
    PauseWriting(Token),
    ResumeWriting(Token),
    /// A push producer came to a connection that is paused.
    PauseProducer(Token),
    WriteConnectionLost(Token),
    /// A pull producer is asked for its next piece.
    Pull(Token),
    StartFactory(Token),
    /// An adopted connection begins.
    Begin(Token, Box<dyn Protocol>),
    StartDatagram(Token),
    /// A socket of datagrams is closed: tell, if it has started, then free its slot.
    StopDatagram(Token, Reason, bool),
    StartProcess(Token),
    ProcessEnded(Token),
    Connect(Token),
    ConnectFailed(Token, Reason),
    /// A connector was told to give up while it only waited.
    Release(Token),
    Call(Box<dyn FnOnce(&mut Reactor)>),
}

/// What becomes of the socket of a lost connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Farewell {
    Close(Close),
    /// Our FIN is out: what still comes is read and dropped for a while.
    Linger,
}

/// The queue, first in, first out.
#[derive(Default)]
pub(crate) struct Tasks {
    queue: VecDeque<Task>,
}

impl Tasks {
    pub(crate) fn push(&mut self, task: Task) {
        self.queue.push_back(task);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// What happened later in the same callback is the better reason.
    pub(crate) fn correct_loss(&mut self, token: Token, better: Reason) {
        let found = self.queue.iter_mut().find_map(|task| match task {
            Task::Lost(other, reason, _) if *other == token => Some(reason),
            _ => None,
        });
        if let Some(reason) = found {
            *reason = better;
        }
    }
}

impl Reactor {
    /// Does what waits now; what that queues waits for the next turn.
    pub(crate) fn run_tasks(&mut self) {
        for _ in 0..self.tasks.queue.len() {
            let Some(task) = self.tasks.queue.pop_front() else {
                break;
            };
            match task {
                Task::Lost(token, reason, farewell) => self.deliver_loss(token, &reason, farewell),
                Task::PauseWriting(token) => self.tell_to_pause(token),
                Task::ResumeWriting(token) => self.tell_to_resume(token),
                Task::PauseProducer(token) => self.pause_producer(token),
                Task::WriteConnectionLost(token) => self.tell_finish(token),
                Task::Pull(token) => self.pull(token),
                Task::StartFactory(token) => self.start_listener_factory(token),
                Task::Begin(token, protocol) => self.begin_adopted(token, protocol),
                Task::StartDatagram(token) => self.start_datagram(token),
                Task::StopDatagram(token, reason, started) => self.datagram_stopped(token, &reason, started),
                Task::StartProcess(token) => self.start_process(token),
                Task::ProcessEnded(token) => self.process_ended(token),
                Task::Connect(token) => self.begin_to_connect(token),
                Task::ConnectFailed(token, reason) => self.connector_failed(token, &reason),
                Task::Release(token) => self.release_connector(token),
                Task::Call(call) => self.call(CallbackKind::TimedCall, call),
            }
        }
    }
}
