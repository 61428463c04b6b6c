//! Rows side by side: most of a row's time is spent waiting for the engine.

use std::sync::Mutex;
use std::sync::mpsc;

use crate::verdict::Verdict;

/// Rows under way at once. More would only wait for each other in the engine.
const WORKERS: usize = 3;

/// A row's question.
pub(crate) type Act<'a> = Box<dyn FnOnce() -> Result<(), String> + Send + 'a>;

/// A named row.
pub(crate) struct Row<'a> {
    pub(crate) name: String,
    pub(crate) act: Act<'a>,
}

impl<'a> Row<'a> {
    pub(crate) fn new(name: impl Into<String>, act: impl FnOnce() -> Result<(), String> + Send + 'a) -> Self {
        Self { name: name.into(), act: Box::new(act) }
    }
}

/// Runs those whose name contains `only`; printed as they end.
pub(crate) fn run_all(rows: Vec<Row<'_>>, only: Option<&str>, verdict: &mut Verdict) {
    let wanted: Vec<Row<'_>> =
        rows.into_iter().filter(|row| only.is_none_or(|only| row.name.contains(only))).collect();
    let queue = Mutex::new(wanted.into_iter());
    let next = || queue.lock().unwrap().next();
    let (sender, ended) = mpsc::channel();
    std::thread::scope(|scope| {
        for _ in 0..WORKERS {
            let sender = sender.clone();
            scope.spawn(move || {
                while let Some(row) = next() {
                    sender.send((row.name, answer(row.act))).unwrap();
                }
            });
        }
        drop(sender);
        for (name, result) in ended {
            verdict.row(&name, result);
        }
    });
}

/// A row that panics has failed; the others go on.
fn answer(act: Act<'_>) -> Result<(), String> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(act)).unwrap_or_else(|cause| {
        let text = cause.downcast_ref::<String>().cloned();
        let text = text.or_else(|| cause.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Err(format!("panicked: {}", text.unwrap_or_default()))
    })
}
