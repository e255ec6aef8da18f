//! Rule descriptions: from what was sent to a rule of the broker, and back.

use std::collections::BTreeMap;

use super::elements::{CONNECT, INSTANCE};
use super::problem::Problem;
use super::xml::Element;
use crate::broker::{Action, Condition, Filter, Parameters, PropertyValue, Rule, SqlError, Statements};
use crate::time::UnixMillis;

/// Every subscription begins with this rule.
pub(super) fn default_rule(now: UnixMillis) -> Rule {
    Rule {
        name: "$Default".to_owned(),
        created_at: now,
        filter: Filter::True,
        action: None,
        shown: format!("{TRUE_FILTER}{EMPTY_ACTION}"),
    }
}

const TRUE_FILTER: &str = "<Filter i:type=\"TrueFilter\"><SqlExpression>1=1</SqlExpression><CompatibilityLevel>20</CompatibilityLevel></Filter>";
const FALSE_FILTER: &str = "<Filter i:type=\"FalseFilter\"><SqlExpression>1=0</SqlExpression><CompatibilityLevel>20</CompatibilityLevel></Filter>";
const EMPTY_ACTION: &str = "<Action i:type=\"EmptyRuleAction\"/>";

/// How filters and actions were called by the first version of the service. `azure-sb` for Node still
/// writes its actions so.
const OLD_SQL: &str = "SqlFilterExpression";

/// Reads a rule.
pub(super) fn read(name: &str, root: &Element, now: UnixMillis) -> Result<Rule, Problem> {
    let (filter, mut shown) = read_filter(root.child("Filter"))?;
    let (action, action_shown) = read_action(root.child("Action"))?;
    shown.push_str(&action_shown);
    Ok(Rule { name: name.to_owned(), created_at: now, filter, action, shown })
}

/// Writes the description of a rule that is kept: an expression that needs preprocessing has parameters
/// now, if only none.
pub(super) fn xml(rule: &Rule, version: &str) -> String {
    const PREPROCESSED: &str = "<RequiresPreprocessing>true</RequiresPreprocessing></";
    let kept = |list: &str| format!("<RequiresPreprocessing>true</RequiresPreprocessing>{list}</");
    let mut out = String::new();
    let mut rest = rule.shown.as_str();
    while let Some(at) = rest.find(PREPROCESSED) {
        let (head, tail) = rest.split_at(at);
        let given = head.rsplit("<SqlExpression>").next().is_some_and(|own| own.contains("<Parameters"));
        out.push_str(head);
        out.push_str(&kept(if given { "" } else { "<Parameters/>" }));
        rest = tail.strip_prefix(PREPROCESSED).unwrap_or_default();
    }
    out.push_str(rest);
    xml_as_sent(&Rule { shown: out, ..rule.clone() }, version)
}

/// Writes the description as it was sent; an api-version adds when the rule was made, and its name.
pub(super) fn xml_as_sent(rule: &Rule, version: &str) -> String {
    let more = if version.is_empty() {
        String::new()
    } else {
        let millis = rule.created_at.0.rem_euclid(1000);
        let (at, name) = (rule.created_at.iso_seconds(), crate::http::escape_xml(&rule.name));
        format!("<CreatedAt>{at}.{millis:03}Z</CreatedAt><Name>{name}</Name>")
    };
    format!("<RuleDescription xmlns=\"{CONNECT}\" xmlns:i=\"{INSTANCE}\">{}{more}</RuleDescription>", rule.shown)
}

fn read_filter(sent: Option<&Element>) -> Result<(Filter, String), Problem> {
    let Some(sent) = sent else { return Ok((Filter::True, TRUE_FILTER.to_owned())) };
    match kind(sent) {
        "" | "TrueFilter" => Ok((Filter::True, TRUE_FILTER.to_owned())),
        "FalseFilter" => Ok((Filter::False, FALSE_FILTER.to_owned())),
        "SqlFilter" | OLD_SQL => {
            let condition = Condition::parse(expression(sent), &parameters(sent)?).map_err(|e| unreadable(&e))?;
            Ok((Filter::Sql(condition), written(&of_kind(sent, "SqlFilter"))))
        }
        "CorrelationFilter" => {
            let mut broker = BTreeMap::new();
            for child in sent.children.iter().filter(|child| child.name != "Properties") {
                if child.name != "RequiresPreprocessing" {
                    broker.insert(child.name.clone(), child.text.clone());
                }
            }
            let custom = sent.child("Properties").map(values).transpose()?.unwrap_or_default();
            let mut shown = sent.clone();
            shown.children.retain(|child| child.name != "RequiresPreprocessing");
            Ok((Filter::Correlation { broker, custom }, written(&shown)))
        }
        other => Err(Problem::bad_request(format!("The filter type '{other}' is not known."))),
    }
}

