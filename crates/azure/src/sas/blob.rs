//! Blob Storage: the service SAS of one container, which goes into the query of each request.

use std::fmt;

use oncebus_core::secret::Secret;
use oncebus_core::time::UnixTime;
use percent_encoding::percent_decode_str;

use super::{field, hmac_base64};
use crate::blob::VERSION;
use crate::dates::{from_iso8601, to_iso8601};
use crate::wire::encode_value;

/// What a SAS allows. Written in the one order that the service accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Permissions(u16);

/// Every letter the service knows, in its canonical order.
const LETTERS: &str = "racwdxyltfmei";

impl Permissions {
    /// Read, create and write: all that the record protocol needs. No deleting, no listing.
    pub const RECORDS: Self = Self(0b1101);
    /// The same, and deleting: for queues that keep no records of what is done.
    pub const RECORDS_DELETED: Self = Self(0b1_1101);
    /// Read, delete and list: what sweeping needs.
    pub const SWEEP: Self = Self(0b1001_0001);

    /// Reads permission letters in any order; `None` where there are none, or one is unknown.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mask = text.chars().try_fold(0, |mask, letter| Some(mask | 1 << LETTERS.find(letter)?))?;
        (mask != 0).then_some(Self(mask))
    }
}

impl fmt::Display for Permissions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let set = LETTERS.chars().enumerate().filter(|(bit, _)| self.0 & 1 << bit != 0);
        set.map(|(_, letter)| letter).collect::<String>().fmt(f)
    }
}

/// The service SAS of a container, before it is signed.
///
/// It has no start: a start at "now" is in the future for a server whose clock is behind ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContainerSas<'a> {
    /// The storage account.
    pub account: &'a str,
    /// The container.
    pub container: &'a str,
    /// What it allows.
    pub permissions: Permissions,
    /// When it ends.
    pub expires: UnixTime,
    /// Whether it is good for HTTPS only.
    pub https_only: bool,
}

impl ContainerSas<'_> {
    /// What is signed: the layout of versions from 2020-12-06 on, values not encoded, no line break at the end.
    #[must_use]
    pub fn string_to_sign(&self) -> String {
        let resource = format!("/blob/{}/{}", self.account, self.container);
        let permissions = self.permissions.to_string();
        let expires = to_iso8601(self.expires);
        let fields: [&str; 16] = [
            &permissions,    // sp
            "",              // st
            &expires,        // se
            &resource,       // the canonical resource
            "",              // si: no stored policy
            "",              // sip: any address
            self.protocol(), // spr
            VERSION,         // sv
            "c",             // sr: a container
            "",              // snapshot
            "",              // ses: no encryption scope
            "",              // rscc, and the other answer headers: none overridden
            "",              // rscd
            "",              // rsce
            "",              // rscl
            "",              // rsct
        ];
        fields.join("\n")
    }

    /// The signed query, without a `?`. The key is the account key's decoded bytes.
    #[must_use]
    pub fn query(&self, key: &[u8]) -> Secret {
        let signature = hmac_base64(key, &self.string_to_sign());
        let protocol = if self.https_only { "&spr=https" } else { "" };
        let expires = encode_value(&to_iso8601(self.expires));
        let signature = encode_value(&signature);
        Secret::new(format!("sv={VERSION}&sr=c&sp={}&se={expires}{protocol}&sig={signature}", self.permissions))
    }

    const fn protocol(&self) -> &'static str {
        if self.https_only { "https" } else { "" }
    }
}

/// When a SAS ends: its `se`. `None` where a stored access policy holds the end.
#[must_use]
pub fn expires_at(query: &Secret) -> Option<UnixTime> {
    let expires = field(query.expose(), "se")?;
    from_iso8601(&percent_decode_str(expires).decode_utf8().ok()?)
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD as BASE64;

    use super::*;

    /// The public key of the storage emulators' account.
    const KEY: &str = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

    fn sas(https_only: bool) -> ContainerSas<'static> {
        ContainerSas {
            account: "devstoreaccount1",
            container: "records",
            permissions: Permissions::RECORDS,
            // 2026-01-02T03:04:05Z
            expires: UnixTime(1_767_323_045),
            https_only,
        }
    }

    #[test]
    fn sixteen_lines_are_signed() {
        let resource = "/blob/devstoreaccount1/records";
        let expected = format!("rcw\n\n2026-01-02T03:04:05Z\n{resource}\n\n\nhttps\n2023-11-03\nc\n\n\n\n\n\n\n");
        assert_eq!(sas(true).string_to_sign(), expected);
        assert_eq!(sas(false).string_to_sign(), expected.replace("https", ""));
    }

    /// Signatures that azure-storage-blob 12.31.1 for Python makes of the same values.
    #[test]
    fn signatures_are_those_of_an_existing_client() {
        let key = BASE64.decode(KEY).unwrap();
        assert_eq!(
            sas(false).query(&key).expose(),
            "sv=2023-11-03&sr=c&sp=rcw&se=2026-01-02T03%3A04%3A05Z&sig=hNPibS6q45QkWDW2KFnq41Nbkm6c2yjeFbZ0abXYW2M%3D"
        );
        assert_eq!(
            sas(true).query(&key).expose(),
            "sv=2023-11-03&sr=c&sp=rcw&se=2026-01-02T03%3A04%3A05Z&spr=https&sig=m5ky7hdymj11V9%2BGHipksJyR%2FDlArdYiXP3mc1pj8Oc%3D"
        );
        assert_eq!(expires_at(&sas(true).query(&key)), Some(UnixTime(1_767_323_045)));
    }

    #[test]
    fn permissions_are_written_in_the_services_order() {
        assert_eq!(Permissions::RECORDS.to_string(), "rcw");
        assert_eq!(Permissions::RECORDS_DELETED.to_string(), "rcwd");
        assert_eq!(Permissions::SWEEP.to_string(), "rdl");
        assert_eq!(Permissions::parse("wcr"), Some(Permissions::RECORDS));
        assert_eq!(Permissions::parse("iemftlyxdwcar").unwrap().to_string(), LETTERS);
        assert_eq!(Permissions::parse(""), None);
        assert_eq!(Permissions::parse("rq"), None);
    }

    #[test]
    fn an_expiry_that_is_not_there_is_none() {
        for query in ["", "sig=a", "se=", "se=soon&sig=a", "se=%FF", "xse=2026-01-01"] {
            assert_eq!(expires_at(&Secret::new(query)), None, "{query}");
        }
    }
}
