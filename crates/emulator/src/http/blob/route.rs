//! Which operation a method, a path and a query mean. Paths are path-style: `/{account}/{container}/{blob}`.

use http::Method;

use crate::auth::decode;
use crate::auth::storage::Target;

/// An operation and what it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Route {
    pub(super) container: String,
    /// Empty for operations on the container.
    pub(super) blob: String,
    pub(super) operation: Operation,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operation {
    CreateContainer,
    ContainerProperties,
    DeleteContainer,
    List,
    Put,
    Get,
    Head,
    SetMetadata,
    GetMetadata,
    Delete,
}

/// Why there is no route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoRoute {
    /// The path is none.
    Path,
    /// An operation of the service that this emulator does not have.
    NotImplemented,
}

impl Operation {
    /// Its name in faults and counts.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::CreateContainer => "create-container",
            Self::ContainerProperties => "container-properties",
            Self::DeleteContainer => "delete-container",
            Self::List => "list",
            Self::Put => "put",
            Self::Get => "get",
            Self::Head => "head",
            Self::SetMetadata => "set-metadata",
            Self::GetMetadata => "get-metadata",
            Self::Delete => "delete",
        }
    }
}

impl Route {
    pub(super) fn target(&self) -> Target<'_> {
        if self.blob.is_empty() {
            Target::Container(&self.container)
        } else {
            Target::Blob(&self.container, &self.blob)
        }
    }

    /// As faults name it.
    pub(super) fn name(&self) -> String {
        format!("{}/{}", self.container, self.blob)
    }
}

/// Reads a method, a path as it stands in the request line, and the decoded query.
pub(super) fn route(account: &str, method: &Method, path: &str, query: &[(String, String)]) -> Result<Route, NoRoute> {
    let parameter = |name: &str| query.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str());
    let path = path.strip_prefix('/').unwrap_or(path);
    let (first, rest) = path.split_once('/').ok_or(NoRoute::Path)?;
    if first != account {
        return Err(NoRoute::Path);
    }
    let (container, blob) = rest.split_once('/').unwrap_or((rest, ""));
    let (container, blob) = (decode(container), decode(blob));
    if container.is_empty() {
        return Err(NoRoute::Path);
    }
    let operation = if blob.is_empty() {
        if parameter("restype") != Some("container") {
            return Err(NoRoute::Path);
        }
        match (method, parameter("comp")) {
            (&Method::PUT, None) => Operation::CreateContainer,
            (&Method::GET | &Method::HEAD, None) => Operation::ContainerProperties,
            (&Method::DELETE, None) => Operation::DeleteContainer,
            (&Method::GET, Some("list")) => Operation::List,
            _ => return Err(NoRoute::NotImplemented),
        }
    } else {
        match (method, parameter("comp")) {
            (&Method::PUT, None) => Operation::Put,
            (&Method::GET, None) => Operation::Get,
            (&Method::HEAD, None) => Operation::Head,
            (&Method::DELETE, None) => Operation::Delete,
            (&Method::PUT, Some("metadata")) => Operation::SetMetadata,
            (&Method::GET | &Method::HEAD, Some("metadata")) => Operation::GetMetadata,
            _ => return Err(NoRoute::NotImplemented),
        }
    };
    Ok(Route { container, blob, operation })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_are_told_by_method_and_query() {
        let find = |method: &Method, path: &str, query: &[(&str, &str)]| {
            let query: Vec<_> = query.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
            route("acc", method, path, &query).map(|route| (route.name(), route.operation))
        };
        let blob = || "c/a/b".to_owned();
        assert_eq!(find(&Method::PUT, "/acc/c/a%2Fb", &[]), Ok((blob(), Operation::Put)));
        assert_eq!(find(&Method::PUT, "/acc/c/a/b", &[("comp", "metadata")]), Ok((blob(), Operation::SetMetadata)));
        assert_eq!(find(&Method::HEAD, "/acc/c/a/b", &[("sig", "x")]), Ok((blob(), Operation::Head)));
        let container = || Ok(("c/".to_owned(), Operation::CreateContainer));
        assert_eq!(find(&Method::PUT, "/acc/c", &[("restype", "container")]), container());
        assert_eq!(find(&Method::PUT, "/acc/c/b", &[("comp", "lease")]), Err(NoRoute::NotImplemented));
        for path in ["/", "/acc", "/acc/", "/other/c/b", "/acc/c"] {
            assert_eq!(find(&Method::PUT, path, &[]), Err(NoRoute::Path), "{path}");
        }
    }
}
