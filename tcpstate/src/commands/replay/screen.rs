//! The dashboard over a recording.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tokio::time::{MissedTickBehavior, interval};

use super::player::Player;
use crate::clock;
use crate::commands::live::Signals;
use crate::recording::index::Index;
use crate::tui::config::Config;
use crate::tui::ui::FRAME;
use crate::tui::{Control, Ui};

/// Time between two steps while we go elsewhere: only keys come between.
const STEP: Duration = Duration::from_millis(1);

/// Shows it until the user goes.
pub(super) async fn run(files: &[impl AsRef<Path>], look: Config) -> Result<()> {
    let mut signals = Signals::listen().context("cannot listen for signals")?;
    let mut index = Index::default();
    for file in files {
        let name = file.as_ref().display();
        index
            .add(file.as_ref())
            .with_context(|| format!("cannot open the recording {name}"))?;
    }
    if index.is_empty() {
        bail!("the recording holds no event: it is not a recording of tcpstate, or it is empty");
    }
    let bad_lines = index.bad_lines();
    let has_footer = index.has_footer();
    let mut player = Player::new(index);
    let mut ui = Ui::start(look).context("cannot take the terminal")?;
    if bad_lines > 0 {
        ui.notice(format!(
            "{bad_lines} of the recording's lines are no events; what follows from them is not known"
        ));
    } else if !has_footer {
        ui.notice(
            "the recording has no footer: it was cut, or goes on in another part; what came after \
             its last line is not known"
                .to_owned(),
        );
    }
    let mut frames = interval(FRAME);
    frames.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut before_ns = clock::monotonic_ns();
    loop {
        let is_going = player.position().seeking.is_some();
        tokio::select! {
            _ = signals.next() => return Ok(()),
            input = ui.next_input() => {
                let input = input.context("cannot read keys from the terminal")?;
                match ui.handle(&input, player.engine())? {
                    Control::Quit => return Ok(()),
                    Control::Replay(wish) => player.do_as(wish),
                    _ => {}
                }
            }
            () = tokio::time::sleep(STEP), if is_going => {}
            _ = frames.tick() => {}
        }
        let now_ns = clock::monotonic_ns();
        player.advance(now_ns.saturating_sub(before_ns))?;
        before_ns = now_ns;
        ui.place(player.position());
        if ui.needs_redraw(player.engine(), player.now_ns()) {
            ui.draw(player.engine(), player.now_ns())
                .context("cannot draw on the terminal")?;
        }
    }
}
