//! A run, from the launcher's side: prepare, clone, let go, watch, tidy up.

use std::io::Write;
use std::os::fd::AsRawFd;
use std::path::PathBuf;

use run_docker_core::error::Context as _;
use run_docker_core::plan::{INIT_PATH, OnCollision};
use run_docker_core::types::{ContainerName, PidsLimit};
use run_docker_core::{ContainerSummary, Error, ExitStatus, Result, RunPlan};
use run_docker_identity::Privileges;
use rustix::thread::CpuSet;

use crate::bundle::{Bundle, Keeper, State, register};
use crate::cgroup::{self, Group, Layout, Limits};
use crate::idmap::IdMap;
use crate::mounts::{self, Grant, Scene, c_text};
use crate::namespaces;
use crate::pids::{self, Pids};
use crate::process::{self, Child, Start};
use crate::security::{capabilities, seccomp};
use crate::setup::{Leaf, Step};
use crate::signals::Signals;
use crate::store::HeldImage;
use crate::terminal::RawMode;
use crate::{Native, gpus, prepare, refuse};

/// Devices that every container may open or make (the list of runc).
const DEVICE_RULES: [&str; 12] = [
    "c *:* m",
    "b *:* m",
    "c 1:3 rwm",
    "c 1:5 rwm",
    "c 1:7 rwm",
    "c 1:8 rwm",
    "c 1:9 rwm",
    "c 5:0 rwm",
    "c 5:1 rwm",
    "c 5:2 rwm",
    "c 136:* rwm",
    "c 10:200 rwm",
];

/// Carries a plan out to its end; `started` is told the container's id.
pub(crate) fn run(engine: &Native, plan: &RunPlan, started: &mut dyn FnMut(&str)) -> Result<ExitStatus> {
    let mut run = Run::prepare(engine, plan)?;
    run.bundle.record(&run.state)?;
    let signals = Signals::arm()?;
    // From here on whatever is made has somebody to remove it.
    let mut keeper = run.bundle.keep(&run.state.groups, &engine.map, &run.image.lock)?;
    if run.state.keep {
        keeper.leave_record();
    }
    run.make_groups()?;
    let sockets = process::terminal_sockets(plan.stdio.tty)?;
    let mut child = run.start(sockets.as_ref().map(|(_, theirs)| theirs.as_raw_fd()), &mut keeper)?;
    run.state.pid = child.pid.as_raw_nonzero().get();
    run.bundle.record(&run.state)?;
    started(&run.bundle.id);
    let status = match sockets {
        Some((ours, theirs)) => {
            drop(theirs);
            let relay = process::relay(&ours)?;
            let _raw = RawMode::enter()?;
            child.watch(&signals, Some(relay))
        }
        None => child.watch(&signals, None),
    }?;
    if run.state.keep {
        run.state.exit = Some(status.0);
        "exited".clone_into(&mut run.state.summary.state);
        run.bundle.record(&run.state)?;
    }
    Ok(status)
}

/// A run that is prepared on disk; nothing of it lives yet.
struct Run<'a> {
    engine: &'a Native,
    plan: &'a RunPlan,
    image: HeldImage,
    lower: String,
    bundle: Bundle,
    host_name: String,
    files: Vec<(PathBuf, &'static str)>,
    init: PathBuf,
    grants: Vec<Grant>,
    layout: Layout,
    limits: Limits<'a>,
    pids: Pids,
    groups: Vec<Group>,
    state: State,
}

