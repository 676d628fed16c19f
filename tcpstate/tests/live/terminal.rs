//! A terminal to look at: tmux, with the keys pressed and the screen read.

use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use support::patience;

/// A terminal to look at.
pub(crate) struct Terminal {
    name: String,
}

impl Terminal {
    pub(crate) fn start(width: u16, height: u16, command: &str) -> Self {
        Self::start_in(Path::new("/"), width, height, command)
    }

    /// The same in this folder.
    pub(crate) fn start_in(folder: &Path, width: u16, height: u16, command: &str) -> Self {
        /// A test may look at several.
        static STARTED: AtomicU32 = AtomicU32::new(0);
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let name = format!("tcpstate-test-{}-{number}", std::process::id());
        let status = Command::new("tmux")
            .args([
                "-L",
                &name,
                "-f",
                "/dev/null",
                "new-session",
                "-d",
                "-s",
                "main",
            ])
            .args(["-x", &width.to_string(), "-y", &height.to_string(), "sh"])
            .env("TERM", "screen-256color")
            .current_dir(folder)
            .status()
            .expect("tmux runs");
        assert!(status.success());
        let terminal = Self { name };
        // Takes what a program copies, as terminals do.
        terminal.tmux(&["set-option", "-s", "set-clipboard", "on"]);
        terminal.keys(&["PS1='ready$ '", "Enter"]);
        terminal.keys(&[command, "Enter"]);
        terminal
    }

    fn tmux(&self, arguments: &[&str]) -> String {
        let output = Command::new("tmux")
            .args(["-L", &self.name])
            .args(arguments)
            .output()
            .expect("tmux runs");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    pub(crate) fn keys(&self, keys: &[&str]) {
        self.tmux(&[&["send-keys", "-t", "main"], keys].concat());
    }

    /// What is on the screen.
    pub(crate) fn screen(&self) -> String {
        self.tmux(&["capture-pane", "-p", "-t", "main"])
    }

    /// Writes every byte that comes from now on to a file, as the program wrote it.
    pub(crate) fn keep_bytes(&self, file: &Path) {
        self.tmux(&[
            "pipe-pane",
            "-t",
            "main",
            &format!("cat > {}", file.display()),
        ]);
    }

    /// What was copied last.
    pub(crate) fn clipboard(&self) -> String {
        self.tmux(&["show-buffer"])
    }

    /// The program that the shell runs now.
    pub(crate) fn child(&self) -> rustix::process::Pid {
        let shell = self.tmux(&["display-message", "-p", "-t", "main", "#{pane_pid}"]);
        let shell = shell.trim();
        let children = std::fs::read_to_string(format!("/proc/{shell}/task/{shell}/children"))
            .expect("the shell is there");
        let child = children
            .split_whitespace()
            .next()
            .expect("it runs something");
        rustix::process::Pid::from_raw(child.parse().expect("it is a number")).expect("it is not 0")
    }

    /// Makes the window this large.
    pub(crate) fn resize(&self, width: u16, height: u16) {
        let (width, height) = (width.to_string(), height.to_string());
        self.tmux(&["resize-window", "-t", "main", "-x", &width, "-y", &height]);
    }

    /// Types text as it is, whatever keys it may look like.
    pub(crate) fn text(&self, text: &str) {
        self.tmux(&["send-keys", "-t", "main", "-l", text]);
    }

    /// Pastes text, as a terminal does from its clipboard.
    pub(crate) fn paste(&self, text: &str) {
        self.tmux(&["set-buffer", text]);
        self.tmux(&["paste-buffer", "-p", "-t", "main"]);
    }

    /// Waits until the screen is as it must be, and gives it.
    #[track_caller]
    pub(crate) fn until(&self, what: &str, is_so: impl Fn(&str) -> bool) -> String {
        for _ in 0..patience().as_millis() / 50 {
            let screen = self.screen();
            if is_so(&screen) {
                return screen;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("not so: {what}; the screen is:\n{}", self.screen());
    }

    #[track_caller]
    pub(crate) fn wait_for(&self, text: &str) -> String {
        self.wait_until(text, true)
    }

    /// Waits until the text is on the screen, or is gone from it.
    #[track_caller]
    pub(crate) fn wait_until(&self, text: &str, is_there: bool) -> String {
        self.until(&format!("{text:?} on the screen: {is_there}"), |screen| {
            screen.contains(text) == is_there
        })
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.tmux(&["kill-server"]);
    }
}
