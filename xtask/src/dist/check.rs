//! `dist --check`: what is handed out, installed, used, upgraded and removed on
//! a fresh Debian, beside a Docker Engine of its own.

use std::fs;
use std::path::Path;
use std::process::Command;

use run_docker_testkit::{Flavor, PrivateDocker, PrivateOptions, image, output, run_ok};
use serde_json::Value;

use super::tree::Tree;
use super::{Dist, VERSION, make};
use crate::verdict::{Verdict, same};

type Answer = Result<(), String>;

const PEOPLE: [&str; 2] = ["ann", "bert"];

struct Ground {
    tree: Tree,
    engine: PrivateDocker,
    image: String,
}

/// Every row, in the order of a package's life.
pub(super) fn run(program: &Path, conda: Option<&Path>, dist: &Dist, build: bool) -> bool {
    let mut verdict = Verdict::default();
    verdict.row("the checksums are right", sums(dist));
    verdict.row("the list of parts is whole", sbom(&dist.sbom));
    verdict.row("the same sources give the same bytes", same_bytes(program, conda, dist));

    let engine = PrivateDocker::start_with(&PrivateOptions { outgoing: build, ..PrivateOptions::default() });
    let image = image(if build { Flavor::Debian } else { Flavor::Busybox });
    engine.load(&image);
    let tree = Tree::make(&engine.socket(), &PEOPLE);
    let ground = Ground { tree, engine, image };
    let fresh = ground.tree.paths();

    verdict.row("the package installs on a fresh Debian", ground.install(&dist.deb, VERSION));
    verdict.row("what is installed is root's alone and complete", ground.complete());
    for who in PEOPLE {
        verdict.row(&format!("{who} is shown what would run"), ground.dry_run(who));
        verdict.row(&format!("{who} runs a container on Docker"), ground.on_docker(who));
        verdict.row(&format!("{who} runs a container without Docker"), ground.natively(who));
    }
    verdict.row("settings of the machine are everybody's", ground.site());
    verdict.row("the installed shells complete words", ground.completions());
    if build {
        verdict.row("an image is built from the installed files", ground.build());
    }
    verdict.row("an upgrade disturbs nobody", ground.upgrade(program, conda));
    verdict.row("removal takes the programs and leaves the settings", ground.remove());
    verdict.row("purge prunes the volumes and says what is left", ground.purge());
    verdict.row("nothing of the package is left", nothing_more(&fresh, &ground.tree));
    verdict.row("the archive installs, upgrades itself and is removed", ground.archive(&dist.archive));
    verdict.row("nothing of the archive is left", nothing_more(&fresh, &ground.tree));
    verdict.end("dist")
}

fn sums(dist: &Dist) -> Answer {
    let place = dist.sums.parent().unwrap();
    let said =
        output(Command::new("sha256sum").current_dir(place).args(["--check", "--strict"]).arg(&dist.sums));
    let text = String::from_utf8_lossy(&said.stdout).into_owned();
    match said.status.success() && text.lines().count() == 3 {
        true => Ok(()),
        false => Err(text),
    }
}

/// Every part has a name, a version and a licence; every reference leads to one.
fn sbom(text: &str) -> Answer {
    let document: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let components = document["components"].as_array().ok_or("no components")?;
    let known: Vec<&str> = components.iter().filter_map(|c| c["bom-ref"].as_str()).collect();
    for component in components {
        for field in ["name", "version", "purl"] {
            component[field]
                .as_str()
                .filter(|text| !text.is_empty())
                .ok_or(format!("{component}: no {field}"))?;
        }
        let licence = component["licenses"][0]["expression"].as_str().unwrap_or("");
        if licence.is_empty() {
            return Err(format!("{}: no licence", component["name"]));
        }
    }
    for dependency in document["dependencies"].as_array().ok_or("no dependencies")? {
        for on in dependency["dependsOn"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            if !known.contains(&on) {
                return Err(format!("{} needs {on}, which is no part", dependency["ref"]));
            }
        }
    }
    // That must be there: in the launcher, by its feature, in both, and the init.
    for name in ["bollard", "ureq", "rustix", "run-docker-init"] {
        if !components.iter().any(|c| c["name"] == name) {
            return Err(format!("{name} is missing"));
        }
    }
    Ok(())
}

fn same_bytes(program: &Path, conda: Option<&Path>, dist: &Dist) -> Answer {
    let again = tempfile::tempdir().unwrap();
    let other = make(program, conda, VERSION, again.path());
    for (first, second) in [(&dist.deb, &other.deb), (&dist.archive, &other.archive)] {
        if fs::read(first).unwrap() != fs::read(second).unwrap() {
            return Err(format!("{} differs", first.display()));
        }
    }
    Ok(())
}

