//! The samples of a run, asked for by section, cell, server and metric; several rounds become one [`Spread`].

use super::super::figures::{Run, Sample};
use super::super::support::table;
use super::metric::Metric;
use super::palette;
use super::unit::Unit;

/// What the rounds of one cell say.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    pub lowest: f64,
    pub median: f64,
    pub highest: f64,
}

/// What is missing in every section, of every cell or of every server has this for a name.
pub const EVERY: &str = "all";

pub struct Statistics<'a> {
    pub run: &'a Run,
}

impl Spread {
    /// `None` of no figures.
    pub fn of(figures: &[f64]) -> Option<Spread> {
        (!figures.is_empty()).then(|| Spread {
            lowest: table::lowest(figures),
            median: table::median(figures),
            highest: table::highest(figures),
        })
    }

    /// `3.72 [3.61..4.02] µs`, `0.95 [0.93..0.98]`; the unit stands with each figure where they differ in it.
    pub fn written(&self, unit: Unit) -> String {
        let [lowest, median, highest] =
            [self.lowest, self.median, self.highest].map(|figure| unit.figure(figure));
        if lowest == highest {
            return median;
        }
        let parts = [&lowest, &median, &highest].map(|text| text.split_once(' ').unwrap_or((text, "")));
        let [(low, of_lowest), (middle, name), (high, of_highest)] = parts;
        match name == of_lowest && name == of_highest {
            true => format!("{middle} [{low}..{high}] {name}").trim_end().to_owned(),
            false => format!("{median} [{lowest}..{highest}]"),
        }
    }
}

impl<'a> Statistics<'a> {
    pub fn section(&self, section: &str) -> impl Iterator<Item = &'a Sample> {
        self.run.samples.iter().filter(move |sample| sample.section == section)
    }

    /// Those that any server has a sample of, in the order in which they were measured first.
    pub fn cells(&self, section: &str) -> Vec<&'a str> {
        let mut cells: Vec<&str> = Vec::new();
        for cell in self.section(section).map(|sample| sample.cell.as_str()) {
            if !cells.contains(&cell) {
                cells.push(cell);
            }
        }
        cells
    }

    /// Those with any sample in the section, or that were tried there, as pictures list them.
    pub fn servers(&self, section: &str) -> Vec<&'a str> {
        let samples = self.section(section).map(|sample| sample.server.as_str());
        let missing = self.run.missing.iter().filter(|missing| missing.section == section);
        let missing = missing.map(|missing| missing.server.as_str()).filter(|server| *server != EVERY);
        let mut servers: Vec<&str> = samples.chain(missing).collect();
        servers.sort_by_key(|server| (palette::rank(server), *server));
        servers.dedup();
        servers
    }

    /// What ratios are to: C, or mio where C is in no sample of the section.
    pub fn baseline(&self, section: &str) -> &'static str {
        if self.section(section).any(|sample| sample.server == "c") { "c" } else { "mio" }
    }

    pub fn rounds(&self, section: &str) -> usize {
        self.section(section).map(|sample| sample.round + 1).max().unwrap_or(0)
    }

    pub fn spread(&self, section: &str, cell: &str, server: &str, metric: Metric) -> Option<Spread> {
        Spread::of(&self.figures(section, cell, server, metric))
    }

    /// The geometric mean over the cells of a section of the median ratios, and of how many cells it is.
    pub fn geometric_mean(&self, section: &str, server: &str) -> Option<(f64, usize)> {
        let medians: Vec<f64> = self
            .cells(section)
            .iter()
            .filter_map(|cell| self.spread(section, cell, server, Metric::CostRatio))
            .map(|spread| spread.median)
            .collect();
        (!medians.is_empty()).then(|| (table::geometric_mean(&medians), medians.len()))
    }

    fn figures(&self, section: &str, cell: &str, server: &str, metric: Metric) -> Vec<f64> {
        let own = self.section(section).filter(|sample| sample.cell == cell && sample.server == server);
        match metric {
            Metric::CostRatio => own.filter_map(|sample| self.ratio(sample)).collect(),
            _ => own.filter_map(|sample| metric.of(sample)).collect(),
        }
    }

    /// To the baseline in the same cell and round.
    fn ratio(&self, own: &Sample) -> Option<f64> {
        let baseline = self.baseline(&own.section);
        let base = self.section(&own.section).find(|sample| {
            sample.server == baseline && sample.cell == own.cell && sample.round == own.round
        })?;
        let ratio = Metric::Cost.of(own)? / Metric::Cost.of(base)?;
        (ratio.is_finite() && ratio > 0.0).then_some(ratio)
    }
}
