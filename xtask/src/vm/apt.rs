//! Packages from Debian's archive through an apt of our own: what the machine
//! has installed and where it gets its packages from stay as they are.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};
use sha2::{Digest as _, Sha256};

use super::kernels::{Kernel, MAIN, Package, SUITES};

const KEYS: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
/// Where what runs on the host and in the guest is taken from, beside kernels.
const TOOL_SUITE: &str = "bookworm";
/// The host's architecture, and that of other guests. A package of the latter
/// has it after its name, as in `libc6:arm64`.
const ARCHITECTURES: [&str; 2] = ["amd64", "arm64"];
/// Holds what lists of packages there are, once all of them are.
const UPDATED: &str = "updated";

/// A cache of packages, below one folder.
pub(super) struct Apt {
    folder: PathBuf,
}

impl Apt {
    pub(super) fn new(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
        }
    }

    /// The unpacked files of a kernel, whose packages are as recorded.
    pub(super) fn kernel(&self, kernel: &Kernel) -> Result<PathBuf> {
        let tree = self.folder.join("kernels").join(kernel.release);
        if is_complete(&tree, kernel.release) {
            return Ok(tree);
        }
        let missing: Vec<&Package> = kernel
            .packages
            .iter()
            .filter(|package| self.deb(package.name).is_err())
            .collect();
        let wanted: Vec<String> = missing
            .iter()
            .map(|package| format!("{}={}", package.name, package.version))
            .collect();
        self.download(&wanted).with_context(|| {
            format!(
                "kernel {} cannot be had; if Debian has replaced it, put its successor \
                 into xtask/src/vm/kernels.rs",
                kernel.release
            )
        })?;
        for package in kernel.packages {
            let deb = self.deb(package.name)?;
            let bytes = fs::read(&deb).with_context(|| format!("reading {}", deb.display()))?;
            let sum = format!("{:x}", Sha256::digest(&bytes));
            ensure!(
                sum == package.sha256,
                "{} has sha256 {sum}, and {} is recorded in xtask/src/vm/kernels.rs; \
                 delete the file to fetch it again",
                deb.display(),
                package.sha256
            );
            unpack(&deb, &tree)?;
        }
        complete(&tree, kernel.release)?;
        Ok(tree)
    }

    /// The unpacked files of some packages, in one tree. apt has checked their
    /// signature.
    pub(super) fn tools(&self, name: &str, packages: &[&str]) -> Result<PathBuf> {
        let tree = self.folder.join(name);
        let contents = packages.join(" ");
        if is_complete(&tree, &contents) {
            return Ok(tree);
        }
        let wanted: Vec<String> = packages
            .iter()
            .filter(|package| self.deb(package).is_err())
            .map(|package| format!("{package}/{TOOL_SUITE}"))
            .collect();
        self.download(&wanted)?;
        for package in packages {
            unpack(&self.deb(package)?, &tree)?;
        }
        complete(&tree, &contents)?;
        Ok(tree)
    }

    fn download(&self, wanted: &[String]) -> Result<()> {
        if wanted.is_empty() {
            return Ok(());
        }
        let debs = self.folder.join("debs");
        let sources = sources();
        let updated = self.folder.join("apt").join(UPDATED);
        if !fs::read_to_string(updated).is_ok_and(|updated| updated == sources) {
            self.update(&sources)?;
        }
        make_dir(&debs)?;
        println!("fetching {}", wanted.join(" "));
        self.apt_get(&debs, &[&["download".to_owned()], wanted].concat())
    }

    /// Fetches the lists of packages. A suite that is not to be had is said and
    /// passed over: what it has cannot be downloaded then, and all else can.
    fn update(&self, sources: &str) -> Result<()> {
        ensure!(
            Path::new(KEYS).exists(),
            "{KEYS} is not there; install it with: apt-get install debian-archive-keyring"
        );
        let apt = self.folder.join("apt");
        for part in ["lists/partial", "state", "cache/archives/partial"] {
            make_dir(&apt.join(part))?;
        }
        write(&apt.join("status"), "")?;
        write(&apt.join("sources.list"), sources)?;
        match self.apt_get(&apt, &["update".to_owned()]) {
            Ok(()) => write(&apt.join(UPDATED), sources),
            Err(error) => {
                println!("not all lists of packages are to be had: {error:#}");
                Ok(())
            }
        }
    }

    fn apt_get(&self, at: &Path, arguments: &[String]) -> Result<()> {
        let apt = self.folder.join("apt");
        let options = [
            ("Dir::Etc::sourcelist", apt.join("sources.list")),
            ("Dir::Etc::sourceparts", "/dev/null".into()),
            ("Dir::Etc::preferencesparts", "/dev/null".into()),
            ("Dir::State", apt.join("state")),
            ("Dir::State::Lists", apt.join("lists")),
            ("Dir::State::status", apt.join("status")),
            ("Dir::Cache", apt.join("cache")),
            ("APT::Sandbox::User", "root".into()),
            ("APT::Update::Post-Invoke-Success", "".into()),
            ("APT::Update::Error-Mode", "any".into()),
            ("APT::Architectures::", ARCHITECTURES[0].into()),
            ("APT::Architectures::", ARCHITECTURES[1].into()),
        ];
        let mut command = Command::new("apt-get");
        command.current_dir(at).arg("-qq");
        for (option, value) in options {
            command
                .arg("-o")
                .arg(format!("{option}={}", value.display()));
        }
        let status = command
            .args(arguments)
            .status()
            .context("cannot start apt-get; kernels are fetched from Debian through it")?;
        ensure!(
            status.success(),
            "apt-get {} ended with {status}",
            arguments.join(" ")
        );
        Ok(())
    }

    fn deb(&self, package: &str) -> Result<PathBuf> {
        let debs = self.folder.join("debs");
        let (name, architecture) = package
            .split_once(':')
            .unwrap_or((package, ARCHITECTURES[0]));
        let begin = format!("{name}_");
        let ends = [format!("_{architecture}.deb"), "_all.deb".to_owned()];
        let entries = fs::read_dir(&debs).with_context(|| format!("reading {}", debs.display()))?;
        for entry in entries {
            let path = entry.context("reading the packages")?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if name.starts_with(&begin) && ends.iter().any(|end| name.ends_with(end)) {
                return Ok(path);
            }
        }
        bail!("{} has no {package}", debs.display())
    }
}

