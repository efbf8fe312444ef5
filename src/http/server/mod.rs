//! An HTTP/1.1 server: a [`Site`] of routes, as a factory of connections.
//!
//! ```
//! use twistor::Reactor;
//! use twistor::http::server::{Response, Site};
//!
//! let site = Site::new().get("/", |_| Response::text("Hello, world!"));
//! let mut reactor = Reactor::new()?;
//! reactor.listen_tcp("127.0.0.1:0", site)?;
//! # reactor.call_when_running(|reactor| { reactor.stop(); });
//! reactor.run()?;
//! # Ok::<(), twistor::Error>(())
//! ```

mod access_log;
mod channel;
mod events;
mod files;
mod gzip;
mod handler;
mod head;
mod limits;
mod path;
mod refusal;
mod request;
mod response;
mod route;
mod site;
mod table;

pub use self::events::{Event, EventSource};
pub use self::files::StaticFiles;
pub use self::handler::{
    BodyHandle, BodyProducer, BodyReceiver, Reply, RequestBody, Resource, Responder, ResponseBody,
};
pub use self::limits::SiteLimits;
pub use self::refusal::Refusal;
pub use self::request::Request;
pub use self::response::{Response, ResponseError};
pub use self::route::Route;
pub use self::site::{Site, SiteStatistics};

/// Escapes text for HTML, also within quoted attributes.
///
/// ```
/// assert_eq!(twistor::http::server::escape_html("<a> & \"b\""), "&lt;a&gt; &amp; &quot;b&quot;");
/// ```
pub fn escape_html(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            character => escaped.push(character),
        }
    }
    escaped
}
