//! An image of ours without the launcher: by the docker client, by Compose, and
//! as an editor starts it from the `devcontainer.json` that we write. The
//! examples of this repository are what is run.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use run_docker_testkit::{Flavor, Person, docker, image, output, run_ok};
use serde_json::Value;

use crate::world::{Said, World, owner, world};

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// An image with the repository's entrypoint and this launcher's init, as the
/// Dockerfile lays them out. No layer is another test's: a build that takes one
/// from the cache while that test removes its image fails.
fn ours(world: &World) -> String {
    let name = format!("run-docker-test/{}:1", world.unique("ours").to_lowercase());
    let context = world.sandbox.path("context");
    fs::create_dir(&context).unwrap();
    let init = output(world.launcher().arg("internal-init")).stdout;
    fs::write(context.join("run-docker-init"), init).unwrap();
    fs::copy(repository().join("entrypoint.sh"), context.join("entrypoint.sh")).unwrap();
    let dockerfile = format!(
        "FROM {}\nLABEL run-docker.image=1 run-docker.test={name}\nCOPY entrypoint.sh /entrypoint.sh\n\
         COPY run-docker-init /usr/local/lib/run-docker/run-docker-init\n\
         RUN chmod 755 /entrypoint.sh /usr/local/lib/run-docker/run-docker-init\n\
         ENTRYPOINT [\"/entrypoint.sh\"]\nCMD [\"bash\"]\n",
        image(Flavor::Debian)
    );
    fs::write(context.join("Dockerfile"), dockerfile).unwrap();
    run_ok(docker().args(["build", "--quiet", "--tag", &name]).arg(&context).env("DOCKER_BUILDKIT", "0"));
    name
}

/// An image that goes with the test.
struct Image(String);

impl Drop for Image {
    fn drop(&mut self) {
        output(docker().args(["rmi", "-f", &self.0]));
    }
}

fn person() -> Person {
    let mut person = Person::new(4720, "ann");
    person.groups.push((3000, Some("CORP\\Domain Users".into())));
    person
}

#[test]
fn the_docker_client_alone_maps_its_user() {
    let world = world!(person());
    let image = Image(ours(&world));
    let mut run = world.sandbox.command(repository().join("examples/plain/run.sh"));
    let script = "id -u; id -un; id -G; echo $HOME; touch made; exit 5";
    let said = Said::of(run.env("IMAGE", &image.0).args(["sh", "-c", script]));
    assert_eq!(said.code, 5, "{}", said.err);
    let lines: Vec<&str> = said.out.lines().collect();
    assert_eq!((lines[0], lines[1], lines[3]), ("4720", "ann", "/home/ann"));
    let mut groups: Vec<&str> = lines[2].split(' ').collect();
    groups.sort_unstable();
    assert!(groups.contains(&"3000") && groups.contains(&"4720"), "{groups:?}");
    assert_eq!(owner(&world.sandbox.project().join("made")), "4720:4720");
}

#[test]
fn any_user_of_the_clients_is_that_user() {
    let world = world!(person());
    let image = Image(ours(&world));
    for (user, ids) in
        [("4720:4720", "4720\n4720\n"), ("7:8", "7\n8\n"), ("65534", "65534\n65534\n"), ("0:0", "0\n0\n")]
    {
        let said = Said::of(docker().args([
            "run",
            "--rm",
            "--user",
            user,
            &image.0,
            "sh",
            "-c",
            "id -u; id -g; exit 3",
        ]));
        assert_eq!((said.code, said.out.as_str()), (3, ids), "{user}: {}", said.err);
    }
    // Who says nothing is what the image says: root.
    assert_eq!(Said::of(docker().args(["run", "--rm", &image.0, "id", "-u"])).ok(), "0");
}

