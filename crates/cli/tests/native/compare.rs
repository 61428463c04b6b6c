//! The same command on Docker and on the engine built in: what it sees is equal.

use run_docker_testkit::{Flavor, docker_gid, image, output, require_docker};

use crate::support::{GROUP, Place, Who, can_run, told};

#[test]
fn the_probes_are_equal() {
    if !can_run() || !require_docker() {
        return;
    }
    let image = image(Flavor::Debian);
    for who in [Who::Root, Who::Granted] {
        let groups = vec![(docker_gid(), Some("docker".to_owned())), (GROUP, Some("nature".to_owned()))];
        let place = Place::in_groups(who, groups);
        // A user's limits are their shell's here, and the daemon's there; processes
        // are limited without being asked here alone.
        let flags = "--pids-limit -1 --ulimit nofile=512 --ulimit core=0 -e WHAT=ever -w /exp/some/where --tmpfs /scratch --hostname same";
        let mut command = place.command(&[
            "probe",
            "--image",
            &image,
            "--compare",
            "docker,native",
            "--network",
            "host",
            "--docker-args",
            flags,
            "",
            "0",
        ]);
        let output = output(&mut command);
        assert_eq!(
            String::from_utf8_lossy(&output.stdout),
            "docker and native are equal\n",
            "{}",
            told(&command, &output)
        );
    }
}
