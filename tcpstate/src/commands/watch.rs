//! `tcpstate watch`: the live observer.

use std::io::{self, IsTerminal as _};

use anyhow::{Context as _, Result};

use super::live::{self, Start};
use crate::cli::{Format, OutputArgs, WatchArgs};
use crate::event::{Capture, Filters};
use crate::pipeline::outputs::Stdout;
use crate::recording::parts::Rotation;
use crate::snapshot::netns;
use crate::stdio::Stream;

/// Watches until asked to end.
pub(super) fn run(args: &WatchArgs, verbose: bool, capture: Option<Capture>) -> Result<()> {
    let filters = Filters {
        ports: args
            .ports
            .iter()
            .map(|range| [*range.start(), *range.end()])
            .collect(),
        pids: args.pids.clone(),
        comms: args.comms.clone(),
        states: args.states.clone(),
        addrs: args.addrs.clone(),
        netns: netns::resolve(&args.netns)?,
    };
    let screen = super::config::of(&args.output)?;
    // The header may already wait for its reader.
    if let Some(duration) = args.duration {
        live::end_after(duration);
    }
    runtime()?.block_on(async {
        let live = live::start(Start {
            screen,
            filters,
            report_connects: args.connects,
            stdout: stdout(&args.output),
            record: args.record.as_deref(),
            rotation: Rotation {
                size: args.rotate_size.map(|size| size.as_u64()),
                age_ns: args
                    .rotate_age
                    .map(|age| u64::try_from(age.as_nanos()).unwrap_or(u64::MAX)),
                keep: args.rotate_keep,
            },
            verbose,
            capture,
            is_confined: true,
            is_read_only: args.read_only,
            supervisor: None,
            metrics: None,
        })?;
        live.run(args.duration, None).await.map(|_| ())
    })
}

/// Bytes that a pipe on stdout is asked to hold, where it is one and may: beside a
/// reader that does other work too, events need not wait for it so often.
const PIPE_BYTES: usize = 1 << 20;

/// Where events go; `None`: the dashboard.
pub(super) fn stdout(output: &OutputArgs) -> Option<Stdout> {
    let _ = rustix::pipe::fcntl_setpipe_size(io::stdout(), PIPE_BYTES);
    let stdout = Stream::stdout();
    match output.format(io::stdout().is_terminal()) {
        Format::Tui => None,
        Format::Text => Some(Stdout::Text(Box::new(stdout))),
        Format::Json => Some(Stdout::Json(Box::new(stdout))),
    }
}

/// One thread is enough: the work is a single loop.
pub(super) fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the event loop")
}
