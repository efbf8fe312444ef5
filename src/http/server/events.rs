//! Server-sent events: one stream for many readers.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt;
use std::rc::Rc;

use super::handler::{BodyHandle, BodyProducer, ResponseBody};
use super::response::Response;
use crate::Reactor;

/// A source of server-sent events (HTML standard, 9.2). Clones are the same source.
///
/// Each reader has a queue with a limit. When a reader is slower than the events, its oldest ones
/// are dropped, and the next event that it gets is one of the type `dropped`, whose data is their
/// number.
///
/// ```
/// use std::time::Duration;
/// use twistor::http::server::{Event, EventSource, Site};
///
/// let clock = EventSource::new();
/// let readers = clock.clone();
/// let site = Site::new().get("/clock", move |_| readers.subscribe());
/// # let mut reactor = twistor::Reactor::new()?;
/// reactor.listen_tcp("127.0.0.1:0", site)?;
/// clock.send(&mut reactor, &Event::new("tick").with_type("second"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct EventSource {
    state: Rc<RefCell<Source>>,
}

struct Source {
    readers: Vec<Rc<RefCell<Queue>>>,
    max_events: usize,
    max_bytes: usize,
    dropped: u64,
}

/// An event. Its text is UTF-8; lines are framed by the source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Event {
    data: String,
    event_type: String,
    id: String,
}

/// The events of one reader that were not written yet.
#[derive(Default)]
struct Queue {
    events: VecDeque<Rc<[u8]>>,
    bytes: usize,
    /// The number of dropped events that the reader does not know of.
    dropped: u64,
    handle: Option<BodyHandle>,
    /// The producer wrote all events, and waits.
    waiting: bool,
    closed: bool,
}

impl Event {
    /// Creates an event with data of one or several lines.
    pub fn new(data: impl Into<String>) -> Event {
        Event { data: data.into(), ..Event::default() }
    }

    /// Sets the type of the event. Line ends are removed. Default: none, which is `message`.
    pub fn with_type(mut self, event_type: &str) -> Event {
        self.event_type = one_line(event_type);
        self
    }

    /// Sets the id, which a reader sends as `Last-Event-ID` when it connects again. Line ends and
    /// NUL are removed. Default: none.
    pub fn with_id(mut self, id: &str) -> Event {
        self.id = one_line(id);
        self
    }

    fn encode(&self) -> Vec<u8> {
        let mut text = String::with_capacity(self.data.len() + 16);
        for (name, value) in [("event", &self.event_type), ("id", &self.id)] {
            if !value.is_empty() {
                text.extend([name, ": ", value, "\n"]);
            }
        }
        // A carriage return is a line end, too.
        for line in self.data.replace("\r\n", "\n").split(['\n', '\r']) {
            text.extend(["data: ", line, "\n"]);
        }
        text.push('\n');
        text.into_bytes()
    }
}

fn one_line(text: &str) -> String {
    text.chars().filter(|character| !matches!(character, '\r' | '\n' | '\0')).collect()
}

impl Default for EventSource {
    fn default() -> EventSource {
        EventSource::new()
    }
}

impl EventSource {
    /// Creates a source without readers. A reader has at most 1,000 events and 256 KiB in its
    /// queue.
    pub fn new() -> EventSource {
        EventSource::with_queue(1000, 256 * 1024)
    }

    /// Creates a source with these limits on the queue of each reader: a number of events and
    /// their bytes. The newest event is kept, also if it alone is too long.
    pub fn with_queue(max_events: usize, max_bytes: usize) -> EventSource {
        let source = Source { readers: Vec::new(), max_events: max_events.max(1), max_bytes, dropped: 0 };
        EventSource { state: Rc::new(RefCell::new(source)) }
    }

