//! Requests and their encoding.
//!
//! An encoded request contains no line breaks from its parts: a [`Url`] and a [`Method`] have none,
//! and [`Request::header`] refuses them (Twisted's CVE-2019-12387 was such an injection).

use super::base64;
use super::body::Body;
use super::headers::Headers;
use super::method::Method;
use super::url::Url;
use crate::escape::Escaped;
use std::fmt;
use std::io::Write;
use std::time::Duration;

/// A request.
///
/// ```
/// use twistor::http::{Method, Request, Url};
///
/// let url: Url = "http://127.0.0.1/roads".parse()?;
/// let request = Request::post(&url, "level=1")
///     .header("Content-Type", "application/x-www-form-urlencoded")?
///     .bearer_auth("secret")?;
/// assert_eq!(request.method(), &Method::POST);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// The default headers are `Host`, `User-Agent: twistor/VERSION`, `Accept: */*`, `Accept-Encoding`
/// and `Connection: keep-alive`. [`Request::header`] replaces them or adds to them.
#[derive(Clone, Debug)]
pub struct Request {
    method: Method,
    url: Url,
    headers: Headers,
    body: Body,
    expect_continue: Option<Duration>,
}

/// Error of making a request.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RequestError {
    /// The method is not a token, is longer than 40 characters, or is `CONNECT`.
    Method(String),
    /// The name is not a token (RFC 9110, 5.6.2).
    HeaderName(String),
    /// The value of this header contains a control character.
    HeaderValue(String),
    /// The client itself sets this header, by the body.
    HeaderReserved(String),
    /// A user name with a colon, or a control character in a user name, password or token.
    Credentials,
    /// The value is not JSON, such as a map whose keys are not text.
    Json(String),
}

/// The form of the request target (RFC 9112, 3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// Path and query, for the server itself.
    Origin,
    /// The whole URL, for a proxy.
    Absolute,
}

impl Request {
    /// Creates a request without a body.
    pub fn new(method: Method, url: &Url) -> Request {
        let (headers, body) = (Headers::default(), Body::empty());
        Request { method, url: url.clone(), headers, body, expect_continue: None }
    }

    /// Creates a GET request.
    pub fn get(url: &Url) -> Request {
        Request::new(Method::GET, url)
    }

    /// Creates a POST request with this body.
    pub fn post(url: &Url, body: impl Into<Body>) -> Request {
        Request::new(Method::POST, url).body(body)
    }

    /// Sets a header. Replaces a header of the same name.
    ///
    /// # Errors
    /// - [`RequestError::HeaderName`], [`RequestError::HeaderValue`]: it cannot be sent.
    /// - [`RequestError::HeaderReserved`]: `Content-Length`, `Transfer-Encoding` or `Expect`.
    pub fn header(mut self, name: &str, value: &str) -> Result<Request, RequestError> {
        check_reserved(name)?;
        self.headers.set(name, value)?;
        Ok(self)
    }

    /// Adds a header beside those of the same name.
    ///
    /// # Errors
    /// Those of [`header`](Request::header).
    pub fn append_header(mut self, name: &str, value: &str) -> Result<Request, RequestError> {
        check_reserved(name)?;
        self.headers.append(name, value)?;
        Ok(self)
    }

    /// Sets the body. `Content-Length` or `Transfer-Encoding` follows from it.
    pub fn body(mut self, body: impl Into<Body>) -> Request {
        self.body = body.into();
        self
    }

    /// Sets the body to a value as JSON, and `Content-Type: application/json`.
    ///
    /// # Errors
    /// [`RequestError::Json`]: the value cannot be written as JSON.
    #[cfg(feature = "json")]
    pub fn json(mut self, value: &impl serde::Serialize) -> Result<Request, RequestError> {
        let text = serde_json::to_vec(value).map_err(|error| RequestError::Json(error.to_string()))?;
        self.headers.set("Content-Type", "application/json")?;
        Ok(self.body(text))
    }

    /// Sets the credentials of basic authentication (RFC 7617).
    ///
    /// # Errors
    /// [`RequestError::Credentials`].
    pub fn basic_auth(mut self, user: &str, password: &str) -> Result<Request, RequestError> {
        self.headers.set("Authorization", basic_credentials(user, password)?)?;
        Ok(self)
    }

