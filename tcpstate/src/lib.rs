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

pub mod cli;
pub mod clock;
pub mod commands;
pub mod demo;
pub mod diagnosis;
pub mod engine;
pub mod event;
pub mod export;
pub mod model;
pub mod pipeline;
pub mod printable;
pub mod recording;
pub mod snapshot;
