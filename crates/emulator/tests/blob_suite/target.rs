//! What the table runs against.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use oncebus_emulator::{Emulator, Options};

use crate::client::{CONTAINER, create_container};
use crate::installed;

/// A storage emulator with the usual account and one empty container. Dropping it ends it.
pub(crate) struct Target {
    kind: Kind,
    /// With the account's name, path-style.
    pub(crate) url: String,
    pub(crate) http: reqwest::Client,
}

enum Kind {
    Emulator(Box<Emulator>),
    Azurite(Process),
}

/// Killed when it is dropped.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Target {
    /// The emulator, in this process.
    pub(crate) async fn emulator() -> Self {
        let emulator = Emulator::start(Options::default()).await.unwrap();
        let url = emulator.blob_url();
        Self::new(Kind::Emulator(Box::new(emulator)), url).await
    }

    /// Azurite as `scripts/clients` installed it, in memory; none when it is to be left out.
    pub(crate) async fn azurite() -> Option<Self> {
        let program = installed::find("azurite")?.join("node_modules/azurite/dist/src/blob/main.js");
        let scratch = std::env::temp_dir();
        let mut child = Command::new("node")
            .arg(program)
            .args(["--inMemoryPersistence", "--disableTelemetry", "--skipApiVersionCheck", "--blobPort", "0"])
            .current_dir(scratch)
            .stdout(Stdio::piped())
            .spawn()
            .expect("node starts");
        let output = child.stdout.take().unwrap();
        let process = Process(child);
        // It says where it listens, and then writes a log that somebody has to read.
        let mut lines = BufReader::new(output).lines().map_while(Result::ok);
        let listens = |line: String| line.split_once("successfully listens on ").map(|(_, url)| url.trim().to_owned());
        let url = lines.find_map(listens).expect("azurite ended before it listened");
        std::thread::spawn(move || lines.for_each(drop));
        Some(Self::new(Kind::Azurite(process), format!("{url}/devstoreaccount1")).await)
    }

    async fn new(kind: Kind, url: String) -> Self {
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let target = Self { kind, url, http };
        create_container(&target, CONTAINER).await;
        target
    }

    pub(crate) fn name(&self) -> &'static str {
        match self.kind {
            Kind::Emulator(_) => "emulator",
            Kind::Azurite(_) => "azurite",
        }
    }

    pub(crate) async fn stop(self) {
        match self.kind {
            Kind::Emulator(emulator) => emulator.shutdown().await,
            Kind::Azurite(process) => drop(process),
        }
    }
}
