//! The command line of a run: the options that all benches share, and those of this bench.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::run::Missing;
use super::support::Result;
use super::support::options::{self, Options};
use super::support::python;
use super::support::server::Kind;
use super::workload::{SECTIONS, Workload};

pub struct Arguments {
    pub options: Options,
    pub mode: Mode,
    /// Names of [`SECTIONS`].
    sections: Vec<String>,
    /// Cells were requested by name: only these are measured.
    cells_named: bool,
    servers_named: bool,
    python: bool,
    /// The results of an earlier run, to be reported again without measuring.
    pub saved_run: Option<PathBuf>,
    /// The command line of this run.
    pub command: String,
}

/// The number of cells and rounds.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Full,
    Quick,
}

const HELP: &str = "\
  --quick            fewer cells and shorter samples: ends within two minutes
  --python           asyncio, uvloop and Twisted too, in a virtual environment that is created at first use
  --sections A,B     of ten, connections, sizes, bulk, churn, hold, timers (default: all)
  --report FILE      measure nothing: print the results of an earlier run, whose scaling.json FILE is, and write its
                     scaling.md and plots beside it
Of the options of all benches (here the default of --seconds is 0.5, all compiled servers are measured, --check fails if a
server is missing in a cell):";

impl Arguments {
    pub fn parse() -> Result<Arguments> {
        let (mut python, mut saved_run, mut sections) = (false, None, Vec::new());
        let mut mode = Mode::Full;
        let mut shared = Vec::new();
        let mut arguments = std::env::args().skip(1);
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().ok_or_else(|| format!("{argument} needs a value"));
            match argument.as_str() {
                "--quick" => mode = Mode::Quick,
                "--python" => python = true,
                "--sections" => sections = value()?.split(',').map(str::to_string).collect(),
                "--report" => saved_run = Some(value()?.into()),
                "--help" | "-h" => {
                    println!("{HELP}\n{}", options::HELP);
                    std::process::exit(0);
                }
                _ => shared.push(argument),
            }
        }
        if let Some(name) = sections.iter().find(|name| !SECTIONS.contains(&name.as_str())) {
            return Err(format!("no section `{name}`: {}", SECTIONS.join(", ")).into());
        }
        let named = |option: &str| shared.iter().any(|argument| argument == option);
        let (cells_named, servers_named) = (named("--cells"), named("--servers"));
        let defaults: &[&str] = match mode {
            Mode::Full => &["--seconds", "0.5"],
            Mode::Quick => &["--seconds", "0.15", "--rounds", "3"],
        };
        let options = Options::parse(defaults.iter().map(|word| word.to_string()).chain(shared))?;
        if options.smoke {
            mode = Mode::Quick;
        }
        if sections.is_empty() && !cells_named {
            sections = SECTIONS.map(str::to_string).to_vec();
        }
        let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
        let command = ["cargo bench --bench scaling".to_string()]
            .into_iter()
            .chain((!words.is_empty()).then(|| format!("-- {}", words.join(" "))));
        let command = command.collect::<Vec<_>>().join(" ");
        Ok(Arguments { options, mode, sections, cells_named, servers_named, python, saved_run, command })
    }

    /// The folder of the results. A smoke run has its own, because its figures mean nothing.
    pub fn directory(&self) -> PathBuf {
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("scaling");
        if self.smoke() { directory.join("smoke") } else { directory }
    }

    pub fn smoke(&self) -> bool {
        self.options.smoke
    }

    /// The workloads of one round, the most important first.
    pub fn workloads(&self) -> Vec<Workload> {
        let named: &[_] = if self.cells_named { &self.options.cells } else { &[] };
        let mut workloads = Workload::of_sections(&self.sections, self.mode, named);
        if self.smoke() {
            workloads.retain_mut(Workload::shrink);
        }
        workloads
    }

    /// The limit after which no further cell starts.
    pub fn time_limit(&self) -> Option<Duration> {
        (self.mode == Mode::Quick).then_some(QUICK_LIMIT)
    }

    /// The servers that can run here, the baseline first, and an entry for each of the others.
    pub fn servers(&self) -> (Vec<Kind>, Vec<Missing>) {
        let mut wanted = match self.servers_named {
            true => self.options.servers.clone(),
            false => DEFAULT_SERVERS.to_vec(),
        };
        if self.python {
            wanted.extend(Kind::PYTHON.iter().filter(|kind| !self.options.servers.contains(kind)));
        }
        let mut missing = Vec::new();
        let mut kinds = Kind::with_baseline(&wanted);
        kinds.retain(|&kind| {
            let Some(error) = Kind::PYTHON.contains(&kind).then(|| python::prepare(kind).err()).flatten()
            else {
                return true;
            };
            eprintln!("{} is not measured: {error}", kind.name());
            missing.push(Missing {
                section: "all".to_string(),
                cell: "all".to_string(),
                server: kind.name().to_string(),
                round: 0,
                reason: error.to_string(),
            });
            false
        });
        (kinds, missing)
    }
}

/// Measured without `--servers`, beside the baseline.
const DEFAULT_SERVERS: [Kind; 4] = [Kind::Twistor, Kind::Streams, Kind::Mio, Kind::Tokio];

/// A little less than two minutes: the sample in progress still ends.
const QUICK_LIMIT: Duration = Duration::from_secs(105);
