//! `/etc/resolv.conf`: name servers, search domains and options. (`resolv.conf(5)`.)

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use crate::dns::{NameServer, ResolverConfig};

use super::line::{MAX_NAME, Skipped, SkippedLine, address, domain_name, words};

/// The contents of `/etc/resolv.conf`. The default is that of a missing file.
///
/// The syntax and the limits are those of glibc. Differences:
/// - A line or an option that is malformed or unknown is reported in [`skipped`](Self::skipped).
/// - An address has its usual form: `127.1` is not understood.
/// - Repeated servers count once. A server `0.0.0.0` or `::` is this host.
///
/// Comments are lines that begin with `#` or `;`. Keywords begin in the first column. The line
/// `sortlist` is ignored: addresses are ordered by RFC 6724.
///
/// ```
/// use std::time::Duration;
/// use twistor::dns::system::{ResolvConf, no_interfaces};
///
/// let conf = ResolvConf::parse(b"nameserver ::1\noptions timeout:3 rotate\n", no_interfaces);
/// assert_eq!((conf.timeout, conf.attempts, conf.rotate), (Some(Duration::from_secs(3)), None, true));
/// // Missing or empty: a server on this host.
/// assert_eq!(ResolvConf::default().servers, ["127.0.0.1:53".parse().unwrap()]);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolvConf {
    /// The name servers, 1 to 3, on port 53. Default: 127.0.0.1.
    pub servers: Vec<SocketAddr>,
    /// The domains to which a name can be relative, at most 32, in lower case without the dot at
    /// the end. The last of the lines `search` and `domain` counts. Default: none. (glibc: the
    /// domain of the host's name, see [`default_domain`](Self::default_domain).)
    pub search: Vec<String>,
    /// A name with at least this number of dots is tried as it is before the search domains.
    /// At most 15. Default: 1.
    pub ndots: usize,
    /// Time to wait for an answer of a server, 1 s to 30 s. `None`: not given. (glibc's default:
    /// 5 s.)
    pub timeout: Option<Duration>,
    /// Number of times that the list of servers is asked, 1 to 5. `None`: not given. (glibc's
    /// default: 2.)
    pub attempts: Option<u32>,
    /// Whether the first server asked changes with each query. Default: no.
    pub rotate: bool,
    /// Whether all queries use TCP. Default: no.
    pub use_vc: bool,
    /// Whether the AD bit of answers is trusted, and requested. Default: no.
    pub trust_ad: bool,
    /// Whether EDNS is requested in the file. Default: no.
    pub edns0: bool,
    /// Whether IPv4 addresses are wanted in IPv6 form. Obsolete, and only recorded. Default: no.
    pub inet6: bool,
    /// Whether AAAA queries are suppressed. Default: no.
    pub no_aaaa: bool,
    /// Whether a name without a dot is tried in the search domains only. Default: no.
    pub no_tld_query: bool,
    /// Whether changes of the file are ignored. Default: no.
    pub no_reload: bool,
    /// What was not understood, at most 16 entries.
    pub skipped: Vec<SkippedLine>,
}

impl Default for ResolvConf {
    fn default() -> ResolvConf {
        ResolvConf {
            servers: vec![SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), PORT)],
            search: Vec::new(),
            ndots: 1,
            timeout: None,
            attempts: None,
            rotate: false,
            use_vc: false,
            trust_ad: false,
            edns0: false,
            inet6: false,
            no_aaaa: false,
            no_tld_query: false,
            no_reload: false,
            skipped: Vec::new(),
        }
    }
}

impl ResolvConf {
    /// Limit on the size of the file in bytes. What follows is ignored.
    pub const MAX_SIZE: usize = 64 * 1024;

    /// Parses the file. `interface_index` looks up the interface of a server such as
    /// `fe80::1%eth0`.
    pub fn parse(file: &[u8], mut interface_index: impl FnMut(&str) -> Option<u32>) -> ResolvConf {
        let mut conf = ResolvConf { servers: Vec::new(), ..ResolvConf::default() };
        let mut skipped = Skipped::default();
        let cut = file.get(..ResolvConf::MAX_SIZE).unwrap_or(file);
        for line in cut.split(|byte| *byte == b'\n') {
            skipped.line += 1;
            conf.parse_line(&String::from_utf8_lossy(line), &mut interface_index, &mut skipped);
        }
        if file.len() > ResolvConf::MAX_SIZE {
            skipped.note("the file is longer than 64 KiB", "");
        }
        if conf.servers.is_empty() {
            conf.servers = ResolvConf::default().servers;
        }
        conf.skipped = skipped.lines;
        conf
    }

