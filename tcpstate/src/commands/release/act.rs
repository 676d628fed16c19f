//! What changes the host: nothing else in this program ends a socket, a process, a unit or
//! a container. Each looks once more, at the very last moment, whether it is about who it
//! is meant for.

pub(super) mod manager;
pub(super) mod process;
pub(super) mod socket;