impl<'a> Run<'a> {
    fn prepare(engine: &'a Native, plan: &'a RunPlan) -> Result<Self> {
        let held = engine.hold(&plan.image)?;
        let image =
            held.ok_or_else(|| Error::failure(format!("there is no image {} in the store", plan.image)))?;
        let name = free_name(engine, plan)?;
        let bundle = Bundle::make(&engine.runs())?;
        let lower = bundle.lower(&image.layers)?;
        if plan.stdio.detach {
            bundle.take_output()?;
        }
        if image.is_foreign && engine.map.is_rootless() {
            prepare::seed_upper(&image, &bundle.path.join("upper"))?;
        }
        let host_name = plan.hostname.clone().unwrap_or_else(host_name);
        let files = prepare::small_files(&bundle.path, plan, &host_name)?;
        let init = prepare::init_directory(&engine.own, &engine.options.init_digest, engine.options.init)?;
        let gpu = gpus::grant(&plan.gpus)?;
        let mut grants = gpu.files;
        grants.extend(plan.devices.iter().map(|text| device(text)));

        let rootless = engine.map.is_rootless();
        let layout = Layout::detect();
        let cpus = plan.cpus.as_ref().map_or_else(machine_cpus, |list| list.iter().count());
        // On version 1 nobody but root has groups to give.
        let may_limit = !rootless || layout.v2.is_some();
        let offered = may_limit && cgroup::offers(&layout, "pids");
        let kernel = pids::kernel_version(&rustix::system::uname().release().to_string_lossy());
        let pids = Pids::decide(plan.pids, cpus, rootless, offered, kernel);
        let limits = Limits {
            cpus: plan.cpus.as_ref(),
            mems: plan.mems.as_ref(),
            memory: plan.memory.map(|m| m.0),
            pids: pids.by_group(),
            devices: (!rootless && !plan.privileged).then(|| device_rules(&grants)),
        };
        let groups = if may_limit { cgroup::plan(&layout, &bundle.id, &limits) } else { Vec::new() };
        let guarded = !rootless && groups.iter().any(|g| g.controller.split(',').any(|c| c == "devices"));
        let unconfined = |o: &String| o.starts_with("seccomp") && o.ends_with("unconfined");
        let state = State {
            summary: summary(plan, &name, &bundle.id),
            pid: 0,
            map: engine.map.clone(),
            groups: groups.iter().map(|g| g.path.clone()).collect(),
            env: prepare::environment(&image, plan, &host_name, &gpu.env),
            working_dir: plan.working_dir.clone(),
            capabilities: capabilities::decide(plan.privileged, &plan.cap_add, &plan.cap_drop, guarded)?,
            seccomp: !plan.privileged && !plan.security_opt.iter().any(unconfined),
            keep: !plan.remove,
            exit: None,
        };
        Ok(Self {
            engine,
            plan,
            image,
            lower,
            bundle,
            host_name,
            files,
            init,
            grants,
            layout,
            limits,
            pids,
            groups,
            state,
        })
    }

    /// Makes the groups. Root's must succeed; a user's are given up where the
    /// system delegated nothing, and CPUs held by affinity.
    fn make_groups(&mut self) -> Result<()> {
        let mut failure = None;
        self.groups.retain(|group| match cgroup::make(group) {
            Ok(()) => true,
            Err(error) => {
                failure.get_or_insert(error);
                false
            }
        });
        match failure {
            Some(error) if !self.engine.map.is_rootless() => return Err(error),
            _ => {}
        }
        if self.limits.memory.is_some() && !self.has_group("memory") {
            // A closed standard error is no reason to stop.
            let _ = writeln!(
                std::io::stderr(),
                "run-docker: memory is not limited: this system gives you no control group of your own"
            );
        }
        if matches!(self.plan.pids, Some(PidsLimit::At(_))) && self.pids == Pids::Unlimited {
            let _ = writeln!(
                std::io::stderr(),
                "run-docker: processes are not limited: this system has no control group for them"
            );
        }
        Ok(())
    }

    fn has_group(&self, what: &str) -> bool {
        self.groups.iter().any(|group| group.limits(what))
    }

    /// The limit of processes of a user without a group for them.
    fn nproc(&self) -> Option<u32> {
        let held = !self.engine.map.is_rootless() || self.has_group("pids");
        let typed = self.plan.ulimits.iter().any(|limit| limit.name == "nproc");
        self.pids.by_limit().filter(|_| !held && !typed)
    }

