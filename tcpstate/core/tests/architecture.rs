//! Arrows point one way. That nothing here does IO or reads a clock the compiler sees: the
//! crate depends on nothing that could, and `clippy.toml` names what the standard library has.

#![expect(clippy::disallowed_methods, reason = "the source is read")]

use std::fs;
use std::path::{Path, PathBuf};

/// Modules, each with the modules of the crate that it may use.
const MODULES: &[(&str, &[&str])] = &[
    ("event", &["event"]),
    ("printable", &[]),
    ("markdown", &[]),
    ("model", &["event", "model"]),
    ("units", &["event", "model"]),
    ("identity", &["event", "printable", "units"]),
    ("diagnosis", &["event", "model", "diagnosis", "printable"]),
    ("engine", &["event", "model", "diagnosis", "engine"]),
    (
        "export",
        &[
            "event",
            "model",
            "diagnosis",
            "printable",
            "markdown",
            "units",
            "identity",
            "export",
        ],
    ),
    ("metrics", &["event", "diagnosis", "engine", "metrics"]),
    (
        "report",
        &[
            "event",
            "model",
            "diagnosis",
            "engine",
            "printable",
            "markdown",
            "identity",
            "report",
        ],
    ),
];

#[test]
fn arrows_point_one_way() {
    for (module, allowed) in MODULES {
        for (path, code) in sources(module) {
            for used in code.split("crate::").skip(1) {
                let used: String = used
                    .chars()
                    .take_while(|character| character.is_alphanumeric() || *character == '_')
                    .collect();
                assert!(
                    allowed.contains(&used.as_str()),
                    "{} uses crate::{used}",
                    path.display()
                );
            }
        }
    }
}

/// The code without its string literals: advice may name what code may not.
fn without_strings(code: &str) -> String {
    let mut rest = String::with_capacity(code.len());
    let mut is_string = false;
    let mut characters = code.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' if is_string => {
                characters.next();
            }
            '"' => is_string = !is_string,
            character if !is_string => rest.push(character),
            _ => {}
        }
    }
    rest
}

/// The module's files without tests, comments and strings.
fn sources(module: &str) -> Vec<(PathBuf, String)> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    let mut folders = vec![src.join(module)];
    let mut files = vec![src.join(format!("{module}.rs"))];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else {
                files.push(path);
            }
        }
    }
    for path in files {
        let code = fs::read_to_string(&path).expect("the module has a file");
        let code = code.split("#[cfg(test)]").next().unwrap_or_default();
        let code = code
            .lines()
            .filter(|line| !line.trim_start().starts_with("//"))
            .collect::<Vec<_>>()
            .join("\n");
        found.push((path, without_strings(&code)));
    }
    assert!(!found.is_empty());
    found
}
