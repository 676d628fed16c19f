//! kernel program
fn main() {}
