//! What the restarts of a server were like, as JSON, as a table, and as Markdown for a pull
//! request.

mod text;

use std::fmt::Write as _;

use schemars::JsonSchema;
use serde::Serialize;

use crate::event::{RestartOutcome, RestartRound, RestartTest};
use crate::markdown::{code, escape};
use crate::printable::printable;

pub use text::text;

/// The answer with the name that distinguishes it from the events of a stream.
#[derive(Serialize, JsonSchema)]
#[serde(tag = "event", rename_all = "snake_case")]
#[schemars(title = "tcpstate restart-test, schema 1")]
pub(super) enum Tested<'a> {
    /// What each restart was like, and the verdict.
    RestartTest(&'a RestartTest),
}

/// One JSON object, without a line end.
///
/// # Errors
///
/// Never for answers of this program: they hold no map with odd keys.
pub fn json(test: &RestartTest) -> serde_json::Result<String> {
    serde_json::to_string(&Tested::RestartTest(test))
}

/// Markdown with GitHub's tables. Names that a process chose never become markup.
#[must_use]
pub fn markdown(test: &RestartTest) -> String {
    let mut out = format!("### Restarts on port {}\n\n", test.port);
    let _ = writeln!(out, "**{}**\n", escape(&printable(&sentence(test))));
    let _ = writeln!(
        out,
        "| way | restarts | downtime | refused | reset | failed binds | why |\n\
         | --- | --- | ---: | ---: | ---: | ---: | --- |"
    );
    for round in &test.rounds {
        let why = round.diagnosis.as_ref().map_or_else(
            || escape(&printable(&round.notes.join("; "))),
            |diagnosis| code(diagnosis.cause.name()),
        );
        let _ = writeln!(
            out,
            "| {} | {} | {} | {} | {} | {} | {why} |",
            escape(&label(test, round)),
            says(round.outcome),
            downtime(round),
            round.refused,
            round.reset,
            failed_binds(round),
        );
    }
    for skipped in &test.skipped {
        let why = escape(&printable(&skipped.why));
        let _ = writeln!(
            out,
            "| {} | not tried | | | | | {why} |",
            escape(skipped.way.name())
        );
    }
    for reason in reasons(test) {
        let text = escape(&printable(&reason.text));
        let _ = writeln!(out, "\n{}: {text}", escape(&reason.rounds));
    }
    for fix in &test.fixes {
        let _ = writeln!(out, "\n**Fix:** {}", escape(&printable(&fix.text)));
        if let (Some(line), Some(language)) = (&fix.command, &fix.language) {
            let (language, line) = (printable(language), printable(line));
            let _ = writeln!(out, "\n{}: {}", escape(&language), code(&line));
        }
    }
    for note in &test.notes {
        let _ = writeln!(out, "\n{}", escape(&printable(note)));
    }
    out
}

/// The verdict in one sentence.
#[must_use]
pub fn sentence(test: &RestartTest) -> String {
    let ways = |outcome| {
        let mut ways: Vec<&str> = Vec::new();
        for round in &test.rounds {
            if round.outcome == outcome && !ways.contains(&round.way.name()) {
                ways.push(round.way.name());
            }
        }
        ways.join(", ")
    };
    match test.verdict {
        RestartOutcome::AtOnce => "it restarts at once in every way that was tried".to_owned(),
        RestartOutcome::Waits => format!(
            "it restarts by itself, but not at once: {}",
            ways(RestartOutcome::Waits)
        ),
        RestartOutcome::Fails => {
            format!("it does not restart: {}", ways(RestartOutcome::Fails))
        }
        RestartOutcome::Unknown if test.rounds.is_empty() => {
            "whether it restarts could not be told: there was no restart".to_owned()
        }
        RestartOutcome::Unknown => match ways(RestartOutcome::Unknown) {
            ways if ways.is_empty() => {
                "whether it restarts could not be told: not every way was tried".to_owned()
            }
            ways => format!("whether it restarts could not be told: {ways}"),
        },
    }
}

/// Why rounds came out as they did, those alike together.
struct Reason {
    rounds: String,
    text: String,
    what: &'static str,
}

