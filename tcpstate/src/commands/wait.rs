//! `tcpstate wait`: returns once a bind of this port would succeed.

use std::io::{self, IsTerminal as _};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;

use super::explain::{self, Asker};
use crate::cli::WaitArgs;
use crate::clock;
use crate::event::{Explanation, YesNo};
use crate::model::NS_PER_MS;

/// Time between two looks. Reading a bind bucket takes microseconds; the
/// tables, where only they can be read, cost the kernel a pass over its hash.
const POLL_EVERY: Duration = Duration::from_millis(50);
const POLL_TABLES_EVERY: Duration = Duration::from_millis(200);

/// Waits. 0: the bind would succeed; 1: the time is over.
pub(super) fn run(args: &WaitArgs) -> Result<ExitCode> {
    let began_ns = clock::monotonic_ns();
    let waited = || Duration::from_nanos(clock::monotonic_ns().saturating_sub(began_ns));
    explain::gain_nothing()?;
    let mut asker = Asker::new(args.port.port, &args.port.socket)?.trying(args.port.is_tried)?;
    let pause = if asker.walks_buckets() {
        POLL_EVERY
    } else {
        POLL_TABLES_EVERY
    };
    let mut is_announced = false;
    loop {
        let answer = asker.ask()?;
        if answer.would_listen == YesNo::Yes {
            return finish(answer, args, waited(), ExitCode::SUCCESS);
        }
        if args.timeout.is_some_and(|timeout| waited() >= timeout) {
            return finish(
                asker.ask_with_processes()?,
                args,
                waited(),
                ExitCode::FAILURE,
            );
        }
        if !is_announced && !args.port.json && io::stderr().is_terminal() {
            super::complain(&format!("waiting: {}", answer.summary));
        }
        is_announced = true;
        let left = args
            .timeout
            .map_or(pause, |timeout| timeout.saturating_sub(waited()));
        std::thread::sleep(pause.min(left));
    }
}

fn finish(
    mut answer: Explanation,
    args: &WaitArgs,
    waited: Duration,
    code: ExitCode,
) -> Result<ExitCode> {
    // In between it may have become free.
    let code = if answer.would_listen == YesNo::Yes {
        ExitCode::SUCCESS
    } else {
        code
    };
    answer.waited_ms = u64::try_from(waited.as_nanos())
        .ok()
        .map(|ns| ns / NS_PER_MS);
    explain::print(&answer, &args.port)?;
    Ok(code)
}