    fn parse_line(
        &mut self,
        line: &str,
        interface_index: &mut impl FnMut(&str) -> Option<u32>,
        skipped: &mut Skipped,
    ) {
        let mut words = words(line);
        let Some(keyword) = words.next() else { return };
        if line.starts_with(['#', ';']) || keyword == "sortlist" {
            return;
        }
        if !line.starts_with(keyword) {
            return skipped.note("a keyword begins in the first column", line);
        }
        match keyword {
            "nameserver" => match words.next() {
                Some(text) => self.add_server(text, interface_index, skipped),
                None => skipped.note("the address is missing", line),
            },
            "domain" => self.set_search(words.take(1), skipped),
            "search" => self.set_search(words, skipped),
            "options" => words.for_each(|option| self.set_option(option, skipped)),
            _ => skipped.note("an unknown keyword", line),
        }
    }

    fn add_server(
        &mut self,
        text: &str,
        interface_index: impl FnOnce(&str) -> Option<u32>,
        skipped: &mut Skipped,
    ) {
        match address(text, PORT, interface_index).map(local_if_unspecified) {
            Ok(server) if self.servers.contains(&server) => {}
            Ok(_) if self.servers.len() >= MAX_SERVERS => {
                skipped.note("only three servers are used", text);
            }
            Ok(server) => self.servers.push(server),
            Err(why) => skipped.note(why, text),
        }
    }

    /// Replaces the search domains, unless there is no word.
    fn set_search<'a>(&mut self, words: impl Iterator<Item = &'a str>, skipped: &mut Skipped) {
        let mut words = words.peekable();
        if words.peek().is_none() {
            return;
        }
        self.search.clear();
        for word in words {
            match domain_name(word) {
                // Relative to the root a name is what it is.
                _ if word == "." => {}
                Some(domain) if self.search.contains(&domain) => {}
                Some(_) if self.search.len() >= MAX_SEARCH => {
                    skipped.note("only 32 search domains are used", word);
                    break;
                }
                Some(domain) => self.search.push(domain),
                None => skipped.note("not a domain name", word),
            }
        }
    }

    fn set_option(&mut self, option: &str, skipped: &mut Skipped) {
        let (name, value) = option.split_once(':').unwrap_or((option, ""));
        match name {
            "ndots" | "timeout" | "attempts" => match number(value) {
                Some(value) if name == "ndots" => self.ndots = value.min(MAX_NDOTS) as usize,
                // glibc waits for a second at least.
                Some(value) if name == "timeout" => {
                    self.timeout = Some(Duration::from_secs(u64::from(value.clamp(1, MAX_TIMEOUT))));
                }
                Some(value) => self.attempts = Some(value.clamp(1, MAX_ATTEMPTS)),
                None => skipped.note("the option needs a number", option),
            },
            "rotate" => self.rotate = true,
            "use-vc" => self.use_vc = true,
            "trust-ad" => self.trust_ad = true,
            "edns0" => self.edns0 = true,
            "inet6" => self.inet6 = true,
            "no-aaaa" => self.no_aaaa = true,
            "no-tld-query" => self.no_tld_query = true,
            "no-reload" => self.no_reload = true,
            // Each query has a socket of its own, so these two repair nothing here.
            "single-request" | "single-request-reopen" => {}
            "debug" | "no-check-names" | "ip6-bytestring" | "ip6-dotint" | "no-ip6-dotint" => {}
            _ => skipped.note("an unknown option", option),
        }
    }

    /// Applies the variables `LOCALDOMAIN`, which replaces the search domains, and `RES_OPTIONS`,
    /// whose options follow those of the file. `None` is a variable that is not set.
    pub fn apply_environment(&mut self, local_domain: Option<&str>, res_options: Option<&str>) {
        let mut skipped = Skipped { lines: std::mem::take(&mut self.skipped), line: 0 };
        if let Some(domains) = local_domain {
            self.search.clear();
            self.set_search(words(domains), &mut skipped);
        }
        if let Some(options) = res_options {
            words(options).for_each(|option| self.set_option(option, &mut skipped));
        }
        self.skipped = skipped.lines;
    }

    /// Uses the domain of this host's name as the search domain, if the file named none. The
    /// domain is what follows the first dot. (glibc does so.)
    pub fn default_domain(&mut self, host_name: &str) {
        if self.search.is_empty()
            && let Some((_, domain)) = host_name.split_once('.')
        {
            self.search.extend(domain_name(domain));
        }
    }

    /// The names to ask for in this order, until one exists. A name with a dot at its end has only
    /// one. Names of more than 253 characters are left out. None has a dot at its end.
    pub fn candidates(&self, name: &str) -> impl Iterator<Item = String> {
        let (name, is_absolute) = match name.strip_suffix('.') {
            Some(name) => (name, true),
            None => (name, false),
        };
        let dots = name.bytes().filter(|byte| *byte == b'.').count();
        let itself = (is_absolute || dots > 0 || !self.no_tld_query || self.search.is_empty())
            .then(|| name.to_owned());
        let is_first = is_absolute || dots >= self.ndots;
        let search = if is_absolute { &[][..] } else { &self.search };
        let searched = search.iter().map(move |domain| format!("{name}.{domain}"));
        let (first, last) = if is_first { (itself, None) } else { (None, itself) };
        let all = first.into_iter().chain(searched).chain(last);
        all.filter(|name| name.len() <= MAX_NAME)
    }
}

