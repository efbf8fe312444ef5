//! `twistor demo`: a few services in one process, watched by twistor.

mod feed;
mod world;

use self::world::World;
use super::echo::Bytes;
use super::{Failure, Outcome, span};
use super::{output, writer};
use crate::monitor::{Monitor, MonitorSettings, Target};
use crate::report::{Painted, Palette, TextReporter};
use crate::service::Backoff;
use crate::traffic::{Feed, FeedReader, FeedSettings};
use crate::{Listener, Phase, Reactor, SystemEvent};
use clap::Args;
use std::cell::Cell;
use std::io::{self, Write};
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

/// Show everything at once: a few services in one process, and twistor watching them.
///
/// It needs no other services, and uses only a few free ports of 127.0.0.1.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  twistor demo
  twistor demo --for 1m

Exit codes: 0 the demo ended, 1 an error of this machine, 2 bad usage.")]
pub(super) struct Demo {
    /// Duration of the demo; 0 runs until Ctrl-C
    #[arg(long = "for", value_name = "TIME", default_value = "12s", value_parser = span::parse)]
    duration: Duration,
}

impl Demo {
    pub(super) fn run(&self) -> Outcome {
        let palette = output::palette();
        let mut reactor = Reactor::new()?;
        output::end_with_stdout(&reactor, false);
        let world = World::start(&mut reactor, output::clock(false), palette)?;
        let printed = self.introduce(&world, &palette);
        if printed.is_err() {
            return output::outcome(printed.err(), ExitCode::SUCCESS);
        }
        let monitor = watch(&mut reactor, &world, palette)?;
        let traffic = read(&mut reactor, &world, palette)?;
        let (watched, feeds) = (monitor.clone(), traffic.clone());
        let finished = Rc::new(Cell::new(false));
        let done = Rc::clone(&finished);
        reactor.add_system_event_trigger(Phase::Before, SystemEvent::Shutdown, move |reactor, _| {
            if !finished.get() {
                writer::limit_finish();
            }
            feeds.stop(reactor);
            writer::prioritize(|| watched.finish(reactor));
        });
        monitor.on_finished(stop);
        traffic.on_finished(stop);
        if !self.duration.is_zero() {
            reactor.call_later(self.duration, move |reactor| {
                done.set(true);
                stop(reactor);
            });
        }
        reactor.run()?;
        match monitor.take_error().or(traffic.take_error()) {
            None => output::outcome(print_next_step(&palette).err(), ExitCode::SUCCESS),
            error => output::outcome(error, ExitCode::SUCCESS),
        }
    }

    fn introduce(&self, world: &World, palette: &Palette) -> io::Result<()> {
        let mut out = writer::stdout();
        let until = match self.duration {
            duration if duration.is_zero() => "until Ctrl-C".to_owned(),
            duration => format!("for {}, or until Ctrl-C", crate::report::HumanDuration(duration)),
        };
        let strong = |text: &'static str| Painted(palette.strong, text);
        let faint = |text: &'static str| Painted(palette.faint, text);
        writeln!(
            out,
            "{}: a small world in one process, and twistor watching it {until}.\n",
            strong("twistor demo")
        )?;
        writeln!(
            out,
            "  {}",
            faint("who     where            what it does                        how it is watched")
        )?;
        for (name, port, does, watched) in [
            ("echo", &world.echo, "sends back what it gets", "a timed connect every 2 s (tcp://)"),
            ("door", &world.door, "closes for 2 s every now and then", "a connection is held open (hold://)"),
            ("silent", &world.silent, "accepts, and never says a word", "both as a port and as a feed"),
            (
                "roads",
                &world.roads,
                "a traffic feed that keeps changing",
                "read every 2 s on one connection (http://)",
            ),
        ] {
            let port = port.address().to_string();
            writeln!(
                out,
                "  {}{:pad$}{port:<17}{does:<36}{watched}",
                strong(name),
                "",
                pad = 8 - name.len()
            )?;
        }
        writeln!(out)?;
        out.flush()
    }
}

fn stop(reactor: &mut Reactor) {
    reactor.stop_gracefully();
}

fn watch(reactor: &mut Reactor, world: &World, palette: Palette) -> Result<Monitor, Failure> {
    let target =
        |name: &str, scheme: &str, port: &Listener| format!("{name}={scheme}://{}", port.address()).parse();
    let targets = [
        target("echo", "tcp", &world.echo),
        target("door", "hold", &world.door),
        target("silent", "tcp", &world.silent),
    ];
    let targets: Result<Vec<Target>, _> = targets.into_iter().collect();
    let targets = targets.map_err(|error| Failure::Run(error.to_string()))?;
    let settings = MonitorSettings {
        interval: INTERVAL,
        timeout: TIMEOUT,
        backoff: Backoff { initial: Duration::from_millis(300), factor: 1.0, ..Backoff::default() },
        ..MonitorSettings::default()
    };
    let lines = TextReporter::new(writer::stdout(), output::clock(false), palette, world::NAMES);
    Ok(Monitor::start(reactor, targets, settings, lines))
}

fn read(reactor: &mut Reactor, world: &World, palette: Palette) -> Result<FeedReader, Failure> {
    let bad = |error: &dyn std::fmt::Display| Failure::Run(error.to_string());
    let feed = |name: &str, port: &Listener| -> Result<Feed, Failure> {
        let url = format!("http://{}/roads.json", port.address()).parse().map_err(|error| bad(&error))?;
        Ok(Feed { name: name.to_owned(), url })
    };
    let pointer = |text: &str| text.parse().map_err(|error| bad(&error));
    let settings = FeedSettings {
        interval: INTERVAL,
        timeout: TIMEOUT,
        fields: vec![pointer("/congestion/level")?, pointer("/trend")?, pointer("/vehicles")?],
        timestamp: Some(pointer("/updated")?),
        ..FeedSettings::default()
    };
    let lines = TextReporter::new(writer::stdout(), output::clock(false), palette, world::NAMES);
    let feeds = vec![feed("roads", &world.roads)?, feed("silent", &world.silent)?];
    Ok(FeedReader::start(reactor, feeds, settings, lines))
}

fn print_next_step(palette: &Palette) -> io::Result<()> {
    let next = Painted(palette.strong, "twistor monitor --watch hold://localhost:22");
    writeln!(writer::stdout(), "\nNow with something of your own:  {next}")
}

const INTERVAL: Duration = Duration::from_secs(2);
const TIMEOUT: Duration = Duration::from_millis(1500);
