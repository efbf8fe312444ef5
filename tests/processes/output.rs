//! The output of a program is collected, up to limits of bytes and time.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use crate::process::{REAL, zombies};
use crate::world::{World, on_the_real_network};
use twistor::{
    ExitReason, OutputError, OutputErrorKind, OutputOptions, ProcessOutput, ProcessSignal, Reactor,
    SpawnProcess,
};

type Outcome = Result<ProcessOutput, OutputError>;

fn collect(world: &World, reactor: &mut Reactor, line: &str, how: OutputOptions) -> Outcome {
    let outcome = Rc::new(RefCell::new(None));
    let place = Rc::clone(&outcome);
    let done = move |_: &mut Reactor, result| *place.borrow_mut() = Some(result);
    reactor.process_output(SpawnProcess::shell(line), how, done).unwrap();
    world.run_until_idle(reactor);
    assert_eq!(zombies(), 0);
    outcome.borrow_mut().take().unwrap()
}

#[test]
fn output_errors_and_code_come_together() {
    on_the_real_network(REAL, |world| {
        let reactor = &mut world.reactor();
        let output =
            collect(world, reactor, "echo out; echo err >&2; exit 7", OutputOptions::default()).unwrap();
        assert_eq!((output.stdout.as_slice(), output.stderr.as_slice()), (&b"out\n"[..], &b"err\n"[..]));
        assert_eq!(output.reason, ExitReason::Code(7));
    });
}

#[test]
fn the_input_is_read_to_its_end_however_long_it_is() {
    on_the_real_network(REAL, |world| {
        let reactor = &mut world.reactor();
        let input: Vec<u8> = (0..900_000u32).map(|index| (index % 251) as u8).collect();
        let output = collect(
            world,
            reactor,
            "cat",
            OutputOptions { input: input.clone(), ..OutputOptions::default() },
        );
        assert!(output.unwrap().stdout == input);
    });
}

#[test]
fn one_that_says_more_than_the_limit_is_killed() {
    on_the_real_network(REAL, |world| {
        let reactor = &mut world.reactor();
        let how = |limit| OutputOptions { limit, ..OutputOptions::default() };
        for limit in [5, 6] {
            assert_eq!(collect(world, reactor, "echo 1234", how(limit)).unwrap().stdout, b"1234\n");
        }
        let error = collect(world, reactor, "echo 1234; sleep 30", how(4)).unwrap_err();
        assert_eq!(
            (error.why, error.output.stdout.as_slice()),
            (OutputErrorKind::StdoutLimit(4), &b"1234"[..])
        );
        assert_eq!(error.output.reason.signal(), Some(ProcessSignal::KILL));
        let error = collect(world, reactor, "yes >&2", how(10_000)).unwrap_err();
        assert_eq!(error.why, OutputErrorKind::StderrLimit(10_000));
        assert_eq!(error.output.stderr.len(), 10_000);
        assert_eq!(error.to_string(), "killed: it wrote more than 10000 bytes to its standard error");
    });
}

#[test]
fn a_timed_out_program_is_killed_even_if_its_output_is_held() {
    on_the_real_network(REAL, |world| {
        let reactor = &mut world.reactor();
        let how = OutputOptions { timeout: Some(Duration::from_millis(20)), ..OutputOptions::default() };
        // The grandchild reads a pipe of its own until its writer, the shell, is gone.
        let error = collect(world, reactor, "echo first; sleep 30 | cat; echo never", how).unwrap_err();
        assert_eq!(error.why, OutputErrorKind::TimedOut(Duration::from_millis(20)));
        assert_eq!(error.output.reason.signal(), Some(ProcessSignal::KILL));
    });
}
