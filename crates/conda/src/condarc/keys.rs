//! The keys of `.condarc` that are known here, and what they hold.
//!
//! The real conda has more; those that change nothing here are accepted so
//! that a file shared by both providers works (`Use::Accepted`).

/// What a key holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// true or false
    Bool,
    /// A whole number, or a decimal
    Number,
    /// Text; `null` is "not set"
    Text,
    /// A list of texts. The separator is the one of its environment variable
    List(char),
    /// Names with texts (or lists of texts)
    Map,
}

/// Whether the program does something with a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    /// It does
    Honoured,
    /// It is read and changes nothing
    Accepted,
}

/// One key.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Key {
    /// Its name in files; its variable is `CONDA_` and the name in capitals
    pub(crate) name: &'static str,
    /// Another name of it
    pub(crate) alias: Option<&'static str>,
    /// What it holds
    pub(crate) kind: Kind,
    /// Whether it does something
    pub(crate) usage: Use,
    /// What it means, for `conda config --describe`
    pub(crate) about: &'static str,
    /// The value where nothing is set, as YAML
    pub(crate) default: &'static str,
}

impl Key {
    /// The words that it can have, where they are few.
    pub(crate) fn words(&self) -> Option<&'static [&'static str]> {
        (self.name == "channel_priority").then_some(&["strict", "flexible", "disabled"])
    }
}

const fn key(name: &'static str, kind: Kind, default: &'static str, about: &'static str) -> Key {
    Key { name, alias: None, kind, usage: Use::Honoured, about, default }
}

const fn aliased(
    name: &'static str,
    alias: &'static str,
    kind: Kind,
    default: &'static str,
    about: &'static str,
) -> Key {
    Key { name, alias: Some(alias), kind, usage: Use::Honoured, about, default }
}

const fn accepted(name: &'static str, kind: Kind, default: &'static str) -> Key {
    Key { name, alias: None, kind, usage: Use::Accepted, about: "Accepted; changes nothing here.", default }
}

use Kind::{Bool, List, Map, Number, Text};

