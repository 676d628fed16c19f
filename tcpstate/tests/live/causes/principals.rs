//! Listeners that a process holds on behalf of another: a container's proxy,
//! a container, systemd.

use std::process::Stdio;

use super::stage::{Actor, impostor};
use super::{fix, refused_bind, summary};
use support::{Cgroup, Program, Watch, on_stage};

fn wait_for_listen(watch: &mut Watch) {
    watch.wait_for("the listen", |event| {
        event["event"] == "listen" && event["ok"] == true
    });
}

#[test]
fn a_containers_proxy_leads_to_the_container() {
    if !on_stage(&[Program("python3", "python3")]) {
        return;
    }
    let directory = tempfile::tempdir().expect("there is room");
    let mut watch = Watch::start(&["--port", "8080"]);
    let proxy = Actor::start(&mut impostor(
        directory.path(),
        "docker-proxy",
        &[
            "-proto",
            "tcp",
            "-host-ip",
            "0.0.0.0",
            "-host-port",
            "8080",
            "-container-ip",
            "172.17.0.2",
            "-container-port",
            "80",
        ],
    ));
    wait_for_listen(&mut watch);

    let diagnosis = refused_bind(&mut watch, true);

    assert_eq!(diagnosis["cause"], "active_listener");
    assert_eq!(diagnosis["holders"][0]["process"]["comm"], "docker-proxy");
    assert!(
        summary(&diagnosis).contains(&format!("docker-proxy[{}]", proxy.pid())),
        "{diagnosis}"
    );
    let stop = fix(&diagnosis, "stop_holder");
    assert_eq!(stop["command"], "docker ps --filter publish=8080");
    assert!(
        stop["text"]
            .as_str()
            .is_some_and(|text| text.contains("172.17.0.2:80")),
        "{stop}"
    );
    watch.finish();
}

#[test]
fn a_listener_inside_a_container_is_named_with_it() {
    if !on_stage(&[Program("socat", "socat")]) {
        return;
    }
    let id = format!(
        "{:064x}",
        0xcafe_0000_0000_u64 + u64::from(std::process::id())
    );
    let Some(cgroup) = Cgroup::make(&format!("docker-{id}.scope")) else {
        return;
    };
    let mut watch = Watch::start(&["--port", "8080"]);
    let inside = Actor::start(
        cgroup
            .command("socat", &["TCP-LISTEN:8080,bind=127.0.0.1", "EXEC:true"])
            .stdin(Stdio::null()),
    );
    wait_for_listen(&mut watch);

    let diagnosis = refused_bind(&mut watch, true);

    let holder = &diagnosis["holders"][0];
    assert_eq!(holder["processes"][0]["pid"], inside.pid());
    assert_eq!(holder["processes"][0]["container"], *id, "{holder}");
    assert!(
        summary(&diagnosis).contains(&format!("container {}", &id[..12])),
        "{diagnosis}"
    );
    assert_eq!(
        fix(&diagnosis, "stop_holder")["command"],
        format!("docker stop {}", &id[..12])
    );
    watch.finish();
    drop(inside);
}

#[test]
fn whoever_calls_himself_systemd_is_not_believed() {
    if !on_stage(&[Program("python3", "python3")]) {
        return;
    }
    let directory = tempfile::tempdir().expect("there is room");
    let mut watch = Watch::start(&["--port", "8080"]);
    let impostor = Actor::start(&mut impostor(directory.path(), "systemd", &[]));
    wait_for_listen(&mut watch);

    let diagnosis = refused_bind(&mut watch, true);

    assert_eq!(diagnosis["cause"], "active_listener");
    assert!(
        summary(&diagnosis).contains(&format!("systemd[{}]", impostor.pid())),
        "{diagnosis}"
    );
    assert_eq!(
        fix(&diagnosis, "stop_holder")["command"],
        format!("ps -o pid,ppid,stat,lstart,args -p {}", impostor.pid())
    );
    watch.finish();
}

#[test]
fn a_plain_process_is_named_with_the_one_that_started_it() {
    if !on_stage(&[Program("socat", "socat")]) {
        return;
    }
    let mut watch = Watch::start(&["--port", "8080"]);
    let shell = Actor::start(
        std::process::Command::new("sh")
            .args([
                "-c",
                "socat TCP-LISTEN:8080,bind=127.0.0.1,fork EXEC:true & wait",
            ])
            .stdin(Stdio::null()),
    );
    wait_for_listen(&mut watch);

    let diagnosis = refused_bind(&mut watch, true);

    let process = &diagnosis["holders"][0]["processes"][0];
    assert_eq!(process["ppid"], shell.pid());
    assert_eq!(process["parent"], "sh", "{process}");
    let stop = fix(&diagnosis, "stop_holder");
    assert!(
        stop["text"]
            .as_str()
            .is_some_and(|text| text.contains(&format!("started by sh[{}]", shell.pid()))),
        "{stop}"
    );
    watch.finish();
}
