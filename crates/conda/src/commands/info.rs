//! `conda info`.

use serde_json::{Value, json};

use crate::args::InfoArgs;
use crate::context::Context;
use crate::error::Result;
use crate::{CONDA_VERSION, channels, envs, net, report, system};

/// The name of this conda among the providers of an image.
const PROVIDER: &str = "embedded";

/// Runs it.
///
/// # Errors
/// A configuration that makes no sense.
pub(crate) fn run(context: &mut Context, args: &InfoArgs) -> Result<()> {
    context.output(&args.output);
    if args.base {
        return print(context, &json!({"root_prefix": context.root}), || context.root.display().to_string());
    }
    if args.unsafe_channels {
        let all = context.settings.list("channels");
        return print(context, &json!({"channels": all}), || all.join("\n"));
    }
    if context.json {
        report::document(&document(context)?);
        return Ok(());
    }
    if args.all || !args.envs {
        report::line(&text(context)?);
    }
    if args.all || args.envs {
        list_environments(context);
    }
    if args.all || args.system {
        for (name, value) in variables(context) {
            report::line(&format!("{name}: {value}"));
        }
    }
    Ok(())
}

fn print(context: &Context, value: &Value, text: impl FnOnce() -> String) -> Result<()> {
    if context.json {
        report::document(value);
    } else {
        report::line(&text());
    }
    Ok(())
}

/// The table of `conda env list`.
pub(crate) fn list_environments(context: &Context) {
    report::line("# conda environments:\n#");
    for prefix in context.environments() {
        let active = if Some(&prefix) == context.active.as_ref() { "*" } else { " " };
        report::line(&format!(
            "{:<20}  {active}  {}",
            context.name_of(&prefix).unwrap_or_default(),
            prefix.display()
        ));
    }
    report::line("");
}

fn variables(context: &Context) -> Vec<(String, String)> {
    let wanted = |name: &str| {
        let upper = name.to_uppercase();
        upper.starts_with("CONDA")
            || upper.starts_with("PYTHON")
            || upper.ends_with("PATH")
            || upper.starts_with("SUDO")
            || ["CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "LD_PRELOAD"].contains(&name)
    };
    let proxy = |name: &str| name.to_uppercase().ends_with("PROXY");
    let shown = context.vars.iter().filter(|(name, _)| wanted(name)).map(|(n, v)| (n.clone(), v.clone()));
    shown.chain(context.vars.keys().filter(|n| proxy(n)).map(|n| (n.clone(), "<set>".to_owned()))).collect()
}

fn document(context: &Context) -> Result<Value> {
    let subdir = context.subdir()?;
    let urls: Vec<String> =
        context.configured_channels()?.iter().flat_map(|c| channels::urls(c, subdir)).collect();
    let virtual_packages: Vec<Value> = system::virtual_packages(subdir, &|n| context.var(n))
        .iter()
        .map(|p| json!([p.name.as_normalized(), p.version.to_string(), p.build_string.to_string()]))
        .collect();
    Ok(json!({
        "GID": rustix::process::getegid().as_raw(),
        "UID": rustix::process::geteuid().as_raw(),
        "active_prefix": context.active,
        "active_prefix_name": context.active.as_ref().map(|p| context.name_of(p).unwrap_or_else(|| p.display().to_string())),
        "channels": urls,
        "conda_build_version": "not installed",
        "conda_env_version": CONDA_VERSION,
        "conda_location": context.exe,
        "conda_prefix": context.root,
        "conda_provider": PROVIDER,
        "conda_provider_version": env!("CARGO_PKG_VERSION"),
        "conda_shlvl": context.var("CONDA_SHLVL").and_then(|l| l.parse::<i64>().ok()).unwrap_or(-1),
        "conda_version": CONDA_VERSION,
        "config_files": config_files(context),
        "default_prefix": context.active.as_ref().unwrap_or(&context.root),
        "env_vars": variables(context).into_iter().collect::<std::collections::BTreeMap<_, _>>(),
        "envs": context.environments(),
        "envs_dirs": context.envs_dirs(),
        "offline": context.settings.flag("offline"),
        "pkgs_dirs": context.pkgs_dirs(),
        "platform": subdir.to_string(),
        "python_version": Value::Null,
        "rc_path": context.places.user(),
        "root_prefix": context.root,
        "root_writable": envs::writable(&context.root),
        "solver": {"default": true, "name": "rattler", "user_agent": "resolvo"},
        "sys.executable": context.exe,
        "sys_rc_path": context.places.system(),
        "user_agent": net::user_agent(),
        "user_rc_path": context.places.user(),
        "virtual_pkgs": virtual_packages,
    }))
}

fn config_files(context: &Context) -> Vec<String> {
    let files = context.settings.layers.iter().map(|layer| layer.source.clone());
    files.filter(|source| source.starts_with('/')).collect()
}

fn text(context: &Context) -> Result<String> {
    let subdir = context.subdir()?;
    let lines = |all: Vec<String>| all.join(&format!("\n{}", " ".repeat(26)));
    let show =
        |paths: Vec<std::path::PathBuf>| lines(paths.iter().map(|p| p.display().to_string()).collect());
    let channels = context.configured_channels()?.iter().flat_map(|c| channels::urls(c, subdir)).collect();
    let machine = system::virtual_packages(subdir, &|n| context.var(n));
    let machine = machine
        .iter()
        .map(|p| format!("{}={}={}", p.name.as_normalized(), p.version, p.build_string))
        .collect();
    let mut rows: Vec<(&str, String)> = Vec::new();
    match &context.active {
        Some(active) => {
            rows.push((
                "active environment",
                context.name_of(active).unwrap_or_else(|| active.display().to_string()),
            ));
            rows.push(("active env location", active.display().to_string()));
        }
        None => rows.push(("active environment", "None".to_owned())),
    }
    rows.extend(context.var("CONDA_SHLVL").map(|level| ("shell level", level)));
    rows.extend([
        ("user config file", context.places.user().display().to_string()),
        ("populated config files", lines(config_files(context))),
        ("conda version", CONDA_VERSION.to_owned()),
        ("provider", format!("{PROVIDER} (run-docker-conda {}, on rattler)", env!("CARGO_PKG_VERSION"))),
        ("conda-build version", "not installed".to_owned()),
        ("python version", "none needed".to_owned()),
        ("solver", "rattler (default)".to_owned()),
        ("virtual packages", lines(machine)),
        (
            "base environment",
            format!(
                "{}  ({})",
                context.root.display(),
                if envs::writable(&context.root) { "writable" } else { "read only" }
            ),
        ),
        ("channel URLs", lines(channels)),
        ("package cache", show(context.pkgs_dirs())),
        ("envs directories", show(context.envs_dirs())),
        ("platform", subdir.to_string()),
        ("user-agent", net::user_agent()),
        (
            "UID:GID",
            format!("{}:{}", rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw()),
        ),
        ("netrc file", "None".to_owned()),
        ("offline mode", if context.settings.flag("offline") { "True" } else { "False" }.to_owned()),
    ]);
    let rows: Vec<String> = rows.into_iter().map(|(name, value)| format!("{name:>23} : {value}")).collect();
    Ok(format!("\n{}\n", rows.join("\n")))
}
