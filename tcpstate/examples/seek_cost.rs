//! What going through a recording costs:
//! `cargo run --release -p tcpstate --example seek_cost -- RECORDING`.
//!
//! A jump over what nobody has looked at yet takes all of it in, so this is the
//! longest that one can wait for a key in a replay.

use std::path::Path;

use anyhow::Context as _;

use tcpstate::clock;
use tcpstate::engine::{Engine, Limits};
use tcpstate::recording::ahead::{Ahead, Threads};
use tcpstate::recording::index::Index;

fn main() -> anyhow::Result<()> {
    let path = std::env::args_os()
        .nth(1)
        .context("name the recording: seek_cost RECORDING")?;
    let mut index = timed("find all events", || {
        let mut index = Index::default();
        index.add(Path::new(&path)).map(|()| index)
    })?;
    let events = index.len();
    println!("{events} events");
    let threads = Threads::start();
    for (what, ahead) in [
        ("read them, one thread", Ahead::default()),
        ("read them ahead", Ahead::by(&threads)),
    ] {
        timed(what, || go(&mut index, ahead, &mut None))?;
    }
    for (what, ahead) in [
        ("read and take in, one thread", Ahead::default()),
        ("read ahead and take in", Ahead::by(&threads)),
    ] {
        let mut engine = Some(Engine::new(Limits::default()));
        timed(what, || go(&mut index, ahead, &mut engine))?;
    }
    Ok(())
}

fn go(index: &mut Index, mut ahead: Ahead, engine: &mut Option<Engine>) -> std::io::Result<()> {
    for event in 0..index.len() {
        if let Some(fact) = ahead.read_fact(index, event)?
            && let Some(engine) = engine
        {
            engine.observe(fact.mono_ns, fact.body);
        }
    }
    Ok(())
}

fn timed<T, E>(what: &str, work: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
    let before_ns = clock::monotonic_ns();
    let done = work()?;
    println!(
        "{what}: {} ms",
        (clock::monotonic_ns() - before_ns) / 1_000_000
    );
    Ok(done)
}
