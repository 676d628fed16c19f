//! tcpstate: what holds a port, who left it there, how long until it is free.
//!
//! The path of an event from kernel to screen, in the order of the folders:
//!
//! | module | job | may use |
//! | --- | --- | --- |
//! | [`tcpstate_core`] | events, model, diagnosis, engine, report, export: pure | – |
//! | [`kernel`] | the kernel program: load, attach, take records out | core, `snapshot` |
//! | [`snapshot`] | looks into the kernel's tables | core |
//! | `observe` | what is asked beside the hooks, when, and what follows | core, `kernel`, `snapshot` |
//! | [`recording`] | the JSON lines in a file | core |
//! | [`tui`] | the dashboard: an engine and keys in, a screen out | core, `recording` |
//! | [`pipeline`] | facts through the engine to the outputs | core, `recording` |
//! | [`serve`] | metrics as a page, over HTTP | core |
//! | [`supervise`] | the calls of a program, put before us first | core, `snapshot` |
//! | [`demo`] | a private stage with servers that do not restart | – |
//! | [`commands`] | one file per command: the only place that wires parts together | everything |
//!
//! The core does no IO and reads no clock. [`clock`] is the only reader of OS time,
//! [`stdio`] writes the standard streams, [`confine`] gives up
//! privileges, [`memory`] ends the program where there is none.

// Test helpers are written as a user of the library would write them.
#[cfg(test)]
extern crate self as tcpstate;

pub use tcpstate_core::{
    diagnosis, engine, event, export, identity, markdown, metrics, model, printable, report, units,
};

pub mod cli;
pub mod clock;
pub mod commands;
pub mod confine;
pub mod demo;
pub mod kernel;
pub mod memory;
mod observe;
mod pace;
pub mod pipeline;
pub mod recording;
pub mod serve;
pub mod snapshot;
pub mod stdio;
pub mod supervise;
pub mod tui;
