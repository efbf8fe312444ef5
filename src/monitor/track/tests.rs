use super::*;

fn at(seconds: u64) -> Instant {
    Instant::default() + secs(seconds)
}

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

const MS: Duration = Duration::from_millis(1);

fn up(took: Duration, down_for: Option<Duration>) -> Change {
    Change::Up { took, down_for, unknown_for: None }
}

fn down(cause: DownCause, took: Option<Duration>, up_for: Option<Duration>) -> Change {
    Change::Down { cause, took, up_for, unknown_for: None }
}

/// A target that is up since second 1.
fn held() -> TargetTracker {
    let mut track = TargetTracker::new();
    track.connected(at(1), MS);
    track
}

#[test]
fn a_target_goes_up_down_and_up_again() {
    let mut track = TargetTracker::new();
    assert_eq!(track.state(), TargetState::Unknown(None));
    assert_eq!(track.connected(at(10), MS), Some(up(MS, None)));
    let still_up = Change::StillUp { took: Some(MS * 3), up_for: secs(10) };
    assert_eq!(track.connected(at(20), MS * 3), Some(still_up));
    let refused = down(DownCause::Refused, Some(MS), Some(secs(20)));
    assert_eq!(track.failed(at(30), DownCause::Refused, MS), refused);
    let still = |cause, new_cause, down_for| Change::StillDown { cause, new_cause, took: Some(MS), down_for };
    assert_eq!(track.failed(at(31), DownCause::Refused, MS), still(DownCause::Refused, false, secs(1)));
    assert_eq!(track.failed(at(32), DownCause::TimedOut, MS), still(DownCause::TimedOut, true, secs(2)));
    assert_eq!(track.connected(at(40), MS * 2), Some(up(MS * 2, Some(secs(10)))));

    let summary = track.summary(at(50));
    assert_eq!((summary.state, summary.lasted, summary.uptime), (TargetState::Up, secs(10), Some(0.75)));
    assert_eq!((summary.losses, summary.connects, summary.failures), (1, 3, 3));
    assert_eq!((summary.median, summary.max), (Some(MS * 2), Some(MS * 3)));
}

#[test]
fn a_held_connection_is_up_until_it_is_lost() {
    let mut track = TargetTracker::new();
    assert_eq!(track.round(at(0)), None);
    track.connected(at(1), MS);
    assert_eq!(track.round(at(11)), Some(Change::StillUp { took: None, up_for: secs(10) }));
    assert_eq!(track.lost(at(12), DownCause::Reset), down(DownCause::Reset, None, Some(secs(11))));
    let still =
        Change::StillDown { cause: DownCause::Reset, new_cause: false, took: None, down_for: secs(9) };
    assert_eq!(track.round(at(21)), Some(still));
    assert_eq!(track.summary(at(23)).uptime, Some(0.5));
    let samples: Vec<_> = track.history().samples().collect();
    assert_eq!(samples, [Sample::Connected(MS), Sample::Held, Sample::Down, Sample::Down]);
}

#[test]
fn a_target_that_was_never_up_has_no_losses() {
    let mut track = TargetTracker::new();
    assert_eq!(track.summary(at(9)).uptime, None);
    let change = track.failed(at(1), DownCause::NoRoute, MS);
    assert_eq!(change, down(DownCause::NoRoute, Some(MS), None));
    let summary = track.summary(at(3));
    assert_eq!((summary.losses, summary.uptime, summary.lasted), (0, Some(0.0), secs(2)));
    assert_eq!(summary.median, None);
}

#[test]
fn news_is_what_differs_from_the_result_before() {
    let mut track = TargetTracker::new();
    assert!(track.connected(at(1), MS).unwrap().is_news());
    assert!(!track.connected(at(2), MS).unwrap().is_news());
    assert!(track.failed(at(3), DownCause::Refused, MS).is_news());
    assert!(!track.failed(at(4), DownCause::Refused, MS).is_news());
    assert!(track.failed(at(5), DownCause::TimedOut, MS).is_news());
}

