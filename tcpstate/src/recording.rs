//! Recordings: the JSON lines in a file.

pub mod reader;
pub mod writer;
