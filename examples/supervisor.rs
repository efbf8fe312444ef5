//! Keeps a program running: whenever it ends, it is started again, with growing delays.
//!
//! `cargo run --example supervisor -- sh -c 'echo hello; sleep 1; exit 3'`, then Ctrl-C.

use std::{cell::Cell, fmt::Display, io::Write, rc::Rc, time::Duration};
use twistor::escape::{Escaped, EscapedBytes};
use twistor::{DelayedCall, ExitReason, ProcessProtocol, ProcessTransport, Reactor, Signal, SpawnProcess};

const MIN_DELAY: Duration = Duration::from_secs(1);
/// A child that ran for this time resets the delay.
const LONG_RUN: Duration = Duration::from_secs(30);

/// The state shared by all runs of the child.
struct Plan {
    what: SpawnProcess,
    pause: Cell<Duration>,
    restart: Cell<Option<DelayedCall>>,
    stopping: Cell<bool>,
}

struct Child {
    plan: Rc<Plan>,
    began: twistor::Instant,
    line: Vec<u8>,
}

impl ProcessProtocol for Child {
    fn process_started(&mut self, process: &mut ProcessTransport<'_>) {
        say(&format_args!("{} runs as {}", self.plan.what, process.pid().unwrap_or_default()));
    }

    fn out_received(&mut self, _: &mut ProcessTransport<'_>, data: &[u8]) {
        self.line.extend_from_slice(data);
        while let Some(end) = self.line.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.line.drain(..=end).collect();
            let (program, line) = (&self.plan.what.program, EscapedBytes(line.trim_ascii_end()));
            let _ = writeln!(std::io::stdout(), "{}: {line}", Escaped(program.display()));
        }
    }

    fn process_ended(&mut self, process: &mut ProcessTransport<'_>, reason: &ExitReason) {
        let (ran, plan) = (process.now() - self.began, Rc::clone(&self.plan));
        say(&format_args!("{reason}, after {ran:.1?}"));
        if plan.stopping.get() {
            process.reactor().stop();
            return;
        }
        let pause = if ran >= LONG_RUN { MIN_DELAY } else { plan.pause.get() };
        plan.pause.set(pause.mul_f64(1.5).min(60 * MIN_DELAY));
        start_after(process.reactor(), pause, plan);
    }
}

/// Prints a line. A write error is ignored, so that the child runs on without a reader (`| head`).
fn say(what: &dyn Display) {
    let _ = writeln!(std::io::stdout(), "supervisor: {what}");
}

fn start_after(reactor: &mut Reactor, pause: Duration, plan: Rc<Plan>) {
    let again = Rc::clone(&plan);
    let call = reactor.call_later(pause, move |reactor| {
        again.restart.set(None);
        let child = Child { plan: Rc::clone(&again), began: reactor.now(), line: Vec::new() };
        if let Err(error) = reactor.spawn_process(again.what.clone(), child) {
            say(&error);
            reactor.stop();
        }
    });
    plan.restart.set(Some(call));
}

/// Asks the child to end, and kills it after a timeout.
fn stop(reactor: &mut Reactor, plan: &Plan) {
    plan.stopping.set(true);
    if plan.restart.get().is_some() {
        reactor.stop();
    }
    for id in reactor.processes() {
        let asked = reactor.process_transport(id).map(|mut process| process.signal(Signal::Terminate));
        say(&format_args!("SIGTERM sent: {}", if let Some(Ok(())) = asked { "yes" } else { "no" }));
        reactor.call_later(Duration::from_secs(5), move |reactor| {
            let _ = reactor.process_transport(id).is_some_and(|mut process| process.kill());
        });
    }
}

fn main() -> twistor::Result<()> {
    let mut arguments = std::env::args_os().skip(1);
    let program = arguments.next().unwrap_or_else(|| "date".into());
    let what = SpawnProcess { own_group: true, ..SpawnProcess::new(program, arguments) };
    let plan = Plan { what, pause: MIN_DELAY.into(), restart: None.into(), stopping: false.into() };
    let (plan, mut reactor) = (Rc::new(plan), Reactor::new()?);
    for signal in [Signal::Interrupt, Signal::Terminate] {
        let plan = Rc::clone(&plan);
        reactor.on_signal(signal, move |reactor| stop(reactor, &plan))?;
    }
    start_after(&mut reactor, Duration::ZERO, plan);
    reactor.run()
}
