//! `cargo xtask channel`: the test channel, built where it does not exist yet.

use std::thread::park;

/// Builds it and prints its path; or serves it until stopped.
pub(crate) fn run(serve: bool, port: u16) -> bool {
    let channel = run_docker_testkit::channel();
    if serve {
        let server = channel.serve_on(port);
        println!("{}", server.url());
        loop {
            park();
        }
    }
    println!("{}", channel.path().display());
    true
}
