//! What the channels have: asked through rattler's gateway, which reads
//! directories, repodata files in every compression, and shards.

use std::sync::Arc;

use rattler_conda_types::{Channel, MatchSpec, PackageName, RepoDataRecord, Subdir};
use rattler_networking::LazyClient;
use rattler_repodata_gateway::fetch::CacheAction;
use rattler_repodata_gateway::{ChannelConfig, Gateway, GatewayError, RepoData, SourceConfig};

use crate::channels;
use crate::context::Context;
use crate::error::{Error, Result};
use crate::net;

/// The channels of a command, ready to be asked.
pub(crate) struct Index {
    gateway: Gateway,
    /// In order of priority
    pub(crate) channels: Vec<Channel>,
    /// The platform besides `noarch`
    pub(crate) subdir: Subdir,
    /// python brings pip along
    pip: bool,
}

impl Index {
    /// The configured channels, and those that specs name themselves.
    ///
    /// # Errors
    /// No channel, or one that makes no sense.
    pub(crate) fn open(context: &Context, named: &[String]) -> Result<Self> {
        let mut channels = context.configured_channels()?;
        for more in context.channels_of(named)? {
            if !channels.iter().any(|known| known.base_url == more.base_url) {
                channels.push(more);
            }
        }
        let offline = context.settings.flag("offline");
        let cache_action = match (offline, context.settings.flag("use_index_cache")) {
            (false, false) => CacheAction::CacheOrFetch,
            _ => CacheAction::ForceCacheOnly,
        };
        let source =
            SourceConfig { cache_action, missing_shards_are_empty: offline, ..SourceConfig::default() };
        let mut builder = Gateway::builder()
            .with_channel_config(ChannelConfig { default: source, ..ChannelConfig::default() })
            .with_max_concurrent_requests(16_usize);
        builder.set_client(LazyClient::from(net::client(context)?));
        if let Some(dir) = context.pkgs_dirs().into_iter().find(|dir| crate::envs::writable(dir)) {
            builder.set_cache_dir(dir.join("cache"));
        }
        Ok(Self {
            gateway: builder.finish(),
            channels,
            subdir: context.subdir()?,
            pip: context.settings.flag("add_pip_as_python_dependency"),
        })
    }

    /// Every package of these names, and all that they may need.
    ///
    /// # Errors
    /// A channel that does not answer.
    pub(crate) async fn query(&self, specs: Vec<MatchSpec>, recursive: bool) -> Result<Vec<RepoData>> {
        let platforms = [self.subdir, Subdir::NoArch];
        let mut query =
            self.gateway.query(self.channels.clone(), platforms.iter().copied(), specs).recursive(recursive);
        if self.pip {
            query = query.with_record_patch(with_pip);
        }
        query.execute().await.map(|output| output.repodata).map_err(|e| self.failed(e))
    }

    /// The names of all packages.
    ///
    /// # Errors
    /// A channel that does not answer.
    pub(crate) async fn names(&self) -> Result<Vec<PackageName>> {
        let platforms = [self.subdir, Subdir::NoArch];
        let names = self.gateway.names(self.channels.clone(), platforms.iter().copied()).execute().await;
        names.map(|output| output.names).map_err(|e| self.failed(e))
    }

    /// The URLs of the channels, for messages.
    pub(crate) fn urls(&self) -> Vec<String> {
        self.channels.iter().flat_map(|channel| channels::urls(channel, self.subdir)).collect()
    }

    fn failed(&self, error: GatewayError) -> Error {
        let channel = match &error {
            GatewayError::SubdirNotFoundError(inner) => Some(channels::display(&inner.channel)),
            _ => None,
        };
        let (name, message, hint) = match (&error, &channel) {
            (GatewayError::SubdirNotFoundError(inner), Some(channel))
                if inner.channel.base_url.url().scheme() == "file" =>
            {
                (
                    "UnavailableInvalidChannel",
                    format!("The channel {channel} has no '{}' directory with a repodata.json", inner.subdir),
                    "a channel is a directory with noarch/repodata.json and linux-64/repodata.json (conda index makes them)",
                )
            }
            (GatewayError::SubdirNotFoundError(inner), Some(channel)) => (
                "UnavailableInvalidChannel",
                format!(
                    "The channel {channel} is not accessible or is invalid: it has no '{}'",
                    inner.subdir
                ),
                "conda config --show channels lists the channels; channel_alias is the server of those that are only named",
            ),
            (GatewayError::CacheError(_) | GatewayError::ShardedIndexNotCached(_), _) => (
                "CondaHTTPError",
                "the index of a channel is not in the cache, and the network may not be used (offline)"
                    .to_owned(),
                "run the command once without --offline",
            ),
            _ if error.to_string().to_lowercase().contains("cache")
                && !error.to_string().contains("http") =>
            {
                (
                    "CondaHTTPError",
                    "the index of a channel cannot be taken from the cache".to_owned(),
                    "run the command once without --offline; conda clean --index-cache empties the cache",
                )
            }
            _ => (
                "CondaHTTPError",
                format!(
                    "the channels cannot be read: {}",
                    self.channels.iter().map(channels::display).collect::<Vec<_>>().join(", ")
                ),
                "is the server reachable? channel_alias in .condarc names a mirror, proxy_servers a proxy; \
                 --offline uses what is in the cache",
            ),
        };
        Error::named(name, message).with_source(error).with_hint(hint)
    }
}

/// `python` needs `pip` besides what its package says: so that `pip install`
/// works in every environment with python, as with conda.
pub(crate) fn with_pip(record: &RepoDataRecord) -> Option<RepoDataRecord> {
    let package = &record.package_record;
    let version = package.version.to_string();
    if package.name.as_normalized() != "python" || !version.starts_with("2.") && !version.starts_with("3.") {
        return None;
    }
    if package.depends.iter().any(|dep| dep == "pip" || dep.starts_with("pip ")) {
        return None;
    }
    let mut patched = record.clone();
    patched.package_record.depends.push("pip".to_owned());
    Some(patched)
}

/// All records of an answer.
pub(crate) fn records(repodata: &[RepoData]) -> impl Iterator<Item = &Arc<RepoDataRecord>> {
    repodata.iter().flat_map(RepoData::iter_arc)
}
