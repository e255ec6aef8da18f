//! Blob requests as they are sent, and every answer that matters to the record protocol.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, Response};
use oncebus_azure::blob::{
    self, BlobContainer, BlobErrorKind, Condition, ContainerOutcome, CreateOutcome, ETag, GetOutcome, HeadOutcome,
    Metadata, WriteOutcome,
};
use oncebus_azure::connection::StorageConnection;
use oncebus_core::time::UnixTime;

const SAS: &str = "sv=2023-11-03&sr=c&sp=rcw&se=2026-01-02T03%3A04%3A05Z&sig=a%2Bb%3D";

fn container() -> BlobContainer {
    let text = format!("BlobEndpoint=http://127.0.0.1:10000/devstoreaccount1;SharedAccessSignature={SAS}");
    BlobContainer::new(&StorageConnection::parse(&text).unwrap(), "records", UnixTime(0), Duration::ZERO)
}

fn etag() -> ETag {
    ETag::parse("\"0x8D\"").unwrap()
}

fn answer(status: u16, headers: &[(&str, &str)]) -> Response<Bytes> {
    let mut response = Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(*name, *value);
    }
    response.body(Bytes::new()).unwrap()
}

fn refusal(status: u16, code: &str) -> Response<Bytes> {
    answer(status, &[("x-ms-error-code", code)])
}

#[track_caller]
fn assert_request(request: &Request<Bytes>, method: &str, path_and_query: &str, headers: &[(&str, &str)]) {
    assert_eq!(request.method(), method);
    assert_eq!(request.uri().to_string(), format!("http://127.0.0.1:10000/devstoreaccount1{path_and_query}"));
    let mut ours: Vec<(&str, &str)> =
        request.headers().iter().map(|(n, v)| (n.as_str(), v.to_str().unwrap())).collect();
    let mut expected = headers.to_vec();
    expected.push(("x-ms-version", "2023-11-03"));
    ours.sort_unstable();
    expected.sort_unstable();
    assert_eq!(ours, expected);
}

#[test]
fn a_claim_is_an_empty_blob_that_must_not_exist() {
    let metadata = Metadata::from_pairs([("st", "p"), ("ep", "1")]).unwrap();
    let headers = [
        ("content-length", "0"),
        ("if-none-match", "*"),
        ("x-ms-blob-type", "BlockBlob"),
        ("x-ms-meta-ep", "1"),
        ("x-ms-meta-st", "p"),
    ];
    let request = container().create("0ab/orders/0abc", &metadata);
    assert_request(&request, "PUT", &format!("/records/0ab/orders/0abc?{SAS}"), &headers);
}

#[test]
fn a_renewal_sets_all_metadata_under_if_match() {
    let metadata = Metadata::from_pairs([("st", "d")]).unwrap();
    let headers = [("content-length", "0"), ("if-match", "\"0x8D\""), ("x-ms-meta-st", "d")];
    let request = container().set_metadata("b", &etag(), &metadata);
    assert_request(&request, "PUT", &format!("/records/b?comp=metadata&{SAS}"), &headers);
}

#[test]
fn reads_carry_nothing_but_the_version() {
    assert_request(&container().head("b"), "HEAD", &format!("/records/b?{SAS}"), &[]);
    assert_request(&container().get("a b/ü"), "GET", &format!("/records/a%20b/%C3%BC?{SAS}"), &[]);
}

#[test]
fn a_blob_is_written_under_the_condition_that_is_asked_for() {
    let json = HeaderValue::from_static("application/json");
    let common =
        [("content-length", "2"), ("x-ms-blob-content-type", "application/json"), ("x-ms-blob-type", "BlockBlob")];
    let cases = [
        (Condition::Always, None),
        (Condition::IfAbsent, Some(("if-none-match", "*"))),
        (Condition::IfMatch(etag()), Some(("if-match", "\"0x8D\""))),
    ];
    for (condition, header) in cases {
        let request = container().put("b", Bytes::from_static(b"{}"), &json, &condition);
        let headers: Vec<_> = common.into_iter().chain(header).collect();
        assert_request(&request, "PUT", &format!("/records/b?{SAS}"), &headers);
        assert_eq!(request.body(), "{}");
    }
}

