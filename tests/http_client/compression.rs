//! Compressed bodies, whole, cut anywhere, malformed, and bombs.

use crate::scene::{Scene, Step};
use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
use std::io::Write;
use std::time::Duration;
use twistor::http::{ClientSettings, FetchError, HttpError, Limits};

const TEXT: &str = "hello, hello, hello";
/// The text, compressed by Node.
const BROTLI: &[u8] = &[
    0x1b, 0x12, 0x00, 0xf8, 0x8d, 0x94, 0x6e, 0xde, 0x44, 0x09, 0x52, 0x86, 0x96, 0x6c, 0x2c, 0x6f, 0x11,
    0x4f, 0x24, 0xd0, 0x71, 0x00,
];

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zlib(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn raw(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// The answer in two pieces.
fn coded(coding: &str, body: &[u8], cut: usize) -> Vec<Step> {
    let head =
        format!("HTTP/1.1 200 OK\r\nContent-Encoding: {coding}\r\nContent-Length: {}\r\n\r\n", body.len());
    let (first, second) = body.split_at(cut);
    let pause = Step::Wait(Duration::from_millis(5));
    vec![Step::Send(head), Step::Bytes(first.to_vec()), pause, Step::Bytes(second.to_vec())]
}

fn fetched(settings: ClientSettings, answer: Vec<Step>) -> Result<Vec<u8>, FetchError> {
    let mut scene = Scene::new(settings);
    scene.answers([answer]);
    scene.result(scene.client.get("http://server/")).map(|fetched| fetched.response.body)
}

#[test]
fn a_body_is_decompressed_at_any_cut() {
    let two = [gzip(b"hello, "), gzip(b"hello, hello")].concat();
    for (coding, body) in [
        ("gzip", gzip(TEXT.as_bytes())),
        ("X-GZIP", two),
        ("deflate", zlib(TEXT.as_bytes())),
        ("deflate", raw(TEXT.as_bytes())),
        ("br", BROTLI.to_vec()),
    ] {
        for cut in 0..body.len() {
            let text = fetched(ClientSettings::default(), coded(coding, &body, cut));
            assert_eq!(text.as_deref(), Ok(TEXT.as_bytes()), "{coding} cut at {cut}");
        }
    }
}

#[test]
fn the_client_asks_for_what_it_can_decompress() {
    let mut scene = Scene::new(ClientSettings::default());
    scene.result(scene.client.get("http://server/")).unwrap();
    assert!(scene.requests()[0].contains("\r\nAccept-Encoding: gzip, deflate, br\r\n"));
    scene.answers([
        coded("gzip", &gzip(b"x"), 1),
        coded("gzip, gzip", b"as it is", 1),
        coded("zstd", b"as it is", 1),
    ]);
    let own = scene.client.get("http://server/").header("Accept-Encoding", "gzip");
    let kept = scene.result(own).unwrap();
    assert_eq!((kept.response.body, kept.response.decompressed), (gzip(b"x"), false));
    for _ in 0..2 {
        assert_eq!(scene.result(scene.client.get("http://server/")).unwrap().body, b"as it is");
    }
    let off = ClientSettings { decompress: false, ..ClientSettings::default() };
    let mut scene = Scene::new(off);
    scene.result(scene.client.get("http://server/")).unwrap();
    assert!(scene.requests()[0].contains("\r\nAccept-Encoding: identity\r\n"));
}

#[test]
fn a_malformed_body_is_an_error() {
    let good = gzip(TEXT.as_bytes());
    let mut wrong_sum = good.clone();
    let sum = wrong_sum.len() - 6;
    wrong_sum[sum] ^= 1;
    for (coding, body) in [
        ("gzip", b"no gzip at all".to_vec()),
        ("gzip", good[..good.len() - 1].to_vec()),
        ("gzip", wrong_sum),
        ("deflate", zlib(TEXT.as_bytes())[..12].to_vec()),
        ("deflate", b"x".to_vec()),
        ("br", BROTLI[..BROTLI.len() - 2].to_vec()),
        ("br", vec![0xff; 30]),
    ] {
        let error = fetched(ClientSettings::default(), coded(coding, &body, 1)).unwrap_err();
        assert!(matches!(error, FetchError::Compression(_)), "{coding}: {error:?}");
    }
}

#[test]
fn a_bomb_ends_at_the_limits() {
    // A thousand to one.
    let zeros = vec![0; 2 << 20];
    let error = fetched(ClientSettings::default(), coded("gzip", &gzip(&zeros), 9)).unwrap_err();
    assert_eq!(error, FetchError::Compression("it expands more than 100 times".into()));
    let allowed = ClientSettings { max_expansion: 2000, ..ClientSettings::default() };
    assert_eq!(fetched(allowed, coded("gzip", &gzip(&zeros), 9)).unwrap().len(), zeros.len());
    // Below 1 MiB, only the length of the body counts.
    for (length, fits) in [(9999, true), (10_000, true), (10_001, false)] {
        let limits = Limits { body: 10_000, ..Limits::default() };
        let settings = ClientSettings { limits, ..ClientSettings::default() };
        let result = fetched(settings, coded("gzip", &gzip(&vec![0; length]), 9));
        match fits {
            true => assert_eq!(result.unwrap().len(), length),
            false => assert_eq!(result.unwrap_err(), FetchError::Http(HttpError::BodyTooLong(10_000))),
        }
    }
}
