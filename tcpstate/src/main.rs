//! `tcpstate`: arguments, one call, exit code.
fn main() {}
