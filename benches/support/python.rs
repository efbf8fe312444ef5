//! The servers in Python: their programs, and the virtual environment they run in.
//!
//! The environment is made at first use, below the target directory, with whatever `python3` is on the path; uvloop and
//! Twisted come from the package index then. What cannot be had is an error with the reason, of that server alone.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::Result;
use super::server::Kind;

pub fn command_line(kind: Kind) -> Result<Vec<OsString>> {
    let (program, arguments): (&str, &[&str]) = match kind {
        Kind::Uvloop => {
            (concat!(env!("CARGO_MANIFEST_DIR"), "/benches/scaling/peers/asyncio_echo.py"), &["uvloop"])
        }
        Kind::Twisted => (concat!(env!("CARGO_MANIFEST_DIR"), "/benches/scaling/peers/twisted_echo.py"), &[]),
        _ => (concat!(env!("CARGO_MANIFEST_DIR"), "/benches/scaling/peers/asyncio_echo.py"), &[]),
    };
    let words = [interpreter().into(), program.into()].into_iter();
    Ok(words.chain(arguments.iter().map(OsString::from)).collect())
}

/// Makes the environment and installs what the server needs, unless that is there.
pub fn prepare(kind: Kind) -> Result<()> {
    let environment = environment();
    if run(&interpreter(), &["-c", ""]).is_err() {
        eprintln!("making a virtual environment in {}", environment.display());
        run(Path::new("python3"), &["-m".as_ref(), "venv".as_ref(), environment.as_os_str()])?;
    }
    let package = match kind {
        Kind::Uvloop => "uvloop",
        Kind::Twisted => "twisted",
        _ => return Ok(()),
    };
    if run(&interpreter(), &["-c", &format!("import {package}")]).is_ok() {
        return Ok(());
    }
    eprintln!("installing {package} there");
    run(&interpreter(), &["-m", "pip", "install", "--quiet", "--disable-pip-version-check", package])
}

/// An error is what the program said last.
fn run(program: &Path, arguments: &[impl AsRef<std::ffi::OsStr>]) -> Result<()> {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output();
    let output = output.map_err(|error| format!("{}: {error}", program.display()))?;
    if output.status.success() {
        return Ok(());
    }
    let said =
        String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    let last =
        said.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or("it said nothing").to_string();
    Err(format!("{}: {}: {last}", program.display(), output.status).into())
}

fn interpreter() -> PathBuf {
    environment().join("bin/python")
}

fn environment() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("scaling").join("venv")
}
