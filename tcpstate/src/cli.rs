//! The command line: clap types and the checks that need no system.

use std::ffi::OsString;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use bytesize::ByteSize;
use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use regex_lite::Regex;

use crate::event::{Capture, State, Way};
use crate::tui::Theme;

/// Why does my server not restart?
///
/// Watches TCP states, TIME_WAIT, resets and failed bind calls in the kernel,
/// and says what holds a port, who left it there, how long until it is free,
/// and what fixes it.
#[derive(Debug, Parser)]
#[command(name = "tcpstate", version, max_term_width = 100, after_help = EXIT_CODES)]
pub struct Cli {
    /// Show the kernel program's diagnostics and what is being done, on stderr.
    #[arg(short, long, global = true)]
    pub verbose: bool,
    /// How the kernel is observed: function hooks where it allows them, else
    /// tracepoints (`auto`), or one of the two. For `watch`, `demo` and `doctor`.
    #[arg(
        long,
        global = true,
        value_enum,
        value_name = "MODE",
        env = "TCPSTATE_CAPTURE",
        default_value = "auto"
    )]
    pub capture: CaptureMode,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const EXIT_CODES: &str = "Exit codes: 0 fine; 2 failed or bad usage; explain, wait, release and restart-test use 1, too. NO_COLOR is honoured.";

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Watch live: states, TIME_WAIT, resets, failed binds and why they failed.
    Watch(WatchArgs),
    /// Make a private network namespace, run a server in it that fails to
    /// restart, and watch it. Never touches the host's sockets.
    Demo(DemoArgs),
    /// Say who holds a port now, and whether a bind would succeed.
    ///
    /// Exit code 0: it would succeed; 1: it would not; 2: cannot tell, or failed.
    Explain(ExplainArgs),
    /// Wait until a bind would succeed.
    ///
    /// Exit code 0: it would succeed; 1: the time is over; 2: failed.
    Wait(WaitArgs),
    /// Free a port: show what would be ended and what that loses, ask, and do it.
    ///
    /// Exit code 0: a bind would succeed (also if it would before); 1: the port is still
    /// held; 2: refused, or failed.
    Release(ReleaseArgs),
    /// Show a recording again.
    Replay(ReplayArgs),
    /// Write the postmortem of a recording: restarts, downtime, each failed
    /// call with its diagnosis, timelines, resets, losses.
    Report(ReportArgs),
    /// Run a program, and say at once why one of its processes may not have a port.
    ///
    /// Exit code: the program's own; 128 and the number of the signal that ended it; 2:
    /// it could not be started.
    Run(RunArgs),
    /// Restart a server again and again while clients hold connections, and say for each way
    /// whether it restarts at once, why not, and for how long its port was down.
    ///
    /// Exit code 0: it restarts at once in every way; 1: it does not; 2: cannot tell, or failed.
    RestartTest(RestartTestArgs),
    /// Say what this kernel and these privileges allow, hook by hook.
    Doctor(DoctorArgs),
    /// Say where the dashboard's configuration is and whether it is right, or
    /// print a template of it.
    Config(ConfigArgs),
    /// Print the JSON Schema (2020-12) of the events.
    Schema,
    /// Print a completion script for a shell.
    Completions {
        /// The shell.
        shell: Shell,
    },
    /// Print the manual page.
    Man,
    /// Lets the calls of those pass who live longer than the program that `run` ran.
    #[command(name = "__pass", hide = true)]
    Pass,
    /// Makes one `bind`, for `doctor` to try its supervision.
    #[command(name = "__bind", hide = true)]
    BindOnce,
    /// Frees ports for the dashboard, which asks for it on stdin.
    #[command(name = "__release", hide = true)]
    ReleaseHelper,
    /// Plays a server or a client of the demo; told what to do on stdin.
    #[command(name = "__actor", hide = true)]
    Actor {
        /// A child that only holds what it inherited.
        #[arg(long)]
        child: bool,
    },
}

/// How the kernel is observed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum CaptureMode {
    /// Function hooks where the kernel allows them, else tracepoints.
    Auto,
    /// Function hooks, or not at all.
    Functions,
    /// Tracepoints only.
    Tracepoints,
}

