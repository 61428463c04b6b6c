//! `-n NAME`: a command in a conda environment, without any conda.

use std::fs;

use run_docker_testkit::output;

use crate::support::{EVERYBODY, IMAGE, Place, can_run, succeed, told};

#[test]
fn a_command_runs_in_an_environment() {
    if !can_run() {
        return;
    }
    for who in EVERYBODY {
        let place = Place::new(who);
        let envs = place.sandbox.path("envs");
        let prefix = envs.join("mine");
        for dir in ["conda-meta", "bin", "etc/conda/activate.d"] {
            fs::create_dir_all(prefix.join(dir)).unwrap();
        }
        fs::write(prefix.join("conda-meta/history"), "").unwrap();
        fs::write(prefix.join("bin/tool"), "#!/bin/sh\necho tool of mine\n").unwrap();
        fs::set_permissions(prefix.join("bin/tool"), std::os::unix::fs::PermissionsExt::from_mode(0o755))
            .unwrap();
        fs::write(prefix.join("etc/conda/activate.d/x.sh"), "export SOURCED=yes\n").unwrap();
        place.give(&envs);
        place.give(&prefix);
        let run = |name: &str, script: &str| {
            let envs = envs.to_str().unwrap();
            let head = ["--quiet", "--no-stdin", "--conda-envs", envs, "-n", name, "--image", IMAGE, "", ""];
            place.command(&[&head[..], &["sh", "-c", script]].concat())
        };
        let script = "echo $CONDA_DEFAULT_ENV $CONDA_PREFIX $SOURCED; tool; touch /envs/mine/made";
        assert_eq!(succeed(&mut run("mine", script)), "mine /envs/mine yes\ntool of mine\n", "{who:?}");
        let made = std::os::unix::fs::MetadataExt::uid(&fs::metadata(prefix.join("made")).unwrap());
        assert_eq!(made, place.uid, "{who:?}");
        let mut command = run("missing", "true");
        let refused = output(&mut command);
        assert!(!refused.status.success() && told(&command, &refused).contains("missing"), "{who:?}");
    }
}
