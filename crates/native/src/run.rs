//! A run, from the launcher's side: prepare, clone, let go, watch, tidy up.

use std::ffi::CString;
use std::io::{Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::PathBuf;

use run_docker_core::error::Context as _;
use run_docker_core::plan::{INIT_PATH, OnCollision};
use run_docker_core::types::ContainerName;
use run_docker_core::{ContainerSummary, Error, ExitStatus, Result, RunPlan};
use run_docker_identity::Privileges;
use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use rustix::process::{Pid, WaitId, WaitIdOptions};
use rustix::thread::CpuSet;

use crate::bundle::{Bundle, Keeper, State, register};
use crate::cgroup::{self, Group, Layout, Limits};
use crate::executor::{Machine, REPORT_BYTES};
use crate::idmap::IdMap;
use crate::mounts::{self, Grant, Scene, c_text};
use crate::namespaces::{self, Side};
use crate::security::{capabilities, seccomp};
use crate::setup::{Leaf, Step};
use crate::signals::{self, Signals};
use crate::store::HeldImage;
use crate::terminal::{RawMode, Relay};
use crate::{Native, gpus, prepare, refuse};

/// Devices that every container may open or make (the list of runc).
const DEVICE_RULES: [&str; 12] = [
    "c *:* m", "b *:* m", "c 1:3 rwm", "c 1:5 rwm", "c 1:7 rwm", "c 1:8 rwm", "c 1:9 rwm", "c 5:0 rwm", "c 5:1 rwm",
    "c 5:2 rwm", "c 136:* rwm", "c 10:200 rwm",
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
    let sockets = terminal_sockets(plan.stdio.tty)?;
    let mut child = run.start(sockets.as_ref().map(|(_, theirs)| theirs.as_raw_fd()), &mut keeper)?;
    run.state.pid = child.pid.as_raw_nonzero().get();
    run.bundle.record(&run.state)?;
    started(&run.bundle.id);
    let status = match sockets {
        Some((ours, theirs)) => {
            drop(theirs);
            let relay = relay(&ours)?;
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
    bundle: Bundle,
    host_name: String,
    files: Vec<(PathBuf, &'static str)>,
    init: PathBuf,
    grants: Vec<Grant>,
    layout: Layout,
    limits: Limits<'a>,
    groups: Vec<Group>,
    state: State,
}

impl<'a> Run<'a> {
    fn prepare(engine: &'a Native, plan: &'a RunPlan) -> Result<Self> {
        let held = engine.hold(&plan.image)?;
        let image = held.ok_or_else(|| Error::failure(format!("there is no image {} in the store", plan.image)))?;
        let name = free_name(engine, plan)?;
        let bundle = Bundle::make(&engine.runs())?;
        bundle.link_layers(&image.layers)?;
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
        let limits = Limits {
            cpus: plan.cpus.as_ref(),
            mems: plan.mems.as_ref(),
            memory: plan.memory.map(|m| m.0),
            devices: (!rootless && !plan.privileged).then(|| device_rules(&grants)),
        };
        // On version 1 nobody but root has groups to give.
        let may_limit = !rootless || layout.v2.is_some();
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
        Ok(Self { engine, plan, image, bundle, host_name, files, init, grants, layout, limits, groups, state })
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
        Ok(())
    }

    fn has_group(&self, controller: &str) -> bool {
        self.groups.iter().any(|g| g.controller.is_empty() || g.controller.split(',').any(|c| c == controller))
    }

    /// Brings the container's first process to life.
    fn start(&self, terminal: Option<i32>, keeper: &mut Keeper) -> Result<Child> {
        let scene = Scene {
            plan: self.plan,
            map: &self.engine.map,
            bundle: &self.bundle.path,
            layers: self.image.layers.len(),
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
        };
        start(&how, |child| {
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
        if asked || matches!(self.engine.map, IdMap::Single { .. }) || plan.init.privileges == Privileges::Unchanged {
            steps.push(Step::NoNewPrivileges);
        }
        let argv = [INIT_PATH].into_iter().chain(plan.command.iter().map(String::as_str));
        let env = self.state.env.iter().map(|v| c_text(v)).collect::<Result<_>>()?;
        steps.push(Step::Exec { path: c_text(INIT_PATH)?, argv: argv.map(c_text).collect::<Result<_>>()?, env });
        Ok(steps)
    }
}

/// What every process of a container gives up: system calls while the filter
/// can still be loaded by right, then capabilities.
pub(crate) fn confinement(state: &State) -> Result<Vec<Step>> {
    let mut steps = Vec::new();
    if state.seccomp {
        steps.push(Step::Seccomp(seccomp::program(state.capabilities)?));
    }
    // Alone in a namespace nobody can be anybody else: nothing needs a right.
    let set = if matches!(state.map, IdMap::Single { .. }) { 0 } else { state.capabilities };
    steps.push(Step::Bounding { keep: set });
    steps.push(Step::Capabilities { effective: set });
    Ok(steps)
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
        return Err(Error::failure(format!("the name {} is taken by a container that {state}", plan.name.as_str()))
            .with_hint(format!("run-docker stop {0}; run-docker rm {0}", plan.name.as_str())));
    }
    (2u32..).find_map(|n| Some(plan.name.with_suffix(n)).filter(|name| holder(name.as_str()).is_none()))
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

/// A pair of sockets for the terminal's other end, where there is a terminal.
pub(crate) fn terminal_sockets(tty: bool) -> Result<Option<(OwnedFd, OwnedFd)>> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
    if !tty {
        return Ok(None);
    }
    let pair = socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None);
    pair.map(Some).context(|| "making a socket for the terminal".to_owned())
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

/// The container's first process, or another one in it.
pub(crate) struct Child {
    pub(crate) pid: Pid,
    pub(crate) pidfd: OwnedFd,
}

/// How a process is started.
struct Start<'a> {
    steps: &'a [Step],
    slots: usize,
    flags: libc::c_int,
    die_with_parent: bool,
}

/// A process in the namespaces that the caller has just entered.
pub(crate) fn start_inside(steps: &[Step]) -> Result<Child> {
    start(&Start { steps, slots: 0, flags: 0, die_with_parent: true }, |_| Ok(()))
}

/// Clones, lets `admit` do what only the launcher can, and waits until the
/// steps are done.
fn start(start: &Start<'_>, admit: impl FnOnce(&Child) -> Result<()>) -> Result<Child> {
    let steps = start.steps;
    let what = || "starting the container's first process".to_owned();
    let (go_in, mut go_out) = std::io::pipe().context(what)?;
    let (mut report_in, report_out) = std::io::pipe().context(what)?;
    let pointers = |strings: &[CString]| strings.iter().map(|s| s.as_ptr()).chain([std::ptr::null()]).collect();
    let (argv, env) = match steps.last() {
        Some(Step::Exec { argv, env, .. }) => (pointers(argv), pointers(env)),
        _ => (Vec::new(), Vec::new()),
    };
    let mut machine = Machine {
        steps,
        slots: (0..start.slots).map(|_| None).collect(),
        argv,
        env,
        go: go_in.into(),
        report: report_out.into(),
        die_with_parent: start.die_with_parent,
        detached: true,
        // A pipe's end that the child must not hold, or it would never see the other close.
        close: go_out.as_raw_fd(),
    };
    #[allow(unsafe_code, reason = "clone(2)")]
    // SAFETY: the child goes straight into Machine::run, which allocates
    // nothing, takes no lock and does not return.
    let side = unsafe { namespaces::clone_into(start.flags) };
    let (pid, pidfd) = match side {
        Ok(Side::Child) => machine.run(),
        Ok(Side::Parent { pid, pidfd }) => (pid, pidfd),
        Err(errno) => {
            return Err(Error::failure(what()).with_source(errno).with_hint(namespaces::user_namespace_hint()));
        }
    };
    drop(machine);
    let child = Child { pid, pidfd };
    let prepared = admit(&child);
    if prepared.is_ok() {
        // A child that is gone tells by its report.
        let _ = go_out.write_all(b"g");
    }
    drop(go_out);
    if let Err(error) = prepared {
        let _ = child.wait();
        return Err(error);
    }
    let mut report = Vec::new();
    report_in.read_to_end(&mut report).context(what)?;
    if report.is_empty() {
        return Ok(child);
    }
    let _ = child.wait();
    Err(failed_step(steps, &report))
}

fn failed_step(steps: &[Step], report: &[u8]) -> Error {
    let word = |at: usize| report.get(at..at + 4).and_then(|b| b.try_into().ok());
    let (Some(number), Some(code)) = (word(0).map(u32::from_le_bytes), word(REPORT_BYTES - 4).map(i32::from_le_bytes)) else {
        return Error::failure("the container's first process ended early");
    };
    let step = steps.get(number as usize).map_or_else(|| "starting".to_owned(), ToString::to_string);
    Error::failure(format!("setting up the container: {step}")).with_source(Errno::from_raw_os_error(code))
}

impl Child {
    fn wait(&self) -> Result<ExitStatus> {
        let what = || "waiting for the container".to_owned();
        loop {
            match rustix::process::waitid(WaitId::PidFd(self.pidfd.as_fd()), WaitIdOptions::EXITED) {
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno).context(what),
                Ok(status) => {
                    let code = status.and_then(|s| s.exit_status().or_else(|| s.terminating_signal().map(|n| 128 + n)));
                    return Ok(ExitStatus(code.and_then(|c| u8::try_from(c & 0xff).ok()).unwrap_or(125)));
                }
            }
        }
    }

    /// Passes signals and bytes on until it ends.
    pub(crate) fn watch(&mut self, signals: &Signals, mut relay: Option<Relay>) -> Result<ExitStatus> {
        let stdin = std::io::stdin();
        let stdin = stdin.as_fd();
        loop {
            let (ended, told, bytes) = {
                let mut fds = vec![
                    PollFd::new(&self.pidfd, PollFlags::IN),
                    PollFd::new(signals.fd(), PollFlags::IN),
                ];
                if let Some(relay) = relay.as_ref().filter(|r| r.is_open()) {
                    fds.extend(relay.interests(&stdin));
                }
                match rustix::event::poll(&mut fds, None) {
                    Ok(_) | Err(Errno::INTR) => {}
                    Err(errno) => return Err(errno).context(|| "waiting for the container".to_owned()),
                }
                let bytes = (fds.len() > 2).then(|| (fds[2].revents(), fds[3].revents()));
                (!fds[0].revents().is_empty(), !fds[1].revents().is_empty(), bytes)
            };
            if let (Some(relay), Some((input, output))) = (&mut relay, bytes) {
                relay.pass(input, output);
            }
            while let Some(signal) = told.then(|| signals.next()).flatten() {
                match (signal, &relay) {
                    (libc::SIGWINCH, Some(relay)) => relay.resize(),
                    (libc::SIGWINCH, None) => {}
                    (signal, _) => signals::send(&self.pidfd, signal),
                }
            }
            if ended {
                if let Some(relay) = &mut relay {
                    relay.drain();
                }
                return self.wait();
            }
        }
    }
}

/// The launcher's side of the terminal that comes through the socket.
pub(crate) fn relay(socket: &OwnedFd) -> Result<Relay> {
    Relay::new(receive(socket)?)
}

/// The terminal's other end, sent by the container's first process.
fn receive(socket: &OwnedFd) -> Result<OwnedFd> {
    use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
    let what = || "taking over the container's terminal".to_owned();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    recvmsg(socket, &mut [std::io::IoSliceMut::new(&mut byte)], &mut control, RecvFlags::CMSG_CLOEXEC).context(what)?;
    let received = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
        _ => None,
    });
    received.ok_or_else(|| Error::failure(what()))
}
