//! `/etc/hosts`: names and addresses of this machine. (`hosts(5)`.)

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use super::line::{Skipped, SkippedLine, address, domain_name, words};

/// The contents of `/etc/hosts`, indexed by name and by address. The default is empty.
///
/// A line is an address, its canonical name and further names. `#` begins a comment anywhere.
/// Names are compared without regard to case and to a dot at the end. A name on several lines has
/// the addresses of all of them, in the order of the file. Lines and names that are malformed are
/// reported in [`skipped`](Self::skipped).
///
/// A look-up is a binary search. A file of 100,000 lines takes about 100 bytes a line.
///
/// ```
/// use twistor::dns::system::{Hosts, no_interfaces};
///
/// let hosts = Hosts::parse(b"192.0.2.7 db.example.org db # primary\n2001:db8::7 DB\n", no_interfaces);
/// let addresses: Vec<String> = hosts.addresses("Db").map(|address| address.ip().to_string()).collect();
/// assert_eq!(addresses, ["192.0.2.7", "2001:db8::7"]);
/// assert_eq!(hosts.canonical_name("db"), Some("db.example.org"));
/// let names: Vec<&str> = hosts.names("192.0.2.7".parse().unwrap()).collect();
/// assert_eq!(names, ["db.example.org", "db"]);
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Hosts {
    /// All names in the order of the file, in lower case. A space follows each of them.
    text: String,
    /// In the order of the file.
    lines: Vec<Line>,
    /// Sorted by the text of the name, then by line.
    by_name: Vec<Name>,
    /// Indices of lines, sorted by address, then by line.
    by_address: Vec<u32>,
    /// What was not understood, at most 16 entries.
    pub skipped: Vec<SkippedLine>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Line {
    address: SocketAddr,
    /// The part of the text with the names of the line.
    begin: u32,
    end: u32,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Name {
    begin: u32,
    /// A name has at most 253 characters.
    length: u8,
    line: u32,
}

impl Hosts {
    /// Limit on the size of the file in bytes. What follows is ignored.
    pub const MAX_SIZE: usize = 32 * 1024 * 1024;

    /// Parses the file. `interface_index` looks up the interface of an address such as
    /// `fe80::1%eth0`.
    pub fn parse(file: &[u8], mut interface_index: impl FnMut(&str) -> Option<u32>) -> Hosts {
        let mut hosts = Hosts::default();
        let mut skipped = Skipped::default();
        let cut = file.get(..Hosts::MAX_SIZE).unwrap_or(file);
        for line in cut.split(|byte| *byte == b'\n') {
            skipped.line += 1;
            let comment = line.iter().position(|byte| *byte == b'#').unwrap_or(line.len());
            let line = line.get(..comment).unwrap_or(line);
            hosts.parse_line(&String::from_utf8_lossy(line), &mut interface_index, &mut skipped);
        }
        if file.len() > Hosts::MAX_SIZE {
            skipped.note("the file is longer than 32 MiB", "");
        }
        let Hosts { text, lines, by_name, .. } = &mut hosts;
        let of = |name: &Name| name_at(text, name.begin, u32::from(name.length));
        by_name.sort_by(|one, other| of(one).cmp(of(other)));
        let mut by_address: Vec<u32> = (0..lines.len() as u32).collect();
        by_address.sort_by_key(|line| lines.get(*line as usize).map(|line| line.address.ip()));
        hosts.by_address = by_address;
        hosts.skipped = skipped.lines;
        hosts
    }

    fn parse_line(
        &mut self,
        line: &str,
        interface_index: &mut impl FnMut(&str) -> Option<u32>,
        skipped: &mut Skipped,
    ) {
        let mut words = words(line);
        let Some(first) = words.next() else { return };
        let address = match address(first, 0, interface_index) {
            Ok(address) => address,
            Err(why) => return skipped.note(why, first),
        };
        // The size of the file, and so of the text, is far below 4 GiB.
        let (begin, index) = (self.text.len() as u32, self.lines.len() as u32);
        for word in words {
            let Some(name) = domain_name(word) else {
                skipped.note("not a host name", word);
                continue;
            };
            // A domain name has at most 253 characters.
            let length = name.len() as u8;
            self.by_name.push(Name { begin: self.text.len() as u32, length, line: index });
            self.text.push_str(&name);
            self.text.push(' ');
        }
        match self.text.len() as u32 {
            end if end > begin => self.lines.push(Line { address, begin, end }),
            _ => skipped.note("the line has no host name", line),
        }
    }

    /// Whether the file names no host.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Number of lines with an address and a name.
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    /// The addresses of a name, in the order of the file. The ports are 0. None for a name that
    /// the file does not have.
    pub fn addresses(&self, name: &str) -> impl Iterator<Item = SocketAddr> {
        self.lines_of(name).map(|line| line.address)
    }

    /// The first name of the first line with this name.
    pub fn canonical_name(&self, name: &str) -> Option<&str> {
        self.lines_of(name).next().and_then(|line| self.names_of(line).next())
    }

    /// The names of an address: those of its first line, the canonical name first. The zone of
    /// an address does not count. (`gethostbyaddr`.)
    pub fn names(&self, address: IpAddr) -> impl Iterator<Item = &str> {
        let of = |index: &u32| self.lines.get(*index as usize);
        let first = self
            .by_address
            .partition_point(|index| of(index).is_some_and(|line| line.address.ip() < address));
        let line = self.by_address.get(first).and_then(of).filter(|line| line.address.ip() == address);
        line.into_iter().flat_map(|line| self.names_of(line))
    }

    fn lines_of(&self, name: &str) -> impl Iterator<Item = &Line> {
        let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
        let text = |entry: &Name| name_at(&self.text, entry.begin, u32::from(entry.length));
        let first = self.by_name.partition_point(|entry| text(entry) < name.as_str());
        let entries = self.by_name.get(first..).unwrap_or_default();
        let count = entries.iter().take_while(|entry| text(entry) == name).count();
        entries.iter().take(count).filter_map(|entry| self.lines.get(entry.line as usize))
    }

    fn names_of(&self, line: &Line) -> impl Iterator<Item = &str> {
        name_at(&self.text, line.begin, line.end - line.begin).split_terminator(' ')
    }
}

/// Shows the number of lines, because a file can have 100,000.
impl fmt::Debug for Hosts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hosts")
            .field("len", &self.len())
            .field("skipped", &self.skipped)
            .finish_non_exhaustive()
    }
}

