use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::types::MountSource;

fn parse(text: &str) -> Result<DockerArgs, Error> {
    let env = BTreeMap::from([("PORT".to_owned(), "8888".to_owned())]);
    let mut args = DockerArgs::default();
    args.append(text, Expansion { home: "/home/ann", env: &env }, "/work/p")?;
    Ok(args)
}

#[test]
fn the_flags_people_use() {
    let args = parse(
        "-p $PORT:8888 -v ~/data:/data:ro -v ./rel:/rel -v cache:/c --mount type=bind,src=/a,dst=/b,ro \
         -e A=1 -e 'B=two words' -e C -w /exp -m 16g --shm-size=8g --net host --ipc=host --ulimit memlock=-1 \
         --cap-add SYS_PTRACE --gpus '\"device=0,1\"' -u 0 -it --name x --rm --entrypoint '' --tmpfs /t:size=1g \
         --label a=b --privileged --add-host h:1.2.3.4 --cpus 2 --dns=1.1.1.1 --oom-kill-disable",
    )
    .unwrap();
    let binds: Vec<_> =
        args.mounts.iter().map(|m| (m.source.clone(), m.target.as_str(), m.read_only)).collect();
    assert_eq!(
        binds,
        [
            (MountSource::Bind("/home/ann/data".into()), "/data", true),
            (MountSource::Bind("/work/p/rel".into()), "/rel", false),
            (MountSource::Volume("cache".into()), "/c", false),
            (MountSource::Bind("/a".into()), "/b", true),
        ]
    );
    assert!(args.mounts[0].create_source && !args.mounts[3].create_source);
    assert_eq!(args.env[1], ("B".into(), Some("two words".into())));
    assert_eq!(args.env[2], ("C".into(), None));
    assert_eq!(args.ports[0].to_string(), "8888:8888");
    assert_eq!(args.gpus.as_ref().unwrap().to_string(), "0,1");
    assert_eq!((args.interactive, args.tty, args.remove), (Some(true), Some(true), Some(true)));
    assert_eq!(args.network.as_deref(), Some("host"));
    assert_eq!(args.entrypoint.as_deref(), Some(""));
    assert_eq!(args.client_flags, ["--cpus=2", "--dns=1.1.1.1", "--oom-kill-disable"]);
}

#[test]
fn short_flags_cluster_as_the_client_reads_them() {
    let args = parse("-itv/a:/b -eX=1 -p=1:1 -dP --rm=false").unwrap();
    assert_eq!(args.mounts.len(), 1);
    assert_eq!(args.env, [("X".to_owned(), Some("1".to_owned()))]);
    assert_eq!((args.detach, args.tty, args.remove), (Some(true), Some(true), Some(false)));
    assert_eq!(args.client_flags, ["--publish-all"]);
}

#[test]
fn later_single_values_win_and_lists_grow() {
    let env = BTreeMap::new();
    let expansion = Expansion { home: "/", env: &env };
    let mut args = DockerArgs::default();
    args.append("-m 1g -p 1:1", expansion, "/").unwrap();
    args.append("-m 2g -p 2:2", expansion, "/").unwrap();
    assert_eq!(args.memory.unwrap().to_string(), "2g");
    assert_eq!(args.ports.len(), 2);
}

#[test]
fn errors_name_flag_and_value() {
    for (text, part) in [
        ("-p", "-p needs a value"),
        ("--name", "--name needs a value"),
        ("--nmae x", "docker run has no flag --nmae"),
        ("-z", "no flag -z"),
        ("ubuntu", "\"ubuntu\" is no flag"),
        ("-e 'A", "' is not closed"),
        ("-v a:b:c:d", "too many colons"),
        ("-v :/b", "before the colon is empty"),
        ("-v /a:b", "no absolute path inside"),
        ("-v /a:/", "container's root"),
        ("--mount type=bind,src=/a,dst=/b/..", "container's root"),
        ("--tmpfs /", "container's root"),
        ("-v /a:/b:rx", "\"rx\" is no option"),
        ("-e =x", "is not NAME=value"),
        ("-e RUN_DOCKER_SPEC=1", "run-docker's own"),
        ("-m lots", "no size of memory"),
        ("--rm=maybe", "write true or false"),
        ("--mount type=bind,src=/a", "target is missing"),
        ("--mount type=x,dst=/a", "no type of mount"),
        ("--gpus device=x", "GPU list"),
    ] {
        let error = parse(text).unwrap_err().to_string();
        assert!(error.contains(part), "{text}: {error}");
    }
}

#[test]
fn env_files_are_literal() {
    let entries = parse_env_file("f", "\u{feff}# c\nA=1 # x\r\n\n  B\nC=\"q\"\n").unwrap();
    assert_eq!(
        entries,
        [("A".into(), Some("1 # x".into())), ("B".into(), None), ("C".into(), Some("\"q\"".into())),]
    );
    assert!(parse_env_file("f", "A=1\n=x\n").unwrap_err().to_string().contains("f:2"));
}

proptest! {
    #[test]
    fn any_text_is_flags_or_an_error(text in "(-[a-zA-Z-]{1,8}|[ =:,/'\"$~a-z0-9]{0,6}){0,8}") {
        let _ = parse(&text);
    }
}
