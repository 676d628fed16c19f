//! The hooks, one family per file.

mod accept;
mod calls;
mod iter_tcp;
mod port;
mod reset;
mod state;
mod trial;
