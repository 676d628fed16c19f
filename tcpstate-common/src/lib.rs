//! What crosses the boundary between the kernel program and user space: the
//! records of the ring buffer, the offsets and the configuration that user
//! space hands in before load.
//!
//! Every struct is `repr(C)` without implicit padding, in the machine's byte
//! order, and append-only; a changed meaning gets a new [`record::Kind`].

#![no_std]

pub mod config;
pub mod offsets;
pub mod record;
pub mod release;
