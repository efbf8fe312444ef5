//! A framing of one's own, that of an example, is understood by Redis, and Redis by another one.

#[path = "../../examples/redis_server.rs"]
#[allow(dead_code, reason = "its main function")]
mod redis_server;

use std::cell::RefCell;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::time::Duration;

use crate::world::{free_address, on_each_back_end, on_the_real_network};
use redis_server::{Client, Resp};
use twistor::framing::{
    CountDecoder, Decoder, LineDecoder, LineTooLong, MessageReceiver, MessageTransport, Messages,
};
use twistor::testing::{StringTransport, assert_any_cut};

/// Past the capture of passing tests: it has to be seen.
fn skipped(program: &str) {
    let _ = writeln!(std::io::stderr(), "SKIPPED: {program} is not installed");
}

/// A child process that is ended on drop.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn commands_are_the_same_at_any_cut() {
    let bytes = b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n*0\r\n*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$4\r\n\r\n\r\n\r\n";
    let (commands, ended) = assert_any_cut(Resp::default, bytes);
    let set = vec![b"SET".to_vec(), b"k".to_vec(), b"\r\n\r\n".to_vec()];
    assert_eq!(commands, [vec![b"GET".to_vec(), b"k".to_vec()], vec![], set]);
    assert!(ended.is_ok());
    for invalid in [&b"PING\r\n"[..], b"*1\r\n:1\r\n", b"*-1\r\n", b"*1\r\n$1\r\nxyz\r\n", b"*1000000\r\n"] {
        assert!(assert_any_cut(Resp::default, invalid).1.is_err(), "{}", invalid.escape_ascii());
    }
}

#[test]
fn a_length_that_nothing_follows_ends_the_connection_at_once() {
    let mut transport = StringTransport::new(Messages::new(Client::default(), Resp::default()));
    transport.feed(b"*1\r\n$99999\r\n");
    assert!(transport.disconnecting());
}

#[test]
fn redis_cli_is_served() {
    on_the_real_network("redis-cli speaks to the system's network", |world| {
        let mut reactor = world.reactor();
        let client = Client::default();
        let build = move || Messages::new(client.clone(), Resp::default());
        let listener = reactor.listen_tcp(world.anywhere(), build).unwrap();
        let cli = Command::new("redis-cli")
            .args(["-p", &listener.address().port().unwrap().to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn();
        let Ok(cli) = cli else {
            world.close(&mut reactor, &listener);
            return skipped("redis-cli");
        };
        let mut cli = Running(cli);
        let value = "x".repeat(60_000);
        let input = format!(
            "PING\nSET greeting \"hello world\"\nGET greeting\nSET big {value}\nGET big\nGET no\nNO\n"
        );
        let mut stdin = cli.0.stdin.take().unwrap();
        let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()).unwrap());
        let mut stdout = cli.0.stdout.take().unwrap();
        let reader = std::thread::spawn(move || {
            let mut text = String::new();
            stdout.read_to_string(&mut text).unwrap();
            text
        });
        world.run_until(&mut reactor, "answered", |_| reader.is_finished());
        writer.join().unwrap();
        let answers = reader.join().unwrap();
        let lines: Vec<&str> = answers.lines().filter(|line| !line.is_empty()).collect();
        assert_eq!(lines, ["PONG", "OK", "hello world", "OK", &value, "ERR unknown command"]);
        drop(cli);
        world.close(&mut reactor, &listener);
    });
}

/// Answers of a Redis server, read by the shipped decoders: a line, and the string behind it.
#[derive(Default)]
struct Answers {
    line: LineDecoder,
    string: CountDecoder,
    length: Option<usize>,
}

impl Decoder for Answers {
    type Message = String;
    type Error = LineTooLong;

