//! A completion reports its result once, from the loop.

use std::time::Duration;

use crate::world::{Record, on_each_back_end};
use twistor::{Completion, Reactor};

fn recording(reactor: &mut Reactor, record: &Record) -> Completion<&'static str> {
    let record = record.clone();
    reactor.completion(move |_, result| record.add(result.unwrap_or("nothing")))
}

#[test]
fn a_completion_reports_its_result_or_that_there_is_none() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let (kept, dropped) = (recording(&mut reactor, &record), recording(&mut reactor, &record));
        assert_eq!(reactor.resource_count(), 2);
        kept.complete("a result");
        assert_eq!(record.events(), [""; 0], "from the loop, and not before");
        reactor.iterate(Some(Duration::ZERO)).unwrap();
        assert_eq!((record.take(), reactor.resource_count()), (vec!["a result".to_owned()], 1));
        drop(dropped);
        reactor.iterate(Some(Duration::ZERO)).unwrap();
        assert_eq!((record.take(), reactor.resource_count()), (vec!["nothing".to_owned()], 0));
    });
}

#[test]
fn another_thread_completes_and_wakes_the_loop() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let completion = reactor.completion(|reactor, result: Option<u32>| {
            assert_eq!(result, Some(7));
            reactor.stop();
        });
        reactor.call_in_thread(move || completion.complete(7), |_, _| {}).unwrap();
        world.run(&mut reactor);
    });
}

#[test]
fn a_reactor_that_finishes_first_drops_the_callback() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let completion = recording(&mut reactor, &record);
        reactor.call_later(Duration::ZERO, |reactor| {
            reactor.stop();
        });
        world.run(&mut reactor);
        completion.complete("too late");
        drop(reactor);
        assert_eq!(record.events(), [""; 0]);
    });
}
