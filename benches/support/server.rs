//! The servers that are measured: which there are, how one runs as a child process, and what `/proc` says of it.
//!
//! A server prints its port and ends when its standard input closes. One that can only wait for sockets prints a
//! second port, for a connection that ends it when it closes. A thread that waits instead would cost every message:
//! the C library and the kernel take shorter ways through a system call while a process has a single thread.

use std::ffi::OsString;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit};

use super::{Result, mio_echo, python, streams_echo, tokio_echo, twistor_echo};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Twistor,
    Mio,
    C,
    /// The one in C once more: how far its figures are from the first one's is the noise.
    Control,
    /// twistor's, on tasks and streams.
    Streams,
    /// twistor's, which looks for work for 50 µs before it sleeps.
    Spin,
    /// tokio's current-thread runtime.
    Tokio,
    /// Python's own loop; its transports and protocols.
    Asyncio,
    /// The same on libuv.
    Uvloop,
    Twisted,
}

/// A server in a child process. Dropping it ends the process.
pub struct Server {
    child: Child,
    /// The connection that keeps the server alive, where standard input does not.
    lifeline: Option<TcpStream>,
    pub kind: Kind,
    pub address: SocketAddr,
}

impl Kind {
    /// What benches of the loop measure.
    pub const LOOPS: [Kind; 3] = [Kind::Twistor, Kind::Mio, Kind::C];

    /// These need a virtual environment, which takes a while at first use.
    pub const PYTHON: [Kind; 3] = [Kind::Asyncio, Kind::Uvloop, Kind::Twisted];

    const ALL: [Kind; 10] = [
        Kind::Twistor,
        Kind::Mio,
        Kind::C,
        Kind::Control,
        Kind::Streams,
        Kind::Spin,
        Kind::Tokio,
        Kind::Asyncio,
        Kind::Uvloop,
        Kind::Twisted,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Kind::Twistor => "twistor",
            Kind::Mio => "mio",
            Kind::C => "c",
            Kind::Control => "control",
            Kind::Streams => "streams",
            Kind::Spin => "spin",
            Kind::Tokio => "tokio",
            Kind::Asyncio => "asyncio",
            Kind::Uvloop => "uvloop",
            Kind::Twisted => "twisted",
        }
    }

    pub fn named(name: &str) -> Result<Kind> {
        let found = Kind::ALL.into_iter().find(|kind| kind.name() == name);
        let names = || Kind::ALL.map(Kind::name).join(", ");
        found.ok_or_else(|| format!("there is no server `{name}`: {}", names()).into())
    }

    /// Of the servers asked for those that can run here, after the baseline: C, or mio where there is no C compiler.
    pub fn with_baseline(wanted: &[Kind]) -> Vec<Kind> {
        let baseline = if epoll_program().is_some() { Kind::C } else { Kind::Mio };
        let others = wanted.iter().copied().filter(|&kind| kind != baseline && kind != Kind::C);
        [baseline].into_iter().chain(others).collect()
    }

    fn command_line(self) -> Result<Vec<OsString>> {
        match self {
            Kind::C | Kind::Control => {
                Ok(vec![epoll_program().ok_or("epoll.c could not be compiled")?.into()])
            }
            Kind::Twistor | Kind::Mio | Kind::Streams | Kind::Spin | Kind::Tokio => {
                Ok(vec![std::env::current_exe()?.into(), "--serve".into(), self.name().into()])
            }
            Kind::Asyncio | Kind::Uvloop | Kind::Twisted => python::command_line(self),
        }
    }

    fn serve(self) -> Result<()> {
        match self {
            Kind::Twistor => twistor_echo::serve(Duration::ZERO),
            Kind::Spin => twistor_echo::serve(Duration::from_micros(50)),
            Kind::Mio => Ok(mio_echo::serve()?),
            Kind::Streams => streams_echo::serve(),
            Kind::Tokio => tokio_echo::serve(),
            Kind::C | Kind::Control | Kind::Asyncio | Kind::Uvloop | Kind::Twisted => {
                Err(format!("the {} server is a program of its own", self.name()).into())
            }
        }
    }
}

impl Server {
    pub fn start(kind: Kind) -> Result<Server> {
        Server::start_under(&[], kind)
    }

