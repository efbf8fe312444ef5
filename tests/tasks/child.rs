//! A child process whose pipes are streams: no byte is lost, and it ends with its owner.

use std::time::Duration;

use crate::world::{World, on_the_real_network, with_reactor};
use twistor::stream::{Child, ProcessError, StreamError, process_output, spawn_process};
use twistor::task::{join, sleep, timeout};
use twistor::{
    ChildStream, Error, ExitReason, OutputErrorKind, OutputOptions, ProcessSignal, Reason, Settings,
    SpawnProcess, TerminalSize,
};

const REAL: &str = "children are the system's";
const MOMENT: Duration = Duration::from_millis(5);

fn run<F: Future>(future: impl FnOnce() -> F) {
    on_the_real_network(REAL, |world: &World| {
        world.run_future(future());
    });
}

fn shell(line: &str) -> Child {
    spawn_process(SpawnProcess::shell(line)).unwrap()
}

#[test]
fn much_data_passes_through_a_child_in_both_directions() {
    run(|| async {
        const SIZE: usize = 3_000_000;
        let mut cat = spawn_process(SpawnProcess::new("cat", [""; 0])).unwrap();
        assert!(cat.pid().is_some() && cat.exit_reason().is_none());
        let (input, mut output) = (cat.stdin.take().unwrap(), cat.stdout.take().unwrap());
        let writing = async {
            for chunk in vec![b'x'; SIZE].chunks(10_000) {
                input.write(chunk);
                input.drain().await.unwrap();
            }
            input.write_eof();
            assert!(input.is_closing());
        };
        let reading = async {
            let mut count = 0;
            loop {
                match output.read_chunk(50_000).await.unwrap() {
                    [] => return count,
                    chunk => count += chunk.len(),
                }
            }
        };
        assert_eq!(join(reading, writing).await.0, SIZE);
        assert_eq!(cat.wait().await, ExitReason::Code(0));
        assert_eq!((cat.pid(), cat.exit_reason()), (None, Some(ExitReason::Code(0))));
        assert_eq!(input.wait_closed().await, Reason::Done);
        assert!(matches!(cat.signal(ProcessSignal::TERMINATE), Err(Error::ProcessExited)));
    });
}

#[test]
fn both_outputs_are_read_after_the_exit() {
    run(|| async {
        let mut child = shell("echo to out; echo to err >&2; exit 3");
        assert_eq!(child.wait().await.code(), Some(3));
        assert!(child.stdin.is_none());
        let (mut out, mut err) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        assert_eq!(out.read_to_end(100).await.unwrap(), b"to out\n");
        assert_eq!(err.read_to_end(100).await.unwrap(), b"to err\n");
    });
}

#[test]
fn unread_output_blocks_the_child_until_it_is_read() {
    run(|| async {
        const SIZE: usize = 1_000_000;
        let mut child = shell(&format!("head -c {SIZE} /dev/zero"));
        assert!(timeout(MOMENT * 20, child.wait()).await.is_err(), "it waits for its reader");
        let read = child.stdout.as_mut().unwrap().read_to_end(2 * SIZE).await.unwrap();
        assert_eq!(read.len(), SIZE);
        assert!(child.wait().await.is_clean());
    });
}

#[test]
fn a_dropped_reader_discards_the_output() {
    run(|| async {
        let mut child = shell("head -c 1000000 /dev/zero && echo done >&2");
        child.stdout = None;
        assert!(child.wait().await.is_clean(), "no SIGPIPE");
        assert_eq!(child.stderr.as_mut().unwrap().read_to_end(10).await.unwrap(), b"done\n");
    });
}

#[test]
fn input_that_has_no_reader_is_reported() {
    run(|| async {
        let mut child = shell("exec sleep 1000 <&-");
        let input = child.stdin.take().unwrap();
        let lost = loop {
            input.write(b"anybody?");
            match input.drain().await {
                Ok(()) => sleep(MOMENT).await,
                Err(lost) => break lost,
            }
        };
        assert!(matches!(&lost, StreamError::Lost(Reason::Lost(_))), "{lost}");
        child.kill();
        assert_eq!(child.wait().await.signal(), Some(ProcessSignal::KILL));
    });
}

