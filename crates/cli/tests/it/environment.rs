//! What comes along from the host.

use run_docker_testkit::{Flavor, image};

use crate::world::{Said, world};

#[test]
fn umask_zone_language_and_proxies_come_along() {
    let world = world!();
    let mut command = world.sandbox.command("sh");
    let image = image(Flavor::Debian);
    let program = world.sandbox.path("bin/run-docker");
    let script =
        format!("umask 027; exec '{}' --image '{image}' --network none '' '' \"$1\"", program.display());
    let asked =
        "umask; echo $TZ; echo $LANG; echo $http_proxy; echo $NO_PROXY; touch made; echo \"[$SECRET]\"";
    command.args(["-c", &script, "sh", asked]).stdin(std::process::Stdio::null());
    command.env("TZ", "Asia/Tokyo").env("LANG", "it_IT.UTF-8").env("SECRET", "x");
    command.env("http_proxy", "http://proxy.example:3128").env("NO_PROXY", "localhost,.example");
    assert_eq!(
        Said::of(&mut command).ok(),
        "0027\nAsia/Tokyo\nit_IT.UTF-8\nhttp://proxy.example:3128\nlocalhost,.example\n[]"
    );
    let made = world.sandbox.project().join("made").metadata().unwrap();
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&made.permissions()) & 0o777, 0o640);
}

#[test]
fn input_and_output_are_the_commands_own() {
    let world = world!();
    let mut command = world.sandbox.command("sh");
    let image = image(Flavor::Debian);
    let program = world.sandbox.path("bin/run-docker");
    let run = format!("'{}' --image '{image}' --network none", program.display());
    let script = format!(
        "printf 'a\\nb\\n' | {run} '' '' cat; printf 'c\\nd\\n' | while read x; do {run} --no-stdin '' '' \"echo got $x\"; done"
    );
    let said = Said::of(command.args(["-c", &script]));
    assert_eq!(said.ok(), "a\nb\ngot c\ngot d");
}

#[test]
fn the_commands_end_is_the_launchers() {
    let world = world!();
    assert_eq!(world.inside(&[], &["exit 42"]).code, 42);
    assert_eq!(world.inside(&[], &["kill -TERM $$"]).code, 143);
    let missing = world.inside(&[], &["no-such-command"]);
    assert_eq!(missing.code, 127);
    missing.says(&["no-such-command"]);
    let closed = world.inside(&[], &["/etc/passwd"]);
    assert_eq!(closed.code, 126);
    closed.says(&["/etc/passwd"]);
}
