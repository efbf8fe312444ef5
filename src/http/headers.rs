//! Header fields.

use super::request::{RequestError, is_token};
use std::fmt;

/// Header or trailer fields, in the order of the message. Names are compared ignoring case. A name
/// can occur more than once.
///
/// ```
/// use twistor::http::Headers;
///
/// let mut headers = Headers::default();
/// headers.append("Accept", "text/html")?;
/// headers.append("Accept", "application/json")?;
/// assert_eq!(headers.all("accept").count(), 2);
/// headers.set("Accept", "*/*")?;
/// assert_eq!(headers.first("ACCEPT"), Some("*/*"));
/// # Ok::<(), twistor::http::RequestError>(())
/// ```
#[derive(Clone, Default)]
pub struct Headers {
    /// Names and values. One buffer for all: a head of ten fields costs two allocations.
    text: Vec<u8>,
    fields: Vec<Field>,
}

/// A field in the text.
#[derive(Clone, Copy)]
struct Field {
    name: (u32, u32),
    value: (u32, u32),
}

impl Headers {
    /// Returns the first value of this name, if it is valid UTF-8.
    pub fn first(&self, name: &str) -> Option<&str> {
        let field = self.fields.iter().find(|field| self.is_named(field, name))?;
        std::str::from_utf8(self.part(field.value)).ok()
    }

    /// Returns all values of this name.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        let same = move |field: &&Field| self.part(field.name).eq_ignore_ascii_case(name.as_bytes());
        self.fields.iter().filter(same).map(|field| self.part(field.value))
    }

    /// Returns whether there is a field of this name.
    pub fn contains(&self, name: &str) -> bool {
        self.all(name).next().is_some()
    }

    /// Returns whether a comma-separated list, such as `Connection`, contains this token.
    pub(super) fn has_token(&self, name: &str, token: &str) -> bool {
        self.items(name).any(|item| item.eq_ignore_ascii_case(token.as_bytes()))
    }

    /// Returns the items of a comma-separated list, without blanks around them.
    pub(super) fn items<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.all(name).flat_map(|value| value.split(|byte| *byte == b',')).map(<[u8]>::trim_ascii)
    }

    /// Iterates over names and values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        // A name is a token, which is ASCII.
        let name = |field: &Field| std::str::from_utf8(self.part(field.name)).unwrap_or_default();
        self.fields.iter().map(move |field| (name(field), self.part(field.value)))
    }

    /// Number of fields.
    pub fn len(&self) -> usize {
        self.fields.len()
    }

    /// Returns whether there are no fields.
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    /// Adds a field after the others.
    ///
    /// # Errors
    /// [`RequestError::HeaderName`] and [`RequestError::HeaderValue`]: the field cannot be sent.
    pub fn append(&mut self, name: &str, value: impl AsRef<[u8]>) -> Result<(), RequestError> {
        let value = value.as_ref().trim_ascii();
        if name.is_empty() || !name.bytes().all(is_token) {
            return Err(RequestError::HeaderName(name.chars().take(MAX_SHOWN).collect()));
        }
        if value.iter().any(|byte| byte.is_ascii_control() && *byte != b'\t') {
            return Err(RequestError::HeaderValue(name.chars().take(MAX_SHOWN).collect()));
        }
        match u32::try_from(self.text.len() + name.len() + value.len()) {
            Ok(_) => self.push(name.as_bytes(), value),
            Err(_) => return Err(RequestError::HeaderValue(name.chars().take(MAX_SHOWN).collect())),
        }
        Ok(())
    }

    /// Replaces all fields of this name by one, which takes the place of the first.
    ///
    /// # Errors
    /// Those of [`append`](Headers::append).
    pub fn set(&mut self, name: &str, value: impl AsRef<[u8]>) -> Result<(), RequestError> {
        let place = self.fields.iter().position(|field| self.is_named(field, name));
        self.append(name, value)?;
        if let Some(place) = place
            && let Some(new) = self.fields.pop()
        {
            self.remove(name);
            self.fields.insert(place, new);
        }
        Ok(())
    }

    /// Removes all fields of this name.
    pub fn remove(&mut self, name: &str) {
        let Headers { text, fields } = self;
        fields.retain(|field| !part(text, field.name).eq_ignore_ascii_case(name.as_bytes()));
    }

    /// Adds a field that cannot be malformed.
    pub(super) fn push(&mut self, name: &[u8], value: &[u8]) {
        let name = self.store(name);
        let value = self.store(value);
        self.fields.push(Field { name, value });
    }

    fn store(&mut self, bytes: &[u8]) -> (u32, u32) {
        let start = self.text.len() as u32;
        self.text.extend_from_slice(bytes);
        (start, self.text.len() as u32)
    }

    /// Copies the fields that were parsed from `block`, which has at most 4 GiB.
    pub(super) fn from_parsed(block: &[u8], parsed: &[httparse::Header<'_>]) -> Headers {
        let base = block.as_ptr() as usize;
        let range = |part: &[u8]| {
            let start = (part.as_ptr() as usize).wrapping_sub(base) as u32;
            (start, start.wrapping_add(part.len() as u32))
        };
        let field = |field: &httparse::Header<'_>| Field {
            name: range(field.name.as_bytes()),
            value: range(field.value),
        };
        Headers { text: block.to_vec(), fields: parsed.iter().map(field).collect() }
    }

    /// Appends the lines of all fields.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        for field in &self.fields {
            out.extend_from_slice(self.part(field.name));
            out.extend_from_slice(b": ");
            out.extend_from_slice(self.part(field.value));
            out.extend_from_slice(b"\r\n");
        }
    }

    fn is_named(&self, field: &Field, name: &str) -> bool {
        self.part(field.name).eq_ignore_ascii_case(name.as_bytes())
    }

    fn part(&self, range: (u32, u32)) -> &[u8] {
        part(&self.text, range)
    }
}

fn part(text: &[u8], (start, end): (u32, u32)) -> &[u8] {
    text.get(start as usize..end as usize).unwrap_or_default()
}

/// Equal if the fields are. Other contents of the buffers are not compared.
impl PartialEq for Headers {
    fn eq(&self, other: &Headers) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for Headers {}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map()
            .entries(self.iter().map(|(name, value)| (name, value.escape_ascii().to_string())))
            .finish()
    }
}

/// Maximum number of characters of a name in an error.
const MAX_SHOWN: usize = 40;
