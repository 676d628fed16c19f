//! Services of a real systemd, in a container that the test makes of namespaces:
//! what is said of their processes, and what the printed commands do there.

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use support::{Cgroup, Program, Root, TCPSTATE, report_figures, require};

const SYSTEMD: &str = "/lib/systemd/systemd";

/// Boots systemd as process 1 of namespaces of its own, with three services and nothing
/// that a distribution starts besides: a server, another one on the same port of another
/// address, and one that left a job behind, as cron does.
///
/// It can write nowhere but into what is mounted for it: the host's files and settings
/// are read-only there before it starts, and /run, /tmp and /var are its own.
const BOOT: &str = r#"
set -e
echo $$ > "$1/cgroup.procs"
exec unshare --fork --kill-child --pid --mount --uts --ipc --cgroup --net sh -c '
set -e
mount --make-rprivate /
mount -t tmpfs tmpfs /run
mkdir /run/stage
touch /run/tcpstate
mount --bind "$1" /run/stage
mount --bind "$2" /run/tcpstate
mount -o remount,bind,ro /
mount -t tmpfs tmpfs /tmp
mount -t tmpfs tmpfs /var
mount -t proc proc /proc
mount --bind /proc/sys /proc/sys
mount -o remount,bind,ro /proc/sys
umount -R /sys/fs/cgroup
mount -t cgroup2 cgroup2 /sys/fs/cgroup
ip link set lo up
units=/run/systemd/system
mkdir -p $units
unit() { printf "[Unit]\nDefaultDependencies=no\n%s\n" "$2" > $units/$1; }
service() { unit $1.service "[Service]
KillMode=process
ExecStart=$2"; }
python=/usr/bin/python3
service web "$python -m http.server 8080 --bind 127.0.0.1"
service other "$python -m http.server 8080 --bind 127.0.0.2"
service starter "/bin/sh -c \"$python -m http.server 8090 --bind 127.0.0.1 & exec sleep 1000\""
service driver "$python /run/stage/driver.py /run/tcpstate /run/stage/result.json
StandardError=file:/run/stage/errors"
unit stage.target "Wants=web.service other.service starter.service driver.service"
export container=tcpstate
exec /lib/systemd/systemd --system --unit=stage.target --log-target=null
' sh "$2" "$3"
"#;

/// Asks and pastes inside; writes what it saw.
const DRIVER: &str = r#"
import json, subprocess, sys, time
tcpstate, result = sys.argv[1:]
def sh(line):
    ran = subprocess.run(["sh", "-c", line], capture_output=True, text=True, stdin=subprocess.DEVNULL)
    return {"line": line, "code": ran.returncode, "out": ran.stdout + ran.stderr}
def explain(port, addr="127.0.0.1"):
    ran = subprocess.run([tcpstate, "explain", str(port), "--addr", addr, "--json"], capture_output=True, text=True)
    return json.loads(ran.stdout)
for port, addr in ((8080, "127.0.0.1"), (8080, "127.0.0.2"), (8090, "127.0.0.1")):
    for _ in range(200):
        if explain(port, addr)["would_listen"] == "no": break
        time.sleep(0.1)
seen = {"web": explain(8080), "job": explain(8090), "ran": []}
for fix in seen["web"]["fixes"]:
    if fix.get("effect"): seen["ran"].append(dict(sh(fix["command"]), id=fix["id"]))
seen["after"] = explain(8080)
seen["active"] = {name: sh("systemctl is-active " + name)["out"].strip() for name in ("web", "other", "starter")}
seen["old"] = sh("systemctl stop starter.service")
seen["old_port"] = explain(8090)
seen["old_active"] = sh("systemctl is-active starter")["out"].strip()
json.dump(seen, open(result, "w"))
"#;

/// Ended with everything inside, whatever becomes of the test.
struct Container(std::process::Child);

impl Drop for Container {
    fn drop(&mut self) {
        // What it started ends with it: process 1 of its namespace is its child.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_service_is_stopped_with_systemd_and_a_job_in_one_is_not() {
    let Some(seen) = play_with_systemd(DRIVER) else {
        return;
    };

    let web = &seen["web"];
    let unit = &web["holders"][0]["processes"][0]["unit"];
    assert_eq!(*unit, serde_json::json!({"name": "web.service"}), "{web}");
    let ran: Vec<(&Value, &Value)> = seen["ran"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|ran| (&ran["id"], &ran["code"]))
        .collect();
    let expected = [
        (&"look_at_holder".into(), &0.into()),
        (&"stop_holder".into(), &0.into()),
    ];
    assert_eq!(ran, expected, "{seen}");
    let looked = seen["ran"][0]["out"].as_str().expect("text");
    assert!(looked.contains("web.service"), "{looked}");
    assert_eq!(seen["ran"][1]["line"], "systemctl stop web.service");
    assert_eq!(seen["after"]["would_listen"], "yes", "{seen}");
    assert_eq!(
        seen["active"],
        serde_json::json!({"web": "inactive", "other": "active", "starter": "active"})
    );

    let job = &seen["job"];
    let first = &job["fixes"][0];
    let command = first["command"].as_str().expect("a look");
    assert!(command.starts_with("ps -o "), "{job}");
    assert!(
        first["why"]
            .as_str()
            .is_some_and(|why| why.contains("starter.service also runs sleep[")),
        "{first}"
    );
    assert!(!job.to_string().contains("systemctl"), "{job}");
    // The harm: the line of before stops the service and leaves the port held.
    assert_eq!(seen["old"]["code"], 0, "{seen}");
    assert_eq!(seen["old_active"], "inactive");
    assert_eq!(
        seen["old_port"]["would_listen"], "no",
        "the job holds it on"
    );
    report_figures(
        "active_listener | service of systemd | look_at_holder, stop_holder | run as printed",
    );
}

/// What a driver writes inside; `None`: it cannot be run here.
pub(crate) fn play_with_systemd(driver: &str) -> Option<Value> {
    if !require(&[
        Program("unshare", "util-linux"),
        Root,
        Program("systemctl", "systemd"),
        Program(SYSTEMD, "systemd"),
        Program("/usr/bin/python3", "python3"),
    ]) {
        return None;
    }
    let cgroup = Cgroup::make(&format!("tcpstate-systemd-{}", std::process::id()))?;
    let directory = tempfile::tempdir().expect("there is room");
    let result = directory.path().join("result.json");
    fs::write(directory.path().join("driver.py"), driver).expect("there is room");
    let container = Container(
        Command::new("sh")
            .args(["-c", BOOT, "sh"])
            .arg(cgroup.path())
            .args([directory.path(), Path::new(TCPSTATE.path())])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .expect("sh is there"),
    );
    let seen = (0..600).find_map(|_| {
        std::thread::sleep(Duration::from_millis(100));
        let text = fs::read_to_string(&result).ok()?;
        serde_json::from_str::<Value>(&text).ok()
    });
    let errors = fs::read_to_string(directory.path().join("errors"));
    let seen = seen.unwrap_or_else(|| panic!("systemd or its driver said nothing: {errors:?}"));
    drop(container);
    drop(cgroup);
    Some(seen)
}
