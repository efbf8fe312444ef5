//! Request methods.

use super::request::{RequestError, is_token};
use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

/// A request method (RFC 9110, 9). Methods are compared with their case.
///
/// ```
/// use twistor::http::Method;
///
/// assert_eq!("PUT".parse::<Method>()?, Method::PUT);
/// assert!(Method::PUT.is_idempotent() && !Method::POST.is_idempotent());
/// assert!("G ET".parse::<Method>().is_err());
/// # Ok::<(), twistor::http::RequestError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Method(Cow<'static, str>);

impl Method {
    /// `GET`.
    pub const GET: Method = Method(Cow::Borrowed("GET"));
    /// `HEAD`.
    pub const HEAD: Method = Method(Cow::Borrowed("HEAD"));
    /// `POST`.
    pub const POST: Method = Method(Cow::Borrowed("POST"));
    /// `PUT`.
    pub const PUT: Method = Method(Cow::Borrowed("PUT"));
    /// `PATCH` (RFC 5789).
    pub const PATCH: Method = Method(Cow::Borrowed("PATCH"));
    /// `DELETE`.
    pub const DELETE: Method = Method(Cow::Borrowed("DELETE"));
    /// `OPTIONS`.
    pub const OPTIONS: Method = Method(Cow::Borrowed("OPTIONS"));
    /// `TRACE`.
    pub const TRACE: Method = Method(Cow::Borrowed("TRACE"));

    /// The method as it is sent.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the method only reads (RFC 9110, 9.2.1).
    pub fn is_safe(&self) -> bool {
        matches!(self.as_str(), "GET" | "HEAD" | "OPTIONS" | "TRACE")
    }

    /// Whether two requests have the effect of one (RFC 9110, 9.2.2). The client repeats no other
    /// methods.
    pub fn is_idempotent(&self) -> bool {
        self.is_safe() || matches!(self.as_str(), "PUT" | "DELETE")
    }
}

impl FromStr for Method {
    type Err = RequestError;

    /// Accepts any token of at most 40 characters except `CONNECT`, which is for proxies.
    fn from_str(text: &str) -> Result<Method, RequestError> {
        let known = [
            Method::GET,
            Method::HEAD,
            Method::POST,
            Method::PUT,
            Method::PATCH,
            Method::DELETE,
            Method::OPTIONS,
            Method::TRACE,
        ];
        if let Some(known) = known.into_iter().find(|method| method.as_str() == text) {
            return Ok(known);
        }
        match text.is_empty() || text.len() > MAX_LENGTH || text == "CONNECT" || !text.bytes().all(is_token) {
            true => Err(RequestError::Method(text.chars().take(MAX_LENGTH).collect())),
            false => Ok(Method(Cow::Owned(text.to_owned()))),
        }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

const MAX_LENGTH: usize = 40;
