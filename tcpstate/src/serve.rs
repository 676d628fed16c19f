//! What a service gives to others: its metrics as a page.

pub mod http;
mod text;
