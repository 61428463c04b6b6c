//! Servers that do not answer, answer halfway, or answer something else; proxies
//! and certificates. What is left of a failure: nothing, and the way to do better.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod support;

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use run_docker_testkit::{Fault, FaultKind, Server};
use support::{Package, World, text};

/// A channel on a server, and a configuration that gives up soon.
fn served(more: &str) -> (World, Server) {
    let world = World::new(&[Package::new("x", "1.0").file("share/x/data", "data\n".repeat(20_000))]);
    let server = Server::of(&world.channel());
    world.condarc(&format!("channels: ['{}']\n{more}", server.url()));
    (world, server)
}

const SOON: &str = "remote_read_timeout_secs: 1\nremote_connect_timeout_secs: 2\nremote_max_retries: 1\nremote_backoff_factor: 0.1\n";

/// No environment, no package, nothing half fetched.
fn nothing_is_left(world: &World, why: &str) {
    assert!(!world.env("a").exists(), "{why}");
    assert!(!world.path("envs/.pkgs/x-1.0-0").exists(), "{why}");
    let partial = std::fs::read_dir(world.path("envs/.pkgs/.partial"));
    assert_eq!(partial.map_or(0, Iterator::count), 0, "{why}");
}

#[test]
fn a_package_that_does_not_come_leaves_nothing_and_comes_the_next_time() {
    let (world, server) = served(SOON);
    for (kind, error) in [
        (FaultKind::Silent, "CondaHTTPError"),
        (FaultKind::StallsAfter(300), "CondaHTTPError"),
        (FaultKind::DeadAfter(300), "CondaHTTPError"),
        (FaultKind::ResetAfter(300), "CondaHTTPError"),
        (FaultKind::Status(404), "CondaHTTPError"),
        (FaultKind::Status(503), "CondaHTTPError"),
        (FaultKind::Corrupt, "ChecksumMismatchError"),
    ] {
        server.set_fault(Some(Fault::new("x-1.0", kind)));
        let said = world.fails(1, "create -y -n a x");
        assert!(said.contains(error) && said.contains("noarch/x-1.0-0.conda"), "{kind:?}: {said}");
        assert!(said.contains("hint: "), "{kind:?}: {said}");
        nothing_is_left(&world, &format!("{kind:?}"));
        // What is wrong once is asked for once more; what is not what it should be is not.
        server.set_fault(Some(Fault::new("x-1.0", kind).times(1)));
        if matches!(kind, FaultKind::Corrupt) {
            world.fails(1, "create -y -n a x");
            nothing_is_left(&world, "corrupt once");
        }
        world.ok("create -y -n a x");
        assert_eq!(world.packages("a"), ["x 1.0"]);
        world.ok("env remove -y -n a");
        world.ok("clean -y --all");
    }
}

#[test]
fn an_index_that_does_not_come_is_told_of_with_the_channel() {
    let (world, server) = served(SOON);
    for kind in [
        FaultKind::Silent,
        FaultKind::StallsAfter(40),
        FaultKind::DeadAfter(40),
        FaultKind::ResetAfter(40),
        FaultKind::Status(500),
    ] {
        server.set_fault(Some(Fault::new("repodata", kind)));
        let said = world.fails(1, "create -y -n a x");
        assert!(said.contains("CondaHTTPError") && said.contains(&server.url()), "{kind:?}: {said}");
        assert!(said.contains("hint: "), "{kind:?}: {said}");
        nothing_is_left(&world, &format!("{kind:?}"));
    }
    server.set_fault(None);
    world.ok("create -y -n a x");
    // What is in the caches needs no server.
    server.set_fault(Some(Fault::new("", FaultKind::Status(500))));
    world.ok("create -y -n b x --offline");
    assert_eq!(world.packages("b"), ["x 1.0"]);
}

#[test]
fn a_slow_server_is_waited_for() {
    let (world, server) = served(SOON);
    server.set_fault(Some(Fault::new("x-1.0", FaultKind::Slow(50))));
    world.ok("create -y -n a x");
    assert_eq!(world.packages("a"), ["x 1.0"]);
}

