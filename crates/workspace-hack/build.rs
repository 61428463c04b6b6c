//! Without a build script cargo does not consider build dependencies.

fn main() {}
