//! `/etc/nsswitch.conf`: the sources of host names. (`nsswitch.conf(5)`.)

use super::line::{Skipped, SkippedLine, words};

/// The line `hosts:` of `/etc/nsswitch.conf`. It decides for each name whether the stub resolver
/// gives the answer of the system, or the system's resolver has to be asked.
///
/// | source | names that the stub resolver answers as the system does |
/// |---|---|
/// | `files`, `dns` | all |
/// | `resolve` | all but those below `local`: systemd-resolved reads the same files, and asks DNS |
/// | `myhostname` | all but `_gateway`, `_outbound` and the host's own name |
/// | `mdns`, `mdns4`, `mdns6`, and each with `_minimal` | all but those below `local` |
/// | `mymachines` | names with a dot |
/// | any other, such as `ldap`, `sss`, `wins`, `libvirt` | none |
///
/// An action in brackets is understood where it says `NOTFOUND=return`, `!UNAVAIL=return` or the
/// default, such as `SUCCESS=return`. After another action, no name is for the stub resolver. A
/// missing file is `files dns`.
///
/// ```
/// use twistor::dns::system::{NameServiceSwitch, NameSource, SystemReason};
///
/// let switch = NameServiceSwitch::parse(b"hosts: files mdns4_minimal [NOTFOUND=return] dns\n");
/// let sources = switch.sources("example.org", "here").unwrap();
/// assert_eq!(sources, [NameSource::Files, NameSource::Dns]);
/// assert_eq!(switch.sources("printer.local", "here"), Err(SystemReason::MulticastDns));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameServiceSwitch {
    sources: Vec<NameSource>,
    exceptions: Vec<SystemReason>,
    /// What was not understood, at most 16 entries.
    pub skipped: Vec<SkippedLine>,
}

/// A source that the stub resolver asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NameSource {
    /// `/etc/hosts`.
    Files,
    /// The servers of `/etc/resolv.conf`.
    Dns,
}

/// The reason why a name is for the system's resolver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SystemReason {
    /// The line has a source or an action that the stub resolver does not know. All names.
    Unknown,
    /// The name of this host, `_gateway` or `_outbound`: `nss-myhostname` answers from the
    /// machine's own addresses and routes.
    OwnName,
    /// A name below `local`, which is looked up by multicast.
    MulticastDns,
    /// A name without a dot, which may be that of a container.
    Machines,
}

impl Default for NameServiceSwitch {
    fn default() -> NameServiceSwitch {
        let sources = vec![NameSource::Files, NameSource::Dns];
        NameServiceSwitch { sources, exceptions: Vec::new(), skipped: Vec::new() }
    }
}

impl NameServiceSwitch {
    /// Limit on the size of the file in bytes. What follows is ignored.
    pub const MAX_SIZE: usize = 64 * 1024;

    /// Parses the file. The first line `hosts:` counts.
    pub fn parse(file: &[u8]) -> NameServiceSwitch {
        let mut skipped = Skipped::default();
        let cut = file.get(..NameServiceSwitch::MAX_SIZE).unwrap_or(file);
        for line in cut.split(|byte| *byte == b'\n') {
            skipped.line += 1;
            let line = String::from_utf8_lossy(line);
            let line = line.split('#').next().unwrap_or_default().trim();
            if let Some((database, services)) = line.split_once(':')
                && database.trim_end() == "hosts"
            {
                let mut switch = NameServiceSwitch::of_line(services, &mut skipped);
                switch.skipped = skipped.lines;
                return switch;
            }
        }
        NameServiceSwitch::default()
    }

    fn of_line(services: &str, skipped: &mut Skipped) -> NameServiceSwitch {
        let mut switch =
            NameServiceSwitch { sources: Vec::new(), exceptions: Vec::new(), skipped: Vec::new() };
        // Brackets may stand without spaces.
        let spaced = services.replace('[', " [ ").replace(']', " ] ");
        let mut words = words(&spaced).peekable();
        while let Some(source) = words.next() {
            switch.add(source, skipped);
            let mut returns = false;
            while words.next_if_eq(&"[").is_some() {
                for action in words.by_ref().take_while(|word| *word != "]") {
                    match Action::of(action) {
                        Action::Default => {}
                        Action::ReturnUnlessFound => returns = true,
                        Action::Other => {
                            skipped.note("an unknown action", action);
                            switch.except(SystemReason::Unknown);
                        }
                    }
                }
            }
            // The sources that follow are not asked for a name that this one does not have.
            if returns && ["files", "dns", "resolve"].contains(&source) {
                break;
            }
        }
        if switch.sources.is_empty() {
            switch.except(SystemReason::Unknown);
        }
        switch
    }

    fn add(&mut self, source: &str, skipped: &mut Skipped) {
        let added: &[NameSource] = match source {
            "files" => &[NameSource::Files],
            "dns" => &[NameSource::Dns],
            "resolve" => {
                self.except(SystemReason::MulticastDns);
                &[NameSource::Files, NameSource::Dns]
            }
            "myhostname" => return self.except(SystemReason::OwnName),
            "mymachines" => return self.except(SystemReason::Machines),
            _ if is_multicast(source) => return self.except(SystemReason::MulticastDns),
            _ => {
                skipped.note("an unknown source of host names", source);
                return self.except(SystemReason::Unknown);
            }
        };
        for added in added {
            if !self.sources.contains(added) {
                self.sources.push(*added);
            }
        }
    }

    fn except(&mut self, reason: SystemReason) {
        if !self.exceptions.contains(&reason) {
            self.exceptions.push(reason);
        }
    }

