//! Tasks around the repository.
fn main() {}
