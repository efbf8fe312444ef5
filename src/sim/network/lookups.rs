//! Look-ups of host names. Instead of on threads, they complete at a virtual time drawn from the
//! seed.

use std::io;
use std::net::IpAddr;

use crate::net::lookups::LookupId;
use crate::net::{Answer, Instant, LookedUp, NameError, NotAsked, nanoseconds};
use crate::sim::network::Network;
use crate::sim::network::coverage::FaultKind;
use crate::sim::network::rule::{CallKind, Verdict};
use crate::sim::network::trace::About;
use crate::sim::world::World;
use crate::sim::world::events::EventKind;

/// A running look-up: its process, its number there, and the name in lower case.
pub(in crate::sim) struct Running {
    process: u32,
    number: u64,
    name: String,
}

impl Network {
    /// Starts or stops holding the look-ups of this name. A held look-up does not complete and
    /// occupies a thread of its process. When holding stops, the held ones are answered. A process
    /// looks up at most [`Settings::lookup_threads`](crate::Settings::lookup_threads) names at a
    /// time; further ones are queued.
    ///
    /// ```
    /// use std::time::Duration;
    /// use twistor::sim::Simulation;
    ///
    /// # struct Nothing;
    /// # impl twistor::Protocol for Nothing {
    /// #     fn data_received(&mut self, _: &mut twistor::Transport<'_>, _: &[u8]) {}
    /// # }
    /// let mut simulation = Simulation::new(1);
    /// let (client, server) = (simulation.host("client"), simulation.host("server"));
    /// let listener = simulation.listen(server, (simulation.address(server), 80).into(), 8)?;
    /// simulation.hold_name("server", true);
    /// simulation.reactor(client).connect_tcp("server:80", || Nothing)?;
    /// simulation.run_for(Duration::from_secs(5))?;
    /// assert!(listener.accept().is_err());
    /// simulation.hold_name("server", false);
    /// simulation.run_for(Duration::from_secs(1))?;
    /// assert!(listener.accept().is_ok());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn hold_name(&self, name: &str, on: bool) {
        let mut world = self.world.borrow_mut();
        let name = canonical(name);
        if on {
            world.held_names.entry(name).or_default();
        } else {
            for lookup in world.held_names.remove(&name).unwrap_or_default() {
                let at = world.now;
                world.schedule(at, EventKind::Answer, 0, lookup, 0);
            }
        }
    }
}

impl World {
    pub(in crate::sim) fn resolve(
        &mut self,
        process: u32,
        host: &str,
        port: u16,
        answer: Answer,
    ) -> Result<LookupId, NotAsked> {
        let verdict = self.before(process, CallKind::Resolve, 0);
        self.note_call(process, About::NOTHING, CallKind::Resolve, 0);
        if let Verdict::Fail(errno) = verdict {
            self.fault(FaultKind::NameFailure, self.process(process).host);
            let began = self.process_now(process);
            let failed = Err(NameError::Failed(io::Error::from(errno).to_string()));
            self.due.push(Box::new(move || answer(LookedUp::new(began, &failed, port))));
            return Ok(LookupId::OVER);
        }
        let asked = self.process_mut(process).lookups.ask(host, port, answer);
        let id = asked.map_err(|_| NotAsked::QueueFull)?;
        self.start_lookups(process);
        Ok(id)
    }

    fn process_now(&self, process: u32) -> Instant {
        Instant::from_nanoseconds(self.monotonic(process))
    }

    /// Starts queued look-ups while threads are free.
    fn start_lookups(&mut self, process: u32) {
        let began = self.process_now(process);
        while let Some((number, name)) = self.process_mut(process).lookups.begin(began) {
            let took = nanoseconds(self.random.jobs.exponential(self.mean_lookup));
            let at = self.local_now(process).saturating_add(took);
            let running = Running { process, number, name: canonical(&name) };
            let index = self.answers.insert(running);
            self.schedule(at, EventKind::Answer, 0, index as u32, 0);
        }
    }

    /// Completes a look-up, unless its name is held.
    pub(in crate::sim) fn answer(&mut self, index: u32) {
        let Some(Running { process, number, name }) = self.answers.get(index as usize) else { return };
        let (process, number) = (*process, *number);
        if let Some(held) = self.held_names.get_mut(name) {
            held.push(index);
            return;
        }
        let Running { name, .. } = self.answers.remove(index as usize);
        // None: the process has ended.
        let Some((began, askers)) = self.process_mut(process).lookups.finish(number) else { return };
        if !askers.is_empty() {
            let found = self.addresses_of(self.process(process).host, &name);
            let found = found.map(|found| found.into_iter().map(|address| (address, 0).into()).collect());
            for (port, answer) in askers {
                let answered = LookedUp::new(began, &found, port);
                self.due.push(Box::new(move || answer(answered)));
            }
        }
        self.start_lookups(process);
    }

    fn addresses_of(&mut self, asker: u32, name: &str) -> Result<Vec<IpAddr>, NameError> {
        let found = match name.parse() {
            Ok(address) => Some(vec![address]),
            Err(_) if name == "localhost" => Some(vec![[127, 0, 0, 1].into()]),
            Err(_) if self.host(asker).finds_no_names => {
                self.fault(FaultKind::NameFailure, asker);
                None
            }
            Err(_) => self.names.get(name).cloned().or_else(|| self.gateway_address()),
        };
        found.ok_or_else(|| NameError::NotFound("Name or service not known".to_owned()))
    }
}

fn canonical(name: &str) -> String {
    name.trim_end_matches('.').to_ascii_lowercase()
}