#[test]
fn compose_maps_its_user() {
    let world = world!(person());
    if Command::new("docker-compose").arg("version").output().is_err() {
        assert!(std::env::var_os("CI").is_none(), "docker-compose is not installed");
        eprintln!("SKIPPED: docker-compose is not installed; run: sudo apt-get install -y docker-compose");
        return;
    }
    let image = Image(ours(&world));
    let dir = world.dir("compose");
    fs::copy(repository().join("examples/compose/compose.yaml"), dir.join("compose.yaml")).unwrap();
    world.run(&["devcontainer", "--env", &dir.join("identity.env").display().to_string()]).ok();
    assert_eq!(owner(&dir.join("identity.env")), "4720:4720");
    let name = world.unique("compose");
    let compose = |words: &[&str]| {
        let mut command = world.sandbox.command("docker-compose");
        command
            .env("IMAGE", &image.0)
            .env("PROJECT", world.sandbox.project())
            .env("COMPOSE_PROJECT_NAME", &name);
        command.current_dir(&dir).args(["-f", "compose.yaml"]).args(words);
        Said::of(&mut command)
    };
    let said = compose(&["run", "--rm", "-T", "work", "sh", "-c", "id -un; id -G; touch made; exit 6"]);
    let down = compose(&["down"]);
    assert_eq!(down.code, 0, "{}", down.err);
    assert_eq!(said.code, 6, "{}", said.err);
    assert!(said.out.starts_with("ann\n4720 ") && said.out.contains("3000"), "{}", said.out);
    assert_eq!(owner(&world.sandbox.project().join("made")), "4720:4720");
}

/// What the file may hold for a container of an image: the keys of ours with their types in the public schema
/// (devcontainers/spec, schemas/devContainer.base.schema.json: `devContainerCommon`, `nonComposeBase`, `imageContainer`),
/// which takes no key that it does not name.
fn check_types(file: &Value) {
    let strings = |v: &Value| v.as_array().is_some_and(|list| list.iter().all(Value::is_string));
    for (key, value) in file.as_object().unwrap() {
        let fits = match key.as_str() {
            "name" | "image" | "workspaceMount" | "workspaceFolder" | "remoteUser" => value.is_string(),
            "initializeCommand" => value.is_string() || strings(value),
            "runArgs" | "mounts" => strings(value),
            "containerEnv" => value.as_object().unwrap().values().all(Value::is_string),
            "overrideCommand" | "updateRemoteUserUID" => value.is_boolean(),
            _ => false,
        };
        assert!(fits, "{key}: {value}");
    }
    // One needs the other.
    assert!(
        file["image"].is_string()
            && file["workspaceMount"].is_string()
            && file["workspaceFolder"].is_string()
    );
}

/// Fills in what an editor fills in.
fn fill_in(text: &str, project: &Path, home: &Path) -> String {
    text.replace("${localWorkspaceFolder}", &project.display().to_string())
        .replace("${localEnv:USER}", "ann")
        .replace("${localEnv:HOME}", &home.display().to_string())
        .replace("${localEnv:WANDB_API_KEY}", "k3y")
}

fn words(value: &Value) -> Vec<&str> {
    value.as_array().map(|list| list.iter().map(|v| v.as_str().unwrap()).collect()).unwrap_or_default()
}