#[test]
fn a_close_that_is_made_good_is_no_outage() {
    let mut track = held();
    assert_eq!(track.closed(at(61), secs(60), true), (Retry::AtOnce, None));
    assert_eq!((track.state(), track.closed_at()), (TargetState::Up, Some(at(61))));
    let reconnected = |after, idle, count| {
        Some(Change::Reconnected { after: secs(after), idle, gap: secs(1), took: MS, count })
    };
    // The reconnection is reported when it has lasted, with the figures of its connect.
    assert_eq!((track.connected(at(62), MS), track.closed_at()), (None, Some(at(61))));
    assert_eq!(track.settled(at(63)), reconnected(60, true, 1));
    assert_eq!((track.settled(at(64)), track.closed_at()), (None, None));
    assert_eq!(track.closed(at(65), secs(3), false), (Retry::AtOnce, None));
    assert_eq!(track.connected(at(66), MS), None);
    assert_eq!(track.settled(at(67)), reconnected(3, false, 2));
    let summary = track.summary(at(101));
    assert_eq!((summary.state, summary.lasted, summary.uptime), (TargetState::Up, secs(100), Some(1.0)));
    assert_eq!((summary.losses, summary.reconnects, summary.connects), (0, 2, 3));
    assert_eq!(track.history().samples().collect::<Vec<_>>(), [Sample::Connected(MS); 3]);
    assert!(reconnected(60, true, 1).unwrap().is_news() && !reconnected(1, false, 2).unwrap().is_news());
}

#[test]
fn a_close_that_is_not_made_good_is_an_outage_since_then() {
    let mut track = held();
    assert_eq!(track.close_stands(at(2)), None);
    track.closed(at(61), secs(60), true);
    assert_eq!(track.close_stands(at(66)), Some(down(DownCause::Closed, None, Some(secs(60)))));
    let still = Change::StillDown {
        cause: DownCause::TimedOut,
        new_cause: true,
        took: Some(secs(5)),
        down_for: secs(5),
    };
    assert_eq!(track.failed(at(66), DownCause::TimedOut, secs(5)), still);
    let summary = track.summary(at(121));
    assert_eq!((summary.losses, summary.lasted, summary.uptime), (1, secs(60), Some(0.5)));
    // The same in one step.
    let mut track = held();
    track.closed(at(61), secs(60), true);
    let refused = down(DownCause::Refused, Some(MS), Some(secs(60)));
    assert_eq!(track.failed(at(62), DownCause::Refused, MS), refused);
    assert_eq!((track.summary(at(71)).lasted, track.closed_at()), (secs(10), None));
}

#[test]
fn a_connection_that_does_not_last_makes_no_close_good() {
    for cause in [DownCause::Reset, DownCause::Broken, DownCause::Other] {
        let mut track = held();
        track.closed(at(61), secs(60), true);
        assert_eq!(track.connected(at(62), MS), None);
        assert_eq!(track.lost(at(62), cause), down(DownCause::Closed, None, Some(secs(60))));
        assert_eq!((track.settled(at(63)), track.closed_at()), (None, None), "{cause}");
        let summary = track.summary(at(121));
        assert_eq!((summary.losses, summary.reconnects, summary.connects), (1, 0, 2));
        assert_eq!((summary.lasted, summary.uptime), (secs(60), Some(0.5)));
        // The next connection is up at once, as after any loss.
        assert_eq!(track.connected(at(121), MS), Some(up(MS, Some(secs(60)))));
    }
    // A connection that has lasted is lost as usual.
    let mut track = held();
    track.closed(at(61), secs(60), true);
    track.connected(at(62), MS);
    assert!(track.settled(at(63)).is_some());
    assert_eq!(track.lost(at(63), DownCause::Reset), down(DownCause::Reset, None, Some(secs(62))));
    // A local failure makes the target unknown since the close.
    let mut track = held();
    track.closed(at(61), secs(60), true);
    track.connected(at(62), MS);
    let unknown =
        Change::Unknown { cause: DownCause::Local, took: None, up_for: Some(secs(60)), down_for: None };
    assert_eq!(track.lost(at(62), DownCause::Local), unknown);
}

#[test]
fn closes_in_between_belong_to_the_first_close() {
    let mut track = held();
    track.closed(at(61), secs(60), true);
    track.connected(at(62), MS);
    assert_eq!(track.closed(at(62), MS, false), (Retry::After(0), None));
    assert_eq!((track.settled(at(63)), track.closed_at()), (None, Some(at(61))));
    track.connected(at(64), MS * 2);
    let reconnected =
        Change::Reconnected { after: secs(60), idle: true, gap: secs(3), took: MS * 2, count: 1 };
    assert_eq!(track.settled(at(65)), Some(reconnected));
}

