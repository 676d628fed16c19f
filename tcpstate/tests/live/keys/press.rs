//! What each action must do to the screen.

use std::path::Path;

use tcpstate::tui::keys::{Action, Key, Mode, ReplayAction};

use super::{look, tmux_name};
use crate::terminal::Terminal;

/// A dashboard whose keys are pressed; between two checks it is at rest: the
/// first socket chosen, nothing open.
pub(super) struct Dashboard {
    pub(super) terminal: Terminal,
    command: String,
    mode: Mode,
}

/// Whether the action gives the terminal back.
pub(super) fn ends(action: Action) -> bool {
    matches!(action, Action::Quit | Action::Suspend)
}

impl Dashboard {
    pub(super) fn start(folder: &Path, command: &str, mode: Mode) -> Self {
        Self {
            terminal: Terminal::start_in(folder, 120, 40, command),
            command: command.to_owned(),
            mode,
        }
    }

    fn press(&self, key: Key) {
        let names = tmux_name(key);
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        self.terminal.keys(&names);
    }

    /// Presses a key of the usual ones, and waits for what it does.
    #[track_caller]
    fn then(&self, key: &str, what: &str, is_so: impl Fn(&str) -> bool) -> String {
        self.terminal.keys(&[key]);
        self.terminal.until(what, is_so)
    }

    #[track_caller]
    fn close(&self) {
        self.then("Escape", "nothing is open", |screen| {
            look::open(screen).is_empty()
        });
    }

