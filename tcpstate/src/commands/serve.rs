//! `tcpstate serve`: the observer as a service.

use anyhow::{Context as _, Result};
use tokio::sync::mpsc;

use super::live::{self, Start};
use super::watch::runtime;
use crate::cli::ServeArgs;
use crate::event::{Capture, Filters};
use crate::metrics::Metrics;
use crate::pipeline::outputs::Stdout;
use crate::recording::parts::Rotation;
use crate::serve::http::Page;
use crate::snapshot::netns;
use crate::tui::config::Config;

/// Questions of the page that wait for the run.
const MAX_ASKS: usize = 4;

/// Serves until told to end.
pub(super) fn run(args: &ServeArgs, verbose: bool, capture: Option<Capture>) -> Result<()> {
    let filters = Filters {
        netns: netns::resolve(&args.netns)?,
        ..Filters::default()
    };
    // Nothing new can be listened on later.
    let page = Page::bind(&args.listen).with_context(|| {
        format!(
            "cannot listen on {} for the metrics; choose another address with --listen",
            args.listen
        )
    })?;
    if args.listen.is_reached_from_elsewhere() {
        super::complain(&format!(
            "whoever reaches {} can read the metrics: ports, states and causes",
            args.listen
        ));
    }
    let (ask, asks) = mpsc::channel(MAX_ASKS);
    runtime()?.block_on(async {
        let live = live::start(Start {
            screen: Config::default(),
            filters,
            report_connects: false,
            stdout: Some(Stdout::None),
            record: None,
            rotation: Rotation::default(),
            verbose,
            capture,
            is_confined: true,
            is_read_only: true,
            supervisor: None,
            metrics: Some((Metrics::new(args.ports.iter().copied()), asks)),
        })?;
        let page = tokio::spawn(page.serve(ask));
        let ended = live.run(args.duration, None).await;
        // Its socket goes with it.
        page.abort();
        let _ = page.await;
        ended.map(drop)
    })
}