    /// Brings the container's first process to life.
    fn start(&self, terminal: Option<i32>, keeper: &mut Keeper) -> Result<Child> {
        let scene = Scene {
            plan: self.plan,
            map: &self.engine.map,
            bundle: &self.bundle.path,
            lower: &self.lower,
            root_mode: prepare::root_mode(&self.image),
            init: &self.init,
            files: &self.files,
            grants: &self.grants,
            layout: &self.layout,
            groups: &self.groups,
        };
        let (mut steps, slots) = mounts::steps(&scene)?;
        steps.extend(self.finish(terminal)?);
        let how = Start {
            steps: &steps,
            slots,
            flags: flags(self.plan, &self.engine.map),
            die_with_parent: self.plan.init.die_with_launcher,
            hidden: false,
        };
        process::start(&how, |child| {
            keeper.container(child.pid);
            self.admit(child)
        })
    }

    /// What only the launcher can do for the new process.
    fn admit(&self, child: &Child) -> Result<()> {
        namespaces::write_maps(&self.engine.map, child.pid)?;
        let pid = child.pid.as_raw_nonzero().get();
        for group in &self.groups {
            cgroup::enter(&group.path, pid)?;
        }
        let Some(cpus) = self.limits.cpus.filter(|_| !self.has_group("cpuset")) else { return Ok(()) };
        let mut set = CpuSet::new();
        cpus.iter().filter(|cpu| (*cpu as usize) < CpuSet::MAX_CPU).for_each(|cpu| set.set(cpu as usize));
        rustix::thread::sched_setaffinity(Some(child.pid), &set)
            .context(|| format!("restricting the container to the CPUs {cpus}"))
    }

    /// The steps between the tree and the init, and the init.
    fn finish(&self, terminal: Option<i32>) -> Result<Vec<Step>> {
        let plan = self.plan;
        let mut steps = vec![Step::HostName(c_text(&self.host_name)?)];
        for limit in &plan.ulimits {
            let (name, resource) = refuse::resource(limit)?;
            let number = |n: i64| u64::try_from(n).unwrap_or(libc::RLIM_INFINITY);
            steps.push(Step::Limit { name, resource, soft: number(limit.soft), hard: number(limit.hard) });
        }
        if let Some(number) = self.nproc() {
            let (resource, most) = (libc::RLIMIT_NPROC, number.into());
            steps.push(Step::Limit { name: "nproc", resource, soft: most, hard: most });
        }
        steps.push(Step::WorkingDirectory(mounts::target(&plan.working_dir, Leaf::Directory)?));
        if plan.read_only {
            steps.push(Step::ReadOnlyRoot);
        }
        match terminal {
            Some(socket) => steps.push(Step::Terminal { socket, console: true }),
            None if !plan.stdio.stdin => steps.push(Step::NoInput),
            None => {}
        }
        steps.extend(confinement(&self.state)?);
        if let Some((uid, gid)) = refuse::user_ids(plan)? {
            steps.push(Step::Ids { uid, gid });
            if uid != 0 {
                steps.push(Step::Capabilities { effective: 0 });
            }
        }
        let asked = plan.security_opt.iter().any(|o| o.starts_with("no-new-privileges"));
        if asked
            || matches!(self.engine.map, IdMap::Single { .. })
            || plan.init.privileges == Privileges::Unchanged
        {
            steps.push(Step::NoNewPrivileges);
        }
        let argv = [INIT_PATH].into_iter().chain(plan.command.iter().map(String::as_str));
        let env = self.state.env.iter().map(|v| c_text(v)).collect::<Result<_>>()?;
        steps.push(Step::Exec {
            path: c_text(INIT_PATH)?,
            argv: argv.map(c_text).collect::<Result<_>>()?,
            env,
        });
        Ok(steps)
    }
}