    /// Sets a bearer token (RFC 6750).
    ///
    /// # Errors
    /// [`RequestError::Credentials`]: the token contains a space or anything but printable ASCII.
    pub fn bearer_auth(mut self, token: &str) -> Result<Request, RequestError> {
        if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(RequestError::Credentials);
        }
        self.headers.set("Authorization", format!("Bearer {token}"))?;
        Ok(self)
    }

    /// Sends the head alone, with `Expect: 100-continue`, and the body once the server agrees. A
    /// server that does not answer within `patience` gets the body all the same (RFC 9110, 10.1.1).
    /// A final answer instead is the response, and the body is not sent. It does nothing for a
    /// request without a body.
    pub fn expect_continue(mut self, patience: Duration) -> Request {
        self.expect_continue = Some(patience);
        self
    }

    /// The method.
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// The URL.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// The headers that were set.
    pub fn headers(&self) -> &Headers {
        &self.headers
    }

    /// Returns the encoded request: its head, and a body of bytes. A streamed body is left out.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.encode_head(Target::Origin, "identity", &Headers::default(), &mut bytes);
        bytes.extend_from_slice(self.body.as_bytes().map_or(&[], |bytes| bytes));
        bytes
    }

    /// Appends the head, with additional fields.
    pub(super) fn encode_head(&self, target: Target, codings: &str, more: &Headers, out: &mut Vec<u8>) {
        out.reserve(USUAL_HEAD);
        out.extend_from_slice(self.method.as_str().as_bytes());
        out.push(b' ');
        match target {
            Target::Origin => out.extend_from_slice(self.url.target().as_bytes()),
            // Writing to a vector cannot fail.
            Target::Absolute => drop(write!(out, "{}", self.url.without_zone())),
        }
        out.extend_from_slice(b" HTTP/1.1\r\n");
        let mut missing = |name: &str, value: &str| {
            if !self.headers.contains(name) {
                for part in [name, ": ", value, "\r\n"] {
                    out.extend_from_slice(part.as_bytes());
                }
            }
        };
        missing("Host", &self.url.host_header());
        missing("User-Agent", USER_AGENT);
        missing("Accept", "*/*");
        missing("Accept-Encoding", codings);
        missing("Connection", "keep-alive");
        self.headers.encode(out);
        more.encode(out);
        match self.body.length() {
            // A body is expected with these methods (RFC 9110, 8.6).
            Some(0) if !matches!(self.method.as_str(), "POST" | "PUT" | "PATCH") => {}
            Some(length) => drop(write!(out, "Content-Length: {length}\r\n")),
            None => out.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
        }
        if self.patience().is_some() {
            out.extend_from_slice(b"Expect: 100-continue\r\n");
        }
        out.extend_from_slice(b"\r\n");
    }

    pub(super) fn sent_body(&self) -> &Body {
        &self.body
    }

    /// Time to wait for `100 Continue`; `None` if the body follows at once.
    pub(super) fn patience(&self) -> Option<Duration> {
        self.expect_continue.filter(|_| self.body.length() != Some(0))
    }

    /// Whether the client may send it again by itself.
    pub(super) fn is_repeatable(&self) -> bool {
        self.method.is_idempotent() && !self.body.is_streamed()
    }

    /// Turns it into the request that follows a redirect.
    pub(super) fn redirect(&mut self, url: Url, to_get: bool) {
        if !self.url.is_same_origin(&url) {
            // Meant for the first server alone.
            for name in ["Authorization", "Cookie", "Host", "Proxy-Authorization"] {
                self.headers.remove(name);
            }
        }
        if to_get {
            if self.method != Method::HEAD {
                self.method = Method::GET;
            }
            self.body = Body::empty();
            for name in ["Content-Type", "Content-Encoding", "Content-Language", "Content-Location"] {
                self.headers.remove(name);
            }
        }
        self.url = url;
    }
}

/// Returns the value of an `Authorization` header (RFC 7617).
pub(super) fn basic_credentials(user: &str, password: &str) -> Result<String, RequestError> {
    let control = |text: &str| text.chars().any(char::is_control);
    if user.contains(':') || control(user) || control(password) {
        return Err(RequestError::Credentials);
    }
    Ok(format!("Basic {}", base64::encode(format!("{user}:{password}").as_bytes())))
}

fn check_reserved(name: &str) -> Result<(), RequestError> {
    match RESERVED.iter().any(|reserved| reserved.eq_ignore_ascii_case(name)) {
        true => Err(RequestError::HeaderReserved(name.to_owned())),
        false => Ok(()),
    }
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RequestError::Method(text) => write!(f, "\"{}\" is not a request method", Escaped(text)),
            RequestError::HeaderName(name) => {
                write!(f, "\"{}\" is not a header name", Escaped(name))
            }
            RequestError::HeaderValue(name) => {
                write!(f, "the value of header {} contains a control character", Escaped(name))
            }
            RequestError::HeaderReserved(name) => {
                write!(f, "header {} follows from the body and cannot be set", Escaped(name))
            }
            RequestError::Credentials => {
                f.write_str("a user name contains no colon, and credentials no control characters")
            }
            RequestError::Json(why) => write!(f, "the body cannot be written as JSON: {}", Escaped(why)),
        }
    }
}

