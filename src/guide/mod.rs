//! Chapters of the documentation. Each is a Markdown file of `src/guide/`; its examples are tests.
//!
//! | chapter | contents |
//! |---|---|
//! | [`coming_from`] | names of Twisted, asyncio, tokio, mio and calloop, and their names here |
//! | [`commands`] | the `twistor` command: options, output, exit codes |
//! | [`framings`] | framings of your own, for handlers, tasks and tests; connections joined to one another |
//! | [`files`] | files beside the loop: reloading, logs that survive crashes, simulated disks |
//! | [`embedding`] | a reactor inside another event loop; descriptors of other code |
//! | [`tls`] | certificates, choices of the handshake, STARTTLS, tests |
//! | [`several_cores`] | several reactors: one port, calls between threads |
//! | `http` | the HTTP server: routes, bodies, limits, stops (feature `http`) |
//! | [`testing`] | tests of protocols: test doubles, simulated networks, many seeds |
//! | [`internals`] | how the loop works, drawn with the files on each path |
//! | [`performance`] | measurements, and the commands that made them |

#[doc = include_str!("coming_from.md")]
pub mod coming_from {}

#[doc = include_str!("commands.md")]
pub mod commands {}

#[doc = include_str!("framings.md")]
pub mod framings {}

#[doc = include_str!("files.md")]
pub mod files {}

#[doc = include_str!("embedding.md")]
pub mod embedding {}

#[cfg(feature = "tls")]
#[doc = include_str!("tls.md")]
pub mod tls {}

#[doc = include_str!("several_cores.md")]
pub mod several_cores {}

#[cfg(feature = "http")]
#[doc = include_str!("http.md")]
pub mod http {}

#[doc = include_str!("testing.md")]
pub mod testing {}

#[doc = include_str!("internals.md")]
pub mod internals {}

#[doc = include_str!("performance.md")]
pub mod performance {}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    #[test]
    fn the_chapter_on_internals_names_what_exists() {
        let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let mut names = 0;
        for line in include_str!("internals.md").lines() {
            let mut file = None;
            for word in line.split(|c: char| c.is_whitespace() || "`(),".contains(c)) {
                // A function or type is named behind its file, with a colon:
                // `reactor/turn/mod.rs   dispatch: ..`.
                match (word.strip_suffix(".rs"), file.take()) {
                    (Some(_), _) => {
                        let text = fs::read_to_string(sources.join(word));
                        file = Some(text.unwrap_or_else(|error| panic!("{word}: {error}")));
                    }
                    (None, found) if word.is_empty() => file = found,
                    (None, Some(text)) => {
                        if let Some(name) = word.strip_suffix(':') {
                            let found = ["fn", "struct"].map(|kind| text.contains(&format!("{kind} {name}")));
                            assert_ne!(found, [false; 2], "{line}");
                            names += 1;
                        }
                    }
                    (None, None) => {}
                }
            }
        }
        assert!(names > 10, "{names}");
    }
}
