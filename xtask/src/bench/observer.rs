//! Who watches while the load runs: tcpstate in its ways, its peers, nobody;
//! and what that cost.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde::Serialize;
use serde_json::Value;

use super::process::{self, PATIENCE, Spent, programs, status_kb};
use super::stopwatch::Stopwatch;
use super::terminal;
use super::written::{JsonCounts, count_json, read_lines, reported_lost};
use crate::installed::find;

/// After the last event: long enough for any observer to have read it.
const SETTLES: Duration = Duration::from_millis(1200);

/// Who watches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Observer {
    Nobody,
    Json,
    /// JSON, narrowed to a port that the load does not use.
    JsonOtherPort,
    Text,
    Tui,
    /// No output, recorded to a file.
    Record,
    /// The same, compressed.
    RecordZstd,
    Tcpstates,
    Tcplife,
    Bpftrace,
    Bindsnoop,
    /// `ss` ten times a second.
    SsPolling,
    /// A BPF program that does nothing: what the kernel's own clock adds.
    Empty,
    /// The same on the return of a system call that hardly anybody makes: what the kernel
    /// takes for it from all the others.
    EmptyExit,
}

/// The nearest thing that bpftrace can say in one line.
const BPFTRACE: &str = r#"tracepoint:sock:inet_sock_set_state /args->protocol == 6/ {
    printf("%llu %s %d %s:%d %s:%d %d %d\n", nsecs, comm, pid, ntop(args->saddr), args->sport,
        ntop(args->daddr), args->dport, args->oldstate, args->newstate); }"#;

impl Observer {
    pub(super) const PEERS: [Self; 4] = [
        Self::Tcpstates,
        Self::Tcplife,
        Self::Bpftrace,
        Self::SsPolling,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Nobody => "nobody",
            Self::Json => "tcpstate, JSON to a file",
            Self::JsonOtherPort => "tcpstate, JSON, `--port` of something else",
            Self::Text => "tcpstate, text to a file",
            Self::Tui => "tcpstate, dashboard",
            Self::Record => "tcpstate, dashboard and recording",
            Self::RecordZstd => "tcpstate, dashboard and recording, compressed",
            Self::Tcpstates => "libbpf-tools tcpstates",
            Self::Tcplife => "libbpf-tools tcplife",
            Self::Bpftrace => "bpftrace one-liner",
            Self::Bindsnoop => "libbpf-tools bindsnoop",
            Self::SsPolling => "ss, ten times a second",
            Self::Empty => "bpftrace, a program that does nothing",
            Self::EmptyExit => "bpftrace, nothing on the return of `listen`",
        }
    }

    pub(super) fn is_ours(self) -> bool {
        !matches!(
            self,
            Self::Nobody | Self::Empty | Self::EmptyExit | Self::Bindsnoop
        ) && !Self::PEERS.contains(&self)
    }

    /// The program that has to be installed.
    fn program(self) -> Option<&'static str> {
        match self {
            Self::Tcpstates => Some("tcpstates"),
            Self::Tcplife => Some("tcplife"),
            Self::Bpftrace | Self::Empty | Self::EmptyExit => Some("bpftrace"),
            Self::Bindsnoop => Some("bindsnoop"),
            Self::SsPolling => Some("ss"),
            _ => None,
        }
    }

    /// What is to be installed, where it is not there.
    pub(super) fn missing(self) -> Option<String> {
        let program = self.program()?;
        let package = match self {
            Self::Bpftrace | Self::Empty | Self::EmptyExit => "bpftrace",
            Self::SsPolling => "iproute2",
            _ => "libbpf-tools",
        };
        find(program)
            .is_none()
            .then(|| format!("{program} is not installed (package {package})"))
    }

    fn command(self, tcpstate: &Path, files: &Files) -> Option<Command> {
        let watch = |arguments: &[&str]| {
            let mut command = Command::new(tcpstate);
            command.args(["watch", "--netns", "self"]).args(arguments);
            command
        };
        Some(match self {
            Self::Nobody => return None,
            Self::Json => watch(&["--json"]),
            Self::JsonOtherPort => watch(&["--json", "--port", "9"]),
            Self::Text => watch(&["--format", "text"]),
            Self::Tui => watch(&["--format", "tui"]),
            Self::Record | Self::RecordZstd => {
                let mut command = watch(&["--format", "tui", "--record"]);
                command.arg(files.recording(self));
                command
            }
            Self::Tcpstates | Self::Tcplife | Self::Bindsnoop => {
                Command::new(find(self.program()?)?)
            }
            Self::Bpftrace | Self::Empty | Self::EmptyExit => {
                let mut command = Command::new("bpftrace");
                command.args([
                    "-e",
                    match self {
                        Self::Empty => "tracepoint:sock:inet_sock_set_state { }",
                        Self::EmptyExit => "tracepoint:syscalls:sys_exit_listen { }",
                        _ => BPFTRACE,
                    },
                ]);
                command
            }
            Self::SsPolling => {
                let mut command = Command::new("sh");
                command.args([
                    "-c",
                    "trap exit INT; while :; do ss -Htano; sleep 0.1; done",
                ]);
                command
            }
        })
    }

    fn has_dashboard(self) -> bool {
        matches!(self, Self::Tui | Self::Record | Self::RecordZstd)
    }
}

