//! `docker_args`: quoting and splitting are each other's inverse, reading is
//! the same however the words were quoted, and nothing panics on the way to
//! the list of flags that open the container.

#![no_main]

mod machine;

use libfuzzer_sys::fuzz_target;
use run_docker_core::config::open_flags;
use run_docker_core::docker_args::DockerArgs;
use run_docker_core::words::{self, Expansion};

fuzz_target!(|input: (&str, Vec<String>)| {
    let (text, list) = input;
    let host = machine::host();
    let expansion = Expansion { home: &host.home, env: &host.env };
    assert_eq!(words::split(&words::join(&list), expansion).unwrap(), list, "quoted words come back");

    let mut args = DockerArgs::default();
    let read = args.append(text, expansion, "/p");
    let Ok(split) = words::split(text, expansion) else {
        assert!(read.is_err(), "text that cannot be split cannot be read");
        return;
    };
    let joined = words::join(&split);
    assert_eq!(words::split(&joined, expansion).unwrap(), split);
    let mut again = DockerArgs::default();
    let second = again.append(&joined, expansion, "/p");
    assert_eq!(read.is_ok(), second.is_ok(), "{joined}");
    if read.is_ok() {
        assert_eq!(args, again, "{joined}");
        for mount in &args.mounts {
            assert!(mount.target.starts_with('/') && mount.target != "/", "{mount:?}");
        }
        open_flags(&args, &host.home, 1001, &|path| path.to_owned());
    }
});
