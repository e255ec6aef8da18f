//! Storage credentials: service SAS, account SAS, and the Shared Key header.

use base64::Engine as _;

use super::is_signed;
use crate::time::UnixMillis;

/// The account that every storage emulator has.
pub(crate) const ACCOUNT: &str = "devstoreaccount1";
/// Its key, as well known as its name.
pub(crate) const ACCOUNT_KEY: &str =
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

/// An account's name and key.
#[derive(Clone)]
pub(crate) struct AccountKey {
    pub(crate) name: String,
    key: Vec<u8>,
}

impl std::fmt::Debug for AccountKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AccountKey").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Default for AccountKey {
    fn default() -> Self {
        let key = base64::engine::general_purpose::STANDARD.decode(ACCOUNT_KEY).unwrap_or_default();
        Self { name: ACCOUNT.to_owned(), key }
    }
}

/// What a request wants to touch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target<'a> {
    Container(&'a str),
    Blob(&'a str, &'a str),
}

/// The parts of a request that credentials are about.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Request<'a> {
    pub(crate) method: &'a http::Method,
    /// As it stands in the request line, not decoded.
    pub(crate) path: &'a str,
    /// Decoded, in the order of the request.
    pub(crate) query: &'a [(String, String)],
    pub(crate) headers: &'a http::HeaderMap,
    pub(crate) target: Target<'a>,
    /// Whether it came over TLS.
    pub(crate) is_secure: bool,
}

/// Why a request is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// No credential, or one of a kind that is not known.
    NoCredential,
    /// The signature does not fit, or a field is unreadable.
    Authentication,
    /// The time is over or has not come.
    Expired,
    /// The credential's letters do not reach.
    Permission,
    /// An account SAS for other services.
    Service,
    /// An account SAS for other kinds of resource.
    ResourceType,
    /// HTTPS only.
    Protocol,
}

/// What a credential allows at the target of its request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Grant {
    /// The account's key was shown.
    Everything,
    /// The letters of an account SAS.
    Account(String),
    /// The letters of a service SAS: they do not reach to containers themselves.
    Service(String),
}

impl Grant {
    /// Whether one of these letters is granted.
    pub(crate) fn any(&self, letters: &str) -> bool {
        match self {
            Self::Everything => true,
            Self::Account(granted) | Self::Service(granted) => letters.chars().any(|letter| granted.contains(letter)),
        }
    }

    /// Demands one of these letters.
    pub(crate) fn require(&self, letters: &str) -> Result<(), Refusal> {
        if self.any(letters) { Ok(()) } else { Err(Refusal::Permission) }
    }

    /// Demands one of these letters of a credential that is good for containers themselves.
    pub(crate) fn require_account(&self, letters: &str) -> Result<(), Refusal> {
        match self {
            Self::Service(_) => Err(Refusal::Permission),
            Self::Everything | Self::Account(_) => self.require(letters),
        }
    }
}

impl Request<'_> {
    fn parameter(&self, name: &str) -> &str {
        self.query.iter().find(|(n, _)| n == name).map_or("", |(_, value)| value)
    }

    fn has(&self, name: &str) -> bool {
        self.query.iter().any(|(n, _)| n == name)
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("")
    }
}

/// Finds and checks the request's credential.
pub(crate) fn authorize(account: &AccountKey, request: &Request<'_>, now: UnixMillis) -> Result<Grant, Refusal> {
    if request.has("sig") {
        return if request.has("ss") { account_sas(account, request, now) } else { service_sas(account, request, now) };
    }
    let authorization = request.header("authorization");
    match authorization.split_once(' ') {
        Some(("SharedKey", credential)) => shared_key(account, request, credential),
        _ => Err(Refusal::NoCredential),
    }
}

fn service_sas(account: &AccountKey, request: &Request<'_>, now: UnixMillis) -> Result<Grant, Refusal> {
    let resource = match (request.parameter("sr"), request.target) {
        ("c", Target::Container(container) | Target::Blob(container, _)) => container.to_owned(),
        ("b", Target::Blob(container, blob)) => format!("{container}/{blob}"),
        _ => return Err(Refusal::Authentication),
    };
    let p = |name| request.parameter(name);
    let resource = format!("/blob/{}/{resource}", account.name);
    let mut fields =
        vec![p("sp"), p("st"), p("se"), &resource, p("si"), p("sip"), p("spr"), p("sv"), p("sr"), p("snapshot")];
    match p("sv") {
        sv if sv >= "2020-12-06" => fields.push(p("ses")),
        sv if sv >= "2018-11-09" => {}
        _ => return Err(Refusal::Authentication),
    }
    fields.extend([p("rscc"), p("rscd"), p("rsce"), p("rscl"), p("rsct")]);
    check_signature(account, request, &fields.join("\n"))?;
    check_terms(request, now)?;
    Ok(Grant::Service(p("sp").to_owned()))
}

