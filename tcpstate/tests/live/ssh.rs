//! Ports that ssh forwards, by the real sshd and ssh: whose they are, and that what is printed
//! takes the port back from one connection and not from its neighbours.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use support::{Optional, Watch, on_stage, try_bind, wait_until};
use tcpstate::event::State;

const PRIVILEGE_SEPARATION: &str = "/run/sshd";

/// An sshd with keys of its own, and its client.
struct Sshd {
    folder: tempfile::TempDir,
    daemon: Child,
    clients: Vec<Child>,
    has_made_folder: bool,
}

impl Sshd {
    fn start() -> Self {
        let folder = tempfile::tempdir().expect("there is room");
        let at = |name: &str| folder.path().join(name).display().to_string();
        for key in ["host", "user"] {
            let made = Command::new("ssh-keygen")
                .args(["-q", "-t", "ed25519", "-N", "", "-f", &at(key)])
                .status()
                .expect("it runs");
            assert!(made.success());
        }
        fs::rename(at("user.pub"), at("authorized")).expect("it is ours");
        let has_made_folder = !Path::new(PRIVILEGE_SEPARATION).exists();
        if has_made_folder {
            fs::create_dir(PRIVILEGE_SEPARATION).expect("we are root");
            let mode = fs::Permissions::from_mode(0o755);
            fs::set_permissions(PRIVILEGE_SEPARATION, mode).expect("it is ours");
        }
        let configuration = format!(
            "Port 2222\nListenAddress 127.0.0.1\nHostKey {}\nAuthorizedKeysFile {}\n\
             PidFile none\nUsePAM no\nStrictModes no\nPermitRootLogin prohibit-password\n",
            at("host"),
            at("authorized")
        );
        fs::write(at("sshd.conf"), configuration).expect("there is room");
        let program = ["/usr/sbin/sshd", "/usr/bin/sshd"]
            .into_iter()
            .find(|path| Path::new(path).exists());
        let daemon = Command::new(program.expect("it is required"))
            .args(["-D", "-q", "-f", &at("sshd.conf")])
            .stdin(Stdio::null())
            .spawn()
            .expect("it starts");
        wait_until("it listens", || listeners(2222) == 1);
        Self {
            folder,
            daemon,
            clients: Vec::new(),
            has_made_folder,
        }
    }

    fn ssh(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("ssh");
        command
            .args(["-F", "none", "-p", "2222", "-q", "-o", "BatchMode=yes"])
            .args([
                "-o",
                "StrictHostKeyChecking=no",
                "-o",
                "UserKnownHostsFile=/dev/null",
            ])
            .arg("-i")
            .arg(self.folder.path().join("user"))
            .args(arguments)
            .arg("root@127.0.0.1")
            .stdin(Stdio::null());
        command
    }

    /// Connects, and gives the client's number in `clients`.
    fn connect(&mut self, arguments: &[&str], port: u16) -> usize {
        let client = self.ssh(arguments).spawn().expect("it starts");
        self.clients.push(client);
        wait_until("it forwards", || listeners(port) > 0);
        self.clients.len() - 1
    }

    fn has_ended(&mut self, client: usize) -> bool {
        self.clients[client]
            .try_wait()
            .expect("it is ours")
            .is_some()
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        for child in self.clients.iter_mut().chain([&mut self.daemon]) {
            child.kill().ok();
            child.wait().ok();
        }
        if self.has_made_folder {
            fs::remove_dir(PRIVILEGE_SEPARATION).ok();
        }
    }
}

fn listeners(port: u16) -> usize {
    support::count_listed(port, State::Listen)
}

fn explain(port: &str) -> Value {
    let output = support::run(&["explain", port, "--json"]);
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// Runs `kill 4711` as the text says it.
fn kill_as_told(fix: &Value) {
    let text = fix["text"].as_str().expect("text");
    let at = text.find("kill ").unwrap_or_else(|| panic!("{fix}"));
    let killed = Command::new("sh").args(["-c", &text[at..]]).status();
    assert!(killed.expect("sh runs").success(), "{fix}");
}

#[test]
fn a_remote_forward_is_taken_back_from_its_connection_alone() {
    if !on_stage(&[
        Optional("/usr/sbin/sshd", "openssh-server"),
        Optional("ssh", "openssh-client"),
    ]) {
        return;
    }
    let mut sshd = Sshd::start();
    let forwards = sshd.connect(&["-N", "-R", "8080:127.0.0.1:9"], 8080);
    let neighbour = sshd.connect(&["-N", "-R", "8081:127.0.0.1:9"], 8081);
    let mut watch = Watch::start(&["--port", "8080"]);
    assert!(try_bind("127.0.0.1:8080", false).is_err());
    // On a busy machine it comes without the names first.
    let diagnosis = watch.wait_for("the holders' names", |event| {
        event["event"] == "diagnosis" && event["holders"][0]["processes"].is_array()
    });
    watch.finish();
    let explained = explain("8080");

    for answer in [&diagnosis, &explained] {
        assert_eq!(answer["cause"], "active_listener", "{answer}");
        assert_eq!(
            answer["holders"][0]["processes"][0]["comm"], "sshd",
            "{answer}"
        );
        let first = &answer["fixes"][0];
        assert!(first["why"].to_string().contains("ssh -R"), "{answer}");
    }
    kill_as_told(&explained["fixes"][0]);

    wait_until("the port is free", || listeners(8080) == 0);
    sshd.clients[forwards].wait().expect("it is ours");
    assert!(!sshd.has_ended(neighbour));
    assert_eq!((listeners(8081) > 0, listeners(2222)), (true, 1));
    assert!(try_bind("127.0.0.1:8080", false).is_ok());
}

#[test]
fn a_shared_connection_is_ended_by_its_own_command() {
    if !on_stage(&[
        Optional("/usr/sbin/sshd", "openssh-server"),
        Optional("ssh", "openssh-client"),
    ]) {
        return;
    }
    let mut sshd = Sshd::start();
    let socket = sshd.folder.path().join("master").display().to_string();
    let neighbour = sshd.connect(&["-N", "-L", "8081:127.0.0.1:9"], 8081);
    let forward = "8080:127.0.0.1:9";
    let asked = sshd.connect(&["-N", "-M", "-S", &socket, "-L", forward], 8080);
    let told = explain("8080");
    let text = told["fixes"][0]["text"].as_str().expect("text");
    assert!(text.contains("ssh -O exit HOST"), "{told}");
    let ends = |sshd: &Sshd| {
        let ended = sshd.ssh(&["-S", &socket, "-O", "exit"]).status();
        assert!(ended.expect("ssh runs").success());
    };
    ends(&sshd);
    wait_until("the port is free", || listeners(8080) == 0);
    wait_until("it has ended", || !Path::new(&socket).exists());

    // One that stays in the background has another title, and nothing else of it left.
    let persists = [
        "-f",
        "-N",
        "-o",
        "ControlMaster=auto",
        "-o",
        "ControlPersist=60",
        "-S",
    ];
    let words = [&persists[..], &[&socket, "-L", forward]].concat();
    sshd.ssh(&words)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .expect("ssh runs");
    wait_until("it forwards", || listeners(8080) > 0);
    let told = explain("8080");
    let text = told["fixes"][0]["text"].as_str().expect("text");
    assert!(text.contains("ssh -O exit HOST"), "{told}");
    ends(&sshd);

    wait_until("the port is free", || listeners(8080) == 0);
    sshd.clients[asked].wait().expect("it is ours");
    assert!(!sshd.has_ended(neighbour));
    assert_eq!((listeners(8081) > 0, listeners(2222)), (true, 1));
}