#[test]
fn a_container_is_signed_for_where_there_is_an_account_key() {
    let keyed = StorageConnection::parse("UseDevelopmentStorage=true").unwrap();
    let container = BlobContainer::new(&keyed, "records", UnixTime(1_767_319_445), Duration::from_secs(3600));
    assert_eq!(container.sas_expires_at(), Some(UnixTime(1_767_323_045)));
    // The signature is the one in the golden test of the SAS.
    let expected =
        "sv=2023-11-03&sr=c&sp=rcw&se=2026-01-02T03%3A04%3A05Z&sig=hNPibS6q45QkWDW2KFnq41Nbkm6c2yjeFbZ0abXYW2M%3D";
    assert_request(&container.head("b"), "HEAD", &format!("/records/b?{expected}"), &[]);
}

#[test]
fn a_container_is_made_with_the_account_key() {
    let keyed = StorageConnection::parse("UseDevelopmentStorage=true").unwrap();
    let request = blob::create_container(&keyed, "records", UnixTime(784_111_777));
    // The signature is what azure-storage-blob 12.31.1 for Python makes of the same request.
    let headers = [
        ("authorization", "SharedKey devstoreaccount1:9MNllcDxBSHsySZsZX53bwCnzATKfU1bnfoUHyrQ8Bg="),
        ("content-length", "0"),
        ("x-ms-date", "Sun, 06 Nov 1994 08:49:37 GMT"),
    ];
    assert_request(&request, "PUT", "/records?restype=container", &headers);
}

#[test]
fn a_container_is_asked_for_with_a_ready_made_sas() {
    let text = format!("BlobEndpoint=http://127.0.0.1:10000/devstoreaccount1;SharedAccessSignature={SAS}");
    let request = blob::create_container(&StorageConnection::parse(&text).unwrap(), "records", UnixTime(0));
    assert_request(&request, "PUT", &format!("/records?restype=container&{SAS}"), &[("content-length", "0")]);
}

#[test]
fn a_create_creates_or_finds_one() {
    let created = answer(201, &[("ETag", "\"0x8D\"")]);
    assert_eq!(blob::parse_create(created), Ok(CreateOutcome::Created { etag: etag() }));
    for exists in [
        refusal(409, "BlobAlreadyExists"),
        refusal(412, "ConditionNotMet"),
        refusal(412, "LeaseIdMissing"),
        answer(409, &[]),
    ] {
        assert_eq!(blob::parse_create(exists), Ok(CreateOutcome::Exists));
    }
    for (status, code) in [(404, "ContainerNotFound"), (404, ""), (409, "ContainerBeingDeleted")] {
        let error = blob::parse_create(refusal(status, code)).unwrap_err();
        assert_eq!(error.kind, BlobErrorKind::ContainerMissing, "{status} {code}");
    }
    let error = blob::parse_create(answer(201, &[])).unwrap_err();
    assert_eq!(error.kind, BlobErrorKind::Malformed, "a success without an ETag is no claim");
    let error = blob::parse_create(answer(201, &[("ETag", "")])).unwrap_err();
    assert_eq!(error.kind, BlobErrorKind::Malformed, "nor is one with an empty ETag");
}

