//! The terminal's clipboard, by OSC 52: it works over ssh, too.

use std::fmt;

use crossterm::Command as _;
use crossterm::clipboard::CopyToClipboard;

use crate::tui::units::counted;

/// Bytes that are copied at most; terminals take some 75 kB of base64 and drop
/// what is longer silently.
const MAX_COPY: usize = 48 << 10;
/// Characters of it that the reply shows.
const SHOWN: usize = 60;

/// What is copied, cut to what terminals take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClipboardText {
    text: String,
    is_cut: bool,
}

impl ClipboardText {
    /// Of a text; blanks and line breaks at its end are left out, for they
    /// would run what is pasted into a shell.
    #[must_use]
    pub fn new(text: &str) -> Self {
        let text = text.trim_end();
        let text_within = &text[..text.floor_char_boundary(MAX_COPY)];
        Self {
            text: text_within.to_owned(),
            is_cut: text_within.len() < text.len(),
        }
    }

    /// What the reply to the key says; `note` stands before the text itself.
    #[must_use]
    pub fn summary(&self, note: &str) -> String {
        let mut lines = self.text.lines();
        let first = lines.next().unwrap_or_default();
        let mut shown: String = first.chars().take(SHOWN).collect();
        if shown.len() < first.len() {
            shown.push('…');
        }
        let more = u64::try_from(lines.count()).unwrap_or(u64::MAX);
        if more > 0 {
            shown.push_str(" and ");
            shown += &counted(more, "more line", "more lines");
        }
        let cut = if self.is_cut { ", cut at 48 KiB" } else { "" };
        format!("copied{cut}{note}: {shown}")
    }

    /// The sequence for the terminal. Inside of tmux it is sent twice: tmux
    /// takes the first with `set-clipboard on`, and hands the second on with
    /// `allow-passthrough on`.
    #[must_use]
    pub fn sequence(&self, is_in_tmux: bool) -> String {
        let mut sequence = String::new();
        let command = CopyToClipboard::to_clipboard_from(&self.text);
        // Writing to a String cannot fail.
        let _: fmt::Result = command.write_ansi(&mut sequence);
        if is_in_tmux {
            let doubled = sequence.replace('\x1b', "\x1b\x1b");
            sequence = [&sequence, "\x1bPtmux;", &doubled, "\x1b\\"].concat();
        }
        sequence
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_payload_is_base64_whatever_is_copied() {
        let hostile = "a\x1b\\\x07b";

        let sequence = ClipboardText::new(hostile).sequence(false);

        assert_eq!(sequence, "\x1b]52;c;YRtcB2I=\x1b\\");
    }

    #[test]
    fn tmux_gets_it_for_itself_and_for_the_terminal() {
        let sequence = ClipboardText::new("x").sequence(true);

        assert_eq!(
            sequence,
            "\x1b]52;c;eA==\x1b\\\x1bPtmux;\x1b\x1b]52;c;eA==\x1b\x1b\\\x1b\\"
        );
    }

    #[test]
    fn what_is_copied_is_bounded_and_the_reply_says_so() {
        let long = ClipboardText::new(&"é".repeat(MAX_COPY));

        assert!(long.text.len() <= MAX_COPY && long.sequence(true).len() < 150_000);
        assert!(long.summary("").starts_with("copied, cut at 48 KiB: éé"));
        assert_eq!(ClipboardText::new("ls\n").text, "ls");
        assert_eq!(
            ClipboardText::new("one\ntwo").summary(", for a friend"),
            "copied, for a friend: one and 1 more line"
        );
    }
}
