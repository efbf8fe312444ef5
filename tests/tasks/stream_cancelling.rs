//! A task that uses streams can be cancelled wherever it waits: nothing of it is left in use, and its peer hears of it.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use twistor::sim::{Host, Latency, Link, Simulation};
use twistor::stream::{
    ConnectError, StreamError, StreamReader, StreamWriter, open_connection, open_datagram, start_server,
};
use twistor::task::{join, sleep};

const MUCH: usize = 400_000;

type Outcome = Result<(), Box<dyn std::error::Error>>;

/// Everything that waits, one after the other.
async fn client() -> Outcome {
    let (mut reader, writer) = open_connection("server:7").await?;
    expect(reader.read_line().await? == Some(b"welcome"))?;
    writer.write(&vec![b'm'; MUCH]);
    writer.drain().await?;
    let mut ten = [0; 10];
    reader.read_exact(&mut ten).await?;
    reader.read_until(b";", 100).await?;
    writer.write(b"and the rest");
    writer.drain().await?;
    writer.write_eof();
    expect(reader.read_to_end(100).await? == b"bye")?;
    writer.close();
    expect(writer.wait_closed().await.is_clean())?;
    let mut socket = open_datagram("udp:10.0.0.1:9").await?;
    for _ in 0..2 {
        socket.send(b"hello?")?;
        // The peer may be gone.
        let answer = twistor::task::timeout(Duration::from_secs(1), socket.recv()).await;
        assert!(!answer.is_ok_and(|answer| answer.is_ok_and(|answer| answer != b"hello!")));
    }
    Ok(())
}

/// What a client expects of a server that is not cancelled.
fn expect(right: bool) -> Outcome {
    if right { Ok(()) } else { Err("the server ended".into()) }
}

async fn handler(mut reader: StreamReader, writer: StreamWriter) -> Outcome {
    writer.write(b"welcome\n");
    writer.drain().await?;
    let mut much = vec![0; MUCH];
    reader.read_exact(&mut much).await?;
    writer.write(b"0123456789");
    sleep(Duration::from_millis(1)).await;
    writer.write(b"done;");
    let rest = reader.read_to_end(100).await?;
    // The end comes early when the client is cancelled.
    assert!(b"and the rest".starts_with(&rest));
    writer.write(b"bye");
    writer.close();
    writer.wait_closed().await;
    Ok(())
}

/// Polls a future so many times, if it waits so often, and drops it then: `None`.
async fn cut<F: Future>(polls: Option<usize>, future: F) -> Option<F::Output> {
    let mut left = polls;
    let mut future: Option<Pin<Box<F>>> = Some(Box::pin(future));
    poll_fn(|context| {
        match &mut left {
            Some(0) => {
                future = None;
                return Poll::Ready(None);
            }
            Some(left) => *left -= 1,
            None => {}
        }
        match &mut future {
            Some(future) => future.as_mut().poll(context).map(Some),
            None => Poll::Ready(None),
        }
    })
    .await
}

/// What became of it.
#[derive(Default)]
struct Ends {
    client: Cell<Option<bool>>,
    handler: Cell<Option<bool>>,
}

/// Runs client and server; each is cancelled at its so manieth poll, if it is polled so often.
fn run(seed: u64, client_polls: Option<usize>, handler_polls: Option<usize>) -> Rc<Ends> {
    let mut simulation = Simulation::new(seed);
    let (one, other) = (simulation.host("server"), simulation.host("client"));
    simulation.set_links(Link { latency: Latency::Fixed(Duration::from_millis(5)), ..Link::default() });
    let ends = Rc::<Ends>::default();
    serve(&mut simulation, one, handler_polls, &ends);
    let seen = Rc::clone(&ends);
    let asking = async move {
        let ended = cut(client_polls, client()).await;
        if handler_polls.is_none() {
            // Only the client was cancelled.
            assert!(ended.as_ref().is_none_or(Result::is_ok), "{ended:?}");
        }
        seen.client.set(Some(ended.is_some()));
    };
    simulation.reactor(other).spawn(asking).detach();
    simulation.run_for(Duration::from_secs(60)).unwrap();

    let what = format!("seed {seed}, client {client_polls:?}, handler {handler_polls:?}");
    for host in [one, other] {
        let reactor = simulation.reactor(host);
        assert_eq!(reactor.resource_count(), 0, "{what}: {:?} {:?}", reactor.connections(), reactor.tasks());
        assert_eq!(reactor.delayed_call_count(), 0, "{what}");
        assert_eq!(reactor.statistics().panics, 0, "{what}");
        assert_eq!(simulation.network().sockets(host), 0, "{what}");
    }
    assert!(ends.client.get().is_some(), "the client has not ended: {what}");
    ends
}

/// Serves until there was no connection for ten seconds, or the end.
fn serve(simulation: &mut Simulation, host: Host, polls: Option<usize>, ends: &Rc<Ends>) {
    let seen = Rc::clone(ends);
    let handle = async move |reader: StreamReader, writer: StreamWriter| {
        let ended = cut(polls, handler(reader, writer)).await;
        if let Some(Err(error)) = &ended {
            let lost = error.downcast_ref::<StreamError>();
            // The client was cancelled.
            assert!(
                matches!(lost, Some(StreamError::Lost(_) | StreamError::UnexpectedEof { .. })),
                "{error}"
            );
        }
        seen.handler.set(Some(ended.is_some()));
    };
    let serving = async move {
        let server = start_server("tcp:7", handle)?;
        let answering = twistor::task::timeout(Duration::from_secs(20), async {
            let mut socket = open_datagram("udp:9").await?;
            loop {
                let (_, from) = socket.recv_from().await?;
                socket.send_to(b"hello!", &from)?;
            }
            #[expect(unreachable_code, reason = "says what the errors are")]
            Ok::<(), Box<dyn std::error::Error>>(())
        });
        let closing = async {
            sleep(Duration::from_secs(20)).await;
            server.close();
            server.wait_closed().await;
        };
        let _ = join(answering, closing).await;
        Ok::<_, ConnectError>(())
    };
    simulation.reactor(host).spawn(async move { serving.await.unwrap() }).detach();
}

/// Cuts at every poll, until it is not reached any more; how many there were.
fn everywhere(ended: impl Fn(usize) -> bool) -> usize {
    for polls in 0..10_000 {
        if ended(polls) {
            return polls;
        }
    }
    panic!("it never ended");
}

#[test]
fn left_alone_it_comes_to_its_end() {
    for seed in 0..20 {
        let ends = run(seed, None, None);
        assert_eq!((ends.client.get(), ends.handler.get()), (Some(true), Some(true)), "seed {seed}");
    }
}

#[test]
fn the_client_can_be_cancelled_wherever_it_waits() {
    for seed in 0..3 {
        let polls = everywhere(|polls| run(seed, Some(polls), None).client.get() == Some(true));
        assert!(polls > 8, "only {polls} polls");
    }
}

#[test]
fn the_server_can_be_cancelled_wherever_it_waits() {
    for seed in 0..3 {
        let polls = everywhere(|polls| run(seed, None, Some(polls)).handler.get() == Some(true));
        assert!(polls > 5, "only {polls} polls");
    }
}

#[test]
fn both_can_be_cancelled() {
    for client in (0..30).step_by(3) {
        for handler in (0..20).step_by(3) {
            run(7, Some(client), Some(handler));
        }
    }
}
