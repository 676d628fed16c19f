//! The command line: clap types and the checks that need no system.

mod capture;
mod config;
mod demo;
mod doctor;
mod explain;
mod output;
mod parse;
mod release;
mod replay;
mod report;
mod restart_test;
mod run;
mod serve;
mod socket;
mod wait;
mod watch;

use clap::{Parser, Subcommand};
use clap_complete::Shell;

pub use capture::CaptureMode;
pub use config::ConfigArgs;
pub use demo::DemoArgs;
pub use doctor::DoctorArgs;
pub use explain::ExplainArgs;
pub use output::{Format, OutputArgs, ScreenArgs, ThemeName};
pub use release::ReleaseArgs;
pub use replay::ReplayArgs;
pub use report::{ReportArgs, ReportFormat};
pub use restart_test::{Ready, RestartTestArgs};
pub use run::RunArgs;
pub use serve::ServeArgs;
pub use socket::{PortArgs, SocketArgs};
pub use wait::WaitArgs;
pub use watch::WatchArgs;

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
    /// Observe as a service: metrics for Prometheus.
    Serve(ServeArgs),
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

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
