//! Many at once.

use std::process::{Child, Stdio};

use super::groups::Own;
use super::place::{IMAGE, Place};
use crate::verdict::Verdict;

/// Starts at one moment.
const STARTS: usize = 200;

pub(super) fn rows(places: &[Place], groups: &Own, verdict: &mut Verdict) {
    for place in places {
        let who = place.who.words();
        let result = all_at_once(place).and_then(|()| place.is_clean(groups));
        verdict.row(&format!("{who}: {STARTS} starts at once"), result);
        let result = two_imports(place).and_then(|()| place.is_clean(groups));
        let result = result.and_then(|()| place.image_is_whole());
        verdict.row(&format!("{who}: two imports of one image at once"), result);
    }
}

fn all_at_once(place: &Place) -> Result<(), String> {
    let start = |n: usize| {
        let script = format!("mkdir /tmp/made; echo {n} | tee /tmp/made/file");
        place.run(place.limits(), &script).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let children: Vec<Child> = (0..STARTS).map(start).collect();
    let mut wrong = Vec::new();
    for (n, child) in children.into_iter().enumerate() {
        let output = child.wait_with_output().map_err(|e| e.to_string())?;
        if !output.status.success() || output.stdout != format!("{n}\n").as_bytes() {
            wrong.push(format!("{n}: {}: {}", output.status, String::from_utf8_lossy(&output.stderr)));
        }
    }
    if wrong.is_empty() { Ok(()) } else { Err(format!("{} failed, first: {}", wrong.len(), wrong[0])) }
}

fn two_imports(place: &Place) -> Result<(), String> {
    super::place::succeed(&mut place.command(&["image", "remove", IMAGE]))?;
    let start = || place.import().stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    for child in [start(), start()] {
        let output = child.wait_with_output().map_err(|e| e.to_string())?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned());
        }
    }
    Ok(())
}