/// Where observers write.
pub(super) struct Files {
    folder: PathBuf,
}

impl Files {
    pub(super) fn new() -> Result<Self> {
        let folder = std::env::temp_dir().join(format!("tcpstate-bench-{}", std::process::id()));
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        Ok(Self { folder })
    }

    pub(super) fn out(&self) -> PathBuf {
        self.folder.join("out")
    }

    fn err(&self) -> PathBuf {
        self.folder.join("err")
    }

    pub(super) fn recording(&self, observer: Observer) -> PathBuf {
        self.folder.join(match observer {
            Observer::RecordZstd => "recording.jsonl.zst",
            _ => "recording.jsonl",
        })
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// What watching cost.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Cost {
    /// Of the observer's process, while the load ran and until it was read.
    pub(super) cpu_ns: u64,
    /// The part of it outside the kernel.
    pub(super) user_ns: u64,
    /// Most memory that was resident, kB.
    pub(super) peak_kb: u64,
    /// Memory that was resident before the load, kB.
    pub(super) idle_kb: u64,
    /// State changes that it wrote down; absent: it writes none.
    pub(super) events: Option<u64>,
    /// Events that it says it lost.
    pub(super) lost: Option<u64>,
    /// Of the BPF program that ran most: runs and nanoseconds, where counted.
    pub(super) runs: u64,
    pub(super) run_ns: u64,
    /// Bytes of the recording.
    pub(super) recorded_bytes: Option<u64>,
    /// Lines of the recording or of the JSON.
    pub(super) lines: Option<u64>,
    /// What tcpstate says about its ring buffer at the end.
    pub(super) ledger: Option<Value>,
}

impl Cost {
    fn add_json(&mut self, counts: &JsonCounts) {
        self.events = Some(counts.states);
        self.lines = Some(counts.lines);
        self.lost = Some(counts.lost);
    }
}

/// An observer at work.
pub(super) struct Watching<'a> {
    observer: Observer,
    files: &'a Files,
    child: Option<Child>,
    /// The other end of the dashboard's terminal.
    terminal: Option<thread::JoinHandle<()>>,
    before: Spent,
    idle_kb: u64,
}

impl<'a> Watching<'a> {
    /// Starts it and waits until its hooks are on.
    pub(super) fn start(observer: Observer, tcpstate: &Path, files: &'a Files) -> Result<Self> {
        let mut watching = Self {
            observer,
            files,
            child: None,
            terminal: None,
            before: Spent::default(),
            idle_kb: 0,
        };
        let Some(mut command) = observer.command(tcpstate, files) else {
            return Ok(watching);
        };
        command
            .stdin(Stdio::null())
            .stderr(File::create(files.err()).context("cannot write")?);
        if observer.is_ours() {
            command.arg("-v");
        }
        if observer.has_dashboard() {
            let (inside, outside) = terminal::open()?;
            command
                .env("TERM", "xterm-256color")
                .stdin(inside.try_clone()?)
                .stdout(inside);
            watching.terminal = Some(thread::spawn(move || {
                // Ends when the last process has closed the terminal.
                let mut outside = File::from(outside);
                let mut buffer = vec![0; 1 << 16];
                while matches!(outside.read(&mut buffer), Ok(1..)) {}
            }));
        } else {
            command.stdout(File::create(files.out()).context("cannot write")?);
        }
        let child = command
            .spawn()
            .with_context(|| format!("cannot start {}", command.get_program().display()))?;
        drop(command);
        let child = watching.child.insert(child);
        let pid = child.id();
        let began = Stopwatch::start();
        while !watching.is_ready(pid) {
            watching.check_is_there()?;
            if began.elapsed() > PATIENCE {
                bail!("{} does not get ready", observer.name());
            }
            thread::sleep(Duration::from_millis(20));
        }
        thread::sleep(Duration::from_millis(700));
        // Some programs may have been loaded before one was refused.
        watching.check_is_there()?;
        watching.before = Spent::by(pid);
        watching.idle_kb = status_kb(pid, "VmRSS:");
        Ok(watching)
    }

