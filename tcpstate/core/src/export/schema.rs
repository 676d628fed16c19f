//! The JSON Schema of the event lines, made from the types.

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema};
use serde::Serialize;

use super::{explain, release, restart_test};
use crate::event::Body;

/// One line of the export.
#[derive(Serialize, JsonSchema)]
#[schemars(title = "tcpstate event, schema 1")]
struct EventLine {
    /// Position in the stream, from 0, without gaps.
    seq: u64,
    /// Calendar time: RFC 3339, UTC, nine fractional digits.
    #[schemars(regex(pattern = r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{9}Z$"))]
    ts: String,
    /// `CLOCK_MONOTONIC` of the observed kernel, in nanoseconds.
    mono_ns: u64,
    /// What happened.
    #[serde(flatten)]
    body: Body,
}

/// What the program prints as JSON.
#[derive(Serialize, JsonSchema)]
#[serde(untagged)]
#[schemars(title = "tcpstate, schema 1")]
#[expect(dead_code, reason = "only its schema is wanted")]
enum Printed {
    /// One line of `watch`, `demo`, `replay` or a recording.
    Line(Box<EventLine>),
    /// The answer of `explain` or `wait`.
    Answer(explain::Answer<'static>),
    /// The answer of `release`.
    Release(release::Released<'static>),
    /// The answer of `restart-test`.
    RestartTest(restart_test::Tested<'static>),
}

/// JSON Schema 2020-12 of one line.
#[must_use]
pub fn schema() -> Schema {
    SchemaSettings::draft2020_12()
        .into_generator()
        .into_root_schema_for::<Printed>()
}
