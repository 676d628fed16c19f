//! Hooks on functions of the kernel, for kernels that allow them. Each is
//! optional on its own; what they replace is left out where they are on.
//!
//! Arguments and results are taken as plain words: the number of arguments
//! differs between kernels, and with it the place of the result, which user
//! space reads from the kernel's types. Up to Linux 5.10 the upper bytes of a
//! word that holds a narrower argument are not cleared: every one is cut to its
//! width.

mod calls;
mod conflict;
mod io_uring;
mod reported;
mod time_wait;
mod trailing;
