//! Tokens into conditions and operands, by recursive descent.

use std::collections::VecDeque;

use super::super::message::PropertyValue;
use super::lexer::{Token, tokens};
use super::{Arithmetic, Comparison, Operand, Parameters, SqlError, Test, properties};

/// The longest expression, in characters, as documented.
pub(super) const LONGEST: usize = 1024;
/// How deep parentheses and `NOT` may nest. Our own bound, for the stack: no limit of the service is documented.
const DEEPEST: usize = 32;

const COMPARISONS: [(&str, Comparison); 7] = [
    ("=", Comparison::Equal),
    ("<>", Comparison::NotEqual),
    ("!=", Comparison::NotEqual),
    ("<=", Comparison::LessOrEqual),
    (">=", Comparison::GreaterOrEqual),
    ("<", Comparison::Less),
    (">", Comparison::Greater),
];
const SUMS: [(&str, Arithmetic); 2] = [("+", Arithmetic::Add), ("-", Arithmetic::Subtract)];
const PRODUCTS: [(&str, Arithmetic); 3] =
    [("*", Arithmetic::Multiply), ("/", Arithmetic::Divide), ("%", Arithmetic::Remainder)];

/// Reads tokens from the front.
pub(super) struct Parser<'a> {
    rest: VecDeque<Token>,
    parameters: &'a Parameters,
}

/// Parentheses hold either.
enum Node {
    Test(Test),
    Operand(Operand),
}

impl<'a> Parser<'a> {
    pub(super) fn new(text: &str, parameters: &'a Parameters) -> Result<Self, SqlError> {
        if text.chars().count() > LONGEST {
            return Err(SqlError(format!("more than {LONGEST} characters")));
        }
        Ok(Self { rest: tokens(text)?.into(), parameters })
    }

    // ---- conditions

    pub(super) fn any_of(&mut self, depth: usize) -> Result<Test, SqlError> {
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
        if self.word("NOT") { Ok(Test::Not(Box::new(self.negation(depth + 1)?))) } else { self.predicate(depth) }
    }

    fn predicate(&mut self, depth: usize) -> Result<Test, SqlError> {
        let one = match self.sum(depth)? {
            Node::Test(test) => return Ok(test),
            Node::Operand(one) => one,
        };
        if let Some(comparison) = self.one_of(&COMPARISONS) {
            return Ok(Test::Compare(one, comparison, self.operand(depth)?));
        }
        if self.word("IS") {
            let not = self.word("NOT");
            return if self.word("NULL") { Ok(negated(not, Test::IsNull(one))) } else { Err(self.unexpected()) };
        }
        let not = self.word("NOT");
        if self.word("IN") {
            self.expect(&Token::Symbol("("))?;
            let mut list = vec![self.operand(depth)?];
            while self.take(&Token::Symbol(",")) {
                list.push(self.operand(depth)?);
            }
            self.expect(&Token::Symbol(")"))?;
            return Ok(negated(not, Test::In(one, list)));
        }
        if self.word("LIKE") {
            return Ok(negated(not, self.pattern(one, depth)?));
        }
        if not { Err(self.unexpected()) } else { Ok(Test::Truth(one)) }
    }

    fn pattern(&mut self, one: Operand, depth: usize) -> Result<Test, SqlError> {
        let pattern = self.operand(depth)?;
        let escape = if self.word("ESCAPE") {
            match self.operand(depth)? {
                Operand::Value(PropertyValue::Text(text)) if text.chars().count() == 1 => text.chars().next(),
                _ => return Err(SqlError("an escape must be one character".to_owned())),
            }
        } else {
            None
        };
        match pattern {
            Operand::Value(PropertyValue::Text(_)) | Operand::Property(_) | Operand::Computed(..) => {
                Ok(Test::Like(one, pattern, escape))
            }
            Operand::Value(_) | Operand::Null | Operand::Negative(_) => {
                Err(SqlError("a pattern must be text".to_owned()))
            }
        }
    }

    // ---- operands

    /// A value, a property, or what is computed from them.
    pub(super) fn operand(&mut self, depth: usize) -> Result<Operand, SqlError> {
        match self.sum(depth)? {
            Node::Operand(operand) => Ok(operand),
            Node::Test(_) => Err(SqlError("a condition stands where a value is needed".to_owned())),
        }
    }

    fn sum(&mut self, depth: usize) -> Result<Node, SqlError> {
        let mut node = self.product(depth)?;
        while let Node::Operand(_) = node
            && let Some(operation) = self.one_of(&SUMS)
        {
            let other = self.product(depth)?;
            node = computed(node, operation, other)?;
        }
        Ok(node)
    }

    fn product(&mut self, depth: usize) -> Result<Node, SqlError> {
        let mut node = self.signed(depth)?;
        while let Node::Operand(_) = node
            && let Some(operation) = self.one_of(&PRODUCTS)
        {
            let other = self.signed(depth)?;
            node = computed(node, operation, other)?;
        }
        Ok(node)
    }

    fn signed(&mut self, depth: usize) -> Result<Node, SqlError> {
        let (mut signs, mut minus) = (0, false);
        while let Some(sign) = self.one_of(&SUMS) {
            (signs, minus) = (signs + 1, minus != (sign == Arithmetic::Subtract));
        }
        match self.primary(depth)? {
            Node::Operand(operand) if minus => Ok(Node::Operand(negative(operand))),
            Node::Test(_) if signs > 0 => Err(SqlError("a condition has no sign".to_owned())),
            node => Ok(node),
        }
    }

