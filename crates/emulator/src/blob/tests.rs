//! The table of conditional requests, and what a version is.

use super::*;

const NOW: UnixMillis = UnixMillis(1_795_132_800_750);
const LATER: UnixMillis = UnixMillis(1_795_132_900_250);

fn store() -> BlobStore {
    let mut store = BlobStore::new(true);
    store.create_container("c", Metadata::new(), NOW).unwrap();
    store
}

fn metadata(value: &str) -> Metadata {
    Metadata::from([("st".to_owned(), value.to_owned())])
}

fn blob(value: &str) -> NewBlob {
    NewBlob { metadata: metadata(value), ..NewBlob::default() }
}

fn if_match(tag: &str) -> Conditions {
    Conditions { if_match: Tag::parse(tag), ..Conditions::default() }
}

fn if_none_match(tag: &str) -> Conditions {
    Conditions { if_none_match: Tag::parse(tag), ..Conditions::default() }
}

fn put(store: &mut BlobStore, name: &str, conditions: &Conditions) -> Result<Receipt, BlobError> {
    store.put("c", name, blob("p"), conditions, true, NOW)
}

const NONE: Conditions = Conditions {
    if_match: None,
    if_none_match: None,
    if_modified_since: None,
    if_unmodified_since: None,
    names_lease: false,
};

#[test]
fn put_under_conditions() {
    let mut store = store();
    assert_eq!(put(&mut store, "a", &if_match("*")), Err(BlobError::ConditionNotMet));
    assert_eq!(put(&mut store, "a", &if_match("\"0x1\"")), Err(BlobError::ConditionNotMet));
    let first = put(&mut store, "a", &if_none_match("*")).unwrap();
    assert_eq!(put(&mut store, "a", &if_none_match("*")), Err(BlobError::BlobExists));
    assert_eq!(put(&mut store, "a", &if_none_match(&first.etag.quoted())), Err(BlobError::ConditionNotMet));
    let second = put(&mut store, "a", &if_match(&first.etag.quoted())).unwrap();
    assert_ne!(second.etag, first.etag);
    assert_eq!(put(&mut store, "a", &if_match(&first.etag.quoted())), Err(BlobError::ConditionNotMet));
    assert!(put(&mut store, "a", &NONE).is_ok());
    let both = Conditions { if_match: Some(Tag::Any), if_none_match: Some(Tag::Any), ..NONE };
    assert_eq!(put(&mut store, "a", &both), Err(BlobError::MultipleConditions));
    assert_eq!(store.put("none", "a", blob(""), &NONE, true, NOW), Err(BlobError::ContainerNotFound));
}

#[test]
fn the_right_to_create_does_not_overwrite() {
    let mut store = store();
    assert!(store.put("c", "a", blob(""), &if_none_match("*"), false, NOW).is_ok());
    let again = store.put("c", "a", blob(""), &if_none_match("*"), false, NOW);
    assert_eq!(again, Err(BlobError::OverwriteNotAuthorized));
}

#[test]
fn set_metadata_under_conditions() {
    let mut store = store();
    let set =
        |store: &mut BlobStore, conditions: &Conditions| store.set_metadata("c", "a", metadata("d"), conditions, LATER);
    assert_eq!(set(&mut store, &NONE), Err(BlobError::BlobNotFound));
    assert_eq!(set(&mut store, &if_match("\"0x1\"")), Err(BlobError::ConditionNotMet));
    let first = put(&mut store, "a", &NONE).unwrap();
    // A condition for creates only, and an empty header: both are no conditions here.
    let ignored = set(&mut store, &if_none_match("*")).unwrap();
    let second = set(&mut store, &if_match("")).unwrap();
    assert_eq!(set(&mut store, &if_match(&first.etag.quoted())), Err(BlobError::ConditionNotMet));
    assert!(first.etag < ignored.etag && ignored.etag < second.etag);
    assert!(set(&mut store, &if_match(&second.etag.quoted())).is_ok());
    let found = store.get("c", "a", &NONE).unwrap();
    assert_eq!(found.properties.metadata, metadata("d"));
    assert_eq!(found.properties.last_modified, UnixMillis(1_795_132_900_000));
    assert_eq!(found.properties.created, UnixMillis(1_795_132_800_000));
}

