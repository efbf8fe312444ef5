//! What a thread of the pool works out is the result of a Deferred.

use std::cell::Cell;
use std::rc::Rc;
use std::thread;
use std::time::Duration;

use crate::world::gate::Gate;
use crate::world::{World, on_each_back_end, on_the_real_network};
use twistor::deferred::defer_to_thread;
use twistor::{Deferred, Error, Failure, JobPanicked, Reactor, Settings};

fn outcome<T: 'static>(world: &World, reactor: &mut Reactor, deferred: Deferred<T>) -> Result<T, Failure> {
    let place = Rc::new(Cell::new(None));
    let (noted, there) = (Rc::clone(&place), Rc::new(Cell::new(false)));
    let come = Rc::clone(&there);
    deferred.done(move |_, outcome| {
        noted.set(Some(outcome));
        come.set(true);
    });
    world.run_until(reactor, "the outcome", |_| there.get());
    place.take().unwrap()
}

#[test]
fn what_a_job_returns_is_the_result() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let job = defer_to_thread(&mut reactor, || "7".parse::<u32>());
        let deferred = job.then(|_, parsed| Ok(parsed? + 1));
        assert_eq!(outcome(world, &mut reactor, deferred).unwrap(), 8);
    });
}

#[test]
fn a_job_that_panics_is_a_failure() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let job = defer_to_thread(&mut reactor, || -> u32 { panic!("no way") });
        let failure = outcome(world, &mut reactor, job).unwrap_err();
        assert_eq!(failure.downcast::<JobPanicked>().unwrap().message, "no way");
    });
}

#[test]
fn when_too_many_jobs_wait_that_is_the_failure() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor_with(Settings { threads: 1, job_queue: 1, ..Settings::default() });
        let gate = Gate::new(world);
        let passage = gate.passage();
        let begun = defer_to_thread(&mut reactor, move || passage.pass());
        gate.holds_up(1);
        let queued = defer_to_thread(&mut reactor, || ());
        let mut refused: Deferred<()> = defer_to_thread(&mut reactor, || panic!("it ran"));
        let failure = refused.take_outcome().unwrap().unwrap_err();
        assert!(matches!(failure.downcast_ref(), Some(Error::QueueFull(1))), "{failure}");
        drop(gate);
        for job in [begun, queued] {
            outcome(world, &mut reactor, job).unwrap();
        }
    });
}

#[test]
fn a_cancelled_job_fails_at_once_but_still_runs_to_its_end() {
    on_the_real_network("a job is held up in a thread while the loop goes on", |world| {
        let mut reactor = world.reactor();
        let gate = Gate::new(world);
        let passage = gate.passage();
        let (sender, ended) = std::sync::mpsc::channel();
        let mut job = defer_to_thread(&mut reactor, move || {
            passage.pass();
            sender.send(thread::current().name().map(str::to_owned)).unwrap();
        });
        gate.holds_up(1);
        job.cancel();
        assert!(job.take_outcome().unwrap().unwrap_err().is_cancelled());
        drop(gate);
        world.run_until_idle(&mut reactor);
        assert_eq!(ended.recv_timeout(Duration::from_secs(20)).unwrap().as_deref(), Some("twistor-job"));
    });
}