    /// Presses the key of the action, holds the screen to what the help says,
    /// and puts everything back.
    #[track_caller]
    pub(super) fn check(&self, action: Action, key: Key, folder: &Path) {
        let rest = |screen: &str| {
            look::is_first(screen)
                && look::panel(screen) == "sockets"
                && look::open(screen).is_empty()
                && look::order(screen) == "STATE▲"
                && look::hints(screen)
        };
        let name = format!("{action:?} by {key}");
        let terminal = &self.terminal;
        let before = terminal.until(&format!("at rest before {name}"), rest);
        let until = |what: &str, is_so: &dyn Fn(&str) -> bool| {
            terminal.until(&format!("{name}: {what}"), is_so)
        };
        let opens = |title: &str| {
            self.press(key);
            until(title, &|screen| look::open(screen).starts_with(title));
        };
        match action {
            Action::Quit | Action::Suspend => unreachable!("it has a check of its own"),
            Action::Help => {
                opens("help");
                self.press(key);
                until("the help goes", &|screen| look::open(screen).is_empty());
            }
            Action::Messages => {
                opens("messages");
                self.close();
            }
            Action::Up => {
                self.then("j", "down first", |screen| !look::is_first(screen));
                self.press(key);
                until("one up", &look::is_first);
            }
            Action::Down => {
                self.press(key);
                until("one down", &|screen| {
                    look::row(screen) == look::row(&before).map(|row| row + 1)
                });
                self.then("k", "back", look::is_first);
            }
            Action::Top => {
                self.then("G", "at the end first", |screen| !look::is_first(screen));
                self.press(key);
                until("the first row", &look::is_first);
            }
            Action::Bottom => {
                self.press(key);
                let end = until("the last row", &|screen| !look::is_first(screen));
                let last = look::chosen(&end);
                self.then("k", "one up", |screen| look::chosen(screen) != last);
                terminal.keys(&["j", "j", "j"]);
                until("the last row again", &|screen| look::chosen(screen) == last);
                self.then("Home", "back", look::is_first);
            }
            Action::PageDown => {
                self.press(key);
                until("more than one row on", &|screen| {
                    look::row(screen) > look::row(&before).map(|row| row + 1)
                        || look::chosen(screen) != look::chosen(&before) && !look::is_first(screen)
                });
                self.then("Home", "back", look::is_first);
            }
            Action::PageUp => {
                self.then("NPage", "a page on first", |screen| !look::is_first(screen));
                self.press(key);
                until("the first row again", &look::is_first);
            }
            Action::Left => {
                self.press(key);
                until("the last column", &|screen| look::order(screen) == "LEFT▲");
                self.then("l", "back", |screen| look::order(screen) == "STATE▲");
            }
            Action::Right | Action::Sort => {
                self.press(key);
                until("the next column", &|screen| look::order(screen) == "LOCAL▲");
                self.then("h", "back", |screen| look::order(screen) == "STATE▲");
            }
            Action::Reverse => {
                self.press(key);
                until("the other way", &|screen| look::order(screen) == "STATE▼");
                self.press(key);
                until("and back", &rest);
            }
            Action::NextPanel => {
                self.press(key);
                until("the events", &|screen| look::panel(screen) == "events");
                self.then("BTab", "back", rest);
            }
            Action::PreviousPanel => {
                self.press(key);
                until("not the sockets", &|screen| {
                    look::panel(screen) != "sockets"
                });
                self.then("Tab", "back", rest);
            }
            Action::Open => {
                self.press(key);
                until("a detail", &|screen| !look::open(screen).is_empty());
                self.close();
            }
            Action::Close => {
                self.then("?", "something is open", |screen| {
                    look::open(screen) == "help"
                });
                self.press(key);
                until("nothing is open", &|screen| look::open(screen).is_empty());
            }
            Action::Pause => {
                self.press(key);
                until("frozen", &|screen| {
                    screen.contains("PAUSED") && screen.contains(" behind ")
                });
                self.press(key);
                until("it goes on", &|screen| !screen.contains("PAUSED"));
            }
            Action::Filter => {
                self.press(key);
                until("a prompt", &|screen| screen.contains(" filter: "));
                self.then("Escape", "back", rest);
            }
            Action::AskTime => {
                self.press(key);
                until("a prompt", &|screen| screen.contains(" go to: "));
                terminal.text("#3");
                terminal.keys(&["Enter"]);
                if self.mode == Mode::Replay {
                    until("event 3", &|screen| look::event(screen) == Some(4));
                    let home = look::event(&before);
                    let home = format!("#{}", home.expect("it is a replay") - 1);
                    self.press(key);
                    terminal.text(&home);
                    terminal.keys(&["Enter"]);
                    until("back", &|screen| {
                        look::event(screen) == look::event(&before)
                    });
                } else {
                    until("the event", &|screen| {
                        look::panel(screen) == "events" && screen.contains(" ago")
                    });
                    terminal.keys(&["End"]);
                    self.then("BTab", "off the events", |screen| {
                        look::panel(screen) != "events"
                    });
                    self.then("Tab", "on the events", |screen| {
                        look::panel(screen) == "events"
                    });
                    self.to_sockets();
                }
            }
            Action::Diagnosis => {
                self.press(key);
                until("the diagnosis", &|screen| screen.contains("what to do"));
                self.press(key);
                until("back", &rest);
            }
            Action::Clear => {
                self.press(key);
                until("no banner", &|screen| !screen.contains("put away"));
                self.then("d", "the diagnosis", |screen| screen.contains("what to do"));
                self.then("d", "the banner is back", |screen| {
                    screen.contains("put away")
                });
            }
            Action::ClearEvents => {
                self.press(key);
                until("no events", &|screen| screen.contains("out of sight"));
                self.press(key);
                until("all events", &|screen| {
                    screen.contains("all events are shown")
                });
            }
            Action::Copy | Action::CopyDiagnosis | Action::CopyFix => {
                self.press(key);
                let screen = until("what is copied is shown", &|screen| {
                    // A fix of a recording says first of when it is.
                    screen.contains("copied: ") || screen.contains("copied, as of ")
                });
                let copied = terminal.clipboard();
                let first = copied.lines().next().unwrap_or_default();
                let head: String = first.chars().take(40).collect();
                assert!(
                    !head.is_empty() && screen.contains(&head),
                    "{copied}\n{screen}"
                );
                if action == Action::CopyDiagnosis {
                    assert!(copied.contains("held by"), "{copied}");
                }
            }
            Action::Release if self.mode == Mode::Replay => {
                self.press(key);
                until("it is not to be had", &|screen| {
                    screen.contains("a recording says nothing of now")
                });
            }
            Action::Release => {
                opens("release");
                until("it has looked", &|screen| !screen.contains("│ …"));
                self.close();
            }
            Action::Export | Action::ScreenshotText | Action::ScreenshotSvg => {
                self.press(key);
                until("the file is named", &|screen| {
                    screen.contains("written to") || screen.contains("not kept")
                });
                check_file(action, folder);
            }
            Action::Columns => {
                opens("columns");
                self.then("j", "the next", |screen| screen.contains("▸ [x] LOCAL"));
                self.then("Enter", "hidden", |screen| screen.contains("[ ] LOCAL"));
                self.then("Enter", "shown", |screen| screen.contains("[x] LOCAL"));
                terminal.keys(&["Left", "Left", "Left", "Right", "Left"]);
                self.then("Left", "in its place", |screen| {
                    let at = |name: &str| screen.find(name);
                    at("[x] STATE") < at("[x] LOCAL") && at("[x] LOCAL") < at("[x] PEER")
                });
                self.close();
            }
            Action::Themes => {
                opens("theme");
                self.then("j", "the next", |screen| screen.contains("▸ light"));
                self.close();
            }
            Action::Mouse => {
                self.press(key);
                until("it is on", &|screen| screen.contains("mouse on"));
                // A click and a notch of the wheel, as xterm sends them.
                let first = look::row(&before).expect("a row is chosen");
                terminal.text(&format!("\x1b[<0;12;{}M", first + 2));
                until("the row that was clicked", &|screen| {
                    look::row(screen) == Some(first + 1)
                });
                terminal.text(&format!("\x1b[<64;12;{}M", first + 2));
                until("the wheel moved it", &look::is_first);
                self.press(key);
                until("it is off", &|screen| screen.contains("mouse off"));
            }
            Action::Replay(wish) => self.check_replay(wish, key, &before),
            Action::Accept => {
                self.type_filter("port:9090");
                self.press(key);
                until("it is in force", &|screen| {
                    screen.contains("filter port:9090") && look::typed(screen).is_none()
                });
                terminal.keys(&["/"]);
                self.then("C-u", "nothing", |screen| look::typed(screen) == Some(""));
                self.then("Enter", "no filter", |screen| {
                    !screen.contains("filter port")
                });
            }
            Action::Cancel => {
                self.type_filter("port:9090");
                self.press(key);
                until("it is as it was", &rest);
            }
            Action::Erase => {
                self.type_filter("port:90");
                self.press(key);
                until("one less", &|screen| look::typed(screen) == Some("port:9"));
                self.then("Escape", "back", rest);
            }
            Action::EraseAll => {
                self.type_filter("port:90");
                self.press(key);
                until("nothing", &|screen| {
                    screen.contains(" filter: ") && !screen.contains("port:9")
                });
                self.then("Escape", "back", rest);
            }
            Action::Type(_) => unreachable!("no key is bound to it"),
        }
        // An answer to a key is there until the next one.
        terminal.keys(&["Home"]);
        terminal.until(&format!("at rest after {name}"), rest);
    }