fn name_at(text: &str, begin: u32, length: u32) -> &str {
    text.get(begin as usize..(begin + length) as usize).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::super::no_interfaces;
    use super::*;

    fn parse(text: &str) -> Hosts {
        Hosts::parse(text.as_bytes(), |name| (name == "eth0").then_some(7))
    }

    fn addresses(hosts: &Hosts, name: &str) -> Vec<String> {
        hosts.addresses(name).map(|address| address.to_string()).collect()
    }

    fn names(hosts: &Hosts, address: &str) -> Vec<String> {
        hosts.names(address.parse().unwrap()).map(str::to_owned).collect()
    }

    #[test]
    fn a_name_has_the_addresses_of_all_its_lines() {
        let hosts = parse(
            "# the machines\n127.0.0.1\tlocalhost\n::1 localhost ip6-localhost\r\n\n\
             192.0.2.1 web.Example.ORG. web # the first\n  192.0.2.2   web\n192.0.2.2 later\n",
        );
        assert_eq!(addresses(&hosts, "localhost"), ["127.0.0.1:0", "[::1]:0"]);
        assert_eq!(addresses(&hosts, "WEB"), ["192.0.2.1:0", "192.0.2.2:0"]);
        assert_eq!(addresses(&hosts, "web.example.org."), ["192.0.2.1:0"]);
        for unknown in ["", ".", "we", "webb", "example.org", "# the", "web later"] {
            assert_eq!(addresses(&hosts, unknown), [""; 0], "{unknown}");
        }
        assert_eq!(hosts.canonical_name("web"), Some("web.example.org"));
        assert_eq!(hosts.canonical_name("nope"), None);
        assert_eq!((hosts.len(), hosts.is_empty(), hosts.skipped.len()), (5, false, 0));
    }

    #[test]
    fn an_address_has_the_names_of_its_first_line() {
        let hosts = parse("192.0.2.2 web\n192.0.2.1 db.example db\n192.0.2.2 later\nfe80::1%eth0 router\n");
        assert_eq!(names(&hosts, "192.0.2.1"), ["db.example", "db"]);
        assert_eq!(names(&hosts, "192.0.2.2"), ["web"]);
        assert_eq!(names(&hosts, "fe80::1"), ["router"]);
        assert_eq!(addresses(&hosts, "router"), ["[fe80::1%7]:0"]);
        for unknown in ["192.0.2.3", "::", "255.255.255.255", "0.0.0.0"] {
            assert_eq!(names(&hosts, unknown), [""; 0], "{unknown}");
        }
    }

    #[test]
    fn malformed_lines_are_skipped_and_reported() {
        let hosts = Hosts::parse(
            b"192.0.2 a\n192.0.2.1\nfe80::1 b\nfe80::1%wlan9 c\n192.0.2.1 d \xff e..e f\n192.0.2.1 ..\n",
            no_interfaces,
        );
        let expected = [
            "line 1: not an IP address: 192.0.2",
            "line 2: the line has no host name: 192.0.2.1",
            "line 3: a link-local address needs a zone, such as fe80::1%eth0: fe80::1",
            "line 4: this machine has no interface of that name: fe80::1%wlan9",
            "line 5: not a host name: \u{fffd}",
            "line 5: not a host name: e..e",
            "line 6: not a host name: ..",
            "line 6: the line has no host name: 192.0.2.1 ..",
        ];
        let skipped: Vec<String> = hosts.skipped.iter().map(SkippedLine::to_string).collect();
        assert_eq!(skipped, expected);
        assert_eq!(names(&hosts, "192.0.2.1"), ["d", "f"]);
        assert_eq!(
            (hosts.len(), format!("{:?}", Hosts::default())),
            (1, "Hosts { len: 0, skipped: [], .. }".into())
        );
    }

    #[test]
    fn a_hundred_thousand_lines_are_indexed() {
        let line = |number: u32| {
            format!(
                "10.{}.{}.{} host-{number}.example alias-{}\n",
                number >> 16,
                number >> 8 & 255,
                number & 255,
                number % 50_000
            )
        };
        let text: String = (0..100_000).map(line).collect();
        let hosts = parse(&text);
        assert_eq!((hosts.len(), hosts.skipped.len()), (100_000, 0));
        assert_eq!(addresses(&hosts, "host-99999.example"), ["10.1.134.159:0"]);
        assert_eq!(addresses(&hosts, "alias-7"), ["10.0.0.7:0", "10.0.195.87:0"]);
        assert_eq!(names(&hosts, "10.1.0.0"), ["host-65536.example", "alias-15536"]);
        // A block list: one address with many names, each on a line of its own.
        let text: String = (0..100_000).map(|number| format!("0.0.0.0 ad-{number}.example\n")).collect();
        let hosts = parse(&text);
        assert_eq!(names(&hosts, "0.0.0.0"), ["ad-0.example"]);
        assert_eq!(addresses(&hosts, "ad-54321.example"), ["0.0.0.0:0"]);
    }

    #[test]
    fn a_name_is_found_as_by_a_search_through_the_file() {
        // Few names and addresses, so that all repeat.
        let mut state = 1_u64;
        let mut draw = |count: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) % count
        };
        let lines: Vec<(IpAddr, Vec<String>)> = (0..500)
            .map(|_| {
                let address = IpAddr::from([192, 0, 2, draw(60) as u8]);
                (
                    address,
                    (0..=draw(3))
                        .map(|_| "ab".repeat(1 + draw(4) as usize) + &draw(20).to_string())
                        .collect(),
                )
            })
            .collect();
        let text: String =
            lines.iter().map(|(address, names)| format!("{address} {}\n", names.join(" "))).collect();
        let hosts = parse(&text);
        for (address, names) in &lines {
            let first = lines.iter().find(|(other, _)| other == address).unwrap();
            assert_eq!(hosts.names(*address).collect::<Vec<_>>(), first.1);
            for name in names {
                let of_line = |(address, names): &(IpAddr, Vec<String>)| {
                    names.iter().filter(|other| *other == name).map(|_| *address).collect::<Vec<_>>()
                };
                let expected: Vec<IpAddr> = lines.iter().flat_map(of_line).collect();
                assert_eq!(hosts.addresses(name).map(|address| address.ip()).collect::<Vec<_>>(), expected);
            }
        }
    }
}
