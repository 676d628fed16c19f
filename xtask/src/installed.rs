//! Programs that are installed here.

use std::path::PathBuf;

/// Where a program is, if it is there; what root runs may lie outside of a user's `PATH`.
pub(crate) fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .map(|folder| folder.join(name))
        .find(|program| program.exists())
}
