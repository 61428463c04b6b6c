//! The init's last words, taken out of the command's output.
//!
//! An engine tells the end of a container once it has taken it apart, and the
//! network alone is most of the time that a short command takes. The init knows
//! how the command ended at once, and says so behind its output, on both streams:
//! what came before is then all there is, and the launcher may go. A command that
//! ends without (killed, or its output not read) is waited for as any other.

use memchr::memchr_iter;
use memchr::memmem::Finder;
use run_docker_core::error::Context as _;
use run_docker_core::plan::Returns;
use run_docker_core::{EngineKind, Result, RunPlan};
use run_docker_identity::Farewell;
use run_docker_identity::farewell::{self, TAIL_BYTES};

/// Random bytes of a nonce.
const NONCE_BYTES: usize = 16;

/// One for a run that is over when its command is. (Podman takes a container apart
/// by a program of its own, in whose way the next one would be.)
pub(super) fn for_plan(plan: &RunPlan, engine: EngineKind) -> Result<Option<Farewell>> {
    if engine != EngineKind::Docker || plan.returns != Returns::AtEnd {
        return Ok(None);
    }
    let mut bytes = [0u8; NONCE_BYTES];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())
        .context(|| "asking the kernel for random bytes".to_owned())?;
    Ok(Some(Farewell::new(bytes.iter().map(|byte| format!("{byte:02x}")).collect())))
}

/// The one that a container was created with.
pub(super) fn of_container(env: &[String]) -> Option<Farewell> {
    Farewell::from_env(|name| {
        env.iter().find_map(|entry| entry.strip_prefix(name)?.strip_prefix('=').map(str::to_owned))
    })
}

/// One stream of output, its farewell taken out.
pub(super) struct Filter {
    /// Finds what the farewell begins with; made once, since that takes longer than
    /// to look through a chunk. `None`: there will be no farewell.
    beginning: Option<Finder<'static>>,
    /// The end of what came, while it may be the farewell's beginning.
    held: Vec<u8>,
    code: Option<u8>,
}

impl Filter {
    pub(super) fn new(farewell: Option<&Farewell>) -> Self {
        let beginning = farewell.map(|f| Finder::new(&f.beginning()).into_owned());
        Self { beginning, held: Vec::new(), code: None }
    }

    /// How the command ended, once that was said.
    pub(super) fn code(&self) -> Option<u8> {
        self.code
    }

    /// Gives `out` what is the command's own.
    pub(super) fn pass<E>(
        &mut self,
        bytes: &[u8],
        out: &mut impl FnMut(&[u8]) -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        let finder = match &self.beginning {
            Some(finder) if self.code.is_none() => finder,
            _ => return out(bytes),
        };
        let all;
        let bytes = if self.held.is_empty() {
            bytes
        } else {
            all = [std::mem::take(&mut self.held).as_slice(), bytes].concat();
            &all
        };
        let beginning = finder.needle();
        let (start, tail) = match finder.find(bytes) {
            Some(start) => (start, bytes[start + beginning.len()..].first_chunk::<TAIL_BYTES>()),
            None => (bytes.len() - begun(beginning, bytes), None),
        };
        if start > 0 {
            out(&bytes[..start])?;
        }
        let Some(tail) = tail else {
            self.held = bytes[start..].to_vec();
            return Ok(());
        };
        self.code = farewell::code(*tail);
        let end = start + beginning.len() + TAIL_BYTES;
        // The init writes whole words: this is something else.
        let rest = if self.code.is_some() { &bytes[end..] } else { &bytes[start..] };
        if rest.is_empty() { Ok(()) } else { out(rest) }
    }

    /// The stream has ended: what was held is no farewell.
    pub(super) fn finish<E>(
        &mut self,
        out: &mut impl FnMut(&[u8]) -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        let held = std::mem::take(&mut self.held);
        if held.is_empty() { Ok(()) } else { out(&held) }
    }
}

/// How many of the last bytes may be the first ones of `beginning`.
fn begun(beginning: &[u8], bytes: &[u8]) -> usize {
    let last = &bytes[bytes.len() - bytes.len().min(beginning.len() - 1)..];
    let mut ends = memchr_iter(beginning[0], last).map(|at| &last[at..]);
    ends.find(|end| beginning.starts_with(end)).map_or(0, <[u8]>::len)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn farewell() -> Farewell {
        Farewell::new("00ff".to_owned())
    }

    /// What is passed of pieces, and the code.
    fn pass(pieces: &[&[u8]]) -> (Vec<u8>, Option<u8>) {
        let mut filter = Filter::new(Some(&farewell()));
        let mut passed = Vec::new();
        let mut out = |bytes: &[u8]| {
            passed.extend_from_slice(bytes);
            Ok::<(), ()>(())
        };
        for piece in pieces {
            filter.pass(piece, &mut out).unwrap();
        }
        filter.finish(&mut out).unwrap();
        let code = filter.code();
        (passed, code)
    }

    #[test]
    fn a_farewell_is_taken_out_wherever_it_is_cut() {
        let whole = [b"output\0\nrun-docker-init: ".as_slice(), farewell().words(7).as_bytes()].concat();
        for cut in 0..=whole.len() {
            let (passed, code) = pass(&[&whole[..cut], &whole[cut..]]);
            assert_eq!(
                (passed.as_slice(), code),
                (b"output\0\nrun-docker-init: ".as_slice(), Some(7)),
                "{cut}"
            );
        }
        let bytes: Vec<&[u8]> = whole.chunks(1).collect();
        assert_eq!(pass(&bytes).1, Some(7));
        assert_eq!(pass(&[farewell().words(255).as_bytes(), b"late"]), (b"late".to_vec(), Some(255)));
    }

    #[test]
    fn what_is_none_passes_as_it_is() {
        let another = Farewell::new("00fe".to_owned()).words(7);
        let words = farewell().words(7);
        let unfinished = &words[..words.len() - 1];
        let no_code = farewell().beginning() + "abc\n";
        for text in ["", "a", "run-docker-init: 00f", another.as_str(), unfinished, &no_code] {
            assert_eq!(pass(&[text.as_bytes()]), (text.as_bytes().to_vec(), None), "{text}");
            for cut in 0..=text.len() {
                let (passed, code) = pass(&[&text.as_bytes()[..cut], &text.as_bytes()[cut..]]);
                assert_eq!((passed.as_slice(), code), (text.as_bytes(), None), "{text} {cut}");
            }
        }
    }

    #[test]
    fn a_container_tells_its_own() {
        let env = ["PATH=/bin".to_owned(), "RUN_DOCKER_SPEC_FAREWELL=00ff".to_owned()];
        assert_eq!(of_container(&env), Some(farewell()));
        assert_eq!(of_container(&env[..1]), None);
    }
}
