//! What comes along, without a daemon: for root, for users with granted ids and
//! for those without.

use std::fs;
use std::os::unix::net::UnixListener;

use crate::support::{EVERYBODY, Place, can_run, succeed};

const SCRIPT: &str = "set -e; [ -S \"$SSH_AUTH_SOCK\" ]; cat /etc/gitconfig; \
    touch \"$HF_HOME/a\" \"$PIP_CACHE_DIR/b\" ~/.vscode-server/c; \
    if echo x >>/etc/gitconfig; then exit 9; fi 2>/dev/null; echo done";

#[test]
fn an_agent_settings_and_caches_come_along() {
    if !can_run() {
        return;
    }
    for who in EVERYBODY {
        let place = Place::new(who);
        let home = place.sandbox.home();
        fs::write(home.join(".gitconfig"), "[user]\n").unwrap();
        let socket = home.join("agent");
        let _listener = UnixListener::bind(&socket).unwrap();
        place.give(&socket);
        let options = ["--ssh-agent", "--gitconfig", "--cache", "--vscode"];
        let mut run = place.run(&options, &["sh", "-c", SCRIPT]);
        run.env("SSH_AUTH_SOCK", &socket);
        assert_eq!(succeed(&mut run), "[user]\ndone\n", "{who:?}");
        for file in ["huggingface/a", "pip/b", "run-docker/vscode-server/c"] {
            assert!(home.join(".cache").join(file).exists(), "{who:?} {file}");
        }
        assert_eq!(fs::read_to_string(home.join(".gitconfig")).unwrap(), "[user]\n", "{who:?}");
        assert_eq!(place.left_over(), [""; 0], "{who:?}");
    }
}

#[test]
fn servers_listen_on_the_hosts_network_to_this_machine_alone() {
    if !can_run() {
        return;
    }
    let place = Place::new(crate::support::Who::Root);
    let plan = place.ok(&["--dry-run=json", "--image", crate::support::IMAGE, "--jupyter=20888", "", ""]);
    assert!(plan.contains("--ip=127.0.0.1 --port=20888"), "{plan}");
    assert!(plan.contains("\"ports\": []"), "{plan}");
}