impl std::error::Error for RequestError {}

pub(super) fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

pub(super) const USER_AGENT: &str = concat!("twistor/", env!("CARGO_PKG_VERSION"));
/// Headers that decide where the request ends.
const RESERVED: &[&str] = &["Content-Length", "Transfer-Encoding", "Expect"];
/// Room for a head, so that it is allocated once.
const USUAL_HEAD: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(request: &Request) -> String {
        String::from_utf8(request.encode()).unwrap()
    }

    #[test]
    fn a_request_is_encoded_with_its_headers() {
        let url: Url = "http://[::1]:8080/a?b".parse().unwrap();
        let request = Request::get(&url).header("accept", "application/json").unwrap();
        let expected = concat!(
            "GET /a?b HTTP/1.1\r\nHost: [::1]:8080\r\nUser-Agent: twistor/",
            env!("CARGO_PKG_VERSION"),
            "\r\nAccept-Encoding: identity\r\nConnection: keep-alive\r\naccept: application/json\r\n\r\n"
        );
        assert_eq!(encoded(&request), expected);
    }

    #[test]
    fn a_body_decides_how_its_end_is_found() {
        let url: Url = "http://a/".parse().unwrap();
        assert!(encoded(&Request::post(&url, "abc")).ends_with("\r\nContent-Length: 3\r\n\r\nabc"));
        assert!(encoded(&Request::new(Method::PUT, &url)).contains("\r\nContent-Length: 0\r\n"));
        assert!(!encoded(&Request::new(Method::DELETE, &url)).contains("Content-Length"));
        let (sender, body) = Body::stream(None);
        assert!(encoded(&Request::post(&url, body)).contains("\r\nTransfer-Encoding: chunked\r\n"));
        drop(sender);
        let (sender, body) = Body::stream(Some(7));
        assert!(encoded(&Request::post(&url, body)).ends_with("\r\nContent-Length: 7\r\n\r\n"));
        drop(sender);
        let expecting = Request::post(&url, "a").expect_continue(Duration::from_secs(1));
        assert!(encoded(&expecting).contains("\r\nExpect: 100-continue\r\n"));
        assert!(!encoded(&Request::get(&url).expect_continue(Duration::from_secs(1))).contains("Expect"));
    }

    #[test]
    fn a_header_cannot_smuggle_a_line() {
        let request = Request::get(&"http://a/".parse().unwrap());
        let refused = request.clone().header("X", "a\r\nY: b").unwrap_err();
        assert_eq!(refused, RequestError::HeaderValue("X".into()));
        for name in ["", "a b", "a:", "a\r\n", "é"] {
            assert_eq!(request.clone().header(name, "").unwrap_err(), RequestError::HeaderName(name.into()));
        }
        for name in ["content-length", "Transfer-Encoding", "EXPECT"] {
            let refused = request.clone().append_header(name, "1").unwrap_err();
            assert_eq!(refused, RequestError::HeaderReserved(name.into()));
        }
        for token in ["", "a b", "a\r\nX: y", "é"] {
            assert_eq!(request.clone().bearer_auth(token).unwrap_err(), RequestError::Credentials);
        }
        for user in ["a:b", "a\n"] {
            assert_eq!(request.clone().basic_auth(user, "").unwrap_err(), RequestError::Credentials);
        }
        let signed = request.basic_auth("Aladdin", "open sesame").unwrap();
        let expected = Some("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
        assert_eq!(signed.headers().first("authorization"), expected);
    }

    #[test]
    fn credentials_do_not_follow_to_another_origin() {
        let request = Request::post(&"https://a/x".parse().unwrap(), "body")
            .bearer_auth("secret")
            .and_then(|request| request.header("Cookie", "a=b"))
            .and_then(|request| request.header("Content-Type", "text/plain"))
            .unwrap();
        let followed = |url: &str, to_get| {
            let mut request = request.clone();
            request.redirect(url.parse().unwrap(), to_get);
            encoded(&request)
        };
        let same = followed("https://a/y", false);
        assert!(same.starts_with("POST /y ") && same.contains("secret") && same.ends_with("body"), "{same}");
        for other in ["https://b/", "https://a:444/", "http://a/"] {
            let text = followed(other, false);
            assert!(!text.contains("secret") && !text.contains("Cookie") && text.ends_with("body"), "{text}");
        }
        let get = followed("https://a/y", true);
        assert!(get.starts_with("GET /y ") && !get.contains("Content-"), "{get}");
    }
}
