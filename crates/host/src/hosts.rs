//! `allowed_outbound_hosts`: where a component may send requests.
//!
//! An entry is `scheme://host[:port]`; scheme, host and port may each be `*`, a host may start with `*.`, a port
//! may be a range `1000..2000`. Without a port it is the scheme's own. Left out: addresses with a mask, and `self`.

use http::Uri;

/// What a component may reach. Nothing by default.
#[derive(Clone, Debug, Default)]
pub(crate) struct AllowedHosts(Vec<Entry>);

#[derive(Clone, Debug)]
struct Entry {
    /// `None` is any.
    scheme: Option<String>,
    host: Host,
    ports: std::ops::RangeInclusive<u16>,
}

#[derive(Clone, Debug)]
enum Host {
    Any,
    /// Every subdomain: the domain with its leading dot.
    Below(String),
    Exactly(String),
}

impl AllowedHosts {
    /// Of entries whose templates are filled in. An empty one allows nothing: that is how an optional address
    /// that is not set looks.
    pub(crate) fn add(&mut self, entry: &str) -> Result<(), String> {
        if !matches!(entry, "" | "http://" | "https://") {
            self.0.push(Entry::parse(entry)?);
        }
        Ok(())
    }

    pub(crate) fn allows(&self, uri: &Uri) -> bool {
        let (Some(scheme), Some(host)) = (uri.scheme_str(), uri.host()) else {
            return false;
        };
        let Some(port) = uri.port_u16().or_else(|| default_port(scheme)) else {
            return false;
        };
        self.0.iter().any(|entry| entry.allows(scheme, host, port))
    }
}

impl Entry {
    fn parse(entry: &str) -> Result<Self, String> {
        let expected = || "is not of the form scheme://host[:port]".to_owned();
        let (scheme, rest) = entry.trim().split_once("://").ok_or_else(expected)?;
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        if rest.contains('/') || rest.contains('@') || !(scheme == "*" || scheme.chars().all(char::is_alphabetic)) {
            return Err(expected());
        }
        let (host, port) = match rest.rsplit_once(':') {
            // The colons of an IPv6 address are inside brackets.
            Some((host, port)) if !port.ends_with(']') => (host, port),
            _ => (rest, ""),
        };
        Ok(Self {
            scheme: (scheme != "*").then(|| scheme.to_owned()),
            host: Host::parse(host).ok_or_else(expected)?,
            ports: ports(scheme, port).ok_or_else(|| "has no port that can be known".to_owned())?,
        })
    }

    fn allows(&self, scheme: &str, host: &str, port: u16) -> bool {
        let host = host.to_ascii_lowercase();
        self.scheme.as_ref().is_none_or(|own| own == scheme)
            && self.ports.contains(&port)
            && match &self.host {
                Host::Any => true,
                Host::Below(domain) => host.ends_with(domain),
                Host::Exactly(own) => *own == host,
            }
    }
}

impl Host {
    fn parse(host: &str) -> Option<Self> {
        let host = host.to_ascii_lowercase();
        if host == "*" {
            return Some(Self::Any);
        }
        if host.is_empty() || host == "self" || host == "self.alt" {
            return None;
        }
        match host.strip_prefix('*') {
            Some(domain) => (domain.starts_with('.') && !domain.contains('*')).then(|| Self::Below(domain.to_owned())),
            None => (!host.contains('*')).then_some(Self::Exactly(host)),
        }
    }
}

fn ports(scheme: &str, port: &str) -> Option<std::ops::RangeInclusive<u16>> {
    if port == "*" {
        return Some(0..=u16::MAX);
    }
    if port.is_empty() {
        return default_port(scheme).map(|port| port..=port);
    }
    // As with Spin, the end of a range is not part of it.
    if let Some((start, end)) = port.split_once("..") {
        return Some(start.parse().ok()?..=end.parse::<u16>().ok()?.checked_sub(1)?);
    }
    port.parse().ok().map(|port| port..=port)
}

fn default_port(scheme: &str) -> Option<u16> {
    match scheme {
        "http" => Some(80),
        "https" => Some(443),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_entry_allows_and_what_not() {
        for (entry, uri, expected) in [
            ("https://example.com", "https://example.com/path?q", true),
            ("https://example.com", "https://EXAMPLE.com:443/", true),
            ("https://example.com/", "https://example.com/", true),
            ("https://example.com", "http://example.com/", false),
            ("https://example.com", "https://example.com:444/", false),
            ("https://example.com", "https://sub.example.com/", false),
            ("https://example.com", "https://example.com.evil.org/", false),
            ("https://example.com", "https://user@evil.org/", false),
            ("https://example.com", "https://example.com@evil.org/", false),
            ("https://*.example.com", "https://sub.example.com/", true),
            ("https://*.example.com", "https://example.com/", false),
            ("https://*.example.com", "https://badexample.com/", false),
            ("*://example.com:*", "http://example.com:8080/", true),
            ("*://*:*", "https://anything.example:1/", true),
            ("http://127.0.0.1:10000", "http://127.0.0.1:10000/x", true),
            ("http://127.0.0.1:10000", "http://127.0.0.1:10001/x", false),
            ("http://127.0.0.1:10000", "http://localhost:10000/x", false),
            ("http://[::1]:10000", "http://[::1]:10000/x", true),
            ("http://example.com:80..90", "http://example.com:89/", true),
            ("http://example.com:80..90", "http://example.com:90/", false),
            ("http://*.spin.internal", "http://other.spin.internal/", true),
            ("", "http://example.com/", false),
            ("http://", "http://example.com/", false),
        ] {
            let mut hosts = AllowedHosts::default();
            hosts.add(entry).unwrap();
            assert_eq!(hosts.allows(&uri.parse().unwrap()), expected, "{entry} {uri}");
        }
    }

    #[test]
    fn entries_that_make_no_sense_are_refused() {
        for entry in [
            "example.com",
            "*",
            "https://example.com/path",
            "https://user@example.com",
            "*://example.com",
            "postgres://example.com",
            "https://example.com:x",
            "https://a*b.com",
            "https://*.*.com",
            "https://:1",
            "http://self",
            "10.0.0.0/8",
            "http://10.0.0.0/8",
        ] {
            assert!(AllowedHosts::default().add(entry).is_err(), "{entry}");
        }
    }
}
