//! Fallback ports: which tries are one story, and which are none.

mod facts;

use std::sync::Arc;

use facts::{MS, SECOND, call, process};
use tcpstate_core::engine::{Engine, Limits};
use tcpstate_core::event::{Body, Fallback, Process, State, Tick};
use tcpstate_core::model::PortKey;

/// A process that tries for ports, fed to the engine by the outcome of each try.
struct Tries {
    engine: Engine,
    now_ns: u64,
    by: Arc<Process>,
}

impl Tries {
    fn of(by: &Arc<Process>) -> Self {
        Self {
            engine: Engine::new(Limits {
                sockets: 10,
                events: 10_000,
                failures: 10,
            }),
            now_ns: 0,
            by: Arc::clone(by),
        }
    }

    fn fails(&mut self, port: u16) -> &mut Self {
        self.fails_with(port, 98, "EADDRINUSE")
    }

    fn fails_with(&mut self, port: u16, errno: u32, name: &str) -> &mut Self {
        let call = call(0, None, port, Some((errno, name)), &self.by);
        self.feed(Body::Bind(call))
    }

    fn binds(&mut self, port: u16) -> &mut Self {
        let call = call(1, Some(&format!("0.0.0.0:{port}")), port, None, &self.by);
        self.feed(Body::Bind(call))
    }

    /// Asks for any port and is given this one.
    fn binds_any(&mut self, port: u16) -> &mut Self {
        let call = call(1, Some(&format!("0.0.0.0:{port}")), 0, None, &self.by);
        self.feed(Body::Bind(call))
    }

    fn listens(&mut self, port: u16) -> &mut Self {
        let call = call(1, Some(&format!("0.0.0.0:{port}")), port, None, &self.by);
        self.feed(Body::Listen(call))
    }

    fn feed(&mut self, body: Body) -> &mut Self {
        self.now_ns += MS;
        self.engine.observe(self.now_ns, body);
        self
    }

    fn wait(&mut self, ns: u64) -> &mut Self {
        let end_ns = self.now_ns + ns;
        while self.now_ns < end_ns {
            self.now_ns = (self.now_ns + SECOND).min(end_ns);
            self.engine.observe(self.now_ns, Body::Tick(Tick {}));
        }
        self
    }

    fn concluded(&mut self) -> Vec<Fallback> {
        self.wait(5 * SECOND);
        self.engine
            .log()
            .iter()
            .filter_map(|event| match &event.body {
                Body::Fallback(fallback) => Some((**fallback).clone()),
                _ => None,
            })
            .collect()
    }
}

fn node() -> Tries {
    Tries::of(&process(4711, "node"))
}

fn ports(fallback: &Fallback) -> (Vec<u16>, u16) {
    let failed = fallback.failed.iter().map(|tried| tried.port).collect();
    (failed, fallback.took)
}

#[test]
fn a_port_taken_instead_of_another_is_one_story() {
    let mut node = node();

    let concluded = node.fails(8080).binds(8081).listens(8081).concluded();

    let [fallback] = concluded.as_slice() else {
        panic!("{concluded:?}")
    };
    assert_eq!(ports(fallback), (vec![8080], 8081));
    // bind, diagnosis, bind: the failed one is the first.
    assert_eq!((fallback.failed[0].seq, fallback.took_seq), (0, 2));
    assert_eq!(fallback.process.pid, 4711);
    assert_eq!(fallback.failed_ports(), ":8080");
    for port in [8080, 8081] {
        let key = PortKey {
            port,
            netns: facts::NETNS,
        };
        let story = node.engine.ports().get(&key).expect("it has a story");
        assert_eq!(*story.fallbacks[0].1, *fallback);
    }
}

#[test]
fn several_tries_in_a_row_are_one_story() {
    let concluded = node()
        .fails(8080)
        .fails(8080)
        .fails(8081)
        .binds(8082)
        .listens(8082)
        .concluded();

    let [fallback] = concluded.as_slice() else {
        panic!("{concluded:?}")
    };
    assert_eq!(ports(fallback), (vec![8080, 8081], 8082));
    assert_eq!(fallback.failed_ports(), ":8080 and :8081");
}