#[test]
fn an_editor_starts_what_the_file_says_as_the_user() {
    let world = world!(person());
    let image = Image(ours(&world));
    let data = world.dir("home/data");
    fs::write(data.join("file"), "content").unwrap();
    let settings = format!(
        "image_name: {}\ndocker_args: -e A='two words' -e WANDB_API_KEY -v ~/data:/data:ro --ulimit nofile=1000:2000\n\
         memory_limit: 256m\ncache: yes\n",
        image.0
    );
    fs::write(world.sandbox.home().join(".runconfigs"), settings).unwrap();
    let mut launcher = world.launcher();
    Said::of(launcher.env("WANDB_API_KEY", "secret").args(["devcontainer", "", "0"])).ok();
    let project = world.sandbox.project();
    let text = fs::read_to_string(project.join(".devcontainer/devcontainer.json")).unwrap();
    assert!(
        !text.contains("secret") && !text.contains(&world.sandbox.path("").display().to_string()),
        "{text}"
    );
    let file: Value = serde_json::from_str(&fill_in(&text, &project, &world.sandbox.home())).unwrap();
    check_types(&file);
    for cache in ["huggingface", "torch", "pip"] {
        world.dir(&format!("home/.cache/{cache}"));
    }
    world.theirs(&world.sandbox.home().join(".cache"));

    // As the reference implementation does it (devcontainers/cli, singleContainer.ts).
    let initialize = words(&file["initializeCommand"]);
    assert_eq!(initialize[0], "run-docker");
    Said::of(world.launcher().args(&initialize[1..])).ok();
    let name = world.unique("editor");
    let mut run = world.sandbox.command("docker");
    run.args([
        "run",
        "-d",
        "--name",
        &name,
        "--network",
        "none",
        "--mount",
        file["workspaceMount"].as_str().unwrap(),
    ]);
    for (variable, value) in file["containerEnv"].as_object().unwrap() {
        run.arg("-e").arg(format!("{variable}={}", value.as_str().unwrap()));
    }
    for mount in words(&file["mounts"]) {
        run.args(["--mount", mount]);
    }
    run.args(words(&file["runArgs"])).args([
        "--entrypoint",
        "/bin/sh",
        file["image"].as_str().unwrap(),
        "-c",
    ]);
    run.args([
        "echo Container started\ntrap \"exit 0\" 15\n\nexec \"$@\"\nwhile sleep 1 & wait $!; do :; done",
        "-",
    ]);
    run.args(["/entrypoint.sh", "bash"]);
    Said::of(&mut run).ok();
    let user = file["remoteUser"].as_str().unwrap();
    let script = "id -un; id -G; cat /data/file; echo; echo \"$A $WANDB_API_KEY\"; touch made; ulimit -n; nproc; touch $HF_HOME/m";
    let limit = Instant::now() + Duration::from_secs(60);
    let said = loop {
        let mut exec = docker();
        exec.args([
            "exec",
            "-u",
            user,
            "-w",
            file["workspaceFolder"].as_str().unwrap(),
            &name,
            "sh",
            "-c",
            script,
        ]);
        let said = Said::of(&mut exec);
        if said.code == 0 || Instant::now() > limit {
            break said;
        }
        std::thread::sleep(Duration::from_millis(100));
    };
    run_ok(docker().args(["rm", "-f", &name]));
    let lines: Vec<&str> = said.ok().lines().collect();
    assert_eq!((lines[0], lines[2], lines[3]), ("ann", "content", "two words k3y"), "{}", said.out);
    assert!(lines[1].contains("3000"), "{}", lines[1]);
    assert_eq!(lines[4..], ["1000", "1"]);
    assert_eq!(owner(&project.join("made")), "4720:4720");
    assert_eq!(owner(&world.sandbox.home().join(".cache/huggingface/m")), "4720:4720");
}

#[test]
fn the_example_is_what_is_written_and_nothing_is_overwritten() {
    let world = world!(person());
    let example = repository().join("examples/devcontainer");
    world.sandbox.runconfigs(&fs::read_to_string(example.join(".runconfigs")).unwrap());
    let facts = concat!(env!("CARGO_MANIFEST_DIR"), "/../core/tests/runconfigs/facts.json");
    assert!(Path::new(facts).exists());
    let printed = world.run(&["devcontainer", "--print", "", "0"]);
    let text = printed.ok().to_owned() + "\n";
    let name = world.sandbox.project().file_name().unwrap().to_string_lossy().into_owned();
    let committed = fs::read_to_string(example.join(".devcontainer/devcontainer.json")).unwrap();
    assert_eq!(text.replace(&format!("\"name\": \"{name}\""), "\"name\": \"devcontainer\""), committed);
    check_types(&serde_json::from_str(&committed).unwrap());
    assert!(!world.sandbox.project().join(".devcontainer").exists());

    world.run(&["devcontainer", "", "0"]).ok();
    let file = world.sandbox.project().join(".devcontainer/devcontainer.json");
    assert_eq!(fs::read_to_string(&file).unwrap(), text);
    fs::write(&file, "{}").unwrap();
    world.run(&["devcontainer"]).fails(64, &["exists already, and is left as it is", "--force"]);
    assert_eq!(fs::read_to_string(&file).unwrap(), "{}");
    world.run(&["devcontainer", "--force", "", "0"]).ok();
    assert_eq!(fs::read_to_string(&file).unwrap(), text);
}

#[test]
fn an_image_that_maps_nobody_is_told() {
    let world = world!(person());
    world.sandbox.runconfigs(&format!("image_name: {}\n", image(Flavor::Debian)));
    let said = world.run(&["devcontainer"]);
    said.ok();
    said.says(&["was not built by run-docker build: an editor that starts it is root inside"]);
}
