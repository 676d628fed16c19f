//! Every cause and every fix that has a command: the command is run as it was
//! printed, from another network namespace than the fault's, beside bystanders.
//! Prints the table of what was run; what cannot run here says why.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::time::Duration;

use rustix::io::Errno;
use serde_json::Value;
use tcpstate::event::{Cause, State};

use super::fault::{Fault, Kept, Scenery, bystanders, with_bystanders};
use super::stages::{ProgramCopy, faults, program};
use super::{commands, paste};
use crate::elsewhere::Elsewhere;
use support::{Program, TCPSTATE, Watch, count_listed, on_stage, report_figures};

/// What must be so once the command was run.
#[derive(Clone, Copy)]
enum Then {
    /// The call that failed works.
    Works,
    /// The command shows this; it changes nothing.
    Shows(&'static str),
    /// The command shows the processes that hold the port; once these are ended, the
    /// call works.
    WorksWithoutThem,
    /// It waits until the port is free, which another command brings about.
    Waits,
    /// The setting has this value; what has happened already it does not change.
    IsSet(&'static str, &'static str),
}

/// What is true after the command of each fix, whatever the cause.
const THEN: [(&str, Then); 15] = [
    ("check_ipv6_address", Then::Shows("inet6")),
    ("enable_ipv6", Then::Works),
    ("wait", Then::Waits),
    ("destroy_sockets", Then::Works),
    ("stop_holder", Then::WorksWithoutThem),
    (
        "reserve_port",
        Then::IsSet("ipv4/ip_local_reserved_ports", "8083,9000-9010"),
    ),
    (
        "port_outside_range",
        Then::Shows("net.ipv4.ip_local_port_range"),
    ),
    ("bindv6only", Then::IsSet("ipv6/bindv6only", "1")),
    ("nonlocal_bind", Then::Works),
    ("check_address", Then::Shows("lo ")),
    ("find_user", Then::Shows("LISTEN")),
    ("widen_range", Then::Works),
    ("tcp_tw_reuse", Then::Works),
    ("lower_unprivileged_port_start", Then::Works),
    ("grant_capability", Then::Works),
];

/// What cannot be run here, with the reason and where else it is looked at.
const NOT_HERE: [(&str, &str, &str); 10] = [
    (
        "privileged_port",
        "ambient_capability",
        "opens an editor of systemd's, which does not run here",
    ),
    (
        "active_listener",
        "look_at_holder",
        "not in this stage: advice/systemd.rs runs it beside a real systemd",
    ),
    (
        "denied_by_policy",
        "check_audit_log",
        "no audit daemon keeps a log here",
    ),
    (
        "denied_by_policy",
        "check_cgroup_programs",
        "bpftool is not part of the stage; it reads only",
    ),
    (
        "denied_by_policy",
        "check_firewall",
        "nft is not part of the stage; it reads only",
    ),
    (
        "holder_gone",
        "try_again",
        "a race of microseconds: causes/gone.rs wins it and tries again",
    ),
    (
        "unknown",
        "look_now",
        "a race of microseconds: causes/gone.rs",
    ),
    ("unknown", "read_error", "no manual pages here"),
    (
        "already_bound",
        "",
        "its fixes are changes of the program, without a command",
    ),
    (
        "four_tuple_in_use",
        "wait",
        "has no command: tcpstate wait is for bind",
    ),
];

/// Where the fault is, seen from the terminal that the command is pasted into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum From {
    /// In a namespace that has no name.
    Unnamed,
    /// In one that `ip netns` knows.
    Named,
}

/// One fault on a stage of its own, and what was said of it.
struct Staged {
    place: Elsewhere,
    name: Option<Name>,
    watch: Watch,
    diagnosis: Value,
    kept: Option<(Kept, Kept)>,
    before: Scenery,
}

/// A name of `ip netns`, taken back when the test is over.
struct Name(String);

impl Drop for Name {
    fn drop(&mut self) {
        let path = format!("/run/netns/{}", self.0);
        let _ = Command::new("umount").args(["-l", &path]).status();
        let _ = std::fs::remove_file(path);
    }
}

