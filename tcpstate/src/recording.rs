//! Recordings: the JSON lines in a file.

pub mod ahead;
pub mod index;
pub mod input;
mod kept;
pub mod memory;
pub mod parts;
pub mod private;
pub mod reader;
mod scan;
mod sink;
mod unpack;
pub mod writer;