    fn decode(&mut self, input: &mut &[u8]) -> Result<Option<String>, LineTooLong> {
        if self.length.is_none() {
            let Some(line) = self.line.next(input)? else { return Ok(None) };
            let length = line.strip_prefix(b"$").and_then(|digits| std::str::from_utf8(digits).ok());
            match length.and_then(|digits| digits.parse::<usize>().ok()) {
                None => return Ok(Some(line.escape_ascii().to_string())),
                Some(length) => self.length = Some(length),
            }
        }
        let length = self.length.unwrap_or(0);
        let Some(string) = self.string.next(length + 2, input) else { return Ok(None) };
        self.length = None;
        Ok(Some(string[..length].escape_ascii().to_string()))
    }

    fn buffered(&self) -> usize {
        self.line.unfinished().len() + self.string.unfinished().len() + usize::from(self.length.is_some())
    }
}

/// Sends all commands at once, and records the answers.
struct Asking {
    answers: Rc<RefCell<Vec<String>>>,
    commands: &'static [&'static [u8]],
}

impl MessageReceiver for Asking {
    type Decoder = Answers;

    fn connection_made(&mut self, transport: &mut MessageTransport<'_, Answers>) {
        for words in self.commands {
            let words: Vec<&[u8]> = words.split(|byte| *byte == b' ').collect();
            transport.write(format!("*{}\r\n", words.len()).as_bytes());
            for word in words {
                transport.write_sequence(&[format!("${}\r\n", word.len()).as_bytes(), word, b"\r\n"]);
            }
        }
    }

    fn message_received(&mut self, transport: &mut MessageTransport<'_, Answers>, answer: String) {
        self.answers.borrow_mut().push(answer);
        if self.answers.borrow().len() == self.commands.len() {
            transport.lose_connection();
        }
    }
}

const COMMANDS: &[&[u8]] =
    &[b"PING", b"SET key value", b"GET key", b"GET none", b"INCR key2", b"NO", b"GET key"];

const ANSWERS: [&str; 4] = ["+PONG", "+OK", "value", "$-1"];

#[test]
fn redis_server_is_understood() {
    on_the_real_network("redis-server speaks to the system's network", |world| {
        let address = free_address();
        let started = Command::new("redis-server")
            .args(["--port", &address.port().to_string(), "--bind", &address.ip().to_string()])
            .args(["--save", "", "--appendonly", "no", "--daemonize", "no"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let Ok(server) = started else { return skipped("redis-server") };
        let mut server = Running(server);
        while TcpStream::connect(address).is_err() {
            assert!(server.0.try_wait().unwrap().is_none(), "redis-server ended at once");
            std::thread::sleep(Duration::from_millis(10));
        }
        let mut reactor = world.reactor();
        let answers = Rc::<RefCell<Vec<String>>>::default();
        let seen = Rc::clone(&answers);
        let asking = move || {
            Messages::new(Asking { answers: Rc::clone(&seen), commands: COMMANDS }, Answers::default())
        };
        reactor.connect_tcp(address, asking).unwrap();
        world.run_until_idle(&mut reactor);
        let answers = answers.borrow();
        assert_eq!((&answers[..4], answers.len()), (&ANSWERS.map(str::to_owned)[..], COMMANDS.len()));
        assert_eq!((answers[4].as_str(), answers[6].as_str()), (":1", "value"));
        assert!(answers[5].starts_with("-ERR unknown command"), "{}", answers[5]);
    });
}

#[test]
fn both_framings_understand_each_other() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let client = Client::default();
        let build = move || Messages::new(client.clone(), Resp::default());
        let listener = reactor.listen_tcp(world.anywhere(), build).unwrap();
        let answers = Rc::<RefCell<Vec<String>>>::default();
        let seen = Rc::clone(&answers);
        let asking = move || {
            Messages::new(Asking { answers: Rc::clone(&seen), commands: COMMANDS }, Answers::default())
        };
        reactor.connect_tcp(listener.address(), asking).unwrap();
        world.run_until(&mut reactor, "answered", |_| answers.borrow().len() == COMMANDS.len());
        assert_eq!(answers.borrow()[..4], ["PONG", "OK", "value", "$-1"]);
        world.close(&mut reactor, &listener);
    });
}
