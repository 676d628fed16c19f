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

/// Time between two slices of work: keys are read in between.
const PAUSE: Duration = Duration::from_millis(1);
/// Longest that the first screen waits: a short recording is indexed by then.
const FIRST_SCREEN_NS: u64 = 200_000_000;
/// Bytes that are read between two readings of clock and signals.
const PIECE: u64 = 1 << 20;

/// Shows the recording until the user quits.
pub(super) async fn run(files: &[impl AsRef<Path>], config: Config) -> Result<()> {
    let mut signals = Signals::listen().context("cannot listen for signals")?;
    let Some(index) = open(files, &mut signals).await? else {
        return Ok(());
    };
    let mut player = Player::new(index);
    let mut ui = Ui::start(config).context("cannot take the terminal")?;
    let mut frames = interval(FRAME);
    frames.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut before_ns = clock::monotonic_ns();
    let mut positioned_ns = 0;
    let mut is_reported = false;
    loop {
        let mut has_input = false;
        tokio::select! {
            _ = signals.next() => return Ok(()),
            input = ui.next_input() => {
                if stdio::has_hung_up() {
                    return Ok(());
                }
                let input = input.context("cannot read keys from the terminal")?;
                match ui.handle(&input, player.engine())? {
                    Control::Quit => return Ok(()),
                    Control::Replay(action) => player.handle(action),
                    _ => {}
                }
                has_input = true;
            }
            () = tokio::time::sleep(PAUSE), if player.is_busy() => {}
            _ = frames.tick() => {}
        }
        // The terminal has gone.
        if stdio::has_hung_up() {
            return Ok(());
        }
        let now_ns = clock::monotonic_ns();
        player.advance(now_ns.saturating_sub(before_ns))?;
        before_ns = now_ns;
        if !is_reported && player.index().is_complete() {
            is_reported = true;
            if let Some(notice) = defects(player.index()) {
                ui.notice(notice);
            }
        }
        // Numbers that change all the time need no more than a frame each.
        let frame_ns = u64::try_from(FRAME.as_nanos()).unwrap_or(u64::MAX);
        if has_input || !player.is_busy() || now_ns.saturating_sub(positioned_ns) >= frame_ns {
            ui.set_replay_position(player.position());
            positioned_ns = now_ns;
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
async fn open(files: &[impl AsRef<Path>], signals: &mut Signals) -> Result<Option<Index>> {
    let mut index = Index::default();
    for file in files {
        let name = file.as_ref().display();
        index
            .enqueue(file.as_ref())
            .with_context(|| format!("cannot open the recording {name}"))?;
    }
    let until_ns = clock::monotonic_ns().saturating_add(FIRST_SCREEN_NS);
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

/// What the user should know about the recording as a whole.
fn defects(index: &Index) -> Option<String> {
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
