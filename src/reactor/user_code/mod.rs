//! Calling user code: catching its panics and timing it.

pub(in crate::reactor) mod stopwatch;
use crate::escape::Escaped;
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::net::Token;
use crate::reactor::error::panic_message;
use crate::reactor::user_code::stopwatch::Stopwatch;
use crate::reactor::{CallbackKind, ConnectionId, JobPanicked, Reactor};

/// The state of calls to user code: the stopwatch and the last panic.
pub(in crate::reactor) struct UserCode {
    pub(in crate::reactor) stopwatch: Stopwatch,
    /// The callback that last panicked, and the message.
    pub(in crate::reactor) last_panic: Option<String>,
}

impl Reactor {
    /// Runs user code that does not belong to a connection.
    pub(in crate::reactor) fn call(&mut self, place: CallbackKind, call: impl FnOnce(&mut Reactor)) {
        // `run_user_code` has counted and logged the panic. It affects no other code.
        let _ = self.run_user_code(place, None, call);
    }

    /// Runs a call now. A panic in it is logged, counted in
    /// [`Statistics::panics`](crate::Statistics::panics), and returned as the error.
    ///
    /// This is what the reactor does with each callback. Code that calls the callbacks of others,
    /// such as a service or a plug-in, does the same with it:
    ///
    /// ```
    /// use twistor::{CallbackKind, Reactor};
    ///
    /// let mut reactor = Reactor::new()?;
    /// let plug_in = |_: &mut Reactor| -> u32 { panic!("not written yet") };
    /// let result = reactor.catch_panic(CallbackKind::Call, plug_in);
    /// assert_eq!(result.unwrap_err().message, "not written yet");
    /// assert_eq!(reactor.statistics().panics, 1);
    /// # Ok::<(), twistor::Error>(())
    /// ```
    ///
    /// # Errors
    /// The message of the panic.
    pub fn catch_panic<R>(
        &mut self,
        kind: CallbackKind,
        call: impl FnOnce(&mut Reactor) -> R,
    ) -> Result<R, JobPanicked> {
        // The call may be a part of another callback, which goes on afterwards.
        let outer = self.user_code.stopwatch.current();
        let result = self.run_user_code(kind, None, call);
        self.user_code.stopwatch.set_current(outer);
        result.map_err(|message| JobPanicked { message })
    }

    /// Runs user code, times it, and catches a panic. Returns its message as the error.
    #[inline(always)]
    pub(in crate::reactor) fn run_user_code<R>(
        &mut self,
        place: CallbackKind,
        connection: Option<Token>,
        call: impl FnOnce(&mut Reactor) -> R,
    ) -> Result<R, String> {
        self.start_timing(place, connection.unwrap_or(Token::NONE));
        let result = catch_unwind(AssertUnwindSafe(|| call(self)));
        self.end_timing();
        match result {
            Ok(returned) => Ok(returned),
            Err(payload) => Err(self.record_panic(place, connection, payload)),
        }
    }

    #[cold]
    #[inline(never)]
    pub(in crate::reactor) fn record_panic(
        &mut self,
        place: CallbackKind,
        connection: Option<Token>,
        payload: Box<dyn Any + Send>,
    ) -> String {
        let text = log_panic(place, connection, payload);
        self.statistics.panics += 1;
        self.user_code.last_panic = Some(format!("{place}: {text}"));
        text
    }

    /// The last panic since the previous call: the callback and the message.
    #[cfg(any(feature = "sim", test))]
    pub(crate) fn take_panic(&mut self) -> Option<String> {
        self.user_code.last_panic.take()
    }
}

/// Logs a panic, and drops its payload. Returns the message.
pub(in crate::reactor) fn log_panic(
    place: CallbackKind,
    connection: Option<Token>,
    payload: Box<dyn Any + Send>,
) -> String {
    let text = panic_message(&*payload);
    // The payload is a user value, and its drop may panic too. A payload thrown by that is
    // leaked.
    if let Err(again) = catch_unwind(AssertUnwindSafe(move || drop(payload))) {
        std::mem::forget(again);
    }
    match connection {
        Some(token) => {
            let id = ConnectionId(token);
            log_error!([connection:% = id] "panic in {place} of connection {id}: {}", Escaped(&text));
        }
        None => log_error!("panic in {place}: {}", Escaped(&text)),
    }
    text
}
