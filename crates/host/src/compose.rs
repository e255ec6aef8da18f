//! Joins a component with its dependencies, as Spin does, into one component.
//!
//! **Each dependency has its own imports, and only those rights that it inherits.** An import that stands for a right
//! (the environment, outgoing requests, SQLite, variables) and is not inherited is not left open to the host under its own name,
//! where it would be satisfied with the component's rights. It is renamed: `fermyon:spin/sqlite@2.0.0` becomes
//! `denied-fermyon:spin/sqlite@2.0.0`, and under that name [`crate::deny`] offers an implementation that refuses.
//! Spin plugs in a component that refuses; the effect is the same, and no second component is needed here.

use std::collections::BTreeMap;

use wac_graph::types::{ItemKind, Package, SubtypeChecker, WorldId};
use wac_graph::{CompositionGraph, EncodeOptions, NodeId};

use crate::error::ComposeError;
use crate::manifest::Inherit;

/// A right that a dependency may inherit: its name in the manifest, and the interface that it opens, without its
/// version. What else Spin lets a dependency inherit does not exist here.
const RIGHTS: &[(&str, &str)] = &[
    ("allowed_outbound_hosts", "wasi:http/outgoing-handler"),
    ("environment", "wasi:cli/environment"),
    ("sqlite_databases", "fermyon:spin/sqlite"),
    ("variables", "fermyon:spin/variables"),
];

/// What stands before the name of an import that is not inherited.
pub(crate) const DENIED: &str = "denied-";

/// A dependency, read.
pub(crate) struct Dependency {
    pub(crate) wasm: Vec<u8>,
    pub(crate) export: Option<String>,
    pub(crate) inherit: Inherit,
}

impl Inherit {
    /// The first name in the list that is not the name of a right.
    pub(crate) fn unknown(&self) -> Option<&str> {
        let Self::Some(names) = self else { return None };
        names.iter().map(String::as_str).find(|name| RIGHTS.iter().all(|(right, _)| right != name))
    }

    /// Whether a dependency may use an interface under its own name.
    fn allows(&self, import: &str) -> bool {
        let interface = import.split_once('@').map_or(import, |(interface, _)| interface);
        let Some((right, _)) = RIGHTS.iter().find(|(_, opens)| *opens == interface) else {
            return true;
        };
        match self {
            Self::All(all) => *all,
            Self::Some(names) => names.iter().any(|name| name == right),
        }
    }
}

/// Joins a component and its dependencies, by their names in the manifest.
pub(crate) fn compose(component: Vec<u8>, dependencies: BTreeMap<String, Dependency>) -> Result<Vec<u8>, ComposeError> {
    if dependencies.is_empty() {
        return Ok(component);
    }
    let mut composer = Composer { graph: CompositionGraph::new() };
    let (world, instance) = composer.instantiate("component", component)?;
    for (name, dependency) in dependencies {
        composer.satisfy(world, instance, &name, dependency)?;
    }
    composer.finish(world, instance)
}

/// Renames the imports of a dependency that it does not inherit.
fn close(wasm: Vec<u8>, inherit: &Inherit) -> Result<Vec<u8>, ComposeError> {
    let mut composer = Composer { graph: CompositionGraph::new() };
    let (world, instance) = composer.instantiate("dependency", wasm)?;
    for (import, kind) in composer.imports(world) {
        if !inherit.allows(&import) {
            let denied = composer.graph.import(format!("{DENIED}{import}"), kind).map_err(other)?;
            composer.graph.set_instantiation_argument(instance, &import, denied).map_err(other)?;
        }
    }
    composer.finish(world, instance)
}

struct Composer {
    graph: CompositionGraph,
}

impl Composer {
    fn instantiate(&mut self, name: &str, wasm: Vec<u8>) -> Result<(WorldId, NodeId), ComposeError> {
        let package = Package::from_bytes(name, None, wasm, self.graph.types_mut()).map_err(ComposeError::Component)?;
        let world = package.ty();
        let package = self.graph.register_package(package).map_err(other)?;
        Ok((world, self.graph.instantiate(package)))
    }

