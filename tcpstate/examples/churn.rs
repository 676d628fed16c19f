//! Opens and closes connections on loopback as fast as one thread can, in a
//! private network namespace, and says how many a second that were.
//!
//! `cargo run --release --example churn -- CONNECTIONS [COMMAND…]`: the command
//! runs in the namespace before, and gets SIGINT a second after the last connection.

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use rustix::net::{AddressFamily, SocketType, accept, bind, connect, listen, socket, sockopt};
use tcpstate::clock;
use tcpstate::demo::namespace;

const ADDRESSES: u64 = 8;

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let connections: u64 = arguments
        .next()
        .map_or(Ok(100_000), |number| number.parse())?;
    let command: Vec<String> = arguments.collect();

    namespace::enter_private()?;
    let observer = match command.split_first() {
        Some((program, arguments)) => Some(Command::new(program).args(arguments).spawn()?),
        None => None,
    };
    // Long enough for any observer to have its hooks on.
    std::thread::sleep(Duration::from_secs(2));

    let mut listeners = Vec::new();
    for host in 1..=ADDRESSES {
        let address: SocketAddr = format!("127.0.0.{host}:8080").parse()?;
        let listener = socket(AddressFamily::INET, SocketType::STREAM, None)?;
        sockopt::set_socket_reuseaddr(&listener, true)?;
        bind(&listener, &address)?;
        listen(&listener, 64)?;
        listeners.push((listener, address));
    }
    let began_ns = clock::monotonic_ns();
    for number in 0..connections {
        let (listener, address) = &listeners[usize::try_from(number % ADDRESSES)?];
        let client = socket(AddressFamily::INET, SocketType::STREAM, None)?;
        connect(&client, address)?;
        let server = accept(listener)?;
        drop(server);
        drop(client);
    }
    let took_ns = clock::monotonic_ns() - began_ns;
    println!(
        "{} connections a second",
        connections * 1_000_000_000 / took_ns.max(1)
    );

    std::thread::sleep(Duration::from_secs(1));
    if let Some(mut observer) = observer {
        rustix::process::kill_process(
            rustix::process::Pid::from_child(&observer),
            rustix::process::Signal::INT,
        )?;
        observer.wait()?;
    }
    Ok(())
}
