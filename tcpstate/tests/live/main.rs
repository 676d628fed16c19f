//! Live tests: the program watches a private network namespace in which the
//! test makes the real kernel do things; the kernel's own answer (an errno,
//! `ss`, `/proc/net/tcp`) is the oracle.
//!
//! They need root and a kernel with BTF. Where that is missing they say so and
//! pass, unless `TCPSTATE_REQUIRE_LIVE=1`.

mod advice;
mod bad_input;
mod callers;
mod causes;
mod churn;
mod containers;
mod demo;
mod elsewhere;
mod ends;
mod explain;
mod flood;
mod hogs;
mod hostile;
mod identity;
mod kernels;
mod keys;
mod load;
mod mirror;
mod namespaces;
mod owners;
mod peers;
mod recording;
mod relation;
mod release;
mod replay;
mod report;
mod restart_test;
mod rights;
mod run;
mod serve;
mod services;
mod ssh;
mod strangers;
mod terminal;
mod traces;
mod transitions;
mod undisclosed;
mod watching;