fn nothing_more(fresh: &std::collections::BTreeSet<String>, tree: &Tree) -> Answer {
    let now = tree.paths();
    let more: Vec<&String> = now.difference(fresh).collect();
    let less: Vec<&String> = fresh.difference(&now).collect();
    match more.is_empty() && less.is_empty() {
        true => Ok(()),
        false => Err(format!("left: {more:?}\ngone: {less:?}")),
    }
}

impl Ground {
    /// Puts a file where the tree sees it; its path.
    fn hand_in(&self, file: &Path) -> String {
        let there = self.tree.shared().join(file.file_name().unwrap());
        fs::copy(file, &there).unwrap();
        there.display().to_string()
    }

    fn install(&self, deb: &Path, version: &str) -> Answer {
        let deb = self.hand_in(deb);
        self.tree.ask("root", &format!("dpkg --install {deb} && dpkg --audit"))?;
        let there = self.tree.ask("root", "dpkg-query -W -f '${Status} ${Version}' run-docker")?;
        same("the state of the package", &there, &format!("install ok installed {version}"))?;
        let said = self.tree.ask("ann", "run-docker --version && run-docker-conda --version")?;
        same("--version", said.trim(), &format!("run-docker {VERSION}\nrun-docker {VERSION}"))
    }

    fn complete(&self) -> Answer {
        let others =
            "dpkg -L run-docker | xargs -d '\\n' stat -c '%u:%g %A %n' | grep -v '^0:0 .......[-r]-' || :";
        let listed = self.tree.ask("root", others)?;
        let odd: Vec<&str> = listed.lines().filter(|line| !line.contains(" l")).collect();
        if !odd.is_empty() {
            return Err(format!("not root's, or not readable:\n{}", odd.join("\n")));
        }
        let verified = self.tree.ask("root", "dpkg --verify run-docker")?;
        same("dpkg --verify", &verified, "")?;
        let wanted = "cd /usr/share && ls man/man1/run-docker-conda.1.gz run-docker/context/Dockerfile \
                      run-docker/context/dist/run-docker-init doc/run-docker/copyright doc/run-docker/sbom.cdx.json \
                      doc/run-docker/docs fish/vendor_completions.d/run-docker.fish zsh/vendor-completions/_run-docker";
        self.tree.ask("root", wanted).map(|_| ())
    }

    fn dry_run(&self, who: &str) -> Answer {
        let shown = self.tree.ask(who, &format!("run-docker --dry-run --image {} '' 0 id", self.image))?;
        let uid = self.tree.ask(who, "id -u")?;
        for needed in [
            "docker",
            &format!("run-docker.uid={}", uid.trim()),
            &format!("{}/{who}", self.tree.shared().display()),
        ] {
            if !shown.contains(needed) {
                return Err(format!("{needed} is not in {shown}"));
            }
        }
        Ok(())
    }

    /// Themselves inside, and what they make theirs outside.
    fn themselves(&self, who: &str, options: &str) -> Answer {
        let _ = fs::remove_file(self.tree.shared().join(who).join("made"));
        let inside = "id -u; id -un; id -G; pwd; echo made > made";
        let line = format!("run-docker --quiet {options} --image {} '' 0 sh -c '{inside}'", self.image);
        let seen = self.tree.ask(who, &line)?;
        let expected = self.tree.ask(who, "id -u; id -un; id -G; echo /exp")?;
        same("inside", &sorted_groups(&seen), &sorted_groups(&expected))?;
        let owner =
            self.tree.ask("root", &format!("stat -c %U {}/{who}/made", self.tree.shared().display()))?;
        same("the owner of what was made", owner.trim(), who)
    }

    fn on_docker(&self, who: &str) -> Answer {
        self.themselves(who, "--engine docker --network none")
    }

    fn natively(&self, who: &str) -> Answer {
        // Groups of the machine are kept, and without a line in subgid not shown.
        let script = "id -u; id -un; pwd; echo made > made";
        let line = format!("run-docker --quiet --engine native --image {} '' 0 sh -c '{script}'", self.image);
        let seen = self.tree.ask(who, &line)?;
        let expected = self.tree.ask(who, "id -u; id -un; echo /exp")?;
        same("inside", &seen, &expected)
    }

    fn site(&self) -> Answer {
        self.tree.ask("root", &format!("echo 'image_name: {}' >>/etc/run-docker/runconfigs", self.image))?;
        for who in PEOPLE {
            let shown = self.tree.ask(who, "run-docker config")?;
            if !shown.contains(&self.image) || !shown.contains("/etc/run-docker/runconfigs") {
                return Err(format!("{who} is shown\n{shown}"));
            }
        }
        Ok(())
    }

