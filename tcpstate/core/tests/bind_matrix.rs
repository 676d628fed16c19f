//! The conflict rule against measured outcomes: `data/bind-matrix.json` holds
//! what real kernels answered to each pair of sockets. `baseline` is one
//! kernel's answers, `kernels` a JSON merge patch (RFC 7396) per kernel.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde_json::{Map, Value};
use tcpstate_core::diagnosis::conflict::{
    Binder, BoundSocket, Forecast, Memory, Verdict, forecast, verdict,
};
use tcpstate_core::event::{Family, Reuse, Sharing, State, YesNo};

const DATA: &str = include_str!("data/bind-matrix.json");
const KERNELS: usize = 10;
const CASES_PER_KERNEL: usize = 752;

#[test]
fn the_rule_reproduces_every_measured_outcome() {
    for (kernel, answers) in kernels() {
        let mut check = Check::default();
        one_address_each_state(&answers, &mut check);
        reuseport_and_users(&answers, &mut check);
        listeners_and_bound_sockets_by_address(&answers, &mut check);
        time_wait_by_address(&answers, &mut check);

        assert_eq!(check.cases, CASES_PER_KERNEL, "{kernel}");
        // 6.1 loses sight of `::ffff:0.0.0.0` for a specific mapped address.
        let expected: &[&str] = if kernel.starts_with("6.1.0") {
            &[
                "m4_LISTEN_00 [::ffff:0.0.0.0] [::ffff:127.0.0.1]",
                "m4_LISTEN_11 [::ffff:0.0.0.0] [::ffff:127.0.0.1]",
            ]
        } else {
            &[]
        };
        assert_eq!(check.mismatches, expected, "{kernel}");
    }
}

#[test]
fn options_count_as_they_are_now_not_as_they_were_at_bind() {
    for (kernel, answers) in kernels() {
        let mut check = Check::default();
        for (key, got) in section(&answers, "m2") {
            let state = state(key.split(' ').nth(1).expect("old STATE"));
            let holder = Holder {
                reuse: key.contains("then set 1"),
                ..Holder::new(state, "127.0.0.1")
            };
            let new = Asking {
                reuse: key.ends_with("new_reuse=1"),
                ..Asking::new("127.0.0.1")
            };
            check.case(key.clone(), &new, Some(&holder), got);
        }

        assert_eq!(check.cases, 8, "{kernel}");
        assert_eq!(check.mismatches, [""; 0], "{kernel}");
    }
}

#[test]
fn users_of_orphans_are_compared_as_each_kernel_does() {
    for (kernel, answers) in kernels() {
        let mut seen = 0;
        for (key, got) in section(&answers, "m6") {
            let Some(rest) = key.strip_prefix("reuseport uid old=") else {
                continue;
            };
            let (uid, rest) = rest.split_once('(').expect("uid(STATE)");
            let (name, new_uid) = rest.split_once(") new=").expect("STATE) new=uid");
            let uid: u32 = uid.parse().expect("uid");
            let is_roots = name.ends_with("orphan") && !keeps_orphans_user(&kernel);
            let holder = BoundSocket {
                uid: Some(if is_roots { 0 } else { uid }),
                reuse: Some(reuse(false, true, false)),
                ..Holder::new(state(name), "127.0.0.1").bound()
            };
            let new = Binder {
                uid: Some(new_uid.parse().expect("uid")),
                reuse: reuse(false, true, false),
                ..Asking::new("127.0.0.1").binder()
            };
            // What the listener left when it bound: it lets its own user in, also
            // where its orphan counts as root's.
            let sharing = Sharing {
                uid,
                family: Family::Ipv4,
                addr: new.addr.into(),
                v6only: false,
            };
            seen += 1;
            let expected = if got == "ok" { YesNo::Yes } else { YesNo::No };
            let memory = Memory {
                sharing: Some(sharing),
                ..Memory::default()
            };
            let answer = forecast(&new, &[holder], memory, true);
            assert_eq!(answer, Forecast::both(expected), "{kernel} {key}");
        }
        assert_eq!(seen, 12, "{kernel}");
    }
}

/// From 6.17 on; the program goes by the kernel's BTF.
fn keeps_orphans_user(kernel: &str) -> bool {
    let mut numbers = kernel
        .split(|character: char| !character.is_ascii_digit())
        .map(|number| number.parse::<u32>().expect("a version"));
    (numbers.next(), numbers.next()) >= (Some(6), Some(17))
}

