//! What `release` plans and what came of it, as JSON and as text.

use std::fmt::Write as _;

use schemars::JsonSchema;
use serde::Serialize;

use super::describe::seconds;
use crate::event::{DoneStep, Refusal, Release, ReleaseStep};
use crate::printable::printable;

/// The answer with the name that distinguishes it from the events of a stream.
#[derive(Serialize, JsonSchema)]
#[serde(tag = "event", rename_all = "snake_case")]
#[schemars(title = "tcpstate release, schema 1")]
pub(super) enum Released<'a> {
    /// What was planned, what was done, and whether the port is free.
    Release(&'a Release),
}

/// One JSON object, without a line end.
///
/// # Errors
///
/// Never for answers of this program: they hold no map with odd keys.
pub fn json(answer: &Release) -> serde_json::Result<String> {
    serde_json::to_string(&Released::Release(answer))
}

/// The steps with what each loses, and who is left alone.
#[must_use]
pub fn plan(steps: &[ReleaseStep], refusals: &[Refusal]) -> String {
    let mut text = String::new();
    for (at, step) in steps.iter().enumerate() {
        let label = format!("step {}", at + 1);
        let _ = writeln!(text, "  {label:10} {}", printable(&step.text));
        if let Some(loses) = &step.loses {
            let _ = writeln!(text, "             loses {}", printable(loses));
        }
        if let Some(command) = &step.command {
            let _ = writeln!(text, "             $ {}", printable(command));
        }
    }
    for refusal in refusals {
        let _ = writeln!(
            text,
            "  left alone {}: {}",
            printable(&refusal.target),
            printable(&refusal.text)
        );
        if let Some(command) = &refusal.command {
            let _ = writeln!(text, "             $ {}", printable(command));
        }
    }
    text
}

/// What became of a step, in one line.
#[must_use]
pub fn done(done: &DoneStep) -> String {
    let label = done.outcome.name().replace('_', " ");
    format!(
        "  {label:10} {} (after {})\n",
        printable(&done.says),
        seconds(done.took_ms)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{IsFree, RefusedFor, StepKind};

    fn step(text: &str) -> ReleaseStep {
        ReleaseStep {
            step: StepKind::StopProcess,
            port: 8080,
            target: "web[12]".to_owned(),
            text: text.to_owned(),
            command: Some("ps -p 12".to_owned()),
            loses: Some("3 established connections".to_owned()),
        }
    }

    #[test]
    fn a_plan_is_a_step_a_line_with_what_it_loses() {
        let refusal = Refusal {
            why: RefusedFor::Init,
            port: 8080,
            target: "systemd[1]".to_owned(),
            text: "Find the socket unit".to_owned(),
            command: None,
        };

        let text = plan(&[step("Stop web[12]\u{1b}[2J")], &[refusal]);

        assert_eq!(
            text,
            "  step 1     Stop web[12]\\u{1b}[2J\n             loses 3 established connections\n             $ ps -p 12\n  left alone systemd[1]: Find the socket unit\n"
        );
    }

    #[test]
    fn the_json_names_its_event_and_leaves_out_what_there_is_not() {
        let release = Release {
            plan: vec![step("Stop web[12]")],
            refused: Vec::new(),
            done: Vec::new(),
            free: IsFree::No,
            diagnosis: None,
            ports: Vec::new(),
            missing: Vec::new(),
        };

        assert_eq!(
            json(&release).unwrap(),
            r#"{"event":"release","plan":[{"step":"stop_process","port":8080,"target":"web[12]","text":"Stop web[12]","command":"ps -p 12","loses":"3 established connections"}],"done":[],"free":"no","ports":[]}"#
        );
    }
}
