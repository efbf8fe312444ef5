//! Content codings of bodies: gzip, deflate and brotli (RFC 9110, 8.4.1; RFC 7932).

#[cfg(not(feature = "compression"))]
pub(super) use self::absent::{ACCEPTED, Decoder};
#[cfg(feature = "compression")]
pub(super) use self::present::{ACCEPTED, Decoder};

#[cfg(not(feature = "compression"))]
mod absent {
    use crate::http::Headers;
    use crate::http::client::{ClientSettings, FetchError};

    /// Value of `Accept-Encoding`.
    pub(in crate::http) const ACCEPTED: &str = "identity";

    /// The absence of decoders.
    pub(in crate::http) enum Decoder {}

    impl Decoder {
        pub(in crate::http) fn of(_: &Headers, _: &ClientSettings) -> Option<Decoder> {
            None
        }

        pub(in crate::http) fn decode(
            &mut self,
            _: &mut &[u8],
            _: bool,
        ) -> Result<Option<Vec<u8>>, FetchError> {
            match *self {}
        }

        pub(in crate::http) fn finish(&mut self) -> Result<(), FetchError> {
            match *self {}
        }
    }
}

#[cfg(feature = "compression")]
mod present {
    use crate::http::client::{ClientSettings, FetchError};
    use crate::http::{Headers, HttpError};
    use brotli_decompressor::DecompressorWriter;
    use flate2::write::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
    use std::io::{self, Write};

    /// Value of `Accept-Encoding`.
    pub(in crate::http) const ACCEPTED: &str = "gzip, deflate, br";

    /// Decoder of one body, with a limit on what comes out of it.
    pub(in crate::http) struct Decoder {
        coding: Coding,
        max_expansion: u64,
        max_body: u64,
        consumed: u64,
        produced: u64,
    }

    enum Coding {
        Gzip(MultiGzDecoder<Vec<u8>>),
        /// `deflate` means zlib, but some servers send the raw format. The first two bytes tell.
        Deflate(Vec<u8>),
        Zlib(ZlibDecoder<Vec<u8>>),
        Raw(DeflateDecoder<Vec<u8>>),
        Brotli(Box<DecompressorWriter<Vec<u8>>>),
    }

    impl Decoder {
        /// Makes the decoder for these headers. `None` for a body that is not compressed, or in a
        /// way that is not known, or twice: it stays as it is.
        pub(in crate::http) fn of(headers: &Headers, settings: &ClientSettings) -> Option<Decoder> {
            let mut codings = headers.items("Content-Encoding").filter(|coding| !coding.is_empty());
            let (coding, None) = (codings.next()?, codings.next()) else {
                return None;
            };
            let is = |name: &str| coding.eq_ignore_ascii_case(name.as_bytes());
            let coding = match coding {
                _ if is("gzip") || is("x-gzip") => Coding::Gzip(MultiGzDecoder::new(Vec::new())),
                _ if is("deflate") => Coding::Deflate(Vec::new()),
                _ if is("br") => Coding::Brotli(Box::new(DecompressorWriter::new(Vec::new(), SLICE))),
                _ => return None,
            };
            Some(Decoder {
                coding,
                max_expansion: settings.max_expansion.into(),
                max_body: settings.limits.body as u64,
                consumed: 0,
                produced: 0,
            })
        }

        /// Decodes a slice of `input` and advances it. Returns the bytes that came out, at least
        /// one; `None` when the input is used up. `unlimited`: the body is not collected.
        ///
        /// # Errors
        /// The body is malformed, longer than the limit, or expands too much.
        pub(in crate::http) fn decode(
            &mut self,
            input: &mut &[u8],
            unlimited: bool,
        ) -> Result<Option<Vec<u8>>, FetchError> {
            while !input.is_empty() {
                // A thousand bytes are at most a million.
                let (slice, rest) = input.split_at(input.len().min(SLICE));
                *input = rest;
                self.consumed += slice.len() as u64;
                let output = self.coding.write(slice).map_err(|error| malformed(&error))?;
                self.produced += output.len() as u64;
                if !unlimited && self.produced > self.max_body {
                    let limit = usize::try_from(self.max_body).unwrap_or(usize::MAX);
                    return Err(FetchError::Http(HttpError::BodyTooLong(limit)));
                }
                if self.produced > GRACE && self.produced / self.max_expansion.max(1) > self.consumed {
                    let why = format!("it expands more than {} times", self.max_expansion);
                    return Err(FetchError::Compression(why));
                }
                if !output.is_empty() {
                    return Ok(Some(output));
                }
            }
            Ok(None)
        }

        /// Ends the body.
        ///
        /// # Errors
        /// It is truncated, or its checksum is wrong.
        pub(in crate::http) fn finish(&mut self) -> Result<(), FetchError> {
            match self.consumed {
                // A response to HEAD, and a 304, name the coding of a body that they do not have.
                0 => Ok(()),
                _ => self.coding.finish().map_err(|error| malformed(&error)),
            }
        }
    }

    impl Coding {
        fn write(&mut self, slice: &[u8]) -> io::Result<Vec<u8>> {
            if let Coding::Deflate(start) = self {
                start.extend_from_slice(slice);
                let [first, second, ..] = start[..] else {
                    return Ok(Vec::new());
                };
                // RFC 1950, 2.2: the method, and a header that is a multiple of 31.
                let zlib = first & 15 == 8 && u16::from_be_bytes([first, second]) % 31 == 0;
                let start = std::mem::take(start);
                *self = match zlib {
                    true => Coding::Zlib(ZlibDecoder::new(Vec::new())),
                    false => Coding::Raw(DeflateDecoder::new(Vec::new())),
                };
                return self.write(&start);
            }
            let output = match self {
                Coding::Gzip(decoder) => {
                    decoder.write_all(slice)?;
                    decoder.flush()?;
                    decoder.get_mut()
                }
                Coding::Zlib(decoder) => {
                    decoder.write_all(slice)?;
                    decoder.flush()?;
                    decoder.get_mut()
                }
                Coding::Raw(decoder) => {
                    decoder.write_all(slice)?;
                    decoder.flush()?;
                    decoder.get_mut()
                }
                Coding::Brotli(decoder) => {
                    decoder.write_all(slice)?;
                    decoder.get_mut()
                }
                Coding::Deflate(start) => start,
            };
            Ok(std::mem::take(output))
        }

        fn finish(&mut self) -> io::Result<()> {
            let rest = match self {
                Coding::Gzip(decoder) => {
                    decoder.try_finish()?;
                    decoder.get_ref()
                }
                Coding::Zlib(decoder) => {
                    decoder.try_finish()?;
                    decoder.get_ref()
                }
                Coding::Raw(decoder) => {
                    decoder.try_finish()?;
                    decoder.get_ref()
                }
                Coding::Brotli(decoder) => {
                    decoder.close()?;
                    decoder.get_ref()
                }
                Coding::Deflate(_) => return Err(io::ErrorKind::UnexpectedEof.into()),
            };
            match rest.is_empty() {
                true => Ok(()),
                // All output was flushed before.
                false => Err(io::ErrorKind::InvalidData.into()),
            }
        }
    }

    fn malformed(error: &io::Error) -> FetchError {
        FetchError::Compression(error.to_string())
    }

    /// Bytes that are decoded at once.
    const SLICE: usize = 1 << 10;
    /// Output from which on its ratio to the input is limited.
    const GRACE: u64 = 1 << 20;
}
