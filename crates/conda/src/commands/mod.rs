//! One file per verb.

pub(crate) mod change;
pub(crate) mod clean;
pub(crate) mod clone;
pub(crate) mod config;
pub(crate) mod create;
pub(crate) mod env;
pub(crate) mod env_vars;
pub(crate) mod export;
pub(crate) mod info;
pub(crate) mod init;
pub(crate) mod install;
pub(crate) mod list;
pub(crate) mod other;
pub(crate) mod remove;
pub(crate) mod replaced;
pub(crate) mod run;
pub(crate) mod search;
pub(crate) mod shell;
pub(crate) mod summary;
