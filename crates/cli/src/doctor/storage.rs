//! The storage: is the container there, and do the records' four requests work in it?
//!
//! The requests are the protocol's own (create if absent, look, write under an ETag, and the same under an old ETag, which
//! must be refused), on a blob that no record is named like.

use std::time::Duration;

use bytes::Bytes;
use http::Request;
use oncebus_azure::blob::{
    BlobContainer, BlobError, ContainerOutcome, CreateOutcome, HeadOutcome, Metadata, Seen, WriteOutcome,
    create_container, parse_container, parse_create, parse_head, parse_write,
};
use oncebus_azure::connection::StorageConnection;
use oncebus_core::secret::Secret;
use oncebus_core::time::UnixTime;
use oncebus_runtime::failure::Failure;
use oncebus_runtime::platform::Clock as _;
use oncebus_runtime::platform::native::Native;

use super::ask;
use super::report::Report;

/// The blob that is tried on. Records begin with three hex digits, so none is named like this.
const PROBE: &str = "doctor/probe";

/// How long the SAS is good for that is signed here with an account key.
const SAS_LIFETIME: Duration = Duration::from_secs(5 * 60);

/// From which difference on the clocks are worth a word, in seconds: signed tokens last 20 minutes and more, and the
/// services refuse what is signed 15 minutes off.
const CLOCKS_APART: u64 = 5 * 60;

/// The container to look at.
#[derive(Debug, Clone, Copy)]
pub(super) struct Container<'a> {
    pub(super) platform: &'a Native,
    pub(super) connection: &'a StorageConnection,
    pub(super) name: &'a str,
    /// Whether to make it when it is missing.
    pub(super) create: bool,
}

impl Container<'_> {
    pub(super) async fn check(&self, report: &mut Report) {
        check_credential(self.connection, self.platform.wall(), report);
        let blobs = BlobContainer::new(self.connection, self.name, self.platform.wall(), SAS_LIFETIME);
        let name = format!("container {}", self.name);
        match self.look(&blobs).await {
            Ok(_) => report.ok(name, "there"),
            Err(Failure::Missing(_)) if self.create => match self.make().await {
                Ok(ContainerOutcome::Created) => report.ok(name, "made"),
                Ok(ContainerOutcome::Exists) => report.ok(name, "there"),
                Err(failure) => {
                    return report.fail(name, format!("missing, and could not be made ({failure}). {}", self.remedy()));
                }
            },
            Err(Failure::Missing(_)) => return report.fail(name, format!("missing. {}", self.remedy())),
            Err(Failure::Denied(why)) => {
                return report
                    .fail(name, format!("{why}. Check the signature, its end, and that it is for this container"));
            }
            Err(failure) => return report.fail(name, format!("{} {failure}", self.connection.endpoint())),
        }
        match self.try_records(&blobs, report).await {
            Ok(()) => report.ok("records", "create, look and write work, and a write under an old ETag is refused"),
            Err(why) => report.fail("records", why),
        }
    }

    /// What the protocol does to a record, once.
    async fn try_records(&self, blobs: &BlobContainer, report: &mut Report) -> Result<(), String> {
        let metadata = Metadata::from_pairs([("by", "oncebus doctor")]).map_err(|error| error.to_string())?;
        let create = self.request(blobs.create(PROBE, &metadata), parse_create).await;
        // A second doctor finds the blob of the first: that it exists is what a create without the right cannot say.
        let (CreateOutcome::Created { .. } | CreateOutcome::Exists) =
            create.map_err(|error| refused("create", &error))?;
        let seen = match self.look(blobs).await.map_err(|error| refused("look at", &error))? {
            HeadOutcome::Found(seen) => seen,
            HeadOutcome::Missing => return Err(format!("{PROBE} was created and then not found")),
        };
        compare_clocks(&seen, self.platform.wall(), report);
        let write = || blobs.set_metadata(PROBE, &seen.etag, &metadata);
        let first = self.request(write(), parse_write).await.map_err(|error| refused("write", &error))?;
        if first == WriteOutcome::Refused {
            return Err(format!("{PROBE} was changed by somebody else meanwhile: run it again, once at a time"));
        }
        match self.request(write(), parse_write).await.map_err(|error| refused("write", &error))? {
            WriteOutcome::Refused => Ok(()),
            WriteOutcome::Written { .. } => Err("a write under an old ETag was accepted: this storage ignores \
                conditions, and records in it protect nothing"
                .to_owned()),
        }
    }

    async fn look(&self, blobs: &BlobContainer) -> Result<HeadOutcome, Failure> {
        self.request(blobs.head(PROBE), parse_head).await
    }

    async fn make(&self) -> Result<ContainerOutcome, Failure> {
        self.request(create_container(self.connection, self.name, self.platform.wall()), parse_container).await
    }

    async fn request<T>(
        &self,
        request: Request<Bytes>,
        parse: impl FnOnce(http::Response<Bytes>) -> Result<T, BlobError>,
    ) -> Result<T, Failure> {
        Ok(parse(ask(self.platform, request).await?)?)
    }

    fn remedy(&self) -> String {
        let name = self.name;
        format!(
            "Make it: az storage container create --name {name}; or run this with the account's connection string once"
        )
    }
}

