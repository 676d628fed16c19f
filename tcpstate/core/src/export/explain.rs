//! The answer of `explain` and `wait`, as JSON and as text.

use std::fmt::Write as _;

use schemars::JsonSchema;
use serde::Serialize;

use super::describe::{connection, fix_lines, name, seconds};
use crate::event::{Cause, Explanation, ForeignNetns, Holder, Reuse, YesNo};
use crate::identity::identity;
use crate::printable::printable;

/// The answer with the name that distinguishes it from the events of a stream.
#[derive(Serialize, JsonSchema)]
#[serde(tag = "event", rename_all = "snake_case")]
#[schemars(title = "tcpstate explain, schema 1")]
pub(super) enum Answer<'a> {
    /// Would a bind, and then a listen, succeed?
    Explain(&'a Explanation),
}

/// One JSON object, without a line end.
///
/// # Errors
///
/// Never for answers of this program: they hold no map with odd keys.
pub fn json(answer: &Explanation) -> serde_json::Result<String> {
    serde_json::to_string(&Answer::Explain(answer))
}

/// Sockets of each kind that are listed one by one.
const SHOWN: usize = 8;

/// First the sentence, then what it rests on, then what to do; `netns`: what was
/// asked about, where it is another namespace than the asker's.
#[must_use]
pub fn text(answer: &Explanation, netns: Option<ForeignNetns<'_>>) -> String {
    let mut text = String::new();
    let _ = write!(text, "{}", printable(&answer.summary));
    if let Some(cause) = answer.cause.filter(|cause| *cause != Cause::Unknown) {
        let _ = write!(text, "  [{}]", cause.name());
    }
    let _ = writeln!(
        text,
        "\n  bind       {}\n  listen     {}",
        verdict(answer.would_bind),
        verdict(answer.would_listen)
    );
    if let Some(netns) = netns {
        let _ = writeln!(text, "  where      in {}", printable(&netns.to_string()));
    }
    if let Some(tried) = &answer.tried {
        let outcome = match &tried.errno_name {
            _ if tried.ok => "it succeeded, and the port was given back",
            Some(errno) => &printable(errno),
            None => "it failed",
        };
        let _ = writeln!(text, "  tried      {outcome}");
    }
    list(&mut text, "held by", &answer.holders);
    list(&mut text, "also there", &answer.others);
    if let Some(ms) = answer.clears_ms {
        let _ = writeln!(text, "  free in    about {}", seconds(ms));
    }
    if answer.would_listen != YesNo::Yes {
        let would = &answer.would_work;
        let _ = writeln!(
            text,
            "  if it set  SO_REUSEADDR: {}, SO_REUSEPORT: {}, IPV6_V6ONLY: {}",
            word(would.reuseaddr),
            word(would.reuseport),
            word(would.v6only)
        );
    }
    for hazard in &answer.hazards {
        let _ = writeln!(text, "  {:10} {}", "beware", printable(&hazard.text));
    }
    for (label, line) in answer.fixes.iter().flat_map(fix_lines) {
        let _ = writeln!(text, "  {label:10} {line}");
    }
    for missing in &answer.missing {
        let _ = writeln!(text, "  not seen   {}", printable(missing));
    }
    if let Some(ms) = answer.waited_ms {
        let _ = writeln!(text, "  waited     {}", seconds(ms));
    }
    text
}

fn verdict(answer: YesNo) -> &'static str {
    match answer {
        YesNo::Yes => "would succeed",
        YesNo::No => "would fail",
        YesNo::Unknown => "cannot tell",
    }
}

fn word(answer: YesNo) -> &'static str {
    match answer {
        YesNo::Yes => "works",
        YesNo::No => "no",
        YesNo::Unknown => "cannot tell",
    }
}

fn list(text: &mut String, label: &str, holders: &[Holder]) {
    for holder in holders.iter().take(SHOWN) {
        let _ = write!(
            text,
            "  {label:10} {}  {}",
            connection(holder.local, holder.peer),
            holder.state
        );
        if let Some(options) = holder.reuse.map(options) {
            let _ = write!(text, "  {options}");
        }
        if holder.alike > 0 {
            let _ = write!(text, "  and {} like it", holder.alike);
        }
        let people = holder
            .processes
            .iter()
            .flatten()
            .map(|process| name(process));
        let people: Vec<String> = people.collect();
        if !people.is_empty() {
            let _ = write!(text, "  open in {}", people.join(", "));
        }
        if holder.processes_more > 0 {
            let _ = write!(text, " and {} more", holder.processes_more);
        }
        if let Some(ms) = holder.expires_ms {
            let _ = write!(text, "  {} left", seconds(ms));
        }
        let known = holder.processes.as_deref().and_then(<[_]>::first);
        if let Some(identity) = known.and_then(|process| identity(process)) {
            let _ = write!(text, "\n  {:10} {identity}", "");
        }
        text.push('\n');
    }
    if holders.len() > SHOWN {
        let _ = writeln!(text, "  and        {} more", holders.len() - SHOWN);
    }
}

fn options(reuse: Reuse) -> String {
    let set = reuse.names();
    if set.is_empty() {
        "no SO_REUSEADDR".to_owned()
    } else {
        set.join(" ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnosis::test_support::Fixture;
    use crate::event::{Requested, WouldWork};

    fn answer() -> Explanation {
        let diagnosis = Fixture::bind("0.0.0.0", 8080).diagnose();
        Explanation {
            requested: Requested {
                addr: None,
                port: 8080,
            },
            reuse: Reuse::default(),
            netns: 4_026_532_177,
            uid: 0,
            would_bind: YesNo::No,
            would_listen: YesNo::No,
            cause: Some(diagnosis.cause),
            summary: diagnosis.summary,
            holders: diagnosis.holders,
            others: Vec::new(),
            clears_ms: None,
            would_work: WouldWork {
                reuseaddr: YesNo::No,
                reuseport: YesNo::No,
                v6only: YesNo::No,
            },
            fixes: diagnosis.fixes,
            hazards: Vec::new(),
            certainty: diagnosis.certainty,
            missing: Vec::new(),
            tried: None,
            waited_ms: None,
        }
    }

    #[test]
    fn an_answer_about_another_namespace_names_it() {
        let answer = answer();
        let named = |name| {
            let netns = ForeignNetns::of(answer.netns, name, Some(1));
            text(&answer, netns)
        };

        assert!(named(None).contains("  where      in netns 4026532177\n"));
        let hostile = named(Some("a\x1b[2J"));
        assert!(hostile.contains("  where      in netns a\\u{1b}[2J\n"));
        assert!(!text(&answer, None).contains("netns"));
    }
}