impl CaptureMode {
    /// The mode that is asked for; `None`: what the kernel allows.
    #[must_use]
    pub fn asked(self) -> Option<Capture> {
        match self {
            Self::Auto => None,
            Self::Functions => Some(Capture::Functions),
            Self::Tracepoints => Some(Capture::Tracepoints),
        }
    }
}

/// How events are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// The dashboard; the default on a terminal.
    Tui,
    /// One line per event; the default elsewhere.
    Text,
    /// One JSON object per line.
    Json,
}

/// How the output looks and where it goes.
#[derive(Clone, Debug, Args)]
pub struct OutputArgs {
    /// How events are shown; by default `tui` on a terminal, else `text`.
    #[arg(long, value_enum, value_name = "FORMAT")]
    pub format: Option<Format>,
    /// Short for `--format json`.
    #[arg(long, conflicts_with = "format")]
    pub json: bool,
    /// What the dashboard is like.
    #[command(flatten)]
    pub screen: ScreenArgs,
}

/// What the dashboard is like.
#[derive(Clone, Debug, Args)]
pub struct ScreenArgs {
    /// Colours of the dashboard; by default those that fit the terminal.
    #[arg(long, value_enum, value_name = "THEME")]
    pub theme: Option<ThemeName>,
    /// Click rows and columns of the dashboard.
    #[arg(long)]
    pub mouse: bool,
    /// The dashboard's configuration; by default `tcpstate/config.toml` in
    /// `$XDG_CONFIG_HOME` or `~/.config`, or what `TCPSTATE_CONFIG` names.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// A theme of the dashboard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ThemeName {
    /// The one that fits: `NO_COLOR` and `COLORFGBG` are honoured.
    Auto,
    /// For dark backgrounds.
    Dark,
    /// For light backgrounds.
    Light,
    /// Its own black background, bright colours.
    HighContrast,
    /// No colour at all.
    Mono,
}

impl ThemeName {
    /// The theme; `None`: the one that fits.
    #[must_use]
    pub fn theme(self) -> Option<Theme> {
        match self {
            Self::Auto => None,
            Self::Dark => Some(Theme::Dark),
            Self::Light => Some(Theme::Light),
            Self::HighContrast => Some(Theme::HighContrast),
            Self::Mono => Some(Theme::Mono),
        }
    }
}

/// Arguments of `config`.
#[derive(Clone, Debug, Args)]
pub struct ConfigArgs {
    /// Print a file that says what is the case without one.
    #[arg(long)]
    pub template: bool,
    /// Look at this file.
    #[arg(long, value_name = "FILE", conflicts_with = "template")]
    pub config: Option<PathBuf>,
}

impl OutputArgs {
    /// The format, given whether stdout is a terminal.
    #[must_use]
    pub fn format(&self, stdout_is_terminal: bool) -> Format {
        match self.format {
            Some(format) => format,
            None if self.json => Format::Json,
            None if stdout_is_terminal => Format::Tui,
            None => Format::Text,
        }
    }
}

