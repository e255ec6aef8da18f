//! Variables of the application, and the templates that hand them to components.
//!
//! A variable gets its value from the caller, else from the environment (`SPIN_VARIABLE_NAME`, as with Spin), else
//! from its default. All of that happens once, when the application is loaded; a value never shows in an error.

use std::collections::BTreeMap;

use crate::error::{LoadError, ManifestError};
use crate::manifest::{Variable, invalid};

/// The value of every variable of the application.
pub(crate) struct Variables(BTreeMap<String, String>);

impl Variables {
    /// `environment` looks up an environment variable.
    pub(crate) fn resolve(
        declared: &BTreeMap<String, Variable>,
        given: &BTreeMap<String, String>,
        environment: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, LoadError> {
        let mut values = BTreeMap::new();
        for (name, variable) in declared {
            let value = given
                .get(name)
                .cloned()
                .or_else(|| environment(&format!("SPIN_VARIABLE_{}", name.to_uppercase())))
                .or_else(|| variable.default.clone())
                .ok_or_else(|| LoadError::MissingVariable { name: name.clone() })?;
            values.insert(name.clone(), value);
        }
        Ok(Self(values))
    }

    /// Fills in a template: `{{ name }}` stands for the value of a variable. `key` says where it is in the manifest.
    pub(crate) fn fill(&self, key: &str, template: &str) -> Result<String, ManifestError> {
        let mut filled = String::new();
        let mut rest = template;
        while let Some((text, after)) = rest.split_once("{{") {
            let (name, behind) = after.split_once("}}").ok_or_else(|| invalid(key, "`{{` without `}}`"))?;
            let name = name.trim();
            let value = self.0.get(name).ok_or_else(|| invalid(key, format!("there is no variable `{name}`")))?;
            filled.push_str(text);
            filled.push_str(value);
            rest = behind;
        }
        filled.push_str(rest);
        Ok(filled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::Manifest;

    fn variables(given: &[(&str, &str)], environment: &[(&str, &str)]) -> Result<Variables, LoadError> {
        let manifest = "spin_manifest_version = 2\napplication.name = \"a\"\n[variables]\n\
            host = { default = \"example.com\" }\ntoken = { required = true, secret = true }";
        let declared = Manifest::parse(manifest).unwrap().variables;
        let own = |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let environment: BTreeMap<String, String> = own(environment);
        Variables::resolve(&declared, &own(given), |name| environment.get(name).cloned())
    }

    #[test]
    fn the_caller_goes_before_the_environment_and_that_before_the_default() {
        let all = [("SPIN_VARIABLE_TOKEN", "e"), ("SPIN_VARIABLE_HOST", "env.example")];
        for (given, environment, expected) in [
            (&[("token", "g")][..], &all[..], "g@env.example"),
            (&[], &all[..1], "e@example.com"),
            (&[("token", "g"), ("host", "h")], &all[..], "g@h"),
        ] {
            let filled = variables(given, environment).unwrap().fill("k", "{{ token }}@{{host}}").unwrap();
            assert_eq!(filled, expected);
        }
    }

    #[test]
    fn a_required_variable_without_a_value_is_named() {
        let error = variables(&[], &[]).err().unwrap();
        assert_eq!(error.to_string(), "the variable `token` has no value: set SPIN_VARIABLE_TOKEN");
    }

    #[test]
    fn templates() {
        let variables = variables(&[("token", "t")], &[]).unwrap();
        for (template, expected) in [
            ("", Ok("")),
            ("plain", Ok("plain")),
            ("https://{{ host }}:8080", Ok("https://example.com:8080")),
            ("{{host}}{{ token }}", Ok("example.comt")),
            ("{{ other }}", Err("`k`: there is no variable `other`")),
            ("{{ host", Err("`k`: `{{` without `}}`")),
        ] {
            let filled = variables.fill("k", template).map_err(|error| error.to_string());
            assert_eq!(filled.as_deref().map_err(String::as_str), expected, "{template}");
        }
    }
}
