//! Redirects (RFC 9110, 15.4).

use super::exchange::Exchange;
use super::{ClientSettings, FetchError};
use crate::http::{Method, ResponseHead, Url};

/// The request that follows a response.
pub(super) struct Redirect {
    url: Url,
    /// The next request is a GET without a body.
    to_get: bool,
}

impl Redirect {
    /// Decides whether a response is followed. A response is returned as it is if it has no
    /// `Location`, if the status is another one, or if a streamed body would have to be sent again.
    pub(super) fn of(
        exchange: &Exchange,
        head: &ResponseHead,
        settings: &ClientSettings,
    ) -> Result<Option<Redirect>, FetchError> {
        if !matches!(head.status, 301 | 302 | 303 | 307 | 308) || settings.max_redirects == 0 {
            return Ok(None);
        }
        let request = &exchange.request;
        let Some(location) = head.headers.all("Location").next() else {
            return Ok(None);
        };
        let location = String::from_utf8_lossy(location);
        // 301 and 302 change POST only, as everywhere. 303 changes everything.
        let to_get = match head.status {
            303 => true,
            301 | 302 => *request.method() == Method::POST,
            _ => false,
        };
        if !to_get && request.sent_body().is_streamed() {
            return Ok(None);
        }
        if exchange.redirects.len() >= settings.max_redirects {
            return Err(FetchError::TooManyRedirects(settings.max_redirects));
        }
        let shown = || location.chars().take(MAX_SHOWN).collect::<String>();
        let url = request.url().join(&location).map_err(|error| FetchError::BadRedirect(shown(), error))?;
        if request.url().is_https() && !url.is_https() && !settings.allow_downgrade {
            return Err(FetchError::Downgrade(shown()));
        }
        Ok(Some(Redirect { url, to_get }))
    }

    /// Changes the request.
    pub(super) fn follow(self, exchange: &mut Exchange) {
        exchange.redirects.push(exchange.request.url().clone());
        exchange.request.redirect(self.url, self.to_get);
    }
}

/// Maximum number of characters of a location in an error.
const MAX_SHOWN: usize = 200;
