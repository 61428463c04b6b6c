//! A run, from the launcher's side: prepare, clone, let go, watch, tidy up.

use std::io::Write;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use run_docker_core::error::Context as _;
use run_docker_core::plan::{INIT_PATH, OnCollision};
use run_docker_core::types::{ContainerName, MountSource, PidsLimit};
use run_docker_core::{ContainerSummary, Error, ExitStatus, Result, RunPlan};
use run_docker_identity::Privileges;
use rustix::thread::CpuSet;

use crate::attach::{Monitor, Pipes, Wires, let_go_of_streams};
use crate::bundle::{self, Bundle, Keeper, State, register};
use crate::cgroup::{self, Group, Layout, Limits};
use crate::feed::Lent;
use crate::idmap::IdMap;
use crate::mounts::{self, Grant, Scene, c_text};
use crate::namespaces;
use crate::pids::{self, Pids};
use crate::process::{self, Child, Start, Streams};
use crate::scope::{self, Ground, Scope};
use crate::security::{capabilities, fake_root, seccomp};
use crate::setup::{Leaf, Step};
use crate::signals::Signals;
use crate::store::HeldImage;
use crate::{Native, attributes, gpus, prepare, refuse};

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

/// Carries a plan out to its end, the launcher's streams being the container's.
pub(crate) fn run(engine: &Native, plan: &RunPlan) -> Result<ExitStatus> {
    carry_out(engine, plan, image_of(engine, plan)?, &engine.map, None, &mut |_| Ok(()))
}

/// As [`run`], in a monitor; `started` is told the container's id and name.
pub(crate) fn run_watched<'w>(
    engine: &Native,
    plan: &RunPlan,
    monitor: &'w mut Monitor,
    started: Started<'w>,
) -> Result<ExitStatus> {
    let watched = Some((monitor, started));
    carry_out(engine, plan, image_of(engine, plan)?, &engine.map, watched, &mut |_| Ok(()))
}

fn image_of(engine: &Native, plan: &RunPlan) -> Result<Arc<HeldImage>> {
    let held = engine.hold(&plan.image)?;
    // Another run of this process may find the name moved on to another image.
    engine.let_go();
    held.ok_or_else(|| Error::failure(format!("there is no image {} in the store", plan.image)))
}

/// A monitor, and who is told of the start.
type Watched<'w> = (&'w mut Monitor, Started<'w>);