    /// The response that makes its client a reader of the events from now on.
    pub fn subscribe(&self) -> Response {
        let queue = Rc::<RefCell<Queue>>::default();
        self.state.borrow_mut().readers.push(Rc::clone(&queue));
        let mut response = Response::stream("text/event-stream", Reader { queue });
        response.push_field("Cache-Control", "no-store");
        response
    }

    /// Sends an event to all readers.
    pub fn send(&self, reactor: &mut Reactor, event: &Event) {
        self.send_bytes(reactor, &event.encode().into());
    }

    /// Sends a comment, which readers ignore. It keeps proxies from closing a silent connection.
    pub fn keep_alive(&self, reactor: &mut Reactor) {
        self.send_bytes(reactor, &b":\n\n"[..].into());
    }

    /// Ends the responses of all readers, which connect again by themselves.
    pub fn close(&self, reactor: &mut Reactor) {
        let readers = std::mem::take(&mut self.state.borrow_mut().readers);
        for queue in readers {
            queue.borrow_mut().closed = true;
            wake(reactor, &queue);
        }
    }

    /// The number of readers.
    pub fn readers(&self) -> usize {
        let mut source = self.state.borrow_mut();
        source.readers.retain(|queue| !queue.borrow().closed);
        source.readers.len()
    }

    /// The number of events that were dropped for slow readers, over all readers.
    pub fn dropped(&self) -> u64 {
        self.state.borrow().dropped
    }

    fn send_bytes(&self, reactor: &mut Reactor, event: &Rc<[u8]>) {
        let mut wake_up = Vec::new();
        {
            let source = &mut *self.state.borrow_mut();
            source.readers.retain(|queue| !queue.borrow().closed);
            for queue in &source.readers {
                let before = queue.borrow().dropped;
                queue.borrow_mut().push(event, source.max_events, source.max_bytes);
                source.dropped += queue.borrow().dropped - before;
                if queue.borrow().waiting {
                    wake_up.push(Rc::clone(queue));
                }
            }
        }
        for queue in wake_up {
            wake(reactor, &queue);
        }
    }
}

fn wake(reactor: &mut Reactor, queue: &RefCell<Queue>) {
    let handle = queue.borrow().handle;
    if let Some(handle) = handle {
        handle.resume(reactor);
    }
}

impl Queue {
    fn push(&mut self, event: &Rc<[u8]>, max_events: usize, max_bytes: usize) {
        self.bytes += event.len();
        self.events.push_back(Rc::clone(event));
        while self.events.len() > 1 && (self.events.len() > max_events || self.bytes > max_bytes) {
            let Some(oldest) = self.events.pop_front() else { break };
            self.bytes -= oldest.len();
            self.dropped += 1;
        }
    }
}

/// The producer of one reader's response.
struct Reader {
    queue: Rc<RefCell<Queue>>,
}

impl BodyProducer for Reader {
    fn resume_producing(&mut self, body: &mut ResponseBody<'_>) {
        let queue = &mut *self.queue.borrow_mut();
        queue.handle = Some(body.handle());
        queue.waiting = false;
        while !body.is_full() {
            if queue.dropped > 0 {
                let dropped = Event::new(std::mem::take(&mut queue.dropped).to_string()).with_type("dropped");
                body.write(dropped.encode());
            }
            let Some(event) = queue.events.pop_front() else {
                queue.waiting = true;
                break;
            };
            queue.bytes -= event.len();
            body.write(&event);
        }
        if queue.closed && queue.events.is_empty() {
            body.finish();
        }
    }

    fn stop_producing(&mut self, _: &mut Reactor) {
        let queue = &mut *self.queue.borrow_mut();
        queue.closed = true;
        queue.events.clear();
    }

    fn continues_after_eof(&self) -> bool {
        false
    }
}

impl fmt::Debug for EventSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let source = self.state.borrow();
        f.debug_struct("EventSource")
            .field("readers", &source.readers.len())
            .field("max_events", &source.max_events)
            .field("max_bytes", &source.max_bytes)
            .finish_non_exhaustive()
    }
}
