//! `spin.toml`, version 2: the part of it that this host runs.
//!
//! Parsing is strict: a key that is not listed here is [`ManifestError::Unsupported`], whether Spin knows it or
//! not. So nothing that a manifest asks for is silently missing.

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::Value;

use crate::error::ManifestError;

/// The whole file.
#[derive(Debug, Deserialize)]
pub(crate) struct Manifest {
    spin_manifest_version: u32,
    application: Application,
    #[serde(default)]
    pub(crate) variables: BTreeMap<String, Variable>,
    #[serde(default)]
    trigger: Triggers,
    #[serde(default)]
    pub(crate) component: BTreeMap<String, Component>,
    #[serde(flatten)]
    rest: Rest,
}

/// Keys that no field took.
type Rest = BTreeMap<String, Value>;

#[derive(Debug, Deserialize)]
struct Application {
    #[serde(rename = "name")]
    _name: String,
    #[serde(default, rename = "version")]
    _version: String,
    #[serde(default, rename = "description")]
    _description: String,
    #[serde(default, rename = "authors")]
    _authors: Vec<String>,
    #[serde(flatten)]
    rest: Rest,
}

/// A variable of the application.
#[derive(Debug, Deserialize)]
pub(crate) struct Variable {
    pub(crate) default: Option<String>,
    #[serde(default)]
    required: bool,
    /// Nothing to do: this host never shows a value.
    #[serde(default, rename = "secret")]
    _secret: bool,
    #[serde(flatten)]
    rest: Rest,
}

#[derive(Debug, Default, Deserialize)]
struct Triggers {
    #[serde(default)]
    http: Vec<HttpTrigger>,
    #[serde(flatten)]
    rest: Rest,
}

#[derive(Debug, Deserialize)]
struct HttpTrigger {
    #[serde(default, rename = "id")]
    _id: String,
    route: Route,
    component: String,
    executor: Option<Executor>,
    #[serde(flatten)]
    rest: Rest,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Route {
    Path(String),
    Private { private: bool },
}

#[derive(Debug, Deserialize)]
struct Executor {
    r#type: String,
    #[serde(flatten)]
    rest: Rest,
}

/// A component of the application.
#[derive(Debug, Deserialize)]
pub(crate) struct Component {
    /// The path of its wasm file, beside the manifest.
    pub(crate) source: String,
    #[serde(default, rename = "description")]
    _description: String,
    #[serde(default)]
    pub(crate) variables: BTreeMap<String, String>,
    #[serde(default)]
    pub(crate) environment: BTreeMap<String, String>,
    #[serde(default)]
    pub(crate) allowed_outbound_hosts: Vec<String>,
    #[serde(default)]
    pub(crate) sqlite_databases: Vec<String>,
    #[serde(default)]
    pub(crate) dependencies: BTreeMap<String, Dependency>,
    /// For `spin build`.
    #[serde(default, rename = "build")]
    _build: Rest,
    #[serde(flatten)]
    rest: Rest,
}

/// Another component that satisfies one of the imports.
#[derive(Debug, Deserialize)]
pub(crate) struct Dependency {
    /// The path of its wasm file, beside the manifest.
    pub(crate) path: String,
    /// Its export, if that has another name than the import.
    pub(crate) export: Option<String>,
    #[serde(default)]
    pub(crate) inherit_configuration: Inherit,
    #[serde(flatten)]
    rest: Rest,
}

/// Which of the component's rights its dependency has too.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum Inherit {
    /// All or none.
    All(bool),
    /// Those named.
    Some(Vec<String>),
}

impl Default for Inherit {
    fn default() -> Self {
        Self::All(false)
    }
}

impl Manifest {
    pub(crate) fn parse(text: &str) -> Result<Self, ManifestError> {
        let manifest: Self = toml::from_str(text)?;
        manifest.check()?;
        Ok(manifest)
    }

    /// The public routes, each with its component, in the order of the manifest.
    pub(crate) fn routes(&self) -> impl Iterator<Item = (&str, &str)> {
        self.trigger.http.iter().filter_map(|trigger| match &trigger.route {
            Route::Path(path) => Some((path.as_str(), trigger.component.as_str())),
            Route::Private { .. } => None,
        })
    }

    fn check(&self) -> Result<(), ManifestError> {
        if self.spin_manifest_version != 2 {
            return Err(invalid("spin_manifest_version", "expected 2"));
        }
        none_left("", &self.rest)?;
        none_left("application.", &self.application.rest)?;
        none_left("trigger.", &self.trigger.rest)?;
        for (name, variable) in &self.variables {
            variable.check(&format!("variables.{name}"))?;
        }
        for trigger in &self.trigger.http {
            trigger.check(&self.component)?;
        }
        for (name, component) in &self.component {
            component.check(&format!("component.{name}"))?;
        }
        Ok(())
    }
}

