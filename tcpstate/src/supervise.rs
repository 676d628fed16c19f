//! A program under supervision: its `bind` and `listen` calls, and those of every process
//! that descends from it, are put before us first (`seccomp_unotify(2)`).
//!
//! | module | job |
//! | --- | --- |
//! | [`filter`] | which system calls are put before us |
//! | [`notification`] | takes them and answers them |
//! | [`child`] | starts the program below the filter, as if we were not there |
//! | [`group`] | a control group of its own, where supervision cannot be had |
//! | [`caller`] | who makes the call: its memory, its socket, what it may do |
//! | [`socket`] | the caller's socket: options, bind, what it is |
//! | [`signals`] | signals to us, of which some are the program's |
//! | [`proc`] | `/proc` by the numbers that the kernel gives us |
//! | [`tree`] | the processes that descend from us |
//! | [`trial`] | whether any of it is allowed here |
//!
//! What is decided rests on our own copy of the call. No privilege of ours is lent: what is
//! done in a caller's place is done only for one that may do the same
//! ([`caller::Rights`]).

pub mod caller;
pub mod child;
pub mod filter;
pub mod group;
pub mod notification;
pub mod proc;
pub mod signals;
pub mod socket;
pub mod tree;
pub mod trial;