#[test]
fn a_child_is_killed_with_its_owner_unless_detached() {
    run(|| async {
        let child = shell("sleep 1000; true");
        let id = child.id();
        drop(child);
        while with_reactor(|reactor| reactor.process_transport(id).is_some()) {
            sleep(MOMENT).await;
        }
        let child = shell("read line; exit 7");
        let id = child.id();
        child.detach();
        // The dropped writer has closed its input, so it ends by itself.
        loop {
            let exit = with_reactor(|reactor| {
                reactor.process_transport(id).map(|process| process.exit_reason().cloned())
            });
            match exit {
                None => break,
                Some(reason) => assert!(reason.is_none_or(|reason| reason.code() == Some(7))),
            }
            sleep(MOMENT).await;
        }
    });
}

#[test]
fn streams_are_there_where_pipes_are() {
    run(|| async {
        let quiet = SpawnProcess {
            stdin: ChildStream::Null,
            stdout: ChildStream::Null,
            ..SpawnProcess::new("true", [""; 0])
        };
        let mut child = spawn_process(quiet).unwrap();
        assert!(child.stdin.is_none() && child.stdout.is_none() && child.stderr.is_some());
        assert!(child.wait().await.is_clean());
        let terminal = SpawnProcess {
            terminal: Some(TerminalSize::default()),
            ..SpawnProcess::shell("stty -echo; echo ready; read line; echo got $line")
        };
        let mut child = spawn_process(terminal).unwrap();
        assert!(child.stderr.is_none());
        let mut output = child.stdout.take().unwrap();
        assert_eq!(output.read_line().await, Ok(Some(&b"ready"[..])));
        child.stdin.as_ref().unwrap().write(b"a line\n");
        assert_eq!(output.read_line().await, Ok(Some(&b"got a line"[..])));
        assert!(child.wait().await.is_clean());
        let error = spawn_process(SpawnProcess::new("/no/such/program", [""; 0])).unwrap_err();
        assert!(matches!(error, Error::CannotSpawn { .. }), "{error}");
    });
    assert!(matches!(spawn_process(SpawnProcess::shell("")), Err(Error::ReactorUnavailable)));
}

#[test]
fn output_is_awaited_and_its_limits_are_errors() {
    run(|| async {
        let run = |line, options| process_output(SpawnProcess::shell(line), options);
        let options = OutputOptions { input: b"text".to_vec(), ..OutputOptions::default() };
        let output = run("cat; echo err >&2; exit 2", options).await.unwrap();
        assert_eq!((output.stdout.as_slice(), output.stderr.as_slice()), (&b"text"[..], &b"err\n"[..]));
        assert_eq!(output.reason.code(), Some(2));
        let few = OutputOptions { limit: 10, ..OutputOptions::default() };
        match run("yes", few).await {
            Err(ProcessError::Output(error)) => assert_eq!(error.why, OutputErrorKind::StdoutLimit(10)),
            other => panic!("{other:?}"),
        }
        let missing = process_output(SpawnProcess::new("/no/such", [""; 0]), OutputOptions::default()).await;
        assert!(matches!(missing, Err(ProcessError::Reactor(Error::CannotSpawn { .. }))), "{missing:?}");
        // Given up: the program ends, and the child of the shell does not hold it up.
        timeout(MOMENT, run("sleep 1000; true", OutputOptions::default())).await.unwrap_err();
        while with_reactor(|reactor| !reactor.processes().is_empty()) {
            sleep(MOMENT).await;
        }
    });
}

#[test]
fn the_stop_of_the_reactor_ends_child_and_streams() {
    on_the_real_network(REAL, |world| {
        let settings = Settings { graceful_stop_timeout: Duration::from_secs(60), ..Settings::default() };
        let mut reactor = world.reactor_with(settings);
        reactor
            .spawn(async {
                let mut child =
                    shell("trap 'echo stopping; exit 5' TERM; echo ready; while :; do sleep 0.01; done");
                let mut output = child.stdout.take().unwrap();
                assert_eq!(output.read_line().await, Ok(Some(&b"ready"[..])));
                with_reactor(|reactor| reactor.stop_gracefully());
                assert_eq!(output.read_to_end(100).await.unwrap(), b"stopping\n");
                assert_eq!(child.wait().await.code(), Some(5));
            })
            .detach();
        reactor.run().unwrap();
    });
}
