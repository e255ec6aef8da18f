//! How an expression is kept: as it was written, to be read again.
//!
//! Its tree would be the shorter way, but a chain of `OR` as long as the limit allows is deeper than a
//! JSON reader goes: a namespace that was kept could then not be opened again.

use serde::{Deserialize, Serialize};

use super::{Condition, Parameters, SqlError, Statements};

/// An expression and the values of its parameters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Written {
    sql: String,
    #[serde(default, skip_serializing_if = "Parameters::is_empty")]
    parameters: Parameters,
}

impl Written {
    pub(super) fn new(sql: &str, parameters: &Parameters) -> Self {
        Self { sql: sql.to_owned(), parameters: parameters.clone() }
    }
}

impl TryFrom<Written> for Condition {
    type Error = SqlError;

    fn try_from(written: Written) -> Result<Self, SqlError> {
        Self::parse(&written.sql, &written.parameters)
    }
}

impl TryFrom<Written> for Statements {
    type Error = SqlError;

    fn try_from(written: Written) -> Result<Self, SqlError> {
        Self::parse(&written.sql, &written.parameters)
    }
}

impl From<Condition> for Written {
    fn from(condition: Condition) -> Self {
        condition.1
    }
}

impl From<Statements> for Written {
    fn from(statements: Statements) -> Self {
        statements.1
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::PropertyValue;

    #[test]
    fn the_longest_chain_comes_back_from_the_store() {
        let chain = ["a = @p"; 100].join(" OR ");
        let parameters = Parameters::from([("@p".to_owned(), PropertyValue::Double(0.1))]);
        let condition = Condition::parse(&chain, &parameters).unwrap();
        let row = serde_json::to_string(&condition).unwrap();
        assert_eq!(serde_json::from_str::<Condition>(&row).unwrap(), condition);
        assert!(serde_json::from_str::<Condition>(r#"{"sql":"a ="}"#).is_err());
    }
}