    fn type_filter(&self, text: &str) {
        self.terminal.keys(&["/"]);
        self.terminal.wait_for(" filter: ");
        self.terminal.text(text);
        self.terminal
            .until("it is typed", |screen| look::typed(screen) == Some(text));
    }

    /// Focuses the sockets, wherever the focus is.
    fn to_sockets(&self) {
        for _ in 0..4 {
            if look::panel(&self.terminal.screen()) == "sockets" {
                return;
            }
            let was = look::panel(&self.terminal.screen()).to_owned();
            self.then("BTab", "another panel", |screen| look::panel(screen) != was);
        }
    }

    fn check_replay(&self, wish: ReplayAction, key: Key, before: &str) {
        let terminal = &self.terminal;
        let name = format!("{wish:?} by {key}");
        let at = |screen: &str| look::event(screen).expect("a replay says where it is");
        let home = at(before);
        let until = |what: &str, is_so: &dyn Fn(u64) -> bool| {
            terminal.until(&format!("{name}: {what}"), |screen| {
                look::event(screen).is_some_and(is_so) && !screen.contains("… ")
            })
        };
        self.press(key);
        match wish {
            ReplayAction::Play => {
                terminal.until("it plays", |screen| {
                    screen.contains('▶') || at(screen) > home
                });
                until("it goes on", &|event| event > home);
                terminal.keys(&["<"]);
                until("the beginning", &|event| event == 0);
            }
            ReplayAction::Step => {
                until("one on", &|event| event == home + 1);
            }
            ReplayAction::StepBack => {
                until("one back", &|event| event == home - 1);
            }
            ReplayAction::NextMark => {
                let screen = until("the next", &|event| event > home + 1);
                assert!(
                    screen.contains("EADDRINUSE") || screen.contains("restart"),
                    "{screen}"
                );
            }
            ReplayAction::PreviousMark => {
                until("before", &|event| event < home);
            }
            ReplayAction::Forward | ReplayAction::End => {
                terminal.until("the end", |screen| screen.contains("ended: "));
            }
            ReplayAction::Back | ReplayAction::Begin => {
                until("the beginning", &|event| event <= 1);
            }
            ReplayAction::Faster => {
                terminal.until("faster", |screen| screen.contains(" 2× "));
                terminal.keys(&["-"]);
            }
            ReplayAction::Slower => {
                terminal.until("slower", |screen| screen.contains(" 0.5× "));
                terminal.keys(&["+"]);
            }
            ReplayAction::GoTo(_) | ReplayAction::GoToShare(_) | ReplayAction::GoToEvent(_) => {
                unreachable!("no key is bound to it")
            }
        }
        if matches!(wish, ReplayAction::Faster | ReplayAction::Slower) {
            terminal.until("as fast as before", |screen| screen.contains(" 1× "));
        }
        terminal.keys(&["t"]);
        terminal.wait_for(" go to: ");
        terminal.text(&format!("#{}", home - 1));
        terminal.keys(&["Enter"]);
        until("back", &|event| event == home);
    }

