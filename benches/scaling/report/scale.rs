//! From a figure to its place on the paper, and the ticks that say where figures are.

use super::unit::Unit;

/// A span of figures on a span of the paper.
#[derive(Clone, Copy)]
pub struct Scale {
    kind: Kind,
    low: f64,
    high: f64,
    /// Where `low` is on the paper, in pixels, and where `high` is.
    from: f64,
    to: f64,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Logarithmic,
    /// Begins at zero, as the lengths of bars must.
    Linear,
}

impl Scale {
    /// Spans the figures and a little more. `None` where no figure is above zero.
    pub fn logarithmic(figures: impl Iterator<Item = f64>, (from, to): (f64, f64)) -> Option<Scale> {
        let (low, high) = figures
            .filter(|figure| figure.is_finite() && *figure > 0.0)
            .fold((f64::INFINITY, 0.0_f64), |(low, high), figure| (low.min(figure), high.max(figure)));
        if high <= 0.0 {
            return None;
        }
        // Figures that hardly differ must not look as if they did.
        let margin = (high / low).powf(MARGIN).max((LEAST_SPAN * low / high).sqrt());
        Some(Scale { kind: Kind::Logarithmic, low: low / margin, high: high * margin, from, to })
    }

    /// From zero to the highest of the figures.
    pub fn linear(figures: impl Iterator<Item = f64>, (from, to): (f64, f64)) -> Option<Scale> {
        let high = figures.filter(|figure| figure.is_finite()).fold(0.0, f64::max);
        (high > 0.0).then_some(Scale { kind: Kind::Linear, low: 0.0, high, from, to })
    }

    /// Pixels. Figures outside of the span end up at its edge, those that are not numbers nowhere.
    pub fn place(&self, figure: f64) -> f64 {
        let share = match self.kind {
            Kind::Logarithmic => (figure.max(self.low) / self.low).ln() / (self.high / self.low).ln(),
            Kind::Linear => (figure - self.low) / (self.high - self.low),
        };
        if figure.is_nan() { f64::NAN } else { self.from + (self.to - self.from) * share.clamp(0.0, 1.0) }
    }

    pub fn contains(&self, figure: f64) -> bool {
        (self.low..=self.high).contains(&figure)
    }

    /// Round figures, ascending and no closer than so many pixels: of the ladders that fit, the one with most rungs.
    pub fn ticks(&self, unit: Unit, apart: f64) -> Vec<f64> {
        let mut best = Vec::new();
        for ladder in self.ladders(unit) {
            let places = ladder.iter().map(|figure| self.place(*figure));
            let close = places.clone().zip(places.skip(1)).any(|(one, next)| (next - one).abs() < apart);
            if !close && ladder.len() > best.len() {
                best = ladder;
            }
        }
        best
    }

    /// Those of the figures whose names have room beside the name before.
    pub fn thinned(&self, figures: &[f64], width: impl Fn(f64) -> f64) -> Vec<f64> {
        let mut kept: Vec<f64> = Vec::new();
        for &figure in figures.iter().filter(|figure| self.contains(**figure)) {
            let has_room = |last: &f64| {
                let apart = (self.place(figure) - self.place(*last)).abs();
                apart > (width(figure) + width(*last)) / 2.0
            };
            if kept.last().is_none_or(has_room) {
                kept.push(figure);
            }
        }
        kept
    }

    fn ladders(&self, unit: Unit) -> Vec<Vec<f64>> {
        let within = |figures: Vec<f64>| -> Vec<f64> {
            figures.into_iter().filter(|figure| self.contains(*figure)).collect()
        };
        match self.kind {
            Kind::Linear if unit.is_binary() => {
                let magnitude = 2_f64.powf(self.high.log2().floor());
                let step = |step: f64| (0..=100).map(|index| f64::from(index) * step * magnitude).collect();
                [0.125, 0.25, 0.5, 1.0].map(step).into_iter().map(within).collect()
            }
            Kind::Linear => {
                let magnitude = 10_f64.powf(self.high.log10().floor());
                let step = |step: f64| (0..=100).map(|index| f64::from(index) * step * magnitude).collect();
                [0.1, 0.2, 0.25, 0.5, 1.0, 2.0].map(step).into_iter().map(within).collect()
            }
            Kind::Logarithmic if unit.is_binary() => {
                let powers = |step: usize| (0..=50).step_by(step).map(|power| 2_f64.powi(power)).collect();
                [1, 2, 4].map(powers).into_iter().map(within).collect()
            }
            Kind::Logarithmic => MANTISSAS
                .iter()
                .map(|mantissas| {
                    (-12..=12)
                        .flat_map(|power| mantissas.iter().map(move |mantissa| decimal(*mantissa, power)))
                        .collect()
                })
                .chain([(-4..=4).map(|power| decimal(1.0, 3 * power)).collect()])
                .map(within)
                .collect(),
        }
    }
}

/// Divides where that is exact and multiplying is not: 3 / 1e6 prints as 0.000003.
fn decimal(mantissa: f64, power: i32) -> f64 {
    if power < 0 { mantissa / 10_f64.powi(-power) } else { mantissa * 10_f64.powi(power) }
}

/// From the finest to the coarsest.
const MANTISSAS: [&[f64]; 5] = [
    &[
        1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.7, 1.8, 1.9, 2.0, 2.2, 2.5, 3.0, 3.5, 4.0, 5.0, 6.0, 7.0, 8.0,
        9.0,
    ],
    &[1.0, 1.2, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0],
    &[1.0, 1.5, 2.0, 3.0, 5.0, 7.0],
    &[1.0, 2.0, 5.0],
    &[1.0],
];

/// Room at each end, as a share of the figures' span.
const MARGIN: f64 = 0.05;

/// A logarithmic axis goes at least from a figure to one and a half of it.
const LEAST_SPAN: f64 = 1.5;
