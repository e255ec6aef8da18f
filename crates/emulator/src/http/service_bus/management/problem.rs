//! Errors of the management plane: XML, or nothing but a status and a reason phrase.

use http::{HeaderValue, Response, StatusCode, header};
use hyper::ext::ReasonPhrase;
use uuid::Uuid;

use crate::auth::service_bus as auth;
use crate::http::{Payload, escape_xml};
use crate::time::UnixMillis;

/// A management request that is not carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Problem {
    status: StatusCode,
    /// Lines of text; empty when the answer has no body.
    detail: String,
    /// Whether the broker says it (`_B`), or the gateway (`_G`).
    by_broker: bool,
}

const MORE: &str = "To know more visit https://aka.ms/sbResourceMgrExceptions.";

impl Problem {
    fn new(status: StatusCode, detail: String) -> Self {
        Self { status, detail, by_broker: false }
    }

    /// 400 with sub-code 40000.
    pub(super) fn bad_request(detail: impl std::fmt::Display) -> Self {
        Self::new(StatusCode::BAD_REQUEST, format!("SubCode=40000. {detail}"))
    }

    /// A name that no queue or topic can have.
    pub(super) fn bad_uri() -> Self {
        Self::new(StatusCode::BAD_REQUEST, "Incorrect request Uri format.".to_owned())
    }

    /// A name that no subscription or rule can have.
    pub(super) fn bad_name(host: &str, path: &str) -> Self {
        let detail = format!(
            "'sb://{host}{path}' contains character(s) that is not allowed by Service Bus. Entity segments can \
             contain only letters, numbers, periods (.), hyphens (-), and underscores (_)."
        );
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    /// A documented limit is reached.
    pub(super) fn too_many(what: &str, most: usize) -> Self {
        let detail = format!("SubCode=40300. The maximum number of {what}, {most}, has been reached.");
        Self::new(StatusCode::FORBIDDEN, detail)
    }

    /// There is nothing where messages are to be forwarded.
    pub(super) fn no_target() -> Self {
        // As reported in 2018 (Azure/azure-service-bus#203): the status and the sub-code differ.
        let detail = "SubCode=40400. The auto forwarding destination entity does not exist.";
        Self::new(StatusCode::BAD_REQUEST, detail.to_owned())
    }

    /// A token for a forwarding target is not good for it.
    pub(super) fn unauthorized(refusal: &auth::Refusal) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, refusal.to_string())
    }

    /// A queue or topic that is there already.
    pub(super) fn conflict() -> Self {
        let detail = "SubCode=40900. Conflict. You're requesting an operation that isn't allowed in the resource's \
                      current state.";
        Self::new(StatusCode::CONFLICT, format!("{detail} {MORE} ."))
    }

    /// A subscription or rule that is there already; `entity` is `namespace:Topic:topic|subscription`.
    pub(super) fn exists(entity: &str) -> Self {
        let detail = format!("The messaging entity '{entity}' already exists. {MORE} ");
        Self { by_broker: true, ..Self::new(StatusCode::CONFLICT, detail) }
    }

    /// An update of a queue or topic that is absent.
    pub(super) fn no_operation() -> Self {
        let detail = format!("SubCode=40400. Not Found. The Operation doesn't exist. {MORE} .");
        Self::new(StatusCode::NOT_FOUND, detail)
    }

    /// An update of a subscription or rule that is absent.
    pub(super) fn not_found(entity: &str) -> Self {
        let detail = format!("Entity '{entity}' was not found. {MORE} ");
        Self { by_broker: true, ..Self::new(StatusCode::NOT_FOUND, detail) }
    }

    /// Something is to be made where its parent is absent.
    pub(super) fn no_parent(root: &str) -> Self {
        let detail = format!(
            "The incoming request is not recoginzed as a namespace policy put request: Unrecognized policy type: \
             {root}, {}.",
            super::elements::CONNECT
        );
        Self::new(StatusCode::NOT_FOUND, detail)
    }

    /// A queue or topic to be deleted is absent.
    pub(super) fn no_service() -> Self {
        Self::new(StatusCode::NOT_FOUND, "No service is hosted at the specified address.".to_owned())
    }

    /// A subscription or rule is absent: no body, the text is the reason phrase.
    pub(super) fn nothing() -> Self {
        Self::new(StatusCode::NOT_FOUND, String::new())
    }

    /// A method that nothing answers here.
    pub(super) fn method() -> Self {
        let detail = "40500: The specified HTTP verb is not valid here.".to_owned();
        Self::new(StatusCode::METHOD_NOT_ALLOWED, detail)
    }

    /// What is wrong, for those who did not ask over HTTP.
    pub(super) fn words(&self) -> &str {
        if self.detail.is_empty() { "no such entity" } else { self.detail.trim_end_matches([' ', '.']) }
    }

    /// As an answer; `tracker` says where.
    pub(super) fn response(&self, tracker: &str, now: UnixMillis) -> Response<Payload> {
        if self.detail.is_empty() {
            let mut response = super::super::respond(self.status, Payload::sized(""), now);
            response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
            response.extensions_mut().insert(ReasonPhrase::from_static(b"40400: Endpoint not found."));
            return response;
        }
        let by = if self.by_broker { 'B' } else { 'G' };
        let lines: Vec<String> = self.detail.split('\n').map(escape_xml).collect();
        let xml = format!(
            "<Error><Code>{}</Code><Detail>{} TrackingId:{}_{by}1, SystemTracker:{}, Timestamp:{}</Detail></Error>",
            self.status.as_u16(),
            lines.join("&#xD;\n"),
            Uuid::new_v4(),
            escape_xml(tracker),
            now.iso_seconds()
        );
        let mut response = super::super::respond(self.status, Payload::chunked(xml), now);
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(super::super::XML));
        response
    }
}
