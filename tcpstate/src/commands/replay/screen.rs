//! The dashboard over a recording.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tokio::time::{MissedTickBehavior, interval};

use super::player::Player;
use crate::clock;
use crate::commands::live::Signals;
use crate::recording::index::Index;
use crate::stdio;
use crate::tui::config::Config;
use crate::tui::ui::FRAME;
use crate::tui::{Control, Ui};

/// Time between two steps while there is something to do: only keys come between.
const STEP: Duration = Duration::from_millis(1);
/// Longest that the first screen waits: what is short is read by then.
const FIRST_LOOK_NS: u64 = 200_000_000;
/// Bytes that are read between two looks at clock and signals.
const PIECE: u64 = 1 << 20;

/// Shows it until the user goes.
pub(super) async fn run(files: &[impl AsRef<Path>], look: Config) -> Result<()> {
    let mut signals = Signals::listen().context("cannot listen for signals")?;
    let Some(index) = begin(files, &mut signals).await? else {
        return Ok(());
    };
    let mut player = Player::new(index);
    let mut ui = Ui::start(look).context("cannot take the terminal")?;
    let mut frames = interval(FRAME);
    frames.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut before_ns = clock::monotonic_ns();
    let mut placed_ns = 0;
    let mut is_read = false;
    loop {
        let mut is_asked = false;
        tokio::select! {
            _ = signals.next() => return Ok(()),
            input = ui.next_input() => {
                if stdio::has_hung_up() {
                    return Ok(());
                }
                let input = input.context("cannot read keys from the terminal")?;
                match ui.handle(&input, player.engine())? {
                    Control::Quit => return Ok(()),
                    Control::Replay(wish) => player.do_as(wish),
                    _ => {}
                }
                is_asked = true;
            }
            () = tokio::time::sleep(STEP), if player.is_busy() => {}
            _ = frames.tick() => {}
        }
        // Who looked at it has gone.
        if stdio::has_hung_up() {
            return Ok(());
        }
        let now_ns = clock::monotonic_ns();
        player.advance(now_ns.saturating_sub(before_ns))?;
        before_ns = now_ns;
        if !is_read && player.index().is_complete() {
            is_read = true;
            if let Some(notice) = what_is_wrong(player.index()) {
                ui.notice(notice);
            }
        }
        // Numbers that change all the time need no more than a frame each.
        let frame_ns = u64::try_from(FRAME.as_nanos()).unwrap_or(u64::MAX);
        if is_asked || !player.is_busy() || now_ns.saturating_sub(placed_ns) >= frame_ns {
            ui.place(player.position());
            placed_ns = now_ns;
        }
        if ui.needs_redraw(player.engine(), player.now_ns()) {
            let drawn = ui.draw(player.engine(), player.now_ns());
            if stdio::has_hung_up() {
                return Ok(());
            }
            drawn.context("cannot draw on the terminal")?;
        }
    }
}

/// Reads the recording until there is something to show. `None`: a signal came.
async fn begin(files: &[impl AsRef<Path>], signals: &mut Signals) -> Result<Option<Index>> {
    let mut index = Index::default();
    for file in files {
        let name = file.as_ref().display();
        index
            .begin(file.as_ref())
            .with_context(|| format!("cannot open the recording {name}"))?;
    }
    let until_ns = clock::monotonic_ns().saturating_add(FIRST_LOOK_NS);
    loop {
        let name = index.reading().map(|path| path.display().to_string());
        let is_more = index
            .advance(PIECE)
            .with_context(|| format!("cannot open the recording {}", name.unwrap_or_default()))?;
        if !is_more && index.is_empty() {
            bail!(
                "the recording holds no event: it is not a recording of tcpstate, or it is empty"
            );
        }
        if !is_more || (!index.is_empty() && clock::monotonic_ns() >= until_ns) {
            return Ok(Some(index));
        }
        tokio::select! {
            biased;
            _ = signals.next() => return Ok(None),
            () = tokio::task::yield_now() => {}
        }
    }
}

/// What is to be known of all of it.
fn what_is_wrong(index: &Index) -> Option<String> {
    let bad_lines = index.bad_lines();
    if bad_lines > 0 {
        return Some(format!(
            "{bad_lines} of the recording's lines are no events; what follows from them is not known"
        ));
    }
    (!index.has_footer()).then(|| {
        "the recording has no footer: it was cut, or goes on in another part; what came after \
         its last line is not known"
            .to_owned()
    })
}
