//! The components in `target/wasm32-wasip2/release`, which is where `spin.toml` takes them from.

use std::path::Path;

use oncebus_imports_check::{Allowance, COMPONENTS, imports};

const RELEASE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/wasm32-wasip2/release");

#[test]
fn no_component_imports_more_than_it_is_meant_to() {
    let complaints: Vec<String> = COMPONENTS.iter().filter_map(|component| complaint(component).err()).collect();
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

fn complaint(component: &Allowance) -> Result<(), String> {
    let file = component.file;
    let bytes = std::fs::read(Path::new(RELEASE).join(file))
        .map_err(|error| format!("{file}: cannot be read ({error}): run scripts/build"))?;
    let found = imports(&bytes).map_err(|error| format!("{file}: {error}"))?;
    // Rust's standard library imports something everywhere: nothing at all means that nothing was built in.
    if found.is_empty() {
        return Err(format!("{file}: imports nothing, so it cannot be the component: run scripts/build"));
    }
    match component.beyond(&found) {
        beyond if beyond.is_empty() => Ok(()),
        beyond => Err(format!("{file}: imports {}, which its allowance does not have", beyond.join(", "))),
    }
}
