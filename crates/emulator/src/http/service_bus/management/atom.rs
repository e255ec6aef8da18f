//! Atom entries and feeds, as the service writes them.

use uuid::Uuid;

use super::elements::{CONNECT, INSTANCE, Shown, View};
use super::{Call, PAGE, rules};
use crate::broker::Rule;
use crate::emulator::Tier;
use crate::http::{escape_xml, query_pairs};
use crate::time::UnixMillis;

const ATOM: &str = "http://www.w3.org/2005/Atom";

/// What surrounds a description.
pub(super) struct Entry<'a> {
    pub(super) call: &'a Call<'a>,
    /// `sb` when a subscription or a rule is looked at.
    pub(super) scheme: &'static str,
    pub(super) title: String,
    pub(super) published: Option<UnixMillis>,
    pub(super) updated: UnixMillis,
    /// Queues and topics have one: the namespace.
    pub(super) author: bool,
}

impl<'a> Entry<'a> {
    pub(super) fn of(call: &'a Call<'a>, shown: &Shown) -> Self {
        Self {
            call,
            scheme: call.scheme,
            title: shown.name.clone(),
            published: Some(shown.created_at()),
            updated: shown.updated_at(),
            author: shown.kind != super::Kind::Subscription,
        }
    }

    pub(super) fn of_rule(call: &'a Call<'a>, rule: &Rule) -> Self {
        let (published, updated) = (Some(rule.created_at), rule.created_at);
        Self { call, scheme: call.scheme, title: rule.name.clone(), published, updated, author: false }
    }

    /// As the answer to a request at the entity's own URL.
    pub(super) fn xml(&self, description: &str) -> String {
        let path = crate::auth::decode(self.call.path);
        let url = escape_xml(&format!("{}://{}{path}{}", self.scheme, self.call.host, self.call.query));
        let rest = self.rest(&url, &url, description);
        format!("<entry xmlns=\"{ATOM}\">{rest}</entry>")
    }

    fn rest(&self, id: &str, link: &str, description: &str) -> String {
        let published =
            self.published.map(|at| format!("<published>{}Z</published>", at.iso_seconds())).unwrap_or_default();
        let author = if self.author {
            format!("<author><name>{}</name></author>", escape_xml(&self.call.namespace()))
        } else {
            String::new()
        };
        format!(
            "<id>{id}</id><title type=\"text\">{}</title>{published}<updated>{}Z</updated>{author}<link rel=\"self\" \
             href=\"{link}\"/><content type=\"application/xml\">{description}</content>",
            escape_xml(&self.title),
            self.updated.iso_seconds()
        )
    }
}

/// Something that a list shows.
pub(super) trait Listed {
    fn name(&self) -> &str;
    fn entry<'a>(&self, call: &'a Call<'a>) -> Entry<'a>;
    fn description(&self, version: &str) -> String;
}

impl Listed for Shown {
    fn name(&self) -> &str {
        &self.name
    }

    fn entry<'a>(&self, call: &'a Call<'a>) -> Entry<'a> {
        Entry::of(call, self)
    }

    fn description(&self, version: &str) -> String {
        self.xml(version, View::Listed)
    }
}

impl Listed for Rule {
    fn name(&self) -> &str {
        &self.name
    }

    fn entry<'a>(&self, call: &'a Call<'a>) -> Entry<'a> {
        Entry::of_rule(call, self)
    }

    fn description(&self, version: &str) -> String {
        rules::xml(self, version)
    }
}

/// A list.
pub(super) struct Feed {
    pub(super) title: &'static str,
    /// What leads from the list's URL to an entry's, when the list's does not end in a slash.
    pub(super) prefix: &'static str,
}

impl Feed {
    /// The page that `$skip` and `$top` ask for, with a link to the next one when there is more.
    pub(super) fn write(&self, call: &Call<'_>, all: &[impl Listed], now: UnixMillis) -> String {
        let pairs = query_pairs(call.query.strip_prefix('?'));
        let number =
            |name: &str| pairs.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).and_then(|(_, v)| v.parse().ok());
        let (skip, top) = (number("$skip").unwrap_or(0), number("$top").unwrap_or(PAGE).min(PAGE));
        let base = escape_xml(&format!("{}://{}{}{}", call.scheme, call.host, call.path, call.query));
        let mut xml = format!(
            "<feed xmlns=\"{ATOM}\"><title type=\"text\">{}</title><id>{base}</id><updated>{}Z</updated><link \
             rel=\"self\" href=\"{base}\"/>",
            self.title,
            now.iso_seconds()
        );
        // An empty page leads nowhere: whoever followed it would never come to an end.
        if top > 0 && all.len() > skip.saturating_add(top) {
            let version =
                if call.version.is_empty() { String::new() } else { format!("&api-version={}", call.version) };
            let next = format!(
                "{}://{}{}?$skip={}&$top={top}{version}",
                call.scheme,
                call.host,
                call.path,
                skip.saturating_add(top)
            );
            xml.push_str(&format!("<link rel=\"next\" href=\"{}\"/>", escape_xml(&next)));
        }
        let version = if call.version.is_empty() { String::new() } else { format!("?api-version={}", call.version) };
        let version = escape_xml(&version);
        let parent = match self.prefix {
            "../" => format!("{}://{}/", call.scheme, call.host),
            _ => format!("{}://{}{}/", call.scheme, call.host, call.path.trim_end_matches('/')),
        };
        let prefix = if call.path.ends_with('/') && self.prefix != "../" { "" } else { self.prefix };
        for item in all.iter().skip(skip).take(top) {
            let name = escape_xml(item.name());
            let id = format!("{}{name}{version}", escape_xml(&parent));
            let rest =
                item.entry(call).rest(&id, &format!("{prefix}{name}{version}"), &item.description(&call.version));
            xml.push_str(&format!("<entry xml:base=\"{base}\">{rest}</entry>"));
        }
        xml + "</feed>"
    }
}

/// What a GET of an absent queue or topic answers.
pub(super) fn nothing(now: UnixMillis) -> String {
    format!(
        "<feed xmlns=\"{ATOM}\"><title type=\"text\">Publicly Listed Services</title><subtitle type=\"text\">This is the \
         list of publicly-listed services currently available.</subtitle><id>uuid:{};id=1</id><updated>{}Z</updated>\
         <generator>Service Bus 1.1</generator></feed>",
        Uuid::new_v4(),
        now.iso_seconds()
    )
}

/// The namespace's own entry.
pub(super) fn namespace(call: &Call<'_>, tier: Tier, now: UnixMillis) -> String {
    let name = escape_xml(&call.namespace());
    let (sku, units) = match tier {
        Tier::Standard => ("Standard", "<MessagingUnits i:nil=\"true\"/>"),
        Tier::Premium => ("Premium", "<MessagingUnits>1</MessagingUnits>"),
    };
    let at = now.iso_seconds();
    let description = format!(
        "<NamespaceInfo xmlns=\"{CONNECT}\" xmlns:i=\"{INSTANCE}\"><CreatedTime>{at}Z</CreatedTime>\
         <MessagingSKU>{sku}</MessagingSKU>{units}<ModifiedTime>{at}Z</ModifiedTime><Name>{name}</Name>\
         <NamespaceType>Messaging</NamespaceType></NamespaceInfo>"
    );
    let title = call.namespace();
    Entry { call, scheme: call.scheme, title, published: None, updated: now, author: true }.xml(&description)
}