    /// Starts the server as an argument of another program: `valgrind`, `strace`.
    pub fn start_under(program: &[OsString], kind: Kind) -> Result<Server> {
        raise_descriptor_limit();
        let line: Vec<OsString> = program.iter().cloned().chain(kind.command_line()?).collect();
        let mut child = Command::new(&line[0]) // a command line has at least the program
            .args(&line[1..])
            .envs((!program.is_empty()).then_some((UNDER_A_TOOL, "yes")))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("starting {}: {error}", line[0].display()))?;
        let mut answer = String::new();
        if let Some(output) = child.stdout.take() {
            BufReader::new(output).read_line(&mut answer)?;
        }
        let at = |port: u16| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let mut server = Server { child, lifeline: None, kind, address: at(0) };
        let ports: std::result::Result<Vec<u16>, _> = answer.split_whitespace().map(str::parse).collect();
        match ports.as_deref() {
            Ok(&[port]) => server.address = at(port),
            Ok(&[port, lifeline]) => {
                server.address = at(port);
                server.lifeline = Some(TcpStream::connect(at(lifeline))?);
            }
            _ => {
                return Err(format!("the {} server printed no port: `{}`", kind.name(), answer.trim()).into());
            }
        }
        Ok(server)
    }

    /// CPU time of all the threads, once they sleep: a running thread's account is a scheduler tick late.
    pub fn settled_cpu(&self) -> Result<Duration> {
        let start = Instant::now();
        let mut last = None;
        while start.elapsed() < Duration::from_secs(30) {
            let now = self.cpu_when_asleep()?;
            if now.is_some() && now == last {
                return Ok(now.unwrap_or_default());
            }
            last = now;
            thread::sleep(Duration::from_millis(4));
        }
        Err(format!("the {} server does not come to rest", self.kind.name()).into())
    }

    /// `None` while a thread runs or waits for a processor.
    fn cpu_when_asleep(&self) -> Result<Option<Duration>> {
        let mut nanoseconds = 0;
        for task in fs::read_dir(format!("/proc/{}/task", self.child.id()))? {
            let task = task?.path();
            let status = fs::read_to_string(task.join("stat"))?;
            if !status.rsplit(") ").next().is_some_and(|fields| fields.starts_with('S')) {
                return Ok(None);
            }
            let account = fs::read_to_string(task.join("schedstat"))?;
            nanoseconds += account.split(' ').next().unwrap_or_default().parse::<u64>()?;
        }
        Ok(Some(Duration::from_nanos(nanoseconds)))
    }

    /// Bytes of memory that are resident, counted page by page (`VmRSS` lags behind by up to 64 pages per CPU).
    pub fn resident(&self) -> Result<u64> {
        resident_of(&self.child.id().to_string())
    }

    pub fn open_descriptors(&self) -> Result<usize> {
        let directory = format!("/proc/{}/fd", self.child.id());
        // Since Linux 6.2 its size is the count; sixteen thousand entries take milliseconds to read.
        match fs::metadata(&directory)?.len() {
            0 => Ok(fs::read_dir(&directory)?.count()),
            count => Ok(count as usize),
        }
    }

    /// Ends the server as it should end, and waits: a tool around it writes its report then.
    pub fn stop(mut self) -> Result<()> {
        drop(self.child.stdin.take());
        drop(self.lifeline.take());
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(30) {
            if let Some(status) = self.child.try_wait()? {
                return if status.success() {
                    Ok(())
                } else {
                    Err(format!("{}: {status}", self.kind.name()).into())
                };
            }
            thread::sleep(Duration::from_millis(1));
        }
        Err(format!("the {} server did not end when it was told to", self.kind.name()).into())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            let _ = self.child.kill(); // it can only have ended meanwhile
            let _ = self.child.wait();
        }
    }
}

/// Serves, when that is what this process was started for: `--serve NAME`.
pub fn requested() -> Option<Result<()>> {
    let mut arguments = std::env::args().skip(1);
    (arguments.next()? == "--serve")
        .then(|| Kind::named(&arguments.next().unwrap_or_default()).and_then(Kind::serve))
}

/// The compiled `epoll.c`; compiled at the first call. `None`, with a line on stderr, where that is not possible.
fn epoll_program() -> Option<PathBuf> {
    static PROGRAM: OnceLock<Option<PathBuf>> = OnceLock::new();
    PROGRAM
        .get_or_init(|| {
            let program = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("epoll");
            let source = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/epoll.c");
            let output = Command::new("cc").args(["-O2", "-o"]).arg(&program).arg(source).output();
            let why = match output {
                Ok(output) if output.status.success() => return Some(program),
                Ok(output) => String::from_utf8_lossy(&output.stderr).into_owned(),
                Err(error) => error.to_string(),
            };
            eprintln!("no C server, mio is the baseline: cc {source}: {why}");
            None
        })
        .clone()
}

/// 8,192 connections need more than the usual 1,024 descriptors; children inherit the limit.
fn raise_descriptor_limit() {
    let limit = rustix::process::getrlimit(Resource::Nofile);
    let _ = rustix::process::setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
}

/// Bytes of memory that are resident, of a process or of `self`.
pub fn resident_of(process: &str) -> Result<u64> {
    let rollup = fs::read_to_string(format!("/proc/{process}/smaps_rollup"))?;
    let line = rollup.lines().find_map(|line| line.strip_prefix("Rss:")).ok_or("smaps_rollup has no Rss")?;
    Ok(line.trim().trim_end_matches("kB").trim().parse::<u64>()? * 1024)
}

/// Tells a server that another program slows it down.
pub const UNDER_A_TOOL: &str = "ECHO_UNDER_A_TOOL";
