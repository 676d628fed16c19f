//! A cpio archive of the "new ASCII" kind, which the kernel unpacks as its
//! first root (Documentation/driver-api/early-userspace/buffer-format.rst).

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufWriter, Write};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

const DIRECTORY: u32 = 0o040_000;
const FILE: u32 = 0o100_000;
const LINK: u32 = 0o120_000;
/// Every part begins at a multiple of this.
const ALIGNMENT: usize = 4;

/// What one path of the guest is.
enum Node {
    Directory,
    /// A file of the host.
    Copy(PathBuf),
    Text {
        bytes: Vec<u8>,
        mode: u32,
    },
    Link(String),
}

/// A root filesystem, put together in memory and written at once. Paths have
/// no leading slash; folders above a path come by themselves.
#[derive(Default)]
pub(super) struct Archive(BTreeMap<String, Node>);

impl Archive {
    pub(super) fn directory(&mut self, path: &str) {
        self.insert(path, Node::Directory);
    }

    pub(super) fn text(&mut self, path: &str, bytes: impl Into<Vec<u8>>, mode: u32) {
        let bytes = bytes.into();
        self.insert(path, Node::Text { bytes, mode });
    }

    pub(super) fn link(&mut self, path: &str, to: &str) {
        self.insert(path, Node::Link(to.to_owned()));
    }

    /// A file of the host; a link there is followed.
    pub(super) fn copy(&mut self, path: &str, from: &Path) {
        self.insert(path, Node::Copy(from.to_owned()));
    }

    /// A folder of the host with all that is in it; links stay links.
    pub(super) fn copy_tree(&mut self, path: &str, from: &Path) -> Result<()> {
        let entries = fs::read_dir(from).with_context(|| format!("reading {}", from.display()))?;
        for entry in entries {
            let entry = entry.with_context(|| format!("reading {}", from.display()))?;
            let host = entry.path();
            let guest = format!("{path}/{}", entry.file_name().to_string_lossy());
            let kind = entry
                .file_type()
                .with_context(|| format!("reading {}", host.display()))?;
            if kind.is_dir() {
                self.copy_tree(&guest, &host)?;
            } else if kind.is_symlink() {
                let to = fs::read_link(&host)
                    .with_context(|| format!("reading the link {}", host.display()))?;
                self.link(&guest, &to.to_string_lossy());
            } else if kind.is_file() {
                self.copy(&guest, &host);
            }
        }
        Ok(())
    }

    /// The names of what is in the folders of programs.
    pub(super) fn programs(&self) -> BTreeSet<String> {
        self.0
            .keys()
            .filter_map(|path| path.rsplit_once('/'))
            .filter(|(folder, _)| folder.ends_with("bin"))
            .map(|(_, name)| name.to_owned())
            .collect()
    }

    pub(super) fn write(&self, path: &Path) -> Result<()> {
        let file = fs::File::create(path).with_context(|| format!("making {}", path.display()))?;
        let mut out = BufWriter::new(file);
        for (index, (name, node)) in self.0.iter().enumerate() {
            let (mode, bytes) = match node {
                Node::Directory => (DIRECTORY | 0o755, Vec::new()),
                Node::Text { bytes, mode } => (FILE | mode, bytes.clone()),
                Node::Link(to) => (LINK | 0o777, to.clone().into_bytes()),
                Node::Copy(from) => {
                    let reading = || format!("reading {}", from.display());
                    let mode = fs::metadata(from).with_context(reading)?.permissions();
                    let bytes = fs::read(from).with_context(reading)?;
                    (FILE | (mode.mode() & 0o777), bytes)
                }
            };
            entry(&mut out, index + 1, name, mode, &bytes)?;
        }
        entry(&mut out, 0, "TRAILER!!!", 0, &[])?;
        out.flush().context("writing the archive")
    }

    fn insert(&mut self, path: &str, node: Node) {
        let mut above = path;
        while let Some((parent, _)) = above.rsplit_once('/') {
            self.0.entry(parent.to_owned()).or_insert(Node::Directory);
            above = parent;
        }
        self.0.insert(path.to_owned(), node);
    }
}

fn entry(out: &mut impl Write, number: usize, name: &str, mode: u32, bytes: &[u8]) -> Result<()> {
    let links = 1;
    let name_size = name.len() + 1;
    // Owner, group, time, the two device numbers and the sum are 0.
    let header = format!(
        "070701{number:08x}{mode:08x}{:08x}{:08x}{links:08x}{:08x}{:08x}{:08x}{:08x}{:08x}{:08x}{name_size:08x}{:08x}",
        0,
        0,
        0,
        bytes.len(),
        0,
        0,
        0,
        0,
        0
    );
    let mut write = |part: &[u8]| out.write_all(part).context("writing the archive");
    write(header.as_bytes())?;
    write(name.as_bytes())?;
    write(&[0])?;
    write(padding(header.len() + name_size))?;
    write(bytes)?;
    write(padding(bytes.len()))
}

fn padding(len: usize) -> &'static [u8] {
    const ZEROS: [u8; ALIGNMENT] = [0; ALIGNMENT];
    ZEROS
        .get(..len.next_multiple_of(ALIGNMENT) - len)
        .unwrap_or_default()
}
