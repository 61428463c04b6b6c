//! Programs that take all there is: processes, memory, directories.

use std::path::Path;
use std::process::{Command, Stdio};

use run_docker_testkit::output;

use super::ground::{EVERYBODY, Place, Who, has, text};
use crate::rows::Row;

/// Starts processes until it may not, three hundred at most, and says how many.
const FORK: &str = r"
import os, signal, time
pids = []
try:
    while len(pids) < 300:
        pid = os.fork()
        if pid == 0:
            time.sleep(100)
            os._exit(0)
        pids.append(pid)
except OSError as error:
    pass
print(f'{len(pids)} forked', flush=True)
for pid in pids:
    os.kill(pid, signal.SIGKILL)
";

/// Directories one in the other, deeper than any path can name.
const DEEP: &str = r"
import os
os.chdir('/tmp')
for level in range(3000):
    os.mkdir('d')
    os.chdir('d')
    if level % 500 == 0:
        os.mkdir('closed', 0o500)
os.chmod('.', 0)
print(f'{level + 1} deep')
";

/// The rows.
pub(super) fn rows(program: &Path) -> Vec<Row<'_>> {
    let mut rows = Vec::new();
    for who in EVERYBODY {
        let row = |name: &str, act: fn(&Path, Who) -> Result<(), String>| {
            Row::new(format!("{}: {name}", who.name()), move || act(program, who))
        };
        rows.push(row("a fork bomb", fork_bomb));
        rows.push(row("a limit of processes by itself", default_limit));
        rows.push(row("directories deeper than a path", deep));
    }
    rows.push(Row::new("root: a memory bomb", move || memory(program)));
    rows
}

fn python(place: &Place, options: &[&str], more: &str, script: &str) -> String {
    let flags = place.armed(more);
    let options = [options, &["--docker-args", &flags]].concat();
    text(&output(&mut place.run(&options, &["/usr/bin/python3", "-c", script])))
}

fn forked(told: &str) -> Result<u32, String> {
    let number = told.lines().find_map(|line| line.strip_suffix(" forked")?.parse().ok());
    number.ok_or_else(|| told.to_owned())
}

fn fork_bomb(program: &Path, who: Who) -> Result<(), String> {
    let place = Place::new(program, who);
    // What the user runs outside is none of the container's.
    let mut outside: Vec<_> = (0..60)
        .map(|_| {
            let mut command = Command::new("setpriv");
            command.args([format!("--reuid={}", place.uid), format!("--regid={}", place.uid)]);
            command.args(["--clear-groups", "sleep", "300"]).stdin(Stdio::null()).spawn().unwrap()
        })
        .collect();
    let held = forked(&python(&place, &[], "--pids-limit 40", FORK));
    let free = forked(&python(&place, &[], "--pids-limit -1", FORK));
    for child in &mut outside {
        let _ = child.kill();
        let _ = child.wait();
    }
    let (held, free) = (held?, free?);
    match (25..40).contains(&held) && free == 300 {
        true => Ok(()),
        false => Err(format!("{held} with a limit of 40, {free} without")),
    }
}

fn default_limit(program: &Path, who: Who) -> Result<(), String> {
    let place = Place::new(program, who);
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    let expected = (cpus * 1024).max(4096);
    let told =
        place.inside(&[], "cat /sys/fs/cgroup/pids/pids.max /sys/fs/cgroup/pids.max 2>/dev/null; ulimit -u");
    has(&told, &[&format!("{expected}\n")])
}

fn deep(program: &Path, who: Who) -> Result<(), String> {
    let place = Place::new(program, who);
    has(&python(&place, &[], "", DEEP), &["3000 deep"])?;
    match place.left_over() {
        left if left.is_empty() => Ok(()),
        left => Err(format!("left: {left:?}")),
    }
}

fn memory(program: &Path) -> Result<(), String> {
    let place = Place::new(program, Who::Root);
    let script = "x = bytearray(300 << 20); print('taken')";
    has(&python(&place, &[], "", script), &["taken", "exit status: 0"])?;
    has(&python(&place, &["--memory-limit", "64m"], "", script), &["exit status: 137"])
}
