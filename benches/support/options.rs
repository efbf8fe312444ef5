//! The arguments of the benches: one set for all of them, so that `cargo bench -- --smoke` reaches every one of them.

use std::time::Duration;

use super::Result;
use super::cell::Cell;
use super::server::Kind;

pub struct Options {
    /// Repetitions of everything, if given; the tables show their median and their range.
    rounds: Option<usize>,
    /// How long one sample of a load takes.
    pub sample: Duration,
    pub cells: Vec<Cell>,
    pub servers: Vec<Kind>,
    /// As little as shows that the bench works; its figures mean nothing.
    pub smoke: bool,
    /// Fail when a count is over its limit.
    pub check: bool,
    /// Write the counts into the file of baselines.
    pub update: bool,
}

pub const HELP: &str = "\
  --rounds N         repetitions (default 5, timers 3)
  --seconds S        length of one sample (default 0.6)
  --cells A,B        workloads such as `pp c64 s64 d16`, `bulk c1`, `churn p64` (default: the ten)
  --servers A,B      of twistor, mio, c, control, streams, spin, tokio, asyncio, uvloop, twisted (default: the first three; the baseline is always measured)
  --smoke            one short round of the small workloads: does the bench work?
  --check            exit with 1 when a count exceeds its baseline or limit (benches that have them)
  --update           write what was counted into benches/baselines.txt (`instructions`)
Each bench uses the options that concern it.";

impl Options {
    /// Without `--bench`, which `cargo bench` passes and `cargo test --benches` does not, the run is a smoke run.
    pub fn from_arguments() -> Result<Options> {
        Options::parse(std::env::args().skip(1))
    }

    /// The same from arguments that a bench with options of its own hands on; of two that contradict the later one counts.
    pub fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Options> {
        let mut options = Options {
            rounds: None,
            sample: Duration::from_millis(600),
            cells: Cell::standard(),
            servers: Kind::LOOPS.to_vec(),
            smoke: true,
            check: false,
            update: false,
        };
        let mut smoke = false;
        let mut arguments = arguments.into_iter();
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().ok_or_else(|| format!("{argument} needs a value\n{HELP}"));
            match argument.as_str() {
                "--bench" => options.smoke = false,
                "--smoke" => smoke = true,
                "--check" => options.check = true,
                "--update" => options.update = true,
                "--rounds" => options.rounds = Some(value()?.parse::<usize>()?.clamp(1, 1000)),
                "--seconds" => options.sample = Duration::try_from_secs_f64(value()?.parse()?)?,
                "--cells" => {
                    options.cells =
                        value()?.split(',').map(str::parse).collect::<std::result::Result<_, _>>()?
                }
                "--servers" => {
                    options.servers = value()?.split(',').map(Kind::named).collect::<Result<_>>()?
                }
                "--help" | "-h" => {
                    println!("{HELP}");
                    std::process::exit(0);
                }
                _ => return Err(format!("unknown argument `{argument}`\n{HELP}").into()),
            }
        }
        options.smoke |= smoke;
        if options.smoke {
            options.rounds = Some(1);
            options.sample = Duration::from_millis(50);
            options.cells.retain(Cell::is_small);
        }
        Ok(options)
    }

    /// The repetitions asked for, or those that the bench takes by itself.
    pub fn rounds(&self, default: usize) -> usize {
        self.rounds.unwrap_or(default)
    }
}
