//! The hooks, one family per file.

mod accept;
mod calls;
mod connecting;
mod function;
mod io_uring;
mod iter_task_file;
mod iter_tcp;
mod port;
mod reset;
mod reuseaddr;
mod state;
mod trial;
