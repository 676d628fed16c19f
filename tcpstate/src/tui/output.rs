//! What leaves the dashboard: the terminal itself, its clipboard, files.

pub(crate) mod clipboard;
pub(crate) mod copy_text;
pub(crate) mod new_file;
pub(crate) mod screenshot;
pub(crate) mod terminal;
