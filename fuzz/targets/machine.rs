//! A machine and a person to decide for.

use std::collections::BTreeMap;

use run_docker_core::HostFacts;
use run_docker_core::facts::{Gpu, LocalTime, Terminal};
use run_docker_core::types::MemorySize;
use run_docker_identity::{Group, Identity};

pub fn host() -> HostFacts {
    HostFacts {
        hostname: "machine".into(),
        identity: Identity {
            uid: 1001,
            name: "ann".into(),
            gecos: String::new(),
            shell: "/bin/bash".into(),
            group: Group { gid: 1001, name: Some("ann".into()) },
            supplementary: vec![],
        },
        home: "/home/ann".into(),
        umask: 0o22,
        cpus: (0..8).collect(),
        memory: MemorySize(16 << 30),
        gpus: vec![Gpu {
            index: 0,
            uuid: "GPU-aaaa-1".into(),
            name: String::new(),
            mig: vec!["MIG-cc01".into()],
            nodes: vec![],
        }],
        now: LocalTime { year: 2026, month: 11, day: 25, hour: 1, minute: 2, second: 3 },
        terminal: Terminal::default(),
        env: BTreeMap::from([
            ("A".to_owned(), "value of 'A' \\ $B".to_owned()),
            ("EMPTY".to_owned(), String::new()),
        ]),
        timezone: None,
    }
}
