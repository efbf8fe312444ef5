//! What counts are compared with: the baselines and limits of `benches/baselines.txt`, and the verdict on a run.
//!
//! The file is for people: its comments and their order stay as they are when figures are written into it. A baseline is
//! what was counted last, and a run that needs more than what is allowed beside it fails; a limit is what a person has
//! set, and no run changes it.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use super::Result;
use super::options::Options;
use super::table::{Table, thousands};

/// The file, line by line.
pub struct Baselines {
    lines: Vec<Line>,
}

#[derive(Debug, PartialEq)]
enum Line {
    /// A comment, or none.
    Text(String),
    /// `name = value`.
    Value(String, String),
    /// `name < figure`.
    Limit(String, f64),
}

impl Baselines {
    pub fn read() -> Result<Baselines> {
        let path = Baselines::path();
        let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        Baselines::parse(&text)
    }

    fn path() -> PathBuf {
        PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/benches/baselines.txt"))
    }

    fn parse(text: &str) -> Result<Baselines> {
        let line = |(number, line): (usize, &str)| {
            if line.trim().is_empty() || line.starts_with('#') {
                Ok(Line::Text(line.to_owned()))
            } else if let Some((name, value)) = line.split_once(" = ") {
                Ok(Line::Value(name.trim().to_owned(), value.trim().to_owned()))
            } else if let Some((name, value)) = line.split_once(" < ") {
                Ok(Line::Limit(name.trim().to_owned(), value.trim().parse()?))
            } else {
                let number = number + 1;
                Err(format!(
                    "baselines.txt, line {number}: neither `name = value` nor `name < figure`: {line}"
                )
                .into())
            }
        };
        Ok(Baselines { lines: text.lines().enumerate().map(line).collect::<Result<_>>()? })
    }

    fn value(&self, name: &str) -> Option<&str> {
        self.lines.iter().find_map(|line| match line {
            Line::Value(other, value) if other == name => Some(value.as_str()),
            _ => None,
        })
    }

    /// The figure that a value begins with: `304`, `3 %`.
    fn figure(&self, name: &str) -> Result<Option<f64>> {
        let Some(value) = self.value(name) else { return Ok(None) };
        let figure = value.split(' ').next().unwrap_or_default().parse();
        Ok(Some(figure.map_err(|_| format!("baselines.txt: `{name} = {value}` is no figure"))?))
    }

    /// What a person allows.
    pub fn limit(&self, name: &str) -> Result<f64> {
        let found = self.lines.iter().find_map(|line| match line {
            Line::Limit(other, limit) if other == name => Some(*limit),
            _ => None,
        });
        found.ok_or_else(|| format!("baselines.txt has no line `{name} < ...`").into())
    }

    /// Writes a value in its place, or below everything.
    fn set(&mut self, name: &str, new: String) {
        let place = self.lines.iter_mut().find_map(|line| match line {
            Line::Value(other, value) if other == name => Some(value),
            _ => None,
        });
        match place {
            Some(value) => *value = new,
            None => self.lines.push(Line::Value(name.to_owned(), new)),
        }
    }

    fn write(&self) -> Result<()> {
        let mut text = String::new();
        for line in &self.lines {
            match line {
                Line::Text(line) => writeln!(text, "{line}")?,
                Line::Value(name, value) => writeln!(text, "{name} = {value}")?,
                Line::Limit(name, limit) => writeln!(text, "{name} < {limit}")?,
            }
        }
        Ok(fs::write(Baselines::path(), text)?)
    }
}

/// Compares the figures of a run with the baselines, and says in the end whether it is within them.
pub struct Guard {
    baselines: Baselines,
    /// Instructions of another architecture are others.
    comparable: bool,
    /// How much more than its baseline a count may be.
    allowed: f64,
    table: Table,
    measured: Vec<(String, f64)>,
    exceeded: Vec<String>,
    /// Something could not be counted.
    incomplete: bool,
    remarks: Vec<String>,
}

impl Guard {
    pub fn new() -> Result<Guard> {
        let baselines = Baselines::read()?;
        let mut remarks = Vec::new();
        let percent = |name: &str| -> Result<f64> {
            let found = baselines.figure(name)?;
            Ok(found.ok_or_else(|| format!("baselines.txt has no line `{name} = ...`"))? / 100.0)
        };
        let recorded = |name| baselines.value(name).unwrap_or("nothing that was recorded").to_owned();
        let comparable = recorded(ARCHITECTURE) == std::env::consts::ARCH;
        if !comparable {
            remarks.push(format!(
                "The baselines were counted on {}, this is {}: nothing is compared with them.",
                recorded(ARCHITECTURE),
                std::env::consts::ARCH
            ));
        }
        let mut allowed = percent(ALLOWED)?;
        for (name, here) in [(COMPILER, compiler()), (C_LIBRARY, c_library())] {
            if recorded(name) != here {
                allowed = allowed.max(percent(ALLOWED_ELSEWHERE)?);
                let then = recorded(name);
                remarks.push(format!(
                    "The baselines were counted with {then}, this is {here}: more is allowed."
                ));
            }
        }
        let table = Table::new(["user instructions of", "measured", "baseline", "change"]);
        Ok(Guard {
            baselines,
            comparable,
            allowed,
            table,
            measured: Vec::new(),
            exceeded: Vec::new(),
            incomplete: false,
            remarks,
        })
    }

