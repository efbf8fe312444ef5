//! An endpoint can be a UNIX socket, or one that listens already: a descriptor in hand, by number, or of systemd.

use std::net::TcpListener;
use std::os::fd::AsRawFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{SocketAddr, UnixListener};

use crate::world::{Record, Recorder, World, idle_protocol, on_the_real_network, once};
use twistor::Error;
use twistor::endpoint::{Adopted, ServerEndpoint, client_from_string, quote_argument, server_from_string};

const DESCRIPTORS: &str = "descriptors are the system's";

/// Listens, is connected to at `client`, and echoes.
fn meets(world: &World, server: &dyn ServerEndpoint, client: &str) {
    let mut reactor = world.reactor();
    let record = Record::new();
    let echo = || Recorder::new(&Record::new()).echoing();
    let listener = server.listen(&mut reactor, Box::new(echo)).unwrap();
    let asks = Recorder::new(&record).acting(|what, transport, _| match what {
        "made" => transport.write(b"hello"),
        "data" => transport.lose_connection(),
        _ => {}
    });
    let client = client_from_string(client).unwrap();
    client.connect(&mut reactor, Box::new(once(asks, &Record::new()))).unwrap();
    world.run_until(&mut reactor, "lost", |_| record.has("lost Done"));
    world.close(&mut reactor, &listener);
}

fn refusal(error: Error) -> (String, String) {
    match error {
        Error::CannotListen { address, source, .. } => (address, source.to_string()),
        other => panic!("{other}"),
    }
}

#[test]
fn a_unix_socket_is_named_by_its_path_or_its_abstract_name() {
    on_the_real_network("the files of a real file system", |world| {
        let folder =
            crate::world::temp_dir::short_temp_dir().join(format!("twistor-a:b=c-{}", std::process::id()));
        std::fs::create_dir(&folder).unwrap();
        let path = folder.join("socket");
        let text = format!("unix:{}", quote_argument(path.to_str().unwrap()));
        meets(world, &*server_from_string(&format!("{text}:mode=600:backlog=5")).unwrap(), &text);
        assert!(!path.exists(), "the file goes with its listener");

        let mut reactor = world.reactor();
        let server = server_from_string(&format!("{text}:mode=640:unlink=no")).unwrap();
        let listener = server.listen(&mut reactor, Box::new(idle_protocol)).unwrap();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o640);
        world.close(&mut reactor, &listener);
        assert!(path.exists());
        let refused = server_from_string(&format!("{text}:remove_stale=no")).unwrap();
        let error = refused.listen(&mut reactor, Box::new(idle_protocol)).unwrap_err();
        assert_eq!(refusal(error).0, path.to_str().unwrap());
        std::fs::remove_dir_all(folder).unwrap();

        let text = format!("unix:@twistor-endpoint-{}", std::process::id());
        meets(world, &*server_from_string(&text).unwrap(), &text);
    });
}

#[test]
fn a_descriptor_in_hand_is_an_endpoint_once() {
    on_the_real_network(DESCRIPTORS, |world| {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = format!("tcp:127.0.0.1:{}", socket.local_addr().unwrap().port());
        let number = socket.as_raw_fd();
        let endpoint = Adopted::new(socket);
        assert_eq!(endpoint.describe(), format!("fd:{number}"));
        meets(world, &endpoint, &client);
        let error = endpoint.listen(&mut world.reactor(), Box::new(idle_protocol)).unwrap_err();
        assert_eq!(refusal(error), (format!("fd:{number}"), "it was used already".to_owned()));
        // An unused socket is closed with its endpoint: the world counts.
        drop(Adopted::new(TcpListener::bind("127.0.0.1:0").unwrap()));
    });
}

#[test]
fn a_descriptor_by_its_number_is_duplicated_each_time() {
    on_the_real_network(DESCRIPTORS, |world| {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = format!("tcp:127.0.0.1:{}", socket.local_addr().unwrap().port());
        let server = server_from_string(&format!("fd:{}", socket.as_raw_fd())).unwrap();
        meets(world, &*server, &client);
        meets(world, &*server, &client);

        let name = format!("unix:@twistor-number-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name[6..]);
        let socket = UnixListener::bind_addr(&address.unwrap()).unwrap();
        meets(world, &*server_from_string(&format!("fd:{}", socket.as_raw_fd())).unwrap(), &name);
    });
}

#[test]
fn a_number_that_does_not_listen_is_refused_by_name() {
    on_the_real_network(DESCRIPTORS, |world| {
        let mut reactor = world.reactor();
        let file = std::fs::File::open("/dev/null").unwrap();
        let connected = std::os::unix::net::UnixStream::pair().unwrap();
        for number in [file.as_raw_fd(), connected.0.as_raw_fd(), 1_000_000] {
            let text = format!("fd:{number}");
            let error = server_from_string(&text).unwrap().listen(&mut reactor, Box::new(idle_protocol));
            assert_eq!(refusal(error.unwrap_err()).0, text);
        }
        for text in ["fd", "fd:", "fd:-1", "fd:x", "fd:99999999999", "fd:3:4", "fd:3:mode=1"] {
            assert!(server_from_string(text).is_err(), "{text}");
        }
    });
}

#[test]
fn without_systemd_there_is_nothing_to_listen_on() {
    on_the_real_network(DESCRIPTORS, |world| {
        let mut reactor = world.reactor();
        let error =
            server_from_string("systemd:name=web").unwrap().listen(&mut reactor, Box::new(idle_protocol));
        let (text, why) = refusal(error.unwrap_err());
        assert_eq!(text, "systemd:name=web");
        assert!(why.contains("no sockets were passed"), "{why}");
        for (text, key) in [
            ("systemd", "name"),
            ("systemd:web", "name"),
            ("systemd:index=x", "index"),
            ("systemd:name=", "name"),
        ] {
            let error = server_from_string(text).err().unwrap();
            assert_eq!(error.key.as_deref().unwrap_or(""), key, "{error}");
        }
    });
}
