//! Which interfaces a component imports, and which of them it has no business with.
//!
//! An import is a right that a component asks its host for, and a host that it can no longer run on. So each
//! component has a list ([`COMPONENTS`]), and the test of this package fails on the first import beyond it: a crate that
//! quietly reads the file system or opens a socket is noticed when it comes in.
//!
//! The binary is read as it is; nothing is compared by searching text.

use wasmparser::{Parser, Payload};

/// The last patch of WASI 0.2 that every Spin from 3.x on has.
const NEWEST_WASI_PATCH: u32 = 6;

/// What every component may import: the parts of WASI that Rust's standard library and timers need.
const WASI: &[&str] = &["wasi:cli", "wasi:clocks", "wasi:io", "wasi:random"];
/// What a component that sends requests imports besides.
const HTTP: &[&str] = &["wasi:http/outgoing-handler", "wasi:http/types"];
const VARIABLES: &str = "fermyon:spin/variables@2.0.0";
const SQLITE: &str = "fermyon:spin/sqlite@2.0.0";
const PROCESSOR: &str = "oncebus:processor/process@0.1.0";

/// A component and what it may import beside [`WASI`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowance {
    /// The file, in `target/wasm32-wasip2/release`.
    pub file: &'static str,
    /// Whether it speaks HTTP.
    pub http: bool,
    /// Interfaces with their exact versions.
    pub others: &'static [&'static str],
}

/// Every component that is built here.
pub const COMPONENTS: &[Allowance] = &[
    Allowance { file: "oncebus_ingest.wasm", http: true, others: &[VARIABLES] },
    Allowance { file: "oncebus_queue_handler.wasm", http: true, others: &[VARIABLES, PROCESSOR] },
    Allowance { file: "oncebus_store.wasm", http: false, others: &[SQLITE] },
    Allowance { file: "oncebus_flaky.wasm", http: false, others: &[SQLITE] },
];

/// Why the imports of a file cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The bytes are no WebAssembly.
    #[error("not a WebAssembly binary")]
    Malformed(#[from] wasmparser::BinaryReaderError),
    /// The bytes are a module.
    #[error("a core module, not a component")]
    Module,
}

/// The names of everything that a component imports, in its own order. What is nested in it is no import of its own.
///
/// # Errors
/// The bytes are no component.
pub fn imports(component: &[u8]) -> Result<Vec<String>, ReadError> {
    if !Parser::is_component(component) {
        return Err(if Parser::is_core_wasm(component) {
            ReadError::Module
        } else {
            // The parser says what is wrong.
            match Parser::new(0).parse_all(component).find_map(Result::err) {
                Some(error) => error.into(),
                None => ReadError::Module,
            }
        });
    }
    let mut names = Vec::new();
    let mut depth = 0_usize;
    for payload in Parser::new(0).parse_all(component) {
        match payload? {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::ComponentImportSection(section) if depth == 0 => {
                for import in section {
                    names.push(import?.name.name.to_owned());
                }
            }
            _ => {}
        }
    }
    Ok(names)
}

impl Allowance {
    /// Those of these imports that the component may not have.
    #[must_use]
    pub fn beyond(&self, imports: &[String]) -> Vec<String> {
        imports.iter().filter(|import| !self.allows(import)).cloned().collect()
    }

    fn allows(&self, import: &str) -> bool {
        if self.others.contains(&import) {
            return true;
        }
        let Some((interface, version)) = import.split_once('@') else { return false };
        let package = interface.split_once('/').map_or(interface, |(package, _)| package);
        let named = WASI.contains(&package) || (self.http && HTTP.contains(&interface));
        let patch = version.strip_prefix("0.2.").and_then(|patch| patch.parse::<u32>().ok());
        named && patch.is_some_and(|patch| patch <= NEWEST_WASI_PATCH)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STORE: Allowance = Allowance { file: "", http: false, others: &[SQLITE] };

    /// A component with one section of imports: each an instance of type 0, which nobody looks up here.
    fn component(names: &[&str]) -> Vec<u8> {
        let mut section = vec![u8::try_from(names.len()).unwrap()];
        for name in names {
            section.extend([0x00, u8::try_from(name.len()).unwrap()]);
            section.extend(name.as_bytes());
            section.extend([0x05, 0x00]);
        }
        let mut bytes = b"\0asm\x0d\0\x01\0\x0a".to_vec();
        bytes.push(u8::try_from(section.len()).unwrap());
        bytes.extend(section);
        bytes
    }

    #[test]
    fn imports_are_read_out_of_the_binary() {
        let names = ["wasi:io/poll@0.2.6", "fermyon:spin/sqlite@2.0.0"];
        assert_eq!(imports(&component(&names)).unwrap(), names);
        assert!(matches!(imports(b"\0asm\x01\0\0\0"), Err(ReadError::Module)));
        assert!(matches!(imports(b"not wasm"), Err(ReadError::Malformed(_))));
    }

    #[test]
    fn what_is_nested_is_no_import_of_the_outer_component() {
        let inner = component(&["wasi:sockets/tcp@0.2.0"]);
        let mut outer = b"\0asm\x0d\0\x01\0\x04".to_vec();
        outer.push(u8::try_from(inner.len()).unwrap());
        outer.extend(inner);
        assert_eq!(imports(&outer).unwrap(), Vec::<&str>::new());
    }

    #[test]
    fn an_import_beyond_the_list_is_named() {
        let found = [
            "wasi:io/poll@0.2.6",
            "wasi:io/poll@0.2.9",
            "wasi:io/poll@0.3.0",
            "wasi:io/poll",
            "wasi:filesystem/types@0.2.6",
            "wasi:http/types@0.2.6",
            "fermyon:spin/sqlite@2.0.0",
            "fermyon:spin/sqlite@3.0.0",
            "fermyon:spin/variables@2.0.0",
        ];
        let found = found.map(str::to_owned);
        let mut beyond = STORE.beyond(&found);
        assert_eq!(beyond.pop().as_deref(), Some("fermyon:spin/variables@2.0.0"));
        assert_eq!(beyond.pop().as_deref(), Some("fermyon:spin/sqlite@3.0.0"));
        assert_eq!(beyond, found[1..6]);
        assert_eq!(Allowance { http: true, ..STORE }.beyond(&found[5..6]), Vec::<&str>::new());
    }
}
