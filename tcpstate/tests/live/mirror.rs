//! The mirror equals the kernel: after any churn the program's table is what
//! `ss`, `sock_diag` and the BPF iterator list.
//!
//! The program's JSON goes through an engine in the test, which is how the
//! dashboard, a replay and every other reader come to their table.

mod churning;
mod cost;
mod kernel;
mod program;
mod starved;
