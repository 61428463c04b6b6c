//! Small packages that each show one property of conda's packages.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use super::package::{Format, Noarch, Packer, Recipe, placeholder};
use crate::run_ok;

/// Writes them all.
pub(super) fn pack(packer: &Packer) {
    greet(packer);
    activation(packer);
    link_scripts(packer);
    conflicts(packer);
    layouts(packer);
}

/// A file of a package: path, content, executable or not.
type Entry<'a> = (&'a str, &'a str, bool);

fn lay(stage: &Path, entries: &[Entry]) {
    for (path, content, executable) in entries {
        let path = stage.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(if *executable { 0o755 } else { 0o644 }))
            .unwrap();
    }
}

fn simple(packer: &Packer, recipe: &Recipe, entries: &[Entry]) {
    let stage = packer.stage(&recipe.name);
    lay(&stage, entries);
    packer.pack(recipe, &stage);
}

/// A compiled program with the prefix inside (binary), a library of its own and
/// a text file with the prefix. 1.0 is of the older kind; 1.1 has two builds.
fn greet(packer: &Packer) {
    let versions =
        [("1.0", "h0_0", Format::TarBz2), ("1.1", "h0_0", Format::Conda), ("1.1", "h0_1", Format::Conda)];
    for (version, build, format) in versions.into_iter().chain([("2.0", "h0_0", Format::Conda)]) {
        let stage = packer.stage("greet");
        let prefix = placeholder();
        let config =
            format!("# read by greet\nhome = {prefix}/share/greet\nlog = {prefix}/var/log/greet.log\n");
        let script = format!("#!{prefix}/bin/python\nprint('greet, by a script of {prefix}')\n");
        lay(&stage, &[("share/greet/greet.conf", &config, false), ("bin/greet-script", &script, true)]);
        lay(&stage, &[("share/greet/message", &format!("hello from greet {version}\n"), false)]);
        compile(packer.work, &stage, version);
        // Its major version decides what may be installed beside it.
        let recipe = Recipe::new("greet", version, build).depends(&["__glibc >=2.17"]).format(format);
        packer.pack(&recipe, &stage);
    }
}

fn compile(work: &Path, stage: &Path, version: &str) {
    let program = r#"
        #include <stdio.h>
        const char *greet_version(void);
        int main(void) {
            char line[200];
            FILE *file = fopen(PREFIX "/share/greet/message", "r");
            if (!file || !fgets(line, sizeof line, file)) { perror(PREFIX "/share/greet/message"); return 1; }
            printf("%s(library %s)\n", line, greet_version());
            return 0;
        }"#;
    let library = format!("const char *greet_version(void) {{ return \"{version}\"; }}\n");
    fs::write(work.join("greet.c"), program).unwrap();
    fs::write(work.join("libgreet.c"), library).unwrap();
    fs::create_dir_all(stage.join("lib")).unwrap();
    let cc = |args: &[&str]| run_ok(Command::new("cc").args(["-O1", "-s"]).args(args).current_dir(work));
    let major = format!("libgreet.so.{}", version.split('.').next().unwrap());
    let lib = stage.join("lib").join(&major);
    cc(&["-shared", "-fPIC", &format!("-Wl,-soname,{major}"), "-o", lib.to_str().unwrap(), "libgreet.c"]);
    symlink(&major, stage.join("lib/libgreet.so")).unwrap();
    let bin = stage.join("bin/greet");
    let define = format!("-DPREFIX=\"{}\"", placeholder());
    cc(&[
        &define,
        "-o",
        bin.to_str().unwrap(),
        "greet.c",
        lib.to_str().unwrap(),
        "-Wl,-rpath,$ORIGIN/../lib",
    ]);
}

/// Scripts that run when an environment is entered and left.
fn activation(packer: &Packer) {
    let enter = "export ACTIVATED_BY=\"activation-vars in ${CONDA_PREFIX}\"\n\
        export OLD_EDITOR=\"${EDITOR:-}\"\nexport EDITOR=activated-editor\n";
    let leave = "unset ACTIVATED_BY\n\
        if [ -n \"${OLD_EDITOR}\" ]; then export EDITOR=\"${OLD_EDITOR}\"; else unset EDITOR; fi\nunset OLD_EDITOR\n";
    let recipe = |version: &str| Recipe::new("activation-vars", version, "h0_0").noarch(Noarch::Generic);
    let scripts: &[Entry] = &[
        ("etc/conda/activate.d/activation-vars.sh", enter, false),
        ("etc/conda/deactivate.d/activation-vars.sh", leave, false),
        (
            "etc/conda/env_vars.d/activation-vars.json",
            "{\"FROM_PACKAGE\": \"a value with 'quotes' and $signs\"}\n",
            false,
        ),
    ];
    simple(packer, &recipe("1.0").format(Format::TarBz2), &scripts[..2]);
    simple(packer, &recipe("1.1"), scripts);
    // Two packages' scripts run in the order of their names, and backwards on the way out.
    let second: &[Entry] = &[
        (
            "etc/conda/activate.d/zz-second.sh",
            "export ACTIVATION_ORDER=\"${ACTIVATED_BY:-none}, then second\"\n",
            false,
        ),
        ("etc/conda/deactivate.d/zz-second.sh", "unset ACTIVATION_ORDER\n", false),
    ];
    simple(packer, &Recipe::new("activation-second", "1.0", "h0_0").noarch(Noarch::Generic), second);
}

