//! What leaves the program: JSON lines, their schema, and text.

pub mod describe;
pub mod explain;
pub mod fold;
pub mod json;
pub mod release;
pub mod restart_test;
pub mod schema;
pub mod text;

#[cfg(test)]
#[expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "texts are files, and commands are run by a shell"
)]
mod texts;
