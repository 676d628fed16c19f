//! Containers of the real podman and the real Docker: named by what runs them, stopped by it,
//! and their neighbours run. Both have their own storage and, where they need one, their own
//! daemon, all of it gone in the end.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

use super::stage::{Bystanders, done, is_free, parse, refused};
use support::{
    DESTROYS_TIME_WAITS, Optional, Requirement, TCPSTATE, Watch, leave_out, on_stage, try_bind,
    wait_until,
};

const BUSYBOX: Requirement = Optional("/bin/busybox", "busybox-static");
const IMAGE: &str = "tcpstate-test";
/// Serves the port; a child of it does, and the first process ends by SIGTERM.
const SERVES: &str =
    "trap exit TERM; /bin/busybox httpd -f -p 127.0.0.1:8080 & wait; /bin/busybox sleep 300";
const PUBLISHED: &str = "trap exit TERM; /bin/busybox httpd -f -p 80 & wait";
const IDLES: &str = "trap exit TERM; /bin/busybox sleep 300 & wait";

/// Podman or Docker, and nothing that others have of it.
struct Engine {
    tool: &'static str,
    folder: tempfile::TempDir,
    environment: Vec<(&'static str, String)>,
    daemon: Option<Child>,
    groups: Vec<PathBuf>,
}

impl Engine {
    fn podman() -> Self {
        let folder = tempfile::tempdir().expect("there is room");
        let write = |name: &str, text: String| {
            let path = folder.path().join(name);
            fs::write(&path, text).expect("there is room");
            path.display().to_string()
        };
        let at = folder.path().display();
        let storage = format!(
            "[storage]\ndriver = \"vfs\"\ngraphroot = \"{at}/root\"\nrunroot = \"{at}/run\"\n"
        );
        // Limits that root without CAP_SYS_RESOURCE may set.
        let runtime = if has_program("runc") {
            "runtime = \"runc\"\n"
        } else {
            ""
        };
        let engine = format!(
            "[containers]\ndefault_ulimits = [\"nofile=1024:1024\", \"nproc=1000:1000\"]\n\
             [engine]\ncgroup_manager = \"cgroupfs\"\nevents_logger = \"none\"\n\
             tmp_dir = \"{at}/tmp\"\n{runtime}[network]\nnetwork_config_dir = \"{at}/net\"\n"
        );
        let environment = vec![
            ("CONTAINERS_STORAGE_CONF", write("storage.conf", storage)),
            ("CONTAINERS_CONF", write("containers.conf", engine)),
        ];
        let groups = groups_of("libpod_parent");
        Self {
            tool: "podman",
            folder,
            environment,
            daemon: None,
            groups,
        }
        .with_image()
    }

