//! A framing of one's own: a small Redis server for `redis-cli -p 7012`, with PING, GET and SET.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io::{Error, ErrorKind};
use std::rc::Rc;
use twistor::framing::{Decoder, Encoder, MessageReceiver, MessageTransport, Messages};
use twistor::{Reactor, println_or_exit};

/// The framing (RESP). A command is an array of strings with length: `*1\r\n$4\r\nPING\r\n`.
#[derive(Default)]
pub struct Resp {
    /// Number of bytes known to be needed for the current command.
    wanted: usize,
}

impl Decoder for Resp {
    type Message = Vec<Vec<u8>>;
    type Error = Error;

    /// Reads the command from its start, until all of it has arrived.
    fn decode(&mut self, input: &mut &[u8]) -> Result<Option<Vec<Vec<u8>>>, Error> {
        let (mut rest, mut words) = (*input, Vec::new());
        let Some(count) = number(b'*', &mut rest)? else { return Ok(None) };
        for _ in 0..count {
            let Some(length) = number(b'$', &mut rest)? else { return Ok(None) };
            // The length is the peer's, and at most 99,999.
            self.wanted = input.len() - rest.len() + length + 2;
            let Some((word, after)) = rest.split_at_checked(length + 2) else { return Ok(None) };
            words.push(word.strip_suffix(b"\r\n").ok_or(ErrorKind::InvalidData)?.to_vec());
            rest = after;
        }
        *input = rest;
        self.wanted = 1;
        Ok(Some(words))
    }

    fn min_input(&self) -> usize {
        self.wanted.max(1)
    }
}

/// Takes a line such as `$4`. Returns `None` if it has not arrived yet.
fn number(kind: u8, input: &mut &[u8]) -> Result<Option<usize>, Error> {
    let Some(end) = input.iter().take(8).position(|byte| *byte == b'\n') else {
        return if input.len() < 8 { Ok(None) } else { Err(ErrorKind::InvalidData.into()) };
    };
    let (line, rest) = input.split_at(end + 1);
    *input = rest;
    let digits = line.strip_prefix(&[kind]).and_then(|line| line.strip_suffix(b"\r\n"));
    let number = digits.and_then(|digits| std::str::from_utf8(digits).ok()?.parse::<u32>().ok());
    Ok(Some(number.ok_or(ErrorKind::InvalidData)? as usize))
}

/// Answers: `None` is a missing value.
impl Encoder for Resp {
    type Message = Option<Vec<u8>>;
    type Error = Infallible;

    fn encode(&mut self, answer: &Option<Vec<u8>>, out: &mut Vec<u8>) -> Result<(), Infallible> {
        out.extend(match answer {
            None => b"$-1\r\n".to_vec(),
            Some(bytes) => [format!("${}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat(),
        });
        Ok(())
    }
}

/// The handler of one client, and the data of all.
#[derive(Clone, Default)]
pub struct Client(Rc<RefCell<BTreeMap<Vec<u8>, Vec<u8>>>>);

impl MessageReceiver for Client {
    type Decoder = Resp;

    fn message_received(&mut self, transport: &mut MessageTransport<'_, Resp>, words: Vec<Vec<u8>>) {
        let answer = match words.as_slice() {
            [name] if name.eq_ignore_ascii_case(b"ping") => Some(b"PONG".to_vec()),
            [name, key] if name.eq_ignore_ascii_case(b"get") => self.0.borrow().get(key).cloned(),
            [name, key, value] if name.eq_ignore_ascii_case(b"set") => {
                self.0.borrow_mut().insert(key.clone(), value.clone());
                Some(b"OK".to_vec())
            }
            _ => return transport.write(b"-ERR unknown command\r\n"),
        };
        let Ok(()) = transport.send_message(&answer);
    }
}

fn main() -> twistor::Result<()> {
    let client = Client::default();
    let mut reactor = Reactor::new()?;
    let build = move || Messages::new(client.clone(), Resp::default());
    println_or_exit!("redis at {}", reactor.listen_tcp("127.0.0.1:7012", build)?.address());
    reactor.run()
}
