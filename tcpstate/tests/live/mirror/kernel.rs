//! What the kernel lists, by three ways, and how it differs from a table.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::process::Command;

use tcpstate::clock;
use tcpstate::event::State;
use tcpstate::kernel::{Observer, Options};
use tcpstate::model::{Socket, SocketTable};
use tcpstate::snapshot::SocketItem;
use tcpstate::snapshot::sock_diag::SockDiag;

const NS_PER_MS: u64 = 1_000_000;
/// Remaining times may differ by this much.
const TOLERANCE_MS: u64 = 1_000;

/// What tells one socket from another, and its state.
type Line = (u64, bool, State, u16, u16);

/// The kernel as it is asked.
pub(crate) struct Kernel {
    netns: u32,
    /// A second instance of the program's kernel side, for its iterator.
    observer: Observer,
    /// Sockets that only the table had, past their time: the kernel's timers
    /// and our looks are both a little late.
    overdue: BTreeSet<Key>,
}

/// Of one comparison.
#[derive(Debug, Default)]
pub(crate) struct Comparison {
    pub(crate) sockets: usize,
    pub(crate) time_waits: usize,
    pub(crate) differences: Vec<Difference>,
}

/// Between the lists, or of a list from the table.
#[derive(Debug)]
pub(crate) struct Difference {
    pub(crate) of: Key,
    pub(crate) text: String,
}

/// Cookie and whether it is a mini-socket; of those several may have one
/// cookie, so that ports tell them apart.
pub(crate) type Key = (u64, bool, u16, u16);

fn key(cookie: u64, is_mini: bool, local_port: u16, peer_port: u16) -> Key {
    if is_mini {
        (cookie, is_mini, local_port, peer_port)
    } else {
        (cookie, is_mini, 0, 0)
    }
}

fn key_of(socket: &Socket) -> Key {
    let Socket {
        sock,
        local,
        peer,
        is_mini,
        ..
    } = socket;
    key(sock.cookie, *is_mini, local.port, peer.port)
}

fn key_of_item(item: &SocketItem) -> Key {
    key(
        item.sock.cookie,
        item.is_mini,
        item.local.port,
        item.peer.port,
    )
}

impl Kernel {
    /// For the calling thread's namespace.
    pub(crate) fn new(netns: u32) -> Self {
        let observer = Observer::start(&Options {
            netns: Some(netns),
            // Its own events are not wanted.
            pids: vec![1],
            ..Options::default()
        })
        .expect("the kernel program loads");
        Self {
            netns,
            observer,
            overdue: BTreeSet::new(),
        }
    }

    /// The table against all three lists, which must agree among themselves.
    pub(crate) fn compare(&mut self, table: &SocketTable, is_first_try: bool) -> Comparison {
        let before_ns = clock::monotonic_ns();
        let diag = SockDiag::open(self.netns)
            .and_then(|mut diag| diag.dump())
            .expect("the kernel answers");
        let after_ns = clock::monotonic_ns();
        let iterator: Vec<SocketItem> = self
            .observer
            .snapshot()
            .expect("the iterator runs")
            .into_iter()
            .map(|(_, item)| item)
            .collect();
        let ss = ss_lines();

        let mut differences = Vec::new();
        // Neither `ss` before 6.2 nor the iterator lists sockets that are only bound.
        let listed = without_bound(&lines(&diag));
        tell_apart(
            "ss",
            &without_bound(&ss),
            "sock_diag",
            &listed,
            &mut differences,
        );
        tell_apart(
            "the iterator",
            &lines(&iterator),
            "sock_diag",
            &listed,
            &mut differences,
        );
        let now_ns = before_ns.midpoint(after_ns);
        self.compare_table(table, &diag, now_ns, is_first_try, &mut differences);
        Comparison {
            sockets: diag.len(),
            time_waits: diag
                .iter()
                .filter(|item| item.state == State::TimeWait)
                .count(),
            differences,
        }
    }

    fn compare_table(
        &mut self,
        table: &SocketTable,
        diag: &[SocketItem],
        now_ns: u64,
        is_first_try: bool,
        differences: &mut Vec<Difference>,
    ) {
        let mut known: BTreeMap<Key, &Socket> = table
            .iter()
            .filter(|socket| socket.sock.netns == self.netns)
            .map(|socket| (key_of(socket), socket))
            .collect();
        for item in diag {
            match known.remove(&key_of_item(item)) {
                None => differences.push(Difference {
                    of: key_of_item(item),
                    text: format!("not in the table: {}", describe(item)),
                }),
                Some(socket) => {
                    if let Some(how) = difference(socket, item, now_ns) {
                        differences.push(Difference {
                            of: key_of_item(item),
                            text: how,
                        });
                    }
                }
            }
        }
        let mut overdue = BTreeSet::new();
        for (_, socket) in known {
            let is_past_its_time = socket
                .expires_at_ns
                .is_some_and(|at_ns| at_ns <= now_ns + TOLERANCE_MS * NS_PER_MS);
            let was_before = self.overdue.contains(&key_of(socket));
            if socket.is_mini && is_past_its_time && !(was_before && is_first_try) {
                overdue.insert(key_of(socket));
            } else {
                differences.push(Difference {
                    of: key_of(socket),
                    text: format!("only in the table: {}", tell(socket)),
                });
            }
        }
        self.overdue = overdue;
    }
}