#[test]
fn a_look_finds_state_and_both_of_the_servers_times() {
    let found = answer(
        200,
        &[
            ("ETag", "\"0x8D\""),
            ("Last-Modified", "Sun, 06 Nov 1994 08:49:37 GMT"),
            ("Date", "Sun, 06 Nov 1994 08:50:07 GMT"),
            ("x-ms-meta-ST", "p"),
            ("x-ms-meta-ep", "3"),
            ("x-ms-version", "2023-11-03"),
        ],
    );
    let Ok(HeadOutcome::Found(seen)) = blob::parse_head(found) else { panic!("a blob") };
    assert_eq!(seen.etag, etag());
    assert_eq!(seen.date.since(seen.last_modified), Duration::from_secs(30));
    assert_eq!(seen.metadata, [("st", "p"), ("ep", "3")].map(|(n, v)| (n.to_owned(), v.to_owned())).into());

    // A HEAD has no body: without the header nothing says what is missing, and the blob is the likely one.
    assert_eq!(blob::parse_head(refusal(404, "BlobNotFound")), Ok(HeadOutcome::Missing));
    assert_eq!(blob::parse_head(answer(404, &[])), Ok(HeadOutcome::Missing));
    let error = blob::parse_head(refusal(404, "ContainerNotFound")).unwrap_err();
    assert_eq!(error.kind, BlobErrorKind::ContainerMissing);
    for missing in [
        [("Date", "Sun, 06 Nov 1994 08:49:37 GMT"), ("ETag", "a")],
        [("Last-Modified", "Sun, 06 Nov 1994 08:49:37 GMT"), ("ETag", "a")],
        [("Last-Modified", "Sun, 06 Nov 1994 08:49:37 GMT"), ("Date", "Sun, 06 Nov 1994 08:49:37 GMT")],
    ] {
        assert_eq!(blob::parse_head(answer(200, &missing)).unwrap_err().kind, BlobErrorKind::Malformed);
    }
}

#[test]
fn a_read_finds_the_content() {
    let mut found = answer(200, &[("ETag", "\"0x8D\"")]);
    *found.body_mut() = Bytes::from_static(b"checkpoint");
    assert_eq!(blob::parse_get(found), Ok(GetOutcome::Found { etag: etag(), body: Bytes::from_static(b"checkpoint") }));
    assert_eq!(blob::parse_get(refusal(404, "BlobNotFound")), Ok(GetOutcome::Missing));
    let dated = answer(404, &[("Date", "Sun, 06 Nov 1994 08:49:37 GMT")]);
    assert_eq!(blob::answered_at(&dated), Some(UnixTime(784_111_777)), "whatever the answer");
    assert_eq!(blob::answered_at(&answer(200, &[("Date", "now")])), None);
}

#[test]
fn a_write_is_done_or_lost() {
    for status in [200, 201] {
        let written = answer(status, &[("ETag", "\"0x8D\"")]);
        assert_eq!(blob::parse_write(written), Ok(WriteOutcome::Written { etag: etag() }));
    }
    for lost in [
        refusal(412, "ConditionNotMet"),
        refusal(404, "BlobNotFound"),
        answer(404, &[]),
        refusal(409, "BlobAlreadyExists"),
    ] {
        assert_eq!(blob::parse_write(lost), Ok(WriteOutcome::Refused));
    }
    let error = blob::parse_write(refusal(404, "ContainerNotFound")).unwrap_err();
    assert_eq!(error.kind, BlobErrorKind::ContainerMissing);
}

#[test]
fn a_container_is_made_or_was_there() {
    assert_eq!(blob::parse_container(answer(201, &[])), Ok(ContainerOutcome::Created));
    assert_eq!(blob::parse_container(refusal(409, "ContainerAlreadyExists")), Ok(ContainerOutcome::Exists));
    let error = blob::parse_container(refusal(409, "ContainerBeingDeleted")).unwrap_err();
    assert_eq!(error.kind, BlobErrorKind::ContainerMissing);
    assert_eq!(blob::parse_container(answer(403, &[])).unwrap_err().kind, BlobErrorKind::Denied);
}

