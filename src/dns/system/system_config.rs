//! The three files together, and the tracking of their changes.

use std::time::Duration;

use super::{Hosts, NameServiceSwitch, ResolvConf};

/// The system's configuration of name look-ups, as last read. The default is that of missing
/// files.
///
/// It reads no file. The owner looks at the files now and then, and passes the contents of those
/// that have [changed](Self::has_changed) to [`reload`](Self::reload).
///
/// ```
/// use std::time::Duration;
/// use twistor::dns::system::{ConfigFile, FileStamp, SystemConfig, no_interfaces};
///
/// let mut config = SystemConfig::default();
/// let stamp = Some(FileStamp { modified: Duration::from_secs(1_700_000_000), size: 22, inode: 7 });
/// if config.has_changed(ConfigFile::ResolvConf, stamp) {
///     config.reload(ConfigFile::ResolvConf, stamp, b"nameserver 192.0.2.53\n", no_interfaces);
/// }
/// assert!(!config.has_changed(ConfigFile::ResolvConf, stamp));
/// assert_eq!(config.resolv_conf.servers, ["192.0.2.53:53".parse().unwrap()]);
/// ```
#[derive(Clone, Debug, Default)]
pub struct SystemConfig {
    /// `/etc/resolv.conf`.
    pub resolv_conf: ResolvConf,
    /// `/etc/hosts`.
    pub hosts: Hosts,
    /// `/etc/nsswitch.conf`.
    pub switch: NameServiceSwitch,
    stamps: [Option<FileStamp>; 3],
}

/// A file of the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ConfigFile {
    /// `/etc/resolv.conf`.
    ResolvConf,
    /// `/etc/hosts`.
    Hosts,
    /// `/etc/nsswitch.conf`.
    NameServiceSwitch,
}

/// The properties of a file that tell whether it has changed. All three count, because an editor
/// may replace a file by one with an older time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FileStamp {
    /// The time of the last modification, since the epoch.
    pub modified: Duration,
    /// The size in bytes.
    pub size: u64,
    /// The number of the inode.
    pub inode: u64,
}

impl ConfigFile {
    /// All files.
    pub const ALL: [ConfigFile; 3] =
        [ConfigFile::ResolvConf, ConfigFile::Hosts, ConfigFile::NameServiceSwitch];

    /// The path.
    pub fn path(self) -> &'static str {
        match self {
            ConfigFile::ResolvConf => "/etc/resolv.conf",
            ConfigFile::Hosts => "/etc/hosts",
            ConfigFile::NameServiceSwitch => "/etc/nsswitch.conf",
        }
    }

    /// Limit on the size in bytes. What follows need not be read.
    pub fn max_size(self) -> usize {
        match self {
            ConfigFile::ResolvConf => ResolvConf::MAX_SIZE,
            ConfigFile::Hosts => Hosts::MAX_SIZE,
            ConfigFile::NameServiceSwitch => NameServiceSwitch::MAX_SIZE,
        }
    }
}

impl SystemConfig {
    /// Whether a file is not the one that was read last. `None` is a missing file. `no-reload` in
    /// `/etc/resolv.conf` keeps that file as it was.
    pub fn has_changed(&self, file: ConfigFile, stamp: Option<FileStamp>) -> bool {
        let is_kept = file == ConfigFile::ResolvConf && self.resolv_conf.no_reload;
        !is_kept && self.stamp(file) != stamp
    }

    /// Replaces a file's contents. A missing file has no stamp and no bytes. The environment is
    /// not part of the file: `ResolvConf::apply_environment` and `default_domain` have to be
    /// called again.
    pub fn reload(
        &mut self,
        file: ConfigFile,
        stamp: Option<FileStamp>,
        bytes: &[u8],
        interface_index: impl FnMut(&str) -> Option<u32>,
    ) {
        match file {
            ConfigFile::ResolvConf => self.resolv_conf = ResolvConf::parse(bytes, interface_index),
            ConfigFile::Hosts => self.hosts = Hosts::parse(bytes, interface_index),
            ConfigFile::NameServiceSwitch => self.switch = NameServiceSwitch::parse(bytes),
        }
        let [resolv_conf, hosts, switch] = &mut self.stamps;
        *match file {
            ConfigFile::ResolvConf => resolv_conf,
            ConfigFile::Hosts => hosts,
            ConfigFile::NameServiceSwitch => switch,
        } = stamp;
    }

    fn stamp(&self, file: ConfigFile) -> Option<FileStamp> {
        let [resolv_conf, hosts, switch] = self.stamps;
        match file {
            ConfigFile::ResolvConf => resolv_conf,
            ConfigFile::Hosts => hosts,
            ConfigFile::NameServiceSwitch => switch,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::no_interfaces;
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn stamp(modified: u32) -> Option<FileStamp> {
        Some(FileStamp { modified: modified * SECOND, size: 1, inode: 1 })
    }

    #[test]
    fn a_file_has_changed_if_any_property_has() {
        let mut config = SystemConfig::default();
        for file in ConfigFile::ALL {
            assert!(!config.has_changed(file, None), "missing before and now");
            assert!(config.has_changed(file, stamp(1)));
            config.reload(file, stamp(1), b"192.0.2.1 web\n", no_interfaces);
            assert!(!config.has_changed(file, stamp(1)));
            for other in [
                None,
                stamp(0),
                Some(FileStamp { size: 2, ..stamp(1).unwrap() }),
                Some(FileStamp { inode: 2, ..stamp(1).unwrap() }),
            ] {
                assert!(config.has_changed(file, other), "{file:?} {other:?}");
            }
        }
        assert_eq!(config.hosts.len(), 1);
        config.reload(ConfigFile::Hosts, None, b"", no_interfaces);
        assert!(config.hosts.is_empty() && !config.has_changed(ConfigFile::Hosts, None));
    }

    #[test]
    fn a_file_that_asks_for_it_is_not_read_again() {
        let mut config = SystemConfig::default();
        config.reload(ConfigFile::ResolvConf, stamp(1), b"options no-reload\n", no_interfaces);
        assert!(!config.has_changed(ConfigFile::ResolvConf, stamp(2)));
        assert!(config.has_changed(ConfigFile::Hosts, stamp(2)));
    }
}
