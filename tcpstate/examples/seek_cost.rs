//! What going through a recording costs:
//! `cargo run --release -p tcpstate --example seek_cost -- RECORDING`.
//!
//! A seek over what has no checkpoint yet takes all of it in, so this is the longest
//! that a key can take in a replay.

use std::path::Path;

use anyhow::Context as _;

use tcpstate::clock;
use tcpstate::engine::{Engine, Limits};
use tcpstate::recording::index::Index;
use tcpstate::recording::prefetch::{Prefetcher, ReadPool};

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
    let pool = ReadPool::start();
    for (what, prefetcher) in [
        ("read them, one thread", Prefetcher::default()),
        ("prefetch them", Prefetcher::with_pool(&pool)),
    ] {
        timed(what, || go(&mut index, prefetcher, &mut None))?;
    }
    for (what, prefetcher) in [
        ("read and take in, one thread", Prefetcher::default()),
        ("prefetch and take in", Prefetcher::with_pool(&pool)),
    ] {
        let mut engine = Some(Engine::new(Limits::default()));
        timed(what, || go(&mut index, prefetcher, &mut engine))?;
    }
    Ok(())
}

fn go(
    index: &mut Index,
    mut prefetcher: Prefetcher,
    engine: &mut Option<Engine>,
) -> std::io::Result<()> {
    for event in 0..index.len() {
        if let Some(fact) = prefetcher.read_fact(index, event)?
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
