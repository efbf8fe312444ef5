//! What a run prints: the ten cells beside the baseline, and what is missing. The rest is in the files.

use super::figures::{Missing, Run, Sample};
use super::support::cell::Cell;
use super::support::table::{self, Table};

pub fn print(run: &Run) {
    let of = |section: &str| run.samples.iter().filter(|sample| sample.section == section).collect();
    let mut ten: Vec<&Sample> = of("cells"); // what was asked for by name
    if ten.is_empty() {
        ten = of("ten");
    }
    if let Some(baseline) =
        ["c", "mio"].into_iter().find(|name| ten.iter().any(|sample| sample.server == *name))
    {
        print_ten(&ten, baseline);
    }
    print_missing(&run.missing);
}

/// What has the same reason is told together.
fn print_missing(missing: &[Missing]) {
    for reason in in_order(missing.iter().map(|missing| missing.reason.as_str()), None) {
        let of_reason = || missing.iter().filter(|missing| missing.reason == reason);
        let servers = in_order(of_reason().map(|missing| missing.server.as_str()), None).join(", ");
        let cells = in_order(of_reason().map(|missing| missing.cell.as_str()), None).join("; ");
        println!("\nMissing: {servers}\n  in: {cells}\n  because: {reason}");
    }
}

fn print_ten(samples: &[&Sample], baseline: &str) {
    let servers = in_order(samples.iter().map(|sample| sample.server.as_str()), Some(baseline));
    let heads = || ["cell"].into_iter().chain(servers.iter().copied());
    let mut ratios = Table::new(heads());
    let mut costs = Table::new(heads().chain(["unit"]));
    let mut medians = vec![Vec::new(); servers.len()];
    for cell in in_order(samples.iter().map(|sample| sample.cell.as_str()), None) {
        let of = |server: &str| -> Vec<&Sample> {
            samples.iter().copied().filter(|sample| sample.cell == cell && sample.server == server).collect()
        };
        let base = of(baseline);
        let mut ratio_row = vec![cell.to_string()];
        let mut cost_row = vec![cell.to_string()];
        for (server, medians) in servers.iter().zip(&mut medians) {
            let own = of(server);
            let ratio: Vec<f64> = own
                .iter()
                .filter_map(|own| {
                    let base = base.iter().find(|base| base.round == own.round)?;
                    Some(cost(own) / cost(base))
                })
                .collect();
            if ratio.is_empty() {
                ratio_row.push("-".to_string());
                cost_row.push("-".to_string());
                continue;
            }
            medians.push(table::median(&ratio));
            ratio_row.push(table::spread(&ratio));
            let costs: Vec<f64> = own.iter().map(|own| cost(own) * 1e6).collect();
            let rates: Vec<f64> = own.iter().map(|own| own.count as f64 / own.elapsed).collect();
            cost_row.push(format!(
                "{:.2} us, {}/s",
                table::median(&costs),
                table::thousands(table::highest(&rates))
            ));
        }
        cost_row.push(cell.parse::<Cell>().map_or("", |cell| cell.unit()).to_string());
        ratios.row(ratio_row);
        costs.row(cost_row);
    }
    // Over fewer cells it would not be the same figure.
    let most = medians.iter().map(Vec::len).max().unwrap_or(0);
    let means = medians.iter().map(|medians| match medians.len() {
        count if count == most => format!("{:.3}", table::geometric_mean(medians)),
        _ => "-".to_string(),
    });
    ratios.row(["geometric mean".to_string()].into_iter().chain(means));
    ratios.print(&format!(
        "Server CPU per message as a ratio to {baseline} in the same round: median [lowest..highest]"
    ));
    costs.print("Server CPU per message (median) and the best rate of any round");
}

/// Seconds of CPU for one.
fn cost(sample: &Sample) -> f64 {
    sample.cpu / sample.count as f64
}

/// Each name once, the given one first, the others as they come.
fn in_order<'a>(names: impl Iterator<Item = &'a str>, first: Option<&'a str>) -> Vec<&'a str> {
    let mut order: Vec<&str> = first.into_iter().collect();
    for name in names {
        if !order.contains(&name) {
            order.push(name);
        }
    }
    order
}
