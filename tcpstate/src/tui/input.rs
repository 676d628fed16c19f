//! What a key asks for, and what that changes.

pub mod keys;
pub(crate) mod time;
