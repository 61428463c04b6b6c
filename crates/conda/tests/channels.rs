//! Channels by name, directory and server, and the files that configure them.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod support;

use serde_json::Value;
use support::{Package, World, text};

fn world() -> World {
    World::new(&[Package::new("x", "1.0")])
}

/// The places that are asked, without the platform.
fn asked(world: &World, variables: &[(&str, String)]) -> Vec<String> {
    let output = world.command("info --json").envs(variables.iter().cloned()).output().unwrap();
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
    let info: Value = serde_json::from_slice(&output.stdout).unwrap();
    let urls = info["channels"].as_array().unwrap().iter().map(|url| url.as_str().unwrap());
    urls.filter_map(|url| url.strip_suffix("/noarch").map(str::to_owned)).collect()
}

#[test]
fn names_stand_for_the_servers_that_are_configured() {
    let world = world();
    let top = format!("file://{}", world.channel().parent().unwrap().display());
    world.condarc(&format!(
        "channel_alias: {top}\ncustom_channels: {{lab: 'https://lab.example.org/conda/'}}\n\
         custom_multichannels: {{both: [channel, lab]}}\nchannels: [both, lab/label/dev, defaults]\n\
         default_channels: ['https://mirror.example.org/main']\n"
    ));
    assert_eq!(
        asked(&world, &[]),
        [
            format!("{top}/channel"),
            "https://lab.example.org/conda/lab".to_owned(),
            "https://lab.example.org/conda/lab/label/dev".to_owned(),
            "https://mirror.example.org/main".to_owned(),
        ]
    );
    // The alias is a mirror: what is installed from it has the channel's name.
    world.condarc(&format!("channel_alias: {top}\nchannels: [channel]\n"));
    world.ok("create -y -n a x");
    assert!(world.ok("env export -n a").contains("channels:\n  - channel\n"));
    assert!(world.ok("list -n a").lines().any(|line| line.starts_with("x ") && line.ends_with(" channel")));
    // A directory, relative and absolute, with a platform at its end.
    for name in
        ["./channel", "channel/../channel/noarch", &world.channel().join("linux-64").display().to_string()]
    {
        let name = if name.starts_with("channel") { format!("./{name}") } else { name.to_owned() };
        world.ok(&format!("create -y -n b x --override-channels -c {name}"));
        world.ok("env remove -y -n b");
    }
}

#[test]
fn channels_can_be_refused() {
    let world = world();
    for (rule, error) in [("denylist_channels", "ChannelDenied"), ("allowlist_channels", "ChannelNotAllowed")]
    {
        let named = if rule == "denylist_channels" { "bad" } else { "good" };
        world.condarc(&format!("channels: [bad]\n{rule}: [{named}]\n"));
        let said = world.fails(1, "create -y -n a x");
        assert!(said.contains(error) && said.contains("'bad'"), "{said}");
    }
    world.condarc("channels: [defaults]\n");
    let said = world.fails(1, "create -y -n a x");
    assert!(said.contains("NoChannelsConfiguredError") && said.contains("Anaconda's terms"), "{said}");
    assert!(!world.env("a").exists());
}

#[test]
fn configuration_is_read_at_all_its_places() {
    let world = world();
    world.ok("create -y -n a x");
    world.condarc("");
    assert_eq!(asked(&world, &[]), ["https://conda.anaconda.org/conda-forge"]);
    let home = world.path("home");
    let write = |path: std::path::PathBuf, name: &str| {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, format!("channels: ['https://example.org/{name}']\n")).unwrap();
    };
    write(home.join(".config/conda/.condarc"), "xdg");
    write(home.join(".conda/condarc.d/b.yml"), "directory");
    write(home.join(".conda/condarc.d/ignored.txt"), "never");
    write(home.join(".condarc"), "home");
    write(world.env("a").join(".condarc"), "env");
    write(world.path("named.yml"), "named");
    let variables = [
        ("CONDA_PREFIX", world.env("a").display().to_string()),
        ("CONDARC", world.path("named.yml").display().to_string()),
        ("CONDA_CHANNELS", "https://example.org/variable".to_owned()),
    ];
    let names: Vec<String> = ["variable", "named", "env", "home", "directory", "xdg"]
        .iter()
        .map(|name| format!("https://example.org/{name}"))
        .collect();
    assert_eq!(asked(&world, &variables), names);
}