fn stage(fault: &Fault, from: From) -> Staged {
    let (place, innocent) = with_bystanders();
    let name = (from == From::Named).then(|| {
        let name = format!("tcpstate-advice-{}", std::process::id());
        std::fs::create_dir_all("/run/netns").expect("root may");
        std::mem::forget(place.mount_at(std::path::Path::new(&format!("/run/netns/{name}"))));
        Name(name)
    });
    let mut watch = Watch::start_in(&place.inode.to_string(), &[]);
    let kept = place.inside(fault.hold);
    let before = place.inside(Scenery::look);
    let refused = place.inside(fault.call_again);
    assert!(
        refused.is_err(),
        "{} {}: it is refused",
        fault.cause,
        fault.kind
    );
    let diagnosis = watch.diagnosis(fault.call, fault.port);
    assert_eq!(
        diagnosis["cause"], fault.cause,
        "{}: {diagnosis}",
        fault.kind
    );
    Staged {
        place,
        name,
        watch,
        diagnosis,
        kept: Some((kept, innocent)),
        before,
    }
}

impl Staged {
    /// Runs the command of one fix and looks at what has become of everybody.
    fn carry_out(mut self, fault: &Fault, id: &str, line: &str, then: Then) {
        let what = format!("{} {}, {id}: $ {line}", fault.cause, fault.kind);
        if let Some(name) = &self.name {
            let has_name = line.contains(&name.0);
            assert!(has_name || !line.contains("netns"), "{what}");
        }
        let line = line.replacen("tcpstate wait", &format!("{TCPSTATE} wait"), 1);
        match then {
            Then::Waits => self.wait(fault, &line, &what),
            Then::WorksWithoutThem => self.end_holders(fault, &line, &what),
            Then::Works => {
                let output = paste(&line);
                assert!(output.status.success(), "{what}: {output:?}");
                let again = self.place.inside(fault.call_again);
                // Only one of two obstacles was taken away.
                let is_other = fault.kind == "taken besides" && again == Err(Errno::ADDRINUSE);
                assert!(again.is_ok() || is_other, "{what}: {again:?}");
            }
            Then::Shows(part) => {
                let output = paste(&line);
                assert!(output.status.success(), "{what}: {output:?}");
                let text = String::from_utf8_lossy(&output.stdout);
                assert!(text.contains(part), "{what}: {text}");
            }
            Then::IsSet(name, value) => {
                let output = paste(&line);
                assert!(output.status.success(), "{what}: {output:?}");
                let now = self.place.inside(move || {
                    std::fs::read_to_string(format!("/proc/sys/net/{name}")).expect("it is there")
                });
                assert_eq!(now.trim(), value, "{what}");
            }
        }
        let now = self.place.inside(Scenery::look);
        assert!(now.has_the_sockets_of(&self.before), "{what}: {now:?}");
        let is_setting = line.contains("sysctl -w");
        assert_eq!(
            self.before.changed(&now).len(),
            usize::from(is_setting),
            "{what}"
        );
        drop(self.kept.take());
        self.watch.finish();
    }

    fn wait(&self, fault: &Fault, line: &str, what: &str) {
        let mut waiting = Command::new("sh")
            .args(["-c", &format!("exec {line}")])
            .stdout(std::process::Stdio::null())
            .spawn()
            .expect("sh is there");
        std::thread::sleep(Duration::from_millis(700));
        let too_early = waiting.try_wait().expect("it is our child");
        assert!(
            too_early.is_none(),
            "{what}: it does not wait: {too_early:?}"
        );
        let (_, destroy, _) = commands(&self.diagnosis)
            .into_iter()
            .find(|(id, ..)| id == "destroy_sockets")
            .expect("what goes by itself can be destroyed");
        assert!(paste(&destroy).status.success(), "{what}: $ {destroy}");
        let status = waiting.wait().expect("it is our child");
        assert!(status.success(), "{what}: {status}");
        let again = self.place.inside(fault.call_again);
        assert!(again.is_ok(), "{what}: {again:?}");
    }

