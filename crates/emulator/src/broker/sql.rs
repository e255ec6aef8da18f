//! The SQL of rules: conditions, and actions that set or remove properties.
//!
//! A subset of the service's language: comparison, `AND`, `OR`, `NOT`, `IN`, `LIKE`, `IS [NOT] NULL`,
//! `EXISTS(p)`, parentheses, literals, `@parameters`, `sys.` and `user.` properties; `SET p = value` and
//! `REMOVE p`. No arithmetic and no functions. Logic has three values: what compares with an absent
//! property is unknown, and unknown does not match.

#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod lexer;
mod written;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::message::{Message, PropertyValue};
use lexer::{Token, tokens};
use written::Written;

/// Why a text is no condition or action.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the expression cannot be read: {0}")]
pub struct SqlError(pub(super) String);

/// Values for `@names`, by name with the `@`.
pub type Parameters = BTreeMap<String, PropertyValue>;

/// The longest expression, in characters, as documented.
const LONGEST: usize = 1024;
/// How deep parentheses and `NOT` may nest: more than 32 expressions are refused by the service.
const DEEPEST: usize = 32;

/// A filter's expression.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub struct Condition(Test, Written);

/// An action's statements, separated by `;`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub struct Statements(Vec<Statement>, Written);

#[derive(Debug, Clone, PartialEq)]
enum Statement {
    Set(String, Operand),
    Remove(String),
}

#[derive(Debug, Clone, PartialEq)]
enum Test {
    Or(Box<Test>, Box<Test>),
    And(Box<Test>, Box<Test>),
    Not(Box<Test>),
    Compare(Operand, Comparison, Operand),
    In(Operand, Vec<Operand>),
    Like(Operand, String),
    IsNull(Operand),
    Exists(String),
    Truth(Operand),
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

#[derive(Debug, Clone, PartialEq)]
enum Operand {
    Value(PropertyValue),
    Null,
    Property(String),
}

impl Condition {
    /// Reads a filter's expression.
    ///
    /// # Errors
    /// When it is none, or uses what is not understood here.
    pub fn parse(text: &str, parameters: &Parameters) -> Result<Self, SqlError> {
        let mut parser = Parser::new(text, parameters)?;
        let test = parser.any_of(0)?;
        parser.end()?;
        Ok(Self(test, Written::new(text, parameters)))
    }

    /// Whether it is true of this message.
    #[must_use]
    pub fn is_true(&self, message: &Message) -> bool {
        self.0.of(message) == Some(true)
    }
}

impl Statements {
    /// Reads an action's statements.
    ///
    /// # Errors
    /// When they are none, or use what is not understood here.
    pub fn parse(text: &str, parameters: &Parameters) -> Result<Self, SqlError> {
        let mut parser = Parser::new(text, parameters)?;
        let mut statements = Vec::new();
        while !parser.rest.is_empty() {
            if parser.word("SET") {
                let name = parser.name()?;
                parser.expect(&Token::Symbol("="))?;
                statements.push(Statement::Set(name, parser.operand()?));
            } else if parser.word("REMOVE") {
                statements.push(Statement::Remove(parser.name()?));
            } else {
                return Err(parser.unexpected());
            }
            if !parser.take(&Token::Symbol(";")) {
                break;
            }
        }
        parser.end()?;
        Ok(Self(statements, Written::new(text, parameters)))
    }

