//! tcpstate: what holds a port, who left it there, how long until it is free.
pub mod event;
