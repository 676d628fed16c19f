//! Archives of a program with its pages and licences, named so that `cargo binstall` finds
//! them, and of its symbols.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use flate2::{Compression, GzBuilder};
use tar::{Builder, EntryType, Header};

use super::Release;
use super::build::Built;
use super::pages::Pages;

/// What lies at the top of the checkout and goes along.
const DOCUMENTS: [&str; 4] = ["README.md", "CHANGELOG.md", "LICENSE-APACHE", "LICENSE-MIT"];

pub(super) fn make(
    release: &Release<'_>,
    built: &Built,
    pages: &Pages,
    out: &Path,
) -> Result<Vec<PathBuf>> {
    let name = format!("tcpstate-{}-v{}", built.target.triple(), release.version);
    let mut files = vec![("tcpstate".to_owned(), built.program.clone(), 0o755)];
    let documents = DOCUMENTS.map(|name| (name.to_owned(), release.root.join(name), 0o644));
    files.extend(documents);
    let pages = pages.files.iter();
    files.extend(pages.map(|(name, path)| ((*name).to_owned(), path.clone(), 0o644)));
    let program = out.join(format!("{name}.tar.gz"));
    write(&program, &name, &files, release.time)?;

    let symbols = out.join(format!("{name}-symbols.tar.gz"));
    let debug = [("tcpstate.debug".to_owned(), built.debug.clone(), 0o644)];
    write(&symbols, &name, &debug, release.time)?;
    Ok(vec![program, symbols])
}

/// Files in the order of their names, of nobody in particular, at one time.
fn write(path: &Path, folder: &str, files: &[(String, PathBuf, u32)], time: u64) -> Result<()> {
    let file = File::create(path).with_context(|| format!("cannot make {}", path.display()))?;
    let gzip = GzBuilder::new().write(file, Compression::best());
    let mut archive = Builder::new(gzip);
    let mut files = files.to_vec();
    files.sort();
    for (name, from, mode) in files {
        let content = fs::read(&from).with_context(|| format!("cannot read {}", from.display()))?;
        let mut header = Header::new_ustar();
        header.set_entry_type(EntryType::Regular);
        header.set_size(content.len() as u64);
        header.set_mode(mode);
        header.set_mtime(time);
        archive.append_data(&mut header, format!("{folder}/{name}"), &*content)?;
    }
    archive.into_inner()?.finish()?.flush()?;
    Ok(())
}