    /// Changes a message. Broker properties that a sender may set can be set here, as text.
    pub fn apply(&self, message: &mut Message) {
        for statement in &self.0 {
            let (name, value) = match statement {
                Statement::Set(name, operand) => (name, operand.of(message)),
                Statement::Remove(name) => (name, None),
            };
            match name.strip_prefix("sys.") {
                Some(name) => set_broker(message, name, value),
                None => set_custom(message, name, value),
            }
        }
    }
}

fn set_custom(message: &mut Message, name: &str, value: Option<PropertyValue>) {
    let old = message.properties.iter_mut().find(|(n, _)| n.eq_ignore_ascii_case(name));
    match (old, value) {
        (Some(old), Some(value)) => old.1 = value,
        (None, Some(value)) => message.properties.push((name.to_owned(), value)),
        (Some(_), None) => message.properties.retain(|(n, _)| !n.eq_ignore_ascii_case(name)),
        (None, None) => {}
    }
}

fn set_broker(message: &mut Message, name: &str, value: Option<PropertyValue>) {
    let text = match value {
        Some(PropertyValue::Text(text)) => Some(text),
        _ => None,
    };
    let broker = &mut message.broker;
    match name.to_ascii_lowercase().as_str() {
        "label" => broker.label = text,
        "correlationid" => broker.correlation_id = text,
        "to" => broker.to = text,
        "replyto" => broker.reply_to = text,
        "replytosessionid" => broker.reply_to_session_id = text,
        "contenttype" => message.content_type = text,
        _ => {}
    }
}

/// A broker property by its name, in any case.
pub(super) fn broker_property(message: &Message, name: &str) -> Option<PropertyValue> {
    let broker = &message.broker;
    let text = match name.to_ascii_lowercase().as_str() {
        "label" | "subject" => broker.label.clone(),
        "correlationid" => broker.correlation_id.clone(),
        "to" => broker.to.clone(),
        "replyto" => broker.reply_to.clone(),
        "replytosessionid" => broker.reply_to_session_id.clone(),
        "sessionid" => broker.session_id.clone(),
        "partitionkey" => broker.partition_key.clone(),
        "messageid" => Some(broker.message_id.clone()),
        "contenttype" => message.content_type.clone(),
        _ => None,
    };
    text.map(PropertyValue::Text)
}

impl Test {
    fn of(&self, message: &Message) -> Option<bool> {
        match self {
            Self::Or(one, other) => match (one.of(message), other.of(message)) {
                (Some(true), _) | (_, Some(true)) => Some(true),
                (Some(false), Some(false)) => Some(false),
                _ => None,
            },
            Self::And(one, other) => match (one.of(message), other.of(message)) {
                (Some(false), _) | (_, Some(false)) => Some(false),
                (Some(true), Some(true)) => Some(true),
                _ => None,
            },
            Self::Not(test) => test.of(message).map(|truth| !truth),
            Self::Compare(one, comparison, other) => compare(&one.of(message)?, *comparison, &other.of(message)?),
            Self::In(one, list) => {
                let value = one.of(message)?;
                let found = |other: &Operand| {
                    other.of(message).and_then(|other| compare(&value, Comparison::Equal, &other)) == Some(true)
                };
                Some(list.iter().any(found))
            }
            Self::Like(one, pattern) => match one.of(message)? {
                PropertyValue::Text(text) => Some(like(&text, pattern)),
                _ => None,
            },
            Self::IsNull(one) => Some(one.of(message).is_none()),
            Self::Exists(name) => Some(Operand::Property(name.clone()).of(message).is_some()),
            Self::Truth(one) => match one.of(message)? {
                PropertyValue::Boolean(flag) => Some(flag),
                _ => None,
            },
        }
    }
}

impl Operand {
    fn of(&self, message: &Message) -> Option<PropertyValue> {
        match self {
            Self::Value(value) => Some(value.clone()),
            Self::Null => None,
            Self::Property(name) => match name.strip_prefix("sys.") {
                Some(name) => broker_property(message, name),
                None => {
                    let found = message.properties.iter().find(|(n, _)| n.eq_ignore_ascii_case(name));
                    found.map(|(_, value)| value.clone())
                }
            },
        }
    }
}

fn compare(one: &PropertyValue, comparison: Comparison, other: &PropertyValue) -> Option<bool> {
    use PropertyValue::{Boolean, Double, Integer, Text};
    let order = match (one, other) {
        (Text(a), Text(b)) => a.cmp(b),
        (Boolean(a), Boolean(b)) => a.cmp(b),
        (Integer(a), Integer(b)) => a.cmp(b),
        (Double(a), Double(b)) => a.partial_cmp(b)?,
        (Integer(a), Double(b)) => widen(*a).partial_cmp(b)?,
        (Double(a), Integer(b)) => a.partial_cmp(&widen(*b))?,
        _ => return None,
    };
    Some(match comparison {
        Comparison::Equal => order.is_eq(),
        Comparison::NotEqual => order.is_ne(),
        Comparison::Less => order.is_lt(),
        Comparison::LessOrEqual => order.is_le(),
        Comparison::Greater => order.is_gt(),
        Comparison::GreaterOrEqual => order.is_ge(),
    })
}

#[expect(clippy::as_conversions, reason = "rounding is what a comparison of both kinds means")]
fn widen(whole: i64) -> f64 {
    whole as f64
}

/// `%` stands for any text, `_` for one character.
fn like(text: &str, pattern: &str) -> bool {
    let (text, pattern): (Vec<char>, Vec<char>) = (text.chars().collect(), pattern.chars().collect());
    let (mut t, mut p, mut retry) = (0, 0, None);
    while t < text.len() {
        match pattern.get(p) {
            Some('%') => {
                retry = Some((p, t));
                p += 1;
            }
            Some(c) if *c == '_' || text.get(t) == Some(c) => {
                t += 1;
                p += 1;
            }
            _ => match retry {
                Some((percent, from)) => {
                    retry = Some((percent, from + 1));
                    (p, t) = (percent + 1, from + 1);
                }
                None => return false,
            },
        }
    }
    pattern.iter().skip(p).all(|c| *c == '%')
}

/// Reads tokens from the front.
struct Parser<'a> {
    rest: std::collections::VecDeque<Token>,
    parameters: &'a Parameters,
}

