//! What the tests of the causes put on the stage: programs under a chosen name
//! and in a chosen control group, and a program that refuses calls in one.

use std::fs;
use std::io;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::process::{Resource, Rlimit, setrlimit};

use support::Cgroup;

/// A program that is ended, with its group, when the test is over.
pub(super) struct Actor(pub(super) Child);

impl Actor {
    pub(super) fn start(command: &mut Command) -> Self {
        let child = command
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        Self(child)
    }

    pub(super) fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Actor {
    fn drop(&mut self) {
        let group = rustix::process::Pid::from_child(&self.0);
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        let _ = self.0.wait();
    }
}

/// A Python server on 127.0.0.1:8080 that goes by another name.
pub(super) fn impostor(directory: &Path, name: &str, arguments: &[&str]) -> Command {
    use std::os::unix::fs::PermissionsExt as _;
    let python = Command::new("python3")
        .args(["-c", "import sys; print(sys.executable)"])
        .output()
        .expect("python3 runs")
        .stdout;
    let python = String::from_utf8(python).expect("a path");
    let path = directory.join(name);
    // The kernel names a script's process after the script.
    let script = format!(
        "#!{}\nimport socket, time\ns = socket.socket()\n\
         s.bind(('127.0.0.1', 8080)); s.listen(); time.sleep(60)\n",
        python.trim()
    );
    fs::write(&path, script).expect("there is room");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("it is ours");
    let mut command = Command::new(&path);
    command.args(arguments).stdin(Stdio::null());
    command
}

/// Which calls a [`Denial`] refuses: `enum bpf_attach_type`.
#[derive(Clone, Copy)]
pub(super) enum Hook {
    Bind4 = 8,
    Connect4 = 10,
}

/// A BPF program that refuses every such call in a control group, as long as
/// this lives.
pub(super) struct Denial {
    _link: OwnedFd,
}

#[repr(C)]
#[derive(Default)]
struct ProgLoad {
    kind: u32,
    instruction_count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
    name: [u8; 16],
    ifindex: u32,
    expected_attach_type: u32,
}

#[repr(C)]
struct LinkCreate {
    prog_fd: u32,
    target_fd: u32,
    attach_type: u32,
    flags: u32,
}

const BPF_PROG_LOAD: i32 = 5;
const BPF_LINK_CREATE: i32 = 28;
const BPF_PROG_TYPE_CGROUP_SOCK_ADDR: u32 = 18;
/// `r0 = 0; exit`: the answer 0 refuses.
const REFUSE: [u64; 2] = [0xb7, 0x95];

impl Denial {
    pub(super) fn on(cgroup: &Cgroup, hook: Hook) -> io::Result<Self> {
        // Up to Linux 5.10 programs are charged to the locked memory of the user.
        let unlimited = Rlimit {
            current: None,
            maximum: None,
        };
        // Later kernels do not need it, and not everyone may.
        let _ = setrlimit(Resource::Memlock, unlimited);
        let load = ProgLoad {
            kind: BPF_PROG_TYPE_CGROUP_SOCK_ADDR,
            instruction_count: 2,
            instructions: REFUSE.as_ptr() as u64,
            license: c"GPL".as_ptr() as u64,
            expected_attach_type: hook as u32,
            ..ProgLoad::default()
        };
        let program = bpf(BPF_PROG_LOAD, &load)?;
        let directory = fs::File::open(cgroup.path())?;
        let fd = |fd: i32| u32::try_from(fd).expect("a descriptor");
        let link = bpf(
            BPF_LINK_CREATE,
            &LinkCreate {
                prog_fd: fd(program.as_raw_fd()),
                target_fd: fd(directory.as_raw_fd()),
                attach_type: hook as u32,
                flags: 0,
            },
        )?;
        Ok(Self { _link: link })
    }
}

#[expect(
    unsafe_code,
    reason = "bpf(2) has no wrapper for a program made by hand"
)]
fn bpf<T>(command: i32, attributes: &T) -> io::Result<OwnedFd> {
    // SAFETY: the attributes are plain data of the size that is told, and what
    // they point to outlives the call.
    let fd = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command,
            std::ptr::from_ref(attributes),
            size_of::<T>(),
        )
    };
    let fd = i32::try_from(fd).expect("a descriptor or -1");
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: just opened (close-on-exec, as all of BPF's), owned by nobody else.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
