//! tcpstate: what holds a port, who left it there, how long until it is free.
//!
//! The path of an event from kernel to screen, in the order of the folders:
//!
//! | module | job | may use |
//! | --- | --- | --- |
//! | [`event`] | typed, owned events with their time; the lines of the JSON | – |
//! | [`model`] | sockets, ports, history | `event` |
//! | [`diagnosis`] | bind rules of the kernel, causes, fixes | `model` |
//! | [`engine`] | facts and time in, events and a view out | `diagnosis` |
//! | [`printable`] | strings of strangers made harmless for a terminal | – |
//! | [`report`] | the postmortem of a recording: HTML, Markdown, JSON | `engine`, `printable` |
//! | [`kernel`] | the kernel program: load, attach, take records out | `event`, `snapshot` |
//! | [`snapshot`] | looks into the kernel's tables | `event` |
//! | [`recording`] | the JSON lines in a file | `event`, `export` |
//! | [`export`] | JSON, its schema, text | `event`, `printable` |
//! | [`tui`] | the dashboard: an engine and keys in, a screen out | `engine`, `export`, `printable` |
//! | [`pipeline`] | facts through the engine to the outputs | `engine`, `export`, `recording` |
//! | [`demo`] | a private stage with servers that do not restart | – |
//! | [`commands`] | one file per command: the only place that wires parts together | everything |
//!
//! [`event`] to [`report`] are pure: no IO, no clock. [`clock`] is the only
//! reader of OS time, [`stdio`] writes the standard streams, [`confine`] gives up
//! privileges, [`memory`] ends the program where there is none.

// Test helpers are written as a user of the library would write them.
#[cfg(test)]
extern crate self as tcpstate;

pub mod cli;
pub mod clock;
pub mod commands;
pub mod confine;
pub mod demo;
pub mod diagnosis;
pub mod engine;
pub mod event;
pub mod export;
pub mod kernel;
pub mod memory;
pub mod model;
pub mod pipeline;
pub mod printable;
pub mod recording;
pub mod report;
pub mod snapshot;
pub mod stdio;
pub mod tui;
