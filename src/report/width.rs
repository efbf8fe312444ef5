//! Text that fits into a number of terminal columns.

use crate::escape::units;
use unicode_width::UnicodeWidthStr;

/// Returns the text, cut with an ellipsis if it is wider than `width` columns. Escaped text is
/// never cut within an escape.
pub(crate) fn fit(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut used = 0;
    let mut cut: String = units(text)
        .take_while(|unit| {
            used += unit.width();
            used < width
        })
        .collect();
    if width > 0 {
        cut.push('…');
    }
    cut
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_cut_to_columns_and_not_to_characters() {
        assert_eq!(fit("abcdef", 6), "abcdef");
        assert_eq!(fit("abcdef", 4), "abc…");
        assert_eq!(fit("日本語", 5), "日本…");
        assert_eq!(fit("日本語", 4), "日…");
        let escaped = r"ab\u{1b}cd";
        assert_eq!((fit(escaped, 9).as_str(), fit(escaped, 8).as_str()), (r"ab\u{1b}…", "ab…"));
        assert_eq!((fit("abc", 1).as_str(), fit("abc", 0).as_str()), ("…", ""));
    }
}