fn reasons(test: &RestartTest) -> Vec<Reason> {
    let mut reasons: Vec<Reason> = Vec::new();
    for round in &test.rounds {
        let label = label(test, round);
        let mut texts: Vec<(&'static str, String)> = Vec::new();
        if let Some(diagnosis) = &round.diagnosis {
            let text = format!("{} [{}]", diagnosis.summary, diagnosis.cause.name());
            texts.push((diagnosis.cause.name(), text));
        }
        texts.extend(round.notes.iter().map(|note| ("", note.clone())));
        if !round.leftover.is_empty() {
            let names = round.leftover.iter();
            let names: Vec<_> = names.map(|it| format!("{}[{}]", it.comm, it.pid)).collect();
            texts.push((
                "left over",
                format!("still there after it was stopped: {}", names.join(", ")),
            ));
        }
        for (what, text) in texts {
            // Of the same cause the first one is given: others differ in pids and times.
            let known = reasons
                .iter_mut()
                .find(|known| known.text == text || (!what.is_empty() && known.what == what));
            match known {
                Some(known) => {
                    known.rounds.push_str(", ");
                    known.rounds.push_str(&label);
                }
                None => reasons.push(Reason {
                    rounds: label.clone(),
                    text,
                    what,
                }),
            }
        }
    }
    reasons
}

/// `idle`, or `idle 2` where each way is tried several times.
fn label(test: &RestartTest, round: &RestartRound) -> String {
    if test.rounds.iter().any(|round| round.number > 1) {
        format!("{} {}", round.way.name(), round.number)
    } else {
        round.way.name().to_owned()
    }
}

/// In a word or two.
#[must_use]
pub fn says(outcome: RestartOutcome) -> &'static str {
    match outcome {
        RestartOutcome::AtOnce => "at once",
        RestartOutcome::Waits => "waits",
        RestartOutcome::Fails => "fails",
        RestartOutcome::Unknown => "unknown",
    }
}

fn failed_binds(round: &RestartRound) -> String {
    round
        .failed_binds
        .map_or_else(|| "-".to_owned(), |count| count.to_string())
}

/// For how long the port was down; `-`: it did not come up again.
#[must_use]
pub fn downtime(round: &RestartRound) -> String {
    match round.downtime_ms {
        Some(ms) if ms < 10_000 => format!("{ms} ms"),
        Some(ms) => super::describe::seconds(ms),
        None => "-".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Applies, Fix, LeftProcess, SkippedWay, Way};

    fn test() -> RestartTest {
        let mut late = RestartRound::new(Way::Sigkill, 1, RestartOutcome::Waits);
        late.downtime_ms = Some(12_340);
        late.refused = 2_400;
        late.failed_binds = Some(0);
        late.leftover = vec![LeftProcess {
            pid: 7,
            comm: "\u{1b}[2Jworker|x".to_owned(),
        }];
        let mut fine = RestartRound::new(Way::Idle, 1, RestartOutcome::AtOnce);
        fine.downtime_ms = Some(42);
        fine.failed_binds = Some(0);
        RestartTest {
            port: 8080,
            private: true,
            rounds: vec![fine, late],
            skipped: vec![SkippedWay {
                way: Way::ChildLeft,
                why: "the server has one process only, so that nobody can be left".to_owned(),
            }],
            verdict: RestartOutcome::Waits,
            fixes: vec![Fix {
                id: "set_reuseaddr".into(),
                text: "Set SO_REUSEADDR".to_owned(),
                command: Some("s.setsockopt(1)".to_owned()),
                language: Some("python".into()),
                effect: None,
                applies: Applies::Now,
                why: None,
            }],
            notes: Vec::new(),
        }
    }

    #[test]
    fn the_table_fits_a_narrow_terminal_and_no_name_steers_it() {
        assert_eq!(
            text(&test()),
            "\
port 8080, in network namespaces of its own

  way                      restarts  downtime  refused  reset failed binds
  idle                     at once      42 ms        0      0            0
  sigkill                  waits       12.3 s     2400      0            0
  child_left               not tried: the server has one process only, so that
      nobody can be left

  sigkill: still there after it was stopped: \\u{1b}[2Jworker|x[7]
  fix Set SO_REUSEADDR
      python: s.setsockopt(1)
waits: it restarts by itself, but not at once: sigkill
"
        );
    }

    #[test]
    fn in_markdown_a_name_is_no_markup() {
        let markdown = markdown(&test());

        assert!(markdown.contains("| sigkill | waits | 12.3 s | 2400 | 0 | 0 |  |"));
        assert!(markdown.contains("\\|x[7]"), "{markdown}");
        assert!(markdown.contains("| child_left | not tried | | | | | the server"));
        assert!(markdown.contains("**Fix:** Set SO_REUSEADDR\n\npython: `s.setsockopt(1)`"));
    }

    #[test]
    fn the_json_has_every_field_that_others_rely_on() {
        let mut test = test();
        test.rounds.truncate(1);
        test.skipped.clear();
        test.fixes.clear();

        assert_eq!(
            json(&test).unwrap(),
            r#"{"event":"restart_test","port":8080,"private":true,"rounds":[{"way":"idle","number":1,"at_once":true,"outcome":"at_once","downtime_ms":42,"refused":0,"reset":0,"failed_binds":0}],"verdict":"waits","fixes":[]}"#
        );
    }
}
