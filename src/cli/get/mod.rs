//! `twistor get`: makes one HTTP request, and shows what the client does.

mod report;

use self::report::Report;
use super::client_options::ClientOptions;
use super::{Failure, Outcome, output, print_error, span, writer};
use crate::Reactor;
use crate::escape::EscapedJson;
use crate::files;
use crate::http::{
    Client, ClientSettings, FetchError, Limits, Request, RequestError, ResponseHead, StreamEnd, StreamEvent,
    Timeouts, Url,
};
use clap::Args;
use std::cell::RefCell;
use std::fmt::Display;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

/// Make an HTTP request.
///
/// The body goes to stdout as it arrives: as it is into a pipe or a file, escaped on a terminal.
/// The heads, and the time that each phase took, go to stderr with -v, and if stdout is a terminal.
///
/// HTTP/1.1 only. A compressed body is decompressed.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  twistor get https://example.org/
  twistor get -v -L http://example.org/ | head
  twistor get https://localhost:8443/ --ca ca.pem
  twistor get http://localhost/api -H 'Accept: application/json' -d '{\"level\":1}' --json
  twistor get http://app/status --via unix:/run/app.sock

--json prints one object: url (after redirects), method, status, headers (pairs of name and value),
redirects, size, body (null if it is not text), timings_ms (queued, resolve, connect, tls, first_byte,
transfer, total; null for a phase that did not happen). Without a response, status is null and error
has the reason.

Exit codes: 0 the status is below 400, 1 it is 400 or above, or the output failed, 2 bad usage, 9 there
was no complete response.")]
pub(super) struct Get {
    /// URL: http://HOST[:PORT]/PATH or https://
    #[arg(value_name = "URL")]
    url: String,

    /// Request method [default: GET, and POST with -d]
    #[arg(short = 'X', long, value_name = "METHOD")]
    method: Option<String>,

    /// Ask for the head only: the method HEAD
    #[arg(short = 'I', long, conflicts_with_all = ["method", "data"])]
    head: bool,

    /// A header, "NAME: VALUE"
    #[arg(short = 'H', long = "header", value_name = "HEADER")]
    headers: Vec<String>,

    /// Body of the request; @FILE sends a file
    #[arg(short = 'd', long, value_name = "DATA")]
    data: Option<String>,

    /// Basic authentication
    #[arg(short = 'u', long, value_name = "USER:PASSWORD")]
    user: Option<String>,

    /// Follow redirects, at most 10
    #[arg(short = 'L', long)]
    location: bool,

    /// Write the body to FILE once it is complete; at most 1 GiB
    #[arg(short = 'o', long, value_name = "FILE")]
    output: Option<String>,

    /// Maximum time for the whole request
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = span::positive)]
    timeout: Duration,

    /// Show heads and timings on stderr
    #[arg(short = 'v', long)]
    verbose: bool,

    /// Print one JSON object
    #[arg(long, conflicts_with_all = ["output", "verbose"])]
    json: bool,

    #[command(flatten)]
    client: ClientOptions,
}

/// What has been received.
#[derive(Default)]
struct Received {
    head: Option<ResponseHead>,
    /// The body, if it is not passed on at once.
    body: Vec<u8>,
    size: u64,
    end: Option<Result<StreamEnd, String>>,
    written: Option<Result<(), String>>,
    /// The error of stdout.
    failed: Option<io::Error>,
}

impl Get {
    pub(super) fn run(&self) -> Outcome {
        let usage = |error: &dyn Display| Failure::Usage(error.to_string());
        let url: Url = self.url.parse().map_err(|error| {
            Failure::Usage(format!("bad URL \"{}\": {error}", crate::escape::Escaped(&self.url)))
        })?;
        let request = self.request(&url).map_err(|error| usage(&error))?;
        let limits = Limits { body: MAX_BODY, ..Limits::default() };
        let timeouts = Timeouts { total: Some(self.timeout), ..Timeouts::default() };
        let max_redirects = if self.location { ClientSettings::default().max_redirects } else { 0 };
        let settings = ClientSettings { limits, timeouts, max_redirects, ..ClientSettings::default() };
        let client = self.client.client(settings)?;
        let mut reactor = Reactor::new()?;
        output::end_with_stdout(&reactor, false);
        let received = Rc::<RefCell<Received>>::default();
        let report = Rc::new(Report::new(self.verbose || (!self.json && output::is_screen(&io::stdout()))));
        match self.data.as_deref().and_then(|data| data.strip_prefix('@')) {
            None => self.start(&mut reactor, &client, request, &received, &report),
            Some(path) => {
                let file = Rc::clone(&received);
                let (path, received, report) = (path.to_owned(), Rc::clone(&received), Rc::clone(&report));
                let (collected, output) = (self.is_collected(), self.output.clone());
                files::read(&path)
                    .limit(MAX_BODY)
                    .start(&mut reactor, move |reactor, read| match read {
                        Ok(bytes) => {
                            let request = request.body(bytes);
                            start(reactor, &client, request, &received, &report, collected, output);
                        }
                        Err(error) => {
                            file.borrow_mut().end = Some(Err(crate::error_chain(&error).to_string()));
                            reactor.stop();
                        }
                    })
                    .map_err(|error| Failure::Run(crate::error_chain(&error).to_string()))?;
            }
        }
        reactor.run()?;
        self.conclude(&url, received.take(), &report)
    }

