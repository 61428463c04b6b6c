//! Every option in each of its spellings; flags that are typed here and flags
//! that go through the client.

use std::fs;

use run_docker_testkit::Person;

use crate::config::values;
use crate::world::{Said, world};

/// Spellings, a value, the key it sets.
const OPTIONS: &[(&[&str], &str, &str)] = &[
    (&["--image", "--image_name", "--image-name"], "x:1", "image_name"),
    (&["--name", "--container_name", "--container-name"], "x", "container_name"),
    (&["--project", "--project_dir", "--project-dir"], "/tmp", "project"),
    (&["--conda-envs", "--conda_envs"], "/tmp/e", "conda_envs"),
    (&["--docker-args", "--docker_args"], "-p 1:1", "docker_args"),
    (&["--home"], "/tmp/h", "home"),
    (&["--memory-limit", "--memory_limit", "--memory"], "1g", "memory_limit"),
    (&["--shm-size", "--shm_size"], "1g", "shm_size"),
    (&["--network", "--net"], "host", "network"),
    (&["--num-iters", "--num_iters"], "3", "num_iters"),
    (&["--symlinks"], "2", "symlinks"),
    (&["--tensorboard"], "runs", "tensorboard"),
    (&["--engine"], "docker", "engine"),
];

#[test]
fn every_option_in_every_spelling_and_as_a_variable() {
    let world = world!();
    for (spellings, value, key) in OPTIONS {
        for spelling in *spellings {
            for words in
                [vec![(*spelling).to_owned(), (*value).to_owned()], vec![format!("{spelling}={value}")]]
            {
                let said = Said::of(world.launcher().args(["config", "--json"]).args(words));
                let found = values(&said, key);
                assert_eq!(found, [((*value).to_owned(), spellings[0].to_owned())], "{spelling}");
            }
        }
        let variable = format!("RUN_DOCKER_{}", key.to_uppercase());
        let said = Said::of(world.launcher().args(["config", "--json"]).env(&variable, value));
        assert_eq!(values(&said, key), [((*value).to_owned(), format!("${variable}"))], "{variable}");
    }
    for (spellings, value, key) in [
        (&["--detach", "-d"][..], "true", "detach"),
        (&["--root"], "true", "root"),
        (&["--jupyter"], "yes", "jupyter"),
        (&["--ssh-agent", "--ssh_agent"], "true", "ssh_agent"),
        (&["--gitconfig"], "true", "gitconfig"),
        (&["--cache"], "true", "cache"),
        (&["--vscode"], "true", "vscode"),
        (&["--no-stdin", "--no_stdin"], "false", "stdin"),
    ] {
        for spelling in spellings {
            let said = world.run(&["config", "--json", spelling]);
            assert_eq!(values(&said, key), [(value.to_owned(), spellings[0].to_owned())], "{spelling}");
        }
    }
}

#[test]
fn an_empty_value_sets_nothing() {
    // As `--home "$UNSET"` in a script has it, and as in a file.
    let world = world!();
    world.sandbox.runconfigs("image_name: file:1\n");
    for (spellings, _, key) in OPTIONS {
        let expected = if *key == "image_name" { vec!["file:1".to_owned()] } else { vec![] };
        let found = |said: &Said| values(said, key).into_iter().map(|(value, _)| value).collect::<Vec<_>>();
        assert_eq!(found(&world.run(&["config", "--json", spellings[0], ""])), expected, "{}", spellings[0]);
        let variable = format!("RUN_DOCKER_{}", key.to_uppercase());
        let said = Said::of(world.launcher().args(["config", "--json"]).env(&variable, ""));
        assert_eq!(found(&said), expected, "{variable}");
    }
}

#[test]
fn options_stand_anywhere_and_the_commands_words_are_its_own() {
    let world = world!();
    let dry =
        world.run(&["", "--name", "x1", "", "--image=y:1", "--dry-run", "python", "--name", "z", "-d", ""]);
    let line = dry.ok();
    assert!(line.contains("--name x1") || line.contains("--name=x1"), "{line}");
    assert!(line.ends_with("y:1 python --name z -d ''"), "{line}");
}

#[test]
fn facts_of_another_machine_decide_for_it() {
    let world = world!();
    let facts = concat!(env!("CARGO_MANIFEST_DIR"), "/../core/tests/runconfigs/facts.json");
    let copy = world.sandbox.path("facts.json");
    fs::copy(facts, &copy).unwrap();
    let copy = copy.display().to_string();
    let dry =
        world.run(&["--dry-run", "--facts", &copy, "--jupyter", "--name", "x1", "0,3:1", "0-200", "true"]);
    let line = dry.ok();
    for part in [
        "device=0,MIG-bbbb",
        "--cpuset-cpus 0-127",
        "-p 127.0.0.1:8888:8888",
        "JUPYTER_TOKEN=TOKEN",
        "TZ=Europe/Rome",
    ] {
        assert!(line.contains(part), "{part} is not in {line}");
    }
    dry.says(&["CPUs 128-200 are left out", "ann@dgx1"]);
}

