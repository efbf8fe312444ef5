//! Units of figures, and figures as text.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    Seconds,
    PerSecond,
    Bytes,
    /// Of connections.
    Count,
    Ratio,
}

impl Unit {
    /// Its round figures are powers of two.
    pub fn is_binary(self) -> bool {
        matches!(self, Unit::Bytes | Unit::Count)
    }

    /// With three digits, as in a table: `3.72 µs`, `254 k/s`, `168 B`, `0.95`.
    pub fn figure(self, figure: f64) -> String {
        let (names, step): (&[&str], f64) = match self {
            Unit::Ratio => (&[""], f64::INFINITY),
            Unit::Seconds => (&["ns", "µs", "ms", "s"], 1000.0),
            Unit::PerSecond => (&["/s", "k/s", "M/s", "G/s"], 1000.0),
            Unit::Bytes => (&["B", "KiB", "MiB", "GiB", "TiB"], 1024.0),
            Unit::Count => (&["", "Ki", "Mi"], 1024.0),
        };
        let mut scaled = if self == Unit::Seconds { figure * 1e9 } else { figure };
        let mut index = 0;
        // A figure that would round to the next unit has the next unit.
        while scaled.abs() >= step * 0.9995 && index + 1 < names.len() {
            scaled /= step;
            index += 1;
        }
        let digits = match scaled.abs() {
            _ if self.is_binary() && index == 0 && scaled.fract() == 0.0 => 0,
            _ if self == Unit::Ratio => 2,
            size if size >= 99.95 => 0,
            size if size >= 9.995 => 1,
            _ => 2,
        };
        format!("{scaled:.digits$} {}", names[index]).trim_end().to_owned() // the loop stops at the last name
    }

    /// A round figure, as at a tick: `50 µs`, `200 k/s`, `1 KiB`, `16 Ki`, `0.9`.
    pub fn tick(self, figure: f64) -> String {
        let text = self.figure(figure);
        let (number, name) = text.split_once(' ').unwrap_or((&text, ""));
        let short =
            if number.contains('.') { number.trim_end_matches('0').trim_end_matches('.') } else { number };
        format!("{short} {name}").trim_end().to_owned()
    }
}
