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

/// Cycles that are still there, each as its root file and the modules that import each
/// other in a circle. None may be added; one that is gone must go from here.
const KNOWN: &[(&str, &str)] = &[
    (
        "tcpstate/src/lib.rs",
        "commands::live: departed, looks, namespaces",
    ),
    ("tcpstate/src/lib.rs", "commands::replay: copies, place"),
    ("tcpstate/src/lib.rs", "recording: index, kept"),
    ("tcpstate/src/lib.rs", "tui: app, excerpt, panels"),
    ("tcpstate/src/lib.rs", "tui: columns, rows, stream, view"),
    (
        "tcpstate/src/lib.rs",
        "tui::panels: detail, help, notes, overlay, pickers",
    ),
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

    let is_known = |crate_root: &str, modules: &str| KNOWN.contains(&(crate_root, modules));
    let new: Vec<_> = found
        .iter()
        .filter(|(crate_root, modules)| !is_known(crate_root, modules))
        .collect();
    let gone: Vec<_> = KNOWN
        .iter()
        .filter(|known| {
            !found
                .iter()
                .any(|(of, modules)| (*of, modules.as_str()) == **known)
        })
        .collect();
    assert!(new.is_empty(), "modules import each other: {new:#?}");
    assert!(
        gone.is_empty(),
        "no longer cycles, remove them from KNOWN: {gone:#?}"
    );
}
