//! The time on the user's clock.
//!
//! One file is read: the zone's own. (A library's search for the system's zone
//! lists every directory of /usr/share/zoneinfo first, which takes longer than
//! all else that is found out about a host.)

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use jiff::tz::TimeZone;
use run_docker_core::facts::LocalTime;

/// Where zones lie, and where the machine's own is.
const ZONES: &str = "/usr/share/zoneinfo";
const LOCALTIME: &str = "/etc/localtime";

/// Now, in local time.
pub fn now() -> LocalTime {
    let zone = std::env::var("TZ").ok();
    local(Timestamp::now(), zone_of(zone.as_deref(), Path::new(ZONES), Path::new(LOCALTIME)))
}

/// The zone by the rules of tzset(3): TZ as a file or as rules of its own, the
/// machine's file, else UTC.
fn zone_of(tz: Option<&str>, zones: &Path, localtime: &Path) -> TimeZone {
    let file: PathBuf = match tz.map(|tz| tz.trim_start_matches(':')) {
        None => localtime.to_owned(),
        Some("") => return TimeZone::UTC,
        Some(name) => zones.join(name),
    };
    // TZ can name anything, a pipe too.
    let bytes = if file.is_file() { std::fs::read(&file).ok() } else { None };
    let from_file = bytes.and_then(|bytes| TimeZone::tzif("Local", &bytes).ok());
    let from_rules = || TimeZone::posix(tz?).ok();
    from_file.or_else(from_rules).unwrap_or(TimeZone::UTC)
}

fn local(now: Timestamp, zone: TimeZone) -> LocalTime {
    let now = now.to_zoned_datetime(zone);
    let positive = |n: i8| u8::try_from(n).unwrap_or(0);
    LocalTime {
        year: now.year(),
        month: positive(now.month()),
        day: positive(now.day()),
        hour: positive(now.hour()),
        minute: positive(now.minute()),
        second: positive(now.second()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A zone an hour and a half ahead, as tzfile(5) has it: version 1, one type.
    fn zone_file() -> Vec<u8> {
        let counts = [0u32, 0, 0, 0, 1, 4].map(u32::to_be_bytes).concat();
        let offset = 5400i32.to_be_bytes();
        [b"TZif\0".as_slice(), &[0; 15], &counts, &offset, &[0, 0], b"ABC\0"].concat()
    }

    #[test]
    fn zones_are_found_as_the_c_library_finds_them() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("Here")).unwrap();
        std::fs::write(dir.path().join("Here/City"), zone_file()).unwrap();
        std::fs::write(dir.path().join("localtime"), zone_file()).unwrap();
        let absolute = dir.path().join("localtime").to_string_lossy().into_owned();
        let hour = |tz: Option<&str>, localtime: &str| {
            let found = local(Timestamp::UNIX_EPOCH, zone_of(tz, dir.path(), &dir.path().join(localtime)));
            (found.hour, found.minute)
        };
        for (tz, localtime, expected) in [
            (None, "localtime", (1, 30)),
            (None, "missing", (0, 0)),
            (Some("Here/City"), "missing", (1, 30)),
            (Some(":Here/City"), "missing", (1, 30)),
            (Some(absolute.as_str()), "missing", (1, 30)),
            (Some("XYZ-2"), "localtime", (2, 0)),
            (Some(""), "localtime", (0, 0)),
            (Some("No/Such"), "localtime", (0, 0)),
            // A directory, and a file that is no zone.
            (Some("Here"), "localtime", (0, 0)),
            (Some("/etc/passwd"), "localtime", (0, 0)),
        ] {
            assert_eq!(hour(tz, localtime), expected, "TZ={tz:?}");
        }
    }

    #[test]
    fn a_moment_is_written_by_the_clock() {
        let time = local(Timestamp::from_second(1_795_000_000).unwrap(), TimeZone::UTC);
        assert_eq!((time.year, time.month, time.day), (2026, 11, 18));
        assert_eq!((time.hour, time.minute, time.second), (11, 6, 40));
    }
}
