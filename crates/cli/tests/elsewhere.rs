//! `oncebus up --app none`: the program as it is, and an app that somebody else starts with what `.oncebus/app.env` says.
//!
//! The first test needs the components (`scripts/build`).

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may fail loudly")]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use oncebus_host::{App, Options};
use tokio::net::TcpSocket;
use tokio::process::{Child, Command};

/// How long the file may take to come: an emulator has to start.
const STARTING: Duration = Duration::from_secs(30);
/// How long all of a demo may take, on a machine that is busy with other tests.
const WORKING: Duration = Duration::from_secs(90);

/// A folder of its own, gone with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("oncebus-elsewhere-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(path.join(".oncebus")).unwrap();
        Self(path)
    }

    fn manifest(&self) -> PathBuf {
        self.0.join("spin.toml")
    }

    fn env_file(&self) -> PathBuf {
        self.0.join(".oncebus/app.env")
    }

    /// The program, which knows of nothing but this folder and the configuration of the project.
    fn up(&self, app_url: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_oncebus"));
        for (name, _) in std::env::vars_os() {
            let ours = ["ONCEBUS_", "SPIN_VARIABLE_", "TWILIO_", "RUST_LOG"];
            if name.to_str().is_some_and(|name| ours.iter().any(|prefix| name.starts_with(prefix))) {
                command.env_remove(name);
            }
        }
        command.args(["up", "--app", "none", "--app-url", app_url]);
        command.arg("--config").arg(root().join("oncebus.toml")).arg("--manifest").arg(self.manifest());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        command
    }

    /// Waits until the file with the variables is there.
    async fn variables(&self, up: &mut Child) -> BTreeMap<String, String> {
        let deadline = Instant::now() + STARTING;
        while !self.env_file().exists() {
            assert_eq!(up.try_wait().unwrap(), None, "it ended without waiting for an app");
            assert!(Instant::now() < deadline, "no {} within {STARTING:?}", self.env_file().display());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        std::fs::read_to_string(self.env_file()).unwrap().lines().map(variable).collect()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The folder of the project, where the components were built.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// A line of the file: a value stands there as it is, or in one pair of single quotes.
fn variable(line: &str) -> (String, String) {
    let (name, value) = line.strip_prefix("SPIN_VARIABLE_").and_then(|rest| rest.split_once('=')).expect(line);
    let value = value.strip_prefix('\'').map_or(value, |quoted| quoted.strip_suffix('\'').expect(line));
    assert!(!value.contains('\''), "{name} needs a shell to be read");
    (name.to_lowercase(), value.to_owned())
}

/// A port that nobody else gets, and where every connection is refused, as long as the socket is there.
fn reserved() -> (TcpSocket, SocketAddr) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = socket.local_addr().unwrap();
    (socket, address)
}

/// Its end, its results, and what it said for people.
async fn ended(up: Child) -> (ExitStatus, String, String) {
    let output = tokio::time::timeout(WORKING, up.wait_with_output()).await.expect("it does not end").unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status, text(output.stdout), text(output.stderr))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_counts_the_same_with_an_app_that_somebody_else_started() {
    let folder = Folder::new("demo");
    let built = root().join("target/wasm32-wasip2/release");
    let manifest = std::fs::read_to_string(root().join("spin.toml")).unwrap();
    let manifest = manifest.replace("\"target/wasm32-wasip2/release/", &format!("\"{}/", built.display()));
    std::fs::write(folder.manifest(), manifest).unwrap();

    let (socket, address) = reserved();
    let url = format!("http://{address}");
    let mut up = folder.up(&url).args(["--demo", "--json", "--seed", "7"]).spawn().unwrap();
    let variables = folder.variables(&mut up).await;
    assert_eq!(variables["public_url"], url);
    // The database is where Spin has it, which is where the demo counts.
    let app = App::load(&folder.manifest(), Options { variables, ..Options::default() }).await.unwrap();
    drop(socket);
    let server = app.serve(address).await.unwrap();

    let (status, results, said) = ended(up).await;
    assert!(status.success(), "{said}");
    let report: serde_json::Value = serde_json::from_str(results.lines().last().expect("no result")).unwrap();
    let counts = ["accepted", "distinct", "stored", "effects_repeated", "parked"].map(|key| report[key].as_u64());
    assert_eq!(counts, [1_100, 1_000, 1_000, 0, 0].map(Some), "{report}");
    let calls = ["broker_calls_per_message", "blob_calls_per_message"].map(|key| report[key].as_f64().unwrap());
    assert!(calls.iter().sum::<f64>() <= 4.1, "{report}");
    assert!(!folder.env_file().exists(), "secrets are left behind");
    server.shutdown().await;
}

#[tokio::test]
async fn a_file_of_before_is_gone_whatever_comes_next() {
    let folder = Folder::new("stale");
    std::fs::write(folder.env_file(), "SPIN_VARIABLE_RUN_TOKEN=old\n").unwrap();
    let up = folder.up("http://127.0.0.1:1").env("ONCEBUS_SERVICEBUS", "no connection string").spawn().unwrap();
    let (status, _, said) = ended(up).await;
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(!folder.env_file().exists());
}

#[tokio::test]
#[cfg(unix)]
async fn an_interrupted_wait_leaves_no_file() {
    let folder = Folder::new("interrupted");
    let (_socket, address) = reserved();
    let mut up = folder.up(&format!("http://{address}")).spawn().unwrap();
    assert!(folder.variables(&mut up).await.contains_key("run_token"));
    let id = up.id().and_then(|id| i32::try_from(id).ok()).and_then(rustix::process::Pid::from_raw).unwrap();
    rustix::process::kill_process(id, rustix::process::Signal::TERM).unwrap();
    let (status, _, said) = ended(up).await;
    assert_eq!((status.code(), said.as_str()), (Some(1), "oncebus: interrupted\n"));
    assert!(!folder.env_file().exists());
}

#[tokio::test]
async fn an_address_that_is_none_is_refused_before_anything_starts() {
    let folder = Folder::new("address");
    let (status, _, said) = ended(folder.up("localhost:3000").spawn().unwrap()).await;
    assert_eq!(status.code(), Some(2), "{said}");
    assert!(said.contains("--app-url") && said.contains("expected http://HOST:PORT"), "{said}");
}
