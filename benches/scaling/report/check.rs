//! Whether reports come out as they should: drawn from made-up figures of every kind, and looked through.

use super::super::figures::Run;
use super::super::support::Result;
use super::contents::{self, Chapter};
use super::drawing::{Anchor, Drawing, Ink, WIDTH};
use super::frame::Heading;
use super::labels;
use super::lines::{Line, Lines};
use super::made_up::{self, SERVERS, Shape};
use super::markdown;
use super::scale::Scale;
use super::statistics::{EVERY, Spread, Statistics};
use super::unit::Unit;

/// Errors: the first thing that is wrong.
pub fn check() -> Result<()> {
    drawings_notice_faults()?;
    labels_stay_apart()?;
    ticks_are_round_and_distinct()?;
    units_are_short()?;
    gaps_stay_gaps()?;
    for servers in 0..=SERVERS.len() {
        for rounds in [1, 5] {
            for shape in [Shape::Usual, Shape::Equal, Shape::Zero, Shape::Wide] {
                reports_have_no_fault(servers, rounds, shape)
                    .map_err(|error| format!("{servers} servers, {rounds} rounds, {shape:?}: {error}"))?;
            }
        }
    }
    Ok(())
}

fn drawings_notice_faults() -> Result<()> {
    let faults = |draw: &dyn Fn(&mut Drawing)| {
        let mut drawing = Drawing::new("a title", "", 100.0);
        draw(&mut drawing);
        drawing.finish(&[]).faults.len()
    };
    let text = |drawing: &mut Drawing, at: (f64, f64)| drawing.text(Ink::Label, Anchor::Start, at, "a label");
    ensure(faults(&|_| ()) == 0, || "an empty drawing has faults".into())?;
    let apart = faults(&|drawing| [20.0, 40.0].into_iter().for_each(|y| text(drawing, (20.0, y))));
    ensure(apart == 0, || "texts apart are a fault".into())?;
    let close = faults(&|drawing| [20.0, 27.0].into_iter().for_each(|y| text(drawing, (20.0, y))));
    ensure(close == 1, || "texts that overlap are no fault".into())?;
    let outside = faults(&|drawing| text(drawing, (WIDTH - 10.0, 20.0)));
    ensure(outside == 1, || "a text off the paper is no fault".into())?;
    let nowhere = faults(&|drawing| drawing.line("grid", (0.0, f64::NAN), (1.0, 1.0)));
    ensure(nowhere == 1, || "a line from nowhere is no fault".into())
}

fn labels_stay_apart() -> Result<()> {
    let wishes: [&[f64]; 6] = [
        &[],
        &[50.0],
        &[10.0, 50.0, 90.0],
        &[50.0; 9],
        &[99.0, 1.0, 2.0, 98.0, 100.0, 0.0],
        &[90.0, 91.0, 10.0, 92.0, 93.0, 94.0],
    ];
    for wishes in wishes {
        let places = labels::pushed_apart(wishes, 10.0, 0.0, 100.0);
        let mut sorted: Vec<(f64, f64)> = wishes.iter().copied().zip(places.iter().copied()).collect();
        sorted.sort_by(|one, other| one.1.total_cmp(&other.1));
        let apart = sorted.windows(2).all(|pair| pair[1].1 - pair[0].1 >= 10.0 - 1e-9); // windows of two
        let ordered = sorted.windows(2).all(|pair| pair[0].0 <= pair[1].0);
        let inside = places.iter().all(|place| (-1e-9..=100.0 + 1e-9).contains(place));
        let room = wishes.windows(2).all(|pair| (pair[1] - pair[0]).abs() >= 10.0);
        let kept = !room || places == wishes;
        ensure(places.len() == wishes.len() && apart && ordered && inside && kept, || {
            format!("labels at {wishes:?} go to {places:?}")
        })?;
    }
    let crowd = labels::pushed_apart(&[5.0; 30], 10.0, 0.0, 100.0);
    ensure(crowd.iter().all(|place| (-1e-9..=100.0 + 1e-9).contains(place)), || {
        "a crowd leaves the room".into()
    })
}

fn ticks_are_round_and_distinct() -> Result<()> {
    for unit in [Unit::Seconds, Unit::PerSecond, Unit::Bytes, Unit::Count, Unit::Ratio] {
        for (low, high) in
            [(1.0, 16384.0), (64.0, 65536.0), (3.0, 700.0), (60.0, 150.0), (1.0, 1e9), (9.0, 9.0)]
        {
            let shrink = if unit == Unit::Seconds { 1e-9 } else { 1.0 };
            let figures = [low * shrink, high * shrink];
            let logarithmic = Scale::logarithmic(figures.into_iter(), (400.0, 80.0)).ok_or("no scale")?;
            let linear = Scale::linear(figures.into_iter(), (80.0, 800.0)).ok_or("no scale")?;
            for (scale, apart) in [(logarithmic, 24.0), (linear, 70.0)] {
                let ticks = scale.ticks(unit, apart);
                let names: Vec<String> = ticks.iter().map(|tick| unit.tick(*tick)).collect();
                let rises = ticks.windows(2).all(|pair| pair[0] < pair[1]);
                let distinct = names.windows(2).all(|pair| pair[0] != pair[1]);
                let short = names.iter().all(|name| name.chars().count() <= 8);
                ensure(rises && distinct && short && (ticks.len() > 1 || low == high), || {
                    format!("ticks from {low} to {high}, {unit:?}: {names:?}")
                })?;
            }
            let (first, last) = (logarithmic.place(figures[0]), logarithmic.place(figures[1]));
            ensure(first >= last && first < 400.0 && last > 80.0, || {
                format!("{low} and {high} are at {first} and {last}")
            })?;
        }
    }
    let nothing = [0.0, f64::NAN, -1.0, f64::INFINITY];
    ensure(Scale::logarithmic(nothing.into_iter(), (0.0, 1.0)).is_none(), || "a scale of nothing".into())
}