    fn request(&self, url: &Url) -> Result<Request, RequestError> {
        let method = match (&self.method, self.head, &self.data) {
            (Some(method), ..) => method.as_str(),
            (None, true, _) => "HEAD",
            (None, false, Some(_)) => "POST",
            (None, false, None) => "GET",
        };
        let mut request = Request::new(method.parse()?, url);
        if let Some(data) = self.data.as_deref().filter(|data| !data.starts_with('@')) {
            request = request.body(data);
        }
        for header in &self.headers {
            let (name, value) = header.split_once(':').unwrap_or((header, ""));
            if !header.contains(':') {
                return Err(RequestError::HeaderName(header.clone()));
            }
            request = request.header(name, value.trim())?;
        }
        if let Some(user) = &self.user {
            let (user, password) = user.split_once(':').unwrap_or((user, ""));
            request = request.basic_auth(user, password)?;
        }
        Ok(request)
    }

    /// Whether the body is used as a whole.
    fn is_collected(&self) -> bool {
        self.json || self.output.is_some()
    }

    fn start(
        &self,
        reactor: &mut Reactor,
        client: &Client,
        request: Request,
        received: &Rc<RefCell<Received>>,
        report: &Rc<Report>,
    ) {
        start(reactor, client, request, received, report, self.is_collected(), self.output.clone());
    }

    fn conclude(&self, url: &Url, received: Received, report: &Report) -> Outcome {
        if let Some(error) = received.failed {
            return output::outcome(Some(error), ExitCode::SUCCESS);
        }
        let received = &received;
        let end = match &received.end {
            Some(end) => end,
            None => return Err(Failure::Run("interrupted".to_owned())),
        };
        if self.json {
            let object = report::json(url, self.request(url).ok().as_ref(), received);
            let mut out = writer::stdout();
            let written = writeln!(out, "{}", EscapedJson(object)).and_then(|()| out.flush());
            output::outcome(written.err(), ExitCode::SUCCESS)?;
        }
        let (end, head) = match (end, &received.head) {
            (Ok(end), Some(head)) => (end, head),
            (Err(why), _) => {
                print_error(&format_args!("{url}: {why}"));
                return Ok(ExitCode::from(NO_RESPONSE));
            }
            (Ok(_), None) => return Ok(ExitCode::from(NO_RESPONSE)),
        };
        report.end(end, received.size);
        if let Some(Err(why)) = &received.written {
            return Err(Failure::Run(why.clone()));
        }
        Ok(if head.status < 400 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

fn start(
    reactor: &mut Reactor,
    client: &Client,
    request: Request,
    received: &Rc<RefCell<Received>>,
    report: &Rc<Report>,
    collected: bool,
    output: Option<String>,
) {
    report.request(&request);
    let (received, report) = (Rc::clone(received), Rc::clone(report));
    let on_terminal = io::stdout().is_terminal();
    client.request(request).stream_with(reactor, move |reactor, event| match event {
        StreamEvent::Head(head) => {
            report.head(&head);
            received.borrow_mut().head = Some(head);
        }
        StreamEvent::Piece(piece) => {
            let mut received = received.borrow_mut();
            received.size += piece.len() as u64;
            if collected {
                received.body.extend_from_slice(piece);
                if received.body.len() > MAX_BODY {
                    received.end = Some(Err(format!("the body is longer than {MAX_BODY} bytes")));
                    reactor.stop();
                }
                return;
            }
            // Blocks while the reader of the pipe does not read: nothing else is to be done, and
            // then the server waits too. The queue of other commands would drop lines.
            let mut out = io::stdout().lock();
            let written = match on_terminal {
                true => write!(out, "{}", report::OnTerminal(piece)),
                false => out.write_all(piece),
            };
            if let Err(error) = written.and_then(|()| out.flush()) {
                received.failed = Some(error);
                reactor.stop();
            }
        }
        StreamEvent::End(end) => {
            let complete = end.is_ok();
            let mut ended = received.borrow_mut();
            ended.end.get_or_insert(end.map_err(|error: FetchError| crate::error_chain(&error).to_string()));
            let body = std::mem::take(&mut ended.body);
            match &output {
                Some(path) if complete => {
                    let (path, writing) = (path.clone(), Rc::clone(&received));
                    let started = files::write(&path, body).start(reactor, move |reactor, written| {
                        let written = written.map_err(|error| crate::error_chain(&error).to_string());
                        writing.borrow_mut().written = Some(written);
                        reactor.stop();
                    });
                    if let Err(error) = started {
                        ended.written = Some(Err(error.to_string()));
                        reactor.stop();
                    }
                }
                _ => {
                    ended.body = body;
                    reactor.stop();
                }
            }
        }
    });
}

/// No complete response, as `dig` has it.
const NO_RESPONSE: u8 = 9;
/// A body that is kept as a whole.
const MAX_BODY: usize = 1 << 30;
