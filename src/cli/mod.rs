//! The `twistor` command: `echo`, `load`, `monitor`, `traffic`, `demo`, `dig`, `get`, `serve` and
//! `cert`.
//!
//! Exit codes: 0 for success (also if the reader of the output goes away), 1 for failure, 2 for bad
//! usage. `echo` with several processes keeps the exit code of one that died. `dig`, `get` and
//! `cert` have 9 for no answer.
//!
//! The first SIGINT or SIGTERM ends a command gracefully. The second one ends it at once: the
//! process dies by the signal, which a shell shows as 130 or 143. The live table restores the
//! terminal first and exits with that code.
//!
//! An error is one line on stderr. Log records go to stderr as configured by `RUST_LOG`. By default
//! these are errors, and the warnings of `monitor` and `traffic` about local trouble.

mod cert;
mod client_options;
mod demo;
mod dig;
mod echo;
mod get;
mod keys;
mod load;
mod monitor;
mod number;
mod output;
mod parent_pipe;
mod serve;
mod span;
mod terminal;
mod traffic;
mod writer;

use crate::endpoint::parse_error::is_near;
use crate::escape::Escaped;
use clap::builder::StyledStr;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use std::backtrace::Backtrace;
use std::fmt;
use std::io::{self, Write};
use std::panic::{self, AssertUnwindSafe};
use std::process::ExitCode;

/// Runs the command with the arguments of the process.
pub fn main() -> ExitCode {
    let mut logger = env_logger::Builder::from_env(env_logger::Env::default().default_filter_or(LOGGED));
    logger.format(|out, record| {
        // A record is printed as one line, regardless of its contents.
        let text = Escaped(record.args());
        writeln!(out, "[{:<5} {}] {text}", record.level(), Escaped(record.target()))
    });
    logger.target(env_logger::Target::Pipe(Box::new(writer::stderr()))).init();
    panic::set_hook(Box::new(|panicked| {
        let _ = writeln!(writer::stderr(), "{panicked}\n{}", Backtrace::capture());
    }));
    let matches = command().try_get_matches();
    let arguments = match matches.and_then(|matches| Arguments::from_arg_matches(&matches)) {
        Ok(arguments) => arguments,
        Err(error) => {
            let code = refuse(&error);
            writer::finish_stderr();
            return code;
        }
    };
    let serves = matches!(arguments.command, Command::Echo(_) | Command::Serve(_));
    let run = || match arguments.command {
        Command::Demo(demo) => demo.run(),
        Command::Monitor(monitor) => monitor.run(),
        Command::Traffic(traffic) => traffic.run(),
        Command::Echo(echo) => echo.run(),
        Command::Load(load) => load.run(),
        Command::Dig(dig) => dig.run(),
        Command::Serve(serve) => serve.run(),
        Command::Get(get) => get.run(),
        Command::Cert(cert) => cert.run(),
    };
    // Also writes what was queued before a panic.
    let result = panic::catch_unwind(AssertUnwindSafe(run));
    let unwritten = writer::finish_stdout();
    let code = match (result, unwritten) {
        (Err(_), _) => ExitCode::from(PANICKED),
        (Ok(Ok(code)), Some(error)) if !(serves && error.kind() == io::ErrorKind::BrokenPipe) => {
            answer(output::outcome(Some(error), code))
        }
        (Ok(result), _) => answer(result),
    };
    writer::finish_stderr();
    code
}

/// Prints a failure, and returns the exit code.
fn answer(outcome: Outcome) -> ExitCode {
    match outcome {
        Ok(code) => code,
        Err(failure) => {
            print_error(&failure);
            match failure {
                Failure::Usage(_) => ExitCode::from(USAGE),
                Failure::Run(_) => ExitCode::FAILURE,
            }
        }
    }
}

/// Watch networks by the connections they hold, read feeds, echo bytes, put load on servers, ask
/// DNS, make HTTP requests, serve files, look at certificates.
#[derive(Debug, Parser)]
#[command(name = "twistor", version, after_help = AFTER_HELP)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

/// Returns the command line, with properties common to all options of a kind.
fn command() -> clap::Command {
    Arguments::command().mut_subcommands(|command| {
        let takes = |argument: &clap::Arg, names: &[&str]| {
            let own = argument.get_value_names().unwrap_or_default();
            own.iter().any(|name| names.contains(&name.as_str()))
        };
        let times = command.get_arguments().any(|argument| takes(argument, &["TIME"]));
        // A negative number is a bad value, not an unknown option.
        let command = command.mut_args(|argument| match takes(&argument, NUMBERS) {
            true => argument.allow_hyphen_values(true),
            false => argument,
        });
        match command.get_after_help().map(StyledStr::to_string) {
            Some(help) if times => command.after_help(joined(&format!("{}\n\n{help}", span::HELP))),
            Some(help) => command.after_help(joined(&help)),
            None => command,
        }
    })
}

