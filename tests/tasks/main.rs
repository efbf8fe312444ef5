//! Tasks and streams.

#[path = "../support/modules.rs"]
mod modules;
#[path = "../support/world/mod.rs"]
mod world;

mod broadcast;
mod child;
mod join_set;
mod large_input;
mod normal_stop;
mod notify;
mod running;
mod signals;
mod stream_accept;
mod stream_cancelling;
mod stream_chaos;
mod stream_copy;
mod stream_datagrams;
mod stream_duplex;
#[cfg(feature = "futures-io")]
mod stream_futures_io;
mod stream_halves;
mod stream_messages;
mod stream_opening;
mod stream_reading;
mod stream_server;
mod stream_writes_together;
mod stream_writing;
mod time;
mod together;
