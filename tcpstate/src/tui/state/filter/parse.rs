//! Reads the filter's language. An error says where.

use std::ops::{Range, RangeInclusive};

use super::term::{Term, Test};
use crate::event::{Cause, State};

/// What is wrong with a filter, and where in the text that is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilterError {
    /// Bytes of the text; both ends are between characters.
    pub at: Range<usize>,
    /// What is wrong with it.
    pub reason: String,
}

/// The words that take a value.
const FIELDS: [&str; 7] = ["port", "state", "pid", "comm", "addr", "cause", "netns"];

/// A word as it was typed.
struct Word {
    at: Range<usize>,
    is_negated: bool,
    /// What stands before the colon; `None`: there is none.
    field: Option<String>,
    value: Value,
}

struct Value {
    at: Range<usize>,
    text: String,
    is_quoted: bool,
}

pub(crate) fn terms(text: &str) -> Result<Vec<Term>, FilterError> {
    words(text)?.iter().map(term).collect()
}

/// Words are separated by blanks; in quotes a blank is part of the word.
fn words(text: &str) -> Result<Vec<Word>, FilterError> {
    let mut words = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start();
        let begin = text.len() - rest.len();
        if rest.is_empty() {
            return Ok(words);
        }
        let is_negated = rest.starts_with('!');
        rest = &rest[usize::from(is_negated)..];
        let field = field(rest).map(str::to_owned);
        rest = &rest[field.as_ref().map_or(0, |field| field.len() + 1)..];
        let value_at = text.len() - rest.len();
        let (value, length, is_quoted) = if let Some(quoted) = rest.strip_prefix('"') {
            let end = quoted.find('"').ok_or_else(|| FilterError {
                at: value_at..text.len(),
                reason: "the quotes are not closed".to_owned(),
            })?;
            (&quoted[..end], end + 2, true)
        } else {
            let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
            (&rest[..end], end, false)
        };
        let value = Value {
            at: value_at..value_at + length,
            text: value.to_owned(),
            is_quoted,
        };
        rest = &rest[length..];
        words.push(Word {
            at: begin..text.len() - rest.len(),
            is_negated,
            field,
            value,
        });
    }
}

/// What stands before a colon, where it looks like the name of a field and not
/// like the beginning of an address.
fn field(rest: &str) -> Option<&str> {
    let (field, _) = rest.split_once(':')?;
    let is_name = field.len() > 1 && field.bytes().all(|byte| byte.is_ascii_alphabetic());
    let is_address = field.len() <= 4 && field.bytes().all(|byte| byte.is_ascii_hexdigit());
    (is_name && !is_address).then_some(field)
}

fn term(word: &Word) -> Result<Term, FilterError> {
    let value = &word.value;
    if value.text.is_empty() {
        let reason = match &word.field {
            Some(field) => format!("`{field}:` needs a value, such as port:8080"),
            None if word.is_negated && !value.is_quoted => "! needs a word after it".to_owned(),
            None => "a word is missing between the quotes".to_owned(),
        };
        let at = word.at.clone();
        return Err(FilterError { at, reason });
    }
    let values: Vec<&str> = if value.is_quoted {
        vec![&value.text]
    } else {
        value.text.split(',').collect()
    };
    let test = |text: &&str| test(word.field.as_deref(), text);
    let tests = values.iter().map(test).collect::<Result<Vec<_>, _>>();
    let tests = tests.map_err(|reason| match &word.field {
        Some(field) if !is_field(field) => FilterError {
            at: word.at.clone(),
            reason,
        },
        _ => FilterError {
            at: value.at.clone(),
            reason,
        },
    })?;
    Ok(Term {
        is_negated: word.is_negated,
        tests,
    })
}

fn is_field(field: &str) -> bool {
    FIELDS.iter().any(|known| known.eq_ignore_ascii_case(field))
}

