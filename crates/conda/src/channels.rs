//! Channels: names, URLs and directories become places to ask, in order.

use rattler_conda_types::{Channel, ChannelConfig, Subdir};
use url::Url;

use crate::context::Context;
use crate::error::{Context as _, Error, Result};

impl Context {
    /// The server of channels that are only named: `channel_alias`, or conda's own.
    ///
    /// # Errors
    /// An alias that is no URL.
    pub(crate) fn channel_alias(&self) -> Result<Url> {
        let Some(alias) = self.settings.text("channel_alias").filter(|a| a != "null") else {
            return Ok(ChannelConfig::default_with_root_dir(self.cwd.clone()).channel_alias);
        };
        let text = format!("{}/", alias.trim_end_matches('/'));
        Url::parse(&text).map_err(|e| {
            Error::value(format!("channel_alias: '{alias}' is no URL"))
                .with_source(e)
                .with_hint("conda config --set channel_alias https://mirror.example.org/conda")
        })
    }

    /// The same, as text without the last slash.
    pub(crate) fn alias_text(&self) -> String {
        self.channel_alias().map(|url| url.as_str().trim_end_matches('/').to_owned()).unwrap_or_default()
    }

    /// The configured channels, in order.
    ///
    /// # Errors
    /// A channel that is refused or makes no sense, or none at all.
    pub(crate) fn configured_channels(&self) -> Result<Vec<Channel>> {
        let names = self.settings.list("channels");
        let channels = self.channels_of(&names)?;
        if channels.is_empty() {
            return Err(Error::named("NoChannelsConfiguredError", "There are no channels to search.")
                .with_hint(
                    "`defaults` is left out here, since its use is subject to Anaconda's terms: \
                 conda config --add channels conda-forge, or set default_channels to a server you may use",
                ));
        }
        Ok(channels)
    }

    /// These channels; `defaults` and names of several stand for what they are
    /// configured to.
    ///
    /// # Errors
    /// A channel that is refused or makes no sense.
    pub(crate) fn channels_of(&self, names: &[String]) -> Result<Vec<Channel>> {
        let several = self.settings.map("custom_multichannels");
        let mut channels: Vec<Channel> = Vec::new();
        for name in names.iter().filter(|name| *name != "nodefaults") {
            let stands_for = match (name.as_str(), several.get(name)) {
                (_, Some(all)) => all.clone(),
                ("defaults", None) => self.settings.list("default_channels"),
                _ => vec![name.clone()],
            };
            for one in &stands_for {
                let channel = self.channel(one)?;
                self.allowed(one, &channel)?;
                if !channels.iter().any(|known| known.base_url == channel.base_url) {
                    channels.push(channel);
                }
            }
        }
        Ok(channels)
    }

    /// The names that are left out because nobody has said what they stand for.
    pub(crate) fn channels_left_out(&self) -> bool {
        self.settings.list("channels").iter().any(|name| name == "defaults")
            && self.settings.list("default_channels").is_empty()
            && !self.settings.map("custom_multichannels").contains_key("defaults")
    }

    fn channel(&self, name: &str) -> Result<Channel> {
        let mut config = ChannelConfig::default_with_root_dir(self.cwd.clone());
        config.channel_alias = self.channel_alias()?;
        let custom = self.settings.map("custom_channels");
        let first = name.split('/').next().unwrap_or(name);
        let name = match custom.get(name).or_else(|| custom.get(first)).and_then(|urls| urls.first()) {
            Some(server) => format!("{}/{name}", server.trim_end_matches('/')),
            None => name.to_owned(),
        };
        let path = std::path::Path::new(&name);
        let name =
            if name.starts_with(['.', '/', '~']) { self.absolute(path).display().to_string() } else { name };
        Channel::from_str(strip_subdir(&name), &config).context(|| format!("reading the channel '{name}'"))
    }

    fn allowed(&self, name: &str, channel: &Channel) -> Result<()> {
        let listed = |key: &str| {
            self.settings.list(key).iter().any(|one| {
                one == name || channel.base_url.as_str().trim_end_matches('/') == one.trim_end_matches('/')
            })
        };
        if listed("denylist_channels") {
            return Err(Error::named(
                "ChannelDenied",
                format!("Channel '{name}' is refused by denylist_channels"),
            ));
        }
        if !self.settings.list("allowlist_channels").is_empty() && !listed("allowlist_channels") {
            return Err(Error::named(
                "ChannelNotAllowed",
                format!("Channel '{name}' is not among allowlist_channels"),
            ));
        }
        Ok(())
    }
}

/// `/srv/channel/linux-64` means the channel above it, as for conda.
fn strip_subdir(name: &str) -> &str {
    let trimmed = name.trim_end_matches('/');
    match trimmed.rsplit_once('/') {
        Some((start, last)) if last.parse::<Subdir>().is_ok() => start,
        _ => trimmed,
    }
}

/// The URLs that are asked for a channel, without credentials.
pub(crate) fn urls(channel: &Channel, subdir: Subdir) -> Vec<String> {
    [subdir, Subdir::NoArch]
        .iter()
        .map(|subdir| {
            let mut url = channel.platform_url(*subdir);
            let _ = url.set_password(None);
            let _ = url.set_username("");
            url.as_str().trim_end_matches('/').to_owned()
        })
        .collect()
}

/// What people call a channel: its name on the known server, else its URL.
pub(crate) fn display(channel: &Channel) -> String {
    channel.canonical_name().trim_end_matches('/').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_platform_at_the_end_is_no_part_of_the_channel() {
        assert_eq!(strip_subdir("/srv/c/linux-64"), "/srv/c");
        assert_eq!(strip_subdir("file:///srv/c/noarch/"), "file:///srv/c");
        assert_eq!(strip_subdir("conda-forge/label/dev"), "conda-forge/label/dev");
    }
}
