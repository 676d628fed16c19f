//! What TCP events add up to: the sockets of a host and their states, why a `bind()`
//! failed and what frees the port, and how that reads as JSON, text and a report.
//!
//! | module | job | may use |
//! | --- | --- | --- |
//! | [`event`] | typed, owned events with their time; the lines of the JSON | – |
//! | [`printable`] | strings of strangers made harmless for a terminal | – |
//! | [`markdown`] | strings of strangers that are no markup | – |
//! | [`units`] | times and counts as a person reads them | `event`, `model` |
//! | [`identity`] | one line that distinguishes a process from others of its name | `units`, `printable` |
//! | [`model`] | sockets, ports, history | `event` |
//! | [`diagnosis`] | bind rules of the kernel, causes, fixes | `model`, `printable` |
//! | [`engine`] | facts and time in, events and a view out | `diagnosis` |
//! | [`export`] | JSON and back, its schema, text | `diagnosis`, `printable` |
//! | [`metrics`] | what a service counts, in a bounded number of series | `engine` |
//! | [`report`] | the postmortem of a recording: HTML, Markdown, JSON | `engine`, `printable` |
//!
//! Nothing here reads a clock, a file or a socket: time and facts come in as arguments,
//! and the same facts give the same events, byte for byte.
//!
//! # From a recording to its diagnoses
//!
//! A recording is one event a line. Facts (what the kernel reported) go into an
//! [`engine::Engine`]; what follows from them comes out of its log.
//!
//! ```
//! use tcpstate_core::engine::{Engine, Limits};
//! use tcpstate_core::event::Body;
//! use tcpstate_core::export::json;
//!
//! # fn main() -> serde_json::Result<()> {
//! let recording = include_str!("../../tests/data/report/restart.jsonl");
//! let mut engine = Engine::new(Limits::default());
//! for line in recording.lines() {
//!     // `None`: an event of a later version.
//!     if let (_, Some(event)) = json::read_line(line.as_bytes())? {
//!         engine.observe(event.mono_ns, event.body);
//!     }
//! }
//!
//! let diagnoses: Vec<String> = engine
//!     .failures()
//!     .map(|failure| {
//!         let diagnosis = &failure.diagnosis;
//!         format!("{}: {}", diagnosis.cause.name(), diagnosis.summary)
//!     })
//!     .collect();
//!
//! assert!(diagnoses[0].starts_with("time_wait"), "{diagnoses:?}");
//! # for diagnosis in &diagnoses { println!("{diagnosis}"); }
//! # Ok(())
//! # }
//! ```

pub mod diagnosis;
pub mod engine;
pub mod event;
pub mod export;
pub mod identity;
pub mod markdown;
pub mod metrics;
pub mod model;
pub mod printable;
pub mod report;
pub mod units;
