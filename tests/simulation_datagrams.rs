//! Datagrams travel each by itself: lost, doubled, overtaken and too long as the link says, and not otherwise.

use std::time::Duration;

use twistor::sim::{DatagramSocket, Link, Simulation};

const MS: Duration = Duration::from_millis(1);

fn mail(link: Link) -> (Simulation, DatagramSocket, DatagramSocket) {
    let simulation = Simulation::new(1);
    let (here, there) = (simulation.host("here"), simulation.host("there"));
    simulation.set_links(link);
    let from = simulation.bind_datagrams(here, ([0, 0, 0, 0], 0).into()).unwrap();
    let to = simulation.bind_datagrams(there, ([0, 0, 0, 0], 53).into()).unwrap();
    (simulation, from, to)
}

/// Sends a thousand numbered datagrams, one each millisecond, and returns the numbers that came.
fn thousand(link: Link) -> Vec<u16> {
    let (mut simulation, from, to) = mail(link);
    let address = "10.0.0.2:53".parse().unwrap();
    for number in 0..1000_u16 {
        from.send_to(&number.to_be_bytes(), address).unwrap();
        simulation.run_for(MS).unwrap();
    }
    simulation.run_for(Duration::from_secs(1)).unwrap();
    let (mut numbers, mut buffer) = (Vec::new(), [0; 2]);
    while let Ok((2, 2, sender)) = to.recv_from(&mut buffer) {
        assert_eq!(sender.ip(), simulation.address(simulation.host("here")));
        numbers.push(u16::from_be_bytes(buffer));
    }
    numbers
}

#[test]
fn datagrams_are_lost_doubled_and_overtaken_as_often_as_the_link_says() {
    let all: Vec<u16> = (0..1000).collect();
    assert_eq!(thousand(Link::default()), all);
    let lossy = thousand(Link { loss: 0.2, ..Link::default() });
    assert!((700..900).contains(&lossy.len()), "{}", lossy.len());
    let doubled = thousand(Link { duplicate: 0.2, ..Link::default() });
    assert!((1100..1300).contains(&doubled.len()), "{}", doubled.len());
    let mut overtaken = thousand(Link { reorder: 0.2, ..Link::fixed(3 * MS) });
    let late = overtaken.windows(2).filter(|pair| pair[0] > pair[1]).count();
    assert!((100..300).contains(&late), "{late}");
    overtaken.sort_unstable();
    assert_eq!(overtaken, all);
}

#[test]
fn a_datagram_that_is_too_long_for_the_way_vanishes_and_one_too_long_for_any_is_refused() {
    let (mut simulation, from, to) = mail(Link { mtu: 1000, ..Link::default() });
    let address = "10.0.0.2:53".parse().unwrap();
    for length in [999, 1000, 1001, 0] {
        from.send_to(&vec![b'x'; length], address).unwrap();
    }
    let error = from.send_to(&vec![b'x'; 65_508], address).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(twistor::sim::Errno::EMSGSIZE.raw()));
    // Nobody is there, and nobody says so.
    from.send_to(b"x", "10.9.9.9:53".parse().unwrap()).unwrap();
    from.send_to(b"x", "10.0.0.2:54".parse().unwrap()).unwrap();
    simulation.run_for(Duration::from_secs(1)).unwrap();
    let mut buffer = [0; 500];
    let mut lengths = Vec::new();
    while let Ok((copied, whole, _)) = to.recv_from(&mut buffer) {
        assert_eq!(copied, whole.min(500), "what does not fit is lost, and told");
        lengths.push(whole);
    }
    assert_eq!(lengths, [999, 1000, 0]);
}
