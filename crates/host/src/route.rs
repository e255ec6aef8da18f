//! Which component answers a path.
//!
//! As with Spin: an exact route goes before a wildcard, of several wildcards (`/internal/...`) the longest matches, and
//! a slash at the end of the path makes no difference. Segments with a name (`/:id`) are left out.

use crate::error::ManifestError;
use crate::manifest::invalid;

/// All public routes.
#[derive(Debug)]
pub(crate) struct Router {
    routes: Vec<Route>,
}

#[derive(Debug)]
struct Route {
    /// As the manifest has it.
    raw: String,
    /// Without `/...` and without a slash at the end.
    prefix: String,
    wildcard: bool,
    component: String,
}

/// A route that matches a path.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Match<'a> {
    pub(crate) component: &'a str,
    /// The route as the manifest has it.
    pub(crate) route: &'a str,
    /// The route without its wildcard.
    pub(crate) prefix: &'a str,
    /// What the wildcard stands for, with its leading slash.
    pub(crate) path_info: &'a str,
}

impl Router {
    /// Of routes, each with the name of its component.
    pub(crate) fn new<'a>(routes: impl Iterator<Item = (&'a str, &'a str)>) -> Result<Self, ManifestError> {
        let mut all: Vec<Route> = Vec::new();
        for (raw, component) in routes {
            let route = Route::parse(raw, component)?;
            if all.iter().any(|other| (&other.prefix, other.wildcard) == (&route.prefix, route.wildcard)) {
                return Err(invalid("trigger.http.route", format!("\"{raw}\" is there twice")));
            }
            all.push(route);
        }
        Ok(Self { routes: all })
    }

    pub(crate) fn find<'a>(&'a self, path: &'a str) -> Option<Match<'a>> {
        let (route, path_info) = self
            .routes
            .iter()
            .filter_map(|route| Some((route, route.path_info(path)?)))
            .max_by_key(|(route, _)| (!route.wildcard, route.prefix.len()))?;
        Some(Match {
            component: &route.component,
            route: &route.raw,
            prefix: route.raw.strip_suffix("/...").unwrap_or(&route.raw),
            path_info,
        })
    }
}

impl<'a> Match<'a> {
    /// What a component sees that is called by its name and not by a route.
    pub(crate) fn internal(component: &'a str, path: &'a str) -> Self {
        Self { component, route: "/...", prefix: "", path_info: path }
    }
}

impl Route {
    fn parse(raw: &str, component: &str) -> Result<Self, ManifestError> {
        let (prefix, wildcard) = match raw.strip_suffix("/...") {
            Some(prefix) => (prefix, true),
            None => (raw, false),
        };
        let refuse = |reason: &str| Err(invalid("trigger.http.route", format!("\"{raw}\" {reason}")));
        if !raw.starts_with('/') {
            return refuse("does not start with a slash");
        }
        if prefix.contains("/:") || prefix.contains('*') || prefix.contains("...") {
            return refuse("has a wildcard other than /... at its end, which this host leaves out");
        }
        let prefix = prefix.trim_end_matches('/').to_owned();
        Ok(Self { raw: raw.to_owned(), prefix, wildcard, component: component.to_owned() })
    }

    fn path_info<'a>(&self, path: &'a str) -> Option<&'a str> {
        let rest = path.strip_prefix(self.prefix.as_str())?;
        match self.wildcard {
            true => (rest.is_empty() || rest.starts_with('/')).then_some(rest),
            false => rest.trim_end_matches('/').is_empty().then_some(""),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_route_answers() {
        let routes = [
            ("/...", "all"),
            ("/internal/...", "internal"),
            ("/internal/queues/...", "queues"),
            ("/internal/queues/one", "one"),
            ("/exact", "exact"),
        ];
        let router = Router::new(routes.into_iter()).unwrap();
        for (path, component, path_info) in [
            ("/", "all", "/"),
            ("/x", "all", "/x"),
            ("/x/", "all", "/x/"),
            ("/exact", "exact", ""),
            ("/exact/", "exact", ""),
            ("/exact/more", "all", "/exact/more"),
            ("/exactly", "all", "/exactly"),
            ("/internal", "internal", ""),
            ("/internal/", "internal", "/"),
            ("/internals", "all", "/internals"),
            ("/internal/x", "internal", "/x"),
            ("/internal/queues/two", "queues", "/two"),
            ("/internal/queues/one", "one", ""),
            ("/internal/queues/one/run", "queues", "/one/run"),
        ] {
            let found = router.find(path).unwrap();
            assert_eq!((found.component, found.path_info), (component, path_info), "{path}");
        }
    }

    #[test]
    fn without_a_route_nobody_answers() {
        let router = Router::new([("/a", "a")].into_iter()).unwrap();
        assert_eq!(router.find("/b"), None);
        assert_eq!(router.find("/"), None);
    }

    #[test]
    fn routes_that_make_no_sense_are_refused() {
        for routes in [
            &[("no-slash", "a")][..],
            &[("/users/:id", "a")],
            &[("/a/*", "a")],
            &[("/.../b", "a")],
            &[("/a", "a"), ("/a/", "b")],
            &[("/a/...", "a"), ("/a/...", "b")],
        ] {
            assert!(Router::new(routes.iter().copied()).is_err(), "{routes:?}");
        }
    }
}