    /// A count that has a baseline.
    pub fn count(&mut self, name: &str, measured: f64) -> Result<()> {
        let baseline = self.baselines.figure(name)?.filter(|_| self.comparable);
        let change = baseline.map(|baseline| measured / baseline - 1.0);
        self.table.row([
            name.to_owned(),
            figure(measured),
            baseline.map_or("none".to_owned(), figure),
            change.map_or(String::new(), |change| format!("{:+.1} %", change * 100.0)),
        ]);
        self.measured.push((name.to_owned(), measured));
        let allowed = self.allowed;
        match (baseline, change) {
            (Some(baseline), Some(change)) if change > allowed => self.exceeded.push(format!(
                "{name}: {} instructions, {:.1} % more than the baseline of {} ({:.0} % are allowed): \
                 take back what made them more, or, if it is worth them, {UPDATE}",
                figure(measured),
                change * 100.0,
                figure(baseline),
                allowed * 100.0
            )),
            (Some(baseline), Some(change)) if change < -allowed => self.remarks.push(format!(
                "{name}: {} instructions, {:.1} % fewer than the baseline of {}: so that it stays so, {UPDATE}",
                figure(measured),
                change * -100.0,
                figure(baseline)
            )),
            (None, _) if self.comparable => {
                self.exceeded.push(format!("{name}: {} instructions, and no baseline: {UPDATE}", figure(measured)));
            }
            _ => {}
        }
        Ok(())
    }

    /// A figure that has a limit.
    pub fn limit(&mut self, name: &str, measured: f64) -> Result<()> {
        let limit = self.baselines.limit(name)?;
        if measured > limit {
            self.exceeded.push(format!(
                "{name}: {measured:.2}, the limit is {limit:.2}: take back what made them more; limits are set in benches/baselines.txt"
            ));
        }
        Ok(())
    }

    /// What could not be counted here.
    pub fn missing(&mut self, what: &str) {
        self.incomplete = true;
        self.exceeded.push(what.to_owned());
    }

    /// Prints what was found, writes it with `--update`, and with `--check` fails when something is over.
    pub fn finish(mut self, options: &Options) -> Result<()> {
        if !self.measured.is_empty() {
            self.table.print("Counted, and what it was when the baselines were written");
        }
        if options.smoke {
            println!("\nwith so few messages the figures mean nothing");
            return Ok(());
        }
        if options.update && self.incomplete {
            return Err(format!("nothing is written: {}", self.exceeded.join("; ")).into());
        }
        if options.update {
            return self.update();
        }
        for remark in self.remarks.iter().chain(self.exceeded.iter().filter(|_| !options.check)) {
            println!("\n{remark}");
        }
        match options.check && !self.exceeded.is_empty() {
            true => Err(self.exceeded.join("\n").into()),
            false => {
                if self.exceeded.is_empty() {
                    println!("\ntwistor is within its baselines and limits");
                }
                Ok(())
            }
        }
    }

    fn update(&mut self) -> Result<()> {
        for (name, measured) in &self.measured {
            self.baselines.set(name, figure(*measured).replace(',', ""));
        }
        for (name, value) in [
            (ARCHITECTURE, std::env::consts::ARCH.to_owned()),
            (COMPILER, compiler()),
            (C_LIBRARY, c_library()),
        ] {
            self.baselines.set(name, value);
        }
        self.baselines.write()?;
        println!(
            "\nwritten to {}: look at the difference, and say in the commit why it is so",
            Baselines::path().display()
        );
        Ok(())
    }
}

/// Small counts have a fraction that matters.
fn figure(count: f64) -> String {
    if count < 100.0 { format!("{count:.1}") } else { thousands(count) }
}

/// The compiler that is called here, which is the one that cargo has just called: `rustc 1.95.0`.
fn compiler() -> String {
    let program = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let said =
        Command::new(program).arg("--version").output().map(|output| output.stdout).unwrap_or_default();
    let said = String::from_utf8_lossy(&said).into_owned();
    let words: Vec<&str> = said.split_whitespace().take(2).collect();
    if words.is_empty() { "an unknown compiler".to_owned() } else { words.join(" ") }
}

/// The C library, whose `memcpy` and `malloc` are a part of the counts: `glibc 2.36`.
fn c_library() -> String {
    let said = Command::new("getconf").arg("GNU_LIBC_VERSION").output().map(|output| output.stdout);
    let said = String::from_utf8_lossy(&said.unwrap_or_default()).trim().to_owned();
    if said.is_empty() { "an unknown C library".to_owned() } else { said }
}

const ARCHITECTURE: &str = "counted on";
const COMPILER: &str = "compiled by";
const C_LIBRARY: &str = "linked to";
const ALLOWED: &str = "allowed beside a baseline";
const ALLOWED_ELSEWHERE: &str = "allowed with another compiler or C library";

const UPDATE: &str = "run `cargo bench --bench instructions -- --update`";
