//! The workflow files are what GitHub's schema of them allows.

use std::path::Path;
use std::process::Command;

use support::{PythonModule, require};

#[test]
fn the_workflows_are_workflows() {
    if !require(&[PythonModule("check_jsonschema")]) {
        return;
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.github/workflows");
    let files: Vec<_> = std::fs::read_dir(&folder)
        .expect("there are workflows")
        .map(|entry| entry.expect("it is listed").path())
        .collect();
    assert!(!files.is_empty());

    let checked = Command::new("python3")
        .args(["-m", "check_jsonschema", "--builtin-schema"])
        .arg("vendor.github-workflows")
        .args(&files)
        .output()
        .expect("python3 is there");

    let said = String::from_utf8_lossy(&checked.stdout);
    assert!(checked.status.success(), "{said}");
}
