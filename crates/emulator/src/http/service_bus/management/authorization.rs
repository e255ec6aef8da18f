//! Access rules in descriptions: read, checked, and written again.

use std::fmt::Write as _;

use super::problem::Problem;
use super::xml::Element;
use crate::auth::service_bus::{AccessRule, Claim};
use crate::http::escape_xml;

/// How many rules an entity may have, as documented.
const MOST_RULES: usize = 12;

/// Reads `AuthorizationRules`.
pub(super) fn read(list: &Element) -> Result<Vec<AccessRule>, Problem> {
    let rules: Vec<AccessRule> = list.children.iter().map(read_one).collect::<Result<_, _>>()?;
    if rules.len() > MOST_RULES {
        return Err(Problem::bad_request(format!("An entity may have at most {MOST_RULES} authorization rules.")));
    }
    let twice = rules
        .iter()
        .enumerate()
        .find(|(at, rule)| rules.iter().take(*at).any(|earlier| earlier.name.eq_ignore_ascii_case(&rule.name)));
    match twice {
        Some((_, rule)) => Err(Problem::bad_request(format!("There are two authorization rules '{}'.", rule.name))),
        None => Ok(rules),
    }
}

fn read_one(rule: &Element) -> Result<AccessRule, Problem> {
    let text = |name: &str| {
        let text = rule.child(name)?.text.replace(char::is_control, " ").trim().to_owned();
        (!text.is_empty()).then_some(text)
    };
    let name = text("KeyName").ok_or_else(|| Problem::bad_request("An authorization rule needs a KeyName."))?;
    let primary_key =
        text("PrimaryKey").ok_or_else(|| Problem::bad_request("An authorization rule needs a PrimaryKey."))?;
    let rights = rule.child("Rights").map(|rights| rights.children.as_slice()).unwrap_or_default();
    let claims: Vec<Claim> = rights.iter().map(|right| claim(right.text.trim())).collect::<Result<_, _>>()?;
    let has = |claim| claims.contains(&claim);
    if claims.is_empty() || (has(Claim::Manage) && !(has(Claim::Send) && has(Claim::Listen))) {
        return Err(Problem::bad_request("Manage permission should also include Send and Listen."));
    }
    Ok(AccessRule { name, primary_key, secondary_key: text("SecondaryKey"), claims })
}

fn claim(text: &str) -> Result<Claim, Problem> {
    match text {
        "Send" => Ok(Claim::Send),
        "Listen" => Ok(Claim::Listen),
        "Manage" => Ok(Claim::Manage),
        other => Err(Problem::bad_request(format!("The access right '{other}' is not known."))),
    }
}

/// Writes the rules as the service does, keys included.
pub(super) fn write(rules: &[AccessRule]) -> String {
    let mut xml = String::new();
    for rule in rules {
        xml.push_str(
            "<AuthorizationRule i:type=\"SharedAccessAuthorizationRule\"><ClaimType>SharedAccessKey</ClaimType>\
             <ClaimValue>None</ClaimValue><Rights>",
        );
        for claim in &rule.claims {
            let _ = write!(xml, "<AccessRights>{claim:?}</AccessRights>");
        }
        let _ = write!(
            xml,
            "</Rights><KeyName>{}</KeyName><PrimaryKey>{}</PrimaryKey>",
            escape_xml(&rule.name),
            escape_xml(&rule.primary_key)
        );
        if let Some(key) = &rule.secondary_key {
            let _ = write!(xml, "<SecondaryKey>{}</SecondaryKey>", escape_xml(key));
        }
        xml.push_str("</AuthorizationRule>");
    }
    xml
}