    fn primary(&mut self, depth: usize) -> Result<Node, SqlError> {
        if self.take(&Token::Symbol("(")) {
            let test = self.any_of(depth + 1)?;
            self.expect(&Token::Symbol(")"))?;
            return Ok(match test {
                Test::Truth(operand) => Node::Operand(operand),
                test => Node::Test(test),
            });
        }
        if self.calls("EXISTS") {
            let name = self.name()?;
            self.expect(&Token::Symbol(")"))?;
            return Ok(Node::Test(Test::Exists(name)));
        }
        if self.calls("PROPERTY") || self.calls("P") {
            let name = match self.rest.pop_front() {
                Some(Token::Literal(PropertyValue::Text(name))) => name,
                Some(Token::Word(word)) => scoped(&word)?,
                Some(Token::Name(name)) => name,
                other => return Err(SqlError(format!("a name is missing before {other:?}"))),
            };
            self.expect(&Token::Symbol(")"))?;
            return Ok(Node::Operand(Operand::Property(name)));
        }
        self.atom().map(Node::Operand)
    }

    fn atom(&mut self) -> Result<Operand, SqlError> {
        match self.rest.pop_front() {
            Some(Token::Literal(value)) => Ok(Operand::Value(value)),
            Some(Token::Parameter(name)) => match self.parameters.get(&name) {
                Some(value) => Ok(Operand::Value(value.clone())),
                None => Err(SqlError(format!("no value for {name}"))),
            },
            Some(Token::Word(word)) => match word.to_ascii_uppercase().as_str() {
                "TRUE" => Ok(Operand::Value(PropertyValue::Boolean(true))),
                "FALSE" => Ok(Operand::Value(PropertyValue::Boolean(false))),
                "NULL" => Ok(Operand::Null),
                "AND" | "OR" | "NOT" | "IN" | "LIKE" | "IS" | "ESCAPE" | "EXISTS" => {
                    Err(SqlError(format!("unexpected {word}")))
                }
                _ => Ok(Operand::Property(scoped(&word)?)),
            },
            Some(Token::Name(name)) => Ok(Operand::Property(name)),
            other => Err(SqlError(format!("unexpected {other:?}"))),
        }
    }

    /// A property's name.
    pub(super) fn name(&mut self) -> Result<String, SqlError> {
        match self.rest.pop_front() {
            Some(Token::Word(word)) => scoped(&word),
            Some(Token::Name(name)) => Ok(name),
            other => Err(SqlError(format!("a name is missing before {other:?}"))),
        }
    }

    /// Takes `newid()`.
    pub(super) fn new_id(&mut self) -> bool {
        let closed = self.rest.get(2) == Some(&Token::Symbol(")"));
        let found = closed && self.calls("NEWID");
        if found {
            self.rest.pop_front();
        }
        found
    }

    // ---- tokens

    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(super) fn word(&mut self, word: &str) -> bool {
        let found = self.is_word(word);
        if found {
            self.rest.pop_front();
        }
        found
    }

    /// Takes a function's name and its opening parenthesis.
    fn calls(&mut self, function: &str) -> bool {
        let found = self.is_word(function) && self.rest.get(1) == Some(&Token::Symbol("("));
        if found {
            self.rest.drain(..2);
        }
        found
    }

    fn is_word(&self, word: &str) -> bool {
        matches!(self.rest.front(), Some(Token::Word(next)) if next.eq_ignore_ascii_case(word))
    }

    fn one_of<T: Copy>(&mut self, choices: &[(&'static str, T)]) -> Option<T> {
        choices.iter().find_map(|(symbol, choice)| self.take(&Token::Symbol(symbol)).then_some(*choice))
    }

    pub(super) fn take(&mut self, token: &Token) -> bool {
        let found = self.rest.front() == Some(token);
        if found {
            self.rest.pop_front();
        }
        found
    }

    pub(super) fn expect(&mut self, token: &Token) -> Result<(), SqlError> {
        if self.take(token) { Ok(()) } else { Err(self.unexpected()) }
    }

    pub(super) fn end(&self) -> Result<(), SqlError> {
        if self.rest.is_empty() { Ok(()) } else { Err(self.unexpected()) }
    }

    pub(super) fn unexpected(&self) -> SqlError {
        SqlError(format!("unexpected {:?}", self.rest.front()))
    }
}

fn negated(not: bool, test: Test) -> Test {
    if not { Test::Not(Box::new(test)) } else { test }
}

fn negative(operand: Operand) -> Operand {
    match operand {
        Operand::Value(PropertyValue::Integer(whole)) => Operand::Value(PropertyValue::Integer(whole.saturating_neg())),
        Operand::Value(PropertyValue::Double(double)) => Operand::Value(PropertyValue::Double(-double)),
        other => Operand::Negative(Box::new(other)),
    }
}

fn computed(one: Node, operation: Arithmetic, other: Node) -> Result<Node, SqlError> {
    match (one, other) {
        (Node::Operand(one), Node::Operand(other)) => {
            Ok(Node::Operand(Operand::Computed(Box::new(one), operation, Box::new(other))))
        }
        _ => Err(SqlError("nothing can be computed from a condition".to_owned())),
    }
}

/// `user.` says nothing; `sys.` is written small, and its property must be there.
fn scoped(word: &str) -> Result<String, SqlError> {
    let after = |scope: &str| {
        let head = word.get(..scope.len())?;
        if head.eq_ignore_ascii_case(scope) { word.get(scope.len()..) } else { None }
    };
    match (after("sys."), after("user.")) {
        (Some(name), _) if properties::is_broker_property(name) => Ok(format!("sys.{name}")),
        (Some(name), _) => Err(SqlError(format!("there is no system property {name}"))),
        (None, Some(name)) => Ok(name.to_owned()),
        (None, None) => Ok(word.to_owned()),
    }
}
