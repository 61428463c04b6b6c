//! Jupyter and TensorBoard as people reach them; what comes along.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use run_docker_testkit::{Flavor, docker, image, output, python_packages, run_ok};

use crate::world::{Said, World, owner, world};

/// The longest a server may take to answer, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// Flags that lay programs of PyPI into the container.
fn with_packages(names: &[&str]) -> String {
    let dirs: Vec<String> = names.iter().map(|name| python_packages(name).display().to_string()).collect();
    let mounts: Vec<String> =
        dirs.iter().zip(names).map(|(dir, name)| format!("-v {dir}:/opt/{name}:ro")).collect();
    let places = |below: &str| names.iter().map(|n| format!("/opt/{n}{below}")).collect::<Vec<_>>().join(":");
    format!("{} -e PYTHONPATH={} -e PATH={}:/usr/bin:/bin", mounts.join(" "), places(""), places("/bin"))
}

/// Status and body of a page of this machine; `None` while nobody answers.
fn get(port: u16, path: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(20))).ok()?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n").ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok()?;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let status = answer.split(' ').nth(1)?.parse().ok()?;
    Some((status, answer))
}

/// The page, once somebody answers.
fn get_with_patience(port: u16, path: &str) -> (u16, String) {
    let limit = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = get(port, path) {
            return answer;
        }
        assert!(Instant::now() < limit, "nobody answers at port {port}");
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// A launcher in the background and the first line of its standard error with
/// that text in it; the rest goes on to be read.
fn announced(command: &mut Command, text: &str) -> (Child, String) {
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let mut seen = String::new();
    let line = loop {
        let Some(Ok(line)) = lines.next() else { panic!("it ended and said {seen}") };
        seen.push_str(&line);
        seen.push('\n');
        if line.contains(text) {
            break line;
        }
    };
    std::thread::spawn(move || lines.for_each(drop));
    (child, line)
}

/// `http://127.0.0.1:PORT/…` in a line.
fn address(line: &str) -> (u16, String) {
    let (_, rest) = line.split_once("http://127.0.0.1:").unwrap();
    let (port, path) = rest.split_once('/').unwrap();
    (port.parse().unwrap(), format!("/{path}"))
}

fn jupyter_answers(world: &World, engine: &[&str], name: &str) {
    let flags = with_packages(&["jupyter-server"]);
    let mut launcher = world.launcher();
    launcher.args(engine).args(["--image", &image(Flavor::Debian), "--name", name, "--jupyter"]);
    let (mut child, line) = announced(launcher.args(["--docker-args", &flags, "", ""]), "Jupyter: http://");
    let (port, path) = address(&line);
    let token = path.strip_prefix("/?token=").unwrap();
    assert!(token.len() == 32, "{line}");
    let (status, body) = get_with_patience(port, &format!("/api/status?token={token}"));
    assert!(status == 200 && body.contains("\"kernels\": 0"), "{status} {body}");
    // It is in the project, and belongs to whoever runs it.
    fs::write(world.sandbox.project().join("hello.txt"), "").unwrap();
    let (_, listing) = get_with_patience(port, &format!("/api/contents?token={token}"));
    assert!(listing.contains("hello.txt"), "{listing}");
    let status = get_with_patience(port, "/api/contents").0;
    assert_eq!(status, 403, "without the token");
    let uid = Said::of(world.launcher().args(["exec", name, "sh", "-c", "id -u"]));
    assert_eq!(uid.ok(), world.uid.to_string());
    Said::of(world.launcher().args(["stop", name])).ok();
    child.wait().unwrap();
}

#[test]
fn jupyter_is_reached_by_its_address_and_token_alone() {
    let world = world!();
    jupyter_answers(&world, &["--engine", "docker"], &world.unique("jupyter"));
}

#[test]
fn jupyter_on_the_hosts_network_listens_to_this_machine_alone() {
    let world = world!();
    let flags = with_packages(&["jupyter-server"]);
    let mut launcher = world.launcher();
    let name = world.unique("jupyter-host");
    launcher.args(["--network", "host", "--image", &image(Flavor::Debian), "--name", &name, "--jupyter"]);
    let (mut child, line) = announced(launcher.args(["--docker-args", &flags, "", ""]), "Jupyter: http://");
    let (port, path) = address(&line);
    let (status, _) = get_with_patience(port, &path.replace("/?", "/api/status?"));
    assert_eq!(status, 200);
    let listening = output(Command::new("ss").args(["-Hltn", &format!("sport = :{port}")]));
    let listening = String::from_utf8_lossy(&listening.stdout).into_owned();
    assert!(
        listening.contains(&format!("127.0.0.1:{port}")) && !listening.contains(&format!("0.0.0.0:{port}")),
        "{listening}"
    );
    world.run(&["stop", &name]).ok();
    child.wait().unwrap();
}

/// Waits inside until the page is there, and has it seen by its exit code.
const LOOK: &str = "import time, urllib.request as u, sys, os
for i in range(600):
    try:
        page = u.urlopen('http://127.0.0.1:%s/data/logdir' % sys.argv[1]).read()
        print(page.decode()); print(len(open('/proc/%d/task/%d/children' % (os.getpid(), os.getpid())).read()))
        sys.exit(7)
    except OSError: time.sleep(0.2)
";

/// A run in the Debian image, on the engine's own network.
fn on_a_network(world: &World, options: &[&str], command: &[&str]) -> Said {
    let mut launcher = world.launcher();
    launcher.args(["--image", &image(Flavor::Debian)]).args(options);
    Said::of(launcher.args(["", ""]).args(command))
}

#[test]
fn tensorboard_runs_beside_the_command_and_ends_with_it() {
    let world = world!();
    fs::create_dir(world.sandbox.project().join("my runs")).unwrap();
    fs::write(world.sandbox.project().join("look.py"), LOOK).unwrap();
    let flags = with_packages(&["tensorboard"]);
    // Which port it has is on the command line of the process beside.
    let script = "for p in $(seq 6006 6205); do grep -qsa -- \"port.$p\" /proc/[0-9]*/cmdline && break; done; \
                  exec python3 look.py $p";
    let said = on_a_network(&world, &["--tensorboard", "my runs", "--docker-args", &flags], &[script]);
    assert_eq!(said.code, 7, "{}{}", said.out, said.err);
    assert!(said.out.contains("/exp/my runs"), "{}", said.out);
    assert!(said.out.ends_with("\n0\n"), "the command has a child that it did not start: {}", said.out);
    said.says(&["TensorBoard: http://127.0.0.1:", "ssh -N -L ", " ann@"]);
}

#[test]
fn a_server_that_is_not_installed_is_told() {
    let world = world!();
    let alone = on_a_network(&world, &["--jupyter"], &[]);
    assert_eq!(alone.code, 127, "{}", alone.err);
    alone.says(&["there is no jupyter in this image or environment; install it: pip install jupyterlab"]);
    let beside = on_a_network(&world, &["--jupyter", "--tensorboard", "runs"], &["echo went on"]);
    assert_eq!(beside.ok(), "went on");
    beside.says(&["there is no jupyter", "there is no tensorboard"]);
    // Any image will do, one without bash and without /tmp too.
    let mut launcher = world.launcher();
    launcher.args(["--image", &image(Flavor::Busybox), "--jupyter", "", "", "echo", "went on"]);
    assert_eq!(Said::of(&mut launcher).ok(), "went on");
}

#[test]
fn what_cannot_be_reached_is_an_error_before_anything_runs() {
    let world = world!();
    world
        .inside(&["--jupyter"], &["true"])
        .fails(64, &["Jupyter cannot be reached with the network none", "hint: leave out --network"]);
    let held = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = held.local_addr().unwrap().port();
    on_a_network(&world, &[&format!("--jupyter={port}")], &["true"])
        .fails(125, &[&format!("the port {port} for Jupyter is taken"), "hint: give another one"]);
    on_a_network(&world, &["--jupyter=80"], &["true"])
        .fails(64, &["--jupyter", "neither yes, no nor a port"]);
}

#[test]
fn two_at_once_get_two_ports() {
    let world = world!();
    let start = || {
        let mut launcher = world.launcher();
        launcher.args(["--image", &image(Flavor::Debian), "--jupyter", "", "", "sleep 3"]);
        announced(&mut launcher, "Jupyter: http://")
    };
    let mut started = [start(), start(), start()];
    let mut ports: Vec<u16> = started.iter().map(|(_, line)| address(line).0).collect();
    let codes: Vec<_> = started.iter_mut().map(|(child, _)| child.wait().unwrap().code()).collect();
    assert_eq!(codes, [Some(0); 3]);
    ports.sort_unstable();
    ports.dedup();
    assert_eq!(ports.len(), 3, "{ports:?}");
}

/// Asks the agent for its keys (SSH_AGENTC_REQUEST_IDENTITIES, 11) and prints the
/// type of the answer (SSH_AGENT_IDENTITIES_ANSWER, 12); draft-miller-ssh-agent.
const ASK_AGENT: &str = "python3 -c 'import os, socket; s = socket.socket(socket.AF_UNIX); \
    s.connect(os.environ[\"SSH_AUTH_SOCK\"]); s.sendall(b\"\\0\\0\\0\\1\\x0b\"); print(s.recv(5)[4])'";

#[test]
fn the_ssh_agent_comes_along() {
    let world = world!();
    let socket = world.dir("agent").join("socket");
    let mut agent = world.sandbox.command("ssh-agent");
    let mut agent = agent.arg("-D").arg("-a").arg(&socket).stdout(Stdio::null()).spawn().unwrap();
    let limit = Instant::now() + PATIENCE;
    while !socket.exists() {
        assert!(Instant::now() < limit, "ssh-agent does not start");
        std::thread::sleep(Duration::from_millis(50));
    }
    let mut launcher = world.launcher();
    launcher.env("SSH_AUTH_SOCK", &socket).args(["--image", &image(Flavor::Debian), "--network", "none"]);
    let said = Said::of(launcher.args(["--ssh-agent", "", "", ASK_AGENT]));
    agent.kill().unwrap();
    agent.wait().unwrap();
    assert_eq!(said.ok(), "12");
    // Typed, it must be there; from one's own file it may be missing.
    world
        .inside(&["--ssh-agent"], &["true"])
        .fails(64, &["SSH_AUTH_SOCK is not set", "hint: start one: eval"]);
    fs::write(world.sandbox.home().join(".runconfigs"), "ssh_agent: yes\ngitconfig: yes\n").unwrap();
    let said = world.inside(&[], &["echo \"[$SSH_AUTH_SOCK]\""]);
    assert_eq!(said.ok(), "[]");
    said.says(&["there is no ssh agent to bring along", "there is no ~/.gitconfig to bring along"]);
}

#[test]
fn gits_settings_come_along_and_cannot_be_changed() {
    let world = world!();
    let file = world.sandbox.home().join(".gitconfig");
    fs::write(&file, "[user]\n\tname = Ann\n").unwrap();
    let said = world.inside(&["--gitconfig"], &["cat /etc/gitconfig; echo x >>/etc/gitconfig"]);
    assert_ne!(said.code, 0);
    assert_eq!(said.out, "[user]\n\tname = Ann\n");
    let said = world.inside(&["--root", "--gitconfig"], &["echo x >>/etc/gitconfig"]);
    assert_ne!(said.code, 0, "root inside can change it");
    assert_eq!(fs::read_to_string(&file).unwrap(), "[user]\n\tname = Ann\n");
}

#[test]
fn caches_and_the_editors_server_are_kept_and_belong_to_the_user() {
    let world = world!();
    let script = "touch \"$HF_HOME/model\" \"$TORCH_HOME/hub\" \"$PIP_CACHE_DIR/wheel\" ~/.vscode-server/bin ~/mine && ls ~ -A";
    let said = world.inside(&["--cache", "--vscode"], &[script]);
    assert!(said.ok().contains(".vscode-server"), "{}", said.out);
    let cache = world.sandbox.home().join(".cache");
    for file in ["huggingface/model", "torch/hub", "pip/wheel", "run-docker/vscode-server/bin"] {
        assert_eq!(owner(&cache.join(file)), "1001:1001", "{file}");
    }
    let again = world.inside(&["--cache", "--vscode"], &["ls $PIP_CACHE_DIR ~/.vscode-server"]);
    assert!(again.ok().contains("wheel") && again.ok().contains("bin"), "{}", again.out);
    // One's own variable wins.
    let said = world.inside(&["--cache", "--docker-args", "-e HF_HOME=/exp/models"], &["echo $HF_HOME"]);
    assert_eq!(said.ok(), "/exp/models");
}

#[test]
fn a_projects_file_brings_nothing_along_untrusted() {
    let world = world!();
    for line in [
        "ssh_agent: yes",
        "gitconfig: yes",
        "cache: yes",
        "vscode: yes",
        "tensorboard: ~/.ssh",
        "tensorboard: /etc",
    ] {
        world.sandbox.runconfigs(&format!("{line}\n"));
        world.run(&["", "", "true"]).fails(64, &["is not trusted", "run: run-docker trust"]);
    }
    assert!(!world.sandbox.home().join(".cache/huggingface").exists());
    for line in ["jupyter: no", "tensorboard: runs", "cache: no"] {
        world.sandbox.runconfigs(&format!("{line}\nimage_name: {}\n", image(Flavor::Debian)));
        world.run(&["", "", "true"]).ok();
    }
}

#[test]
fn an_editor_is_told_whose_container_it_is() {
    let world = world!();
    let name = world.unique("editor");
    world.inside(&["-d", "--name", &name], &["sleep", "600"]).ok();
    let label =
        run_ok(docker().args(["inspect", "-f", "{{index .Config.Labels \"devcontainer.metadata\"}}", &name]));
    let user = label
        .trim()
        .strip_prefix("[{\"remoteUser\":\"")
        .and_then(|l| l.strip_suffix("\"}]"))
        .unwrap()
        .to_owned();
    // As the editor enters: by that name.
    let limit = Instant::now() + PATIENCE;
    let ids = loop {
        let said = output(docker().args(["exec", "-u", &user, &name, "sh", "-c", "id -u; id -G"]));
        if said.status.success() {
            break String::from_utf8(said.stdout).unwrap();
        }
        assert!(Instant::now() < limit, "{}", String::from_utf8_lossy(&said.stderr));
        std::thread::sleep(Duration::from_millis(100));
    };
    world.run(&["rm", "-f", &name]).ok();
    let docker_group = Path::new("/var/run/docker.sock").metadata().unwrap().gid();
    assert_eq!(ids, format!("1001\n1001 {docker_group}\n"));
}
