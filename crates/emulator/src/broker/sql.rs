//! The SQL of rules: conditions, and actions that set or remove properties.
//!
//! The documented language: comparison, `AND`, `OR`, `NOT`, `[NOT] IN`, `[NOT] LIKE … [ESCAPE …]`,
//! `IS [NOT] NULL`, `EXISTS(p)`, `+ - * / %`, parentheses, literals, `@parameters`, `sys.` and `user.`
//! properties, `property(name)`; `SET p = value`, with `newid()` as a value too, and `REMOVE p`. What is not
//! of it is refused when a rule is made.
//!
//! Logic has three values: what is computed from an absent property, or from kinds that do not fit, is
//! unknown, and unknown does not match. Texts that are both HTTP-dates compare as points in time.

mod evaluate;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod lexer;
mod parser;
mod properties;
mod written;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::message::{Message, PropertyValue};
use crate::ids::IdSource;
use lexer::Token;
#[cfg(any(test, fuzzing))]
use parser::LONGEST;
use parser::Parser;
pub(super) use properties::broker_property;
use written::Written;

/// Why a text is no condition or action.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the expression cannot be read: {0}")]
pub struct SqlError(pub(super) String);

/// Statements of an action: "expressions per rule action" in the service's documented limits.
const MOST_STATEMENTS: usize = 32;

/// Values for `@names`, by name with the `@`.
pub type Parameters = BTreeMap<String, PropertyValue>;

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
    /// `SET p = newid()`.
    SetNewId(String),
    Remove(String),
}

#[derive(Debug, Clone, PartialEq)]
enum Test {
    Or(Box<Test>, Box<Test>),
    And(Box<Test>, Box<Test>),
    Not(Box<Test>),
    Compare(Operand, Comparison, Operand),
    In(Operand, Vec<Operand>),
    /// What, the pattern, and the character that makes the next one ordinary.
    Like(Operand, Operand, Option<char>),
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
    /// A custom property, or a broker property with `sys.` before its name.
    Property(String),
    Computed(Box<Operand>, Arithmetic, Box<Operand>),
    Negative(Box<Operand>),
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Arithmetic {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

impl Condition {
    /// Reads a filter's expression.
    ///
    /// # Errors
    /// When it is none.
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
    /// When they are none, or more than 32.
    pub fn parse(text: &str, parameters: &Parameters) -> Result<Self, SqlError> {
        let mut parser = Parser::new(text, parameters)?;
        let mut statements = Vec::new();
        while !parser.is_empty() {
            if statements.len() == MOST_STATEMENTS {
                return Err(SqlError(format!("more than {MOST_STATEMENTS} expressions")));
            }
            if parser.word("SET") {
                let name = parser.name()?;
                parser.expect(&Token::Symbol("="))?;
                statements.push(if parser.new_id() {
                    Statement::SetNewId(name)
                } else {
                    Statement::Set(name, parser.operand(0)?)
                });
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
    pub fn apply(&self, message: &mut Message, ids: &mut dyn IdSource) {
        for statement in &self.0 {
            match statement {
                Statement::Set(name, operand) => {
                    let value = operand.of(message);
                    properties::set(message, name, value);
                }
                Statement::SetNewId(name) => {
                    let id = uuid::Uuid::from_u128(ids.next_id()).to_string();
                    properties::set(message, name, Some(PropertyValue::Text(id)));
                }
                Statement::Remove(name) => properties::set(message, name, None),
            }
        }
    }
}

#[cfg(test)]
mod tests;