fn refused(what: &str, failure: &Failure) -> String {
    format!("cannot {what} {PROBE}: {failure}")
}

/// What a SAS says about itself; an account key may do everything.
fn check_credential(connection: &StorageConnection, now: UnixTime, report: &mut Report) {
    let name = "storage credential";
    if connection.has_account_key() {
        return report
            .ok(name, "an account key; `oncebus up` gives the components a SAS of sp=rcw that it signs with it");
    }
    if let Some(expires) = connection.sas_expires_at() {
        report.expiry(name, expires, now);
    }
    let sas = Sas::of(connection);
    let Some(letters) = sas.field("sp") else {
        return report
            .warn("storage rights", "a stored access policy holds them: not checked beyond what is tried below");
    };
    check_letters(&sas, letters, report);
}

fn check_letters(sas: &Sas, letters: &str, report: &mut Report) {
    let name = "storage rights";
    let missing: String = "rcw".chars().filter(|needed| !letters.contains(*needed)).collect();
    if !missing.is_empty() {
        report.fail(name, format!("sp={letters} lacks {missing}: sign a SAS for the container with sp=rcw"));
    } else if sas.field("srt").is_some_and(|kinds| !kinds.contains('o')) {
        report.fail(name, "the account SAS is not for objects (srt lacks o): sign one for the container with sp=rcw");
    } else if letters.contains('d') {
        report.warn(
            name,
            format!("sp={letters} may delete: a record that is deleted is work forgotten. sp=rcw is enough"),
        );
    } else if sas.field("ss").is_some() {
        report.warn(name, format!("sp={letters} for the whole account: a SAS for the container with sp=rcw is enough"));
    } else {
        report.ok(name, format!("sp={letters}"));
    }
}

fn compare_clocks(seen: &Seen, now: UnixTime, report: &mut Report) {
    let apart = seen.date.since(now).max(now.since(seen.date)).as_secs();
    if apart > CLOCKS_APART {
        report
            .warn("clock", format!("this machine's is {apart} s off the storage's: tokens signed here may be refused"));
    } else {
        report.ok("clock", format!("within {CLOCKS_APART} s of the storage's"));
    }
}

/// The fields of a ready-made SAS that are no secret.
struct Sas(Secret);

impl Sas {
    fn of(connection: &StorageConnection) -> Self {
        let exposed = connection.expose();
        let query = exposed.split_once("SharedAccessSignature=").map_or("", |(_, query)| query);
        Self(Secret::new(query))
    }

    /// A field by name, if its value is plain letters: the signature is none of them.
    fn field(&self, name: &str) -> Option<&str> {
        let mut fields = self.0.expose().split('&');
        let value = fields.find_map(|field| field.strip_prefix(name)?.strip_prefix('='))?;
        (name != "sig" && value.bytes().all(|byte| byte.is_ascii_lowercase())).then_some(value)
    }
}
