//! The process that a container with a terminal, or one in the background, has
//! for a parent: it holds the container's streams, writes the log, and serves
//! whoever is attached. It lives in a session of its own, so that neither a
//! terminal's keys nor its end reach it.

use std::collections::VecDeque;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use run_docker_core::error::Context as _;
use run_docker_core::{ExitStatus, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use super::frames::{Hello, Inbox, Kind, frame, size};
use super::log::{Log, Stream};
use super::wires::Wires;
use crate::process::Child;
use crate::signals::{self, Signals};

/// Name of the socket in the container's directory, which is its user's alone.
pub(super) const SOCKET: &str = "attach";

/// Bytes that may wait for somebody who does not read.
const MAX_WAITING: usize = 1 << 20;

/// For those attached to read the last words.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// Somebody who is attached.
#[derive(Debug)]
struct Client {
    socket: OwnedFd,
    inbox: Inbox,
    waiting: VecDeque<u8>,
    is_front: bool,
    greeted: bool,
}

/// What it was told to do about a client.
enum Fate {
    Stays,
    Goes,
    /// The launcher is gone without a word.
    Orphaned,
}

/// The monitor.
#[derive(Debug, Default)]
pub(crate) struct Monitor {
    listener: Option<OwnedFd>,
    clients: Vec<Client>,
    log: Option<Log>,
    tty: bool,
}

impl Monitor {
    /// With the launcher already attached.
    pub(super) fn with_front(socket: OwnedFd) -> Result<Self> {
        let mut monitor = Self::default();
        monitor.admit(socket)?;
        if let Some(client) = monitor.clients.last_mut() {
            client.is_front = true;
        }
        Ok(monitor)
    }

    /// From here on others can come; a log is kept where nobody is there at first.
    /// Whoever is there is welcome before the command begins: it may have written
    /// and ended before their first word is read.
    pub(crate) fn open(&mut self, bundle: &Path, tty: bool) -> Result<()> {
        let what = || "opening the container to those who attach".to_owned();
        self.tty = tty;
        if self.clients.is_empty() {
            self.log = Some(Log::create(&bundle.join(crate::bundle::LOG)).context(what)?);
        }
        self.clients.iter_mut().for_each(|client| client.welcome(tty));
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket =
            rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None).context(what)?;
        // By descriptor: the path may be longer than a socket's name can be.
        let dir = crate::trees::open_dir(bundle).context(what)?;
        rustix::net::bind(&socket, &address(&dir).context(what)?).context(what)?;
        rustix::net::listen(&socket, 16).context(what)?;
        self.listener = Some(socket);
        Ok(())
    }

    fn admit(&mut self, socket: OwnedFd) -> Result<()> {
        let what = || "taking on somebody who attaches".to_owned();
        set_nonblocking(&socket).context(what)?;
        let waiting = VecDeque::new();
        self.clients.push(Client {
            socket,
            inbox: Inbox::default(),
            waiting,
            is_front: false,
            greeted: false,
        });
        Ok(())
    }

    /// Passes bytes and signals on until the container has ended.
    pub(crate) fn watch(&mut self, child: &Child, signals: &Signals, mut wires: Wires) -> Result<ExitStatus> {
        loop {
            let ready = self.wait(child, signals, &wires)?;
            for (i, events) in ready.outputs.iter().enumerate().rev() {
                if !events.is_empty() {
                    self.take_output(&mut wires, i);
                }
            }
            wires.write_input();
            self.serve(child, &mut wires, &ready.clients);
            if ready.listener {
                self.accept();
            }
            while let Some(signal) = ready.signals.then(|| signals.next()).flatten() {
                if !matches!(signal, libc::SIGWINCH | libc::SIGCONT) {
                    signals::send(&child.pidfd, signal);
                }
            }
            if ready.ended {
                while !wires.outputs.is_empty() && self.take_output(&mut wires, 0) {}
                return child.wait();
            }
        }
    }

    /// Tells those who are there how it ended.
    pub(crate) fn end(&mut self, status: ExitStatus) {
        self.tell(Kind::Exit, &[status.0]);
        self.flush();
    }

    fn wait(&self, child: &Child, signals: &Signals, wires: &Wires) -> Result<Ready> {
        let mut fds =
            vec![PollFd::new(&child.pidfd, PollFlags::IN), PollFd::new(signals.fd(), PollFlags::IN)];
        if let Some(listener) = &self.listener {
            fds.push(PollFd::new(listener, PollFlags::IN));
        }
        let first_client = fds.len();
        for client in &self.clients {
            let mut events = PollFlags::empty();
            events.set(PollFlags::IN, wires.takes_more());
            events.set(PollFlags::OUT, !client.waiting.is_empty());
            fds.push(PollFd::new(&client.socket, events));
        }
        let first_output = fds.len();
        // A program that writes faster than somebody reads waits, as at a terminal.
        let full = self.clients.iter().any(|client| client.waiting.len() > MAX_WAITING);
        let events = if full { PollFlags::empty() } else { PollFlags::IN };
        fds.extend(wires.outputs.iter().map(|(_, fd)| PollFd::new(fd, events)));
        let after = fds.len();
        if let Some(input) = wires.input.as_ref().filter(|_| wires.has_input()) {
            fds.push(PollFd::new(input, PollFlags::OUT));
        }
        // A stream that is at its end says so for ever: do not ask while nothing may be read.
        let limit = full.then_some(Timespec { tv_sec: 0, tv_nsec: 50_000_000 });
        match poll(&mut fds, limit.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno).context(|| "waiting for the container".to_owned()),
        }
        let events = |range: std::ops::Range<usize>| fds[range].iter().map(PollFd::revents).collect();
        let outputs: Vec<PollFlags> = events(first_output..after);
        Ok(Ready {
            ended: !fds[0].revents().is_empty(),
            signals: !fds[1].revents().is_empty(),
            listener: self.listener.is_some() && !fds[2].revents().is_empty(),
            clients: events(first_client..first_output),
            outputs: if full { Vec::new() } else { outputs },
        })
    }

    /// One chunk of an output to everybody; false when there is none for now.
    fn take_output(&mut self, wires: &mut Wires, index: usize) -> bool {
        let mut buffer = [0; 64 * 1024];
        let Some((stream, fd)) = wires.outputs.get(index) else { return false };
        let stream = *stream;
        match rustix::io::read(fd, &mut buffer) {
            // EIO: a terminal whose last process has closed it.
            Ok(0) | Err(Errno::IO) => {
                wires.outputs.remove(index);
                true
            }
            Ok(count) => {
                if let Some(log) = &mut self.log {
                    log.write(stream, &buffer[..count]);
                }
                self.tell(
                    if stream == Stream::Output { Kind::Output } else { Kind::Error },
                    &buffer[..count],
                );
                true
            }
            Err(_) => false,
        }
    }

    fn tell(&mut self, kind: Kind, payload: &[u8]) {
        let bytes = frame(kind, payload);
        for client in self.clients.iter_mut().filter(|client| client.greeted) {
            client.waiting.extend(&bytes);
            client.write();
        }
    }

    fn accept(&mut self) {
        let Some(listener) = &self.listener else { return };
        if let Ok(socket) = rustix::net::accept_with(listener, SocketFlags::CLOEXEC) {
            // Whoever cannot be served sees the end of the connection.
            let _ = self.admit(socket);
        }
    }

    fn serve(&mut self, child: &Child, wires: &mut Wires, events: &[PollFlags]) {
        for index in (0..events.len()).rev() {
            let Some(client) = self.clients.get_mut(index) else { continue };
            if events[index].contains(PollFlags::OUT) {
                client.write();
            }
            if !events[index].intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR) {
                continue;
            }
            match client.read(child, wires, self.tty) {
                Fate::Stays => {}
                Fate::Goes => drop(self.clients.remove(index)),
                Fate::Orphaned => {
                    self.clients.remove(index);
                    // As when the launcher of a run without a terminal is killed.
                    signals::send(&child.pidfd, libc::SIGKILL);
                }
            }
        }
    }

    /// Gives everybody time to read what is left.
    fn flush(&mut self) {
        let until = Instant::now() + LAST_WORDS;
        while Instant::now() < until {
            self.clients.retain(|client| !client.waiting.is_empty());
            if self.clients.is_empty() {
                return;
            }
            let mut fds: Vec<PollFd<'_>> =
                self.clients.iter().map(|client| PollFd::new(&client.socket, PollFlags::OUT)).collect();
            let _ = poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 100_000_000 }));
            self.clients.iter_mut().for_each(Client::write);
        }
    }
}

