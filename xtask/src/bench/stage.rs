//! Where a measurement takes place: a network namespace of its own, on a thread
//! of its own, so that no TIME_WAIT of one run is there in the next.

use std::fs;
use std::process::Command;
use std::thread;

use anyhow::{Context as _, Result, ensure};

use super::load::ADDRESSES;

/// Threads of the load whose addresses are prepared.
const THREADS: u16 = 2;
const STATS: &str = "/proc/sys/kernel/bpf_stats_enabled";

/// Runs `scene` in a fresh namespace with the loopback interface up. What the
/// scene starts lives there too; the namespace goes with it.
pub(crate) fn on_stage<R: Send>(scene: impl FnOnce() -> Result<R> + Send) -> Result<R> {
    thread::scope(|scope| {
        let run = scope.spawn(|| {
            enter_private_namespace()?;
            scene()
        });
        run.join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

#[expect(unsafe_code, reason = "leaving a namespace is a matter of the caller")]
fn enter_private_namespace() -> Result<()> {
    use rustix::thread::UnshareFlags;

    // SAFETY: only the namespaces of this thread change, which has no socket and
    // no open file of its own yet.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNET | UnshareFlags::NEWNS) }
        .context("cannot make a private network namespace; run as root")?;
    if fs::metadata("/sys/kernel/tracing/events").is_err() {
        // The peers look for their tracepoints here; tcpstate sees to it itself.
        run("mount", &["--make-rprivate", "/"])?;
        run(
            "mount",
            &["-t", "tracefs", "tracefs", "/sys/kernel/tracing"],
        )?;
    }
    ip(&["link", "set", "lo", "up"])?;
    for host in 1..=THREADS * ADDRESSES {
        // Without IPv6 the IPv6 load says so.
        let _ = ip(&[
            "-6",
            "addr",
            "add",
            &format!("fd00::{host:x}/128"),
            "dev",
            "lo",
            "nodad",
        ]);
    }
    set("net/ipv4/ip_local_port_range", "1024 65535")?;
    set("net/ipv4/tcp_max_tw_buckets", "4000000")
}

fn ip(arguments: &[&str]) -> Result<()> {
    run("ip", arguments).context("install iproute2")
}

fn run(program: &str, arguments: &[&str]) -> Result<()> {
    let status = Command::new(program)
        .args(arguments)
        .status()
        .with_context(|| format!("cannot run {program}"))?;
    ensure!(status.success(), "{program} {arguments:?}: {status}");
    Ok(())
}

/// `/proc/sys/net` shows the namespace of the thread that opens it.
fn set(setting: &str, value: &str) -> Result<()> {
    fs::write(format!("/proc/sys/{setting}"), value)
        .with_context(|| format!("cannot set {setting}"))
}

/// The kernel counts runs and time of its BPF programs while this lives.
pub(super) struct Stats {
    before: String,
}

impl Stats {
    pub(super) fn on() -> Result<Self> {
        let before = fs::read_to_string(STATS).with_context(|| format!("cannot read {STATS}"))?;
        fs::write(STATS, "1").with_context(|| format!("cannot set {STATS}"))?;
        Ok(Self { before })
    }
}

impl Drop for Stats {
    fn drop(&mut self) {
        let _ = fs::write(STATS, self.before.trim());
    }
}
