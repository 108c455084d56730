//! Makes text safe and measurable for a terminal: control and bidirectional characters become visible escapes, width
//! is counted in columns. Must not know what the text means.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// The same text with every character that a terminal would obey, reorder or hide shown as an escape. A tab becomes
/// spaces; a line feed is escaped too, so callers split lines first.
pub fn visible(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '\t' => out.push_str("    "),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\u{1b}' => out.push_str("\\e"),
            hidden if is_hidden(hidden) => out.push_str(&format!("\\u{{{:x}}}", u32::from(hidden))),
            shown => out.push(shown),
        }
    }
    out
}

/// Control characters (C0, C1), the bidirectional controls of UAX #9, and characters that show nothing.
fn is_hidden(char: char) -> bool {
    char.is_control()
        || matches!(char,
            '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// Columns that `text` takes.
pub fn width(text: &str) -> usize {
    text.width()
}

/// At most `columns` columns of `text`; what is cut off is marked by an ellipsis.
pub fn clip(text: &str, columns: usize) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    let mut out = String::new();
    let mut used = 0;
    for char in text.chars() {
        let wide = char.width().unwrap_or(0);
        if used + wide + 1 > columns {
            break;
        }
        used += wide;
        out.push(char);
    }
    if columns > 0 {
        out.push('…');
    }
    out
}

/// The last `columns` columns of `text`, where it is being typed; what is cut off is marked by an ellipsis.
pub fn clip_start(text: &str, columns: usize) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    let mut kept = Vec::new();
    let mut used = 1;
    for char in text.chars().rev() {
        let wide = char.width().unwrap_or(0);
        if used + wide > columns {
            break;
        }
        used += wide;
        kept.push(char);
    }
    std::iter::once('…').chain(kept.into_iter().rev()).collect()
}

/// Exactly `columns` columns: clipped or filled up with spaces.
pub fn fit(text: &str, columns: usize) -> String {
    let mut out = clip(text, columns);
    let missing = columns.saturating_sub(width(&out));
    out.extend(std::iter::repeat_n(' ', missing));
    out
}

/// Lines of at most `columns` columns, broken at spaces where there are some.
pub fn wrap(text: &str, columns: usize) -> Vec<String> {
    let columns = columns.max(1);
    let mut lines = Vec::new();
    let mut line = String::new();
    for word in text.split_inclusive(' ') {
        if width(&line) + width(word.trim_end()) > columns && !line.is_empty() {
            lines.push(line.trim_end().to_owned());
            line.clear();
        }
        for char in word.chars() {
            if width(&line) + char.width().unwrap_or(0) > columns {
                // A space at a full line's end would only indent the next one.
                if char == ' ' && !line.is_empty() {
                    continue;
                }
                lines.push(line.trim_end().to_owned());
                line.clear();
            }
            line.push(char);
        }
    }
    lines.push(line.trim_end().to_owned());
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_obeys_nothing_that_was_made_visible() {
        assert_eq!(visible("\u{1b}[2Jx\u{7}\u{9b}31m"), "\\e[2Jx\\u{7}\\u{9b}31m");
        assert_eq!(visible("prod\u{202e}txt\u{200b}"), "prod\\u{202e}txt\\u{200b}");
        assert_eq!(visible("maçã 日本"), "maçã 日本");
    }

    #[test]
    fn columns_are_counted_not_characters() {
        assert_eq!(fit("日本語", 5), "日本…");
        assert_eq!(width(&fit("e\u{301}a", 4)), 4);
        assert_eq!(clip("abc", 3), "abc");
        assert_eq!(clip("abcd", 3), "ab…");
        assert_eq!(clip("abc", 0), "");
        assert_eq!(clip_start("abc", 3), "abc");
        assert_eq!(clip_start("abcd", 3), "…cd");
        assert_eq!(clip_start("日本語", 5), "…本語");
    }

    #[test]
    fn wrapping_loses_no_word_and_keeps_the_width() {
        let text = "UPDATE orders SET frozen = 1 WHERE averyveryverylongidentifier = 2";
        for columns in 1..40 {
            let lines = wrap(text, columns);
            assert!(lines.iter().all(|line| width(line) <= columns), "{columns}: {lines:?}");
            let joined: String = lines.concat();
            assert_eq!(joined.replace(' ', ""), text.replace(' ', ""));
        }
        assert_eq!(wrap("", 10), [""]);
        assert_eq!(wrap("ab cd ef", 5), ["ab cd", "ef"]);
    }
}
