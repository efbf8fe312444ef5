//! What a run is asked to do: the options that all benches share, and those that only this one has.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::figures::Missing;
use super::support::Result;
use super::support::options::{self, Options};
use super::support::python;
use super::support::server::Kind;
use super::work::{SECTIONS, Work};

pub struct Choices {
    pub options: Options,
    pub extent: Extent,
    /// Names of [`SECTIONS`].
    sections: Vec<String>,
    /// Cells that were asked for by name are measured alone.
    cells_named: bool,
    servers_named: bool,
    python: bool,
    /// Nothing is measured: the results of an earlier run are shown.
    pub saved: Option<PathBuf>,
    /// The command line of this run, as one types it.
    pub command: String,
}

/// How much of everything is measured.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    Whole,
    Quick,
}

const HELP: &str = "\
  --quick            fewer cells and shorter samples: ends within two minutes
  --python           asyncio, uvloop and Twisted too, in a virtual environment that is made at first use
  --sections A,B     of ten, connections, sizes, bulk, churn, hold, timers (default: all)
  --report FILE      measure nothing: show the results in FILE again, the scaling.json of an earlier run, and write its
                     scaling.md and plots beside it
Of the options of all benches (here the default of --seconds is 0.5, all compiled servers take part, --check fails when a
server is missing in a cell):";

impl Choices {
    pub fn from_arguments() -> Result<Choices> {
        let (mut python, mut saved, mut sections) = (false, None, Vec::new());
        let mut extent = Extent::Whole;
        let mut shared = Vec::new();
        let mut arguments = std::env::args().skip(1);
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().ok_or_else(|| format!("{argument} needs a value"));
            match argument.as_str() {
                "--quick" => extent = Extent::Quick,
                "--python" => python = true,
                "--sections" => sections = value()?.split(',').map(str::to_string).collect(),
                "--report" => saved = Some(value()?.into()),
                "--help" | "-h" => {
                    println!("{HELP}\n{}", options::HELP);
                    std::process::exit(0);
                }
                _ => shared.push(argument),
            }
        }
        if let Some(name) = sections.iter().find(|name| !SECTIONS.contains(&name.as_str())) {
            return Err(format!("there is no section `{name}`: {}", SECTIONS.join(", ")).into());
        }
        let named = |option: &str| shared.iter().any(|argument| argument == option);
        let (cells_named, servers_named) = (named("--cells"), named("--servers"));
        let defaults: &[&str] = match extent {
            Extent::Whole => &["--seconds", "0.5"],
            Extent::Quick => &["--seconds", "0.15", "--rounds", "3"],
        };
        let options = Options::parse(defaults.iter().map(|word| word.to_string()).chain(shared))?;
        if options.smoke {
            extent = Extent::Quick;
        }
        if sections.is_empty() && !cells_named {
            sections = SECTIONS.map(str::to_string).to_vec();
        }
        let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
        let command = ["cargo bench --bench scaling".to_string()]
            .into_iter()
            .chain((!words.is_empty()).then(|| format!("-- {}", words.join(" "))));
        let command = command.collect::<Vec<_>>().join(" ");
        Ok(Choices { options, extent, sections, cells_named, servers_named, python, saved, command })
    }

    /// Where the results go. Those of a smoke run are not to be taken for results.
    pub fn directory(&self) -> PathBuf {
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("scaling");
        if self.smoke() { directory.join("smoke") } else { directory }
    }

    pub fn smoke(&self) -> bool {
        self.options.smoke
    }

    /// The work of one round, the most important first.
    pub fn work(&self) -> Vec<Work> {
        let named: &[_] = if self.cells_named { &self.options.cells } else { &[] };
        let mut work = Work::of_sections(&self.sections, self.extent, named);
        if self.smoke() {
            work.retain_mut(Work::shrink);
        }
        work
    }

    /// When no further round begins, and what is left of one is left out.
    pub fn time_limit(&self) -> Option<Duration> {
        (self.extent == Extent::Quick).then_some(QUICK)
    }

    /// The servers that can run here, the baseline first, and what is to be said of the others.
    pub fn servers(&self) -> (Vec<Kind>, Vec<Missing>) {
        let mut wanted = match self.servers_named {
            true => self.options.servers.clone(),
            false => COMPILED.to_vec(),
        };
        if self.python {
            wanted.extend(Kind::PYTHON.iter().filter(|kind| !self.options.servers.contains(kind)));
        }
        let mut absent = Vec::new();
        let mut kinds = Kind::with_baseline(&wanted);
        kinds.retain(|&kind| {
            let Some(error) = Kind::PYTHON.contains(&kind).then(|| python::prepare(kind).err()).flatten()
            else {
                return true;
            };
            eprintln!("{} takes no part: {error}", kind.name());
            absent.push(Missing {
                section: "all".to_string(),
                cell: "all".to_string(),
                server: kind.name().to_string(),
                round: 0,
                reason: error.to_string(),
            });
            false
        });
        (kinds, absent)
    }
}

/// What takes part by itself, beside the baseline.
const COMPILED: [Kind; 4] = [Kind::Twistor, Kind::Streams, Kind::Mio, Kind::Tokio];

/// A little less than two minutes: what is being measured then still ends.
const QUICK: Duration = Duration::from_secs(105);
