//! Errors as the blob service words them: `x-ms-error-code`, and XML with code and message.

use http::StatusCode;

use crate::account::OperationError;
use crate::auth::storage as auth;
use crate::blob::BlobError;

/// A request that is not carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    pub(super) code: &'static str,
    pub(super) message: &'static str,
}

impl Refusal {
    pub(super) const fn new(status: StatusCode, code: &'static str, message: &'static str) -> Self {
        Self { status, code, message }
    }

    pub(super) const INVALID_URI: Self = Self::new(
        StatusCode::BAD_REQUEST,
        "InvalidUri",
        "The requested URI does not represent any resource on the server.",
    );
    pub(super) const NOT_IMPLEMENTED: Self = Self::new(
        StatusCode::NOT_IMPLEMENTED,
        "APINotImplemented",
        "This operation is not implemented by the emulator.",
    );
    pub(super) const NO_LENGTH: Self = Self::new(
        StatusCode::LENGTH_REQUIRED,
        "MissingContentLengthHeader",
        "The Content-Length header was not specified.",
    );
    pub(super) const MISSING_HEADER: Self = Self::new(
        StatusCode::BAD_REQUEST,
        "MissingRequiredHeader",
        "An HTTP header that's mandatory for this request is not specified.",
    );
    pub(super) const INVALID_HEADER: Self = Self::new(
        StatusCode::BAD_REQUEST,
        "InvalidHeaderValue",
        "The value for one of the HTTP headers is not in the correct format.",
    );
    pub(super) const INVALID_METADATA: Self = Self::new(
        StatusCode::BAD_REQUEST,
        "InvalidMetadata",
        "The metadata specified is invalid. It has characters that are not permitted.",
    );
    pub(super) const METADATA_TOO_LARGE: Self = Self::new(
        StatusCode::BAD_REQUEST,
        "MetadataTooLarge",
        "The size of the specified metadata exceeds the maximum size permitted.",
    );
    pub(super) const INVALID_NAME: Self = Self::new(
        StatusCode::BAD_REQUEST,
        "InvalidResourceName",
        "The specified resource name contains invalid characters.",
    );
    pub(super) const TOO_LARGE: Self = Self::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        "RequestBodyTooLarge",
        "The request body is too large and exceeds the maximum permissible limit.",
    );
    pub(super) const BROKEN_BODY: Self =
        Self::new(StatusCode::BAD_REQUEST, "IncompleteBody", "The body ended before its declared length.");

    /// The error that belongs to a status that was injected.
    pub(super) fn injected(status: u16) -> Self {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        match status.as_u16() {
            403 => auth::Refusal::Authentication.into(),
            404 => BlobError::BlobNotFound.into(),
            409 => BlobError::BlobExists.into(),
            412 => BlobError::ConditionNotMet.into(),
            500 => {
                Self::new(status, "OperationTimedOut", "Operation could not be completed within the specified time.")
            }
            503 => Self::new(status, "ServerBusy", "The server is currently unable to receive requests. Please retry."),
            _ => Self::new(status, "InternalError", "The server encountered an internal error. Please retry."),
        }
    }
}

impl From<OperationError> for Refusal {
    fn from(error: OperationError) -> Self {
        match error {
            OperationError::Blob(error) => error.into(),
            OperationError::Store(_) => Self::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "InternalError",
                "The server encountered an internal error.",
            ),
        }
    }
}

impl From<BlobError> for Refusal {
    fn from(error: BlobError) -> Self {
        match error {
            BlobError::ContainerNotFound => {
                Self::new(StatusCode::NOT_FOUND, "ContainerNotFound", "The specified container does not exist.")
            }
            BlobError::ContainerExists => {
                Self::new(StatusCode::CONFLICT, "ContainerAlreadyExists", "The specified container already exists.")
            }
            BlobError::BlobNotFound => {
                Self::new(StatusCode::NOT_FOUND, "BlobNotFound", "The specified blob does not exist.")
            }
            BlobError::BlobExists => {
                Self::new(StatusCode::CONFLICT, "BlobAlreadyExists", "The specified blob already exists.")
            }
            BlobError::ConditionNotMet => Self::new(
                StatusCode::PRECONDITION_FAILED,
                "ConditionNotMet",
                "The condition specified using HTTP conditional header(s) is not met.",
            ),
            BlobError::NotModified => Self::new(
                StatusCode::NOT_MODIFIED,
                "ConditionNotMet",
                "The condition specified using HTTP conditional header(s) is not met.",
            ),
            BlobError::MultipleConditions => Self::new(
                StatusCode::BAD_REQUEST,
                "MultipleConditionHeadersNotSupported",
                "Multiple condition headers are not supported.",
            ),
            BlobError::NotLeased => Self::new(
                StatusCode::PRECONDITION_FAILED,
                "LeaseNotPresentWithBlobOperation",
                "There is currently no lease on the blob.",
            ),
            BlobError::OverwriteNotAuthorized => Self::new(
                StatusCode::FORBIDDEN,
                "UnauthorizedBlobOverwrite",
                "This request is not authorized to perform blob overwrites.",
            ),
        }
    }
}

impl From<auth::Refusal> for Refusal {
    fn from(refusal: auth::Refusal) -> Self {
        let (code, message) = match refusal {
            auth::Refusal::NoCredential => {
                ("AuthorizationFailure", "This request is not authorized to perform this operation.")
            }
            auth::Refusal::Authentication | auth::Refusal::Expired => (
                "AuthenticationFailed",
                "Server failed to authenticate the request. Make sure the value of Authorization header is formed \
                 correctly including the signature.",
            ),
            auth::Refusal::Permission => (
                "AuthorizationPermissionMismatch",
                "This request is not authorized to perform this operation using this permission.",
            ),
            auth::Refusal::Service => (
                "AuthorizationServiceMismatch",
                "This request is not authorized to perform this operation using this service.",
            ),
            auth::Refusal::ResourceType => (
                "AuthorizationResourceTypeMismatch",
                "This request is not authorized to perform this operation using this resource type.",
            ),
            auth::Refusal::Protocol => (
                "AuthorizationProtocolMismatch",
                "This request is not authorized to perform this operation using this protocol.",
            ),
        };
        Self::new(StatusCode::FORBIDDEN, code, message)
    }
}
