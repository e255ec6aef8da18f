//! What does not load, and how it says so.

use crate::support::Project;

#[tokio::test]
async fn a_file_that_is_not_there_is_named() {
    let project = Project::bare("[component.c]\nsource = \"missing.wasm\"");
    let path = project.folder().join("missing.wasm");
    let text = project.refusal().await;
    assert!(text.starts_with(&format!("cannot read {}: ", path.display())), "{text}");
}

#[tokio::test]
async fn a_file_that_is_no_component_is_refused() {
    let project = Project::bare("[component.c]\nsource = \"c.wasm\"");
    std::fs::write(project.folder().join("c.wasm"), "no wasm").unwrap();
    let text = project.refusal().await;
    assert!(text.starts_with("cannot prepare the component `c`: "), "{text}");
}

#[tokio::test]
async fn a_key_that_is_not_supported_is_named() {
    let project = Project::new("key_value_stores = [\"default\"]");
    let path = project.folder().join("spin.toml");
    let expected = format!("{}: `component.guest.key_value_stores` is not supported by this host", path.display());
    assert_eq!(project.refusal().await, expected);
}

#[tokio::test]
async fn a_variable_without_a_value_is_named() {
    let project = Project::new("[variables]\nno_such_variable_is_set = { required = true, secret = true }");
    let expected = "the variable `no_such_variable_is_set` has no value: set SPIN_VARIABLE_NO_SUCH_VARIABLE_IS_SET";
    assert_eq!(project.refusal().await, expected);
}

#[tokio::test]
async fn a_host_that_makes_no_sense_is_refused_without_its_value() {
    let project =
        Project::new("allowed_outbound_hosts = [\"{{ origin }}\"]\n[variables]\norigin = { required = true }")
            .variable("origin", "https://secret.example/path");
    let text = project.refusal().await;
    let expected = "`component.guest.allowed_outbound_hosts`: \"{{ origin }}\" is not of the form scheme://host[:port]";
    assert_eq!(text, expected);
}
