//! Files with what a recording holds: command lines, names, addresses.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt};
use std::path::Path;

/// Creates the file, or empties it. It is readable for its owner alone, and
/// the owner is who called `sudo`, since command lines may hold secrets.
pub fn create(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)?;
    if file.metadata().is_ok_and(|metadata| metadata.is_file()) {
        // One that was there before keeps no readers.
        file.set_permissions(PermissionsExt::from_mode(0o600))?;
        if let Some((uid, gid)) = invoking_user() {
            // Not being able to hand the file over loses nothing.
            let _ = std::os::unix::fs::fchown(&file, Some(uid), Some(gid));
        }
    }
    Ok(file)
}

fn invoking_user() -> Option<(u32, u32)> {
    let id = |name| std::env::var(name).ok()?.parse().ok();
    Some((id("SUDO_UID")?, id("SUDO_GID")?))
}