/// What every process of a container gives up: system calls while the filter
/// can still be loaded by right, then capabilities.
pub(crate) fn confinement(state: &State) -> Result<Vec<Step>> {
    let mut steps = vec![Step::Keyring];
    if state.seccomp {
        steps.push(Step::Seccomp(seccomp::program(state.capabilities)?));
    }
    // Alone in a namespace nobody can be anybody else: nothing needs a right.
    let set = if matches!(state.map, IdMap::Single { .. }) { 0 } else { state.capabilities };
    steps.push(Step::Bounding { keep: set });
    steps.push(Step::Capabilities { effective: set });
    Ok(steps)
}

fn machine_cpus() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// The plan's name, another one where it is a template's and taken.
fn free_name(engine: &Native, plan: &RunPlan) -> Result<ContainerName> {
    let taken: Vec<State> = register(&engine.runs()).into_iter().map(|(_, state, _)| state).collect();
    let holder = |name: &str| taken.iter().find(|s| s.summary.name == name);
    let Some(other) = holder(plan.name.as_str()) else { return Ok(plan.name.clone()) };
    if plan.on_collision == OnCollision::Fail {
        let state = if other.exit.is_some() { "ended" } else { "runs" };
        return Err(Error::failure(format!(
            "the name {} is taken by a container that {state}",
            plan.name.as_str()
        ))
        .with_hint(format!("run-docker stop {0}; run-docker rm {0}", plan.name.as_str())));
    }
    (2u32..)
        .find_map(|n| Some(plan.name.with_suffix(n)).filter(|name| holder(name.as_str()).is_none()))
        .ok_or_else(|| Error::failure(format!("every name like {} is taken", plan.name.as_str())))
}

fn summary(plan: &RunPlan, name: &ContainerName, id: &str) -> ContainerSummary {
    let label = |key: &str| plan.labels.get(&format!("run-docker.{key}")).cloned().unwrap_or_default();
    ContainerSummary {
        id: id.to_owned(),
        name: name.as_str().to_owned(),
        image: plan.image.to_string(),
        command: plan.command.join(" "),
        state: "running".to_owned(),
        status: String::new(),
        created: crate::store::now(),
        user: label("user"),
        uid: label("uid").parse().ok(),
        gpus: label("gpus"),
        cpus: label("cpus"),
        project: label("project"),
    }
}

/// `HOST[:INSIDE[:rwm]]`, or `HOST:rwm`.
fn device(text: &str) -> Grant {
    let mut parts = text.split(':');
    let source = parts.next().unwrap_or("");
    let inside = parts.next().filter(|p| p.starts_with('/')).unwrap_or(source);
    Grant { source: source.into(), target: inside.to_owned(), read_only: false }
}

fn device_rules(grants: &[Grant]) -> Vec<String> {
    use std::os::unix::fs::{FileTypeExt, MetadataExt};
    let mut rules: Vec<String> = DEVICE_RULES.iter().map(|r| (*r).to_owned()).collect();
    for metadata in grants.iter().filter_map(|g| std::fs::metadata(&g.source).ok()) {
        let kind = metadata.file_type();
        if kind.is_char_device() || kind.is_block_device() {
            let (major, minor) = (rustix::fs::major(metadata.rdev()), rustix::fs::minor(metadata.rdev()));
            rules.push(format!("{} {major}:{minor} rwm", if kind.is_block_device() { 'b' } else { 'c' }));
        }
    }
    rules
}

fn flags(plan: &RunPlan, map: &IdMap) -> libc::c_int {
    let mut flags = libc::CLONE_NEWNS | libc::CLONE_NEWPID | libc::CLONE_NEWUTS;
    if plan.ipc.as_deref() != Some("host") {
        flags |= libc::CLONE_NEWIPC;
    }
    if plan.network.as_deref() == Some("none") {
        flags |= libc::CLONE_NEWNET;
    }
    if map.is_rootless() {
        flags |= libc::CLONE_NEWUSER;
    }
    flags
}
