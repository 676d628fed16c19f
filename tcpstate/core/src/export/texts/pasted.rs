//! Names that somebody chose, in every place where one can come from, and what a
//! real shell does with the commands that are printed then.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command as Program, Stdio};
use std::sync::Arc;

use proptest::prelude::*;

use crate::diagnosis::test_support::{Fixture, NETNS, every_fixture};
use crate::event::{Effect, Fix, Process, Unit, UnitMember};

/// Every program that a command may run.
const PROGRAMS: [&str; 25] = [
    "awk",
    "ss",
    "sysctl",
    "ip",
    "nft",
    "ausearch",
    "bpftool",
    "man",
    "ps",
    "systemctl",
    "grep",
    "docker",
    "podman",
    "nerdctl",
    "crictl",
    "lxc-info",
    "lxc-stop",
    "machinectl",
    "setcap",
    "tcpstate",
    "stat",
    "find",
    "nsenter",
    "sh",
    "touch",
];

/// A directory with nothing but programs that write down how they were run.
struct Shell {
    directory: tempfile::TempDir,
    /// Lines without anybody's name in them are the same for every name.
    has_run: RefCell<BTreeSet<String>>,
}

impl Shell {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("there is room");
        let bin = directory.path().join("bin");
        fs::create_dir(&bin).expect("it is ours");
        fs::create_dir(directory.path().join("work")).expect("it is ours");
        for name in PROGRAMS {
            let log = directory.path().join("log").display().to_string();
            let script = match name {
                // The commands begin with a shell, and that is a real one.
                "sh" => "#!/bin/sh\nexec /bin/sh \"$@\"\n".to_owned(),
                "stat" => format!("#!/bin/sh\necho {NETNS}\n"),
                "find" => "#!/bin/sh\necho /dev/null\n".to_owned(),
                "awk" => "#!/bin/sh\necho 4\n".to_owned(),
                // `nsenter --net=… PROGRAM …`, `ip netns exec NAME PROGRAM …`
                "nsenter" => "#!/bin/sh\nshift\nexec \"$@\"\n".to_owned(),
                "ip" => format!(
                    "#!/bin/sh\n[ \"$1 $2\" = 'netns exec' ] && {{ shift 3; exec \"$@\"; }}\necho ip >>'{log}'\n"
                ),
                name => format!("#!/bin/sh\necho {name} >>'{log}'\n"),
            };
            let path = bin.join(name);
            fs::write(&path, script).expect("it is ours");
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("it is ours");
        }
        Self {
            directory,
            has_run: RefCell::default(),
        }
    }

    /// Names of the programs that the line ran, in order.
    fn run(&self, line: &str) -> Vec<String> {
        let at = |name: &str| self.directory.path().join(name);
        let _ = fs::remove_file(at("log"));
        let status = Program::new("/bin/sh")
            .args(["-c", line])
            .env_clear()
            .env("PATH", at("bin"))
            .current_dir(at("work"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .expect("sh is there");
        assert!(status.success(), "{line}: {status}");
        let left = list(&at("work"));
        assert!(left.is_empty(), "{line}: made {left:?}");
        fs::read_to_string(at("log"))
            .unwrap_or_default()
            .lines()
            .map(str::to_owned)
            .collect()
    }
}

fn list(directory: &Path) -> Vec<String> {
    fs::read_dir(directory)
        .expect("it is ours")
        .map(|entry| {
            entry
                .expect("it is ours")
                .file_name()
                .to_string_lossy()
                .into_owned()
        })
        .collect()
}

/// The process with this name wherever it can have chosen one, and with everything
/// that has its names taken at their word.
fn named(process: &Process, name: &str, runtime: &str, is_alone: bool) -> Arc<Process> {
    Arc::new(Process {
        comm: name.into(),
        parent: Some(name.into()),
        ppid: Some(77),
        exe: Some(format!("/{name}").into()),
        is_exe_here: true,
        argv: Some(
            [
                name.to_owned(),
                "-container-ip".into(),
                name.into(),
                "-container-port".into(),
                name.into(),
            ]
            .into(),
        ),
        cgroup: Some(format!("/{name}/{name}.service").into()),
        container: (runtime != "none").then(|| name.into()),
        container_uid: Some(0),
        runtime: Some(runtime.into()),
        unit: Some(Arc::new(Unit {
            name: format!("{name}.service"),
            others: if is_alone {
                Vec::new()
            } else {
                vec![UnitMember {
                    pid: 12,
                    comm: name.into(),
                }]
            },
            more: 0,
        })),
        language: Some(name.into()),
        ..process.clone()
    })
}

/// So many of the fixtures go by between two that are looked at: a prime, so that the
/// others are of every kind.
const STEP: usize = 11;

/// Everything that may be run, for fixtures in which every name is this one.
fn fixes(name: &str, step: usize) -> Vec<Fix> {
    let runtimes = [
        "docker",
        "podman",
        "containerd",
        "lxc",
        "systemd-nspawn",
        "cri-o",
        name,
        "none",
    ];
    let mut fixes = Vec::new();
    for (at, mut fixture) in every_fixture().into_iter().step_by(step).enumerate() {
        let runtime = runtimes[at % runtimes.len()];
        fixture.call.process = named(&fixture.call.process, name, "none", at % 3 == 1);
        fixture.call.errno_name = fixture.call.errno_name.map(|errno| match at % 5 {
            0 => name.into(),
            _ => errno,
        });
        for known in &mut fixture.known {
            known.owner = known
                .owner
                .as_ref()
                .map(|by| named(by, name, runtime, at % 3 == 1));
            known.left_by = known
                .left_by
                .as_ref()
                .map(|by| named(by, name, runtime, at % 3 == 1));
        }
        let holders = fixture
            .call
            .seen
            .iter_mut()
            .flat_map(|seen| &mut seen.holders);
        for process in holders.flat_map(|holder| holder.processes.iter_mut().flatten()) {
            *process = named(process, name, runtime, at % 3 == 1);
        }
        fixture.environment.local_reserved_ports = (at % 3 != 0).then(|| name.to_owned());
        fixture.environment.netns_name = (at % 2 == 0).then(|| name.to_owned());
        fixture.environment.own_netns = (at % 7 < 3).then_some(NETNS);
        fixes.extend(fixture.diagnose().fixes);
    }
    fixes
}

/// Runs each different command of these fixes once.
fn check(shell: &Shell, name: &str) -> usize {
    let mut lines = BTreeSet::new();
    for fix in fixes(name, STEP) {
        let texts = [Some(&fix.text), fix.command.as_ref(), fix.why.as_ref()];
        for text in texts.into_iter().flatten() {
            assert!(!text.chars().any(char::is_control), "{text:?}");
        }
        assert_eq!(
            fix.effect.is_some(),
            fix.command.is_some() && fix.language.is_none(),
            "{fix:?}"
        );
        let Some(line) = fix.command.filter(|_| fix.language.is_none()) else {
            continue;
        };
        assert!(line.len() < 4096, "{line}");
        lines.insert((line, fix.effect));
    }
    for (line, effect) in &lines {
        if !shell.has_run.borrow_mut().insert(line.clone()) {
            continue;
        }
        let ran = shell.run(line);
        let is_pipe = line.starts_with("systemctl list-sockets");
        assert_eq!(
            ran.len(),
            if is_pipe { 2 } else { 1 },
            "{line}: ran {ran:?}"
        );
        let is_destroyed = ["ss -K", " stop ", " restart ", "lxc-stop"]
            .iter()
            .any(|part| line.contains(part));
        assert_eq!(*effect == Some(Effect::Destroys), is_destroyed, "{line}");
    }
    lines.len()
}

const HOSTILE: [&str; 22] = [
    "x",
    "'; touch pwned; '",
    "\"; touch pwned; \"",
    "$(touch pwned)",
    "`touch pwned`",
    "a\ntouch pwned\n",
    "a\r\ntouch pwned",
    "; touch pwned #",
    "| touch pwned",
    "&& touch pwned",
    "> pwned",
    "\\'; touch pwned; \\'",
    "--force",
    "-a",
    "*",
    "~root",
    "!!",
    "a b",
    "\u{1b}]52;c;dG91Y2g=\u{7}",
    "\u{202e}ecivres",
    "caf\u{fffd}",
    "${IFS}touch${IFS}pwned",
];

#[test]
fn no_name_runs_anything_but_the_command() {
    let shell = Shell::new();
    let mut count = 0;
    for name in HOSTILE {
        count += check(&shell, name);
    }
    for len in [255, 256, 512, 4000] {
        count += check(&shell, &"x".repeat(len));
        count += check(&shell, &"'".repeat(len));
    }
    assert!(count > 300, "{count}");
    assert!(shell.has_run.borrow().len() > 100);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    #[test]
    fn no_mixture_of_names_does_either(
        parts in proptest::collection::vec(
            prop_oneof![
                proptest::sample::select(&HOSTILE[..]).prop_map(str::to_owned),
                "[ -~]{1,6}",
                "\\PC{1,3}",
            ],
            1..4,
        )
    ) {
        check(&Shell::new(), &parts.concat());
    }
}

#[test]
fn the_scenes_reach_every_program_that_is_ever_run() {
    let mut programs: BTreeSet<String> = BTreeSet::new();
    for fixture in every_fixture().iter().map(Fixture::diagnose) {
        let lines = fixture
            .fixes
            .into_iter()
            .filter(|fix| fix.language.is_none());
        programs.extend(lines.filter_map(|fix| Some(fix.command?.split(' ').next()?.to_owned())));
    }
    for fix in fixes("x", 1) {
        programs.extend(
            fix.command
                .iter()
                .filter(|_| fix.language.is_none())
                .filter_map(|line| Some(line.split(' ').next()?.to_owned())),
        );
    }
    for expected in [
        "ss",
        "sysctl",
        "ip",
        "nft",
        "ausearch",
        "bpftool",
        "man",
        "ps",
        "docker",
        "podman",
        "nerdctl",
        "crictl",
        "lxc-info",
        "lxc-stop",
        "machinectl",
        "systemctl",
        "setcap",
        "tcpstate",
        "sh",
    ] {
        assert!(
            programs.contains(expected),
            "{expected} is not in {programs:?}"
        );
    }
}
