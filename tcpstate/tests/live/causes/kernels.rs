//! The causes that other kernels are asked about, too.

mod listeners;
mod time_wait;