/// The servers and the options of the file, and the defaults of a resolver for what it does not
/// say. Of the times, `timeout` is that of each attempt, and `attempts` their number for each
/// server; the time limit of a query is the sum.
impl From<&ResolvConf> for ResolverConfig {
    fn from(conf: &ResolvConf) -> ResolverConfig {
        let mut config = ResolverConfig {
            servers: conf.servers.iter().copied().map(NameServer::from).collect(),
            // A search domain is a valid name.
            search: conf.search.iter().filter_map(|domain| domain.parse().ok()).collect(),
            // At most 15.
            ndots: conf.ndots as u8,
            rotate: conf.rotate,
            tcp_only: conf.use_vc,
            trust_ad: conf.trust_ad,
            no_aaaa: conf.no_aaaa,
            no_tld_query: conf.no_tld_query,
            ..ResolverConfig::default()
        };
        if conf.timeout.is_some() || conf.attempts.is_some() {
            let rounds = conf.attempts.unwrap_or(DEFAULT_ATTEMPTS) as usize;
            let own = &config.timeouts;
            let time = |attempt: usize| {
                let last = own.last().copied().unwrap_or_default();
                conf.timeout.unwrap_or_else(|| own.get(attempt).copied().unwrap_or(last))
            };
            config.timeouts = (0..rounds * conf.servers.len().max(1)).map(time).collect();
            config.timeout = config.timeouts.iter().sum();
        }
        config
    }
}

/// A decimal number. One that is too large is the largest.
fn number(text: &str) -> Option<u32> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().unwrap_or(u32::MAX))
}

/// An answer comes from the address of this host, and not from the unspecified one.
fn local_if_unspecified(server: SocketAddr) -> SocketAddr {
    match server.ip() {
        IpAddr::V4(address) if address.is_unspecified() => {
            SocketAddr::new(Ipv4Addr::LOCALHOST.into(), server.port())
        }
        IpAddr::V6(address) if address.is_unspecified() => {
            SocketAddr::new(Ipv6Addr::LOCALHOST.into(), server.port())
        }
        _ => server,
    }
}

/// glibc: RES_DFLRETRY.
const DEFAULT_ATTEMPTS: u32 = 2;
/// The port of DNS.
const PORT: u16 = 53;
/// glibc: MAXNS.
const MAX_SERVERS: usize = 3;
/// glibc has no limit since 2.26. Kubernetes allows 32.
const MAX_SEARCH: usize = 32;
/// glibc: RES_MAXNDOTS.
const MAX_NDOTS: u32 = 15;
/// In seconds. (glibc: RES_MAXRETRANS.)
const MAX_TIMEOUT: u32 = 30;
/// glibc: RES_MAXRETRY.
const MAX_ATTEMPTS: u32 = 5;

#[cfg(test)]
mod tests {
    use super::super::no_interfaces;
    use super::*;

    fn parse(text: &str) -> ResolvConf {
        ResolvConf::parse(text.as_bytes(), |name| (name == "eth0").then_some(7))
    }

    fn servers(text: &str) -> Vec<String> {
        parse(text).servers.iter().map(SocketAddr::to_string).collect()
    }

    fn skipped(conf: &ResolvConf) -> Vec<String> {
        conf.skipped.iter().map(SkippedLine::to_string).collect()
    }

