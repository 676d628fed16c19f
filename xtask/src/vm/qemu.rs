//! One virtual machine, from start to power-off, without KVM: a host that is a
//! virtual machine itself may open the device and still boot nothing.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};

use super::apt::Apt;
use super::architecture::Architecture;
use crate::installed::find;

/// Beside QEMU the libraries that a server lacks, for hosts where it is not
/// installed or cannot be without removing something else.
const PACKAGES: &[&str] = &[
    "qemu-system-common",
    "qemu-system-data",
    "seabios",
    "libcapstone4",
    "libfdt1",
    "libpmem1",
    "librdmacm1",
    "libibverbs1",
    "libslirp0",
    "libvdeplug2",
    "libndctl6",
    "libdaxctl1",
    "libnl-route-3-200",
    "libnl-3-200",
];
/// How often a running machine is looked at.
const PAUSE: Duration = Duration::from_millis(100);

/// QEMU, installed or unpacked.
pub(super) struct Qemu {
    program: PathBuf,
    architecture: Architecture,
    /// Where it was unpacked, if it is not installed.
    tree: Option<PathBuf>,
}

/// A guest's kernel and root.
pub(super) struct Guest {
    pub(super) kernel: PathBuf,
    pub(super) initramfs: PathBuf,
    pub(super) processors: u32,
}

impl Qemu {
    /// The installed one, or one of our own.
    pub(super) fn find(apt: &Apt, architecture: Architecture) -> Result<Self> {
        let (name, package, folder) = architecture.qemu();
        if let Some(program) = find(name) {
            return Ok(Self {
                program,
                architecture,
                tree: None,
            });
        }
        let tree = apt.tools(folder, &[&[package], PACKAGES].concat())?;
        let qemu = Self {
            program: tree.join("usr/bin").join(name),
            architecture,
            tree: Some(tree),
        };
        let output = qemu
            .command()
            .arg("--version")
            .output()
            .context("cannot start QEMU")?;
        ensure!(
            output.status.success(),
            "QEMU does not start here ({}); install it with: apt-get install {package}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
        Ok(qemu)
    }

    /// Boots the guest and returns once it is off. Its two serial ports are
    /// written to `console` and `outcome`.
    pub(super) fn run(
        &self,
        guest: &Guest,
        console: &Path,
        outcome: &Path,
        limit: Duration,
    ) -> Result<()> {
        for file in [console, outcome] {
            fs::write(file, "").with_context(|| format!("writing {}", file.display()))?;
        }
        let child = self
            .machine(guest)
            .args(["-display", "none"])
            .arg("-serial")
            .arg(format!("file:{}", console.display()))
            .args(self.architecture.second_port_to(outcome))
            .stdin(Stdio::null())
            .spawn()
            .context("cannot start QEMU")?;
        wait(child, limit)
    }

    /// Boots the guest with its console on this terminal.
    pub(super) fn console(&self, guest: &Guest) -> Result<()> {
        let status = self
            .machine(guest)
            .args(["-display", "none", "-serial", "mon:stdio"])
            .status()
            .context("cannot start QEMU")?;
        ensure!(status.success(), "QEMU ended with {status}");
        Ok(())
    }

    fn machine(&self, guest: &Guest) -> Command {
        let mut command = self.command();
        command
            .args(self.architecture.machine())
            .args(["-accel", "tcg,thread=multi"])
            .args(["-m", "1024", "-nodefaults", "-no-reboot", "-smp"])
            .arg(guest.processors.to_string())
            .arg("-kernel")
            .arg(&guest.kernel)
            .arg("-initrd")
            .arg(&guest.initramfs)
            .arg("-append")
            .arg(format!(
                "console={} panic=-1 loglevel=5",
                self.architecture.console()
            ));
        command
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        if let Some(tree) = &self.tree {
            let libraries = ["usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu"]
                .map(|folder| tree.join(folder).display().to_string());
            command.env("LD_LIBRARY_PATH", libraries.join(":"));
            for folder in ["usr/share/qemu", "usr/share/seabios"] {
                command.arg("-L").arg(tree.join(folder));
            }
        }
        command
    }
}

fn wait(mut child: Child, limit: Duration) -> Result<()> {
    let start = crate::clock::now();
    loop {
        if let Some(status) = child.try_wait().context("waiting for QEMU")? {
            ensure!(status.success(), "QEMU ended with {status}");
            return Ok(());
        }
        if start.elapsed() > limit {
            child.kill().context("ending QEMU")?;
            child.wait().context("waiting for QEMU")?;
            bail!("not off after {} s", limit.as_secs());
        }
        std::thread::sleep(PAUSE);
    }
}