/// Joins each paragraph into one line, which clap wraps at the width of the terminal. Indented
/// lines and the lines before them stay as they are.
fn joined(text: &str) -> String {
    let mut joined = String::new();
    let mut before = "";
    for line in text.lines() {
        let continues = !before.is_empty() && !before.ends_with(':') && !line.is_empty();
        let indented = before.starts_with(' ') || line.starts_with(' ');
        if !joined.is_empty() {
            joined.push(if continues && !indented { ' ' } else { '\n' });
        }
        joined.push_str(line);
        before = line;
    }
    joined
}

#[derive(Debug, Subcommand)]
enum Command {
    Demo(demo::Demo),
    Monitor(monitor::Monitor),
    Traffic(traffic::Traffic),
    Echo(echo::Echo),
    Load(load::Load),
    Dig(dig::Dig),
    Serve(serve::Serve),
    Get(get::Get),
    Cert(cert::Cert),
}

/// The reason why the command failed.
#[derive(Debug)]
enum Failure {
    /// Bad usage; nothing was started.
    Usage(String),
    /// A failure at run time.
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

/// The result of a command.
type Outcome = Result<ExitCode, Failure>;

/// Prints help and version, or a usage error of clap as one line.
fn refuse(error: &clap::Error) -> ExitCode {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            let text = styled(&error.render(), output::colours(&io::stdout()));
            let mut out = io::stdout().lock();
            let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
            answer(output::outcome(written.err(), ExitCode::SUCCESS))
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            let text = styled(&command().render_help(), output::colours(&io::stderr()));
            let _ = io::stderr().write_all(text.as_bytes());
            ExitCode::from(USAGE)
        }
        _ => {
            let text = error.render().to_string();
            let first: Vec<&str> = text.lines().take_while(|line| !line.is_empty()).map(str::trim).collect();
            let text = first.join(" ");
            let meant = meant(error).map(|meant| format!("; did you mean {meant}?")).unwrap_or_default();
            print_error(&format_args!("{}{meant} (see --help)", text.trim_start_matches("error: ")));
            ExitCode::from(USAGE)
        }
    }
}

fn styled(text: &StyledStr, colours: bool) -> String {
    if colours { text.ansi().to_string() } else { text.to_string() }
}

/// Returns the suggestion for an unknown word.
fn meant(error: &clap::Error) -> Option<String> {
    // After `help`, clap has no suggestions.
    if let Some(ContextValue::String(word)) = error.get(ContextKind::InvalidSubcommand) {
        let command = command();
        let known = command.get_subcommands().map(clap::Command::get_name);
        return known.filter(|name| is_near(word, name)).map(str::to_owned).next();
    }
    let kinds = [ContextKind::SuggestedArg, ContextKind::SuggestedValue];
    kinds.into_iter().find_map(|kind| match error.get(kind)? {
        ContextValue::String(word) => Some(word.clone()),
        ContextValue::Strings(words) => Some(words.join(" or ")).filter(|words| !words.is_empty()),
        _ => None,
    })
}

fn print_error(what: &impl fmt::Display) {
    // A closed stderr is ignored.
    let _ = writeln!(writer::stderr(), "twistor: {}", Escaped(what));
}

const USAGE: u8 = 2;
/// The default of `RUST_LOG`.
const LOGGED: &str = "error,twistor::monitor=warn,twistor::tls=warn,twistor::traffic=warn";
/// The exit code of any Rust program after a panic.
const PANICKED: u8 = 101;

/// Value names of options that take a number.
const NUMBERS: &[&str] = &["TIME", "NUMBER", "N", "S", "D", "R"];

const AFTER_HELP: &str = "\
Examples:
  twistor demo
  twistor monitor hold://localhost:22 tcp://localhost:80 --watch
  twistor traffic http://localhost:8080/roads.json --field /congestion/level
  twistor echo --listen tcp:127.0.0.1:7007
  twistor load tcp:127.0.0.1:7007 --connections 64 --for 5s
  twistor dig example.org MX
  twistor get -v https://example.org/
  twistor cert example.org

Each command explains itself: twistor monitor --help.
Exit codes: 0 success, 1 failure, 2 bad usage; a second SIGINT or SIGTERM ends a command at once (130, 143).";
