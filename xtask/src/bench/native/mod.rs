//! What a start on the native engine costs beside everything else that starts
//! one: as root, as a user with granted ids, and as one without.

mod growth;
mod memory;
mod peers;
mod sample;
mod starts;
mod unpack;

use super::{Findings, Setup};
use crate::fault::Own;

pub(crate) use sample::{Line, run as sample};

pub(super) fn measure(setup: &Setup) -> Findings {
    let mut findings = Findings::new("native", "A start on the native engine, and what stays of it");
    let groups = Own::enter();
    starts::measure(setup, &mut findings);
    growth::measure(setup, &groups, &mut findings);
    memory::measure(setup, &mut findings);
    unpack::measure(setup, &mut findings);
    findings
}
