//! Bytes between the launcher's standard streams and a hijacked connection.
//!
//! Two plain threads with one buffer each: nothing is parsed that need not be,
//! nothing is buffered twice, and a gigabyte goes through in constant memory.

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::thread;

use run_docker_core::Result;
use run_docker_core::error::Context as _;
use run_docker_identity::Farewell;
use rustix::event::{PollFd, PollFlags, poll};
use tokio::sync::oneshot;

use super::farewell::Filter;

/// Bytes moved at once.
const BUFFER: usize = 64 * 1024;

/// Stack of a copying thread.
const STACK: usize = 128 * 1024;

/// How output ended.
#[derive(Debug)]
pub(super) enum OutputEnd {
    /// The engine has no more.
    Finished,
    /// The command ended with this code, and nobody is left who could write.
    Farewell(u8),
    /// Nobody reads our standard output or error any more.
    ReaderGone,
    /// The connection broke, or our output cannot be written (a full disk).
    Failed(std::io::Error),
}

/// Copying under way. Dropped, it stops taking input: the next container of
/// `num_iters` must find its own.
pub(super) struct Streams {
    pub(super) output: oneshot::Receiver<OutputEnd>,
    pub(super) stop_input: Option<UnixStream>,
}

/// Starts copying. `tty`: the output is one raw stream, else frames, behind which
/// the farewell may come.
pub(super) fn connect(
    stream: UnixStream,
    stdin: bool,
    tty: bool,
    farewell: Option<&Farewell>,
) -> Result<Streams> {
    let what = || "connecting the standard streams".to_owned();
    let stop_input = if stdin {
        let (stop, stopped) = UnixStream::pair().context(what)?;
        let writer = stream.try_clone().context(what)?;
        spawn("stdin", move || copy_input(writer, &stopped, tty)).context(what)?;
        Some(stop)
    } else {
        None
    };
    let (sender, output) = oneshot::channel();
    let filters = [Filter::new(farewell), Filter::new(farewell)];
    spawn("stdout", move || {
        let end = if tty { copy_raw(stream) } else { copy_frames(stream, filters) };
        // Nobody listens once the command has ended.
        let _ = sender.send(end);
    })
    .context(what)?;
    Ok(Streams { output, stop_input })
}

fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> std::io::Result<thread::JoinHandle<()>> {
    thread::Builder::new().name(name.to_owned()).stack_size(STACK).spawn(body)
}

/// Standard input to the connection; its end is passed on as an end. A terminal
/// in raw mode has none: it hung up, which a signal says better. (The engine
/// would take the end for the detach keys, and the command would run on.)
fn copy_input(mut stream: UnixStream, stopped: &UnixStream, tty: bool) {
    let stdin = std::io::stdin();
    let mut buffer = vec![0; BUFFER];
    loop {
        if !wait_readable(stdin.as_fd(), stopped.as_fd()) {
            return;
        }
        match rustix::io::read(&stdin, &mut buffer) {
            Ok(0) => break,
            Ok(n) => {
                if stream.write_all(&buffer[..n]).is_err() {
                    return;
                }
            }
            Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => {}
            // A terminal that hung up gives EIO: an end like any other.
            Err(_) => break,
        }
    }
    if tty {
        return;
    }
    // Without this the command waits for input for ever.
    let _ = stream.shutdown(Shutdown::Write);
}

/// True when there is input, false when nobody wants it any more.
fn wait_readable(input: BorrowedFd<'_>, stopped: BorrowedFd<'_>) -> bool {
    let mut fds =
        [PollFd::from_borrowed_fd(input, PollFlags::IN), PollFd::from_borrowed_fd(stopped, PollFlags::IN)];
    loop {
        match poll(&mut fds, None) {
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => return false,
            Ok(_) => return fds[1].revents().is_empty(),
        }
    }
}

fn copy_raw(mut stream: UnixStream) -> OutputEnd {
    let mut buffer = vec![0; BUFFER];
    let mut out = Out::new(1);
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return OutputEnd::Finished,
            Ok(n) => {
                if let Err(end) = out.write(&buffer[..n]) {
                    return end;
                }
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return OutputEnd::Failed(error),
        }
    }
}