impl<'a> Parser<'a> {
    fn new(text: &str, parameters: &'a Parameters) -> Result<Self, SqlError> {
        if text.chars().count() > LONGEST {
            return Err(SqlError(format!("more than {LONGEST} characters")));
        }
        Ok(Self { rest: tokens(text)?.into(), parameters })
    }

    fn any_of(&mut self, depth: usize) -> Result<Test, SqlError> {
        let mut test = self.all_of(depth)?;
        while self.word("OR") {
            test = Test::Or(Box::new(test), Box::new(self.all_of(depth)?));
        }
        Ok(test)
    }

    fn all_of(&mut self, depth: usize) -> Result<Test, SqlError> {
        let mut test = self.negation(depth)?;
        while self.word("AND") {
            test = Test::And(Box::new(test), Box::new(self.negation(depth)?));
        }
        Ok(test)
    }

    fn negation(&mut self, depth: usize) -> Result<Test, SqlError> {
        if depth > DEEPEST {
            return Err(SqlError("nested too deeply".to_owned()));
        }
        if self.word("NOT") {
            return Ok(Test::Not(Box::new(self.negation(depth + 1)?)));
        }
        if self.take(&Token::Symbol("(")) {
            let test = self.any_of(depth + 1)?;
            self.expect(&Token::Symbol(")"))?;
            return Ok(test);
        }
        if self.word("EXISTS") {
            self.expect(&Token::Symbol("("))?;
            let name = self.name()?;
            self.expect(&Token::Symbol(")"))?;
            return Ok(Test::Exists(name));
        }
        self.predicate()
    }