/// Arguments of `watch`.
#[derive(Clone, Debug, Args)]
pub struct WatchArgs {
    /// Only sockets with this local or peer port; a range `8000-8010` works,
    /// and the option may be repeated.
    #[arg(short, long = "port", value_name = "PORT", value_parser = parse_ports, value_delimiter = ',')]
    pub ports: Vec<RangeInclusive<u16>>,
    /// Only sockets and calls of this process; may be repeated.
    #[arg(long = "pid", value_name = "PID", value_parser = clap::value_parser!(u32).range(1..))]
    pub pids: Vec<u32>,
    /// Only sockets and calls of processes with this name; may be repeated.
    #[arg(long = "comm", value_name = "NAME")]
    pub comms: Vec<String>,
    /// Only changes from or to this state (`time_wait`, `listen`, …); may be repeated.
    #[arg(long = "state", value_name = "STATE", value_parser = parse_state, value_delimiter = ',')]
    pub states: Vec<State>,
    /// Only sockets with this local or peer address; may be repeated.
    #[arg(long = "addr", value_name = "ADDR")]
    pub addrs: Vec<IpAddr>,
    /// Which network namespace: a name (`ip netns`), a path, an inode number,
    /// `self`, or `all`.
    #[arg(long, value_name = "NETNS", default_value = "all")]
    pub netns: String,
    /// Also write the events, as JSON lines, to this file; compressed if its
    /// name ends in `.zst`. The file is made new, or is yours already and nobody
    /// else can write to it; a pipe or device is refused.
    #[arg(long, value_name = "FILE")]
    pub record: Option<PathBuf>,
    /// Go on in the next file (FILE.2, FILE.3, …) after this size (`100MB`).
    #[arg(long, value_name = "SIZE", requires = "record", value_parser = parse_size)]
    pub rotate_size: Option<ByteSize>,
    /// Go on in the next file after this time (`1h`).
    #[arg(long, value_name = "DURATION", requires = "record", value_parser = humantime::parse_duration)]
    pub rotate_age: Option<Duration>,
    /// Keep this many files of the recording, and delete the oldest.
    #[arg(long, value_name = "COUNT", requires = "record", value_parser = clap::value_parser!(u32).range(1..))]
    pub rotate_keep: Option<u32>,
    /// End after this time (`500ms`, `30s`, `2m`).
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub duration: Option<Duration>,
    /// Free no port from the dashboard: start nothing that could (`read_only` in its
    /// configuration does the same).
    #[arg(long)]
    pub read_only: bool,
    /// Also report connects that succeed.
    #[arg(long)]
    pub connects: bool,
    /// How it is shown.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Arguments of `demo`.
#[derive(Clone, Debug, Args)]
pub struct DemoArgs {
    /// Which scenario; `all` plays them one after the other.
    #[arg(default_value = "restart")]
    pub scenario: String,
    /// List the scenarios.
    #[arg(long)]
    pub list: bool,
    /// Also write the events, as JSON lines, to this file.
    #[arg(long, value_name = "FILE")]
    pub record: Option<PathBuf>,
    /// How it is shown.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Which port, and the socket that would bind it.
#[derive(Clone, Debug, Args)]
pub struct PortArgs {
    /// The port.
    #[arg(value_parser = parse_port)]
    pub port: u16,
    /// The socket.
    #[command(flatten)]
    pub socket: SocketArgs,
    /// Also bind for real, and give the port back at once. For that instant the
    /// port is taken; nothing listens on it.
    #[arg(long = "try")]
    pub is_tried: bool,
    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,
}

/// The socket that would bind a port.
#[derive(Clone, Debug, Args)]
pub struct SocketArgs {
    /// The address; by default every address.
    #[arg(long, value_name = "ADDR")]
    pub addr: Option<String>,
    /// The socket sets SO_REUSEADDR.
    #[arg(long = "reuseaddr")]
    pub is_reuseaddr: bool,
    /// The socket sets SO_REUSEPORT.
    #[arg(long = "reuseport")]
    pub is_reuseport: bool,
    /// It is an IPv6 socket.
    #[arg(long = "ipv6")]
    pub is_ipv6: bool,
    /// The socket sets IPV6_V6ONLY.
    #[arg(long = "v6only")]
    pub is_v6only: bool,
    /// The socket is bound to this interface (SO_BINDTODEVICE).
    #[arg(long, value_name = "INTERFACE")]
    pub device: Option<String>,
    /// The user that the socket belongs to; by default you.
    #[arg(long, value_name = "UID")]
    pub uid: Option<u32>,
    /// Which network namespace: a name (`ip netns`), a path, an inode number,
    /// or `self`.
    #[arg(long, value_name = "NETNS", default_value = "self")]
    pub netns: String,
}

/// Arguments of `explain`.
#[derive(Clone, Debug, Args)]
pub struct ExplainArgs {
    /// What is asked about.
    #[command(flatten)]
    pub port: PortArgs,
}

/// Arguments of `wait`.
#[derive(Clone, Debug, Args)]
pub struct WaitArgs {
    /// What is waited for.
    #[command(flatten)]
    pub port: PortArgs,
    /// Give up after this time (`500ms`, `30s`, `2m`); by default never.
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub timeout: Option<Duration>,
}

/// Arguments of `release`.
#[derive(Clone, Debug, Args)]
pub struct ReleaseArgs {
    /// The ports.
    #[arg(required = true, value_name = "PORT", value_parser = parse_port)]
    pub ports: Vec<u16>,
    /// The socket that is to be able to bind them. What does not stand in its way is left
    /// alone.
    #[command(flatten)]
    pub socket: SocketArgs,
    /// Only show the plan.
    #[arg(long)]
    pub dry_run: bool,
    /// Do not ask.
    #[arg(long, conflicts_with = "dry_run")]
    pub yes: bool,
    /// Kill (SIGKILL) what has not ended by SIGTERM within the timeout.
    #[arg(long)]
    pub force: bool,
    /// How long each step may take (`500ms`, `30s`, `2m`); by default 10s. What goes by
    /// itself and cannot be destroyed is waited for only if this is given.
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub timeout: Option<Duration>,
    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `run`.
#[derive(Clone, Debug, Args)]
#[command(after_long_help = RUN_NOTES)]
pub struct RunArgs {
    /// Set SO_REUSEADDR on each TCP socket before its bind to a port other than 0.
    #[arg(long = "reuseaddr")]
    pub is_reuseaddr: bool,
    /// The same with SO_REUSEPORT.
    #[arg(long = "reuseport")]
    pub is_reuseport: bool,
    /// Hold a bind back until the kernel allows it, but not longer than this (`--wait=30s`);
    /// by default without a limit.
    #[arg(long, value_name = "DURATION", num_args = 0..=1, require_equals = true, value_parser = humantime::parse_duration)]
    pub wait: Option<Option<Duration>>,
    /// Keep the socket that listens on this port open when the program ends, and give it to
    /// the program again at its next start; may be repeated. Needs Linux 5.9.
    #[arg(long, value_name = "PORT", value_parser = parse_port, value_delimiter = ',')]
    pub keep: Vec<u16>,
    /// Close a kept socket when no process of the program has had it open for this long.
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = humantime::parse_duration)]
    pub keep_for: Duration,
    /// Start the program again when it ends by itself; at once at first, then later and
    /// later. (SIGHUP to `run` stops it and starts it again in any case.)
    #[arg(long)]
    pub respawn: bool,
    /// How long the program has to end after SIGTERM when it is restarted, before SIGKILL.
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = humantime::parse_duration)]
    pub grace: Duration,
    /// Write the events, as JSON lines, to this file; compressed if its name ends in `.zst`.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// The program and its arguments.
    #[arg(
        required = true,
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "CMD"
    )]
    pub command: Vec<OsString>,
}