/// Frames: one byte that names the stream, three of nothing, four of length
/// (Docker Engine API, "Attach to a container").
fn copy_frames(stream: UnixStream, [mut of_stdout, mut of_stderr]: [Filter; 2]) -> OutputEnd {
    let mut stream = std::io::BufReader::with_capacity(BUFFER, stream);
    let mut buffer = vec![0; BUFFER];
    let (mut stdout, mut stderr) = (Out::new(1), Out::new(2));
    loop {
        let mut head = [0u8; 8];
        match read_frame_head(&mut stream, &mut head) {
            Ok(true) => {}
            Ok(false) => {
                let kept = of_stdout.finish(&mut |bytes| stdout.write(bytes));
                return match kept.and_then(|()| of_stderr.finish(&mut |bytes| stderr.write(bytes))) {
                    Ok(()) => OutputEnd::Finished,
                    Err(end) => end,
                };
            }
            Err(error) => return OutputEnd::Failed(error),
        }
        let mut left = u32::from_be_bytes([head[4], head[5], head[6], head[7]]) as usize;
        let (filter, out) =
            if head[0] == 2 { (&mut of_stderr, &mut stderr) } else { (&mut of_stdout, &mut stdout) };
        while left > 0 {
            let wanted = left.min(BUFFER);
            match stream.read(&mut buffer[..wanted]) {
                Ok(0) => return OutputEnd::Failed(ErrorKind::UnexpectedEof.into()),
                Ok(n) => {
                    left -= n;
                    if let Err(end) = filter.pass(&buffer[..n], &mut |bytes| out.write(bytes)) {
                        return end;
                    }
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return OutputEnd::Failed(error),
            }
        }
        if let (Some(code), Some(_)) = (of_stdout.code(), of_stderr.code()) {
            return OutputEnd::Farewell(code);
        }
    }
}

/// False at the end between two frames.
fn read_frame_head(stream: &mut impl Read, head: &mut [u8; 8]) -> std::io::Result<bool> {
    let mut have = 0;
    while have < head.len() {
        match stream.read(&mut head[have..]) {
            Ok(0) if have == 0 => return Ok(false),
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(n) => have += n,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}

/// Standard output or error, unbuffered.
struct Out {
    number: u8,
}

impl Out {
    fn new(number: u8) -> Self {
        Self { number }
    }

    fn write(&mut self, mut bytes: &[u8]) -> std::result::Result<(), OutputEnd> {
        let (stdout, stderr) = (std::io::stdout(), std::io::stderr());
        let fd = if self.number == 1 { stdout.as_fd() } else { stderr.as_fd() };
        while !bytes.is_empty() {
            match rustix::io::write(fd, bytes) {
                Ok(n) => bytes = &bytes[n..],
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::AGAIN) => {
                    // Somebody made our stream non-blocking; wait until it takes more.
                    let _ = poll(&mut [PollFd::from_borrowed_fd(fd, PollFlags::OUT)], None);
                }
                Err(rustix::io::Errno::PIPE | rustix::io::Errno::IO) => return Err(OutputEnd::ReaderGone),
                Err(errno) => return Err(OutputEnd::Failed(errno.into())),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frames_head_may_come_in_pieces_and_ends_cleanly() {
        let mut head = [0; 8];
        assert!(!read_frame_head(&mut &b""[..], &mut head).unwrap());
        assert!(read_frame_head(&mut &b"\x01\0\0\0\0\0\0\x05hello"[..], &mut head).unwrap());
        assert!(read_frame_head(&mut &b"\x01\0\0"[..], &mut head).is_err());
        let mut pieces = Read::chain(&b"\x02\0\0"[..], &b"\0\0\0\0\x01x"[..]);
        assert!(read_frame_head(&mut pieces, &mut head).unwrap());
        assert_eq!(head, [2, 0, 0, 0, 0, 0, 0, 1]);
    }
}
