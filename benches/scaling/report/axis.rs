//! A logarithmic axis with round ticks.

use plotters::coord::combinators::{BindKeyPoints, IntoLogRange, LogCoord, WithKeyPoints};

use super::unit::Unit;

#[derive(Clone, Copy)]
pub struct Axis {
    low: f64,
    high: f64,
}

impl Axis {
    /// Spans the figures with a margin. `None` if no figure is above zero.
    pub fn spanning(figures: impl Iterator<Item = f64>) -> Option<Axis> {
        let (low, high) = figures
            .filter(|figure| figure.is_finite() && *figure > 0.0)
            .fold((f64::INFINITY, 0.0_f64), |(low, high), figure| (low.min(figure), high.max(figure)));
        // Figures that hardly differ must not look as if they did.
        let margin = (high / low).powf(MARGIN).max((MIN_SPAN * low / high).sqrt());
        (high > 0.0).then_some(Axis { low: low / margin, high: high * margin })
    }

    pub fn coordinate(&self, ticks: &[f64]) -> WithKeyPoints<LogCoord<f64>> {
        (self.low..self.high).log_scale().with_key_points(ticks.to_vec())
    }

    /// The figure, or the end of the axis that is nearer to it.
    pub fn clamp(&self, figure: f64) -> f64 {
        figure.clamp(self.low, self.high)
    }

    /// Round figures, ascending: of the ladders with at most `max` rungs the finest.
    pub fn ticks(&self, unit: Unit, max: usize) -> Vec<f64> {
        let ladder = |(base, step, mantissas): &(f64, i32, &[f64])| -> Vec<f64> {
            let powers = (-60..=60).filter(|power| power % step == 0);
            let rungs = powers
                .flat_map(|power| mantissas.iter().map(move |mantissa| mantissa * f64::powi(*base, power)));
            rungs.filter(|rung| (self.low..=self.high).contains(rung)).collect()
        };
        let ladders = if unit.is_binary() { BINARY } else { DECIMAL };
        ladders.iter().map(ladder).find(|rungs| rungs.len() <= max).unwrap_or_default()
    }
}

/// Base, step of the powers, and mantissas, from the finest ladder to the coarsest.
const DECIMAL: &[(f64, i32, &[f64])] = &[
    (
        10.0,
        1,
        &[1.0, 1.1, 1.2, 1.3, 1.4, 1.6, 1.8, 2.0, 2.2, 2.5, 3.0, 3.5, 4.0, 4.5, 5.0, 5.5, 6.0, 7.0, 8.0, 9.0],
    ),
    (10.0, 1, &[1.0, 1.2, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0]),
    (10.0, 1, &[1.0, 1.5, 2.0, 3.0, 5.0, 7.0]),
    (10.0, 1, &[1.0, 2.0, 5.0]),
    (10.0, 1, &[1.0]),
    (10.0, 3, &[1.0]),
];

const BINARY: &[(f64, i32, &[f64])] =
    &[(2.0, 1, &[1.0, 1.25, 1.5, 1.75]), (2.0, 1, &[1.0]), (2.0, 2, &[1.0]), (2.0, 4, &[1.0])];

/// Room at each end, as a share of the figures' span.
const MARGIN: f64 = 0.05;

/// The ratio of the ends of an axis is at least this.
const MIN_SPAN: f64 = 1.5;
