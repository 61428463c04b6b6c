//! Containers in the background: listed, entered, read, stopped, removed.

use run_docker_testkit::output;

use crate::support::{EVERYBODY, IMAGE, Place, Who, can_run, told, until};

#[test]
fn a_container_in_the_background() {
    if !can_run() {
        return;
    }
    for who in EVERYBODY {
        let place = Place::new(who);
        let name = "bg";
        let id = place.ok(&[
            "--quiet",
            "--detach",
            "--name",
            name,
            "--image",
            IMAGE,
            "",
            "",
            "echo hello; touch /tmp/marker; exec sleep 1000",
        ]);
        assert_eq!(id.trim().len(), 12, "{who:?}: {id}");
        let list = place.ok(&["ps", "--json"]);
        assert!(list.contains(id.trim()) && list.contains("\"name\": \"bg\""), "{list}");
        until("the first line of the log", || place.ok(&["logs", name]) == "hello\n");

        // A second command: the same user, the same place, no more rights.
        let seen = place.ok(&["exec", "--no-stdin", name, "sh", "-c", "id -u; pwd; ls /tmp/marker; grep -E '^(CapEff|NoNewPrivs|Seccomp):' /proc/self/status | awk '{print $2}'; tr '\\0' ' ' </proc/1/cmdline"]);
        let caps = if who == Who::Root { "00000000a80425fb" } else { "0000000000000000" };
        let head = format!("{}\n/exp\n/tmp/marker\n{caps}\n1\n2\n", place.uid);
        assert!(seen.starts_with(&head) && seen.contains("/.run-docker/init"), "{who:?}: {seen}");
        let mut command = place.command(&["exec", "--no-stdin", name, "sh", "-c", "exit 5"]);
        assert_eq!(output(&mut command).status.code(), Some(5), "{who:?}");

        let mut taken = place.run(&["--name", name], &["true"]);
        let refused = output(&mut taken);
        assert_eq!(refused.status.code(), Some(125), "{}", told(&taken, &refused));
        let mut running = place.command(&["rm", name]);
        assert_eq!(output(&mut running).status.code(), Some(125), "{who:?}");

        place.ok(&["stop", name]);
        assert!(!place.ok(&["ps"]).contains("bg"), "{who:?}");
        let all = place.ok(&["ps", "--all"]);
        assert!(all.contains("Exited (143)"), "{who:?}: {all}");
        assert_eq!(place.ok(&["logs", name]), "hello\n");
        place.ok(&["rm", name]);
        assert_eq!(place.left_over(), [] as [String; 0], "{who:?}");
    }
}