/// m1: old socket on 127.0.0.1 in every state, new one on three addresses.
fn one_address_each_state(answers: &Value, check: &mut Check) {
    for (key, row) in section(answers, "m1") {
        let name = key.split(' ').next().expect("STATE");
        let holder = Holder {
            reuse: key.contains("old_reuse=1"),
            ..Holder::new(state(name), "127.0.0.1")
        };
        // A reset that `bind` had not fixed to a port has let go of it.
        let is_gone = matches!(name, "CLOSED_eph_rst" | "CLOSED_accepted_rst");
        for (addr, got) in ["127.0.0.1", "0.0.0.0", "127.0.0.2"].iter().zip(array(row)) {
            let new = Asking {
                reuse: key.contains("new_reuse=1"),
                ..Asking::new(addr)
            };
            check.case(
                format!("{key} {addr}"),
                &new,
                (!is_gone).then_some(&holder),
                got,
            );
        }
    }
}

/// m3: both reuse options on both sides, same and other user.
fn reuseport_and_users(answers: &Value, check: &mut Check) {
    for (key, row) in section(answers, "m3") {
        let (old, new) = key.split_once(" new(").expect("old(..) new(..)");
        let name = old.split(' ').next().expect("STATE");
        let is_set = |side: &str, option: &str| side.contains(&format!("{option}=1"));
        let holder = Holder {
            reuse: is_set(old, "reuse"),
            reuseport: is_set(old, "rport"),
            ..Holder::new(state(name), "127.0.0.1")
        };
        for (uid, got) in [0, 1000].into_iter().zip(array(row)) {
            let new = Asking {
                reuse: is_set(new, "reuse"),
                reuseport: is_set(new, "rport"),
                uid,
                ..Asking::new("127.0.0.1")
            };
            check.case(format!("{key} {uid}"), &new, Some(&holder), got);
        }
    }
}

/// m4: every kind of address against every other.
fn listeners_and_bound_sockets_by_address(answers: &Value, check: &mut Check) {
    for (name, state, is_reusing) in [
        ("m4_LISTEN_00", State::Listen, false),
        ("m4_BOUND_11", State::Bound, true),
        ("m4_LISTEN_11", State::Listen, true),
    ] {
        for (old, row) in section(answers, name) {
            let old_addr = Asking::new(old).binder();
            for (addr, got) in row.as_object().expect("a row") {
                let holder = Holder {
                    reuse: is_reusing,
                    v6only: old_addr.reuse.v6only || old == "[::1]",
                    ..Holder::new(state, &old_addr.addr.to_string())
                };
                let new = Asking {
                    reuse: is_reusing,
                    ..Asking::new(addr)
                };
                check.case(format!("{name} {old} {addr}"), &new, Some(&holder), got);
            }
        }
    }
}

/// m5: what `TIME_WAIT` of each kind of server and peer blocks.
fn time_wait_by_address(answers: &Value, check: &mut Check) {
    for (key, row) in section(answers, "m5") {
        let (server, options) = key.split_once(" ro=").expect("server ro= rn=");
        let (addr, v6only) = match server {
            "0.0.0.0, v4 peer" => ("127.0.0.1", false),
            "[::]dual, v4 peer" => ("::ffff:127.0.0.1", false),
            "[::]dual, v6 peer" => ("::1", false),
            "[::]v6only, v6 peer" => ("::1", true),
            other => panic!("unknown server {other}"),
        };
        let holder = Holder {
            reuse: options.starts_with('1'),
            v6only,
            ..Holder::new((State::TimeWait, true), addr)
        };
        for (addr, got) in row.as_object().expect("a row") {
            let new = Asking {
                reuse: options.ends_with("rn=1"),
                ..Asking::new(addr)
            };
            check.case(format!("{key} {addr}"), &new, Some(&holder), got);
        }
    }
}

#[derive(Default)]
struct Check {
    cases: usize,
    mismatches: Vec<String>,
}

impl Check {
    fn case(&mut self, name: String, new: &Asking<'_>, holder: Option<&Holder>, got: &Value) {
        let expected = holder.map_or(Verdict::Free, |holder| {
            verdict(&new.binder(), &holder.bound())
        });
        let got = match got.as_str().expect("an outcome") {
            "ok" => Verdict::Free,
            _ => Verdict::Conflict,
        };
        self.cases += 1;
        if expected != got {
            self.mismatches.push(name);
        }
    }
}

struct Holder {
    state: State,
    is_mini: bool,
    addr: IpAddr,
    reuse: bool,
    reuseport: bool,
    v6only: bool,
}

