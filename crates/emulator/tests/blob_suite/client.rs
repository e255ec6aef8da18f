//! Requests and answers, without any code of the emulator.

use std::fmt;
use std::time::SystemTime;

use reqwest::Method;

use crate::State;
use crate::sas::{Credential, Sas, shared_key};
use crate::target::Target;

/// The container of all rows.
pub(crate) const CONTAINER: &str = "records";
/// The lease of a leased blob.
pub(crate) const LEASE: &str = "11111111-2222-3333-4444-555555555555";
/// Somebody else's.
pub(crate) const OTHER_LEASE: &str = "99999999-2222-3333-4444-555555555555";
/// Stands in a header for the ETag that the blob has.
pub(crate) const CURRENT: &str = "{current}";
/// Stands in a header for the ETag that the blob had.
pub(crate) const STALE: &str = "{stale}";
/// A date long ago and one to come, for conditions on time.
pub(crate) const PAST: &str = "Wed, 01 Jan 2020 00:00:00 GMT";
pub(crate) const FUTURE: &str = "Fri, 01 Jan 2100 00:00:00 GMT";

/// The version that requests speak, and that a SAS is signed for.
pub(crate) const VERSION: &str = "2023-11-03";

/// What an answer says: status, `x-ms-error-code`, and headers that are there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Said {
    status: u16,
    code: String,
    headers: Vec<String>,
}

/// A success with these headers.
pub(crate) fn done(status: u16, headers: &[&str]) -> Said {
    Said { status, code: String::new(), headers: headers.iter().map(|name| (*name).to_owned()).collect() }
}

/// A refusal. Each has a code, and says when it was made and by which version.
pub(crate) fn refused(status: u16, code: &str) -> Said {
    Said { code: code.to_owned(), ..done(status, &["date", "x-ms-version", "x-ms-request-id"]) }
}

impl Said {
    pub(crate) fn headers(&self) -> String {
        self.headers.join(", ")
    }

    /// Whether this answer has what is expected of it, but for headers that its target leaves out of refusals.
    pub(crate) fn is(&self, expected: &Self, left_out: &[&str]) -> bool {
        let left_out = |name: &str| !expected.code.is_empty() && left_out.contains(&name);
        self.status == expected.status
            && self.code == expected.code
            && expected.headers.iter().all(|name| self.headers.contains(name) || left_out(name))
    }
}

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let code = if self.code.is_empty() { "without a code" } else { &self.code };
        write!(f, "{} {code}", self.status)
    }
}

/// A request, with everything but the name of the blob.
#[derive(Debug, Clone)]
pub(crate) struct Ask {
    method: Method,
    query: String,
    headers: Vec<(String, String)>,
    body: &'static str,
    credential: Credential,
    on: On,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum On {
    Blob,
    Container,
    /// A container that does not exist.
    Nowhere,
}

impl Ask {
    fn new(method: Method, query: &str) -> Self {
        let credential = Credential::Sas(Sas::account("b", "sco", "rwdlactx"));
        Self { method, query: query.to_owned(), headers: Vec::new(), body: "", credential, on: On::Blob }
    }

    /// Put Blob, of a block blob of 3 bytes.
    pub(crate) fn put() -> Self {
        Self::new(Method::PUT, "").header("x-ms-blob-type", "BlockBlob").body("new")
    }

    /// Put Blob, without the header that says of which kind.
    pub(crate) fn put_without_type() -> Self {
        Self::new(Method::PUT, "")
    }

    pub(crate) fn set_metadata() -> Self {
        Self::new(Method::PUT, "comp=metadata").header("x-ms-meta-st", "d")
    }

    pub(crate) fn get() -> Self {
        Self::new(Method::GET, "")
    }

    pub(crate) fn head() -> Self {
        Self::new(Method::HEAD, "")
    }

    pub(crate) fn delete() -> Self {
        Self::new(Method::DELETE, "")
    }

    pub(crate) fn list() -> Self {
        Self { on: On::Container, ..Self::new(Method::GET, "restype=container&comp=list") }
    }

    pub(crate) fn lease(action: &str) -> Self {
        Self::new(Method::PUT, "comp=lease").header("x-ms-lease-action", action)
    }

    pub(crate) fn put_append() -> Self {
        Self::new(Method::PUT, "").header("x-ms-blob-type", "AppendBlob")
    }

    pub(crate) fn append() -> Self {
        Self::new(Method::PUT, "comp=appendblock").body("add")
    }