fn read_action(sent: Option<&Element>) -> Result<(Option<Action>, String), Problem> {
    let Some(sent) = sent else { return Ok((None, EMPTY_ACTION.to_owned())) };
    match kind(sent) {
        "" | "EmptyRuleAction" => Ok((None, EMPTY_ACTION.to_owned())),
        "SqlRuleAction" | "SqlFilterAction" | OLD_SQL => {
            let statements = Statements::parse(expression(sent), &parameters(sent)?).map_err(|e| unreadable(&e))?;
            Ok((Some(Action(statements)), written(&of_kind(sent, "SqlRuleAction"))))
        }
        other => Err(Problem::bad_request(format!("The action type '{other}' is not known."))),
    }
}

/// The same under the name that the service has for it.
fn of_kind(element: &Element, name: &str) -> Element {
    Element { kind: Some(name.to_owned()), ..element.clone() }
}

fn unreadable(error: &SqlError) -> Problem {
    Problem::bad_request(format!("{error}."))
}

/// The type without its prefix.
fn kind(element: &Element) -> &str {
    let kind = element.kind.as_deref().unwrap_or_default();
    kind.rsplit(':').next().unwrap_or_default()
}

fn expression(element: &Element) -> &str {
    element.child("SqlExpression").map_or("", |expression| expression.text.as_str())
}

fn parameters(element: &Element) -> Result<Parameters, Problem> {
    let values = element.child("Parameters").map(values).transpose()?;
    Ok(values.unwrap_or_default().into_iter().collect())
}

/// `KeyValueOfstringanyType` elements.
fn values(list: &Element) -> Result<Vec<(String, PropertyValue)>, Problem> {
    let pair = |item: &Element| {
        let (key, value) = (item.child("Key")?, item.child("Value")?);
        let text = value.text.as_str();
        let value = match kind(value) {
            "int" | "long" | "short" | "byte" => PropertyValue::Integer(text.parse().ok()?),
            "double" | "float" | "decimal" => PropertyValue::Double(text.parse().ok().filter(|n: &f64| n.is_finite())?),
            "boolean" => PropertyValue::Boolean(text.parse().ok()?),
            _ => PropertyValue::Text(text.to_owned()),
        };
        Some((key.text.clone(), value))
    };
    let wrong = || Problem::bad_request("A parameter cannot be read.".to_owned());
    list.children.iter().map(|item| pair(item).ok_or_else(wrong)).collect()
}

fn written(element: &Element) -> String {
    let mut out = String::new();
    moved(element).write(&mut out);
    out
}

/// Values as the service writes them: with its prefix, whatever the client's is, by whose length some clients
/// find the type; and durations of another namespace than the one that clients give for them.
fn moved(element: &Element) -> Element {
    const PREFIX: &str = "d6p1";
    let mut element = element.clone();
    if let ("Value", Some((prefix, local))) =
        (element.name.as_str(), element.kind.as_deref().and_then(|kind| kind.split_once(':')))
    {
        let declared = element.prefixes.iter().find(|(name, _)| name == prefix);
        let namespace = match local {
            "duration" => "http://schemas.microsoft.com/2003/10/Serialization/",
            _ => declared.map_or("http://www.w3.org/2001/XMLSchema", |(_, namespace)| namespace),
        };
        let prefixes = vec![(PREFIX.to_owned(), namespace.to_owned())];
        element = Element { kind: Some(format!("{PREFIX}:{local}")), prefixes, ..element };
    }
    element.children = element.children.iter().map(moved).collect();
    element
}
