//! The committed kernel program belongs to the committed sources.

use std::fs;
use std::path::{Path, PathBuf};

use object::{Object as _, ObjectSection as _};
use sha2::{Digest as _, Sha256};

/// As in `xtask/src/ebpf/digest.rs`.
const CRATES: [&str; 2] = ["tcpstate-common", "tcpstate-ebpf"];

#[test]
fn the_committed_kernel_program_was_built_from_these_sources() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    if !root.join("tcpstate-ebpf").is_dir() {
        eprintln!("skipped: not a checkout of the repository");
        return;
    }

    let stored = fs::read_to_string(root.join("tcpstate/bpf/tcpstate.bpf.digest")).unwrap();

    assert_eq!(
        stored.trim(),
        digest(root),
        "run `cargo xtask ebpf build` and commit the result"
    );
}

#[test]
fn the_committed_kernel_program_holds_no_paths_of_the_machine_that_built_it() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let object = fs::read(root.join("bpf/tcpstate.bpf.o")).unwrap();

    for path in ["/home/", "/root/", "/tmp/", ".cargo/registry"] {
        let is_there = object
            .windows(path.len())
            .any(|bytes| bytes == path.as_bytes());
        assert!(!is_there, "{path}");
    }
}

fn digest(root: &Path) -> String {
    let mut files = Vec::new();
    for name in CRATES {
        files.push(root.join(name).join("Cargo.toml"));
        collect(&root.join(name).join("src"), &mut files);
    }
    files.sort();
    let mut hash = Sha256::new();
    for file in files {
        let bytes = fs::read(&file).unwrap();
        let name = file.strip_prefix(root).unwrap().to_str().unwrap();
        hash.update(name.as_bytes());
        hash.update([0]);
        hash.update((bytes.len() as u64).to_le_bytes());
        hash.update(&bytes);
    }
    format!("{:x}", hash.finalize())
}

fn collect(dir: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// Programs whose context is a processor's registers, or whose hook exists on
/// one architecture alone, have sections of other names.
#[test]
fn the_committed_kernel_program_knows_no_processor() {
    const NEUTRAL: [&str; 7] = [
        "tp_btf/",
        "tracepoint",
        "raw_tp",
        "fentry/",
        "fexit/",
        "iter/",
        "cgroup/",
    ];
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let bytes = fs::read(root.join("bpf/tcpstate.bpf.o")).unwrap();
    let file = object::File::parse(&*bytes).unwrap();

    assert_eq!(file.architecture(), object::Architecture::Bpf);
    assert!(file.is_little_endian());
    let programs: Vec<&str> = file
        .sections()
        .filter(|section| section.kind() == object::SectionKind::Text && section.size() > 0)
        .map(|section| section.name().unwrap())
        // Functions that programs share.
        .filter(|name| *name != ".text")
        .collect();
    assert!(programs.len() > 20, "{programs:?}");
    for program in programs {
        assert!(
            NEUTRAL.iter().any(|kind| program.starts_with(kind)),
            "{program}"
        );
    }
    for word in ["pt_regs", "__x64_", "__arm64_"] {
        assert!(
            !bytes
                .windows(word.len())
                .any(|bytes| bytes == word.as_bytes()),
            "{word}"
        );
    }
}