fn account_sas(account: &AccountKey, request: &Request<'_>, now: UnixMillis) -> Result<Grant, Refusal> {
    let p = |name| request.parameter(name);
    let mut fields =
        vec![account.name.as_str(), p("sp"), p("ss"), p("srt"), p("st"), p("se"), p("sip"), p("spr"), p("sv")];
    if p("sv") >= "2020-12-06" {
        fields.push(p("ses"));
    }
    fields.push("");
    check_signature(account, request, &fields.join("\n"))?;
    check_terms(request, now)?;
    if !p("ss").contains('b') {
        return Err(Refusal::Service);
    }
    let kind = match request.target {
        Target::Container(_) => 'c',
        Target::Blob(..) => 'o',
    };
    if !p("srt").contains(kind) {
        return Err(Refusal::ResourceType);
    }
    Ok(Grant::Account(p("sp").to_owned()))
}

fn check_signature(account: &AccountKey, request: &Request<'_>, text: &str) -> Result<(), Refusal> {
    if is_signed(&account.key, text, request.parameter("sig")) { Ok(()) } else { Err(Refusal::Authentication) }
}

/// The terms that the signature covers. There are no stored access policies here: a token that names one
/// (`si`) names one that does not exist.
fn check_terms(request: &Request<'_>, now: UnixMillis) -> Result<(), Refusal> {
    if !request.parameter("si").is_empty() {
        return Err(Refusal::Authentication);
    }
    let expiry = UnixMillis::parse_iso(request.parameter("se")).ok_or(Refusal::Authentication)?;
    if expiry <= now {
        return Err(Refusal::Expired);
    }
    let start = request.parameter("st");
    if !start.is_empty() && UnixMillis::parse_iso(start).ok_or(Refusal::Authentication)? > now {
        return Err(Refusal::Expired);
    }
    if request.parameter("spr") == "https" && !request.is_secure { Err(Refusal::Protocol) } else { Ok(()) }
}

fn shared_key(account: &AccountKey, request: &Request<'_>, credential: &str) -> Result<Grant, Refusal> {
    let (name, signature) = credential.trim().split_once(':').ok_or(Refusal::Authentication)?;
    if name != account.name || !is_signed(&account.key, &shared_key_text(account, request), signature) {
        return Err(Refusal::Authentication);
    }
    Ok(Grant::Everything)
}

/// What a Shared Key signature signs.
fn shared_key_text(account: &AccountKey, request: &Request<'_>) -> String {
    let h = |name| request.header(name);
    let length = if h("content-length") == "0" { "" } else { h("content-length") };
    let date = if h("x-ms-date").is_empty() { h("date") } else { "" };
    let standard = [
        request.method.as_str(),
        h("content-encoding"),
        h("content-language"),
        length,
        h("content-md5"),
        h("content-type"),
        date,
        h("if-modified-since"),
        h("if-match"),
        h("if-none-match"),
        h("if-unmodified-since"),
        h("range"),
    ];
    let mut text = standard.join("\n");
    text.push('\n');
    let mut custom: Vec<(&str, &str)> = request
        .headers
        .iter()
        .filter(|(name, _)| name.as_str().starts_with("x-ms-"))
        .map(|(name, value)| (name.as_str(), value.to_str().unwrap_or("").trim()))
        .collect();
    custom.sort_unstable();
    for (name, value) in custom {
        text.push_str(name);
        text.push(':');
        text.push_str(value);
        text.push('\n');
    }
    text.push('/');
    text.push_str(&account.name);
    text.push_str(request.path);
    let mut query: Vec<(String, &str)> =
        request.query.iter().map(|(name, value)| (name.to_lowercase(), value.as_str())).collect();
    query.sort_unstable();
    let mut last: Option<&str> = None;
    for (name, value) in &query {
        if last == Some(name.as_str()) {
            text.push(',');
        } else {
            text.push('\n');
            text.push_str(name);
            text.push(':');
        }
        text.push_str(value);
        last = Some(name);
    }
    text
}

#[cfg(test)]
mod tests {
    use hmac::{Hmac, Mac};
    use http::{HeaderMap, HeaderValue, Method};
    use sha2::Sha256;

    use super::*;

    const NOW: UnixMillis = UnixMillis(1_795_132_800_000); // 2026-11-20T00:00:00Z

    fn sign(text: &str) -> String {
        let account = AccountKey::default();
        let mut mac = Hmac::<Sha256>::new_from_slice(&account.key).unwrap();
        mac.update(text.as_bytes());
        base64::engine::general_purpose::STANDARD.encode(mac.finalize().into_bytes())
    }