    /// Instantiates a dependency and gives its exports to the imports that its name in the manifest stands for.
    fn satisfy(
        &mut self,
        world: WorldId,
        instance: NodeId,
        name: &str,
        dependency: Dependency,
    ) -> Result<(), ComposeError> {
        let imports = self.imports(world);
        let imports: Vec<_> = imports.iter().filter(|(import, _)| stands_for(name, import)).collect();
        if imports.is_empty() {
            return Err(ComposeError::NotImported { dependency: name.to_owned() });
        }
        let (own_world, own) = self.instantiate(name, close(dependency.wasm, &dependency.inherit)?)?;
        for (import, import_kind) in imports {
            let export = dependency.export.as_ref().unwrap_or(import);
            let types = self.graph.types();
            let export_kind = types[own_world].exports.get(export);
            let export_kind = *export_kind.ok_or_else(|| ComposeError::NotExported { export: export.clone() })?;
            SubtypeChecker::new(&mut Default::default())
                .is_subtype(export_kind, types, *import_kind, types)
                .map_err(|source| ComposeError::Mismatch { export: export.clone(), source })?;
            let export = self.graph.alias_instance_export(own, export).map_err(other)?;
            self.graph.set_instantiation_argument(instance, import, export).map_err(other)?;
        }
        Ok(())
    }

    fn imports(&self, world: WorldId) -> Vec<(String, ItemKind)> {
        self.graph.types()[world].imports.iter().map(|(name, kind)| (name.clone(), *kind)).collect()
    }

    /// Exports what one of the components exports. What is still not satisfied becomes an import of the whole.
    fn finish(mut self, world: WorldId, instance: NodeId) -> Result<Vec<u8>, ComposeError> {
        let exports: Vec<String> = self.graph.types()[world].exports.keys().cloned().collect();
        for name in exports {
            let export = self.graph.alias_instance_export(instance, &name).map_err(other)?;
            self.graph.export(export, name).map_err(other)?;
        }
        self.graph.encode(EncodeOptions::default()).map_err(other)
    }
}

/// Whether a dependency's name in the manifest (`a:b`, `a:b/c`, `a:b@1.0.0`, `a:b/c@1.0.0` or a plain name) stands for an import.
fn stands_for(name: &str, import: &str) -> bool {
    let parts = |text: &str| -> (String, Option<String>, Option<String>) {
        let (path, version) = text.split_once('@').map_or((text, None), |(path, version)| (path, Some(version)));
        let (package, interface) =
            path.split_once('/').map_or((path, None), |(package, interface)| (package, Some(interface)));
        (package.to_owned(), interface.map(str::to_owned), version.map(str::to_owned))
    };
    let ((package, interface, version), import) = (parts(name), parts(import));
    package == import.0 && (interface.is_none() || interface == import.1) && (version.is_none() || version == import.2)
}

fn other(error: impl Into<anyhow::Error>) -> ComposeError {
    ComposeError::Component(error.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_dependency_name_stands_for() {
        for (name, import, expected) in [
            ("foo:bar/baz@0.1.0", "foo:bar/baz@0.1.0", true),
            ("foo:bar/baz", "foo:bar/baz@0.1.0", true),
            ("foo:bar@0.1.0", "foo:bar/baz@0.1.0", true),
            ("foo:bar", "foo:bar/baz", true),
            ("plain", "plain", true),
            ("foo:bar/baz@0.1.0", "foo:bar/baz@0.2.0", false),
            ("foo:bar/baz@0.1.0", "foo:bar/baz", false),
            ("foo:bar/ba", "foo:bar/baz", false),
            ("foo:ba", "foo:bar/baz", false),
            ("plain", "other", false),
        ] {
            assert_eq!(stands_for(name, import), expected, "{name} {import}");
        }
    }

    #[test]
    fn a_right_opens_its_interface_in_every_version_and_nothing_else() {
        let some = Inherit::Some(vec!["sqlite_databases".to_owned()]);
        for (inherit, import, expected) in [
            (&some, "fermyon:spin/sqlite@2.0.0", true),
            (&some, "fermyon:spin/variables@2.0.0", false),
            (&some, "wasi:http/outgoing-handler@0.2.9", false),
            (&some, "wasi:cli/environment@0.2.6", false),
            (&some, "wasi:io/streams@0.2.6", true),
            (&some, "wasi:http/types@0.2.6", true),
            (&Inherit::All(true), "fermyon:spin/variables@2.0.0", true),
            (&Inherit::All(false), "fermyon:spin/sqlite@2.0.0", false),
            (&Inherit::All(false), "wasi:clocks/monotonic-clock@0.2.6", true),
        ] {
            assert_eq!(inherit.allows(import), expected, "{inherit:?} {import}");
        }
        assert_eq!(some.unknown(), None);
        assert_eq!(Inherit::Some(vec!["files".to_owned()]).unknown(), Some("files"));
    }
}
