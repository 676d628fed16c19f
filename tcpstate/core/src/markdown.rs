//! Strings of strangers in Markdown: as text and as code, never as markup.
//!
//! Pure.

/// The text with everything that Markdown or HTML could take for markup escaped.
/// `TIME_WAIT` and `nginx[4711]` stay readable: neither can be markup.
#[must_use]
pub fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len() + 8);
    let mut before = None;
    let mut is_number_so_far = true;
    for (at, character) in text.char_indices() {
        let rest = text.get(at + character.len_utf8()..).unwrap_or_default();
        let after = rest.chars().next();
        let is_markup = match character {
            '\\' | '`' | '*' | '<' | '>' | '#' | '|' | '~' | '&' | '$' => true,
            '_' => !(is_word(before) && is_word(after)),
            '[' => !(is_word(before) && is_number_in_brackets(rest)),
            ']' => matches!(after, Some('(' | '[' | ':')),
            // A list, a rule or a heading begins with these.
            '-' | '+' | '=' => before.is_none(),
            '.' | ')' => before.is_some() && is_number_so_far,
            _ => false,
        };
        if is_markup {
            safe.push('\\');
        }
        is_number_so_far = is_number_so_far && character.is_ascii_digit();
        before = Some(character);
        safe.push(character);
    }
    safe
}

fn is_word(character: Option<char>) -> bool {
    character.is_some_and(char::is_alphanumeric)
}

/// Whether a bracket that has been opened holds a process id, and no link follows.
fn is_number_in_brackets(rest: &str) -> bool {
    let after = rest.trim_start_matches(|character: char| character.is_ascii_digit());
    after.len() < rest.len()
        && after
            .strip_prefix(']')
            .is_some_and(|after| !after.starts_with(['(', '[', ':']))
}

/// The text as a code span, which also a table takes.
#[must_use]
pub(crate) fn code(text: &str) -> String {
    let mut longest = 0;
    let mut run = 0;
    for character in text.chars() {
        run = if character == '`' { run + 1 } else { 0 };
        longest = longest.max(run);
    }
    let fence = "`".repeat(longest + 1);
    let pad = if longest > 0 { " " } else { "" };
    format!("{fence}{pad}{}{pad}{fence}", text.replace('|', "\\|"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_strangers_becomes_markup() {
        assert_eq!(
            escape("<script>alert(`1`)</script> | **bold** _it_ &amp; [a](b)"),
            "\\<script\\>alert(\\`1\\`)\\</script\\> \\| \\*\\*bold\\*\\* \\_it\\_ \\&amp; \\[a\\](b)"
        );
        assert_eq!(
            escape("x[1](http://y) a[1]: b"),
            "x\\[1\\](http://y) a\\[1\\]: b"
        );
        assert_eq!(escape("_a_ b__c"), "\\_a\\_ b\\_\\_c");
        assert_eq!(escape("1. list"), "1\\. list");
        assert_eq!(escape("- list"), "\\- list");
        for plain in ["nginx-1.2 went.", "TIME_WAIT of nginx[4711].", "2026-11-18"] {
            assert_eq!(escape(plain), plain);
        }
    }

    #[test]
    fn a_code_span_cannot_be_left() {
        assert_eq!(code("plain"), "`plain`");
        assert_eq!(code("a`b``c|d"), "``` a`b``c\\|d ```");
    }
}