/// Every key, by name.
pub(crate) const KEYS: &[Key] = &[
    key("add_pip_as_python_dependency", Bool, "true", "python brings pip along."),
    accepted("aggressive_update_packages", List(','), "[]"),
    accepted("allow_conda_downgrades", Bool, "false"),
    accepted("allow_cycles", Bool, "true"),
    accepted("allow_non_channel_urls", Bool, "false"),
    accepted("allow_softlinks", Bool, "false"),
    aliased("always_copy", "copy", Bool, "false", "Copy files from the package cache, never link them."),
    accepted("always_softlink", Bool, "false"),
    aliased("always_yes", "yes", Bool, "null", "Never ask; the answer is yes."),
    accepted("anaconda_upload", Text, "null"),
    aliased("auto_activate_base", "auto_activate", Bool, "true", "A shell with conda's hook starts in base."),
    accepted("auto_stack", Number, "0"),
    accepted("auto_update_conda", Bool, "true"),
    key("changeps1", Bool, "true", "The prompt shows the active environment."),
    key("channel_alias", Text, "null", "The server of channels that are only named: a mirror goes here."),
    key("channel_priority", Text, "flexible", "strict, flexible or disabled."),
    accepted("channel_settings", List(','), "[]"),
    aliased("channels", "channel", List(','), "[conda-forge]", "Where packages are searched, in this order."),
    aliased(
        "client_ssl_cert",
        "client_cert",
        Text,
        "null",
        "A client's certificate: not supported, an error.",
    ),
    accepted("client_ssl_cert_key", Text, "null"),
    key("create_default_packages", List(','), "[]", "Packages of every new environment."),
    key("custom_channels", Map, "{}", "Channels by name, each with the server it is on."),
    key("custom_multichannels", Map, "{}", "Names for several channels."),
    accepted("debug", Bool, "false"),
    key("default_channels", List(','), "[]", "What the name `defaults` stands for; empty: it is left out."),
    accepted("default_python", Text, "null"),
    aliased("denylist_channels", "whitelist_denied", List(','), "[]", "Channels that are refused."),
    key("allowlist_channels", List(','), "[]", "If set, no other channels are used."),
    accepted("deps_modifier", Text, "not_set"),
    key("disallowed_packages", List('&'), "[]", "Packages that are never installed."),
    accepted("download_only", Bool, "false"),
    accepted("dry_run", Bool, "false"),
    accepted("enable_private_envs", Bool, "false"),
    key("env_prompt", Text, "'({default_env}) '", "What the prompt shows."),
    aliased(
        "envs_dirs",
        "envs_path",
        List(':'),
        "[]",
        "Where environments are; the first writable one is for new ones.",
    ),
    accepted("error_upload_url", Text, "null"),
    accepted("execute_threads", Number, "1"),
    accepted("experimental", List(','), "[]"),
    accepted("extra_safety_checks", Bool, "false"),
    key("fetch_threads", Number, "5", "How many packages are downloaded at once."),
    accepted("force", Bool, "false"),
    accepted("force_32bit", Bool, "false"),
    accepted("force_reinstall", Bool, "false"),
    accepted("force_remove", Bool, "false"),
    accepted("ignore_pinned", Bool, "false"),
    key("json", Bool, "false", "Report as JSON."),
    accepted("local_repodata_ttl", Number, "1"),
    accepted("migrated_channel_aliases", List(','), "[]"),
    accepted("migrated_custom_channels", Map, "{}"),
    accepted("no_lock", Bool, "false"),
    accepted("no_plugins", Bool, "false"),
    accepted("non_admin_enabled", Bool, "true"),
    accepted("notify_outdated_conda", Bool, "true"),
    accepted("number_channel_notices", Number, "5"),
    key("offline", Bool, "false", "No network."),
    key("override_channels_enabled", Bool, "true", "--override-channels may be used."),
    accepted("path_conflict", Text, "clobber"),
    key("pinned_packages", List('&'), "[]", "Specs that every environment must keep."),
    accepted("pip_interop_enabled", Bool, "false"),
    key("pkgs_dirs", List(','), "[]", "Where packages are cached; the first writable one is filled."),
    accepted("plugins", Map, "{}"),
    key("proxy_servers", Map, "{}", "Proxies, by scheme."),
    aliased("quiet", "silent", Bool, "false", "Say less."),
    key("remote_backoff_factor", Number, "1", "Seconds before the second try of a download."),
    key("remote_connect_timeout_secs", Number, "9.15", "How long to wait for a connection."),
    key("remote_max_retries", Number, "3", "How often a download is tried again."),
    key("remote_read_timeout_secs", Number, "60.0", "How long to wait for the next bytes."),
    accepted("repodata_fns", List(','), "[]"),
    accepted("repodata_threads", Number, "0"),
    accepted("repodata_use_zst", Bool, "true"),
    accepted("report_errors", Text, "null"),
    accepted("restore_free_channel", Bool, "false"),
    key("rollback_enabled", Bool, "true", "An environment is as before when a change fails: always so here."),
    accepted("root_prefix", Text, "null"),
    accepted("safety_checks", Text, "warn"),
    accepted("sat_solver", Text, "pycosat"),
    accepted("separate_format_cache", Bool, "false"),
    accepted("shortcuts", Bool, "true"),
    accepted("shortcuts_only", List(','), "[]"),
    accepted("show_channel_urls", Text, "null"),
    accepted("signing_metadata_url_base", Text, "null"),
    accepted("solver", Text, "rattler"),
    accepted("solver_ignore_timestamps", Bool, "false"),
    key("ssl_verify", Text, "true", "true, false, or a file of certificates to trust."),
    key("subdir", Text, "null", "The platform to take packages for."),
    accepted("subdirs", List(','), "[]"),
    accepted("target_prefix_override", Text, "null"),
    accepted("trace", Bool, "false"),
    accepted("track_features", List(','), "[]"),
    accepted("unsatisfiable_hints", Bool, "true"),
    accepted("unsatisfiable_hints_check_depth", Number, "2"),
    accepted("update_modifier", Text, "update_specs"),
    accepted("use_index_cache", Bool, "false"),
    accepted("use_local", Bool, "false"),
    accepted("use_only_tar_bz2", Bool, "false"),
    accepted("verbosity", Number, "0"),
    accepted("verify_threads", Number, "1"),
    accepted("whitelist_channels", List(','), "[]"),
];

/// The key of this name or alias.
pub(crate) fn find(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name || key.alias == Some(name))
}

/// The known key that a wrong one most likely stands for.
pub(crate) fn nearest(name: &str) -> Option<&'static str> {
    KEYS.iter().map(|key| (distance(name, key.name), key.name)).min().filter(|(d, _)| *d <= 3).map(|(_, n)| n)
}

/// Edits (insert, delete, replace) between two words.
pub(crate) fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, cb) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(ca != *cb);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typo_finds_its_key() {
        assert_eq!(nearest("chanels"), Some("channels"));
        assert_eq!(nearest("env_dirs"), Some("envs_dirs"));
        assert_eq!(nearest("something_else_entirely"), None);
        assert_eq!(distance("kitten", "sitting"), 3);
    }

    #[test]
    fn aliases_lead_to_their_key_and_defaults_are_yaml() {
        assert_eq!(find("envs_path").map(|k| k.name), Some("envs_dirs"));
        for key in KEYS {
            serde_yaml::from_str::<serde_yaml::Value>(key.default).unwrap();
        }
    }
}
