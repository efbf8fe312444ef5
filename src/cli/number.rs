//! Numbers on the command line.

use std::ops::RangeInclusive;

/// Returns a parser of whole numbers in a range.
pub(super) fn whole<N: TryFrom<u64>>(
    range: RangeInclusive<u64>,
) -> impl Fn(&str) -> Result<N, String> + Clone {
    move |text| {
        check(text)?;
        if !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err("it has to be a whole number".into());
        }
        let number = text.parse().ok().filter(|number| range.contains(number));
        number.and_then(|number| N::try_from(number).ok()).ok_or_else(|| match range.end() {
            &u64::MAX => format!("it has to be at least {}", range.start()),
            end => format!("it has to be a number from {} to {end}", range.start()),
        })
    }
}

/// Returns a parser of decimal numbers in a range.
pub(super) fn decimal(range: RangeInclusive<f64>) -> impl Fn(&str) -> Result<f64, String> + Clone {
    move |text| {
        check(text)?;
        let number = text.parse().ok().filter(|number| range.contains(number));
        number.ok_or_else(|| format!("it has to be a number from {} to {}", range.start(), range.end()))
    }
}

/// Checks for errors common to all numbers.
fn check(text: &str) -> Result<(), String> {
    match text {
        "" => Err("it is empty".into()),
        // clap takes a following option for the value, because negative numbers are allowed as
        // values.
        text if text.starts_with("--") => Err("the number is missing".into()),
        text if text.strip_prefix('-').is_some_and(|rest| rest.parse::<f64>().is_ok()) => {
            Err(format!("the number {text} is negative"))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_read_or_what_is_wrong_is_said() {
        let count = whole::<u16>(1..=1024);
        assert_eq!((count("1"), count("1024")), (Ok(1), Ok(1024)));
        for (text, why) in [
            ("", "it is empty"),
            ("0", "it has to be a number from 1 to 1024"),
            ("1025", "it has to be a number from 1 to 1024"),
            ("99999999999999999999999", "it has to be a number from 1 to 1024"),
            ("-5", "the number -5 is negative"),
            ("-0.5", "the number -0.5 is negative"),
            ("--json", "the number is missing"),
            ("1.5", "it has to be a whole number"),
            ("+1", "it has to be a whole number"),
            ("-x", "it has to be a whole number"),
        ] {
            assert_eq!(count(text), Err(why.into()), "{text}");
        }
        assert_eq!(whole::<u32>(1..=u64::MAX)("0"), Err("it has to be at least 1".into()));
        let factor = decimal(1.0..=100.0);
        assert_eq!(factor("1.5"), Ok(1.5));
        assert_eq!(factor("-1"), Err("the number -1 is negative".into()));
        assert_eq!(factor("NaN"), Err("it has to be a number from 1 to 100".into()));
    }
}
