//! The stories. Each ends in a restart that the kernel refuses or allows, and
//! says what `tcpstate` must find.

use std::time::Duration;

use super::namespace;
use super::stage::{Actor, Stage, StageError};
use crate::event::Cause;

/// How a story must end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expectation {
    /// The restart is refused, for this cause.
    Refused(Cause),
    /// The restart works.
    Works,
}

/// A story.
pub struct Scenario {
    /// Name on the command line.
    pub name: &'static str,
    /// One line.
    pub title: &'static str,
    /// What must come out.
    pub expectation: Expectation,
    /// Plays it; gives those who are still on the stage at the end.
    pub play: fn(&mut Stage<'_>) -> Result<Vec<Actor>, StageError>,
}

/// All stories; the first is the default.
pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "restart",
        title: "a server without SO_REUSEADDR restarts over its own TIME_WAIT",
        expectation: Expectation::Refused(Cause::TimeWaitLeftWithoutReuse),
        play: |stage| restart_over_time_wait(stage, "", ""),
    },
    Scenario {
        name: "forgot-reuse",
        title: "the old server set SO_REUSEADDR, the new one forgot it",
        expectation: Expectation::Refused(Cause::TimeWaitNoReuse),
        play: |stage| restart_over_time_wait(stage, " reuseaddr", ""),
    },
    Scenario {
        name: "with-reuse",
        title: "both servers set SO_REUSEADDR: the restart works",
        expectation: Expectation::Works,
        play: |stage| restart_over_time_wait(stage, " reuseaddr", " reuseaddr"),
    },
    Scenario {
        name: "reuse-too-late",
        title: "only the new server sets SO_REUSEADDR: it fails all the same",
        expectation: Expectation::Refused(Cause::TimeWaitLeftWithoutReuse),
        play: |stage| restart_over_time_wait(stage, "", " reuseaddr"),
    },
    Scenario {
        name: "already-listening",
        title: "another process listens on the port",
        expectation: Expectation::Refused(Cause::ActiveListener),
        play: already_listening,
    },
    Scenario {
        name: "second-start",
        title: "the same server is started a second time",
        expectation: Expectation::Refused(Cause::ActiveListener),
        play: second_start,
    },
    Scenario {
        name: "stopped",
        title: "the server was stopped with ctrl-z and still has the port",
        expectation: Expectation::Refused(Cause::ActiveListener),
        play: stopped,
    },
    Scenario {
        name: "container",
        title: "a container publishes the port: docker-proxy has it",
        expectation: Expectation::Refused(Cause::ActiveListener),
        play: container,
    },
    Scenario {
        name: "ephemeral",
        title: "an outgoing connection has the port as its local port",
        expectation: Expectation::Refused(Cause::EphemeralCollision),
        play: ephemeral,
    },
    Scenario {
        name: "inherited",
        title: "the server is dead, its child kept the listening socket",
        expectation: Expectation::Refused(Cause::InheritedListener),
        play: inherited,
    },
    Scenario {
        name: "close-wait-leak",
        title: "a process does not close connections that the peer has closed",
        expectation: Expectation::Refused(Cause::CloseWaitLeak),
        play: close_wait_leak,
    },
    Scenario {
        name: "reset",
        title: "SO_LINGER 0 sends RST instead of FIN: no TIME_WAIT, the restart works",
        expectation: Expectation::Works,
        play: reset,
    },
];

/// The story with this name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Scenario> {
    SCENARIOS.iter().find(|scenario| scenario.name == name)
}

const ADDRESS: &str = "127.0.0.1:8080";
const BEAT: Duration = Duration::from_millis(150);

fn restart_over_time_wait(
    stage: &mut Stage<'_>,
    old_options: &str,
    new_options: &str,
) -> Result<Vec<Actor>, StageError> {
    stage.say(&format!(
        "the old server listens on {ADDRESS}{}",
        with(old_options)
    ));
    let mut old = stage.start("server-old")?;
    let mut client = stage.start("client")?;
    old.must(&format!("listen {ADDRESS}{old_options}"))?;
    client.must(&format!("connect {ADDRESS}"))?;
    old.must("accept")?;
    stage.pause(BEAT);
    stage.say("the server closes the connection first, then stops");
    old.must("close")?;
    client.must("await-close")?;
    old.kill()?;
    stage.pause(BEAT);
    start_again(stage, new_options, vec![client])
}

fn already_listening(stage: &mut Stage<'_>) -> Result<Vec<Actor>, StageError> {
    stage.say(&format!("a server listens on {ADDRESS} and is not stopped"));
    let mut old = stage.start("server-old")?;
    old.must(&format!("listen {ADDRESS} reuseaddr"))?;
    stage.pause(BEAT);
    start_again(stage, " reuseaddr", vec![old])
}

