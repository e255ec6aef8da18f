//! What the table runs against.

use oncebus_emulator::{Emulator, Options};
use oncebus_third_party::Azurite;

use crate::client::{CONTAINER, create_container};

/// A storage emulator with the usual account and one empty container. Dropping it ends it.
pub(crate) struct Target {
    kind: Kind,
    /// With the account's name, path-style.
    pub(crate) url: String,
    pub(crate) http: reqwest::Client,
}

enum Kind {
    Emulator(Box<Emulator>),
    Azurite(Azurite),
}

impl Target {
    /// The emulator, in this process.
    pub(crate) async fn emulator() -> Self {
        let emulator = Emulator::start(Options::default()).await.unwrap();
        let url = emulator.blob_url();
        Self::new(Kind::Emulator(Box::new(emulator)), url).await
    }

    /// Azurite; none when it is to be left out.
    pub(crate) async fn azurite() -> Option<Self> {
        let azurite = Azurite::start()?;
        let url = azurite.blob_url().to_owned();
        Some(Self::new(Kind::Azurite(azurite), url).await)
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
