//! The least that rattler can do: resolve and install, with nothing around it.
//! `cargo xtask bench conda` holds the embedded conda against this program.
//!
//!     bare CHANNEL CACHE PREFIX SPEC…

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a program of the benchmark alone")]

use std::path::{Path, PathBuf};
use std::str::FromStr as _;

use rattler::install::Installer;
use rattler::package_cache::PackageCache;
use rattler_conda_types::{
    Channel, ChannelConfig, GenericVirtualPackage, MatchSpec, ParseStrictness, RepoDataRecord, Subdir,
    Version,
};
use rattler_networking::LazyClient;
use rattler_repodata_gateway::{Gateway, RepoData};
use rattler_solve::{SolverImpl as _, SolverTask, resolvo};
use reqwest_middleware::ClientWithMiddleware;

fn main() {
    let mut words = std::env::args().skip(1);
    let mut word = || words.next().expect("CHANNEL CACHE PREFIX SPEC…");
    let (channel, cache, prefix) = (word(), PathBuf::from(word()), PathBuf::from(word()));
    let specs: Vec<MatchSpec> =
        words.map(|word| MatchSpec::from_str(&word, ParseStrictness::Lenient).unwrap()).collect();
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(install(&channel, &cache, &prefix, specs));
    runtime.shutdown_background();
}

async fn install(channel: &str, cache: &Path, prefix: &Path, specs: Vec<MatchSpec>) {
    let client = LazyClient::from(ClientWithMiddleware::from(reqwest::Client::new()));
    let config = ChannelConfig::default_with_root_dir(std::env::current_dir().unwrap());
    let channel = Channel::from_str(channel, &config).unwrap();
    let platform = Subdir::current().unwrap();
    let mut builder = Gateway::builder();
    builder.set_client(client.clone());
    builder.set_cache_dir(cache.join("cache"));
    let query = builder.finish().query([channel], [platform, Subdir::NoArch], specs.clone());
    let available = query.recursive(true).execute().await.unwrap().repodata;
    let buckets: Vec<Vec<&RepoDataRecord>> =
        available.iter().map(|one: &RepoData| one.iter().collect()).collect();
    let task = SolverTask {
        virtual_packages: machine(),
        specs: specs.clone(),
        ..buckets.iter().map(|bucket| bucket.iter().copied()).collect()
    };
    let records = resolvo::Solver.solve(task).unwrap().records;
    Installer::new()
        .with_package_cache(PackageCache::new(cache))
        .with_download_client(client)
        .with_target_platform(platform)
        .with_execute_link_scripts(true)
        .with_requested_specs(specs)
        .install(prefix, records)
        .await
        .unwrap();
}

/// What the packages of the test channel ask of a machine.
fn machine() -> Vec<GenericVirtualPackage> {
    let of = |(name, version): (&str, &str)| GenericVirtualPackage {
        name: name.parse().unwrap(),
        version: Version::from_str(version).unwrap(),
        build_string: "0".parse().unwrap(),
    };
    [("__unix", "0"), ("__linux", "5.4"), ("__glibc", "2.31")].into_iter().map(of).collect()
}
