//! Between the dashboard and the process that frees ports for it.

use super::Live;
use crate::commands::release::{Helper, Said};
use crate::tui::Control;

impl Live {
    /// Does what only the run can do of what a key asks for. `true`: the run is to end.
    pub(super) fn obey(&mut self, control: &Control) -> bool {
        match *control {
            Control::Quit => return true,
            Control::Release(request) => self.ask_helper(|helper| helper.release(request)),
            Control::AnswerRelease(is_yes) => self.ask_helper(|helper| helper.answer(is_yes)),
            _ => {}
        }
        false
    }

    fn ask_helper(&mut self, ask: impl FnOnce(&mut Helper) -> std::io::Result<()>) {
        let Some(helper) = &mut self.helper else {
            return;
        };
        if let (Err(error), Some(ui)) = (ask(helper), &mut self.ui) {
            ui.show_release(&format!("It cannot be asked for: {error}\n"));
            ui.end_release();
        }
    }

    /// Shows what was said of the port that is freed.
    pub(super) fn show_release(&mut self) {
        let (Some(helper), Some(ui)) = (&mut self.helper, &mut self.ui) else {
            return;
        };
        for said in helper.take() {
            match said {
                Said::Text(text) => ui.show_release(&text),
                Said::Ask => ui.ask_for_release(),
                Said::Ended => ui.end_release(),
            }
        }
    }
}
