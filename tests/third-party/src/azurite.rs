//! Azurite, Microsoft's own emulator of Azure Storage: the nearest thing to the service that needs no account.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use crate::find;

/// The account that every storage emulator has, and its key, which the documentation tells everybody.
const ACCOUNT: &str = "devstoreaccount1";
const KEY: &str = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

/// Its Blob Storage, in a process of its own, empty and in memory. Dropping it ends it.
#[derive(Debug)]
pub struct Azurite {
    process: Child,
    url: String,
}

impl Azurite {
    /// Starts one on any port; none when what is not ours is to be left out.
    ///
    /// # Panics
    /// When it is not installed, or does not start.
    #[must_use]
    pub fn start() -> Option<Self> {
        let program = find("azurite")?.join("node_modules/azurite/dist/src/blob/main.js");
        let process = Command::new("node")
            .arg(program)
            // It knows fewer versions of the interface than clients ask for.
            .args(["--inMemoryPersistence", "--disableTelemetry", "--skipApiVersionCheck", "--blobPort", "0"])
            .current_dir(std::env::temp_dir())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("node starts");
        let mut azurite = Self { process, url: String::new() };
        // It says where it listens, and then writes a log that somebody has to read.
        let output = azurite.process.stdout.take().expect("its output is a pipe");
        let mut lines = BufReader::new(output).lines().map_while(Result::ok);
        let listens = |line: String| line.split_once("successfully listens on ").map(|(_, url)| url.trim().to_owned());
        let origin = lines.find_map(listens).expect("azurite ended before it listened");
        std::thread::spawn(move || lines.for_each(drop));
        azurite.url = format!("{origin}/{ACCOUNT}");
        Some(azurite)
    }

    /// The address of its Blob Storage, with the account's name, path-style.
    #[must_use]
    pub fn blob_url(&self) -> &str {
        &self.url
    }

    /// The connection string of its account.
    #[must_use]
    pub fn connection_string(&self) -> String {
        let url = &self.url;
        format!("DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={KEY};BlobEndpoint={url};")
    }
}

impl Drop for Azurite {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