#[test]
fn a_refused_token_is_denied_and_never_an_outcome() {
    for (status, code) in
        [(403, "AuthenticationFailed"), (403, "UnauthorizedBlobOverwrite"), (401, "NoAuthenticationInformation")]
    {
        let kinds = [
            blob::parse_create(refusal(status, code)).unwrap_err(),
            blob::parse_head(refusal(status, code)).unwrap_err(),
            blob::parse_get(refusal(status, code)).unwrap_err(),
            blob::parse_write(refusal(status, code)).unwrap_err(),
        ];
        for error in kinds {
            assert_eq!((error.kind, error.code.as_deref()), (BlobErrorKind::Denied, Some(code)));
            assert!(!error.is_retryable());
        }
    }
}

#[test]
fn busy_servers_are_told_from_broken_ones() {
    let busy = blob::parse_write(answer(503, &[("x-ms-error-code", "ServerBusy"), ("Retry-After", "3")])).unwrap_err();
    assert_eq!((busy.kind, busy.is_retryable()), (BlobErrorKind::Throttled, true));
    assert_eq!(busy.retry_after, Some(Duration::from_secs(3)));
    assert_eq!(busy.to_string(), "blob storage: throttled (status 503, ServerBusy)");
    let broken = blob::parse_write(answer(500, &[])).unwrap_err();
    assert_eq!((broken.kind, broken.is_retryable()), (BlobErrorKind::Server, true));
    let bad = blob::parse_write(answer(400, &[])).unwrap_err();
    assert_eq!((bad.kind, bad.is_retryable()), (BlobErrorKind::BadRequest, false));
    assert_eq!(blob::parse_write(answer(302, &[])).unwrap_err().kind, BlobErrorKind::Malformed);
    let mut coded = answer(400, &[]);
    *coded.body_mut() = Bytes::from_static(b"<?xml version=\"1.0\"?><Error><Code>InvalidHeaderValue</Code></Error>");
    assert_eq!(blob::parse_write(coded).unwrap_err().code.as_deref(), Some("InvalidHeaderValue"));
}

#[test]
fn a_listing_asks_for_metadata_and_a_delete_for_the_version_that_was_listed() {
    use blob::listing::{DeleteOutcome, parse_delete, parse_page};

    let first = container().list("", None, 5_000);
    let common = "/records?restype=container&comp=list&include=metadata";
    assert_request(&first, "GET", &format!("{common}&maxresults=5000&{SAS}"), &[]);
    let next = container().list("ab/", Some("2!9 ä"), 2);
    let query = format!("{common}&maxresults=2&prefix=ab%2F&marker=2%219%20%C3%A4&{SAS}");
    assert_request(&next, "GET", &query, &[]);
    let delete = container().delete("abc/q/1", &etag());
    let headers = [("content-length", "0"), ("if-match", "\"0x8D\"")];
    assert_request(&delete, "DELETE", &format!("/records/abc/q/1?{SAS}"), &headers);

    assert_eq!(parse_delete(answer(202, &[])), Ok(DeleteOutcome::Deleted));
    for gone in [refusal(404, "BlobNotFound"), refusal(412, "ConditionNotMet"), answer(404, &[])] {
        assert_eq!(parse_delete(gone), Ok(DeleteOutcome::Refused));
    }
    let missing = || refusal(404, "ContainerNotFound");
    assert_eq!(parse_delete(missing()).unwrap_err().kind, BlobErrorKind::ContainerMissing);
    assert_eq!(parse_page(missing()).unwrap_err().kind, BlobErrorKind::ContainerMissing);
    let denied = || refusal(403, "AuthorizationPermissionMismatch");
    assert_eq!(parse_delete(denied()).unwrap_err().kind, BlobErrorKind::Denied);
    assert_eq!(parse_page(denied()).unwrap_err().kind, BlobErrorKind::Denied);
    // A blob with snapshots is not deleted alone.
    assert_eq!(parse_delete(refusal(409, "SnapshotsPresent")).unwrap_err().kind, BlobErrorKind::BadRequest);
}