    #[test]
    fn servers_are_read_with_their_zones() {
        let text = "# a comment\n;another\nnameserver 192.0.2.1\nnameserver\t2001:db8::1 # trailing\r\n\
                    nameserver fe80::1%eth0";
        assert_eq!(servers(text), ["192.0.2.1:53", "[2001:db8::1]:53", "[fe80::1%7]:53"]);
        assert_eq!(servers("nameserver fe80::1%3"), ["[fe80::1%3]:53"]);
        assert_eq!(servers("nameserver 0.0.0.0\nnameserver ::"), ["127.0.0.1:53", "[::1]:53"]);
    }

    #[test]
    fn a_missing_or_useless_file_is_a_server_on_this_host() {
        for text in ["", "\n\n", "# nothing", "nameserver\n", "nameserver nine.nine.nine.nine"] {
            assert_eq!(servers(text), ["127.0.0.1:53"], "{text}");
        }
        assert_eq!(parse(""), ResolvConf::default());
    }

    #[test]
    fn what_is_not_understood_is_skipped_and_reported() {
        let conf = parse(
            "nameserver 127.1\nnameserver fe80::1\nnameserver fe80::1%wlan9\nnameserver\n nameserver ::1\n\
             server 192.0.2.1\noptions ndots:x timeout: colour:2 edns0\nsearch a..b ok.example\n\
             nameserver 192.0.2.1\nnameserver 192.0.2.1\nnameserver 192.0.2.2\nnameserver 192.0.2.3\n\
             nameserver 192.0.2.4\n",
        );
        let expected = [
            "line 1: not an IP address: 127.1",
            "line 2: a link-local address needs a zone, such as fe80::1%eth0: fe80::1",
            "line 3: this machine has no interface of that name: fe80::1%wlan9",
            "line 4: the address is missing: nameserver",
            "line 5: a keyword begins in the first column:  nameserver ::1",
            "line 6: an unknown keyword: server 192.0.2.1",
            "line 7: the option needs a number: ndots:x",
            "line 7: the option needs a number: timeout:",
            "line 7: an unknown option: colour:2",
            "line 8: not a domain name: a..b",
            "line 13: only three servers are used: 192.0.2.4",
        ];
        assert_eq!(skipped(&conf), expected);
        assert_eq!(conf.servers.len(), 3, "a repeated server counts once");
        assert!(conf.edns0);
        assert_eq!(conf.search, ["ok.example"]);
    }

    #[test]
    fn numbers_have_the_caps_of_glibc() {
        let seconds = |conf: &ResolvConf| conf.timeout.map(|timeout| timeout.as_secs());
        for (options, expected) in [
            ("", (1, None, None)),
            ("ndots:0 timeout:0 attempts:0", (0, Some(1), Some(1))),
            ("ndots:15 timeout:30 attempts:5", (15, Some(30), Some(5))),
            ("ndots:16 timeout:31 attempts:6", (15, Some(30), Some(5))),
            ("ndots:99999999999999999999 timeout:4294967296", (15, Some(30), None)),
            ("timeout:2 timeout:4", (1, Some(4), None)),
        ] {
            let conf = parse(&format!("options {options}\n"));
            assert_eq!((conf.ndots, seconds(&conf), conf.attempts), expected, "{options}");
            assert_eq!(skipped(&conf), [""; 0], "{options}");
        }
    }

    #[test]
    fn flags_are_read_from_any_line() {
        let conf = parse(
            "options rotate use-vc\noptions trust-ad edns0 inet6 no-aaaa single-request debug\n\
             options no-tld-query no-reload single-request-reopen\nsortlist 130.155.160.0/255.255.240.0\n",
        );
        let flags = [conf.rotate, conf.use_vc, conf.trust_ad, conf.edns0, conf.inet6, conf.no_aaaa];
        assert_eq!((flags, conf.no_tld_query, conf.no_reload), ([true; 6], true, true));
        assert_eq!(skipped(&conf), [""; 0]);
    }

    #[test]
    fn the_last_of_search_and_domain_counts() {
        for (text, search) in [
            ("search a.example B.Example.\n", &["a.example", "b.example"][..]),
            ("search a.example\ndomain b.example c.example\n", &["b.example"]),
            ("domain a.example\nsearch b.example c.example\n", &["b.example", "c.example"]),
            ("search a.example\nsearch\n", &["a.example"]),
            ("search a.example\nsearch .\n", &[]),
            ("search a.example a.example # b\n", &["a.example", "#", "b"]),
        ] {
            assert_eq!(parse(text).search, search, "{text}");
        }
        let many: Vec<String> = (0..40).map(|number| format!("d{number}.example")).collect();
        let conf = parse(&format!("search {}", many.join(" ")));
        assert_eq!(conf.search, many[..32]);
        assert_eq!(skipped(&conf), ["line 1: only 32 search domains are used: d32.example"]);
    }