#[test]
fn reads_and_deletes_under_conditions() {
    let mut store = store();
    let read = |store: &BlobStore, conditions: &Conditions| store.get("c", "a", conditions).map(|_| ());
    assert_eq!(read(&store, &NONE), Err(BlobError::BlobNotFound));
    assert_eq!(read(&store, &if_match("*")), Err(BlobError::BlobNotFound));
    assert_eq!(store.delete("c", "a", &NONE), Err(BlobError::BlobNotFound));
    assert_eq!(store.delete("c", "a", &if_match("*")), Err(BlobError::ConditionNotMet));
    let tag = put(&mut store, "a", &NONE).unwrap().etag.quoted();
    assert_eq!(read(&store, &if_none_match(&tag)), Err(BlobError::NotModified));
    assert_eq!(read(&store, &if_match("\"0x1\"")), Err(BlobError::ConditionNotMet));
    assert_eq!(read(&store, &if_match(&tag)), Ok(()));
    let since = Conditions { if_modified_since: Some(NOW), ..NONE };
    assert_eq!(read(&store, &since), Err(BlobError::NotModified));
    let since = Conditions { if_unmodified_since: Some(UnixMillis(NOW.0 - 1000)), ..NONE };
    assert_eq!(read(&store, &since), Err(BlobError::ConditionNotMet));
    assert_eq!(store.delete("c", "a", &if_match("\"0x1\"")), Err(BlobError::ConditionNotMet));
    assert_eq!(store.delete("c", "a", &if_match(&tag)), Ok(()));
    assert_eq!(read(&store, &NONE), Err(BlobError::BlobNotFound));
}

#[test]
fn no_blob_has_the_lease_that_a_request_names() {
    let mut store = store();
    let leased = Conditions { names_lease: true, if_none_match: Some(Tag::Any), ..NONE };
    assert!(put(&mut store, "a", &leased).is_ok());
    assert_eq!(put(&mut store, "a", &leased), Err(BlobError::NotLeased));
    assert_eq!(store.set_metadata("c", "a", metadata("d"), &leased, LATER), Err(BlobError::NotLeased));
    assert_eq!(store.get("c", "a", &leased).map(|_| ()), Err(BlobError::NotLeased));
    assert_eq!(store.delete("c", "a", &leased), Err(BlobError::NotLeased));
}

#[test]
fn versions_only_go_up_even_when_the_clock_does_not() {
    let mut store = store();
    let mut last = put(&mut store, "a", &NONE).unwrap().etag;
    for now in [NOW, NOW, UnixMillis(0), LATER, NOW] {
        let next = store.put("c", "a", blob("p"), &NONE, true, now).unwrap().etag;
        assert!(next > last);
        last = next;
    }
}

#[test]
fn a_restored_store_shows_the_same_and_goes_on() {
    let mut old = store();
    put(&mut old, "a", &NONE).unwrap();
    put(&mut old, "b/c", &NONE).unwrap();
    let mut new = BlobStore::new(true);
    old.take_changes().into_iter().for_each(|row| new.restore(row));
    for name in ["a", "b/c"] {
        assert_eq!(new.get("c", name, &NONE), old.get("c", name, &NONE));
    }
    let tag = old.get("c", "b/c", &NONE).unwrap().properties.etag;
    assert!(put(&mut new, "d", &NONE).unwrap().etag > tag);
    let names: Vec<_> = new.list("c", "b", "").unwrap().map(|(name, _)| name).collect();
    assert_eq!(names, ["b/c"]);
}

#[test]
fn metadata_names_are_identifiers_and_containers_have_their_own_rule() {
    for (name, good) in [("st", true), ("_a1", true), ("lock-epoch", false), ("1a", false), ("", false)] {
        assert_eq!(is_metadata_name(name), good, "{name}");
    }
    for (name, good) in
        [("records", true), ("a-b", true), ("ab", false), ("A-b", false), ("a--b", false), ("$root", true)]
    {
        assert_eq!(is_container_name(name), good, "{name}");
    }
}
