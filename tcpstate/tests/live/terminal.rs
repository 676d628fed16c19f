//! A terminal to look at: tmux, with the keys pressed and the screen read.

use std::process::Command;
use std::time::Duration;

use crate::harness::PATIENCE;

/// A terminal to look at.
pub(crate) struct Terminal {
    name: String,
}

impl Terminal {
    pub(crate) fn start(width: u16, height: u16, command: &str) -> Self {
        let name = format!("tcpstate-test-{}-{width}x{height}", std::process::id());
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
            .status()
            .expect("tmux runs");
        assert!(status.success());
        let terminal = Self { name };
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

    #[track_caller]
    pub(crate) fn wait_for(&self, text: &str) -> String {
        self.wait_until(text, true)
    }

    /// Waits until the text is on the screen, or is gone from it.
    #[track_caller]
    pub(crate) fn wait_until(&self, text: &str, is_there: bool) -> String {
        for _ in 0..PATIENCE.as_millis() / 50 {
            let screen = self.tmux(&["capture-pane", "-p", "-t", "main"]);
            if screen.contains(text) == is_there {
                return screen;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!(
            "{text:?} does not come or go; the screen is:\n{}",
            self.tmux(&["capture-pane", "-p", "-t", "main"])
        );
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.tmux(&["kill-server"]);
    }
}
