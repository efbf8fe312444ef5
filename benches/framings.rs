//! What framings cost: instructions per byte at any cut, and a server of lines against the bare echo.
//!
//! The first table counts user instructions of the codecs with valgrind: the same bytes in pieces of several sizes. The counts repeat on any
//! machine, however busy, so `cargo bench --bench framings -- --check` can exit with 1 when one is over its limit in `benches/baselines.txt`, or when twice the
//! bytes are more than twice the instructions.
//!
//! The second one compares two servers on twistor that send back lines of 100 bytes: one that knows nothing of lines, and one that
//! takes each line and sends it. The servers take turns within a round, each a thread with a reactor of its own; the figure to read is the
//! **ratio of bytes per second of the server's CPU**.

mod support;

use std::ffi::OsString;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use twistor::framing::{
    FrameTransport, LengthPrefix, LineDecoder, LineReceiver, LineTransport, Lines, NetstringDecoder,
    PrefixDecoder, StringReceiver, Strings, encode_line, encode_netstring, encode_string,
};
use twistor::{Protocol, Reactor, RemoteHandle, Transport};

use support::baselines::Baselines;
use support::options::Options;
use support::table::{self, Table};
use support::tool;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, feed, codec, piece, bytes] = arguments.as_slice()
        && feed == "--feed"
    {
        return match (Codec::named(codec), piece.parse(), bytes.parse()) {
            (Some(codec), Ok(piece), Ok(bytes)) => {
                println!("{}", codec.feed(piece, bytes));
                ExitCode::SUCCESS
            }
            _ => ExitCode::FAILURE,
        };
    }
    support::main(bench)
}

fn bench(options: Options) -> support::Result<()> {
    let exceeded = match tool::present("valgrind") {
        true => count(&options)?,
        false => vec!["no valgrind here: instructions are not counted".to_owned()],
    };
    for what in &exceeded {
        println!("\n{what}");
    }
    if options.check {
        if !exceeded.is_empty() {
            return Err("a framing is over its limits".into());
        }
        println!("\nthe framings are within their limits");
        return Ok(());
    }
    compare_servers(&options)
}

// -- instructions --

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Codec {
    /// Lines of 100 bytes.
    Lines,
    /// All the bytes are one line.
    OneLine,
    /// Strings of 100 bytes.
    Netstrings,
    OneNetstring,
    Prefixed,
    OnePrefixed,
}

const CODECS: [(Codec, &str); 6] = [
    (Codec::Lines, "lines"),
    (Codec::OneLine, "one-line"),
    (Codec::Netstrings, "netstrings"),
    (Codec::OneNetstring, "one-netstring"),
    (Codec::Prefixed, "int32"),
    (Codec::OnePrefixed, "one-int32"),
];

/// All of it in one piece is the last.
const PIECES: [(usize, &str); 5] = [
    (1, "in pieces of 1"),
    (7, "in pieces of 7"),
    (100, "in pieces of 100"),
    (4096, "in pieces of 4096"),
    (usize::MAX, "all in one piece"),
];

/// What is counted first: the input is made, and not fed.
const NOTHING: usize = 0;

/// How much the cost of a byte may grow when there are twice as many; it would double with a quadratic codec.
const GROWTH: f64 = 1.05;

/// Fewer instructions per byte than these are none: the frame was there in one piece.
const NOISE: f64 = 0.01;

impl Codec {
    fn named(name: &str) -> Option<Codec> {
        CODECS.iter().find(|(_, other)| *other == name).map(|(codec, _)| *codec)
    }

    /// So many bytes, or a few less.
    fn input(self, bytes: usize) -> Vec<u8> {
        let mut out = Vec::with_capacity(bytes);
        let one = vec![b'x'; bytes.saturating_sub(20)];
        let string = &one[..98];
        match self {
            Codec::OneLine => encode_line(&mut out, &one, b"\r\n"),
            Codec::OneNetstring => encode_netstring(&mut out, &one),
            Codec::OnePrefixed => {
                encode_string(&mut out, LengthPrefix::Int32, &one).expect("it is not as long")
            }
            Codec::Lines => {
                (0..bytes / 100).for_each(|_| encode_line(&mut out, string, b"\r\n"));
            }
            Codec::Netstrings => {
                (0..bytes / 102).for_each(|_| encode_netstring(&mut out, string));
            }
            Codec::Prefixed => (0..bytes / 102).for_each(|_| {
                encode_string(&mut out, LengthPrefix::Int32, string).expect("it is not as long")
            }),
        }
        out
    }