    /// The sources to ask for a name, in this order. `host_name` is the name of this host.
    ///
    /// # Errors
    /// The reason why the system's resolver has to be asked.
    pub fn sources(&self, name: &str, host_name: &str) -> Result<&[NameSource], SystemReason> {
        let name = name.strip_suffix('.').unwrap_or(name);
        let applies = |reason: &&SystemReason| match reason {
            SystemReason::Unknown => true,
            SystemReason::OwnName => {
                let own = [host_name, "_gateway", "_outbound"];
                own.iter().any(|own| own.eq_ignore_ascii_case(name))
            }
            SystemReason::MulticastDns => {
                name.rsplit('.').next().is_some_and(|last| last.eq_ignore_ascii_case("local"))
            }
            SystemReason::Machines => !name.contains('.') && !name.eq_ignore_ascii_case("localhost"),
        };
        match self.exceptions.iter().find(applies) {
            Some(reason) => Err(*reason),
            None => Ok(&self.sources),
        }
    }

    /// Whether all names are for the system's resolver.
    pub fn is_unknown(&self) -> bool {
        self.exceptions.contains(&SystemReason::Unknown)
    }
}

/// The meaning of a word in brackets.
enum Action {
    Default,
    /// A name that the source does not have is not searched further.
    ReturnUnlessFound,
    Other,
}

impl Action {
    fn of(action: &str) -> Action {
        match action.to_ascii_lowercase().as_str() {
            "notfound=return" | "!unavail=return" => Action::ReturnUnlessFound,
            "success=return" | "notfound=continue" | "unavail=continue" | "tryagain=continue" => {
                Action::Default
            }
            _ => Action::Other,
        }
    }
}

fn is_multicast(source: &str) -> bool {
    let family = source.strip_suffix("_minimal").unwrap_or(source);
    ["mdns", "mdns4", "mdns6"].contains(&family)
}

#[cfg(test)]
mod tests {
    use super::*;
    use NameSource::{Dns, Files};
    use SystemReason::{Machines, MulticastDns, OwnName, Unknown};

    fn parse(services: &str) -> NameServiceSwitch {
        NameServiceSwitch::parse(format!("passwd: files ldap\nhosts:{services}\n").as_bytes())
    }

    #[test]
    fn usual_lines_leave_most_names_to_the_stub_resolver() {
        for (system, services) in [
            ("Debian", "          files dns"),
            ("Ubuntu", " files mdns4_minimal [NOTFOUND=return] dns # a comment"),
            ("Fedora", " files myhostname mdns4_minimal [NOTFOUND=return] resolve [!UNAVAIL=return] dns"),
            ("Arch", " files mymachines myhostname resolve [!UNAVAIL=return] dns"),
            ("without spaces", "files[SUCCESS=return notfound=continue]dns"),
        ] {
            let switch = parse(services);
            assert_eq!(switch.sources("www.example.org", "here"), Ok(&[Files, Dns][..]), "{system}");
            assert!(!switch.is_unknown() && switch.skipped.is_empty(), "{system}");
        }
        for missing in ["", "passwd: files", "hosts", "\u{0}\n:\n#hosts: ldap"] {
            let switch = NameServiceSwitch::parse(missing.as_bytes());
            assert_eq!(switch, NameServiceSwitch::default(), "{missing}");
        }
        assert_eq!(parse("dns files").sources("a.example", "here"), Ok(&[Dns, Files][..]));
    }

    #[test]
    fn names_of_other_sources_are_for_the_system() {
        let fedora = parse("files myhostname mdns4_minimal [NOTFOUND=return] resolve [!UNAVAIL=return] dns");
        for (name, reason) in [
            ("here", OwnName),
            ("HERE.", OwnName),
            ("_gateway", OwnName),
            ("printer.local", MulticastDns),
            ("printer.LOCAL.", MulticastDns),
            ("local", MulticastDns),
        ] {
            assert_eq!(fedora.sources(name, "here"), Err(reason), "{name}");
        }
        for name in ["localhost", "local.example", "notlocal", "here.example"] {
            assert!(fedora.sources(name, "here").is_ok(), "{name}");
        }
        let arch = parse("mymachines resolve [!UNAVAIL=return] files myhostname dns");
        assert_eq!(arch.sources("container", "here"), Err(Machines));
        assert_eq!(arch.sources("a.example", "here"), Ok(&[Files, Dns][..]), "resolved reads the file");
    }

    #[test]
    fn an_unknown_source_or_action_leaves_all_names_to_the_system() {
        for services in [
            " files ldap dns",
            "files libvirt libvirt_guest dns",
            "wins files dns",
            "files [TRYAGAIN=return] dns",
            "files [SUCCESS=merge] dns",
            "files [!NOTFOUND=return",
            "myhostname",
            "",
            "[",
            "[NOTFOUND=return]",
        ] {
            let switch = parse(services);
            assert!(switch.is_unknown(), "{services}");
            assert_eq!(switch.sources("a.example", "here"), Err(Unknown), "{services}");
        }
        let skipped = parse(" files ldap [TRYAGAIN=return] dns").skipped;
        let skipped: Vec<String> = skipped.iter().map(SkippedLine::to_string).collect();
        let expected =
            ["line 2: an unknown source of host names: ldap", "line 2: an unknown action: TRYAGAIN=return"];
        assert_eq!(skipped, expected);
    }

    #[test]
    fn a_source_that_ends_the_search_hides_those_after_it() {
        for (services, expected) in [
            ("files [NOTFOUND=return] dns", &[Files][..]),
            ("dns [!UNAVAIL=return] files", &[Dns]),
            ("files mdns4_minimal [NOTFOUND=return] dns", &[Files, Dns]),
            ("files dns files dns", &[Files, Dns]),
            ("files", &[Files]),
            ("files [NOTFOUND=return] ldap", &[Files]),
        ] {
            assert_eq!(parse(services).sources("a.example", "here"), Ok(expected), "{services}");
        }
    }
}
