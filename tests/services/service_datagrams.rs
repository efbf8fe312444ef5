//! A datagram service has its socket from privileged_start to its stop, and the stop waits for the protocol's end.

use std::cell::Cell;
use std::rc::Rc;

use crate::world::{Record, on_each_back_end};
use twistor::endpoint::datagram_from_string;
use twistor::service::{DatagramService, MultiService, Service, StopToken};
use twistor::{Address, DatagramProtocol, DatagramTransport, ListenUdp, Reactor, Reason};

struct Noting(Record);

impl DatagramProtocol for Noting {
    fn start_protocol(&mut self, _: &mut DatagramTransport<'_>) {
        self.0.add("started");
    }

    fn datagram_received(&mut self, _: &mut DatagramTransport<'_>, data: &[u8], _: &Address) {
        self.0.add(String::from_utf8_lossy(data));
    }

    fn stop_protocol(&mut self, _: &mut DatagramTransport<'_>, reason: &Reason) {
        self.0.add(format!("{reason:?}"));
    }
}

fn service(record: &Record) -> DatagramService {
    let record = record.clone();
    DatagramService::new(ListenUdp::new(([127, 0, 0, 1], 0)), move || Noting(record.clone()))
}

fn stop(service: &DatagramService, reactor: &mut Reactor, record: &Record) -> Rc<Cell<bool>> {
    let told = Rc::new(Cell::new(false));
    let (tells, record) = (Rc::clone(&told), record.clone());
    let stopped = StopToken::new(reactor, move |_| {
        record.add("stopped");
        tells.set(true);
    });
    service.clone().stop(reactor, stopped);
    told
}

#[test]
fn a_socket_is_open_from_privileged_start_until_the_stop() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let mut service = service(&record);
        for _ in 0..2 {
            assert!(service.socket().is_none());
            service.privileged_start(&mut reactor).unwrap();
            let socket = service.socket().unwrap();
            service.start(&mut reactor).unwrap();
            assert_eq!(service.socket(), Some(socket));
            let host = reactor.datagram_transport(socket).unwrap().host();
            let sender = reactor.listen_udp("127.0.0.1:0", Noting(Record::new())).unwrap();
            reactor.datagram_transport(sender).unwrap().write_to("hello", &host).unwrap();
            world.run_until(&mut reactor, "the datagram", |_| record.has("hello"));
            reactor.datagram_transport(sender).unwrap().stop_listening();
            let told = stop(&service, &mut reactor, &record);
            assert!(service.socket().is_none() && !told.get());
            world.run_until(&mut reactor, "stopped", |_| told.get());
            world.run_until_idle(&mut reactor);
            assert_eq!(record.take(), ["started", "hello", "Done", "stopped"]);
        }
    });
}

#[test]
fn a_stop_without_a_socket_ends_at_once() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let mut service = service(&record);
        let never_started = stop(&service, &mut reactor, &record);
        world.run_until(&mut reactor, "stopped", |_| never_started.get());
        service.start(&mut reactor).unwrap();
        let socket = service.socket().unwrap();
        world.run_until(&mut reactor, "started", |_| record.has("started"));
        reactor.datagram_transport(socket).unwrap().stop_listening();
        world.run_until(&mut reactor, "closed", |_| record.has("Done"));
        let gone = stop(&service, &mut reactor, &record);
        world.run_until(&mut reactor, "stopped", |_| gone.get());
        world.run_until_idle(&mut reactor);
    });
}

#[test]
fn a_socket_that_cannot_be_opened_names_the_service() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let taken = reactor.listen_udp("127.0.0.1:0", Noting(Record::new())).unwrap();
        let host = reactor.datagram_transport(taken).unwrap().host();
        let services = MultiService::new();
        let text = format!("udp:{}:interface=127.0.0.1", host.port().unwrap());
        let endpoint = datagram_from_string(&text).unwrap();
        services.add(DatagramService::new(endpoint, || Noting(Record::new())).named("dns")).unwrap();
        let error = services.clone().privileged_start(&mut reactor).unwrap_err().to_string();
        assert!(error.starts_with(&format!("service dns: cannot listen on {host}: bind: ")), "{error}");
        reactor.datagram_transport(taken).unwrap().stop_listening();
        world.run_until_idle(&mut reactor);
    });
}
