//! Files of expected output, which `expect_test` compares and writes.

use std::fs;
use std::path::Path;

/// No file is left over that no test compares any more.
pub fn assert_no_file_but(folder: &Path, names: &[String]) {
    let left_over: Vec<String> = fs::read_dir(folder)
        .expect("the folder is there")
        .map(|entry| entry.expect("it can be listed").file_name())
        .map(|name| name.to_string_lossy().into_owned())
        .filter(|name| !names.contains(name))
        .collect();

    assert!(
        left_over.is_empty(),
        "no test compares these in {}: {left_over:?}",
        folder.display()
    );
}
