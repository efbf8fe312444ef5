//! Output: water marks, producers, and the transport as a writer.

use std::io;

use crate::reactor::connection::write_batch::WRITE_BATCH_SIZE;
use crate::reactor::connection::{ColdState, Flow, Registered};
use crate::reactor::turn::queues::Callback;
use crate::reactor::{Error, Producer, ProducerKind, Result, Transport};

impl Transport<'_> {
    /// Unsent bytes: written, and not accepted by the kernel yet. Includes bytes held by layers.
    #[doc(alias = "get_write_buffer_size")]
    pub fn write_buffer_size(&self) -> usize {
        self.reactor.unsent(self.token)
    }

    /// Whether output is above the high-water mark, or has not come down to the low one since.
    /// Counts [unsent bytes](Transport::write_buffer_size), with or without layers.
    ///
    /// It is true right after the write that exceeds the mark. `pause_writing` follows, and
    /// `resume_writing` once output is down to the low mark, even if the kernel has taken all of it
    /// before `pause_writing`. So a protocol can write as long as there is room:
    ///
    /// ```
    /// use twistor::{Protocol, Transport};
    ///
    /// /// Sends an endless stream of zeros.
    /// struct Zeros;
    ///
    /// impl Protocol for Zeros {
    ///     fn connection_made(&mut self, transport: &mut Transport<'_>) {
    ///         self.resume_writing(transport);
    ///     }
    ///     fn resume_writing(&mut self, transport: &mut Transport<'_>) {
    ///         while !transport.writing_paused() {
    ///             transport.write(&[0; 1000]);
    ///         }
    ///     }
    ///     fn data_received(&mut self, _: &mut Transport<'_>, _: &[u8]) {}
    /// }
    /// ```
    pub fn writing_paused(&self) -> bool {
        self.reactor.writing_paused(self.token)
    }

    /// Sets this connection's water marks, in bytes. Above `high`, `pause_writing` is called; at
    /// `low`, `resume_writing`. `low` is at most `high`, and `high` at most
    /// [`Settings::write_buffer_limit`](crate::reactor::Settings::write_buffer_limit); larger
    /// values are reduced.
    #[doc(alias("set_write_buffer_limits", "bufferSize"))]
    pub fn set_water_marks(&mut self, high: usize, low: usize) {
        if let Some(connection) = self.reactor.registry.connection_mut(self.token) {
            connection.cold().water_marks = Some((high, low.min(high)));
            let small = high.min(self.reactor.settings.write_buffer_limit) < WRITE_BATCH_SIZE;
            connection.small_marks = small;
            self.reactor.send.batching &= !small || self.reactor.send.connection != self.token;
            self.reactor.update_water_marks(self.token);
            self.reactor.schedule_flush(self.token);
        }
    }

    /// The kind of the registered producer, if any. (Twisted's `StringTransport`: `producer`,
    /// `streaming`.)
    pub fn producer(&self) -> Option<ProducerKind> {
        let connection = self.reactor.registry.connection(self.token)?;
        Some(connection.cold.as_ref()?.producer.as_ref()?.kind)
    }

    /// Registers a producer, which is paused, resumed or called as output is sent. If the
    /// connection is closing or lost, the producer is only told to stop. (Twisted:
    /// `registerProducer`.)
    ///
    /// # Errors
    /// [`Error::ProducerRegistered`] if there is one already.
    #[doc(alias = "registerProducer")]
    pub fn register_producer(&mut self, producer: impl Producer, kind: ProducerKind) -> Result<()> {
        let mut producer: Box<dyn Producer> = Box::new(producer);
        let token = self.token;
        let reactor = &mut *self.reactor;
        let open = reactor.registry.connection_mut(token).filter(|c| c.takes_writes());
        let Some(connection) = open else {
            reactor
                .queues
                .callbacks
                .push(Callback::Call(Box::new(move |reactor| producer.stop_producing(reactor))));
            return Ok(());
        };
        let paused = connection.flow != Flow::Open;
        let cold = connection.cold();
        if cold.producer.is_some() {
            return Err(Error::ProducerRegistered);
        }
        cold.producer = Some(Registered::new(producer, kind));
        match kind {
            ProducerKind::Pull => reactor.ask_producer(token),
            ProducerKind::Push if paused => reactor.queues.callbacks.push(Callback::PauseProducer(token)),
            ProducerKind::Push => {}
        }
        Ok(())
    }

    /// Unregisters the producer. A close that waited for it continues. (Twisted:
    /// `unregisterProducer`.)
    #[doc(alias = "unregisterProducer")]
    pub fn unregister_producer(&mut self) {
        if let Some(connection) = self.reactor.registry.connection_mut(self.token) {
            let producer =
                connection.cold.as_mut().and_then(|cold: &mut Box<ColdState>| cold.producer.take());
            self.reactor.schedule_flush(self.token);
            if let Some(gone) = producer {
                if let Some(again) = gone.again {
                    self.reactor.timers.cancel(again);
                }
                drop(gone);
            }
        }
    }

    /// Schedules a call of the pull producer, from the loop. For a producer that had nothing to
    /// write when it was called, and has now. Does nothing without a pull producer, or while its
    /// output is being sent.
    ///
    /// ```
    /// use twistor::testing::StringTransport;
    /// use twistor::{Producer, ProducerKind, Protocol, Transport};
    ///
    /// /// Writes one answer once there is a question.
    /// struct Answers;
    ///
    /// impl Producer for Answers {
    ///     fn resume_producing(&mut self, transport: &mut Transport<'_>) {
    ///         if transport.reading_paused() {
    ///             transport.write(b"42");
    ///             transport.unregister_producer();
    ///         }
    ///     }
    /// }
    ///
    /// struct Asked;
    ///
    /// impl Protocol for Asked {
    ///     fn connection_made(&mut self, transport: &mut Transport<'_>) {
    ///         transport.register_producer(Answers, ProducerKind::Pull).unwrap();
    ///     }
    ///     fn data_received(&mut self, transport: &mut Transport<'_>, _: &[u8]) {
    ///         transport.pause_reading();
    ///         transport.resume_producer();
    ///     }
    /// }
    /// # let mut transport = StringTransport::new(Asked);
    /// # assert_eq!(transport.take(), b"");
    /// # transport.feed(b"?");
    /// # assert_eq!(transport.take(), b"42");
    /// ```
    pub fn resume_producer(&mut self) {
        self.reactor.ask_producer(self.token);
    }
}

