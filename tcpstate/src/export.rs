//! What leaves the program: JSON lines, their schema, and text.

pub mod explain;
pub mod json;
pub mod schema;
pub mod text;

#[cfg(test)]
mod texts;