    /// Feeds the input in pieces, and returns how many bytes of frames there were.
    fn feed(self, piece: usize, bytes: usize) -> usize {
        let input = self.input(bytes);
        if piece == NOTHING {
            return input.len();
        }
        let pieces = input.chunks(piece.min(input.len()));
        let mut total = 0;
        match self {
            Codec::Lines | Codec::OneLine => {
                let mut decoder = LineDecoder::new(b"\r\n", usize::MAX);
                for mut piece in pieces {
                    while let Ok(Some(line)) = decoder.next(&mut piece) {
                        total += line.len();
                    }
                }
            }
            Codec::Netstrings | Codec::OneNetstring => {
                let mut decoder = NetstringDecoder::new(usize::MAX);
                for mut piece in pieces {
                    while let Ok(Some(string)) = decoder.next(&mut piece) {
                        total += string.len();
                    }
                }
            }
            Codec::Prefixed | Codec::OnePrefixed => {
                let mut decoder = PrefixDecoder::new(LengthPrefix::Int32, usize::MAX);
                for mut piece in pieces {
                    while let Ok(Some(string)) = decoder.next(&mut piece) {
                        total += string.len();
                    }
                }
            }
        }
        total
    }
}

fn count(options: &Options) -> support::Result<Vec<String>> {
    let size = if options.smoke { 1 << 15 } else { 1 << 18 };
    let mut table = Table::new(["bytes", "in pieces of 1", "7", "100", "4096", "all"]);
    let (mut exceeded, baselines) = (Vec::new(), Baselines::read()?);
    for (codec, name) in CODECS {
        let mut row = vec![name.to_owned()];
        let sizes = [size, size * 2, size * 4];
        let made = three(sizes, |bytes| instructions(codec, name, NOTHING, bytes))?;
        for (piece, cut) in PIECES {
            let limit = baselines.limit(&format!("a framed byte, {cut}"))?;
            if options.smoke && piece != 7 {
                row.push("-".to_owned());
                continue;
            }
            let counts = three(sizes, |bytes| instructions(codec, name, piece, bytes))?;
            let own = [0, 1, 2].map(|index| counts[index] - made[index]);
            // The differences are free of what happens once.
            let (first, second) = (own[1] - own[0], (own[2] - own[1]) / 2.0);
            let per_byte = second / size as f64;
            let growth = if per_byte < NOISE { 1.0 } else { second / first };
            row.push(format!("{per_byte:.2} (x{growth:.2})"));
            if per_byte > limit {
                exceeded.push(format!(
                    "{name}, {cut}: {per_byte:.2} instructions per byte, the limit is {limit}"
                ));
            }
            if growth > GROWTH {
                exceeded.push(format!(
                    "{name}, {cut}: a byte among twice as many costs {growth:.2} times as much"
                ));
            }
        }
        table.row(row);
    }
    table.print("User instructions per byte, and how they grow when the bytes double");
    Ok(exceeded)
}

fn three(sizes: [usize; 3], count: impl Fn(usize) -> support::Result<f64>) -> support::Result<[f64; 3]> {
    let [first, second, third] = sizes.map(count);
    Ok([first?, second?, third?])
}

fn instructions(codec: Codec, name: &str, piece: usize, bytes: usize) -> support::Result<f64> {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("callgrind.framings.{name}.{piece}"));
    let mut report = OsString::from("--callgrind-out-file=");
    report.push(&path);
    let output = Command::new("valgrind")
        .args(["--quiet", "--tool=callgrind"])
        .arg(report)
        .arg(std::env::current_exe()?)
        .args(["--feed", name, &piece.to_string(), &bytes.to_string()])
        .stderr(Stdio::inherit())
        .output()?;
    let framed: usize = String::from_utf8(output.stdout)?.trim().parse()?;
    if framed == 0 || framed > bytes {
        return Err(format!("{codec:?} made {framed} bytes of {bytes}").into());
    }
    let report = fs::read_to_string(&path)?;
    let total =
        report.lines().find_map(|line| line.strip_prefix("summary:").or(line.strip_prefix("totals:")));
    Ok(total.ok_or("callgrind wrote no total")?.trim().parse::<u64>()? as f64)
}

// -- servers --

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Server {
    /// Sends back what comes.
    Bare,
    Lines,
    /// Sends back strings behind a length of four bytes.
    Strings,
}

const SERVERS: [Server; 3] = [Server::Bare, Server::Lines, Server::Strings];

/// Connections, and lines that each has on the way.
const CELLS: [(usize, usize); 4] = [(16, 1), (16, 4), (16, 16), (16, 160)];

/// A line with its delimiter.
const LINE: usize = 100;