/// Writes to the connection as [`Transport::write`] does: all bytes are accepted at once, and sent
/// when the callback returns. It never fails with `WouldBlock`: use
/// [`writing_paused`](Transport::writing_paused), or `pause_writing`, for backpressure.
///
/// `flush` does nothing, because the loop sends all output by itself. It does not wait until bytes
/// are sent.
///
/// `write` fails with [`BrokenPipe`](io::ErrorKind::BrokenPipe) where [`Transport::write`] would
/// discard the bytes: the connection is closing, half-closed by this side, or gone.
///
/// ```
/// use std::io::Write;
/// use twistor::{Protocol, Transport};
///
/// struct Count(u64);
///
/// impl Protocol for Count {
///     fn data_received(&mut self, transport: &mut Transport<'_>, data: &[u8]) {
///         self.0 += data.len() as u64;
///         // Fails if the connection is closing: then the count is not needed.
///         let _ = writeln!(transport, "{} bytes", self.0);
///     }
/// }
/// ```
impl io::Write for Transport<'_> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.check_takes_writes()?;
        self.write_bytes(data);
        Ok(data.len())
    }

    fn write_all(&mut self, data: &[u8]) -> io::Result<()> {
        io::Write::write(self, data).map(drop)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.check_takes_writes()
    }
}

impl Transport<'_> {
    fn check_takes_writes(&self) -> io::Result<()> {
        match self.reactor.registry.connection(self.token) {
            Some(connection) if connection.takes_writes() => Ok(()),
            Some(_) => Err(io::Error::new(io::ErrorKind::BrokenPipe, "the connection is closing")),
            None => Err(io::Error::new(io::ErrorKind::BrokenPipe, Error::NotConnected)),
        }
    }
}