/// The name of the channel's server is known to the proxy alone.
#[test]
fn proxies_come_from_the_configuration_and_from_variables() {
    let (world, server) = served("");
    let url = server.url();
    world.condarc(&format!("channels: ['http://channel.invalid']\n{SOON}"));
    let said = world.fails(1, "create -y -n a x");
    assert!(said.contains("CondaHTTPError") && said.contains("channel.invalid"), "{said}");
    let by_variable = world.command("create -y -n a x").env("http_proxy", &url).output().unwrap();
    assert!(by_variable.status.success(), "{}", text(&by_variable.stderr));
    assert!(
        server.requests().iter().any(|line| line == "GET /noarch/x-1.0-0.conda 200"),
        "{:?}",
        server.requests()
    );
    for (number, servers) in [format!("http: '{url}'"), format!("all: '{url}'")].iter().enumerate() {
        world.ok("clean -y --all");
        world.condarc(&format!("channels: ['http://channel.invalid']\nproxy_servers:\n  {servers}\n{SOON}"));
        world.ok(&format!("create -y -n by-file-{number} x"));
    }
    // Reached directly, and so not at all.
    let mut direct = world.command("search x");
    let direct = direct.env("NO_PROXY", "channel.invalid").output().unwrap();
    assert_eq!(direct.status.code(), Some(1), "{}", text(&direct.stdout));
    world.condarc("channels: ['http://channel.invalid']\nproxy_servers: {'http://one.host': 'http://p:1'}\n");
    let said = world.fails(1, "search x");
    assert!(said.contains("proxy_servers: a proxy for http://one.host alone is not supported"), "{said}");
}

/// A server with TLS, by Python's own; its certificate is signed by an
/// authority that nobody knows.
struct Secure {
    child: Child,
    url: String,
    authority: PathBuf,
}

const SERVE: &str = "
import functools, http.server, ssl, sys
handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=sys.argv[1])
server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[2], sys.argv[3])
server.socket = context.wrap_socket(server.socket, server_side=True)
print(server.server_port, flush=True)
server.serve_forever()
";

impl Secure {
    fn start(world: &World) -> Self {
        let script = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=authority -keyout ca.key -out ca.pem \
                      && openssl req -newkey rsa:2048 -nodes -subj /CN=server -keyout server.key -out server.csr \
                      && printf 'subjectAltName=IP:127.0.0.1\\nbasicConstraints=CA:FALSE\\n' >server.ext \
                      && openssl x509 -req -days 2 -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial \
                         -extfile server.ext -out server.pem";
        let made = Command::new("sh").args(["-c", script]).current_dir(world.path("")).output().unwrap();
        assert!(made.status.success(), "{}", text(&made.stderr));
        let mut child = Command::new("python3")
            .args(["-c", SERVE])
            .args([world.channel(), world.path("server.pem"), world.path("server.key")])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut port = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut port).unwrap();
        let url = format!("https://127.0.0.1:{}", port.trim());
        Self { child, url, authority: world.path("ca.pem") }
    }
}

impl Drop for Secure {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn certificates_are_verified_against_what_the_configuration_names() {
    let (world, _) = served("");
    let secure = Secure::start(&world);
    let rc = |more: &str| world.condarc(&format!("channels: ['{}']\n{SOON}{more}", secure.url));
    rc("");
    let said = world.fails(1, "create -y -n a x");
    assert!(said.contains("CondaHTTPError") && said.to_lowercase().contains("certificate"), "{said}");
    nothing_is_left(&world, "an unknown authority");
    rc(&format!("ssl_verify: {}\n", secure.authority.display()));
    world.ok("create -y -n a x");
    world.ok("clean -y --all");
    rc("");
    let mut named = world.command("create -y -n b x");
    let named = named.env("REQUESTS_CA_BUNDLE", &secure.authority).output().unwrap();
    assert!(named.status.success(), "{}", text(&named.stderr));
    world.ok("clean -y --all");
    world.ok("create -y -n c x --insecure");
    rc("ssl_verify: false\n");
    world.ok("search x");
    rc("ssl_verify: /no/such/file\n");
    let said = world.fails(1, "search x");
    assert!(said.contains("ssl_verify: reading the certificates in /no/such/file"), "{said}");
    rc("client_ssl_cert: /a/file\n");
    let said = world.fails(1, "search x");
    assert!(said.contains("client_ssl_cert") && said.contains("hint: "), "{said}");
}

#[test]
fn an_environment_file_can_lie_on_a_server() {
    let (world, server) = served(SOON);
    std::fs::write(world.channel().join("environment.yml"), "name: a\ndependencies: [x]\n").unwrap();
    let url = format!("{}/environment.yml", server.url());
    world.ok(&format!("env create -f {url}"));
    assert_eq!(world.packages("a"), ["x 1.0"]);
    world.ok(&format!("env update {url}"));
    let said = world.fails(1, &format!("env create -n b {}/nothing.yml", server.url()));
    assert!(
        said.contains("CondaHTTPError") && said.contains("/nothing.yml") && said.contains("404"),
        "{said}"
    );
    let said = world.fails(1, &format!("env create -n b --offline {url}"));
    assert!(said.contains("offline"), "{said}");
    assert!(!world.env("b").exists());
}