    pub(crate) fn set_tags() -> Self {
        let tags = "<?xml version=\"1.0\" encoding=\"utf-8\"?><Tags><TagSet><Tag><Key>st</Key><Value>p</Value></Tag>\
                    </TagSet></Tags>";
        Self::new(Method::PUT, "comp=tags").header("content-type", "application/xml").body(tags)
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn body(self, body: &'static str) -> Self {
        Self { body, ..self }
    }

    pub(crate) fn by(self, credential: Credential) -> Self {
        Self { credential, ..self }
    }

    pub(crate) fn nowhere(self) -> Self {
        Self { on: On::Nowhere, ..self }
    }
}

/// The ETags of a blob.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tags {
    current: String,
    stale: String,
}

/// The blob of one row.
pub(crate) struct Blob<'a> {
    target: &'a Target,
    name: String,
}

impl<'a> Blob<'a> {
    pub(crate) fn new(target: &'a Target, number: usize) -> Self {
        Self { target, name: format!("row-{number}/blob") }
    }

    /// Brings a state about, or answers the request that was refused on the way.
    pub(crate) async fn prepare(&self, state: State) -> Result<Tags, Said> {
        let put =
            |body| Ask::put().body(body).header("x-ms-meta-st", "p").header("x-ms-blob-content-type", "text/plain");
        let lease = || Ask::lease("acquire").header("x-ms-lease-duration", "60");
        let asks = match state {
            State::Absent => Vec::new(),
            State::Present => vec![put("old"), put("one")],
            State::Empty => vec![put("old"), put("")],
            State::Append => vec![Ask::put_append(), Ask::append()],
            State::Tagged => vec![put("one"), Ask::set_tags()],
            State::Leased => vec![put("one"), lease().header("x-ms-proposed-lease-id", LEASE)],
            State::Broken => vec![
                put("one"),
                lease().header("x-ms-proposed-lease-id", LEASE),
                Ask::lease("break").header("x-ms-lease-break-period", "0"),
            ],
        };
        let mut tags = Tags::default();
        for ask in asks {
            let response = self.send(&ask, &tags).await;
            let etag = response.headers().get("etag").map(|value| value.to_str().unwrap().to_owned());
            if !response.status().is_success() {
                return Err(said(&response));
            }
            let current = etag.unwrap_or_else(|| tags.current.clone());
            tags = Tags { stale: std::mem::replace(&mut tags.current, current.clone()), current };
        }
        Ok(tags)
    }

    pub(crate) async fn ask(&self, ask: &Ask, tags: &Tags) -> Said {
        said(&self.send(ask, tags).await)
    }

    async fn send(&self, ask: &Ask, tags: &Tags) -> reqwest::Response {
        let path = match ask.on {
            On::Blob => format!("/{CONTAINER}/{}", self.name),
            On::Container => format!("/{CONTAINER}"),
            On::Nowhere => format!("/nowhere/{}", self.name),
        };
        let sas = match &ask.credential {
            Credential::Sas(sas) => sas.query(&self.name),
            Credential::Nothing | Credential::SharedKey { .. } => String::new(),
        };
        let query: Vec<&str> = [ask.query.as_str(), &sas].into_iter().filter(|part| !part.is_empty()).collect();
        let url = format!("{}{path}?{}", self.target.url, query.join("&"));
        let length = ask.body.len().to_string();
        let mut headers = vec![("x-ms-version".to_owned(), VERSION.to_owned())];
        if ask.method == Method::PUT {
            headers.push(("content-length".to_owned(), length));
        }
        headers.extend(
            ask.headers
                .iter()
                .map(|(name, value)| (name.clone(), value.replace(CURRENT, &tags.current).replace(STALE, &tags.stale))),
        );
        if let Credential::SharedKey { right } = ask.credential {
            let date = httpdate::fmt_http_date(SystemTime::now());
            headers.push(("x-ms-date".to_owned(), date));
            let authorization = shared_key(&ask.method, &path, &ask.query, &headers, right);
            headers.push(("authorization".to_owned(), authorization));
        }
        let request = self.target.http.request(ask.method.clone(), url);
        let request = headers.into_iter().fold(request, |request, (name, value)| request.header(name, value));
        let request = if ask.method == Method::PUT { request.body(ask.body) } else { request };
        request.send().await.unwrap()
    }
}

fn said(response: &reqwest::Response) -> Said {
    let code = response.headers().get("x-ms-error-code").map(|code| code.to_str().unwrap().to_owned());
    let headers = response.headers().keys().map(ToString::to_string).collect();
    Said { status: response.status().as_u16(), code: code.unwrap_or_default(), headers }
}

/// Makes a container.
pub(crate) async fn create_container(target: &Target, name: &str) {
    let sas = Sas::account("b", "c", "cw").query("");
    let url = format!("{}/{name}?restype=container&{sas}", target.url);
    let request = target.http.put(url).header("x-ms-version", VERSION).header("content-length", "0");
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), 201, "{}", response.text().await.unwrap());
}