const RUN_NOTES: &str = "\
Signals: SIGINT, SIGTERM, SIGQUIT, SIGUSR1, SIGUSR2 and SIGWINCH that are sent to `run` are \
handed on; what a key at the terminal sends, the program gets from the terminal. SIGHUP \
restarts the program.

Privileges: none are needed. Without CAP_SYS_ADMIN the kernel wants no_new_privs to be set: \
set-user-id programs (sudo, ping) that the program starts gain nothing then. What is bound is \
bound with the privileges of the program; a process below it that has other ones (another user, \
namespace, security label, a Landlock domain) binds for itself: where that has not taken effect, it \
is explained by what the kernel's hooks have told, as root, else by the kernel's rule (`inferred`). A \
container needs CAP_SYS_PTRACE for any of it.

If `run` is killed (SIGKILL), the program goes on serving, but the kernel answers ENOSYS to each \
later bind and listen of it.";

/// Arguments of `restart-test`.
#[derive(Clone, Debug, Args)]
#[command(after_long_help = RESTART_TEST_NOTES)]
pub struct RestartTestArgs {
    /// The port that the server listens on.
    #[arg(long, value_name = "PORT", value_parser = parse_port)]
    pub port: u16,
    /// Restart it so often in each way.
    #[arg(long, value_name = "N", default_value = "1", value_parser = clap::value_parser!(u32).range(1..=100))]
    pub times: u32,
    /// The ways: `idle`, `server_closes_first`, `client_closes_first`, `half_closed`,
    /// `unread_data`, `sigkill`, `child_left`; by default all of them.
    #[arg(long, value_name = "WAY", value_parser = parse_way, value_delimiter = ',')]
    pub ways: Vec<Way>,
    /// Connections that clients hold.
    #[arg(long, value_name = "N", default_value = "4", value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub clients: u16,
    /// How one sees that it serves: `listen`, `stdout=REGEX` (it prints such a line), or
    /// `http=/path` (it answers with a status of 200 to 399).
    #[arg(long, value_name = "HOW", default_value = "listen", value_parser = parse_ready)]
    pub ready: Ready,
    /// How long a start may take (`500ms`, `30s`, `2m`).
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = humantime::parse_duration)]
    pub timeout: Duration,
    /// How long it has to end after SIGTERM, before SIGKILL.
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = humantime::parse_duration)]
    pub grace: Duration,
    /// On the host, and not in network namespaces of its own: where none can be made, or the
    /// server needs what is only there.
    #[arg(long)]
    pub host: bool,
    /// Show the dashboard of `watch` meanwhile, with the restarts; it ends with the test, unless
    /// it is paused or something is open on it.
    #[arg(long, conflicts_with_all = ["json", "markdown"])]
    pub tui: bool,
    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,
    /// Print Markdown, for a pull request.
    #[arg(long, conflicts_with = "json")]
    pub markdown: bool,
    /// The server and its arguments.
    #[arg(
        required = true,
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "CMD"
    )]
    pub command: Vec<OsString>,
}

