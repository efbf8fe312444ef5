//! A client and a server whose answers are scripted, on a simulated network.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use twistor::http::{Call, Client, ClientSettings, FetchError, FetchResult};
use twistor::sim::{Host, Simulation};
use twistor::{Factory, Protocol, Reactor, Reason, Transport};

pub const SECOND: Duration = Duration::from_secs(1);

/// A part of an answer.
#[derive(Clone, Debug)]
pub enum Step {
    Send(String),
    Bytes(Vec<u8>),
    Wait(Duration),
    Close,
    Abort,
}

/// An answer of these parts.
pub fn steps(steps: &[Step]) -> Vec<Step> {
    steps.to_vec()
}

/// A response with this status line, headers and body, whose length is added.
pub fn answer(status: &str, headers: &str, body: &str) -> Vec<Step> {
    let length = body.len();
    vec![Step::Send(format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {length}\r\n\r\n{body}"))]
}

pub fn ok(body: &str) -> Vec<Step> {
    answer("200 OK", "", body)
}

/// The answers of the server, and the requests that it saw.
#[derive(Default)]
pub struct Script {
    pub answers: VecDeque<Vec<Step>>,
    /// Heads, and bodies that came with them.
    pub requests: Vec<String>,
    pub connections: usize,
    pub open: usize,
    /// All bytes received.
    pub received: String,
}

#[derive(Clone)]
pub struct Server {
    pub script: Rc<RefCell<Script>>,
    request: Vec<u8>,
}

impl Server {
    pub fn new(script: &Rc<RefCell<Script>>) -> Server {
        Server { script: Rc::clone(script), request: Vec::new() }
    }

    fn act(&mut self, transport: &mut Transport<'_>, mut steps: VecDeque<Step>) {
        while let Some(step) = steps.pop_front() {
            match step {
                Step::Send(text) => transport.write(text.as_bytes()),
                Step::Bytes(bytes) => transport.write(&bytes),
                Step::Close => transport.lose_connection(),
                Step::Abort => transport.abort_connection(),
                Step::Wait(time) => {
                    transport
                        .call_later(time, move |this: &mut Server, transport| this.act(transport, steps));
                    return;
                }
            }
        }
    }
}

impl Protocol for Server {
    fn connection_made(&mut self, _: &mut Transport<'_>) {
        self.script.borrow_mut().connections += 1;
        self.script.borrow_mut().open += 1;
    }

    fn data_received(&mut self, transport: &mut Transport<'_>, data: &[u8]) {
        self.script.borrow_mut().received.push_str(&String::from_utf8_lossy(data));
        self.request.extend_from_slice(data);
        while let Some(end) = self.request.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&self.request[..end + 4]).into_owned();
            let is_request = head.contains(" HTTP/1.1\r\n");
            let body = self.request.split_off(end + 4);
            self.request.clear();
            if !is_request {
                continue;
            }
            let body = String::from_utf8_lossy(&body).into_owned();
            if body.contains(" HTTP/1.1\r\n") {
                self.request = body.clone().into_bytes();
                self.script.borrow_mut().requests.push(head);
            } else {
                self.script.borrow_mut().requests.push(head + &body);
            }
            let answer = self.script.borrow_mut().answers.pop_front().unwrap_or_else(|| ok("default"));
            self.act(transport, answer.into());
        }
    }

    fn connection_lost(&mut self, _: &mut Transport<'_>, _: &Reason) {
        self.script.borrow_mut().open -= 1;
    }
}

type Results = Rc<RefCell<Vec<(Duration, Result<FetchResult, FetchError>)>>>;

pub struct Scene {
    pub simulation: Simulation,
    pub server: Host,
    pub user: Host,
    pub script: Rc<RefCell<Script>>,
    pub client: Client,
    pub results: Results,
}

impl Scene {
    pub fn new(settings: ClientSettings) -> Scene {
        let script = Rc::<RefCell<Script>>::default();
        let protocol = Server::new(&script);
        Scene::with_factory(settings, script, move || {
            let protocol = protocol.clone();
            move || protocol.clone()
        })
    }

    /// With this factory on ports 80 and 443 of the server.
    pub fn with_factory<F: Factory>(
        settings: ClientSettings,
        script: Rc<RefCell<Script>>,
        mut factory: impl FnMut() -> F + 'static,
    ) -> Scene {
        let mut simulation = Simulation::new(7);
        let (server, user) = (simulation.host("server"), simulation.host("user"));
        let boot = move |reactor: &mut Reactor| {
            reactor.listen_tcp("0.0.0.0:443", factory())?;
            reactor.listen_tcp("0.0.0.0:80", factory()).map(drop)
        };
        simulation.boot(server, boot).unwrap();
        let (client, results) = (Client::new(settings), Results::default());
        Scene { simulation, server, user, script, client, results }
    }

    pub fn answers(&self, answers: impl IntoIterator<Item = Vec<Step>>) {
        self.script.borrow_mut().answers.extend(answers);
    }

    /// Starts a call whose result is noted.
    pub fn start(&mut self, call: Call) {
        let results = Rc::clone(&self.results);
        let reactor = self.simulation.reactor(self.user);
        call.start(reactor, move |reactor, result| {
            results.borrow_mut().push((reactor.now().since_origin(), result));
        });
    }

    pub fn get(&mut self, url: &str) {
        self.start(self.client.get(url));
    }

    pub fn run(&mut self, time: Duration) {
        self.simulation.run_for(time).unwrap();
    }

    /// Makes a call and returns its result.
    pub fn result(&mut self, call: Call) -> Result<FetchResult, FetchError> {
        self.start(call);
        self.run(300 * SECOND);
        let (_, result) = self.results.borrow_mut().pop().expect("there is a result");
        assert_eq!(self.results.borrow().len(), 0, "there is one result");
        result
    }

    /// The bodies of all results so far, or their errors.
    pub fn bodies(&self) -> Vec<String> {
        let text = |result: &Result<FetchResult, FetchError>| match result {
            Ok(fetched) => String::from_utf8_lossy(&fetched.body).into_owned(),
            Err(error) => error.to_string(),
        };
        self.results.borrow().iter().map(|(_, result)| text(result)).collect()
    }

    pub fn connections(&self) -> usize {
        self.script.borrow().connections
    }

    pub fn requests(&self) -> Vec<String> {
        self.script.borrow().requests.clone()
    }
}

/// An empty folder for the files of a test.
pub fn folder_of(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("http_client").join(name);
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}
