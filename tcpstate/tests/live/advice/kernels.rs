//! What is held against other kernels, too.

mod harms;
