//! The blob service as a client sees it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests are tests"
)]

mod support;

use std::time::Duration;

use oncebus_emulator::{Emulator, Options};
use reqwest::Method;
use support::{Blobs, headers, outcome, raw};

async fn start() -> (Emulator, Blobs) {
    let options = Options { containers: vec!["records".to_owned()], ..Options::default() };
    let emulator = Emulator::start(options).await.unwrap();
    let blobs = Blobs::new(&emulator.blob_url(), "records", "rcwd");
    (emulator, blobs)
}

fn said(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

async fn etag(request: reqwest::RequestBuilder) -> String {
    headers(&request.send().await.unwrap())["etag"].clone()
}

#[tokio::test]
async fn the_conditions_that_a_lock_lives_by() {
    let (emulator, blobs) = start().await;
    let create = || blobs.put("a/b").header("if-none-match", "*").header("x-ms-meta-st", "p");
    let update = |tag: &str| blobs.set_metadata("a/b").header("if-match", tag).header("x-ms-meta-st", "d");

    assert_eq!(outcome(update("\"0x1\"")).await, said(412, "ConditionNotMet"));
    assert_eq!(outcome(blobs.set_metadata("a/b")).await, said(404, "BlobNotFound"));
    assert_eq!(outcome(blobs.head("a/b")).await, said(404, "BlobNotFound"));
    let first = etag(create()).await;
    assert_eq!(outcome(create()).await, said(409, "BlobAlreadyExists"));
    let second = etag(update(&first)).await;
    assert_ne!(first, second);
    assert_eq!(outcome(update(&first)).await, said(412, "ConditionNotMet"));
    assert_eq!(outcome(blobs.put("a/b").header("if-match", &first)).await, said(412, "ConditionNotMet"));
    assert_eq!(outcome(blobs.head("a/b").header("if-none-match", &second)).await, said(304, "ConditionNotMet"));
    let both = blobs.put("a/b").header("if-match", &second).header("if-none-match", "*");
    assert_eq!(outcome(both).await, said(400, "MultipleConditionHeadersNotSupported"));
    let delete = |tag: &str| blobs.request(Method::DELETE, "a/b", "").header("if-match", tag);
    assert_eq!(outcome(delete(&first)).await, said(412, "ConditionNotMet"));
    assert_eq!(outcome(delete(&second)).await, said(202, ""));
    emulator.shutdown().await;
}

#[tokio::test]
async fn only_one_of_many_creates_the_blob() {
    let (emulator, blobs) = start().await;
    for round in 0..10 {
        let create = |_| tokio::spawn(outcome(blobs.put(&format!("r{round}")).header("if-none-match", "*")));
        let racing: Vec<_> = (0..16).map(create).collect();
        let mut winners = 0;
        for racer in racing {
            let (status, code) = racer.await.unwrap();
            match status {
                201 => winners += 1,
                _ => assert_eq!((status, code.as_str()), (409, "BlobAlreadyExists")),
            }
        }
        assert_eq!(winners, 1, "round {round}");
    }
    emulator.shutdown().await;
}

#[tokio::test]
async fn a_look_tells_metadata_versions_and_the_servers_time() {
    let (emulator, blobs) = start().await;
    let body = blobs.http.put(format!("{}/records/x?{}", blobs.url, blobs.sas)).body("hello");
    let put = body.header("x-ms-blob-type", "BlockBlob").header("content-type", "text/plain");
    let written = headers(&put.header("x-ms-meta-st", "p").send().await.unwrap());
    emulator.admin().advance_clock(Duration::from_secs(100));
    let look = blobs.head("x").send().await.unwrap();
    let seen = headers(&look);
    assert_eq!((seen["x-ms-meta-st"].as_str(), seen["content-length"].as_str()), ("p", "5"));
    assert_eq!((&seen["etag"], &seen["last-modified"]), (&written["etag"], &written["last-modified"]));
    assert_eq!(seen["content-type"], "text/plain");
    let age = |name: &str| httpdate::parse_http_date(&seen[name]).unwrap();
    let age = age("date").duration_since(age("last-modified")).unwrap();
    assert!((100..110).contains(&age.as_secs()), "{age:?}");
    let text = blobs.request(Method::GET, "x", "").send().await.unwrap().text().await.unwrap();
    assert_eq!(text, "hello");
    // Setting metadata replaces all of it and keeps the body.
    blobs.set_metadata("x").header("x-ms-meta-ep", "2").send().await.unwrap();
    let seen = headers(&blobs.head("x").send().await.unwrap());
    assert_eq!((seen.get("x-ms-meta-st"), seen["content-length"].as_str()), (None, "5"));
    let views = emulator.admin().blobs("records");
    assert_eq!((views[0].name.as_str(), views[0].metadata["ep"].as_str(), views[0].length), ("x", "2", 5));
    assert_eq!(views[0].etag, seen["etag"]);
    emulator.shutdown().await;
}

#[tokio::test]
async fn what_a_write_must_say() {
    let (emulator, blobs) = start().await;
    let plain = |query: &str| blobs.request(Method::PUT, "x", query);
    assert_eq!(outcome(plain("")).await, said(400, "MissingRequiredHeader"));
    assert_eq!(outcome(blobs.put("x").header("x-ms-meta-lock-epoch", "1")).await, said(400, "InvalidMetadata"));
    let large = blobs.put("x").header("x-ms-meta-a", "x".repeat(8 * 1024));
    assert_eq!(outcome(large).await, said(400, "MetadataTooLarge"));
    let url = format!("{}/records/x?{}", blobs.url, blobs.sas);
    let undated = blobs.http.get(url).header("x-ms-version", "today");
    assert_eq!(outcome(undated).await, said(400, "InvalidHeaderValue"));
    assert_eq!(outcome(plain("comp=lease&")).await, said(501, "APINotImplemented"));
    let address = blobs.url.trim_start_matches("http://").split('/').next().unwrap();
    let request = format!(
        "PUT /devstoreaccount1/records/x?{} HTTP/1.1\r\nHost: h\r\nConnection: close\r\nx-ms-version: 2023-11-03\r\n\
         x-ms-blob-type: BlockBlob\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        blobs.sas
    );
    let answer = raw(address, &request).await;
    assert!(answer.starts_with("HTTP/1.1 411 "), "{answer}");
    assert!(emulator.admin().blobs("records").is_empty());
    emulator.shutdown().await;
}

#[tokio::test]
async fn a_sas_reaches_as_far_as_its_letters() {
    let (emulator, blobs) = start().await;
    let url = emulator.blob_url();
    assert_eq!(outcome(blobs.put("x")).await, said(201, ""));
    let read = Blobs::new(&url, "records", "r");
    assert_eq!(outcome(read.head("x")).await, said(200, ""));
    assert_eq!(outcome(read.put("y")).await, said(403, "AuthorizationPermissionMismatch"));
    let create = Blobs::new(&url, "records", "c");
    assert_eq!(outcome(create.put("z").header("if-none-match", "*")).await, said(201, ""));
    let again = create.put("z").header("if-none-match", "*");
    assert_eq!(outcome(again).await, said(403, "UnauthorizedBlobOverwrite"));
    assert_eq!(outcome(create.set_metadata("z")).await, said(403, "AuthorizationPermissionMismatch"));
    let keeper = Blobs::new(&url, "records", "rcw");
    let delete = keeper.request(Method::DELETE, "x", "");
    assert_eq!(outcome(delete).await, said(403, "AuthorizationPermissionMismatch"));
    let forged = Blobs { sas: blobs.sas.replace("sp=rcwd", "sp=rcwdl"), ..blobs.clone() };
    assert_eq!(outcome(forged.put("x")).await, said(403, "AuthenticationFailed"));
    let elsewhere = Blobs { container: "other".to_owned(), ..blobs.clone() };
    assert_eq!(outcome(elsewhere.put("x")).await, said(403, "AuthenticationFailed"));
    let naked = blobs.http.get(format!("{url}/records/x"));
    assert_eq!(outcome(naked).await, said(403, "AuthorizationFailure"));
    emulator.admin().advance_storage_clock(Duration::from_secs(86_400 * 365 * 80));
    assert_eq!(outcome(blobs.head("x")).await, said(403, "AuthenticationFailed"));
    emulator.shutdown().await;
}