fn second_start(stage: &mut Stage<'_>) -> Result<Vec<Actor>, StageError> {
    stage.say(&format!("a server listens on {ADDRESS}, in another window"));
    let mut first = stage.start("server")?;
    first.must(&format!("listen {ADDRESS} reuseaddr"))?;
    stage.pause(BEAT);
    start_again(stage, " reuseaddr", vec![first])
}

fn stopped(stage: &mut Stage<'_>) -> Result<Vec<Actor>, StageError> {
    stage.say(&format!("a server listens on {ADDRESS}"));
    let mut old = stage.start("server-old")?;
    old.must(&format!("listen {ADDRESS} reuseaddr"))?;
    stage.pause(BEAT);
    stage.say("somebody presses ctrl-z: it is stopped, not ended");
    old.stop()?;
    stage.pause(BEAT);
    start_again(stage, " reuseaddr", vec![old])
}

/// Docker is not there: a process of root with the name of its proxy is, as without Docker's
/// firewall rules.
fn container(stage: &mut Stage<'_>) -> Result<Vec<Actor>, StageError> {
    stage.say(&format!(
        "docker-proxy listens on {ADDRESS} for a container (played: Docker is not needed)"
    ));
    let mut proxy = stage.start("docker-proxy")?;
    proxy.must(&format!("listen {ADDRESS} reuseaddr"))?;
    stage.pause(BEAT);
    start_again(stage, " reuseaddr", vec![proxy])
}

fn ephemeral(stage: &mut Stage<'_>) -> Result<Vec<Actor>, StageError> {
    stage.say("the range of automatic local ports includes 8080, and a client connects elsewhere");
    namespace::set_local_port_range(8080, 8081)?;
    let mut other = stage.start("database")?;
    other.must("listen 127.0.0.1:5432")?;
    let mut clients = Vec::new();
    for _ in 0..2 {
        let mut client = stage.start("client")?;
        client.must("connect 127.0.0.1:5432")?;
        other.must("accept")?;
        clients.push(client);
    }
    stage.pause(BEAT);
    clients.push(other);
    start_again(stage, " reuseaddr", clients)
}

fn inherited(stage: &mut Stage<'_>) -> Result<Vec<Actor>, StageError> {
    stage.say(&format!(
        "a server listens on {ADDRESS} and starts a child, which inherits the socket"
    ));
    let mut old = stage.start("server-old")?;
    old.must(&format!("listen {ADDRESS} reuseaddr"))?;
    old.must("child")?;
    stage.pause(BEAT);
    stage.say("the server is killed; the child lives on");
    old.kill()?;
    stage.pause(BEAT);
    start_again(stage, " reuseaddr", vec![old])
}

fn close_wait_leak(stage: &mut Stage<'_>) -> Result<Vec<Actor>, StageError> {
    stage.say(&format!(
        "a server listens on {ADDRESS}; its clients close, and it does not"
    ));
    let mut old = stage.start("server-old")?;
    old.must(&format!("listen {ADDRESS}"))?;
    let mut worker = stage.start("client")?;
    worker.must(&format!("connect {ADDRESS}"))?;
    old.must("accept")?;
    worker.must("close")?;
    old.must("await-fin")?;
    stage.say("the server closes its listening socket, but not the connection");
    old.must("stop-listening")?;
    stage.pause(BEAT);
    start_again(stage, " reuseaddr", vec![old, worker])
}

fn reset(stage: &mut Stage<'_>) -> Result<Vec<Actor>, StageError> {
    stage.say(&format!(
        "the old server listens on {ADDRESS} without SO_REUSEADDR"
    ));
    let mut old = stage.start("server-old")?;
    let mut client = stage.start("client")?;
    old.must(&format!("listen {ADDRESS}"))?;
    client.must(&format!("connect {ADDRESS}"))?;
    old.must("accept")?;
    stage.pause(BEAT);
    stage.say("it closes with SO_LINGER 0, which sends RST, then stops");
    old.must("linger")?;
    old.must("close")?;
    client.must("await-close")?;
    old.kill()?;
    stage.pause(BEAT);
    start_again(stage, "", vec![client])
}

/// The moment that each story is about; all stay on the stage after it.
fn start_again(
    stage: &mut Stage<'_>,
    options: &str,
    mut cast: Vec<Actor>,
) -> Result<Vec<Actor>, StageError> {
    stage.say(&format!("the new server starts{}", with(options)));
    let mut new = stage.start("server-new")?;
    match new.tries(&format!("listen {ADDRESS}{options}"))? {
        Ok(()) => stage.say("it listens"),
        Err(error) => stage.say(&format!("it is refused: {error}")),
    }
    stage.pause(BEAT);
    cast.push(new);
    Ok(cast)
}

fn with(options: &str) -> &'static str {
    if options.contains("reuseaddr") {
        " with SO_REUSEADDR"
    } else {
        " without SO_REUSEADDR"
    }
}