/// Scripts that run when a package is linked and unlinked.
fn link_scripts(packer: &Packer) {
    let post = "#!/bin/bash\necho \"$PKG_NAME $PKG_VERSION linked in $PREFIX\" >> \"$PREFIX/.messages.txt\"\n\
        echo linked > \"$PREFIX/share/post-link.state\"\n";
    let pre = "#!/bin/bash\nrm -f \"$PREFIX/share/post-link.state\"\n";
    let entries: &[Entry] = &[
        ("bin/.post-link-demo-post-link.sh", post, true),
        ("bin/.post-link-demo-pre-unlink.sh", pre, true),
        ("share/post-link-demo/readme", "a package with link scripts\n", false),
    ];
    simple(packer, &Recipe::new("post-link-demo", "1.0", "h0_0"), entries);
    let failing: &[Entry] = &[
        ("bin/.post-link-fails-post-link.sh", "#!/bin/bash\necho 'this script fails' >&2\nexit 7\n", true),
        ("share/post-link-fails/readme", "a package whose link script fails\n", false),
    ];
    simple(packer, &Recipe::new("post-link-fails", "1.0", "h0_0"), failing);
}

/// What a solver has to explain.
fn conflicts(packer: &Packer) {
    let generic = |name: &str, version: &str| Recipe::new(name, version, "h0_0").noarch(Noarch::Generic);
    let readme = |recipe: &Recipe| {
        let path = format!("share/doc/{}/readme", recipe.name);
        simple(packer, recipe, &[(&path, &format!("{} {}\n", recipe.name, recipe.version), false)]);
    };
    readme(&generic("wants-old-greet", "1.0").depends(&["greet >=1.0,<2.0a0"]));
    readme(&generic("wants-new-greet", "1.0").depends(&["greet >=2.0,<3.0a0"]));
    readme(&generic("wants-old-numpy", "1.0").depends(&["numpy >=1.23,<2.0a0"]));
    readme(&generic("forbids-new-greet", "1.0").constrains(&["greet <2.0a0"]));
    readme(&generic("needs-what-is-not-there", "1.0").depends(&["no-such-package >=3"]));
    readme(&generic("needs-cuda", "1.0").depends(&["__cuda >=11"]));
    readme(&generic("needs-windows", "1.0").depends(&["__win"]));
    for version in ["1.0", "1.10", "1.9", "2.0rc1", "2.0"] {
        readme(&generic("versioned", version));
    }
}

/// Unusual files: names, links, modes, and two packages with one file.
fn layouts(packer: &Packer) {
    let stage = packer.stage("odd-files");
    let prefix = placeholder();
    let text = format!("prefix={prefix}\nagain={prefix}/lib:{prefix}/lib64\n");
    lay(
        &stage,
        &[
            ("share/odd files/with blank.conf", &text, false),
            ("share/odd files/naïve-名前.txt", "a name beyond ASCII\n", false),
            ("share/odd files/empty", "", false),
            ("share/odd files/tool", &format!("#!{prefix}/bin/python\nprint('tool')\n"), true),
            ("share/odd files/shell-tool", &format!("#!/bin/sh\nexec \"{prefix}/bin/greet\" \"$@\"\n"), true),
        ],
    );
    symlink("odd files", stage.join("share/link-to-directory")).unwrap();
    symlink("no/such/target", stage.join("share/dangling")).unwrap();
    symlink("../share/odd files/tool", stage.join("share/odd files/link to tool")).unwrap();
    packer.pack(&Recipe::new("odd-files", "1.0", "h0_0"), &stage);
    for (name, content) in [("clash-one", "of one\n"), ("clash-two", "of two\n")] {
        let recipe = Recipe::new(name, "1.0", "h0_0").noarch(Noarch::Generic);
        let own = format!("share/clash/{name}");
        simple(packer, &recipe, &[("share/clash/file", content, false), (&own, content, false)]);
    }
}
