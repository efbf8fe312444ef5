//! Handlers of strings that choose a function for each next string.

use super::adapter::callbacks;
use super::codec::StringError;
use super::strings::{FrameTransport, StringReceiver};
use crate::Reason;

/// A handler of strings that stores the function for the next one. [`Strings`](super::Strings) is
/// its protocol too. (Twisted: `StatefulStringProtocol`.)
///
/// ```
/// use twistor::framing::{FrameTransport, StatefulStringReceiver, NextString, Strings};
///
/// struct Login {
///     state: NextString<Login>,
///     user: Vec<u8>,
/// }
///
/// impl Login {
///     fn user(&mut self, _: &mut FrameTransport<'_>, user: &[u8]) -> NextString<Login> {
///         self.user = user.to_vec();
///         NextString::Next(Login::password)
///     }
///
///     fn password(&mut self, transport: &mut FrameTransport<'_>, _: &[u8]) -> NextString<Login> {
///         let _ = transport.send_string(b"come in");
///         NextString::Done
///     }
/// }
///
/// impl StatefulStringReceiver for Login {
///     fn state(&mut self) -> &mut NextString<Login> {
///         &mut self.state
///     }
/// }
///
/// let login = || Strings::int8(Login { state: NextString::Next(Login::user), user: Vec::new() });
/// twistor::Reactor::new()?.listen_tcp("127.0.0.1:0", login)?;
/// # let mut transport = twistor::testing::StringTransport::new(login());
/// # transport.feed(b"\x04John\x04oops\x03no!");
/// # assert_eq!(transport.value(), b"\x07come in");
/// # assert!(transport.disconnecting());
/// # Ok::<(), twistor::Error>(())
/// ```
pub trait StatefulStringReceiver: Sized + 'static {
    /// The stored state. (Twisted: `state`.)
    fn state(&mut self) -> &mut NextString<Self>;

    /// Same as [`StringReceiver::string_refused`].
    fn string_refused(&mut self, transport: &mut FrameTransport<'_>, error: &StringError) {
        transport.lose_connection_with_error(error.clone());
    }

    callbacks!(FrameTransport<'_>);
}

/// The action for the next string.
pub enum NextString<H> {
    /// Call this function. It returns the action for the string after it. (Twisted: `proto_STATE`.)
    Next(fn(&mut H, &mut FrameTransport<'_>, &[u8]) -> NextString<H>),
    /// Close the connection and deliver nothing more. (Twisted: `'done'`.)
    Done,
}

impl<H> Clone for NextString<H> {
    fn clone(&self) -> NextString<H> {
        *self
    }
}

impl<H> Copy for NextString<H> {}

impl<H: StatefulStringReceiver> StringReceiver for H {
    fn string_received(&mut self, transport: &mut FrameTransport<'_>, string: &[u8]) {
        if let NextString::Next(call) = *self.state() {
            *self.state() = call(self, transport, string);
        }
        if let NextString::Done = self.state() {
            transport.lose_connection();
        }
    }

    fn string_refused(&mut self, transport: &mut FrameTransport<'_>, error: &StringError) {
        StatefulStringReceiver::string_refused(self, transport, error);
    }

    fn connection_made(&mut self, transport: &mut FrameTransport<'_>) {
        StatefulStringReceiver::connection_made(self, transport);
    }

    fn descriptor_received(&mut self, transport: &mut FrameTransport<'_>, descriptor: std::os::fd::OwnedFd) {
        StatefulStringReceiver::descriptor_received(self, transport, descriptor);
    }

    fn read_connection_lost(&mut self, transport: &mut FrameTransport<'_>) {
        StatefulStringReceiver::read_connection_lost(self, transport);
    }

    fn write_connection_lost(&mut self, transport: &mut FrameTransport<'_>) {
        StatefulStringReceiver::write_connection_lost(self, transport);
    }

    fn layers_ready(&mut self, transport: &mut FrameTransport<'_>) {
        StatefulStringReceiver::layers_ready(self, transport);
    }

    fn pause_writing(&mut self, transport: &mut FrameTransport<'_>) {
        StatefulStringReceiver::pause_writing(self, transport);
    }

    fn resume_writing(&mut self, transport: &mut FrameTransport<'_>) {
        StatefulStringReceiver::resume_writing(self, transport);
    }

    fn drain(&mut self, transport: &mut FrameTransport<'_>) {
        StatefulStringReceiver::drain(self, transport);
    }

    fn connection_lost(&mut self, transport: &mut FrameTransport<'_>, reason: &Reason) {
        StatefulStringReceiver::connection_lost(self, transport, reason);
    }

    fn downcast_inner(&mut self, want: std::any::TypeId) -> Option<&mut dyn std::any::Any> {
        StatefulStringReceiver::downcast_inner(self, want)
    }
}
