//! An application: a manifest, its components compiled, its variables resolved.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use wasmtime::component::{Component as Wasm, HasSelf, Linker};
use wasmtime_wasi_http::p2::bindings::ProxyPre;

use crate::client::Client;
use crate::compose::{self, compose};
use crate::error::{LoadError, ManifestError, ServeError};
use crate::hook::OutboundHook;
use crate::hosts::AllowedHosts;
use crate::instance::{Component, State};
use crate::log::LogSink;
use crate::manifest::{self, Manifest, invalid};
use crate::route::Router;
use crate::server::Server;
use crate::sqlite::{Database, Sqlite};
use crate::variables::Variables;
use crate::{bindings, deny, engine};

/// How an application is loaded. All defaults are Spin's.
#[derive(Default)]
pub struct Options {
    /// Values of variables, by name; those of the environment (`SPIN_VARIABLE_NAME`) come second. A name that
    /// the manifest does not declare is ignored, as it would be in the environment.
    pub variables: BTreeMap<String, String>,
    /// Where the SQLite database `default` is.
    pub sqlite: Sqlite,
    /// Looks at every outbound request. None by default.
    pub outbound: Option<Arc<dyn OutboundHook>>,
    /// Takes what components print.
    pub log: LogSink,
    /// Other files for dependencies than those of the manifest, by `component/dependency`:
    /// `queue-handler/oncebus:processor/process@0.1.0`.
    pub overrides: BTreeMap<String, PathBuf>,
}

/// A loaded application.
#[derive(Clone)]
pub struct App(Arc<Shared>);

/// What all servers and instances of an application share.
pub(crate) struct Shared {
    pub(crate) router: Router,
    pub(crate) components: BTreeMap<String, Arc<Component>>,
    pub(crate) client: Client,
    pub(crate) hook: Option<Arc<dyn OutboundHook>>,
    pub(crate) log: LogSink,
    /// Open if a component asks for it.
    pub(crate) database: Option<Database>,
    pub(crate) next_instance: AtomicU64,
}

impl App {
    /// Reads a manifest and what it names, composes, compiles, and resolves all variables. Nothing runs yet.
    ///
    /// # Errors
    ///
    /// Everything that is wrong or missing is found here, not at the first request.
    pub async fn load(manifest: &Path, options: Options) -> Result<Self, LoadError> {
        let manifest = manifest.to_owned();
        let loaded = tokio::task::spawn_blocking(move || load(&manifest, options)).await;
        match loaded {
            Ok(shared) => Ok(Self(Arc::new(shared?))),
            Err(failed) => std::panic::resume_unwind(failed.into_panic()),
        }
    }

    /// Starts a server. An application may have several.
    ///
    /// # Errors
    ///
    /// The address cannot be listened on.
    pub async fn serve(&self, listen: SocketAddr) -> Result<Server, ServeError> {
        Server::start(Arc::clone(&self.0), listen).await
    }

    /// The SQLite database `default`, if a component has it: for counting rows.
    #[must_use]
    pub fn database(&self) -> Option<&Database> {
        self.0.database.as_ref()
    }

    /// The largest linear memory that any instance of a component has had so far, in bytes; 0 before the first, or where there is no such
    /// component.
    #[must_use]
    pub fn peak_memory(&self, component: &str) -> usize {
        self.0.components.get(component).map_or(0, |component| component.peak_memory.load(Ordering::Relaxed))
    }
}

fn load(path: &Path, options: Options) -> Result<Shared, LoadError> {
    let text = String::from_utf8_lossy(&read(path)?).into_owned();
    let wrong = |source: ManifestError| LoadError::Manifest { path: path.to_owned(), source };
    let manifest = Manifest::parse(&text).map_err(wrong)?;
    let folder = path.parent().unwrap_or(Path::new(""));
    let variables = Variables::resolve(&manifest.variables, &options.variables, |name| std::env::var(name).ok())?;
    let router = Router::new(manifest.routes()).map_err(wrong)?;
    let linker = linker().map_err(LoadError::Engine)?;
    let loader = Loader { folder, variables: &variables, overrides: &options.overrides, linker: &linker };

    let wants_database = manifest.component.values().any(|component| !component.sqlite_databases.is_empty());
    let database = wants_database.then(|| open(&options.sqlite, folder)).transpose()?;
    let mut components = BTreeMap::new();
    for (name, component) in manifest.component {
        components.insert(name.clone(), Arc::new(loader.load(name, component, &wrong)?));
    }
    Ok(Shared {
        router,
        components,
        client: Client::new(),
        hook: options.outbound,
        log: options.log,
        database,
        next_instance: AtomicU64::new(1),
    })
}