impl Variable {
    fn check(&self, key: &str) -> Result<(), ManifestError> {
        none_left(&format!("{key}."), &self.rest)?;
        if self.required == self.default.is_some() {
            return Err(invalid(key, "expected either `required = true` or a `default`"));
        }
        Ok(())
    }
}

impl HttpTrigger {
    fn check(&self, components: &BTreeMap<String, Component>) -> Result<(), ManifestError> {
        none_left("trigger.http.", &self.rest)?;
        if let Some(executor) = &self.executor {
            none_left("trigger.http.executor.", &executor.rest)?;
            if executor.r#type != "http" {
                return Err(invalid("trigger.http.executor.type", "expected \"http\""));
            }
        }
        if matches!(self.route, Route::Private { private: false }) {
            return Err(invalid("trigger.http.route", "expected a path or { private = true }"));
        }
        if !components.contains_key(&self.component) {
            let reason = format!("there is no component `{}`", self.component);
            return Err(invalid("trigger.http.component", reason));
        }
        Ok(())
    }
}

impl Component {
    fn check(&self, key: &str) -> Result<(), ManifestError> {
        none_left(&format!("{key}."), &self.rest)?;
        if let Some(other) = self.sqlite_databases.iter().find(|name| *name != "default") {
            let reason = format!("this host has the database `default` only, not `{other}`");
            return Err(invalid(&format!("{key}.sqlite_databases"), reason));
        }
        for (name, dependency) in &self.dependencies {
            none_left(&format!("{key}.dependencies.\"{name}\"."), &dependency.rest)?;
        }
        Ok(())
    }
}

fn none_left(prefix: &str, rest: &Rest) -> Result<(), ManifestError> {
    match rest.keys().next() {
        Some(key) => Err(ManifestError::Unsupported { key: format!("{prefix}{key}") }),
        None => Ok(()),
    }
}

pub(crate) fn invalid(key: &str, reason: impl Into<String>) -> ManifestError {
    ManifestError::Invalid { key: key.to_owned(), reason: reason.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "spin_manifest_version = 2\napplication.name = \"a\"\n";

    fn refusal(text: &str) -> String {
        Manifest::parse(&format!("{HEAD}{text}")).unwrap_err().to_string()
    }

    #[test]
    fn the_manifest_of_this_repository_is_taken_whole() {
        let manifest = Manifest::parse(include_str!("../../../spin.toml")).unwrap();
        let routes: Vec<_> = manifest.routes().collect();
        assert_eq!(routes, [("/...", "ingest"), ("/internal/...", "queue-handler")]);
    }

    #[test]
    fn what_is_left_out_is_named() {
        let component = "[component.c]\nsource = \"c.wasm\"\n";
        for (text, key) in [
            ("[[trigger.redis]]\nchannel = \"c\"", "`trigger.redis`"),
            ("[application.trigger.http]\nbase = \"/\"", "`application.trigger`"),
            (&format!("{component}key_value_stores = [\"default\"]"), "`component.c.key_value_stores`"),
            (&format!("{component}files = [\"a\"]"), "`component.c.files`"),
            (&format!("{component}ai_models = [\"m\"]"), "`component.c.ai_models`"),
            (&format!("{component}allowed_outbound_host = []"), "`component.c.allowed_outbound_host`"),
            ("variables.v = { default = \"\", x = 1 }", "`variables.v.x`"),
            ("[tool]\nx = 1", "`tool`"),
        ] {
            assert_eq!(refusal(text), format!("{key} is not supported by this host"), "{text}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let component = "[component.c]\nsource = \"c.wasm\"\n";
        for (text, expected) in [
            ("variables.v = {}", "`variables.v`: expected either `required = true` or a `default`"),
            (
                "[[trigger.http]]\nroute = \"/\"\ncomponent = \"d\"",
                "`trigger.http.component`: there is no component `d`",
            ),
            (
                &format!("{component}sqlite_databases = [\"other\"]"),
                "`component.c.sqlite_databases`: this host has the database `default` only, not `other`",
            ),
            ("[component.c]", "not a Spin manifest of version 2"),
        ] {
            assert_eq!(refusal(text), expected, "{text}");
        }
        let old = "spin_manifest_version = 1\napplication.name = \"a\"";
        assert_eq!(Manifest::parse(old).unwrap_err().to_string(), "`spin_manifest_version`: expected 2");
    }
}