    fn check_is_there(&mut self) -> Result<()> {
        let Some(child) = &mut self.child else {
            return Ok(());
        };
        if let Some(status) = child.try_wait()? {
            let said = fs::read_to_string(self.files.err()).unwrap_or_default();
            let last = said.lines().last().unwrap_or_default();
            let name = self.observer.name();
            bail!("{name} does not start here: {status}: {last}");
        }
        Ok(())
    }

    /// Whether its hooks are on; of a peer, whether it has loaded a program, after which
    /// it is given a moment.
    fn is_ready(&self, pid: u32) -> bool {
        if self.observer.is_ours() {
            let said = fs::read_to_string(self.files.err()).unwrap_or_default();
            return said.contains("tcpstate: watching after ");
        }
        self.observer == Observer::SsPolling || !programs(pid).is_empty()
    }

    pub(super) fn cpu_ns(&self) -> u64 {
        self.child
            .as_ref()
            .map_or(0, |child| Spent::by(child.id()).since(self.before).all_ns())
    }

    /// Ends it and says what it cost.
    pub(super) fn end(mut self) -> Result<Cost> {
        let Some(mut child) = self.child.take() else {
            return Ok(Cost::default());
        };
        thread::sleep(SETTLES);
        let pid = child.id();
        let busiest = programs(pid).into_iter().max().unwrap_or_default();
        let spent = Spent::by(pid).since(self.before);
        let mut cost = Cost {
            cpu_ns: spent.all_ns(),
            user_ns: spent.user_ns,
            peak_kb: status_kb(pid, "VmHWM:"),
            idle_kb: self.idle_kb,
            runs: busiest.0,
            run_ns: busiest.1,
            ..Cost::default()
        };
        match process::end(&mut child) {
            // A peer that is stuck was ended; what it has written is counted.
            Err(error) if !self.observer.is_ours() => {
                eprintln!("{}: {error:#}", self.observer.name());
            }
            ended => ended?,
        }
        if let Some(terminal) = self.terminal.take() {
            let _ = terminal.join();
        }
        self.count(&mut cost)?;
        Ok(cost)
    }

    fn count(&self, cost: &mut Cost) -> Result<()> {
        let err = fs::read_to_string(self.files.err()).unwrap_or_default();
        match self.observer {
            Observer::Nobody
            | Observer::SsPolling
            | Observer::Tcplife
            | Observer::Bindsnoop
            | Observer::Tui
            | Observer::Empty
            | Observer::EmptyExit => {}
            Observer::Text => {
                let (lines, _) = read_lines(&self.files.out(), |line| line.contains(" -> "))?;
                cost.events = Some(lines);
            }
            Observer::Json | Observer::JsonOtherPort => {
                cost.add_json(&count_json(&self.files.out())?);
            }
            Observer::Record | Observer::RecordZstd => {
                let recording = self.files.recording(self.observer);
                cost.recorded_bytes = Some(fs::metadata(&recording)?.len());
                if self.observer == Observer::Record {
                    cost.add_json(&count_json(&recording)?);
                }
            }
            Observer::Tcpstates | Observer::Bpftrace => {
                let (lines, _) = read_lines(&self.files.out(), |line| {
                    line.starts_with(|first: char| first.is_ascii_hexdigit())
                })?;
                cost.events = Some(lines);
                cost.lost = Some(reported_lost(&err));
            }
        }
        cost.ledger = err
            .lines()
            .find_map(|line| line.strip_prefix("tcpstate: ledger "))
            .and_then(|json| serde_json::from_str(json).ok());
        Ok(())
    }
}

impl Drop for Watching<'_> {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
