//! Chapters of the documentation. Each is a Markdown file of `src/guide/`, and its examples are tests.
//!
//! | chapter | contents |
//! |---|---|
//! | [`coming_from`] | names of Twisted, asyncio and tokio, and their names here |
//! | [`commands`] | the `twistor` command: options, output, exit codes |
//! | [`testing`] | tests of protocols: test doubles, simulated networks, many seeds |
//! | [`internals`] | how the loop works, drawn with the files on each path |
//! | [`performance`] | measurements, and the commands that made them |

#[doc = include_str!("coming_from.md")]
pub mod coming_from {}

#[doc = include_str!("commands.md")]
pub mod commands {}

#[doc = include_str!("testing.md")]
pub mod testing {}

#[doc = include_str!("internals.md")]
pub mod internals {}

#[doc = include_str!("performance.md")]
pub mod performance {}