impl Client {
    fn write(&mut self) {
        while !self.waiting.is_empty() {
            self.waiting.make_contiguous();
            match rustix::net::send(
                &self.socket,
                self.waiting.as_slices().0,
                rustix::net::SendFlags::NOSIGNAL,
            ) {
                Ok(count) => drop(self.waiting.drain(..count)),
                Err(Errno::AGAIN | Errno::INTR) => return,
                // It went; reading tells.
                Err(_) => self.waiting.clear(),
            }
        }
    }

    /// Once: from here on it gets what the container writes.
    fn welcome(&mut self, tty: bool) {
        if !std::mem::replace(&mut self.greeted, true) {
            self.waiting.extend(&frame(Kind::Welcome, &[u8::from(tty)]));
            self.write();
        }
    }

    fn read(&mut self, child: &Child, wires: &mut Wires, tty: bool) -> Fate {
        let mut buffer = [0; 64 * 1024];
        let gone = if self.is_front { Fate::Orphaned } else { Fate::Goes };
        match rustix::io::read(&self.socket, &mut buffer) {
            Ok(0) => return gone,
            Ok(count) => self.inbox.feed(&buffer[..count]),
            Err(Errno::AGAIN | Errno::INTR) => return Fate::Stays,
            Err(_) => return gone,
        }
        loop {
            match self.inbox.next() {
                Ok(None) => return Fate::Stays,
                Ok(Some((Kind::Leave, _))) => return Fate::Goes,
                Ok(Some((kind, payload))) => self.obey(kind, &payload, child, wires, tty),
                Err(()) => return gone,
            }
        }
    }

