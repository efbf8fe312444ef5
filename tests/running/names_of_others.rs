//! The documentation can be searched for names of Twisted, asyncio and tokio, and the compiler says
//! what to do when a value lacks a trait that users implement.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn sources() -> Vec<String> {
    let mut folders: Vec<PathBuf> = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    let mut texts = Vec::new();
    while let Some(path) = folders.pop() {
        if path.is_dir() {
            folders.extend(fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            texts.push(fs::read_to_string(path).unwrap());
        }
    }
    texts
}

#[test]
fn names_of_other_frameworks_are_aliases_in_the_documentation() {
    let texts = sources();
    let mut aliases = BTreeSet::new();
    for text in &texts {
        let mut rest = text.as_str();
        while let Some((_, after)) = rest.split_once("doc(alias") {
            let (list, after) = after.split_once(']').unwrap();
            aliases.extend(list.split('"').skip(1).step_by(2));
            rest = after;
        }
    }
    let wanted = "
        callLater loseConnection abortConnection listenTCP connectTCP listenUDP listenUNIX connectUNIX spawnProcess
        callFromThread blockingCallFromThread deferToThread callInThread callWhenRunning addSystemEventTrigger
        inlineCallbacks DeferredList gatherResults deferLater LoopingCall TimeoutMixin ReconnectingClientFactory
        IPushProducer IPullProducer registerProducer unregisterProducer pauseProducing dataReceived connectionMade
        connectionLost buildProtocol clientConnectionFailed clientConnectionLost startedConnecting stopListening
        stopConnecting connectProtocol adoptStreamPort adoptStreamConnection MemoryReactorClock
        StringTransportWithDisconnection LineOnlyReceiver lineReceived NetstringReceiver IntNStringReceiver procmon
        call_soon call_soon_threadsafe call_at create_server create_connection create_datagram_endpoint
        get_write_buffer_size set_write_buffer_limits add_signal_handler run_in_executor create_task wait_for
        spawn_blocking mpsc oneshot JoinHandle local_addr peer_addr split TcpListener TcpStream UdpSocket Mutex
    ";
    // Types and functions of the same name need no alias.
    let own = ["LoopingCall"];
    let missing: Vec<_> =
        wanted.split_whitespace().filter(|name| !aliases.contains(name) && !own.contains(name)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn a_trait_of_users_says_what_to_do_when_it_is_missing() {
    let texts = sources();
    for name in [
        "Protocol",
        "Factory",
        "ClientFactory",
        "Layer",
        "Producer",
        "DatagramProtocol",
        "ProcessProtocol",
        "Service",
        "LineReceiver",
        "StringReceiver",
    ] {
        let item = format!("\npub trait {name}");
        let ends = [":", " {"].map(|end| format!("{item}{end}"));
        let text = texts.iter().find_map(|text| ends.iter().find_map(|end| text.split_once(end.as_str())));
        let (before, _) = text.unwrap_or_else(|| panic!("no trait {name}"));
        let documentation = before.rsplit_once("\n///").unwrap().1;
        assert!(documentation.contains("diagnostic::on_unimplemented"), "{name}");
    }
}
