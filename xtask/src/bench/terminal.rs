//! A terminal for an observer that draws.

use std::os::fd::OwnedFd;

use anyhow::{Context as _, Result};

/// Both ends of a terminal of 200 by 60.
pub(super) fn open() -> Result<(OwnedFd, OwnedFd)> {
    use rustix::fs::{Mode, OFlags};
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    use rustix::termios::{Winsize, tcsetwinsize};

    // An observer that had its own terminal's other end would never see it closed.
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let outside = openpt(flags).context("cannot open a terminal")?;
    grantpt(&outside)?;
    unlockpt(&outside)?;
    tcsetwinsize(
        &outside,
        Winsize {
            ws_row: 60,
            ws_col: 200,
            ws_xpixel: 0,
            ws_ypixel: 0,
        },
    )?;
    let name = ptsname(&outside, Vec::new())?;
    let inside = rustix::fs::open(name, OFlags::RDWR | OFlags::NOCTTY, Mode::empty())?;
    Ok((inside, outside))
}