    /// Does what somebody does who has looked.
    fn end_holders(&self, fault: &Fault, line: &str, what: &str) {
        let output = paste(line);
        assert!(output.status.success(), "{what}: {output:?}");
        let shown = String::from_utf8_lossy(&output.stdout).into_owned();
        let holders = self.diagnosis["holders"].as_array().expect("a list");
        let pids: BTreeSet<u64> = holders
            .iter()
            .flat_map(|holder| holder["processes"].as_array().cloned().unwrap_or_default())
            .filter_map(|process| process["pid"].as_u64())
            .collect();
        assert!(!pids.is_empty(), "{what}: {}", self.diagnosis);
        for pid in pids {
            let is_shown = shown.split_whitespace().any(|word| word == pid.to_string());
            assert!(is_shown, "{what}: {pid} is not in {shown}");
            let pid = i32::try_from(pid)
                .ok()
                .and_then(rustix::process::Pid::from_raw);
            let pid = pid.expect("a pid");
            rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("it lives");
        }
        let is_over = |again: Result<(), Errno>| match fault.cause {
            // The port is free, and low as before.
            "privileged_port" => again == Err(Errno::ACCESS),
            // Its `why` says so: what it closed first, and not its peer, is in TIME_WAIT now.
            "established_leftover" | "ephemeral_collision" => {
                let port = fault.port;
                let count = move |state| count_listed(port, state);
                let open = self.place.inside(move || count(State::Established));
                let left = self.place.inside(move || count(State::TimeWait));
                // The innocent server's two and its TIME_WAIT, the innocent client's one.
                again.is_ok() || (open, left) == if port == 8080 { (2, 2) } else { (1, 1) }
            }
            _ => again.is_ok(),
        };
        let call = fault.call_again;
        let ended = (0..100).any(|_| {
            std::thread::sleep(Duration::from_millis(20));
            is_over(self.place.inside(call))
        });
        assert!(
            ended,
            "{what}: the port is still held: {:?}",
            self.place.inside(|| support::ss(&[]))
        );
    }
}

#[test]
fn every_command_does_what_it_says_and_nothing_else() {
    if !on_stage(&[
        Program("ip", "iproute2"),
        Program("ss", "iproute2"),
        Program("sysctl", "procps"),
        Program("pgrep", "procps"),
        Program("setpriv", "util-linux"),
    ]) {
        return;
    }
    let _program = ProgramCopy;
    let program = program();
    // The test's own namespace is where the commands are pasted.
    let mut rows: BTreeMap<(&str, &str, String), String> = BTreeMap::new();
    for fault in faults() {
        // A file that was given a capability keeps it.
        let _ = std::fs::remove_file(&program);
        std::fs::copy(super::fault::python(), &program).expect("there is room");
        for from in [From::Unnamed, From::Named] {
            let ids: Vec<(String, String)> = {
                let staged = stage(&fault, from);
                let all = commands(&staged.diagnosis);
                drop(staged.kept);
                staged.watch.finish();
                all.into_iter()
                    .map(|(id, _, effect)| (id, effect))
                    .collect()
            };
            for (id, effect) in ids {
                let row = (fault.cause, fault.kind, id.clone());
                if let Some((.., why)) = NOT_HERE
                    .iter()
                    .find(|(cause, name, _)| *cause == fault.cause && **name == *id)
                {
                    rows.insert(row, format!("not run: {why}"));
                    continue;
                }
                // What only looks is looked at from one side.
                if from == From::Named && effect == "reads" && id != "wait" {
                    continue;
                }
                let (_, then) = THEN
                    .iter()
                    .find(|(name, _)| **name == *id)
                    .unwrap_or_else(|| panic!("nobody says what {id} of {} does", fault.cause));
                let _ = std::fs::remove_file(&program);
                std::fs::copy(super::fault::python(), &program).expect("there is room");
                // Of an earlier stage, and gone by itself at any moment.
                paste("ss -Kt state time-wait src 127.0.0.2:8080");
                let _innocent = bystanders();
                let host = Scenery::look();
                let staged = stage(&fault, from);
                let line = commands(&staged.diagnosis)
                    .into_iter()
                    .find(|(name, ..)| *name == id)
                    .map_or_else(
                        || panic!("{id} is not said again: {}", staged.diagnosis),
                        |(_, line, _)| line,
                    );
                staged.carry_out(&fault, &id, &line, *then);
                assert_eq!(Scenery::look(), host, "{} {id}: the host", fault.cause);
                let places = rows.entry(row).or_default();
                if !places.is_empty() {
                    places.push_str(", ");
                }
                places.push_str(if from == From::Named {
                    "by name"
                } else {
                    "by number"
                });
            }
        }
    }
    report_figures("cause | kind | fix | run as printed, from another namespace");
    for ((cause, kind, id), result) in &rows {
        report_figures(&format!("{cause} | {kind} | {id} | {result}"));
    }
    let told: BTreeSet<&str> = rows.keys().map(|(cause, ..)| *cause).collect();
    let excused: BTreeSet<&str> = NOT_HERE.iter().map(|(cause, ..)| *cause).collect();
    for cause in Cause::ALL {
        let name = cause.name();
        assert!(
            told.contains(name) || excused.contains(name),
            "{name} is not in the table"
        );
    }
}
