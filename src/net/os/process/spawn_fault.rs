//! The cause of a failed spawn. The system's error number is the same for a program, its
//! interpreter and its working directory.
//!
//! The cause is determined after the failure, by checking the files that the number can be about.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::Access;
use rustix::io::Errno;

use crate::net::{SpawnFault, SpawnProcess};

/// Determines the cause of a spawn error.
pub(in crate::net::os) fn fault_of(spawn: &SpawnProcess, error: &io::Error) -> SpawnFault {
    let Some(errno) = Errno::from_io_error(error) else { return SpawnFault::Program };
    match errno {
        // The user and the group are changed before the exec.
        Errno::PERM | Errno::INVAL => identity_fault(spawn),
        Errno::NOENT | Errno::NOTDIR | Errno::ACCESS | Errno::LOOP | Errno::NAMETOOLONG => {
            directory_fault(spawn, errno).unwrap_or_else(|| program_fault(spawn, errno))
        }
        _ => SpawnFault::Program,
    }
}

fn identity_fault(spawn: &SpawnProcess) -> SpawnFault {
    let (user, group) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    match (spawn.group.filter(|wanted| *wanted != group), spawn.user.filter(|wanted| *wanted != user)) {
        // Root may change to any user and group, unless its user namespace does not map the group.
        (Some(wanted), Some(other)) if user == 0 => match in_number_space("gid_map", wanted) {
            true => SpawnFault::User(other),
            false => SpawnFault::Group(wanted),
        },
        (Some(wanted), _) => SpawnFault::Group(wanted),
        (None, Some(wanted)) => SpawnFault::User(wanted),
        (None, None) => SpawnFault::Program,
    }
}

/// Whether the user namespace maps this number. The file has lines of `first outside count`.
fn in_number_space(map: &str, number: u32) -> bool {
    let Ok(text) = fs::read_to_string(format!("/proc/self/{map}")) else { return true };
    text.lines().any(|line| {
        let mut fields = line.split_whitespace().map(str::parse::<u64>);
        let (Some(Ok(first)), Some(Ok(_)), Some(Ok(count))) = (fields.next(), fields.next(), fields.next())
        else {
            return true;
        };
        (first..first.saturating_add(count)).contains(&u64::from(number))
    })
}

/// The working directory, if it explains this error number.
fn directory_fault(spawn: &SpawnProcess, errno: Errno) -> Option<SpawnFault> {
    let directory = spawn.directory.as_ref()?;
    let error = match fs::metadata(directory) {
        Ok(found) if !found.is_dir() => Errno::NOTDIR,
        Ok(_) if !can_search(spawn, directory) => Errno::ACCESS,
        Ok(_) => return None,
        Err(error) => Errno::from_io_error(&error)?,
    };
    (error == errno).then(|| SpawnFault::Directory(directory.clone()))
}

/// Whether the child may enter a directory, by the owners and modes of the directory and its
/// parents.
fn can_search(spawn: &SpawnProcess, directory: &Path) -> bool {
    if spawn.user.is_none() && spawn.group.is_none() {
        return rustix::fs::access(directory, Access::EXEC_OK).is_ok();
    }
    let user = spawn.user.unwrap_or_else(|| rustix::process::geteuid().as_raw());
    let group = spawn.group.unwrap_or_else(|| rustix::process::getegid().as_raw());
    let Ok(whole) = fs::canonicalize(directory) else { return true };
    let may_search = |place: &Path| {
        let Ok(found) = fs::metadata(place) else { return true };
        let bits = found.permissions().mode();
        match (found.uid() == user, found.gid() == group) {
            (true, _) => bits & 0o100 != 0,
            (false, true) => bits & 0o010 != 0,
            (false, false) => bits & 0o001 != 0,
        }
    };
    user == 0 || whole.ancestors().all(may_search)
}

/// The program's interpreter, if it explains this error number. Otherwise the program.
fn program_fault(spawn: &SpawnProcess, errno: Errno) -> SpawnFault {
    let Some(mut path) = find_program(spawn) else { return SpawnFault::Program };
    for _ in 0..MAX_INTERPRETERS {
        let Some(interpreter) = interpreter_of(&path).map(|path| from_directory(spawn, path)) else { break };
        let error = match fs::metadata(&interpreter) {
            Ok(found) if found.is_dir() || found.permissions().mode() & 0o111 == 0 => Some(Errno::ACCESS),
            Ok(_) => None,
            Err(error) => Errno::from_io_error(&error),
        };
        if error == Some(errno) {
            return SpawnFault::Interpreter(interpreter);
        }
        path = interpreter;
    }
    SpawnFault::Program
}

/// The file of the program, found as the system does.
fn find_program(spawn: &SpawnProcess) -> Option<PathBuf> {
    let program = Path::new(&spawn.program);
    if spawn.program.as_bytes().contains(&b'/') {
        return Some(from_directory(spawn, program.to_owned()));
    }
    let set = spawn.environment.iter().rev().find(|(name, _)| name == "PATH").map(|(_, value)| value.clone());
    let inherited = || {
        let left_out = spawn.without.iter().any(|name| name == "PATH");
        std::env::var_os("PATH").filter(|_| spawn.inherit_environment && !left_out)
    };
    let folders = set.or_else(inherited).unwrap_or_else(|| OsString::from(DEFAULT_PATH));
    let found = std::env::split_paths(&folders).map(|folder| from_directory(spawn, folder.join(program)));
    found.filter(|path| fs::metadata(path).is_ok_and(|found| found.is_file())).find(|path| {
        // Files without execute permission are skipped.
        fs::metadata(path).is_ok_and(|found| found.permissions().mode() & 0o111 != 0)
    })
}