#[test]
fn a_port_that_the_kernel_chose_counts_once_it_is_listened_on() {
    let server = node()
        .fails(8080)
        .binds_any(40_001)
        .listens(40_001)
        .concluded();
    let client = node().fails(8080).binds_any(40_001).concluded();

    assert_eq!(
        server.iter().map(ports).collect::<Vec<_>>(),
        [(vec![8080], 40_001)]
    );
    assert_eq!(client, [], "a client asks for any port, too");
}

#[test]
fn a_low_port_that_is_refused_has_its_story_too() {
    let concluded = node().fails_with(80, 13, "EACCES").binds(8080).concluded();

    assert_eq!(
        concluded.iter().map(ports).collect::<Vec<_>>(),
        [(vec![80], 8080)]
    );
}

#[test]
fn a_server_of_two_ports_that_comes_back_to_the_first_has_not_given_it_up() {
    let mut nginx = node();
    for _ in 0..5 {
        nginx.fails(80);
        nginx.binds(443).listens(443).wait(500 * MS);
    }

    assert_eq!(nginx.concluded(), []);
}

#[test]
fn a_port_that_was_given_up_at_once_is_no_fallback() {
    let mut node = node();
    node.fails(80).binds(443).listens(443);
    node.feed(Body::State(facts::change(
        1,
        "0.0.0.0:443",
        "0.0.0.0:0",
        State::Listen,
        State::Closed,
    )));

    assert_eq!(node.concluded(), []);
}

/// Before Linux 5.12 a socket gets its cookie when somebody asks for it.
#[test]
fn a_port_that_was_given_up_under_a_late_cookie_is_no_fallback() {
    for cookie_at_end in [0, 9] {
        let mut node = node();
        node.fails(80);
        let call = |node: &Tries| call(0, Some("0.0.0.0:443"), 443, None, &node.by);
        let step = |cookie, old, new| {
            Body::State(facts::change(cookie, "0.0.0.0:443", "0.0.0.0:0", old, new))
        };
        node.feed(Body::Bind(call(&node)))
            .feed(step(0, State::Closed, State::Listen));
        node.feed(Body::Listen(call(&node))).feed(step(
            cookie_at_end,
            State::Listen,
            State::Closed,
        ));

        assert_eq!(node.concluded(), []);
    }
}

#[test]
fn a_port_that_was_had_in_the_end_is_no_fallback() {
    assert_eq!(node().fails(8080).fails(8080).binds(8080).concluded(), []);
    let concluded = node().fails(8080).binds(8081).binds(8080).concluded();
    assert_eq!(concluded, []);
}

#[test]
fn what_was_bound_before_the_failure_is_not_instead_of_it() {
    let concluded = node().binds(9090).fails(8080).listens(9090).concluded();

    assert_eq!(concluded, []);
}

#[test]
fn another_process_or_a_later_time_is_another_story() {
    let mut first = node();
    first.fails(8080);
    first.by = process(4712, "other");
    assert_eq!(first.binds(8081).concluded(), []);

    assert_eq!(
        node().fails(8080).wait(31 * SECOND).binds(9090).concluded(),
        []
    );
}

#[test]
fn errors_that_are_not_about_the_port_begin_no_story() {
    let concluded = node()
        .fails_with(8080, 22, "EINVAL")
        .binds(8081)
        .concluded();

    assert_eq!(concluded, []);
}

#[test]
fn memory_is_bounded_and_the_oldest_seeker_is_dropped() {
    let mut tries = node();
    for pid in 1..=1000 {
        tries.by = process(pid, "many");
        for port in 1..=40 {
            tries.fails(port);
        }
    }
    tries.by = process(1, "many");
    tries.binds(50_000);
    tries.by = process(1000, "many");

    let concluded = tries.binds(50_001).concluded();

    let [fallback] = concluded.as_slice() else {
        panic!("{concluded:?}")
    };
    assert_eq!(fallback.process.pid, 1000);
    assert_eq!(fallback.failed.len(), 16);
}
