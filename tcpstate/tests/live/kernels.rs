//! Where kernels differ: what each hook reports, how a TIME_WAIT lives and ends, and
//! that both modes report the same. All modules of this name, in `causes` and `advice`
//! too, are what `cargo xtask vm --quick` runs on other kernels.

mod io_uring;
mod modes;
mod protocols;
mod resets;
mod time_wait;