/// Told the container's id and name.
type Started<'w> = &'w mut (dyn FnMut(&str, &str) + 'w);

/// As [`run`], in this image and with ids that stand so; `ended` may take
/// something out of the container's directory before it goes.
pub(crate) fn carry_out(
    engine: &Native,
    plan: &RunPlan,
    image: Arc<HeldImage>,
    map: &IdMap,
    mut watched: Option<Watched<'_>>,
    ended: &mut dyn FnMut(&Path) -> Result<()>,
) -> Result<ExitStatus> {
    let mut run = Run::prepare(engine, plan, image, map)?;
    run.bundle.record(&run.state)?;
    let signals = Signals::arm()?;
    // From here on whatever is made has somebody to remove it.
    let mut keeper = run.bundle.keep(&run.state.groups, map, &run.image.lock)?;
    if run.state.keep {
        keeper.leave_record();
    }
    run.make_groups()?;
    let status = match &mut watched {
        Some(watched) => run.under_monitor(watched, &mut keeper, &signals)?,
        None => {
            let lent = if plan.stdio.stdin { Lent::where_typed()? } else { None };
            let begun = run.begin(None, &mut keeper);
            let feed = lent.map(Lent::returned).transpose()?;
            begun?.watch(&signals, feed.map_or(Streams::Own, Streams::Typed))?
        }
    };
    ended(&run.bundle.path)?;
    let settled = run.settle(status, &mut keeper);
    // Told last: whoever waited for it may use the name at once.
    if let Some((monitor, _)) = &mut watched {
        monitor.end(status);
    }
    settled?;
    Ok(status)
}

/// A run that is prepared on disk; nothing of it lives yet.
struct Run<'a> {
    map: &'a IdMap,
    plan: &'a RunPlan,
    image: Arc<HeldImage>,
    lower: String,
    bundle: Bundle,
    host_name: String,
    files: Vec<(PathBuf, &'static str)>,
    init: PathBuf,
    grants: Vec<Grant>,
    links: Vec<(String, String)>,
    layout: Layout,
    limits: Limits<'a>,
    pids: Pids,
    groups: Vec<Group>,
    scope: Option<Scope>,
    no_devices: bool,
    state: State,
}

impl<'a> Run<'a> {
    fn prepare(engine: &Native, plan: &'a RunPlan, image: Arc<HeldImage>, map: &'a IdMap) -> Result<Self> {
        // What killed launchers left has no name any more.
        bundle::sweep(&engine.runs());
        let name = free_name(engine, plan)?;
        let bundle = Bundle::make(&engine.runs())?;
        let lower = bundle.lower(&image.layers)?;
        if image.is_foreign && map.is_rootless() {
            prepare::seed_upper(&image, &bundle.path.join("upper"))?;
        }
        let host_name = plan.hostname.clone().unwrap_or_else(host_name);
        let mut files = prepare::small_files(&bundle.path, plan, &host_name)?;
        files.extend(prepare::apt_settings(&bundle.path, map)?);
        let init = prepare::init_directory(&engine.own, &engine.options.init_digest, engine.options.init)?;
        let gpu = gpus::grant(&plan.gpus)?;
        let mut gpu_env = gpu.env.clone();
        gpu_env.extend(prepare::library_path(&image, &gpu));
        for hook in &gpu.left_out {
            tell(&format!("a hook of the CDI file is not run: {hook}"));
        }
        let links = gpu.links;
        let mut grants = gpu.files;
        grants.extend(plan.devices.iter().map(|text| device(text)));

        let rootless = map.is_rootless();
        let layout = Layout::detect();
        let no_devices = !rootless && mounts_can_guard(plan)?;
        let cpus = plan.cpus.as_ref().map_or_else(machine_cpus, |list| list.iter().count());
        // On version 1 nobody but root has groups to give.
        let may_limit = !rootless || layout.v2.is_some();
        let ground = Ground::detect(&layout);
        let by_scope = ground.as_ref().is_some_and(|ground| ground.offers("pids"));
        let offered = may_limit && (by_scope || cgroup::offers(&layout, "pids"));
        let kernel = pids::kernel_version(&rustix::system::uname().release().to_string_lossy());
        let pids = Pids::decide(plan.pids, cpus, rootless, offered, kernel);
        let limits = Limits {
            cpus: plan.cpus.as_ref(),
            mems: plan.mems.as_ref(),
            memory: plan.memory.map(|m| m.0),
            pids: pids.by_group(),
            devices: (!rootless && !plan.privileged && !no_devices).then(|| device_rules(&grants)),
        };
        let scope = ground.and_then(|g| Scope::plan(&g, &bundle.id, &limits, &scope::direct(&layout)));
        let groups = match &scope {
            None if may_limit => cgroup::plan(&layout, &bundle.id, &limits),
            _ => Vec::new(),
        };
        let by_group = groups.iter().any(|g| g.controller.split(',').any(|c| c == "devices"));
        let guarded = !rootless && (no_devices || by_group);
        let unconfined = |o: &String| o.starts_with("seccomp") && o.ends_with("unconfined");
        let state = State {
            summary: summary(plan, &name, &bundle.id),
            pid: 0,
            map: map.clone(),
            groups: groups.iter().map(|g| g.path.clone()).collect(),
            scope: scope.as_ref().map(|scope| scope.unit.clone()),
            env: prepare::environment(&image, plan, &host_name, &gpu_env),
            working_dir: plan.working_dir.clone(),
            capabilities: capabilities::decide(plan.privileged, &plan.cap_add, &plan.cap_drop, guarded)?,
            seccomp: !plan.privileged && !plan.security_opt.iter().any(unconfined),
            keep: !plan.remove,
            exit: None,
        };
        Ok(Self {
            map,
            plan,
            image,
            lower,
            bundle,
            host_name,
            files,
            init,
            grants,
            links,
            layout,
            limits,
            pids,
            groups,
            scope,
            no_devices,
            state,
        })
    }

    /// The container comes to life and into the register.
    fn begin(&mut self, terminal: Option<i32>, keeper: &mut Keeper) -> Result<Child> {
        let mut refused = false;
        let child = match self.start(terminal, keeper, &mut refused) {
            // Limits that a user can have no more than before.
            Err(error) if refused && self.map.is_rootless() => {
                tell(&format!("{error}: {}", error.causes().join(": ")));
                (self.scope, self.state.scope) = (None, None);
                self.bundle.record(&self.state)?;
                self.tell_what_is_not_limited();
                self.start(terminal, keeper, &mut refused)?
            }
            other => other?,
        };
        self.bundle.record_pid(child.pid.as_raw_nonzero().get())?;
        Ok(child)
    }

    /// The register knows that it has ended.
    fn settle(&mut self, status: ExitStatus, keeper: &mut Keeper) -> Result<()> {
        if self.state.keep {
            self.state.exit = Some(status.0);
            "exited".clone_into(&mut self.state.summary.state);
            self.bundle.record(&self.state)?;
        } else if self.vanish() {
            keeper.dismiss();
        }
        Ok(())
    }

    fn under_monitor(
        &mut self,
        (monitor, started): &mut Watched<'_>,
        keeper: &mut Keeper,
        signals: &Signals,
    ) -> Result<ExitStatus> {
        let tty = self.plan.stdio.tty;
        monitor.open(&self.bundle.path, tty)?;
        let sockets = process::terminal_sockets(tty)?;
        let pipes = if tty { None } else { Some(Pipes::connect(self.plan.stdio.stdin)?) };
        let terminal = sockets.as_ref().map(|(_, theirs)| theirs.as_raw_fd());
        let child = self.begin(terminal, keeper)?;
        let wires = match (sockets, pipes) {
            (Some((ours, theirs)), _) => {
                drop(theirs);
                Wires::terminal(process::receive(&ours)?)?
            }
            (None, Some(pipes)) => pipes.wires()?,
            (None, None) => return Err(Error::failure("the container has no streams")),
        };
        started(&self.bundle.id, &self.state.summary.name);
        let_go_of_streams()?;
        monitor.watch(&child, signals, wires)
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
            Some(error) if !self.map.is_rootless() => return Err(error),
            _ => {}
        }
        self.tell_what_is_not_limited();
        Ok(())
    }

    fn tell_what_is_not_limited(&self) {
        if self.limits.memory.is_some() && !self.has_group("memory") {
            tell("memory is not limited: this system gives you no control group of your own");
        }
        if matches!(self.plan.pids, Some(PidsLimit::At(_))) && self.pids == Pids::Unlimited {
            tell("processes are not limited: this system has no control group for them");
        }
    }

    /// Ends what others can see of the dead container: its groups, its hold on
    /// the image, its name. False: the keeper must see to it.
    fn vanish(&self) -> bool {
        self.groups.iter().all(|group| cgroup::remove(&group.path).is_ok())
            && self.image.lock.unlock().is_ok()
            && self.bundle.discard()
    }

    fn has_group(&self, what: &str) -> bool {
        self.groups.iter().any(|group| group.limits(what))
            || self.scope.as_ref().is_some_and(|scope| scope.limits(what))
    }

    /// The limit of processes of a user without a group for them.
    fn nproc(&self) -> Option<u32> {
        let held = !self.map.is_rootless() || self.has_group("pids");
        let typed = self.plan.ulimits.iter().any(|limit| limit.name == "nproc");
        self.pids.by_limit().filter(|_| !held && !typed)
    }

    /// Brings the container's first process to life; `refused`: systemd gave
    /// it no scope.
    fn start(&self, terminal: Option<i32>, keeper: &mut Keeper, refused: &mut bool) -> Result<Child> {
        let scene = Scene {
            plan: self.plan,
            map: self.map,
            bundle: &self.bundle.path,
            lower: &self.lower,
            root_mode: prepare::root_mode(&self.image),
            init: &self.init,
            files: &self.files,
            grants: &self.grants,
            links: &self.links,
            layout: &self.layout,
            groups: &self.groups,
            scope: self.scope.as_ref().map(|scope| scope.path.as_path()),
            no_devices: self.no_devices,
        };
        let (mut steps, slots) = mounts::steps(&scene)?;
        steps.extend(self.finish(terminal)?);
        let how = Start {
            steps: &steps,
            slots,
            flags: flags(self.plan, self.map),
            group: self.groups.iter().find_map(Group::open),
            die_with_parent: self.plan.init.die_with_launcher,
            hidden: false,
        };
        process::start(&how, |child| {
            keeper.container(child.pid);
            self.admit(child)?;
            let Some(scope) = &self.scope else { return Ok(()) };
            scope.start(child.pid.as_raw_nonzero().get()).inspect_err(|_| *refused = true)
        })
    }

    /// What only the launcher can do for the new process.
    fn admit(&self, child: &Child) -> Result<()> {
        namespaces::write_maps(self.map, child.pid)?;
        let pid = child.pid.as_raw_nonzero().get();
        // One of version 1 is joined by a step of the process's own.
        for group in self.groups.iter().filter(|group| group.tasks().is_none() && !child.in_group) {
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
        if asked || matches!(self.map, IdMap::Single { .. }) || plan.init.privileges == Privileges::Unchanged
        {
            steps.push(Step::NoNewPrivileges);
        }
        if matches!(self.map, IdMap::SingleRoot { .. }) {
            // Last: it would keep our own steps from changing ids.
            steps.push(Step::Seccomp(fake_root::program()));
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

/// A line for the user. A closed standard error is no reason to stop.
fn tell(what: &str) {
    let _ = writeln!(std::io::stderr(), "run-docker: {what}");
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

/// Whether the flags of mounts keep root of the machine from every device that
/// was not granted, as the whitelist of a control group does: whoever cannot
/// mount cannot lift them. A group more is a directory, a dozen writes and a
/// removal, so it is for those alone who could.
fn mounts_can_guard(plan: &RunPlan) -> Result<bool> {
    let set = capabilities::decide(plan.privileged, &plan.cap_add, &plan.cap_drop, true)?;
    // Some of the host's nodes are asked for, and which of them may be opened
    // is what the whitelist tells.
    let nodes = plan.mounts.iter().any(|mount| match &mount.source {
        MountSource::Bind(source) => matches!(source.as_str(), "/" | "/dev") || source.starts_with("/dev/"),
        MountSource::Volume(_) => false,
    });
    let memory = plan.tmpfs.iter().any(|tmpfs| tmpfs.options.split(',').any(|option| option == "dev"));
    Ok(!capabilities::has(set, "CAP_SYS_ADMIN") && !nodes && !memory && attributes::available())
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
