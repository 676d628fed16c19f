//! The program under test, and the table that follows from what it says.

use std::fs::File;
use std::io::{BufReader, Read, Write as _};
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use tcpstate::clock;
use tcpstate::engine::{Engine, Limits};
use tcpstate::event::{Body, Event, Loss};
use tcpstate::recording::reader::Reader;

use support::{TCPSTATE, at, patience, socket};

/// Ports that nobody listens on; a refused connect to one marks a moment.
const FIRST_MARK: u16 = 500;
const MARKS: u16 = 400;
/// After this another mark is made: on a kernel that preempts programs in the midst of
/// their work a failed call can be lost, which is counted.
const MARK_TAKES: Duration = Duration::from_secs(10);

/// The program watching, and its table.
pub(crate) struct Mirror {
    child: Child,
    reading: Option<JoinHandle<()>>,
    events: Receiver<Event>,
    pub(crate) engine: Engine,
    marks: u16,
    /// Losses that it told of.
    pub(crate) losses: Vec<Loss>,
}

impl Mirror {
    /// Starts it, and returns once its hooks are on.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        Self::start_with(arguments, None)
    }

    /// The same, with all that it prints kept in a compressed file.
    pub(crate) fn start_kept(arguments: &[&str], kept: &Path) -> Self {
        let file = File::create(kept).expect("there is room");
        let kept = zstd::Encoder::new(file, 0).expect("zstd is there");
        Self::start_with(arguments, Some(kept))
    }

    fn start_with(arguments: &[&str], kept: Option<zstd::Encoder<'static, File>>) -> Self {
        let mut child = Command::new(TCPSTATE)
            .args(["watch", "--json"])
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()
            .expect("tcpstate starts");
        let stdout = child.stdout.take().expect("stdout is piped");
        let (sender, events) = channel();
        let stdout = Tee { stdout, kept };
        let reading = std::thread::spawn(move || {
            for event in Reader::new(BufReader::with_capacity(1 << 20, stdout)) {
                let Ok(event) = event else {
                    // The last line of a program that was ended is cut.
                    return;
                };
                if sender.send(event).is_err() {
                    return;
                }
            }
        });
        let mut mirror = Self {
            child,
            reading: Some(reading),
            events,
            engine: Engine::new(Limits::default()),
            marks: 0,
            losses: Vec::new(),
        };
        mirror.read_until("the header", |body| matches!(body, Body::Header(_)));
        mirror
    }

    /// Ends it, and waits until all that it printed is kept.
    pub(crate) fn finish(mut self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("it is there");
        let reading = self.reading.take().expect("it was started");
        reading.join().expect("all of it is read");
        let status = self.child.wait().expect("it ends");
        assert!(status.success(), "{status}");
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Reads until an event fits, and takes it in.
    #[track_caller]
    pub(crate) fn read_until(&mut self, what: &str, fits: impl Fn(&Body) -> bool) -> Event {
        self.read_within(patience(), fits)
            .unwrap_or_else(|| panic!("no {what} within {:?}", patience()))
    }

    fn read_within(&mut self, time: Duration, fits: impl Fn(&Body) -> bool) -> Option<Event> {
        let deadline_ns = clock::monotonic_ns() + 1_000_000_000 * time.as_secs();
        while clock::monotonic_ns() < deadline_ns {
            let event = self.events.recv_timeout(time).ok()?;
            self.take(&event);
            if fits(&event.body) {
                return Some(event);
            }
        }
        None
    }

    fn take(&mut self, event: &Event) {
        if let Body::Loss(loss) = &event.body {
            self.losses.push(loss.clone());
        }
        self.engine.observe(event.mono_ns, event.body.clone());
    }

    /// Takes in everything that the program can know by now: a connect is
    /// refused, which it tells of at once and after all that was before.
    #[track_caller]
    pub(crate) fn catch_up(&mut self) {
        let deadline_ns = clock::monotonic_ns() + 1_000_000_000 * patience().as_secs();
        while clock::monotonic_ns() < deadline_ns {
            let port = FIRST_MARK + self.marks % MARKS;
            self.marks += 1;
            let address = at(&format!("{}:{port}", Ipv4Addr::LOCALHOST));
            rustix::net::connect(socket(address), &address).expect_err("nobody listens");
            let mark = self.read_within(
                MARK_TAKES,
                |body| matches!(body, Body::Connect(call) if !call.ok && call.requested.port == port),
            );
            if mark.is_some() {
                return;
            }
        }
        panic!("no mark within {:?}", patience());
    }

    /// What is there already, without waiting.
    pub(crate) fn read_along(&mut self) {
        while let Ok(event) = self.events.try_recv() {
            self.take(&event);
        }
    }

    /// Kilobytes of memory that the program has.
    pub(crate) fn resident_kb(&self) -> u64 {
        std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))
            .expect("it runs")
            .lines()
            .find_map(|line| {
                line.strip_prefix("VmRSS:")?
                    .trim()
                    .strip_suffix("kB")?
                    .trim()
                    .parse()
                    .ok()
            })
            .expect("a process has memory")
    }

    /// Milliseconds of processor time that the program has had.
    pub(crate) fn processor_ms(&self) -> u64 {
        let stat =
            std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).expect("it runs");
        let fields: Vec<&str> = stat
            .rsplit_once(')')
            .expect("the name is in brackets")
            .1
            .split_whitespace()
            .collect();
        let ticks: u64 = [fields[11], fields[12]]
            .iter()
            .map(|field| field.parse::<u64>().expect("a number"))
            .sum();
        // USER_HZ is 100 everywhere.
        ticks * 10
    }
}

/// What the program prints, on the way into a file as well.
struct Tee {
    stdout: ChildStdout,
    kept: Option<zstd::Encoder<'static, File>>,
}

impl Read for Tee {
    fn read(&mut self, bytes: &mut [u8]) -> std::io::Result<usize> {
        let read = self.stdout.read(bytes)?;
        if let Some(kept) = &mut self.kept {
            kept.write_all(&bytes[..read])?;
            if read == 0 {
                kept.do_finish()?;
            }
        }
        Ok(read)
    }
}

impl Drop for Mirror {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