/// What loading a component takes from the application.
struct Loader<'a> {
    folder: &'a Path,
    variables: &'a Variables,
    overrides: &'a BTreeMap<String, PathBuf>,
    linker: &'a Linker<State>,
}

impl Loader<'_> {
    fn load(
        &self,
        name: String,
        component: manifest::Component,
        wrong: &impl Fn(ManifestError) -> LoadError,
    ) -> Result<Component, LoadError> {
        let key = format!("component.{name}");
        let mut variables = BTreeMap::new();
        for (variable, template) in &component.variables {
            let key = format!("{key}.variables.{variable}");
            variables.insert(variable.clone(), self.variables.fill(&key, template).map_err(wrong)?);
        }
        let mut hosts = AllowedHosts::default();
        for entry in &component.allowed_outbound_hosts {
            let key = format!("{key}.allowed_outbound_hosts");
            let filled = self.variables.fill(&key, entry).map_err(wrong)?;
            hosts.add(&filled).map_err(|reason| LoadError::AllowedHost {
                component: name.clone(),
                entry: entry.clone(),
                reason,
            })?;
        }
        let source = read(&self.folder.join(&component.source))?;
        let dependencies = self.dependencies(&name, component.dependencies, wrong)?;
        let wasm =
            compose(source, dependencies).map_err(|source| LoadError::Compose { component: name.clone(), source })?;
        Ok(Component {
            pre: self.prepare(&wasm).map_err(|source| LoadError::Component { component: name.clone(), source })?,
            name,
            variables,
            environment: component.environment.into_iter().collect(),
            hosts,
            sqlite: !component.sqlite_databases.is_empty(),
            peak_memory: AtomicUsize::new(0),
        })
    }

    fn dependencies(
        &self,
        component: &str,
        dependencies: BTreeMap<String, manifest::Dependency>,
        wrong: &impl Fn(ManifestError) -> LoadError,
    ) -> Result<BTreeMap<String, compose::Dependency>, LoadError> {
        let mut read_all = BTreeMap::new();
        for (name, dependency) in dependencies {
            if let Some(unknown) = dependency.inherit_configuration.unknown() {
                let key = format!("component.{component}.dependencies.\"{name}\".inherit_configuration");
                return Err(wrong(invalid(&key, format!("this host has no `{unknown}` to inherit"))));
            }
            let path = match self.overrides.get(&format!("{component}/{name}")) {
                Some(other) => other.clone(),
                None => self.folder.join(&dependency.path),
            };
            let (export, inherit) = (dependency.export, dependency.inherit_configuration);
            read_all.insert(name, compose::Dependency { wasm: read(&path)?, export, inherit });
        }
        Ok(read_all)
    }

    fn prepare(&self, wasm: &[u8]) -> wasmtime::Result<ProxyPre<State>> {
        let component = Wasm::new(self.linker.engine(), wasm)?;
        ProxyPre::new(self.linker.instantiate_pre(&component)?)
    }
}

/// Everything that components may import.
fn linker() -> wasmtime::Result<Linker<State>> {
    let mut linker = Linker::new(&engine::engine()?);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker)?;
    bindings::sqlite::add_to_linker::<_, HasSelf<State>>(&mut linker, |state| state)?;
    bindings::variables::add_to_linker::<_, HasSelf<State>>(&mut linker, |state| state)?;
    deny::add_to_linker(&mut linker)?;
    Ok(linker)
}

fn open(sqlite: &Sqlite, folder: &Path) -> Result<Database, LoadError> {
    let path = match sqlite {
        Sqlite::Default => Some(folder.join(".spin/sqlite_db.db")),
        Sqlite::File(path) => Some(path.clone()),
        Sqlite::Memory => None,
    };
    if let Some(folder) = path.as_ref().and_then(|path| path.parent()) {
        std::fs::create_dir_all(folder).map_err(|source| LoadError::Read { path: folder.to_owned(), source })?;
    }
    Ok(Database::open(path.as_ref())?)
}

fn read(path: &Path) -> Result<Vec<u8>, LoadError> {
    std::fs::read(path).map_err(|source| LoadError::Read { path: path.to_owned(), source })
}

/// A component's variables (`fermyon:spin/variables@2.0.0`).
impl bindings::variables::Host for State {
    async fn get(&mut self, name: String) -> wasmtime::Result<Result<String, bindings::variables::Error>> {
        let value = self.component().variables.get(&name).cloned();
        Ok(value.ok_or(bindings::variables::Error::Undefined(name)))
    }
}
