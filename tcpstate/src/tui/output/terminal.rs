//! The real terminal: entered once, left whatever happens.
//!
//! Left on drop, before a panic prints, and by hand for ctrl-z. Leaving twice
//! does no harm.

use std::io;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};

use crossterm::cursor::{Hide, Show};
use crossterm::event::{
    DisableBracketedPaste, DisableMouseCapture, EnableBracketedPaste, EnableMouseCapture,
};
use crossterm::execute;
use crossterm::terminal::{
    EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};

use crate::stdio::Stream;

/// Whether the terminal is ours. Global, because a panic hook has no other way
/// to know.
static IS_ENTERED: AtomicBool = AtomicBool::new(false);
/// Whether it sends us the mouse.
static HAS_MOUSE: AtomicBool = AtomicBool::new(false);
static PANIC_HOOK: Once = Once::new();

/// The terminal while it is ours: raw, on the alternate screen, no cursor.
#[derive(Debug)]
pub(crate) struct Guard {
    out: Stream,
}

impl Guard {
    /// Takes the terminal.
    pub(crate) fn enter() -> io::Result<Self> {
        PANIC_HOOK.call_once(|| {
            let print = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |panic| {
                leave();
                print(panic);
            }));
        });
        // From here on a failure half-way is undone by the drop.
        let mut guard = Self {
            out: Stream::screen(),
        };
        guard.take()?;
        Ok(guard)
    }

    /// Gives the terminal back, stops the program as ctrl-z does elsewhere, and
    /// takes the terminal again once the shell lets the program go on.
    pub(crate) fn suspend(&mut self) -> io::Result<()> {
        leave();
        // The whole foreground job, as the terminal itself does it: a script or
        // sudo that started us would otherwise wait for ever.
        rustix::process::kill_current_process_group(rustix::process::Signal::TSTP)?;
        self.take()
    }

    /// Asks for the mouse, or leaves it to the terminal, which selects with it.
    pub(crate) fn use_mouse(&mut self, is_on: bool) -> io::Result<()> {
        HAS_MOUSE.store(is_on, Ordering::SeqCst);
        if is_on {
            execute!(self.out, EnableMouseCapture)
        } else {
            execute!(self.out, DisableMouseCapture)
        }
    }

    fn take(&mut self) -> io::Result<()> {
        IS_ENTERED.store(true, Ordering::SeqCst);
        enable_raw_mode()?;
        // What is pasted is text, and not a row of keys.
        execute!(self.out, EnterAlternateScreen, Hide, EnableBracketedPaste)?;
        if HAS_MOUSE.load(Ordering::SeqCst) {
            execute!(self.out, EnableMouseCapture)?;
        }
        Ok(())
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        leave();
    }
}

/// Gives the terminal back. An error cannot be reported here: the terminal is what
/// we would report it on.
pub(crate) fn leave() {
    if IS_ENTERED.swap(false, Ordering::SeqCst) {
        let mut out = Stream::screen();
        if HAS_MOUSE.load(Ordering::SeqCst) {
            let _ = execute!(out, DisableMouseCapture);
        }
        let _ = execute!(out, DisableBracketedPaste, LeaveAlternateScreen, Show);
        let _ = disable_raw_mode();
    }
}
