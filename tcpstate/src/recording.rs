//! Recordings: the JSON lines in a file.

pub mod index;
pub mod input;
mod line;
mod line_scanner;
mod line_store;
pub mod memory;
pub mod parts;
pub mod prefetch;
pub mod reader;
pub mod secure_file;
mod sink;
mod spool;
pub mod writer;
