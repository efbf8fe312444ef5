//! The monitor of many asyncio tutorials, with tasks and streams: a connection to each device,
//! `read(1024)` until its end, and a status line every second.
//!
//! `cargo run --example streams_monitor HOST[:PORT]...` (port 22 by default). Without devices it
//! starts three small ones itself.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use twistor::stream::{ConnectError, Server, StreamReader, StreamWriter, open_connection, start_server};
use twistor::task::{interval, select, sleep, spawn, stopping, timeout};
use twistor::{ConnectTcp, println_or_exit};

/// The state of one device.
struct Device {
    name: String,
    state: &'static str,
    received: usize,
}

type Devices = Rc<RefCell<Vec<Device>>>;

async fn monitor(devices: Devices, index: usize) -> Result<(), Box<dyn std::error::Error>> {
    let name = devices.borrow()[index].name.clone();
    let place = name.parse().unwrap_or_else(|_| ConnectTcp::new(name.clone(), 22));
    let (mut reader, writer) = timeout(Duration::from_secs(5), open_connection(place)).await??;
    devices.borrow_mut()[index].state = "connected";
    println_or_exit!("{name:>15}  connected from {}", writer.host()?);
    while let data @ [_, ..] = reader.read_chunk(1024).await? {
        println_or_exit!("{name:>15}  {}", data.escape_ascii());
        devices.borrow_mut()[index].received += data.len();
    }
    writer.close();
    Ok(())
}

async fn watch(names: Vec<String>) {
    let device = |name| Device { name, state: "connecting", received: 0 };
    let devices: Devices = Rc::new(RefCell::new(names.into_iter().map(device).collect()));
    let count = devices.borrow().len();
    let mut tasks = Vec::new();
    for index in 0..count {
        let devices = Rc::clone(&devices);
        tasks.push(spawn(async move {
            let ended = monitor(Rc::clone(&devices), index).await;
            let device = &mut devices.borrow_mut()[index];
            device.state = if ended.is_ok() { "ended" } else { "lost" };
            match ended {
                Ok(()) => println_or_exit!("{:>15}  ended after {} bytes", device.name, device.received),
                Err(error) => println_or_exit!("{:>15}  {error}", device.name),
            }
        }));
    }
    let mut ticks = interval(Duration::from_secs(1));
    loop {
        let tick = ticks.tick().await;
        let devices = devices.borrow();
        let of = |state| devices.iter().filter(|device| device.state == state).count();
        let bytes: usize = devices.iter().map(|device| device.received).sum();
        let number = tick.count;
        println_or_exit!("-- {number} s: {} of {count} connected, {bytes} bytes", of("connected"));
        if tasks.iter().all(|task| task.is_finished()) {
            return;
        }
    }
}

/// Starts a device that sends these lines, a second apart.
fn device(says: &'static [&'static str]) -> Result<Server, ConnectError> {
    start_server("127.0.0.1:0", async move |_: StreamReader, writer: StreamWriter| {
        for line in says {
            writer.write(line.as_bytes());
            sleep(Duration::from_secs(1)).await;
        }
    })
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let names: Vec<String> = std::env::args().skip(1).collect();
    twistor::block_on(async {
        if !names.is_empty() {
            // Watches until Ctrl-C.
            select(stopping(), watch(names)).await;
            return Ok(());
        }
        let lines: [&[&str]; 3] = [&["SSH-2.0-router\r\n", "up"], &["21.5 C\n", "21.7 C\n", "21.6 C\n"], &[]];
        let devices = lines.map(|says| device(says).expect("a port is free"));
        watch(devices.iter().map(|device| device.address().to_string()).collect()).await;
        Ok(())
    })?
}