/// Where packages are taken from, as apt reads it.
fn sources() -> String {
    let architectures = ARCHITECTURES.join(",");
    let lines: Vec<String> = [(MAIN, TOOL_SUITE)]
        .iter()
        .chain(SUITES)
        .map(|(archive, suite)| {
            format!("deb [arch={architectures} signed-by={KEYS}] {archive} {suite} main\n")
        })
        .collect();
    lines.concat()
}

fn unpack(deb: &Path, tree: &Path) -> Result<()> {
    make_dir(tree)?;
    let status = Command::new("dpkg-deb")
        .arg("-x")
        .args([deb, tree])
        .status()
        .context("cannot start dpkg-deb")?;
    ensure!(
        status.success(),
        "unpacking {} ended with {status}",
        deb.display()
    );
    Ok(())
}

/// A tree that was unpacked to its end says so, and of what.
const COMPLETE: &str = ".complete";

fn is_complete(tree: &Path, contents: &str) -> bool {
    fs::read_to_string(tree.join(COMPLETE)).is_ok_and(|unpacked| unpacked == contents)
}

fn complete(tree: &Path, contents: &str) -> Result<()> {
    write(&tree.join(COMPLETE), contents)
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("writing {}", path.display()))
}

pub(super) fn make_dir(path: &Path) -> Result<()> {
    fs::create_dir_all(path).with_context(|| format!("making the folder {}", path.display()))
}
