//! `ps`: who runs what on which GPUs and CPUs, by the containers' labels.

use run_docker_core::error::Context as _;
use run_docker_core::{ContainerSummary, ExitStatus, Result};

use super::print;
use crate::args::PsArgs;
use crate::context::Context;
use crate::engines;

pub(crate) fn run(args: &PsArgs, context: &Context) -> Result<ExitStatus> {
    let mut found = Vec::new();
    for engine in engines::asked_for(&args.engine, context)? {
        found.extend(engine.containers(args.all)?);
    }
    let uid = run_docker_host::real_uid();
    found.retain(|c| args.all_users || c.uid == Some(uid));
    let text = if args.json {
        serde_json::to_string_pretty(&found).context(|| "writing containers as JSON".to_owned())? + "\n"
    } else {
        table(&found, args.all_users)
    };
    print(text.as_bytes())
}

/// Columns as wide as their widest cell, two blanks between.
fn table(containers: &[ContainerSummary], users: bool) -> String {
    let or_dash = |text: &str| if text.is_empty() { "-".to_owned() } else { text.to_owned() };
    let mut rows = vec![["NAME", "USER", "GPUS", "CPUS", "STATUS", "IMAGE", "PROJECT"].map(str::to_owned)];
    rows.extend(containers.iter().map(|c| {
        [
            c.name.clone(),
            c.user.clone(),
            or_dash(&c.gpus),
            if c.cpus.is_empty() { "all".to_owned() } else { c.cpus.clone() },
            c.status.clone(),
            c.image.clone(),
            or_dash(&c.project),
        ]
    }));
    let shown: Vec<usize> = (0..7).filter(|column| users || *column != 1).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..7).map(width).collect();
    rows.iter()
        .map(|row| {
            let cells = shown.iter().map(|&column| {
                let pad = widths[column] - row[column].chars().count();
                format!("{}{}", row[column], " ".repeat(pad))
            });
            cells.collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let container = ContainerSummary {
            id: "1".into(),
            name: "ann_train".into(),
            image: "x:1".into(),
            command: String::new(),
            state: "running".into(),
            status: "Up 3 minutes".into(),
            created: 0,
            user: "ann".into(),
            uid: Some(1),
            gpus: String::new(),
            cpus: "0-3".into(),
            project: "/p".into(),
        };
        assert_eq!(
            table(&[container], false),
            "NAME       GPUS  CPUS  STATUS        IMAGE  PROJECT\n\
             ann_train  -     0-3   Up 3 minutes  x:1    /p\n"
        );
    }
}