    /// `None`: its daemon does not run here, and the test is skipped.
    fn docker(with_proxy: bool) -> Option<Self> {
        let folder = tempfile::tempdir().expect("there is room");
        let path = |name: &str| folder.path().join(name).display().to_string();
        let socket = format!("unix://{}", path("sock"));
        let log = fs::File::create(folder.path().join("log")).expect("there is room");
        let daemon = Command::new("dockerd")
            .args(["--data-root", &path("data"), "--exec-root", &path("exec")])
            .args(["-p", &path("pid"), "-H", &socket])
            .arg(format!("--userland-proxy={with_proxy}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("dockerd starts");
        let mut engine = Self {
            tool: "docker",
            environment: vec![("DOCKER_HOST", socket)],
            daemon: Some(daemon),
            groups: groups_of("docker"),
            folder,
        };
        if !engine.answers() {
            let log = fs::read_to_string(engine.folder.path().join("log")).unwrap_or_default();
            let said = log.lines().last().unwrap_or_default();
            lacking(&format!("dockerd does not run here: {said}"));
            return None;
        }
        Some(engine.with_image())
    }

    fn answers(&mut self) -> bool {
        for _ in 0..300 {
            if self.call(&["version"]).status.success() {
                return true;
            }
            let daemon = self.daemon.as_mut().expect("it has one");
            if daemon.try_wait().expect("it is ours").is_some() {
                return false;
            }
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
        false
    }

    /// An image with one program.
    fn with_image(self) -> Self {
        let root = self.folder.path().join("image");
        fs::create_dir_all(root.join("bin")).expect("there is room");
        fs::copy("/bin/busybox", root.join("bin/busybox")).expect("it is installed");
        let archive = self.folder.path().join("image.tar");
        let packed = Command::new("tar")
            .arg("-C")
            .args([&root, Path::new("-cf"), &archive])
            .arg(".")
            .status()
            .expect("tar runs");
        assert!(packed.success());
        let archive = archive.display().to_string();
        let imported = self.call(&["import", &archive, IMAGE]);
        assert!(imported.status.success(), "{imported:?}");
        self
    }

    fn call(&self, words: &[&str]) -> Output {
        self.with_environment(Command::new(self.tool).args(words))
    }

    fn with_environment(&self, command: &mut Command) -> Output {
        command
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .output()
            .expect("it starts")
    }

    /// Begins a container, and gives its id. `None`: it cannot, and the test is skipped.
    fn begin(&self, name: &str, network: &str, script: &str) -> Option<String> {
        let output = self.call(&[
            "run",
            "-d",
            "--name",
            name,
            network,
            "--ulimit",
            "nofile=1024:1024",
            "--ulimit",
            "nproc=1000:1000",
            IMAGE,
            "/bin/busybox",
            "sh",
            "-c",
            script,
        ]);
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr).replace('\n', " ");
            lacking(&format!("{} runs no container here: {said}", self.tool));
            return None;
        }
        let id = String::from_utf8(output.stdout).expect("text");
        Some(id.trim().to_owned())
    }

    fn is_running(&self, name: &str) -> bool {
        let output = self.call(&["inspect", "--format", "{{.State.Running}}", name]);
        String::from_utf8_lossy(&output.stdout).trim() == "true"
    }

    /// What the program frees the port by, as root with this runtime.
    #[track_caller]
    fn release(&self, arguments: &[&str]) -> (Value, i32) {
        let mut command = Command::new(TCPSTATE);
        command.args(["release", "8080", "--json"]).args(arguments);
        parse(&self.with_environment(&mut command))
    }

    /// Runs a command as it was printed.
    #[track_caller]
    fn paste(&self, command: &Value) -> String {
        let line = command.as_str().expect("a command");
        let output = self.with_environment(Command::new("sh").args(["-c", line]));
        assert!(output.status.success(), "{line}: {output:?}");
        String::from_utf8(output.stdout).expect("text")
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        let names = self.call(&["ps", "-aq"]);
        let names = String::from_utf8_lossy(&names.stdout).into_owned();
        for name in names.split_whitespace() {
            self.call(&["rm", "-f", name]);
        }
        if let Some(daemon) = &mut self.daemon {
            let pid = rustix::process::Pid::from_child(daemon);
            // It ends its containerd, too.
            rustix::process::kill_process(pid, rustix::process::Signal::TERM).ok();
            daemon.wait().ok();
            // The namespace of the host's network, which it leaves mounted.
            let mounted = self.folder.path().join("exec/netns/default");
            rustix::mount::unmount(mounted, rustix::mount::UnmountFlags::DETACH).ok();
        }
        // What has ended is in its group until it is reaped. Those of others are not empty.
        for _ in 0..100 {
            for group in &self.groups {
                fs::remove_dir(group.join("conmon")).ok();
                fs::remove_dir(group).ok();
            }
            if !self.groups.iter().any(|group| group.exists()) {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }
}

fn has_program(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(name).is_file())
}

fn lacking(what: &str) {
    leave_out(what);
}

/// Control groups that the runtime makes for all of its containers.
fn groups_of(name: &str) -> Vec<PathBuf> {
    let root = Path::new("/sys/fs/cgroup");
    let hierarchies = fs::read_dir(root).into_iter().flatten().flatten();
    let below = hierarchies.map(|hierarchy| hierarchy.path());
    let all = std::iter::once(root.to_owned()).chain(below);
    all.map(|hierarchy| hierarchy.join(name)).collect()
}

/// A server in a container of the host's network, beside a container that is to run on.
fn a_server_in_a_container(engine: &Engine) {
    let Some(_) = engine.begin("bystander", "--network=host", IDLES) else {
        return;
    };
    let begin = |name: &str| {
        let id = engine.begin(name, "--network=host", SERVES)?;
        wait_until("it serves", || !is_free());
        Some(id)
    };
    let Some(id) = begin("web") else { return };
    let short = &id[..12];
    let mut bystanders = Bystanders::take_the_stage();

    // Watched, and with the advice as it is printed.
    let mut watch = Watch::start(&["--port", "8080"]);
    assert!(try_bind("127.0.0.1:8080", false).is_err());
    // On a busy machine it comes without the names first.
    let diagnosis = watch.wait_for("the holders' names", |event| {
        event["event"] == "diagnosis" && event["holders"][0]["processes"].is_array()
    });
    watch.finish();
    let holder = &diagnosis["holders"][0]["processes"][0];
    assert_eq!(holder["container"], id, "{diagnosis}");
    assert_eq!(holder["runtime"], engine.tool, "{diagnosis}");
    assert!(
        diagnosis["summary"]
            .to_string()
            .contains(&format!("(container {short})")),
        "{diagnosis}"
    );
    let fixes = &diagnosis["fixes"];
    let looked = engine.paste(&fixes[0]["command"]);
    assert!(looked.contains("web "), "{looked}");
    assert_eq!(fixes[1]["command"], format!("{} stop {short}", engine.tool));

    // The plan, and that it changes nothing.
    let (planned, _) = engine.release(&["--dry-run"]);
    assert_eq!(planned["plan"][0]["step"], "stop_container", "{planned}");
    assert_eq!(planned["plan"][0]["target"], short);
    assert!(engine.is_running("web"));

    let (answer, code) = engine.release(&["--yes", "--timeout", "30s"]);
    assert_eq!((code, is_free()), (0, true), "{answer}");
    assert_eq!(done(&answer)[0], "stop_container done", "{answer}");
    assert!(!engine.is_running("web") && engine.is_running("bystander"));
    bystanders.have_noticed_nothing();
    drop(bystanders);

    // The printed stop does the same.
    assert!(engine.call(&["rm", "web"]).status.success());
    begin("again").expect("it ran before");
    let explained = support::run(&["explain", "8080", "--json"]);
    let explained: Value = serde_json::from_slice(&explained.stdout).expect("JSON");
    engine.paste(&explained["fixes"][1]["command"]);
    assert!(!engine.is_running("again") && engine.is_running("bystander"));
    wait_until("nothing listens", || {
        support::count_listed(8080, tcpstate::event::State::Listen) == 0
    });
}

#[test]
fn a_container_of_podman_is_stopped_by_podman() {
    let needs = [BUSYBOX, Optional("podman", "podman"), DESTROYS_TIME_WAITS];
    if on_stage(&needs) {
        a_server_in_a_container(&Engine::podman());
    }
}

#[test]
fn a_container_of_docker_is_stopped_by_docker() {
    let needs = [
        BUSYBOX,
        Optional("dockerd", "docker.io"),
        DESTROYS_TIME_WAITS,
    ];
    if on_stage(&needs)
        && let Some(engine) = Engine::docker(true)
    {
        a_server_in_a_container(&engine);
    }
}

#[test]
fn a_port_that_podman_publishes_is_its_containers_and_not_conmons() {
    let needs = [BUSYBOX, Optional("podman", "podman"), DESTROYS_TIME_WAITS];
    if !on_stage(&needs) {
        return;
    }
    let engine = Engine::podman();
    let Some(_) = engine.begin("bystander", "--network=host", IDLES) else {
        return;
    };
    let Some(id) = engine.begin("web", "--publish=8080:80", PUBLISHED) else {
        return;
    };
    let (planned, _) = engine.release(&["--dry-run"]);
    let text = planned["plan"][0]["text"].as_str().unwrap_or_default();
    assert!(
        text.contains("conmon[") && text.contains("publishes"),
        "{planned}"
    );
    assert_eq!(planned["plan"][0]["target"], &id[..12], "{planned}");

    let (answer, code) = engine.release(&["--yes", "--timeout", "30s"]);

    assert_eq!((code, is_free()), (0, true), "{answer}");
    assert_eq!(done(&answer)[0], "stop_container done", "{answer}");
    assert!(!engine.is_running("web") && engine.is_running("bystander"));
}

/// Docker's proxy, or its daemon, has the port: neither is to be stopped.
fn a_port_that_docker_publishes(with_proxy: bool, holder: &str) {
    if !on_stage(&[BUSYBOX, Optional("dockerd", "docker.io")]) {
        return;
    }
    let Some(engine) = Engine::docker(with_proxy) else {
        return;
    };
    let Some(_) = engine.begin("web", "--publish=8080:80", PUBLISHED) else {
        return;
    };
    let (answer, code) = engine.release(&["--yes"]);

    assert_eq!(
        (code, refused(&answer)),
        (2, vec!["held_for_another"]),
        "{answer}"
    );
    let refusal = &answer["refused"][0];
    assert!(refusal["target"].to_string().contains(holder), "{answer}");
    let listed = engine.paste(&refusal["command"]);
    assert!(listed.contains("web"), "{listed}");
    assert!(engine.is_running("web"));
    assert!(engine.call(&["stop", "web"]).status.success());
    assert!(is_free());
}

#[test]
fn a_port_of_dockers_proxy_is_its_containers() {
    a_port_that_docker_publishes(true, "docker-proxy[");
}

#[test]
fn a_port_that_dockers_daemon_holds_is_its_containers() {
    a_port_that_docker_publishes(false, "dockerd[");
}
