//! `twistor monitor --watch` is a good guest of its terminal: it takes the screen and the keys, and gives both back.

use crate::command::{Service, Signal, TIME_LIMIT};
use pty_process::blocking::{Command, open};
use rustix::process::{Pid, WaitOptions, kill_process, waitpid};
use rustix::termios::{LocalModes, tcgetattr};
use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::process::Child;
use std::sync::mpsc::{Receiver, channel};
use std::thread;

const ENTER: &str = "\x1b[?1049h\x1b[?25l";
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";
const FOOTER: &str = "q quit";

/// A command on a terminal of its own.
struct Terminal {
    child: Child,
    /// This side, for keys and modes.
    keys: std::fs::File,
    shown: Receiver<Vec<u8>>,
    /// What was shown and not looked at.
    rest: String,
}

impl Terminal {
    fn start(program: &str, arguments: &[&str], term: &str, size: (u16, u16)) -> Terminal {
        let (pty, pts) = open().unwrap();
        let (columns, rows) = size;
        pty.resize(pty_process::Size::new(rows, columns)).unwrap();
        let keys = std::fs::File::from(pty.as_fd().try_clone_to_owned().unwrap());
        let mut reader = std::fs::File::from(pty.as_fd().try_clone_to_owned().unwrap());
        let command = Command::new(program).args(arguments).env("TERM", term).env("NO_COLOR", "1");
        let child = command.env_remove("RUST_LOG").spawn(pts).unwrap();
        let (sender, shown) = channel();
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            loop {
                match reader.read(&mut buffer) {
                    Ok(count) if count > 0 && sender.send(buffer[..count].to_vec()).is_ok() => {}
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    _ => return,
                }
            }
        });
        Terminal { child, keys, shown, rest: String::new() }
    }

    fn watch(more: &[&str]) -> Terminal {
        let arguments = [&["monitor", "--watch", "--interval", "50ms"], more].concat();
        Terminal::start(env!("CARGO_BIN_EXE_twistor"), &arguments, "xterm", (80, 24))
    }

    /// Everything up to and with `text`.
    fn until(&mut self, text: &str) -> String {
        loop {
            if let Some(at) = self.rest.find(text) {
                let rest = self.rest.split_off(at + text.len());
                return std::mem::replace(&mut self.rest, rest);
            }
            let shown = self.shown.recv_timeout(TIME_LIMIT);
            let shown = shown.unwrap_or_else(|_| panic!("no {text:?} in {:?}", self.rest));
            // All that is awaited is ASCII.
            self.rest.push_str(&String::from_utf8_lossy(&shown));
        }
    }

    fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
    }

    fn id(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Whether lines are edited and shown by the terminal, as a shell expects it.
    fn is_cooked(&self) -> bool {
        let modes = tcgetattr(&self.keys).unwrap().local_modes;
        assert_eq!(modes.contains(LocalModes::ICANON), modes.contains(LocalModes::ECHO));
        modes.contains(LocalModes::ICANON)
    }

    /// Waits for the end. What was shown since.
    fn end(mut self) -> (Option<i32>, String) {
        let code = self.child.wait().unwrap().code();
        assert!(self.is_cooked(), "the terminal is not as it was");
        // The other side is closed then.
        while let Ok(shown) = self.shown.recv_timeout(TIME_LIMIT) {
            self.rest.push_str(&String::from_utf8_lossy(&shown));
        }
        (code, std::mem::take(&mut self.rest))
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // It has ended, as a rule.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A target that is up.
fn service() -> (Service, String) {
    let service = Service::silent("127.0.0.1:0");
    let target = format!("door=tcp://{}", service.address);
    (service, target)
}

#[test]
fn a_key_ends_it_and_leaves_the_table_behind() {
    let (_service, target) = service();
    let mut terminal = Terminal::watch(&[&target]);
    assert!(terminal.until(FOOTER).contains(ENTER));
    assert!(!terminal.is_cooked(), "keys wait for the end of a line");
    terminal.press("q");
    terminal.until(LEAVE);
    terminal.until("door");
    let (code, rest) = terminal.end();
    assert_eq!(code, Some(0));
    assert!(!rest.contains('\x1b'), "{rest:?}");
}

#[test]
fn every_signal_that_ends_it_gives_the_terminal_back() {
    let (_service, target) = service();
    for signal in [Signal::TERM, Signal::INT, Signal::HUP, Signal::QUIT] {
        let mut terminal = Terminal::watch(&[&target]);
        terminal.until(FOOTER);
        kill_process(terminal.id(), signal).unwrap();
        terminal.until(LEAVE);
        assert_eq!(terminal.end().0, Some(0), "{signal:?}");
    }
    // Ctrl-C is a signal still.
    let mut terminal = Terminal::watch(&[&target]);
    terminal.until(FOOTER);
    terminal.press("\x03");
    terminal.until(LEAVE);
    assert_eq!(terminal.end().0, Some(0));
}

#[test]
fn a_stopped_terminal_is_given_back_too() {
    let (_service, target) = service();
    // The terminal stops its output before the key behind Ctrl-S is read.
    let ways: [fn(&mut Terminal); 2] = [
        |terminal| terminal.press("\x13q"),
        |terminal| {
            terminal.press("\x13");
            kill_process(terminal.id(), Signal::TERM).unwrap();
        },
    ];
    for way in ways {
        let mut terminal = Terminal::watch(&[&target]);
        terminal.until(FOOTER);
        way(&mut terminal);
        terminal.until(LEAVE);
        terminal.until("door");
        assert_eq!(terminal.end().0, Some(0));
    }
}

#[test]
fn a_flood_of_signals_leaves_the_terminal_as_it_was() {
    let (_service, target) = service();
    for signal in [Signal::INT, Signal::TERM, Signal::INT, Signal::TERM] {
        let mut terminal = Terminal::watch(&[&target]);
        terminal.until(FOOTER);
        while terminal.child.try_wait().unwrap().is_none() {
            kill_process(terminal.id(), signal).unwrap();
        }
        let (_, shown) = terminal.end();
        assert!(shown.contains(LEAVE), "{signal:?}: {shown:?}");
    }
}

#[test]
fn it_stops_when_it_is_asked_to_and_comes_back() {
    let (_service, target) = service();
    let mut terminal = Terminal::watch(&[&target]);
    terminal.until(FOOTER);
    kill_process(terminal.id(), Signal::TSTP).unwrap();
    // The screen and the modes are given back before it stops.
    let (_, status) = waitpid(Some(terminal.id()), WaitOptions::UNTRACED).unwrap().unwrap();
    assert!(status.stopped(), "{status:?}");
    assert!(terminal.is_cooked());
    terminal.until(LEAVE);
    kill_process(terminal.id(), Signal::CONT).unwrap();
    terminal.until(ENTER);
    terminal.until(FOOTER);
    assert!(!terminal.is_cooked());
    // Keys work again.
    terminal.press("q");
    terminal.until(LEAVE);
    assert_eq!(terminal.end().0, Some(0));
}

#[test]
fn keys_show_what_has_no_room() {
    let (_service, target) = service();
    let targets: Vec<String> = (100..160).map(|number| format!("{number}{target}")).collect();
    let targets: Vec<&str> = targets.iter().map(String::as_str).collect();
    let mut terminal = Terminal::watch(&targets);
    assert!(!terminal.until(FOOTER).contains("159door"));
    terminal.press("\x1b[F");
    terminal.until("0 below");
    terminal.press("\x1b[H");
    terminal.until("… and ");
    terminal.press("?");
    terminal.until("Ctrl-L");
    terminal.press("q");
    // All of them stay on the terminal.
    terminal.until(LEAVE);
    terminal.until("159door");
    assert_eq!(terminal.end().0, Some(0));
}

#[test]
fn a_terminal_without_escape_sequences_gets_none() {
    let (_service, target) = service();
    for term in ["dumb", ""] {
        let arguments = ["monitor", "--watch", "--count", "2", "--interval", "10ms", &target];
        let terminal = Terminal::start(env!("CARGO_BIN_EXE_twistor"), &arguments, term, (80, 24));
        let (code, shown) = terminal.end();
        assert_eq!(code, Some(0));
        assert!(!shown.contains('\x1b'), "{shown:?}");
        assert!(shown.contains("--watch shows lines") && shown.contains("uptime"), "{shown:?}");
    }
}

#[test]
fn the_background_neither_stops_it_nor_is_drawn_on() {
    let (_service, target) = service();
    let program = env!("CARGO_BIN_EXE_twistor");
    // What writes in the background is stopped, unless it sees to it.
    let script = format!(
        "set -m; stty tostop; {program} monitor --watch --count 20 --interval 10ms {target} & wait $!; echo code $?."
    );
    let mut terminal = Terminal::start("sh", &["-c", &script], "xterm", (80, 24));
    let shown = terminal.until("code 0.");
    assert!(!shown.contains(ENTER) && shown.contains("door"), "{shown:?}");
    terminal.end();
}