#[test]
fn a_target_that_closes_three_times_at_once_is_down() {
    let mut track = held();
    let short = Duration::from_millis(999);
    assert_eq!(track.closed(at(2), short, true), (Retry::After(0), None));
    assert_eq!((track.connected(at(3), MS), track.state()), (None, TargetState::Up));
    assert_eq!(track.closed(at(4), short, true), (Retry::After(1), None));
    assert_eq!((track.connected(at(5), MS), track.state()), (None, TargetState::Up));
    // None of the connections lasted: the target is down since the first close.
    let closes = down(DownCause::ClosesAtOnce, None, Some(secs(1)));
    assert_eq!(track.closed(at(6), short, true), (Retry::After(2), Some(closes)));
    // The next connection counts only when it has lasted.
    assert_eq!(
        (track.connected(at(8), MS), track.state()),
        (None, TargetState::Down(DownCause::ClosesAtOnce))
    );
    let still =
        Change::StillDown { cause: DownCause::ClosesAtOnce, new_cause: false, took: None, down_for: secs(7) };
    assert_eq!(track.closed(at(9), short, true), (Retry::After(3), Some(still)));
    assert_eq!((track.connected(at(12), MS), track.settled(at(13))), (None, Some(up(MS, Some(secs(11))))));
    assert_eq!(track.closed(at(20), secs(8), true), (Retry::AtOnce, None));
    assert_eq!(track.summary(at(20)).losses, 1);
    // A settled connection resets the count of short ones, however it ends.
    let mut track = held();
    for round in 0..3 {
        track.closed(at(2 * round + 2), short, true);
        track.connected(at(2 * round + 3), MS);
    }
    track.settled(at(8));
    track.lost(at(9), DownCause::Reset);
    assert_eq!(track.connected(at(10), MS), Some(up(MS, Some(secs(1)))));
}

#[test]
fn a_connection_that_lasts_breaks_the_row_of_short_ones() {
    let mut track = held();
    for round in 0..4 {
        let now = 10 * round + 2;
        assert_eq!(track.closed(at(now), MS, true), (Retry::After(0), None));
        track.connected(at(now + 1), MS);
        assert!(track.settled(at(now + 2)).is_some_and(|change| change.is_up()));
        assert_eq!(track.closed(at(now + 5), secs(4), true), (Retry::AtOnce, None));
        track.connected(at(now + 5), MS);
        assert!(track.settled(at(now + 6)).is_some_and(|change| change.is_up()));
    }
}

#[test]
fn local_trouble_makes_a_target_unknown_and_is_not_counted() {
    let unknown =
        |up_for, down_for| Change::Unknown { cause: DownCause::Local, took: Some(MS), up_for, down_for };
    let mut track = TargetTracker::new();
    assert_eq!(track.failed(at(1), DownCause::Local, MS), unknown(None, None));
    assert_eq!(
        (track.state(), track.summary(at(9)).uptime),
        (TargetState::Unknown(Some(DownCause::Local)), None)
    );
    let still = Change::StillUnknown { cause: DownCause::Local, took: Some(MS), unknown_for: secs(1) };
    assert_eq!(track.failed(at(2), DownCause::Local, MS), still);
    let became_up = Change::Up { took: MS, down_for: None, unknown_for: Some(secs(9)) };
    assert_eq!(track.connected(at(10), MS), Some(became_up));
    assert_eq!(track.failed(at(20), DownCause::Local, MS), unknown(Some(secs(10)), None));
    let round = Change::StillUnknown { cause: DownCause::Local, took: None, unknown_for: secs(5) };
    assert_eq!(track.round(at(25)), Some(round));
    assert_eq!(track.summary(at(30)).losses, 0);
    let became_down =
        Change::Down { cause: DownCause::Refused, took: Some(MS), up_for: None, unknown_for: Some(secs(10)) };
    assert_eq!(track.failed(at(30), DownCause::Refused, MS), became_down);
    assert_eq!(track.failed(at(40), DownCause::Local, MS), unknown(None, Some(secs(10))));
    // Ten seconds up, ten down; the rest does not count.
    let summary = track.summary(at(99));
    assert_eq!((summary.uptime, summary.losses, summary.lasted), (Some(0.5), 1, secs(59)));
    assert!(unknown(None, None).is_news() && unknown(None, None).is_unknown() && !still.is_news());
}

#[test]
fn a_close_before_a_local_failure_is_unknown_from_the_close() {
    let mut track = held();
    track.closed(at(61), secs(60), true);
    let unknown =
        Change::Unknown { cause: DownCause::Local, took: Some(MS), up_for: Some(secs(60)), down_for: None };
    assert_eq!(track.failed(at(62), DownCause::Local, MS), unknown);
    assert_eq!((track.summary(at(71)).lasted, track.summary(at(71)).uptime), (secs(10), Some(1.0)));
}
