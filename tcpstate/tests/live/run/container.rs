//! Where `run` may not have its program's sockets: Docker's default profile, and Yama.

use std::fs;

use super::*;
use support::{Lacking, Linux, leave_out, on_stage, skip_for};

/// Runs a program below a seccomp filter that refuses what Docker's default profile refuses to
/// a container without further capabilities, as far as anything here may want it.
const PROFILE: &str = "import ctypes, os, struct, sys\n\
    libc = ctypes.CDLL(None, use_errno=True)\n\
    EPERM, ENOSYS = 0x50001, 0x50026\n\
    # pidfd_getfd kcmp process_madvise bpf perf_event_open mount umount2 setns unshare\n\
    # open_by_handle_at fsopen fsmount open_tree move_mount fanotify_init\n\
    refused = [438, 312, 440, 321, 298, 165, 166, 308, 272, 304, 430, 432, 428, 429, 300]\n\
    code = [(0x20, 0, 0, 0)]\n\
    for number in refused: code += [(0x15, 0, 1, number), (6, 0, 0, EPERM)]\n\
    # clone3; clone with a namespace's flag\n\
    code += [(0x15, 0, 1, 435), (6, 0, 0, ENOSYS)]\n\
    code += [(0x15, 0, 3, 56), (0x20, 0, 0, 16), (0x45, 0, 1, 0x7e020000), (6, 0, 0, EPERM)]\n\
    code += [(6, 0, 0, 0x7fff0000)]\n\
    code = b''.join(struct.pack('HBBI', *one) for one in code)\n\
    kept = ctypes.create_string_buffer(code)\n\
    program = struct.pack('HxxxxxxP', len(code) // 8, ctypes.addressof(kept))\n\
    kept_too = ctypes.create_string_buffer(program)\n\
    assert libc.prctl(38, 1, 0, 0, 0) == 0\n\
    assert libc.prctl(22, 2, kept_too) == 0, ctypes.get_errno()\n\
    os.execvp(sys.argv[1], sys.argv[1:])\n";

/// Docker's: `CAP_SYS_ADMIN` and `CAP_SYS_PTRACE` are not among them.
const CAPABILITIES: &str = "-all,+chown,+dac_override,+fsetid,+fowner,+mknod,+net_raw,+setgid,\
                            +setuid,+setfcap,+setpcap,+net_bind_service,+sys_chroot,+kill,\
                            +audit_write";

/// `tcpstate ARGUMENTS` in such a container.
fn contained(user: User, arguments: &[&str]) -> Output {
    let mut command = match user {
        User::Root => {
            let mut command = Command::new("setpriv");
            command.arg(format!("--bounding-set={CAPABILITIES}"));
            command.arg(PYTHON).stdin(Stdio::null()).current_dir("/");
            command.env_remove("GITHUB_ACTIONS");
            command
        }
        User::Nobody => as_user(user, PYTHON),
    };
    command
        .args(["-c", PROFILE, TCPSTATE.path()])
        .args(arguments);
    output(command)
}

#[test]
fn in_docker_s_default_profile_one_sentence_says_what_to_add() {
    if !on_stage(&[SETPRIV, NEEDS_PYTHON, Linux(5, 6, "has pidfd_getfd(2)")]) {
        return;
    }
    if cfg!(not(target_arch = "x86_64")) {
        skip_for(Lacking {
            what: "the profile has the numbers of x86_64's system calls",
            since: None,
        });
        return;
    }
    for user in USERS {
        for options in [&[][..], &["--reuseaddr"], &["--keep", "8080"], &["--wait"]] {
            let mut arguments = vec!["run"];
            arguments.extend(options);
            arguments.extend(["--", "echo", "started"]);
            let refused = contained(user, &arguments);

            let said = text(&refused.stderr);
            assert_eq!(refused.status.code(), Some(2), "{said}");
            assert_eq!(text(&refused.stdout), "", "nothing is started");
            assert_eq!(said.lines().count(), 1, "{said}");
            assert!(said.contains("docker run --cap-add SYS_PTRACE"), "{said}");
        }

        // A test says that it cannot see, and what it can without.
        // What the one leaves is in TIME_WAIT.
        let port = if user == User::Root { "8080" } else { "8081" };
        let program = format!(
            "import socket\n\
             s = socket.socket(); s.setsockopt(1, 2, 1)\n\
             s.bind(('127.0.0.1', {port})); s.listen()\n\
             while True: s.accept()[0].close()\n"
        );
        let program = &program;
        let base = ["restart-test", "--port", port, "--ways", "idle"];
        let here = contained(user, &[&base[..], &["--", PYTHON, "-c", program]].concat());
        assert_eq!(here.status.code(), Some(2));
        assert!(
            text(&here.stderr).contains("--host"),
            "{}",
            text(&here.stderr)
        );
        let here = contained(
            user,
            &[&base[..], &["--host", "--", PYTHON, "-c", program]].concat(),
        );
        let said = text(&here.stdout) + &text(&here.stderr);
        assert_eq!(here.status.code(), Some(0), "{said}");
        assert!(
            said.contains("failed binds could not be seen") && said.contains("SYS_PTRACE"),
            "{said}"
        );

        let doctor = text(&contained(user, &["doctor"]).stdout);
        let line = doctor.lines().find(|line| line.contains("pidfd_getfd"));
        assert!(
            line.is_some_and(|line| line.contains("MISSING")),
            "{doctor}"
        );
        assert!(doctor.contains("--cap-add SYS_PTRACE"), "{doctor}");
    }
}

#[test]
fn yama_leaves_descendants_at_1_and_root_at_2() {
    const SCOPE: &str = "/proc/sys/kernel/yama/ptrace_scope";
    if !on_stage(&[SETPRIV, NEEDS_PYTHON]) {
        return;
    }
    let Ok(before) = fs::read_to_string(SCOPE) else {
        leave_out("Yama is not in this kernel");
        return;
    };
    // It is the whole machine's, which is the test's own only where it is emulated.
    let before = before.trim();
    let scopes = if is_real_time() {
        vec![before]
    } else {
        vec!["0", "1", "2"]
    };
    let _holder = support::listener(SERVER, false);
    let program = plain_server(SERVER);
    for scope in scopes {
        fs::write(SCOPE, scope).expect("root may");
        for user in USERS {
            let ended = output(run(user, &[], &words(&program)));
            let said = text(&ended.stderr);
            if scope == "3" || scope == "2" && user == User::Nobody {
                assert_eq!(ended.status.code(), Some(2), "{said}");
                assert_eq!(said.lines().count(), 1, "{said}");
                assert!(said.contains(&format!("ptrace_scope = {scope}")), "{said}");
            } else {
                assert!(said.contains("active_listener"), "{scope} {user:?}: {said}");
            }
        }
    }
    fs::write(SCOPE, before).expect("root may");
}
