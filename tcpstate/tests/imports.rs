//! No import cycles: between the modules of a crate, or between the modules in
//! one folder.
//!
//! An import counts for the level at which its two ends part: that
//! `kernel::decode` uses `snapshot::cgroup` is an arrow from `kernel` to
//! `snapshot`, that it uses `kernel::errno` one from `decode` to `errno` inside
//! `kernel`. A module and its parent may use each other.
//!
//! `cargo test --test imports -- --nocapture` prints what there is;
//! `TCPSTATE_IMPORTS_OF` names another checkout, of which it is only printed.

#[path = "imports/graph.rs"]
mod graph;
#[path = "imports/source.rs"]
mod source;

use std::path::{Path, PathBuf};

use graph::Graph;

/// The crates of the workspace, by their root files.
const CRATES: &[&str] = &[
    "tcpstate/src/lib.rs",
    "tcpstate/core/src/lib.rs",
    "tcpstate-ebpf/src/main.rs",
    "tcpstate-common/src/lib.rs",
    "xtask/src/main.rs",
];

#[test]
fn no_modules_import_each_other_in_a_circle() {
    let other = std::env::var_os("TCPSTATE_IMPORTS_OF").map(PathBuf::from);
    let root = other
        .clone()
        .unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join(".."));
    let mut found = Vec::new();
    for crate_root in CRATES {
        let file = root.join(crate_root);
        if !file.exists() {
            continue;
        }
        let cycles = Graph::new(&source::read(&file)).cycles();
        println!("{crate_root}: {} cycles", cycles.len());
        for cycle in cycles {
            println!("  {}\n    {}", cycle.modules, cycle.example.join("\n    "));
            found.push((*crate_root, cycle.modules));
        }
    }
    if other.is_some() {
        return;
    }

    assert!(found.is_empty(), "modules import each other: {found:#?}");
}