impl Holder {
    fn new(state: impl Into<StateAndKind>, addr: &str) -> Self {
        let StateAndKind(state, is_mini) = state.into();
        Self {
            state,
            is_mini,
            addr: addr.parse().expect("an address"),
            reuse: false,
            reuseport: false,
            v6only: false,
        }
    }

    fn bound(&self) -> BoundSocket {
        BoundSocket {
            family: family(self.addr),
            addr: self.addr,
            reuse: Some(reuse(self.reuse, self.reuseport, self.v6only)),
            v6only: None,
            uid: (!self.is_mini).then_some(0),
            device: None,
            state: self.state,
            is_mini: self.is_mini,
        }
    }
}

struct Asking<'a> {
    addr: &'a str,
    reuse: bool,
    reuseport: bool,
    uid: u32,
}

impl<'a> Asking<'a> {
    fn new(addr: &'a str) -> Self {
        Self {
            addr,
            reuse: false,
            reuseport: false,
            uid: 0,
        }
    }

    /// Understands the data's `[::]dual`, `[::]v6only` and `[::1]`.
    fn binder(&self) -> Binder {
        let v6only = self.addr.ends_with("v6only");
        let addr = self
            .addr
            .trim_end_matches("v6only")
            .trim_end_matches("dual")
            .trim_matches(['[', ']']);
        let addr: IpAddr = addr.parse().expect("an address");
        Binder {
            family: family(addr),
            addr,
            reuse: reuse(self.reuse, self.reuseport, v6only),
            uid: Some(self.uid),
            device: None,
        }
    }
}

struct StateAndKind(State, bool);

impl From<State> for StateAndKind {
    fn from(state: State) -> Self {
        Self(state, false)
    }
}

impl From<(State, bool)> for StateAndKind {
    fn from((state, is_mini): (State, bool)) -> Self {
        Self(state, is_mini)
    }
}

/// State and whether it is a mini-socket, from a name in the data.
fn state(name: &str) -> (State, bool) {
    match name {
        "BOUND" => (State::Bound, false),
        "CLOSED_bound_rst" | "CLOSED_eph_rst" | "CLOSED_accepted_rst" => (State::Closed, false),
        "CLOSE_WAIT" => (State::CloseWait, false),
        "CLOSING" => (State::Closing, false),
        "ESTABLISHED" | "ESTAB_client_bound" | "ESTAB_client_eph" => (State::Established, false),
        "FIN_WAIT1" | "FIN_WAIT1_orphan" => (State::FinWait1, false),
        "FIN_WAIT2" => (State::FinWait2, false),
        "FIN_WAIT2_orphan" => (State::FinWait2, true),
        "LAST_ACK" => (State::LastAck, false),
        "LISTEN" => (State::Listen, false),
        "SYN_SENT_bound" | "SYN_SENT_eph" => (State::SynSent, false),
        "TIME_WAIT" | "TW_client_bound" | "TW_client_eph" => (State::TimeWait, true),
        other => panic!("unknown state {other}"),
    }
}

fn reuse(reuseaddr: bool, reuseport: bool, v6only: bool) -> Reuse {
    Reuse {
        reuseaddr,
        reuseport,
        v6only,
    }
}

fn family(addr: IpAddr) -> Family {
    if addr.is_ipv4() {
        Family::Ipv4
    } else {
        Family::Ipv6
    }
}

fn section<'a>(answers: &'a Value, name: &str) -> &'a Map<String, Value> {
    answers[name].as_object().expect("a section")
}

fn array(row: &Value) -> &[Value] {
    row.as_array().expect("a row")
}

/// Name (`6.1.0` is Debian's 6.1.192) and answers of each kernel.
fn kernels() -> BTreeMap<String, Value> {
    let data: Value = serde_json::from_str(DATA).expect("valid JSON");
    let kernels: BTreeMap<_, _> = data["kernels"]
        .as_object()
        .expect("kernels")
        .iter()
        .map(|(kernel, patch)| {
            let mut answers = data["baseline"].clone();
            merge(&mut answers, patch);
            (kernel.clone(), answers)
        })
        .collect();
    assert_eq!(kernels.len(), KERNELS);
    kernels
}

fn merge(target: &mut Value, patch: &Value) {
    let Some(patch) = patch.as_object() else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let target = target.as_object_mut().expect("made an object above");
    for (key, value) in patch {
        if value.is_null() {
            target.remove(key);
        } else {
            merge(target.entry(key.clone()).or_insert(Value::Null), value);
        }
    }
}
