//! What is expensive to make is made once per machine and kept here, never in
//! the repository.

use std::fs::File;
use std::path::PathBuf;

/// The directory: `$XDG_CACHE_HOME/run-docker-test` or its like.
pub fn dir() -> PathBuf {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache")));
    let dir = cache.unwrap_or_else(std::env::temp_dir).join("run-docker-test");
    std::fs::create_dir_all(&dir).unwrap();
    dir
}

/// Holds other makers of the same thing off, until dropped.
pub fn lock(name: &str) -> File {
    let file = File::create(dir().join(name)).unwrap();
    file.lock().unwrap();
    file
}