    #[test]
    fn the_environment_wins_over_the_file() {
        let mut conf = parse("search a.example\noptions ndots:3 rotate\n");
        conf.apply_environment(None, Some("ndots:2 timeout:7 nonsense"));
        assert_eq!((conf.ndots, conf.timeout, conf.rotate), (2, Some(Duration::from_secs(7)), true));
        assert_eq!(skipped(&conf), ["line 0: an unknown option: nonsense"]);
        conf.apply_environment(Some("b.example c.example"), None);
        assert_eq!(conf.search, ["b.example", "c.example"]);
        conf.apply_environment(Some(""), None);
        assert!(conf.search.is_empty());
    }

    #[test]
    fn the_hosts_own_domain_is_searched_if_no_other_is_named() {
        let mut conf = parse("");
        conf.default_domain("here");
        assert!(conf.search.is_empty());
        conf.default_domain("here.Example.org");
        assert_eq!(conf.search, ["example.org"]);
        conf.default_domain("here.other.example");
        assert_eq!(conf.search, ["example.org"]);
    }

    #[test]
    fn the_dots_of_a_name_decide_what_is_tried_first() {
        let candidates = |options: &str, name: &str| -> Vec<String> {
            parse(&format!("search x.example y.example\noptions {options}")).candidates(name).collect()
        };
        for (options, name, expected) in [
            ("", "www", &["www.x.example", "www.y.example", "www"][..]),
            ("", "a.b", &["a.b", "a.b.x.example", "a.b.y.example"]),
            ("ndots:2", "a.b", &["a.b.x.example", "a.b.y.example", "a.b"]),
            ("ndots:0", "www", &["www", "www.x.example", "www.y.example"]),
            ("ndots:5", "a.b.", &["a.b"]),
            ("no-tld-query", "www", &["www.x.example", "www.y.example"]),
            ("no-tld-query", "www.", &["www"]),
        ] {
            assert_eq!(candidates(options, name), expected, "{options} {name}");
        }
        let long = "a".repeat(245);
        assert_eq!(candidates("", &long), [long], "with a domain the name is too long");
        assert_eq!(ResolvConf::default().candidates("www").collect::<Vec<_>>(), ["www"]);
    }

    #[test]
    fn the_times_of_the_file_win_over_the_defaults() {
        let times = |text: &str| {
            let config = ResolverConfig::from(&parse(text));
            let seconds: Vec<u64> = config.timeouts.iter().map(Duration::as_secs).collect();
            (seconds, config.timeout.as_secs())
        };
        let two = "nameserver 192.0.2.1\nnameserver 192.0.2.2\n";
        assert_eq!(times(two), (vec![2, 3, 5], 10));
        assert_eq!(times(&format!("{two}options timeout:1")), (vec![1; 4], 4));
        assert_eq!(times(&format!("{two}options timeout:4 attempts:1")), (vec![4, 4], 8));
        assert_eq!(times("options attempts:5"), (vec![2, 3, 5, 5, 5], 20));
        let conf = parse("nameserver ::1\nsearch a.example\noptions ndots:15 rotate use-vc trust-ad");
        let config = ResolverConfig::from(&conf);
        assert_eq!((config.servers.len(), config.ndots, config.rotate), (1, 15, true));
        assert_eq!(
            (config.search, config.tcp_only, config.trust_ad),
            (vec!["a.example".parse().unwrap()], true, true)
        );
    }

    #[test]
    fn a_file_that_is_too_long_is_cut() {
        let mut file = b"nameserver 192.0.2.1\n#".to_vec();
        file.resize(ResolvConf::MAX_SIZE, b'x');
        assert_eq!(skipped(&ResolvConf::parse(&file, no_interfaces)), [""; 0]);
        file.extend(b"\nnameserver 192.0.2.2\n");
        let conf = ResolvConf::parse(&file, no_interfaces);
        assert_eq!(conf.servers.len(), 1);
        assert_eq!(skipped(&conf), ["line 2: the file is longer than 64 KiB: "]);
    }
}