#[test]
fn options_may_stand_before_a_subcommand() {
    let world = world!();
    assert!(world.run(&["-v", "--engine", "docker", "ps"]).ok().starts_with("NAME "));
    assert!(world.run(&["--engine", "native", "image", "list", "--json"]).ok().starts_with('['));
    let said = world.run(&["--image_name", "x:1", "-q", "config", "--json"]);
    assert_eq!(values(&said, "image_name"), [("x:1".to_owned(), "--image".to_owned())]);
    let said = world.run(&["--engine", "native", "exec", "nobody", "ls"]);
    said.fails(64, &["you have no container \"nobody\""]);
    let said = world.run(&["--engine", "docker", "image", "list"]);
    said.fails(64, &["`image` is about the engine built in", "docker images"]);
    let said = world.run(&["--image", "x:1", "ps"]);
    said.fails(64, &["unexpected argument '--image'", "Usage: run-docker ps"]);
}

#[test]
fn a_wrong_option_is_64() {
    let world = world!();
    for words in
        [&["--nmae", "x", "", ""][..], &["--dry-run=xml", "", ""], &["-q", "-v", "", ""], &["--image"]]
    {
        let said = world.run(words);
        assert_eq!(said.code, 64, "{words:?}");
        said.says(&["error: "]);
    }
    let said = world.run(&["-v", "stpo"]);
    said.fails(64, &["\"stpo\" is neither a subcommand nor a GPU list", "did you mean run-docker stop?"]);
    world.run(&["python"]).fails(64, &["\"python\" is neither", "run-docker '' '' COMMAND"]);
    world.run(&["0"]).fails(64, &["<CPU-LIST>"]);
    assert!(world.run(&["--version"]).ok().starts_with("run-docker "));
    assert!(world.run(&["--help"]).ok().contains("CPU list:"));
}

#[test]
fn flags_here_and_through_the_client_give_the_same_container() {
    let mut person = Person::new(1001, "ann");
    person.groups.push((3000, Some("domain users".into())));
    let world = world!(person);
    let data = world.dir("data dir");
    let flags = format!(
        "-e A='two words' -v '{}':/data:ro --tmpfs /scratch:size=1m,mode=1777 -w /scratch -m 256m --shm-size 32m \
         --ulimit nofile=1000:2000 --cap-drop NET_RAW --hostname box --add-host peer:192.0.2.7 --label l=v",
        data.display()
    );
    let report = |name: &str, more: &str| {
        let said = world.run(&[
            "probe",
            "--json",
            "--image",
            &run_docker_testkit::image(run_docker_testkit::Flavor::Debian),
            "--network",
            "none",
            "--docker-args",
            &flags,
            "--docker-args",
            more,
            "",
            "0",
        ]);
        let path = world.sandbox.path(name);
        fs::write(&path, said.ok()).unwrap();
        path.display().to_string()
    };
    let both = format!("{},{}", report("api.json", ""), report("client.json", "--cpu-shares 1024"));
    let said = world.run(&["probe", "--compare", &both]);
    assert!(said.ok().ends_with("are equal"), "{}", said.out);
    let text = fs::read_to_string(world.sandbox.path("api.json")).unwrap();
    for part in ["two words", "/data", "/scratch", "domain users"] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
}

#[test]
fn u_switches_the_mapping_off_and_says_so() {
    let world = world!();
    let said = world.inside(&["--docker-args", "-u 33:44"], &["id -u; id -g"]);
    assert_eq!(said.ok(), "33\n44");
    said.says(&["-u 33:44: you are not mapped into the container"]);
}

#[test]
fn the_users_flag_wins_and_that_is_said() {
    let world = world!();
    let said = world.inside(&["--docker-args", "--cpuset-cpus 0 --name ignored"], &["nproc"]);
    assert_eq!(said.ok(), "1");
    let name = world.unique("typed");
    let said = world.inside(&["--name", &name, "--docker-args", "--name other"], &["true"]);
    said.ok();
    said.says(&["container_name is given twice: the command line wins over docker_args"]);
    let both = world.inside(&["--docker-args", "-v /tmp:/exp"], &["true"]);
    both.ok();
    both.says(&["docker_args mounts /exp itself; ours is left out"]);
}
