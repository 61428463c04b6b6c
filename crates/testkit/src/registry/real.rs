//! The distribution project's own registry, as Debian packages it.

use std::fs::{self, File};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use tempfile::TempDir;

use crate::run_ok;

/// `ann` with the password `se:cret`, as htpasswd(1) writes it (bcrypt).
const LOGIN: &str = "ann:$2b$05$abcdefghijklmnopqrstuuWqeDdmk0qhXLYvA33lbC9M700ynI2Oa\n";

/// What it is to want.
#[derive(Clone, Copy, Debug, Default)]
pub struct DistributionOptions {
    /// TLS, with a certificate of its own for 127.0.0.1.
    pub tls: bool,
    /// The login of `ann` with the password `se:cret`.
    pub login: bool,
}

/// The registry; it ends with this value.
pub struct Distribution {
    dir: TempDir,
    port: u16,
    child: Child,
}

impl Distribution {
    /// Starts one with an empty storage.
    ///
    /// # Panics
    /// It is not installed, or does not start.
    pub fn start(options: DistributionOptions) -> Self {
        let dir = tempfile::Builder::new().prefix("run-docker-registry-").tempdir().unwrap();
        // Free a moment ago; somebody else may take it meanwhile.
        for _ in 0..5 {
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            let config = dir.path().join("config.yml");
            fs::write(&config, settings(dir.path(), port, options)).unwrap();
            let log = File::create(dir.path().join("log")).unwrap();
            let mut child = Command::new("docker-registry")
                .arg("serve")
                .arg(&config)
                .stdin(Stdio::null())
                .stdout(log.try_clone().unwrap())
                .stderr(log)
                .spawn()
                .unwrap_or_else(|e| panic!("docker-registry: {e}; cargo xtask setup installs it"));
            for _ in 0..300 {
                if child.try_wait().unwrap().is_some() {
                    break;
                }
                if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                    return Self { dir, port, child };
                }
                sleep(Duration::from_millis(50));
            }
            let _ = child.kill();
            let _ = child.wait();
        }
        panic!("docker-registry does not start: {}", fs::read_to_string(dir.path().join("log")).unwrap());
    }

    /// `127.0.0.1:port`.
    pub fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The certificate, where it has one.
    pub fn certificate(&self) -> PathBuf {
        self.dir.path().join("cert.pem")
    }

    /// Pushes the image of an OCI layout, by skopeo(1), with these words more.
    ///
    /// # Panics
    /// It fails.
    pub fn push(&self, layout: &Path, name: &str, words: &[&str]) {
        let mut skopeo = Command::new("skopeo");
        skopeo.args(["--insecure-policy", "copy", "--quiet", "--dest-tls-verify=false"]).args(words);
        skopeo.arg(format!("oci:{}", layout.display()));
        run_ok(skopeo.arg(format!("docker://{}/{name}", self.host())));
    }

    /// The requests so far that contain this text, each as it stands in its log.
    ///
    /// # Panics
    /// The log cannot be read.
    pub fn requests(&self, text: &str) -> Vec<String> {
        let log = fs::read_to_string(self.dir.path().join("log")).unwrap();
        // The lines of its access log, in the form of Apache's.
        let lines = log.lines().filter(|line| line.contains("\"GET ") && line.contains("HTTP/1.1\""));
        lines.filter(|line| line.contains(text)).map(str::to_owned).collect()
    }
}

impl Drop for Distribution {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn settings(dir: &Path, port: u16, options: DistributionOptions) -> String {
    let place = dir.display();
    let mut text = format!(
        "version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: {place}/storage\n\
         http:\n  addr: 127.0.0.1:{port}\n"
    );
    if options.tls {
        text += &format!("  tls:\n    certificate: {place}/cert.pem\n    key: {place}/key.pem\n");
        make_certificate(dir);
    }
    if options.login {
        fs::write(dir.join("htpasswd"), LOGIN).unwrap();
        text += &format!("auth:\n  htpasswd:\n    realm: tests\n    path: {place}/htpasswd\n");
    }
    text
}

fn make_certificate(dir: &Path) {
    let mut openssl = Command::new("openssl");
    openssl.args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=tests"]);
    openssl.args(["-addext", "subjectAltName=IP:127.0.0.1", "-addext", "basicConstraints=critical,CA:FALSE"]);
    openssl.arg("-keyout").arg(dir.join("key.pem")).arg("-out").arg(dir.join("cert.pem"));
    run_ok(openssl.stderr(Stdio::null()));
    fs::set_permissions(dir, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
}