    fn query(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn check(query: &[(String, String)], target: Target<'_>) -> Result<Grant, Refusal> {
        let headers = HeaderMap::new();
        let request = Request { method: &Method::GET, path: "/", query, headers: &headers, target, is_secure: false };
        authorize(&AccountKey::default(), &request, NOW)
    }

    fn container_sas(sv: &str, se: &str, sig: &str) -> Vec<(String, String)> {
        query(&[("sv", sv), ("se", se), ("sr", "c"), ("sp", "rcw"), ("sig", sig)])
    }

    #[test]
    fn a_container_sas_opens_its_container_and_the_blobs_in_it() {
        let se = "2026-11-21T00:00:00Z";
        let new = sign(&format!("rcw\n\n{se}\n/blob/devstoreaccount1/records\n\n\n\n2023-11-03\nc\n\n\n\n\n\n\n"));
        let old = sign(&format!("rcw\n\n{se}\n/blob/devstoreaccount1/records\n\n\n\n2018-11-09\nc\n\n\n\n\n\n"));
        for (sv, sig) in [("2023-11-03", new), ("2018-11-09", old)] {
            let sas = container_sas(sv, se, &sig);
            let grant = check(&sas, Target::Blob("records", "abc/def")).unwrap();
            assert!(grant.any("r") && grant.any("c") && grant.any("w") && !grant.any("d"), "{sv}");
            assert_eq!(check(&sas, Target::Blob("other", "abc")), Err(Refusal::Authentication));
        }
    }

    #[test]
    fn time_and_protocol_are_part_of_the_terms() {
        let se = "2026-11-20T00:00:00Z";
        let sig = sign(&format!("rcw\n\n{se}\n/blob/devstoreaccount1/records\n\n\n\n2023-11-03\nc\n\n\n\n\n\n\n"));
        let target = Target::Blob("records", "a");
        assert_eq!(check(&container_sas("2023-11-03", se, &sig), target), Err(Refusal::Expired));
        let se = "2026-11-21T00:00:00Z";
        let sig = sign(&format!("r\n\n{se}\n/blob/devstoreaccount1/records\n\n\nhttps\n2023-11-03\nc\n\n\n\n\n\n\n"));
        let sas = query(&[("sv", "2023-11-03"), ("se", se), ("sr", "c"), ("sp", "r"), ("spr", "https"), ("sig", &sig)]);
        assert_eq!(check(&sas, target), Err(Refusal::Protocol));
        let headers = HeaderMap::new();
        let request =
            Request { method: &Method::GET, path: "/", query: &sas, headers: &headers, target, is_secure: true };
        assert!(authorize(&AccountKey::default(), &request, NOW).is_ok());
    }

    #[test]
    fn an_account_sas_says_which_services_and_kinds_it_is_for() {
        let se = "2026-11-21";
        let sas = |ss: &str, srt: &str| {
            let sig = sign(&format!("devstoreaccount1\nrcw\n{ss}\n{srt}\n\n{se}\n\n\n2023-11-03\n\n"));
            query(&[("sv", "2023-11-03"), ("ss", ss), ("srt", srt), ("se", se), ("sp", "rcw"), ("sig", &sig)])
        };
        let blob = Target::Blob("records", "a");
        assert_eq!(check(&sas("b", "co"), blob), Ok(Grant::Account("rcw".to_owned())));
        assert_eq!(check(&sas("q", "co"), blob), Err(Refusal::Service));
        assert_eq!(check(&sas("b", "c"), blob), Err(Refusal::ResourceType));
        assert_eq!(check(&sas("b", "c"), Target::Container("records")), Ok(Grant::Account("rcw".to_owned())));
    }

    #[test]
    fn a_shared_key_signs_verb_headers_and_resource() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("x-ms-version", "2023-11-03"),
            ("x-ms-date", "Fri, 20 Nov 2026 00:00:00 GMT"),
            ("x-ms-blob-type", "BlockBlob"),
            ("content-length", "0"),
            ("if-none-match", "*"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        let text = "PUT\n\n\n\n\n\n\n\n\n*\n\n\nx-ms-blob-type:BlockBlob\nx-ms-date:Fri, 20 Nov 2026 00:00:00 GMT\n\
                    x-ms-version:2023-11-03\n/devstoreaccount1/devstoreaccount1/c/b\ncomp:metadata\ntimeout:5";
        let authorization = format!("SharedKey devstoreaccount1:{}", sign(text));
        headers.insert("authorization", authorization.parse().unwrap());
        let query = query(&[("timeout", "5"), ("comp", "metadata")]);
        let request = Request {
            method: &Method::PUT,
            path: "/devstoreaccount1/c/b",
            query: &query,
            headers: &headers,
            target: Target::Blob("c", "b"),
            is_secure: false,
        };
        let account = AccountKey::default();
        assert_eq!(authorize(&account, &request, NOW), Ok(Grant::Everything));
        let tampered = Request { method: &Method::DELETE, ..request };
        assert_eq!(authorize(&account, &tampered, NOW), Err(Refusal::Authentication));
    }
}