fn difference(socket: &Socket, item: &SocketItem, now_ns: u64) -> Option<String> {
    let mut how = String::new();
    if socket.state != item.state {
        let _ = write!(how, " state {}", socket.state);
    }
    if (socket.local, socket.peer) != (item.local, item.peer) {
        let _ = write!(how, " addresses {} <-> {}", socket.local, socket.peer);
    }
    if socket.sock.family != item.sock.family {
        let _ = write!(how, " family {:?}", socket.sock.family);
    }
    if let Some(left_ms) = item.expires_ms {
        match socket.remaining_ns(now_ns) {
            Some(ns) if (ns / NS_PER_MS).abs_diff(left_ms) <= TOLERANCE_MS => {}
            left => {
                let _ = write!(how, " {:?} ms left", left.map(|ns| ns / NS_PER_MS));
            }
        }
    }
    (!how.is_empty()).then(|| {
        format!(
            "the table has{how} for {}; known: {}",
            describe(item),
            tell(socket)
        )
    })
}

fn tell(socket: &Socket) -> String {
    let life: Vec<String> = socket
        .steps
        .iter()
        .map(|step| format!("{} at {} ms", step.state, step.mono_ns / NS_PER_MS))
        .collect();
    format!(
        "{}{} {} <-> {} cookie {:x}, {}",
        if socket.is_mini {
            "mini-socket in "
        } else {
            ""
        },
        socket.state,
        socket.local,
        socket.peer,
        socket.sock.cookie,
        life.join(", ")
    )
}

fn describe(item: &SocketItem) -> String {
    format!(
        "{}{} {} <-> {} cookie {:x}, {:?} ms left",
        if item.is_mini { "mini-socket in " } else { "" },
        item.state,
        item.local,
        item.peer,
        item.sock.cookie,
        item.expires_ms
    )
}

fn lines(items: &[SocketItem]) -> BTreeSet<Line> {
    items
        .iter()
        .map(|item| {
            (
                item.sock.cookie,
                item.is_mini,
                item.state,
                item.local.port,
                item.peer.port,
            )
        })
        .collect()
}

fn without_bound(lines: &BTreeSet<Line>) -> BTreeSet<Line> {
    lines
        .iter()
        .filter(|line| line.2 != State::Bound)
        .copied()
        .collect()
}

fn tell_apart(
    one: &str,
    ones: &BTreeSet<Line>,
    other: &str,
    others: &BTreeSet<Line>,
    differences: &mut Vec<Difference>,
) {
    for line in ones.difference(others) {
        let text = format!("only {one} lists {line:x?}, {other} does not");
        differences.push(Difference {
            of: key(line.0, line.1, line.3, line.4),
            text,
        });
    }
    for line in others.difference(ones) {
        let text = format!("only {other} lists {line:x?}, {one} does not");
        differences.push(Difference {
            of: key(line.0, line.1, line.3, line.4),
            text,
        });
    }
}

/// What `ss -a` lists: cookie, whether it has a TIME_WAIT's timer, state, ports.
fn ss_lines() -> BTreeSet<Line> {
    let output = Command::new("ss")
        .args(["-tanoeHO"])
        .output()
        .expect("ss runs");
    String::from_utf8(output.stdout)
        .expect("ss prints text")
        .lines()
        .map(|line| ss_line(line).unwrap_or_else(|| panic!("ss prints {line:?}")))
        .collect()
}

fn ss_line(line: &str) -> Option<Line> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let state = match *words.first()? {
        "ESTAB" => State::Established,
        "SYN-SENT" => State::SynSent,
        "SYN-RECV" => State::SynReceived,
        "FIN-WAIT-1" => State::FinWait1,
        "FIN-WAIT-2" => State::FinWait2,
        "TIME-WAIT" => State::TimeWait,
        "UNCONN" => State::Bound,
        "CLOSE-WAIT" => State::CloseWait,
        "LAST-ACK" => State::LastAck,
        "LISTEN" => State::Listen,
        "CLOSING" => State::Closing,
        _ => return None,
    };
    let port = |word: &str| -> Option<u16> {
        match word.rsplit_once(':')?.1 {
            "*" => Some(0),
            port => port.parse().ok(),
        }
    };
    let cookie = words.iter().find_map(|word| word.strip_prefix("sk:"))?;
    Some((
        u64::from_str_radix(cookie, 16).ok()?,
        words.iter().any(|word| word.starts_with("timer:(timewait")),
        state,
        port(words.get(3)?)?,
        port(words.get(4)?)?,
    ))
}