    /// The program ends, or stops and comes back.
    #[track_caller]
    pub(super) fn check_end(&self, mode: Mode, action: Action, key: Key) {
        let terminal = &self.terminal;
        terminal.wait_for("lost 0");
        if mode == Mode::Typing {
            terminal.keys(&["/"]);
            terminal.wait_for(" filter: ");
        }
        self.press(key);
        if action == Action::Suspend {
            terminal.until("the shell's prompt", |screen| {
                screen.contains("ready$") && !screen.contains("lost 0")
            });
            terminal.keys(&["fg", "Enter"]);
            terminal.wait_for("lost 0");
            return;
        }
        terminal.wait_for("ended 0");
        terminal.keys(&["clear", "Enter"]);
        terminal.wait_until("ended 0", false);
        terminal.keys(&[&self.command, "Enter"]);
        terminal.wait_for("lost 0");
    }
}

/// The one file that is there: readable for its owner alone, and what it must be.
fn check_file(action: Action, folder: &Path) {
    use std::os::unix::fs::MetadataExt as _;

    let mut files = std::fs::read_dir(folder).expect("the folder is there");
    let file = files
        .next()
        .expect("a file was written")
        .expect("it can be read");
    let (path, mode) = (file.path(), file.metadata().expect("it is there").mode());
    assert!(files.next().is_none(), "one file");
    assert_eq!(mode & 0o777, 0o600, "{}", path.display());
    let text = std::fs::read_to_string(&path).expect("it is text");
    let extension = path.extension().and_then(|extension| extension.to_str());
    match action {
        Action::Export => {
            assert_eq!(extension, Some("jsonl"));
            for line in text.lines() {
                let event: serde_json::Value = serde_json::from_str(line).expect("it is JSON");
                assert!(event["event"].is_string(), "{line}");
            }
            assert!(text.lines().count() >= 2, "{text}");
        }
        Action::ScreenshotSvg => {
            assert!(text.starts_with("<svg ") && extension == Some("svg"));
            assert!(
                text.contains(">STATE<") && text.contains('▲') && !text.contains("<script"),
                "{text}"
            );
        }
        _ => {
            assert_eq!(extension, Some("txt"));
            assert!(
                text.contains("lost 0") && text.contains("sockets"),
                "{text}"
            );
        }
    }
    std::fs::remove_file(path).expect("it can be removed");
}
