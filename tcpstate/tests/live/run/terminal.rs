//! Job control: keys at a terminal mean what they mean without `run`.

use super::*;
use crate::terminal::Terminal;
use support::{Program, on_stage};

#[test]
fn ctrl_c_ctrl_z_and_fg_reach_the_program_through_its_shell() {
    if !on_stage(&[
        SETPRIV,
        NEEDS_PYTHON,
        Program("tmux", "tmux"),
        Program("bash", "bash"),
    ]) {
        return;
    }
    let source = "import signal, sys, time\n\
                  n = 0\n\
                  def on(*_):\n    global n; n += 1; print(\"interrupted\", n, flush=True)\n\
                  signal.signal(2, on)\n\
                  signal.signal(18, lambda *_: print(\"continued\", flush=True))\n\
                  print(\"running\", flush=True)\n\
                  while n < 2: time.sleep(0.01)\n\
                  time.sleep(0.2); sys.exit(5)\n";
    let folder = tempfile::tempdir().expect("a folder");
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(folder.path(), open).expect("it is ours");
    let script = folder.path().join("p.py");
    std::fs::write(&script, source).expect("there is room");
    for user in USERS {
        let shift = match user {
            User::Root => "",
            User::Nobody => "setpriv --reuid 65534 --regid 65534 --clear-groups --inh-caps=-all ",
        };
        let shell = format!("{shift}bash --norc -i");
        let terminal = Terminal::start(160, 40, &shell);
        terminal.wait_for("bash-");
        terminal.keys(&["PS1='ba''sh$ '", "Enter"]);
        terminal.wait_for("bash$");
        let command = format!("{TCPSTATE} run {PYTHON} {}", script.display());
        terminal.keys(&[&command, "Enter"]);
        terminal.wait_for("running");
        terminal.keys(&["C-z"]);
        terminal.wait_for("Stopped");
        terminal.keys(&["jobs -l; echo job''s", "Enter"]);
        terminal.wait_for("jobs");
        terminal.keys(&["fg", "Enter"]);
        terminal.wait_for("continued");
        terminal.keys(&["C-c"]);
        terminal.wait_for("interrupted 1");
        std::thread::sleep(Duration::from_millis(200));
        terminal.keys(&["C-c"]);
        terminal.wait_for("interrupted 2");
        terminal.keys(&["echo code''=$?", "Enter"]);
        let screen = terminal.wait_for("code=5");
        assert!(!screen.contains("interrupted 3"), "{screen}");
        assert_eq!(screen.matches("continued").count(), 1, "{screen}");
    }
}