    fn predicate(&mut self) -> Result<Test, SqlError> {
        const COMPARISONS: [(&str, Comparison); 7] = [
            ("=", Comparison::Equal),
            ("<>", Comparison::NotEqual),
            ("!=", Comparison::NotEqual),
            ("<=", Comparison::LessOrEqual),
            (">=", Comparison::GreaterOrEqual),
            ("<", Comparison::Less),
            (">", Comparison::Greater),
        ];
        let one = self.operand()?;
        for (symbol, comparison) in COMPARISONS {
            if self.take(&Token::Symbol(symbol)) {
                return Ok(Test::Compare(one, comparison, self.operand()?));
            }
        }
        if self.word("IS") {
            let not = self.word("NOT");
            if !self.word("NULL") {
                return Err(self.unexpected());
            }
            return Ok(negated(not, Test::IsNull(one)));
        }
        let not = self.word("NOT");
        if self.word("IN") {
            self.expect(&Token::Symbol("("))?;
            let mut list = vec![self.operand()?];
            while self.take(&Token::Symbol(",")) {
                list.push(self.operand()?);
            }
            self.expect(&Token::Symbol(")"))?;
            return Ok(negated(not, Test::In(one, list)));
        }
        if self.word("LIKE") {
            return match self.operand()? {
                Operand::Value(PropertyValue::Text(pattern)) => Ok(negated(not, Test::Like(one, pattern))),
                _ => Err(SqlError("a pattern must be text".to_owned())),
            };
        }
        if not { Err(self.unexpected()) } else { Ok(Test::Truth(one)) }
    }

    fn operand(&mut self) -> Result<Operand, SqlError> {
        match self.rest.pop_front() {
            Some(Token::Literal(value)) => Ok(Operand::Value(value)),
            Some(Token::Parameter(name)) => match self.parameters.get(&name) {
                Some(value) => Ok(Operand::Value(value.clone())),
                None => Err(SqlError(format!("no value for {name}"))),
            },
            Some(Token::Word(word)) if word.eq_ignore_ascii_case("TRUE") => {
                Ok(Operand::Value(PropertyValue::Boolean(true)))
            }
            Some(Token::Word(word)) if word.eq_ignore_ascii_case("FALSE") => {
                Ok(Operand::Value(PropertyValue::Boolean(false)))
            }
            Some(Token::Word(word)) if word.eq_ignore_ascii_case("NULL") => Ok(Operand::Null),
            Some(Token::Word(word)) => Ok(Operand::Property(scoped(&word))),
            other => Err(SqlError(format!("unexpected {other:?}"))),
        }
    }

    fn name(&mut self) -> Result<String, SqlError> {
        match self.rest.pop_front() {
            Some(Token::Word(word)) => Ok(scoped(&word)),
            other => Err(SqlError(format!("a name is missing before {other:?}"))),
        }
    }

    fn word(&mut self, word: &str) -> bool {
        let found = matches!(self.rest.front(), Some(Token::Word(next)) if next.eq_ignore_ascii_case(word));
        if found {
            self.rest.pop_front();
        }
        found
    }

    fn take(&mut self, token: &Token) -> bool {
        let found = self.rest.front() == Some(token);
        if found {
            self.rest.pop_front();
        }
        found
    }

    fn expect(&mut self, token: &Token) -> Result<(), SqlError> {
        if self.take(token) { Ok(()) } else { Err(self.unexpected()) }
    }

    fn end(&self) -> Result<(), SqlError> {
        if self.rest.is_empty() { Ok(()) } else { Err(self.unexpected()) }
    }

    fn unexpected(&self) -> SqlError {
        SqlError(format!("unexpected {:?}", self.rest.front()))
    }
}

fn negated(not: bool, test: Test) -> Test {
    if not { Test::Not(Box::new(test)) } else { test }
}

/// `user.` says nothing; `sys.` is written small.
fn scoped(word: &str) -> String {
    let has = |scope: &str| word.get(..scope.len()).is_some_and(|head| head.eq_ignore_ascii_case(scope));
    match word.get(4..) {
        Some(rest) if has("sys.") => format!("sys.{rest}"),
        _ => match word.get(5..) {
            Some(rest) if has("user.") => rest.to_owned(),
            _ => word.to_owned(),
        },
    }
}

#[cfg(test)]
mod tests;
