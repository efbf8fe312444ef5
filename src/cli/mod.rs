//! The `twistor` command: `echo`, `load`, `monitor`, `traffic` and `demo`.
//!
//! Exit codes: 0 for success (a reader of the output that went away is one), 1 for failure, 2 for bad
//! usage; `echo` with several processes keeps the exit code of one that died. An error is one line on stderr. Log records go to stderr as `RUST_LOG` says; by default errors, and the monitor's warnings of
//! trouble of this machine.

mod demo;
mod descriptors;
mod echo;
mod lifeline;
mod load;
mod monitor;
mod output;
mod span;
mod traffic;

use crate::escape::Escaped;
use clap::{CommandFactory, Parser, Subcommand, error::ErrorKind};
use std::fmt;
use std::io::Write;
use std::process::ExitCode;

/// Runs the command with the arguments of the process.
pub fn main() -> ExitCode {
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or(LOGGED))
        .format(|out, record| {
            // A record is one line, whatever the crate that wrote it has put into it.
            let text = Escaped(record.args());
            writeln!(out, "[{:<5} {}] {text}", record.level(), Escaped(record.target()))
        })
        .init();
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return refuse(&error),
    };
    let result = match arguments.command {
        Command::Demo(demo) => demo.run(),
        Command::Monitor(monitor) => monitor.run(),
        Command::Traffic(traffic) => traffic.run(),
        Command::Echo(echo) => echo.run(),
        Command::Load(load) => load.run(),
    };
    match result {
        Ok(code) => code,
        Err(failure) => {
            complain(&failure);
            match failure {
                Failure::Usage(_) => ExitCode::from(USAGE),
                Failure::Run(_) => ExitCode::FAILURE,
            }
        }
    }
}

/// Watch networks by the connections they hold, read feeds, echo bytes, put load on servers.
#[derive(Debug, Parser)]
#[command(name = "twistor", version, after_help = AFTER_HELP)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Demo(demo::Demo),
    Monitor(monitor::Monitor),
    Traffic(traffic::Traffic),
    Echo(echo::Echo),
    Load(load::Load),
}

/// Why the command failed.
#[derive(Debug)]
enum Failure {
    /// It was asked for something that cannot be; nothing was started.
    Usage(String),
    /// Something went wrong on the way.
    Run(String),
}

impl From<crate::Error> for Failure {
    fn from(error: crate::Error) -> Failure {
        Failure::Run(error.to_string())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Failure::Usage(text) | Failure::Run(text)) = self;
        f.write_str(text)
    }
}

/// What came of a command that ended by itself or was asked to.
type Outcome = Result<ExitCode, Failure>;

/// Help and version are no errors; everything else of clap's is put on one line.
fn refuse(error: &clap::Error) -> ExitCode {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            // Nobody is there to be told that nobody reads.
            let _ = error.print();
            ExitCode::SUCCESS
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            let _ = write!(std::io::stderr(), "{}", Arguments::command().render_help().ansi());
            ExitCode::from(USAGE)
        }
        _ => {
            let text = error.render().to_string();
            let first: Vec<&str> = text.lines().take_while(|line| !line.is_empty()).map(str::trim).collect();
            let text = first.join(" ");
            complain(&format_args!("{} (see --help)", text.trim_start_matches("error: ")));
            ExitCode::from(USAGE)
        }
    }
}

fn complain(what: &impl fmt::Display) {
    let _ = writeln!(std::io::stderr(), "twistor: {}", Escaped(what));
}

const USAGE: u8 = 2;
/// What is logged when `RUST_LOG` does not say.
const LOGGED: &str = "error,twistor::monitor=warn";

const AFTER_HELP: &str = "\
Examples:
  twistor demo
  twistor monitor hold://localhost:22 tcp://localhost:80 --watch
  twistor traffic http://localhost:8080/roads.json --field /congestion/level
  twistor echo --listen tcp:127.0.0.1:7007
  twistor load tcp:127.0.0.1:7007 --connections 64 --for 5s

Each command explains itself: twistor monitor --help.
Exit codes: 0 success, 1 failure, 2 bad usage.";