fn test(field: Option<&str>, value: &str) -> Result<Test, String> {
    let Some(field) = field else {
        return Ok(Test::Text(value.to_lowercase()));
    };
    if value.is_empty() {
        return Err("a value is missing beside the comma".to_owned());
    }
    let lower = value.to_lowercase();
    match field.to_ascii_lowercase().as_str() {
        "port" => range(value)
            .map(Test::Port)
            .ok_or_else(|| "a port is a number from 0 to 65535, a range is 8000-8100".to_owned()),
        "pid" => range(value)
            .map(Test::Pid)
            .ok_or_else(|| "a process id is a number".to_owned()),
        "netns" => range(value)
            .map(Test::Netns)
            .ok_or_else(|| "a network namespace is its inode number".to_owned()),
        "state" => state(&lower),
        "cause" => cause(&lower),
        "comm" => Ok(Test::Comm(lower)),
        "addr" => Ok(Test::Addr(lower)),
        _ => Err(format!(
            "there is no `{field}:`; there are {}, and \"quotes\" for plain text",
            FIELDS.map(|field| format!("{field}:")).join(" ")
        )),
    }
}

fn range<N: std::str::FromStr + PartialOrd + Copy>(value: &str) -> Option<RangeInclusive<N>> {
    let (first, last) = value.split_once('-').unwrap_or((value, value));
    let (first, last) = (first.parse().ok()?, last.parse().ok()?);
    (first <= last).then_some(first..=last)
}

fn state(value: &str) -> Result<Test, String> {
    let prefix = value.replace('-', "_");
    let names = State::ALL.map(State::name);
    if names.iter().any(|name| name.starts_with(&prefix)) {
        Ok(Test::State(prefix))
    } else {
        Err(format!(
            "no state begins like this; there are {}",
            names.join(" ")
        ))
    }
}

fn cause(value: &str) -> Result<Test, String> {
    let prefix = value.replace('-', "_");
    if Cause::ALL
        .iter()
        .any(|cause| cause.name().starts_with(&prefix))
    {
        Ok(Test::Cause(prefix))
    } else {
        Err("no cause begins like this, as closing or active_listener do".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_points_at_the_place() {
        for (text, wrong, told) in [
            ("nginx port:http", "http", "a port is a number"),
            ("port:70000", "70000", "a port is a number"),
            ("port:9-8", "9-8", "a range is"),
            ("port: x", "port:", "needs a value"),
            ("a !", "!", "needs a word"),
            ("!pid:x y", "x", "a process id"),
            ("state:open", "open", "no state begins"),
            ("cause:bad", "bad", "no cause begins"),
            ("netns:self", "self", "inode number"),
            ("x prt:80 y", "prt:80", "there is no `prt:`"),
            ("é \"ab", "\"ab", "not closed"),
            ("!\"\"", "!\"\"", "is missing"),
            ("port:80,", "80,", "missing beside"),
        ] {
            let error = terms(text).expect_err(text);

            assert_eq!(&text[error.at.clone()], wrong, "{text}");
            assert!(error.reason.contains(told), "{text}: {}", error.reason);
        }
    }

    #[test]
    fn an_address_is_no_field() {
        for text in [
            "::1",
            "fe80::1",
            "[::1]:80",
            "10.0.0.1:80",
            "dead:beef",
            "a:b",
            "\"x:y\"",
        ] {
            let terms = terms(text).expect(text);
            let plain = text.trim_matches('"').to_owned();
            assert_eq!(terms[0].tests, [Test::Text(plain)], "{text}");
        }
    }

    #[test]
    fn no_text_makes_it_panic() {
        let pieces = [
            "!", "\"", ":", "port:", "é", " ", "-", ",", "80", "服", "\u{301}", "state:",
        ];
        let mut at = 0_usize;
        for _ in 0..5_000 {
            let mut text = String::new();
            for _ in 0..at % 7 {
                at = at
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695);
                text.push_str(pieces[(at >> 33) % pieces.len()]);
            }
            at = at.wrapping_add(1);
            if let Err(wrong) = terms(&text) {
                assert!(text.get(wrong.at.clone()).is_some(), "{text:?} {wrong:?}");
            }
        }
    }
}
