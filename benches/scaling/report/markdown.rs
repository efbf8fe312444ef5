//! The report as one Markdown file: where and how it was measured, how to read it, then chapter after chapter.

use std::fmt::Write as _;

use super::super::figures::Run;
use super::contents::Chapter;
use super::frame;
use super::gaps::Gap;

pub fn written(run: &Run, chapters: &[Chapter]) -> String {
    let mut text = String::from("# How servers scale\n");
    origin(&mut text, run);
    text.push_str(READING);
    for chapter in chapters {
        let _ = write!(text, "\n## {}\n", chapter.title);
        if !chapter.text.is_empty() {
            let _ = write!(text, "\n{}\n", chapter.text);
        }
        if let Some((file, _)) = &chapter.picture {
            let _ = write!(text, "\n![{}]({file})\n", chapter.title);
        }
        let _ = write!(text, "\n{}", chapter.table);
    }
    missing(&mut text, run);
    text
}

fn origin(text: &mut String, run: &Run) {
    let machine = &run.machine;
    let memory = machine.memory as f64 / (1_u64 << 30) as f64;
    let pinning = match machine.pinning {
        Some(pinning) => format!("servers on core {}, the load on core {}", pinning.servers, pinning.load),
        None => "nothing was pinned".into(),
    };
    let _ = write!(
        text,
        "\n- Machine: {}, {} cores, {memory:.1} GiB of memory, Linux {}, {}; {pinning}.\n\
         - Date: {}.\n- Command: `{}`.\n- Just before the run, other programs used {:.1} % of a core.\n",
        machine.processor,
        machine.cores,
        machine.kernel.trim_start_matches("Linux "),
        machine.rustc,
        frame::day(&run.date),
        run.command,
        machine.load_before * 100.0
    );
    if machine.load_before > QUIET {
        text.push_str(
            "  **The machine was not quiet: rates and latencies mean little, ratios less than usual.**\n",
        );
    }
}

fn missing(text: &mut String, run: &Run) {
    let gaps = Gap::of(run);
    if !gaps.is_empty() {
        text.push_str(
            "\n## What is missing\n\nThese gave no figure; pictures have gaps there, tables a dash.\n\n",
        );
    }
    for gap in gaps {
        let _ = writeln!(text, "- {gap}");
    }
}

/// More of a core than this in the hands of others, and the figures say so.
const QUIET: f64 = 0.05;

const READING: &str = "
## How to read it

The servers echo what they get. Each runs in a process of its own, the load in another one, which compares every byte
that comes back. Within a round the servers take turns, and the order rotates from round to round.

**The figure to read is the server's CPU time per message as a ratio to the baseline in the same round**: it holds when
neighbours use the machine, where rates and latencies do not. 0.90 is a tenth cheaper than the baseline. A difference
stands where the ranges `[lowest..highest]` of the rounds do not meet; where they do, it may be chance.

The load keeps a fixed number of messages under way and waits for their echoes: a closed loop. Latency over
connections therefore rises with their number, as each message waits for those before it; and a server that stalls is
sent fewer messages meanwhile, so that percentiles compare servers and forecast nothing. Memory is what became
resident in the server's process, in whole pages; what the kernel keeps for a socket is not in it. Cells are named by
their workload: `pp c64 s1024 d16` is an echo on 64 connections with messages of 1,024 bytes, 16 under way on each;
`bulk c1` a transfer as fast as it goes; `churn p64` connects, echoes once and closes, 64 at a time; `hold c1024`
holds connections.
";
