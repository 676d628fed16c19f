//! What the caller is to do after a key.

use super::keys::ReplayAction;
use crate::tui::output::clipboard::ClipboardText;
use crate::tui::output::new_file::NewFile;
use crate::tui::output::screenshot::ScreenshotFormat;
use crate::tui::state::release::ReleaseRequest;

/// What the caller is to do after a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Control {
    /// Go on.
    Continue,
    /// End the program.
    Quit,
    /// Stop the program as a shell's ctrl-z does.
    Suspend,
    /// Go elsewhere in the recording.
    Replay(ReplayAction),
    /// Put it into the terminal's clipboard.
    Copy(ClipboardText),
    /// Write it into a new file.
    Save(NewFile),
    /// Write a picture of the screen into a new file.
    Screenshot(ScreenshotFormat),
    /// Ask the terminal for the mouse, or leave it alone.
    Mouse(bool),
    /// Show what would free a port.
    Release(ReleaseRequest),
    /// Whether `yes` was typed for it.
    AnswerRelease(bool),
}