fn units_are_short() -> Result<()> {
    let expected = [
        (Unit::Seconds, 3.724e-6, "3.72 µs", "3.72 µs"),
        (Unit::Seconds, 50e-6, "50 µs", "50.0 µs"),
        (Unit::Seconds, 0.99999e-3, "1 ms", "1.00 ms"),
        (Unit::PerSecond, 254_321.0, "254.32 k/s", "254 k/s"),
        (Unit::Bytes, 168.0, "168 B", "168 B"),
        (Unit::Bytes, 16384.0, "16 KiB", "16.0 KiB"),
        (Unit::Count, 8192.0, "8 Ki", "8.00 Ki"),
        (Unit::Ratio, 0.9534, "0.95", "0.95"),
    ];
    for (unit, figure, tick, precise) in expected {
        let (as_tick, as_figure) = (unit.tick(figure), unit.figure(figure));
        ensure(as_tick == tick && as_figure == precise, || {
            format!("{figure} is written as {as_tick} and {as_figure}")
        })?;
    }
    Ok(())
}

/// A server that failed somewhere has a line that is interrupted there.
fn gaps_stay_gaps() -> Result<()> {
    let run = made_up::run(0, 0, Shape::Usual);
    let points = [1.0, 4.0, 16.0, 64.0, 256.0].map(|at| (at, Spread::of(&[at]).filter(|_| at != 16.0)));
    let lines = Lines {
        heading: Heading { title: "a title", note: "a note", run: &run },
        along: "connections",
        units: (Unit::Count, Unit::Seconds),
        lines: vec![Line { server: "c", points: points.to_vec() }],
        floor: None,
    };
    let svg = lines.draw().ok_or("a line with a gap is not drawn")?.svg;
    let (pieces, marks) = (svg.matches("class=\"line").count(), svg.matches("class=\"mark").count());
    ensure((pieces, marks) == (2, 4), || format!("a gap leaves {pieces} lines and {marks} marks"))
}

fn reports_have_no_fault(servers: usize, rounds: usize, shape: Shape) -> Result<()> {
    let run = made_up::run(servers, rounds, shape);
    let chapters = contents::chapters(&Statistics { run: &run });
    for (name, picture) in chapters.iter().filter_map(|chapter| chapter.picture.as_ref()) {
        ensure(picture.faults.is_empty(), || format!("{name}: {}", picture.faults.join("; ")))?;
        for figure in ["NaN", "inf\"", "infinity"] {
            ensure(!picture.svg.contains(figure), || format!("{name} contains {figure}"))?;
        }
    }
    if shape == Shape::Usual && servers > 1 {
        everything_is_drawn(&chapters)?;
    }
    what_is_missing_is_named(&run, &markdown::written(&run, &chapters))
}

fn everything_is_drawn(chapters: &[Chapter]) -> Result<()> {
    let drawn: Vec<&str> =
        chapters.iter().filter_map(|chapter| Some(chapter.picture.as_ref()?.0.as_str())).collect();
    let expected = [
        "ratio-ten.svg",
        "throughput.svg",
        "throughput-d16.svg",
        "cpu.svg",
        "cpu-ratio.svg",
        "latency-p50.svg",
        "latency-p99.svg",
        "memory-idle.svg",
        "memory-used.svg",
        "cpu-over-size.svg",
        "bulk.svg",
        "churn.svg",
        "timers.svg",
    ];
    for name in expected {
        ensure(drawn.contains(&name), || format!("there is no {name} among {drawn:?}"))?;
    }
    let churn =
        chapters.iter().filter_map(|chapter| chapter.picture.as_ref()).find(|(name, _)| name == "churn.svg");
    let places = churn.map(|(_, picture)| {
        ["one connection at a time<", "16 connections at a time<", "64 connections at a time<"]
            .map(|name| picture.svg.find(name))
    });
    ensure(places.is_some_and(|places| places.is_sorted() && !places.contains(&None)), || {
        format!("groups of bars are at {places:?}")
    })?;
    let mut distinct = drawn.clone();
    distinct.sort();
    distinct.dedup();
    ensure(distinct.len() == drawn.len(), || format!("two pictures have one name: {drawn:?}"))
}

fn what_is_missing_is_named(run: &Run, markdown: &str) -> Result<()> {
    for missing in &run.missing {
        let place = match missing.cell == EVERY {
            true => "It took no part".into(),
            false => format!("`{}` (round", missing.cell),
        };
        let named = markdown.contains(&place);
        ensure(named && markdown.contains(&missing.reason), || {
            format!("{} of {} is missing and not named", missing.cell, missing.server)
        })?;
    }
    Ok(())
}

fn ensure(holds: bool, what: impl FnOnce() -> String) -> Result<()> {
    if holds { Ok(()) } else { Err(format!("the report: {}", what()).into()) }
}