    fn completions(&self) -> Answer {
        let script = "source /usr/share/bash-completion/completions/run-docker-conda; COMP_LINE='run-docker-conda --netw' \
                      COMP_POINT=23; _run_docker run-docker-conda --netw ''; echo \"${COMPREPLY[@]}\"";
        let seen = self.tree.ask("ann", script)?;
        same("completed", seen.trim(), "--network")
    }

    fn build(&self) -> Answer {
        let line = format!("run-docker build --base {} --conda none --tag built:1 2>&1", self.image);
        self.tree.ask("ann", &line)?;
        let seen =
            self.tree.ask("ann", "run-docker --quiet --image built:1 '' 0 'id -un; command -v git'")?;
        same("inside what was built", &seen, "ann\n/usr/bin/git\n")
    }

    /// A container runs on, the settings stay as somebody changed them.
    fn upgrade(&self, program: &Path, conda: Option<&Path>) -> Answer {
        let begun = self
            .tree
            .ask("bert", "run-docker --quiet --detach --network none --name meanwhile '' 0 sleep 600");
        begun?;
        let out = tempfile::tempdir().unwrap();
        let later = format!("{VERSION}+later");
        let next = make(program, conda, &later, out.path());
        self.install(&next.deb, &later)?;
        let runs = self.tree.ask("bert", "run-docker exec meanwhile id -un")?;
        same("in the container from before", runs.trim(), "bert")?;
        self.tree.ask("bert", "run-docker stop --time 1 meanwhile && run-docker rm meanwhile")?;
        self.tree.ask("root", "tail -n 1 /etc/run-docker/runconfigs | grep image_name").map(|_| ())
    }

    fn remove(&self) -> Answer {
        self.tree.ask("root", "dpkg --remove run-docker")?;
        let left = "! command -v run-docker && ! ls /usr/share/run-docker 2>/dev/null && ls /etc/run-docker/runconfigs";
        self.tree.ask("root", left).map(|_| ())
    }

    fn purge(&self) -> Answer {
        let volumes =
            || run_ok(self.engine.docker().args(["volume", "ls", "-q", "--filter", "label=run-docker.init"]));
        if volumes().is_empty() {
            return Err("there was no volume to prune".to_owned());
        }
        // As if somebody had built one.
        let mut commit = self.engine.docker();
        commit.args(["create", "--label", "run-docker.image=1", &self.image, "true"]);
        let id = run_ok(&mut commit);
        run_ok(self.engine.docker().args([
            "commit",
            "--change",
            "LABEL run-docker.image=1",
            id.trim(),
            "left/behind:1",
        ]));
        run_ok(self.engine.docker().args(["rm", id.trim()]));
        let said = self.tree.ask("root", "dpkg --purge run-docker")?;
        same("volumes", &volumes(), "")?;
        match said.contains("left/behind:1") {
            true => Ok(()),
            false => Err(format!("it does not name the image that is left:\n{said}")),
        }
    }

    fn archive(&self, archive: &Path) -> Answer {
        let archive = self.hand_in(archive);
        let place = self.tree.shared().join("unpacked").display().to_string();
        let unpack = format!(
            "mkdir {place} && tar -xzf {archive} -C {place} --strip-components=1 && {place}/install.sh"
        );
        self.tree.ask("root", &unpack)?;
        self.themselves("ann", "--engine docker --network none")?;
        self.tree.ask("root", &format!("{place}/install.sh && {place}/install.sh --uninstall"))?;
        // As a user, below the home, and for packagers.
        let own = format!(
            "{place}/install.sh --prefix ~/.local && ~/.local/bin/run-docker --version && \
                           {place}/install.sh --prefix ~/.local --uninstall && ! ls ~/.local/bin/run-docker 2>/dev/null"
        );
        self.tree.ask("ann", &own)?;
        let packager = format!(
            "DESTDIR=$PWD/d {place}/install.sh --prefix=/usr && ls d/usr/bin/run-docker d/etc/run-docker/runconfigs && \
                                DESTDIR=$PWD/d {place}/install.sh --prefix=/usr --uninstall && find d ! -type d"
        );
        let left = self.tree.ask("ann", &packager)?;
        same("what a packager is left with", left.lines().skip(2).collect::<Vec<_>>().join(" ").as_str(), "")
    }
}

/// `id -G` gives the primary group first and the others in any order.
fn sorted_groups(text: &str) -> String {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    if let Some(groups) = lines.get_mut(2) {
        let mut numbers: Vec<&str> = groups.split(' ').collect();
        numbers.sort_unstable();
        *groups = numbers.join(" ");
    }
    lines.join("\n")
}