/// Resolves a path relative to the child's working directory.
fn from_directory(spawn: &SpawnProcess, path: PathBuf) -> PathBuf {
    match &spawn.directory {
        Some(directory) => directory.join(path),
        None => path,
    }
}

/// The interpreter of a file: the first word after `#!`, or the dynamic loader of an ELF file.
fn interpreter_of(path: &Path) -> Option<PathBuf> {
    // Opening a FIFO would block.
    let file = fs::metadata(path).is_ok_and(|found| found.is_file()).then(|| File::open(path).ok())??;
    let mut begin = Vec::new();
    (&file).take(MAX_FIRST_LINE).read_to_end(&mut begin).ok()?;
    if let Some(line) = begin.strip_prefix(b"#!") {
        let line = line.split(|byte| *byte == b'\n').next().unwrap_or_default().trim_ascii();
        let word = line.split(|byte| matches!(byte, b' ' | b'\t')).next().filter(|word| !word.is_empty())?;
        return Some(PathBuf::from(OsStr::from_bytes(word)));
    }
    loader_of(&file, &begin)
}

/// The dynamic loader that an ELF file names. (System V ABI: the segment PT_INTERP.)
fn loader_of(file: &File, head: &[u8]) -> Option<PathBuf> {
    let wide = match head.get(..6)? {
        [0x7f, b'E', b'L', b'F', 1, LITTLE_ENDIAN] => false,
        [0x7f, b'E', b'L', b'F', 2, LITTLE_ENDIAN] => true,
        _ => return None,
    };
    let number = |bytes: &[u8], at: usize, length: usize| {
        let bytes = bytes.get(at..at + length)?;
        Some(bytes.iter().rev().fold(0u64, |number, byte| number << 8 | u64::from(*byte)))
    };
    let (table, entry_at, count_at) = match wide {
        true => (number(head, 0x20, 8)?, 0x36, 0x38),
        false => (number(head, 0x1c, 4)?, 0x2a, 0x2c),
    };
    let (size, count) = (number(head, entry_at, 2)?, number(head, count_at, 2)?);
    for index in 0..count {
        let mut entry = [0; 56];
        let length = entry.len().min(usize::try_from(size).ok()?);
        let entry = entry.get_mut(..length)?;
        file.read_exact_at(entry, table.checked_add(index * size)?).ok()?;
        if number(entry, 0, 4)? != LOADER_SEGMENT {
            continue;
        }
        let (offset, length) = match wide {
            true => (number(entry, 0x08, 8)?, number(entry, 0x20, 8)?),
            false => (number(entry, 0x04, 4)?, number(entry, 0x10, 4)?),
        };
        let mut name = vec![0; usize::try_from(length.min(MAX_PATH_LEN)).ok()?];
        file.read_exact_at(&mut name, offset).ok()?;
        name.truncate(name.iter().position(|byte| *byte == 0).unwrap_or(name.len()));
        return Some(PathBuf::from(OsString::from_vec(name)));
    }
    None
}

/// Max interpreters to follow: an interpreter can be a script itself. (BINPRM_MAX_RECURSION of
/// Linux.)
const MAX_INTERPRETERS: usize = 5;

/// Number of bytes that the system reads of a script for its first line.
const MAX_FIRST_LINE: u64 = 256;
const MAX_PATH_LEN: u64 = 4096;

/// ELFDATA2LSB.
const LITTLE_ENDIAN: u8 = 1;
/// PT_INTERP.
const LOADER_SEGMENT: u64 = 3;

/// The search path when PATH is not set.
const DEFAULT_PATH: &str = "/bin:/usr/bin";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dynamic_loader_of_a_program_is_read_from_its_file() {
        let own = std::env::current_exe().unwrap();
        if let Some(loader) = interpreter_of(&own) {
            assert!(loader.is_absolute() && loader.exists(), "{}", loader.display());
        }
        // A header with one segment, whose name is at the end of the file.
        let mut elf = vec![0; 64 + 56];
        elf[..6].copy_from_slice(&[0x7f, b'E', b'L', b'F', 2, 1]);
        elf[0x20] = 64;
        (elf[0x36], elf[0x38]) = (56, 1);
        (elf[64], elf[64 + 0x08], elf[64 + 0x20]) = (3, 120, 9);
        elf.extend(b"/lib/ld.x\0");
        let path = std::env::temp_dir().join(format!("twistor-elf-{}", std::process::id()));
        for (length, loader) in [(130, Some("/lib/ld.x")), (125, None), (100, None), (5, None), (0, None)] {
            fs::write(&path, &elf[..length]).unwrap();
            assert_eq!(interpreter_of(&path), loader.map(PathBuf::from), "{length}");
        }
        fs::remove_file(&path).unwrap();
    }
}