/// How one sees that a server serves.
#[derive(Clone, Debug)]
pub enum Ready {
    /// It listens on the port.
    Listen,
    /// It listens, and has printed such a line on its standard output.
    Stdout(Regex),
    /// It answers a request for this path.
    Http(String),
}

const RESTART_TEST_NOTES: &str = "\
Each restart has a network namespace of its own with the loopback interface and the host's \
settings of ports, made as root or, as any other user, through a user namespace. The server runs \
in the foreground; its standard output and error are shown with -v. SIGINT ends it and all that \
it started.";

/// Arguments of `replay`.
#[derive(Clone, Debug, Args)]
pub struct ReplayArgs {
    /// The recording; of one in several files, all of them in order.
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// How it is shown.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// How a report is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ReportFormat {
    /// One self-contained page.
    Html,
    /// Markdown, for tickets and chats.
    Md,
    /// One JSON object.
    Json,
}

/// Arguments of `report`.
#[derive(Clone, Debug, Args)]
pub struct ReportArgs {
    /// The recording; of one in several files, all of them in order.
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// How it is written; by default as the name of the output says
    /// (`.html`, `.md`, `.json`), else `md` on a terminal and `html` elsewhere.
    #[arg(long, value_enum, value_name = "FORMAT")]
    pub format: Option<ReportFormat>,
    /// Write to this file, which is replaced; by default to stdout.
    #[arg(short, long, value_name = "OUT")]
    pub output: Option<PathBuf>,
}

impl ReportArgs {
    /// The format, given whether stdout is a terminal: nobody reads HTML there.
    #[must_use]
    pub fn format(&self, stdout_is_terminal: bool) -> ReportFormat {
        let extension = self.output.as_ref().and_then(|path| path.extension());
        match (self.format, extension.and_then(std::ffi::OsStr::to_str)) {
            (Some(format), _) => format,
            (None, Some("md" | "markdown")) => ReportFormat::Md,
            (None, Some("json")) => ReportFormat::Json,
            (None, _) if self.output.is_none() && stdout_is_terminal => ReportFormat::Md,
            (None, _) => ReportFormat::Html,
        }
    }
}

/// Arguments of `doctor`.
#[derive(Clone, Copy, Debug, Args)]
pub struct DoctorArgs {
    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,
}

fn parse_port(text: &str) -> Result<u16, String> {
    match text.trim().parse::<u16>() {
        Ok(0) | Err(_) => Err(format!(
            "`{}` is not a port; ports are 1 to 65535",
            text.trim()
        )),
        Ok(port) => Ok(port),
    }
}

fn parse_ports(text: &str) -> Result<RangeInclusive<u16>, String> {
    let port =
        |text: &str| parse_port(text).map_err(|why| format!("{why}, ranges look like 8000-8010"));
    let (first, last) = match text.split_once('-') {
        Some((first, last)) => (port(first)?, port(last)?),
        None => (port(text)?, port(text)?),
    };
    if first > last {
        return Err(format!(
            "the range {first}-{last} is empty; write {last}-{first}"
        ));
    }
    Ok(first..=last)
}

