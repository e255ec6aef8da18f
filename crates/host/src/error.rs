//! Why an application does not load or start.

use std::path::PathBuf;

/// Why [`App::load`](crate::App::load) failed. Nothing was started.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A file that the manifest names, or the manifest itself, cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The manifest says something that this host does not do, or that makes no sense.
    #[error("{}", path.display())]
    Manifest {
        /// The manifest.
        path: PathBuf,
        /// What is wrong with it.
        source: ManifestError,
    },
    /// A required variable has no value.
    #[error("the variable `{name}` has no value: set SPIN_VARIABLE_{}", name.to_uppercase())]
    MissingVariable {
        /// The application's name for it.
        name: String,
    },
    /// An entry of `allowed_outbound_hosts` makes no sense once its templates are filled in.
    #[error("`component.{component}.allowed_outbound_hosts`: \"{entry}\" {reason}")]
    AllowedHost {
        /// The component that asks for it.
        component: String,
        /// The entry as the manifest has it; values of variables are left out, they may be secret.
        entry: String,
        /// What was expected.
        reason: String,
    },
    /// A component and its dependencies do not fit together.
    #[error("cannot compose the component `{component}`")]
    Compose {
        /// The component that has the dependencies.
        component: String,
        /// Which name or type does not fit.
        source: ComposeError,
    },
    /// A component is not WebAssembly, needs an import that this host leaves out, or does not handle HTTP.
    #[error("cannot prepare the component `{component}`")]
    Component {
        /// The component.
        component: String,
        /// What wasmtime says; it names a missing import.
        source: wasmtime::Error,
    },
    /// The SQLite database cannot be opened.
    #[error("cannot open the SQLite database")]
    Database(#[from] rusqlite::Error),
    /// The engine cannot be made on this machine.
    #[error("cannot start wasmtime")]
    Engine(#[source] wasmtime::Error),
}

/// What is wrong with a manifest.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// It is not TOML, or a value has the wrong type.
    #[error("not a Spin manifest of version 2")]
    Syntax(#[from] toml::de::Error),
    /// A key that this host does not know. Spin may: what Oncebus does not use is left out here.
    #[error("`{key}` is not supported by this host")]
    Unsupported {
        /// Its path from the root of the manifest.
        key: String,
    },
    /// A value that this host does not take.
    #[error("`{key}`: {reason}")]
    Invalid {
        /// Its path from the root of the manifest.
        key: String,
        /// What was expected.
        reason: String,
    },
}

/// Why a component cannot be joined with its dependencies.
#[derive(Debug, thiserror::Error)]
pub enum ComposeError {
    /// The manifest names a dependency that the component does not import.
    #[error("it does not import `{dependency}`")]
    NotImported {
        /// The name in the manifest.
        dependency: String,
    },
    /// The dependency does not export what the component imports.
    #[error("the dependency does not export `{export}`")]
    NotExported {
        /// The export that is missing.
        export: String,
    },
    /// Both have the name, but the types differ.
    #[error("the dependency's `{export}` has another type than the import")]
    Mismatch {
        /// The export of the wrong type.
        export: String,
        /// Where the types differ.
        source: anyhow::Error,
    },
    /// A file is not a component, or the composition is not valid.
    #[error("not a component that can be composed")]
    Component(#[source] anyhow::Error),
}

/// Why [`App::serve`](crate::App::serve) failed.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address is taken, or not ours.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address that was asked for.
        address: std::net::SocketAddr,
        /// What the system says.
        source: std::io::Error,
    },
}
