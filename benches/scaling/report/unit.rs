//! What a figure counts, and how it is written: short at ticks and in tables.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    Seconds,
    PerSecond,
    Bytes,
    /// Connections.
    Count,
    /// To the baseline.
    Ratio,
}

impl Unit {
    /// Whether its round figures are powers of two.
    pub fn is_binary(self) -> bool {
        match self {
            Unit::Bytes | Unit::Count => true,
            Unit::Seconds | Unit::PerSecond | Unit::Ratio => false,
        }
    }

    /// At a tick, where figures are round: `50 µs`, `200 k/s`, `1 KiB`, `16 Ki`, `0.9`.
    pub fn tick(self, figure: f64) -> String {
        self.written(figure, |figure| {
            let text = format!("{figure:.2}");
            match text.trim_end_matches('0').trim_end_matches('.') {
                "0" if figure != 0.0 => format!("{figure:.0e}"),
                short => short.to_owned(),
            }
        })
    }

    /// In a table, to three digits: `3.72 µs`, `254 k/s`, `168 B`, `0.953`.
    pub fn figure(self, figure: f64) -> String {
        match self {
            Unit::Ratio => self.written(figure, |figure| format!("{figure:.2}")),
            _ => self.written(figure, three_digits),
        }
    }

    fn written(self, figure: f64, digits: impl Fn(f64) -> String) -> String {
        let (names, step): (&[&str], f64) = match self {
            Unit::Ratio if figure == 0.0 || (0.01..1e5).contains(&figure) => return digits(figure),
            Unit::Ratio => return format!("{figure:.0e}"),
            Unit::Seconds => (&["ns", "µs", "ms", "s"], 1000.0),
            Unit::PerSecond => (&["/s", "k/s", "M/s", "G/s"], 1000.0),
            Unit::Bytes => (&["B", "KiB", "MiB", "GiB", "TiB"], 1024.0),
            Unit::Count => (&["", "Ki", "Mi"], 1024.0),
        };
        let mut scaled = if self == Unit::Seconds { figure * 1e9 } else { figure };
        let mut index = 0;
        // What would round to the next unit is in the next unit.
        while scaled.abs() >= step * 0.9995 && index + 1 < names.len() {
            scaled /= step;
            index += 1;
        }
        let whole = self.is_binary() && index == 0 && scaled.fract() == 0.0;
        let number = if whole { format!("{scaled:.0}") } else { digits(scaled) };
        format!("{number} {}", names[index]).trim_end().to_owned() // the loop stops at the last name
    }
}

fn three_digits(figure: f64) -> String {
    match figure.abs() {
        size if size >= 99.95 => format!("{figure:.0}"),
        size if size >= 9.995 => format!("{figure:.1}"),
        _ => format!("{figure:.2}"),
    }
}
