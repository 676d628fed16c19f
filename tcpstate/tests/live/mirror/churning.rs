//! Thousands of connections at random, compared at random instants.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use tcpstate::clock;
use tcpstate::demo::namespace;

use super::kernel::{Comparison, Kernel, Key};
use super::program::Mirror;
use crate::churn::{Churn, Random};
use crate::flood::Flood;
use support::lines::Lines;
use support::{Linux, Program, TCPSTATE, at, listener, on_stage, report_figures};

/// How long the table may differ in one socket.
const SETTLES_WITHIN: Duration = Duration::from_secs(10);
/// The same beside an attacker, who takes the processors as well.
const SETTLES_BESIDE_ATTACKER: Duration = Duration::from_secs(30);
const SECOND_NS: u64 = 1_000_000_000;
/// How long after the churn losses may wait for the look that makes up for them.
const MADE_UP_FOR_NS: u64 = 60 * SECOND_NS;

pub(super) fn number_from_environment(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().expect("a number"))
}

/// Memory that a long run may have gained after its first minutes, in which
/// histories of a fixed length fill up.
const WARM_UP_S: u64 = 150;
const GROWTH_PERCENT: u64 = 10;

/// What was compared since the last line that was printed.
#[derive(Default)]
struct Tally {
    comparisons: u64,
    sockets: usize,
    worst_ms: u64,
}