fn compare_servers(options: &Options) -> support::Result<()> {
    let heads = ["cell", "lines", "int32 strings", "bare, per line", "lines, per line"];
    let mut table = Table::new(heads);
    for (connections, window) in CELLS {
        // CPU nanoseconds per line, by server.
        let mut cost = SERVERS.map(|_| Vec::new());
        for round in 0..options.rounds(7) {
            for turn in 0..SERVERS.len() {
                let index = (round + turn) % SERVERS.len();
                let (lines, cpu) = sample(SERVERS[index], connections, window, options.sample)?;
                cost[index].push(cpu.as_secs_f64() * 1e9 / lines as f64);
            }
        }
        let ratio = |index: usize| {
            let ratios: Vec<f64> = cost[0].iter().zip(&cost[index]).map(|(bare, own)| bare / own).collect();
            table::spread(&ratios)
        };
        table.row([
            format!("c{connections} s{LINE} d{window}"),
            ratio(1),
            ratio(2),
            format!("{:.0} ns", table::median(&cost[0])),
            format!("{:.0} ns", table::median(&cost[1])),
        ]);
        eprintln!("c{connections} d{window}");
    }
    table.print(
        "Bytes per CPU second of the server, to the bare echo's in the same round: median [lowest..highest]",
    );
    Ok(())
}

struct Echo;

impl Protocol for Echo {
    fn data_received(&mut self, transport: &mut Transport<'_>, data: &[u8]) {
        transport.write(data);
    }
}

impl LineReceiver for Echo {
    fn line_received(&mut self, transport: &mut LineTransport<'_>, line: &[u8]) {
        transport.send_line(line);
    }
}

impl StringReceiver for Echo {
    fn string_received(&mut self, transport: &mut FrameTransport<'_>, string: &[u8]) {
        // It is as long as one that came.
        let _ = transport.send_string(string);
    }
}

impl Server {
    fn serve(self, started: &Sender<(SocketAddr, RemoteHandle)>) -> support::Result<()> {
        let mut reactor = Reactor::new()?;
        let at = "127.0.0.1:0";
        let listener = match self {
            Server::Bare => reactor.listen_tcp(at, || Echo)?,
            Server::Lines => reactor.listen_tcp(at, || Lines::new(Echo))?,
            Server::Strings => reactor.listen_tcp(at, || Strings::int32(Echo))?,
        };
        let address = listener.address().socket_address().ok_or("no address of TCP")?;
        started.send((address, reactor.remote()))?;
        while reactor.iterate(None)? {}
        Ok(())
    }

    /// So many lines, or strings of the same size, as they are sent.
    fn message(self, lines: usize) -> Vec<u8> {
        let mut line = [b'x'; LINE];
        match self {
            Server::Strings => line[..4].copy_from_slice(&(LINE as u32 - 4).to_be_bytes()),
            Server::Bare | Server::Lines => line[LINE - 2..].copy_from_slice(b"\r\n"),
        }
        line.repeat(lines)
    }
}

/// Lines that came back, and the CPU of the server's thread.
fn sample(
    server: Server,
    connections: usize,
    window: usize,
    length: Duration,
) -> support::Result<(u64, Duration)> {
    let (sender, started) = channel();
    let thread = thread::spawn(move || {
        server.serve(&sender).map_err(|error| error.to_string())?;
        let time = clock_gettime(ClockId::ThreadCPUTime);
        Ok::<Duration, String>(Duration::new(time.tv_sec as u64, time.tv_nsec as u32))
    });
    let (address, remote) = started.recv().map_err(|_| "the server did not start")?;
    let lines = load(address, server, connections, window, length);
    let _ = remote.stop(); // it can only have ended
    let cpu = thread.join().map_err(|_| "the server's thread panicked")??;
    Ok((lines?, cpu))
}

fn load(
    address: SocketAddr,
    server: Server,
    connections: usize,
    window: usize,
    length: Duration,
) -> support::Result<u64> {
    let message = server.message(window);
    let mut streams = (0..connections)
        .map(|_| {
            let stream = TcpStream::connect(address)?;
            stream.set_nodelay(true)?;
            Ok(stream)
        })
        .collect::<std::io::Result<Vec<TcpStream>>>()?;
    let mut echo = vec![0; message.len()];
    let (start, mut lines) = (Instant::now(), 0);
    while start.elapsed() < length {
        for stream in &mut streams {
            stream.write_all(&message)?;
        }
        for stream in &mut streams {
            stream.read_exact(&mut echo)?;
            if echo != message {
                return Err("a line came back changed".into());
            }
            lines += window as u64;
        }
    }
    Ok(lines)
}