fn parse_way(text: &str) -> Result<Way, String> {
    let name = text.trim().to_ascii_lowercase().replace('-', "_");
    Way::from_name(&name).ok_or_else(|| {
        let names: Vec<&str> = Way::ALL.iter().map(|way| way.name()).collect();
        format!("`{text}` is not a way; the ways are {}", names.join(", "))
    })
}

fn parse_ready(text: &str) -> Result<Ready, String> {
    match text.split_once('=') {
        None if text == "listen" => Ok(Ready::Listen),
        Some(("stdout", pattern)) => Regex::new(pattern)
            .map(Ready::Stdout)
            .map_err(|why| format!("the pattern cannot be used: {why}")),
        Some(("http", path))
            if path.starts_with('/') && path.bytes().all(|it| it.is_ascii_graphic()) =>
        {
            Ok(Ready::Http(path.to_owned()))
        }
        Some(("http", path)) => Err(format!("`{path}` is not a path; write http=/health")),
        _ => Err(format!(
            "`{text}` is none; write listen, stdout=REGEX or http=/path"
        )),
    }
}

/// Smaller parts would be mostly headers.
const MIN_PART: u64 = 64 << 10;

fn parse_size(text: &str) -> Result<ByteSize, String> {
    let size: ByteSize = text
        .parse()
        .map_err(|why| format!("{why}; sizes look like 64KiB, 100MB or 1GiB"))?;
    if size.as_u64() < MIN_PART {
        return Err("a part has at least 64KiB".to_owned());
    }
    Ok(size)
}

fn parse_state(text: &str) -> Result<State, String> {
    State::from_name(&text.to_ascii_lowercase().replace('-', "_")).ok_or_else(|| {
        let names: Vec<&str> = State::ALL.iter().map(|state| state.name()).collect();
        format!(
            "`{text}` is not a TCP state; the states are {}",
            names.join(", ")
        )
    })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn ports_and_ranges_are_read() {
        assert_eq!(parse_ports("8080"), Ok(8080..=8080));
        assert_eq!(parse_ports("8000-8010"), Ok(8000..=8010));
    }

    #[test]
    fn what_is_not_a_port_is_refused_with_a_hint() {
        for wrong in ["0", "65536", "http", "-1", "8010-8000", "80-", ""] {
            assert!(parse_ports(wrong).is_err(), "{wrong:?} was taken");
        }
        assert_eq!(
            parse_ports("8010-8000").unwrap_err(),
            "the range 8010-8000 is empty; write 8000-8010"
        );
    }

    #[test]
    fn ways_and_signs_of_readiness_are_read() {
        assert_eq!(parse_way("half-closed"), Ok(Way::HalfClosed));
        assert!(parse_way("gently").is_err());
        assert!(matches!(parse_ready("listen"), Ok(Ready::Listen)));
        assert!(
            matches!(parse_ready("stdout=a=[0-9]"), Ok(Ready::Stdout(it)) if it.as_str() == "a=[0-9]")
        );
        assert!(parse_ready("stdout=(?i)serving").is_ok());
        assert!(matches!(parse_ready("http=/up"), Ok(Ready::Http(path)) if path == "/up"));
        for wrong in [
            "",
            "stdout=(",
            "http=up",
            "http=/a b",
            "http=/\r\nX: y",
            "tcp",
        ] {
            assert!(parse_ready(wrong).is_err(), "{wrong:?} was taken");
        }
    }

    #[test]
    fn every_theme_can_be_asked_for_by_its_name() {
        for theme in Theme::ALL {
            let name = ThemeName::from_str(theme.name(), false);
            assert_eq!(name.map(ThemeName::theme), Ok(Some(theme)));
        }
    }

    #[test]
    fn states_are_read_in_either_spelling() {
        assert_eq!(parse_state("TIME-WAIT"), Ok(State::TimeWait));
        assert_eq!(parse_state("fin_wait_2"), Ok(State::FinWait2));
        assert!(parse_state("waiting").is_err());
    }
}