    fn obey(&mut self, kind: Kind, payload: &[u8], child: &Child, wires: &mut Wires, tty: bool) {
        match kind {
            Kind::Hello => {
                self.welcome(tty);
                let Some((Some(size), is_front)) = Hello::parse(payload).map(|h| (h.size, h.is_front)) else {
                    return;
                };
                // Of another size until theirs comes by itself: the program draws itself anew.
                let more = u16::from(!is_front);
                wires.resize((size.0.saturating_add(more), size.1.saturating_add(more)));
            }
            Kind::Input => wires.type_in(payload),
            Kind::EndOfInput => wires.end_input(),
            Kind::Size => {
                if let Some(size) = size(payload) {
                    wires.resize(size);
                }
            }
            Kind::Signal => {
                if let Ok(number) = payload.try_into().map(i32::from_le_bytes) {
                    signals::send(&child.pidfd, number);
                }
            }
            Kind::Leave | Kind::Welcome | Kind::Output | Kind::Error | Kind::Exit => {}
        }
    }
}

struct Ready {
    ended: bool,
    signals: bool,
    listener: bool,
    clients: Vec<PollFlags>,
    outputs: Vec<PollFlags>,
}

/// The socket's address by a descriptor of its directory.
pub(super) fn address(dir: &OwnedFd) -> rustix::io::Result<SocketAddrUnix> {
    use std::os::fd::AsRawFd as _;
    SocketAddrUnix::new(format!("/proc/self/fd/{}/{SOCKET}", dir.as_raw_fd()))
}

pub(super) fn set_nonblocking(fd: &impl AsFd) -> rustix::io::Result<()> {
    let flags = rustix::fs::fcntl_getfl(fd)?;
    rustix::fs::fcntl_setfl(fd, flags | rustix::fs::OFlags::NONBLOCK)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A command may have ended before its launcher has said a word.
    #[test]
    fn the_first_words_reach_whoever_started_it() {
        let dir = tempfile::tempdir().unwrap();
        let (ours, theirs) =
            rustix::net::socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)
                .unwrap();
        let mut monitor = Monitor::with_front(theirs).unwrap();
        monitor.open(dir.path(), true).unwrap();
        monitor.tell(Kind::Output, b"first");
        monitor.end(ExitStatus(9));
        drop(monitor);
        let mut inbox = Inbox::default();
        let mut buffer = [0; 256];
        while let Ok(count @ 1..) = rustix::io::read(&ours, &mut buffer) {
            inbox.feed(&buffer[..count]);
        }
        let told: Vec<_> = std::iter::from_fn(|| inbox.next().unwrap()).collect();
        let expected = [(Kind::Welcome, vec![1]), (Kind::Output, b"first".to_vec()), (Kind::Exit, vec![9])];
        assert_eq!(told, expected);
    }
}
