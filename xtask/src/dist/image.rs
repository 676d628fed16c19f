//! An image for containers: the program and nothing else, for every processor, as an archive
//! of the OCI layout, which Docker, Podman, skopeo and containerd take.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use flate2::{Compression, GzBuilder};
use serde_json::{Value, json};
use tar::{Builder, EntryType, Header};

use super::Release;
use super::build::{Built, Target};
use super::sums::digest;

const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// Content by its digest.
struct Blob {
    digest: String,
    content: Vec<u8>,
}

impl Blob {
    fn new(content: Vec<u8>) -> Self {
        Self {
            digest: digest(&content),
            content,
        }
    }

    fn of_json(value: &Value) -> Result<Self> {
        Ok(Self::new(serde_json::to_vec(value)?))
    }

    fn descriptor(&self, media_type: &str) -> Value {
        json!({
            "mediaType": media_type,
            "digest": format!("sha256:{}", self.digest),
            "size": self.content.len(),
        })
    }
}

pub(super) fn make(release: &Release<'_>, built: &[Built], out: &Path) -> Result<PathBuf> {
    let mut blobs = Vec::new();
    let mut manifests = Vec::new();
    for built in built {
        let program = fs::read(&built.program).context("it was built")?;
        let layer = layer(&program, release.time)?;
        let compressed = {
            let mut gzip = GzBuilder::new().write(Vec::new(), Compression::best());
            gzip.write_all(&layer)?;
            Blob::new(gzip.finish()?)
        };
        let platform = json!({ "architecture": architecture(built.target), "os": "linux" });
        let config = Blob::of_json(&json!({
            "architecture": architecture(built.target),
            "os": "linux",
            "config": {
                "Entrypoint": ["/tcpstate"],
                "Labels": {
                    "org.opencontainers.image.title": "tcpstate",
                    "org.opencontainers.image.version": release.version,
                    "org.opencontainers.image.licenses": "MIT OR Apache-2.0",
                },
            },
            "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{}", digest(&layer))] },
        }))?;
        let manifest = Blob::of_json(&json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": config.descriptor(CONFIG),
            "layers": [compressed.descriptor(LAYER)],
        }))?;
        let mut listed = manifest.descriptor(MANIFEST);
        listed["platform"] = platform;
        manifests.push(listed);
        blobs.extend([compressed, config, manifest]);
    }
    let all = Blob::of_json(&json!({
        "schemaVersion": 2,
        "mediaType": INDEX,
        "manifests": manifests,
    }))?;
    let mut named = all.descriptor(INDEX);
    named["annotations"] = json!({
        "org.opencontainers.image.ref.name": format!("tcpstate:{}", release.version),
        "io.containerd.image.name": format!("docker.io/library/tcpstate:{}", release.version),
    });
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [named] });
    blobs.push(all);

    let path = out.join(format!("tcpstate-v{}-oci.tar", release.version));
    let file = File::create(&path).with_context(|| format!("cannot make {}", path.display()))?;
    let mut archive = Builder::new(file);
    let mut files: Vec<(String, Vec<u8>)> = blobs
        .into_iter()
        .map(|blob| (format!("blobs/sha256/{}", blob.digest), blob.content))
        .collect();
    files.push(("index.json".to_owned(), serde_json::to_vec(&index)?));
    files.push((
        "oci-layout".to_owned(),
        br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec(),
    ));
    files.sort();
    for (name, content) in files {
        append(&mut archive, &name, &content, 0o644, release.time)?;
    }
    archive.into_inner()?.flush()?;
    Ok(path)
}

/// The root of the container's file system.
fn layer(program: &[u8], time: u64) -> Result<Vec<u8>> {
    let mut archive = Builder::new(Vec::new());
    append(&mut archive, "tcpstate", program, 0o755, time)?;
    Ok(archive.into_inner()?)
}

fn append<W: std::io::Write>(
    archive: &mut Builder<W>,
    name: &str,
    content: &[u8],
    mode: u32,
    time: u64,
) -> Result<()> {
    let mut header = Header::new_ustar();
    header.set_entry_type(EntryType::Regular);
    header.set_size(content.len() as u64);
    header.set_mode(mode);
    header.set_mtime(time);
    archive.append_data(&mut header, name, content)?;
    Ok(())
}

fn architecture(target: Target) -> &'static str {
    match target {
        Target::X86_64 => "amd64",
        Target::Aarch64 => "arm64",
    }
}