/// A run of a few seconds, or, as `cargo xtask soak` has it, of minutes:
/// `TCPSTATE_CHURN_SECONDS`; `TCPSTATE_CHURN_SEED` repeats one. With
/// `TCPSTATE_CHURN_ATTACKER` a user without privileges fails calls beside it as fast as he
/// can: half of them in the same way, half of them each in another one.
#[test]
fn the_table_is_what_the_kernel_lists_after_any_churn() {
    if !on_stage(&[
        Linux(5, 12, "gives hooks the cookies of sockets"),
        Program("ss", "iproute2"),
        Program("ip", "iproute2"),
    ]) {
        return;
    }
    let seconds = number_from_environment("TCPSTATE_CHURN_SECONDS").unwrap_or(20);
    let seed = number_from_environment("TCPSTATE_CHURN_SEED")
        .unwrap_or_else(|| clock::anchor().realtime % 1_000_000);
    println!("TCPSTATE_CHURN_SEED={seed}");
    let print_every_ns = if seconds < 120 { 5 } else { 60 } * SECOND_NS;
    // Orphans in FIN_WAIT_2 end within the run, and ports come back soon.
    std::fs::write("/proc/sys/net/ipv4/tcp_fin_timeout", "3").expect("the namespace is ours");
    namespace::set_local_port_range(40_000, 43_999).expect("the namespace is ours");
    let netns = namespace::current_inode().expect("Linux");
    let folder = tempfile::tempdir().expect("a directory");
    let [recording, printed] = ["r.jsonl.zst", "printed.zst"].map(|name| folder.path().join(name));
    let mut mirror = Mirror::start_kept(
        &[
            "--netns",
            "self",
            "--record",
            recording.to_str().expect("text"),
        ],
        &printed,
    );
    let mut kernel = Kernel::new(netns);
    let mut random = Random::new(seed);

    let began_ns = clock::monotonic_ns();
    let attackers = number_from_environment("TCPSTATE_CHURN_ATTACKER").map(|_| Attackers::start());
    let churn = Churn::start(seed);
    let (mut all, mut tally) = (Tally::default(), Tally::default());
    let mut printed_ns = began_ns;
    let mut warm_kb = None;
    while clock::monotonic_ns() < began_ns + seconds * SECOND_NS {
        let until_ns = clock::monotonic_ns() + random.next() % (2 * SECOND_NS);
        while clock::monotonic_ns() < until_ns {
            mirror.read_along();
            std::thread::sleep(Duration::from_millis(20));
        }
        churn.pause();
        let (settled_ms, comparison) = settle(&mut mirror, &mut kernel);
        tally.add(settled_ms, comparison.sockets);
        let now_ns = clock::monotonic_ns();
        if now_ns - began_ns > WARM_UP_S * SECOND_NS && warm_kb.is_none() {
            warm_kb = Some(mirror.resident_kb());
        }
        if now_ns - printed_ns >= print_every_ns {
            printed_ns = now_ns;
            println!(
                "{:4} s: {} connections tried; {} comparisons of {} sockets, differences 0, equal after {} ms at the latest; now {} TIME_WAIT; {} kB, {} ms of processor so far, lost {:?}",
                (now_ns - began_ns) / SECOND_NS,
                churn.connections(),
                tally.comparisons,
                tally.sockets,
                tally.worst_ms,
                comparison.time_waits,
                mirror.resident_kb(),
                mirror.processor_ms(),
                mirror.engine.losses(),
            );
            all.add_all(&std::mem::take(&mut tally));
        }
        churn.resume();
    }
    let acts = churn.finish();
    let (settled_ms, comparison) = settle(&mut mirror, &mut kernel);
    all.add_all(&tally);
    all.add(settled_ms, comparison.sockets);

    println!("acts: {acts:?}");
    if let Some(attackers) = attackers {
        report_figures(&format!("beside {} failed binds", attackers.stop()));
    }
    report_figures(&format!(
        "mirror: sockets compared {} in {} comparisons, differences 0, equal after {} ms at the latest",
        all.sockets, all.comparisons, all.worst_ms
    ));
    // After a look that took long comes a rest that is ten times as long.
    let deadline_ns = clock::monotonic_ns() + MADE_UP_FOR_NS;
    let is_made_up_for = |mirror: &Mirror| mirror.losses.last().is_none_or(|loss| loss.resynced);
    while !is_made_up_for(&mirror) && clock::monotonic_ns() < deadline_ns {
        mirror.read_along();
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(
        is_made_up_for(&mirror),
        "what was lost is made up for: {:?}",
        mirror.losses
    );
    if let Some(warm_kb) = warm_kb {
        let end_kb = mirror.resident_kb();
        println!("memory {warm_kb} kB after {WARM_UP_S} s, {end_kb} kB at the end");
        assert!(
            end_kb <= warm_kb + warm_kb * GROWTH_PERCENT / 100,
            "memory grows"
        );
    }
    mirror.finish();
    let (count, bytes) = replays_to_the_same(&recording, &printed);
    report_figures(&format!(
        "recording: {count} lines replay to the same {bytes} bytes, all of the schema"
    ));
}

/// Who fails calls beside the churn.
struct Attackers {
    floods: [Flood; 2],
    _held: OwnedFd,
}

impl Attackers {
    fn start() -> Self {
        let held = listener("127.0.0.1:7001", false);
        let nowhere = (10_000..30_000).map(|port| SocketAddr::from(([192, 0, 2, 1], port)));
        let nowhere: Vec<SocketAddr> = nowhere.collect();
        Self {
            floods: [&[at("127.0.0.1:7001")][..], &nowhere].map(|of| Flood::of(1, of)),
            _held: held,
        }
    }

    fn stop(self) -> u64 {
        self.floods.map(Flood::stop).iter().sum()
    }
}

/// Holds what the program printed, all of it, against the replay of what it
/// recorded, and against the schema; lines and bytes.
fn replays_to_the_same(recording: &Path, printed: &Path) -> (u64, u64) {
    let mut replay = Command::new(TCPSTATE)
        .args(["replay", "--json"])
        .arg(recording)
        .stdout(Stdio::piped())
        .spawn()
        .expect("tcpstate starts");
    let mut replayed = BufReader::new(replay.stdout.take().expect("stdout is piped"));
    let printed = File::open(printed).expect("it was kept");
    let mut printed = BufReader::new(zstd::Decoder::new(printed).expect("zstd is there"));
    let mut lines = Lines::of_the_schema();
    let mut bytes = 0;
    let (mut live, mut again) = (String::new(), String::new());
    loop {
        live.clear();
        again.clear();
        let read = printed.read_line(&mut live).expect("it is text");
        replayed.read_line(&mut again).expect("it is text");
        assert_eq!(live, again, "line {}", lines.total() + 1);
        if read == 0 {
            break;
        }
        bytes += read as u64;
        lines.check(live.trim_end());
    }
    assert!(replay.wait().expect("it ends").success());
    assert_eq!(lines.counts.get("footer"), Some(&1), "{:?}", lines.counts);
    (lines.total(), bytes)
}

impl Tally {
    fn add(&mut self, settled_ms: u64, sockets: usize) {
        self.comparisons += 1;
        self.sockets += sockets;
        self.worst_ms = self.worst_ms.max(settled_ms);
    }

    fn add_all(&mut self, other: &Self) {
        self.comparisons += other.comparisons;
        self.sockets += other.sockets;
        self.worst_ms = self.worst_ms.max(other.worst_ms);
    }
}

/// Compares until nothing differs. Timers go on while the churn stands still, so
/// what counts is how long one difference lasts.
#[track_caller]
pub(super) fn settle(mirror: &mut Mirror, kernel: &mut Kernel) -> (u64, Comparison) {
    let began_ns = clock::monotonic_ns();
    let mut lasting: BTreeMap<Key, u64> = BTreeMap::new();
    let mut is_first_try = true;
    loop {
        mirror.catch_up();
        let comparison = kernel.compare(mirror.engine.table(), is_first_try);
        is_first_try = false;
        let now_ns = clock::monotonic_ns();
        lasting = comparison
            .differences
            .iter()
            .map(|difference| {
                let since_ns = lasting.get(&difference.of).copied().unwrap_or(now_ns);
                (difference.of, since_ns)
            })
            .collect();
        if lasting.is_empty() {
            return ((now_ns - began_ns) / 1_000_000, comparison);
        }
        let settles_within = match number_from_environment("TCPSTATE_CHURN_ATTACKER") {
            None => SETTLES_WITHIN,
            Some(_) => SETTLES_BESIDE_ATTACKER,
        };
        let settles_ns = u64::try_from(settles_within.as_nanos()).expect("seconds");
        let stubborn: Vec<&str> = comparison
            .differences
            .iter()
            .filter(|difference| {
                now_ns - began_ns > 4 * settles_ns || now_ns - lasting[&difference.of] > settles_ns
            })
            .map(|difference| difference.text.as_str())
            .collect();
        assert!(
            stubborn.is_empty(),
            "{} differences among {} sockets, after {} ms at {} ms, losses {:?}:\n{}",
            stubborn.len(),
            comparison.sockets,
            (now_ns - began_ns) / 1_000_000,
            now_ns / 1_000_000,
            mirror.losses,
            stubborn[..stubborn.len().min(20)].join("\n")
        );
        std::thread::sleep(Duration::from_millis(50));
    }
}
