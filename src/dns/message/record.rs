//! Records of a received message.

use std::fmt;

use domain::base::name::ParsedName;
use domain::base::record::ParsedRecord;
use domain::base::zonefile_fmt::{DisplayKind, ZonefileFmt};
use domain::base::{ParseRecordData, UnknownRecordData};
use domain::rdata;

use crate::dns::message::data::generic;
use crate::dns::{Name, RecordData, RecordType};

/// A record of a [`Response`](crate::dns::Response). `Display` writes it as in a zone file: name,
/// TTL, class, type and data.
pub struct Record<'a> {
    parsed: ParsedRecord<'a, [u8]>,
}

impl<'a> Record<'a> {
    pub(in crate::dns) fn new(parsed: ParsedRecord<'a, [u8]>) -> Record<'a> {
        Record { parsed }
    }

    /// The name of its owner.
    pub fn name(&self) -> Name {
        Name::copy(&self.parsed.owner())
    }

    /// The time in seconds for which it is valid, as the server sent it.
    pub fn ttl(&self) -> u32 {
        self.parsed.ttl().as_secs()
    }

    /// The class, 1 for the Internet.
    pub fn class(&self) -> u16 {
        self.parsed.class().to_int()
    }

    /// The type.
    pub fn record_type(&self) -> RecordType {
        RecordType(self.parsed.rtype().to_int())
    }

    /// The data. Data that does not fit the type of the record is [`RecordData::Other`].
    pub fn data(&self) -> RecordData {
        self.known().unwrap_or_else(|| self.other())
    }

    fn known(&self) -> Option<RecordData> {
        let name = |name: &ParsedName<&[u8]>| Name::copy(name);
        Some(match self.record_type() {
            RecordType::A => RecordData::A(self.parse::<rdata::A>()?.addr()),
            RecordType::AAAA => RecordData::Aaaa(self.parse::<rdata::Aaaa>()?.addr()),
            RecordType::CNAME => RecordData::Cname(name(self.parse::<rdata::Cname<_>>()?.cname())),
            RecordType::DNAME => RecordData::Dname(name(self.parse::<rdata::Dname<_>>()?.dname())),
            RecordType::NS => RecordData::Ns(name(self.parse::<rdata::Ns<_>>()?.nsdname())),
            RecordType::PTR => RecordData::Ptr(name(self.parse::<rdata::Ptr<_>>()?.ptrdname())),
            RecordType::MX => {
                let data = self.parse::<rdata::Mx<_>>()?;
                RecordData::Mx { preference: data.preference(), exchange: name(data.exchange()) }
            }
            RecordType::TXT => {
                let data = self.parse::<rdata::Txt<&[u8]>>()?;
                RecordData::Txt(data.iter().map(<[u8]>::to_vec).collect())
            }
            RecordType::SRV => {
                let data = self.parse::<rdata::Srv<_>>()?;
                RecordData::Srv {
                    priority: data.priority(),
                    weight: data.weight(),
                    port: data.port(),
                    target: name(data.target()),
                }
            }
            RecordType::SOA => {
                let data = self.parse::<rdata::Soa<_>>()?;
                RecordData::Soa {
                    primary: name(data.mname()),
                    administrator: name(data.rname()),
                    serial: data.serial().into_int(),
                    refresh: data.refresh().as_secs(),
                    retry: data.retry().as_secs(),
                    expire: data.expire().as_secs(),
                    minimum: data.minimum().as_secs(),
                }
            }
            RecordType::CAA => {
                let bytes = self.bytes();
                let (flags, rest) = bytes.split_first()?;
                let (length, rest) = rest.split_first()?;
                let (tag, value) = rest.split_at_checked(usize::from(*length))?;
                // The tag is printed as it is.
                let printable = !tag.is_empty() && tag.iter().all(u8::is_ascii_alphanumeric);
                let tag = std::str::from_utf8(tag).ok().filter(|_| printable)?.to_owned();
                RecordData::Caa { flags: *flags, tag, value: value.to_vec() }
            }
            RecordType::SVCB => self.service(
                |data: &rdata::Svcb<&[u8], _>| (data.priority(), name(data.target())),
                |data| data.params().as_slice().to_vec(),
            )?,
            RecordType::HTTPS => self.service(
                |data: &rdata::Https<&[u8], _>| (data.priority(), name(data.target())),
                |data| data.params().as_slice().to_vec(),
            )?,
            _ => return None,
        })
    }

    fn service<D: ParseRecordData<'a, [u8]>>(
        &self,
        head: impl Fn(&D) -> (u16, Name),
        parameters: impl Fn(&D) -> Vec<u8>,
    ) -> Option<RecordData> {
        let data = self.parse::<D>()?;
        let (priority, target) = head(&data);
        let wire = parameters(&data);
        let mut parameters = Vec::new();
        let mut rest = wire.as_slice();
        while let Some(([key_high, key_low, high, low], after)) = rest.split_first_chunk::<4>() {
            let length = usize::from(u16::from_be_bytes([*high, *low]));
            let (value, after) = after.split_at_checked(length)?;
            parameters.push((u16::from_be_bytes([*key_high, *key_low]), value.to_vec()));
            rest = after;
        }
        Some(RecordData::Svcb { priority, target, parameters })
    }

    fn parse<D: ParseRecordData<'a, [u8]>>(&self) -> Option<D> {
        Some(self.parsed.to_record::<D>().ok()??.into_data())
    }

    /// The data in wire format.
    fn bytes(&self) -> Vec<u8> {
        self.parse::<UnknownRecordData<&[u8]>>().map(|data| data.data().to_vec()).unwrap_or_default()
    }

    fn other(&self) -> RecordData {
        let bytes = self.bytes();
        let all = self.parsed.to_any_record::<rdata::AllRecordData<&[u8], ParsedName<&[u8]>>>();
        let text = all.ok().filter(|record| !matches!(record.data(), rdata::AllRecordData::Unknown(_)));
        let text = text.map(|record| record.data().display_zonefile(DisplayKind::Simple).to_string());
        // A text that is not printable is not trusted.
        let text = text.filter(|text| text.bytes().all(|byte| (b' '..=b'~').contains(&byte)));
        let text = text.unwrap_or_else(|| generic(&bytes));
        RecordData::Other { record_type: self.record_type(), bytes, text }
    }
}

impl fmt::Display for Record<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} ", self.name(), self.ttl())?;
        match self.class() {
            1 => f.write_str("IN")?,
            3 => f.write_str("CH")?,
            4 => f.write_str("HS")?,
            class => write!(f, "CLASS{class}")?,
        }
        write!(f, " {} {}", self.record_type(), self.data())
    }
}

impl fmt::Debug for Record<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Record({self})")
    }
}
