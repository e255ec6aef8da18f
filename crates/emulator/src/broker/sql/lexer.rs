//! Text into words, literals and signs.

use super::super::message::PropertyValue;
use super::SqlError;

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
    /// A keyword or a property's name, with its scope.
    Word(String),
    /// A custom property's name in `[]` or `""`: never a keyword.
    Name(String),
    /// With the `@`.
    Parameter(String),
    Literal(PropertyValue),
    Symbol(&'static str),
}

/// The signs, longer ones before their beginnings.
const SYMBOLS: [&str; 16] = ["<>", "!=", "<=", ">=", "=", "<", ">", "(", ")", ",", ";", "+", "-", "*", "/", "%"];

pub(super) fn tokens(text: &str) -> Result<Vec<Token>, SqlError> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let (token, after) = if first == '\'' {
            quoted(rest, '\'').map(|(text, rest)| (Token::Literal(PropertyValue::Text(text)), rest))?
        } else if first == '[' || first == '"' {
            delimited(rest).map(|(text, rest)| (Token::Name(text), rest))?
        } else if first.is_ascii_digit() {
            number(rest)?
        } else if first == '@' || first.is_alphabetic() || first == '_' {
            let is_part = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.' | '@' | '$' | '#');
            let (word, after) = split(rest, rest.find(|c| !is_part(c)).unwrap_or(rest.len()));
            if word.ends_with('.') && after.starts_with(['[', '"']) {
                let (name, after) = delimited(after)?;
                (Token::Word(format!("{word}{name}")), after)
            } else if first == '@' {
                (Token::Parameter(word.to_owned()), after)
            } else {
                (Token::Word(word.to_owned()), after)
            }
        } else {
            let found = SYMBOLS.iter().find_map(|symbol| Some((*symbol, rest.strip_prefix(symbol)?)));
            let (symbol, after) = found.ok_or_else(|| SqlError(format!("unexpected {first}")))?;
            (Token::Symbol(symbol), after)
        };
        tokens.push(token);
        rest = after.trim_start();
    }
    Ok(tokens)
}

/// Reads up to the closing sign; a doubled one stands for itself.
fn quoted(text: &str, close: char) -> Result<(String, &str), SqlError> {
    let mut out = String::new();
    let mut chars = text.char_indices().skip(1).peekable();
    while let Some((at, c)) = chars.next() {
        if c != close {
            out.push(c);
        } else if chars.peek().is_some_and(|(_, next)| *next == close) {
            out.push(c);
            chars.next();
        } else {
            return Ok((out, split(text, at + c.len_utf8()).1));
        }
    }
    Err(SqlError(format!("{close} is missing")))
}

/// `[name]` or `"name"`.
fn delimited(text: &str) -> Result<(String, &str), SqlError> {
    quoted(text, if text.starts_with('[') { ']' } else { '"' })
}

/// Digits, perhaps with a fraction and an exponent. A sign is a sign of its own.
fn number(text: &str) -> Result<(Token, &str), SqlError> {
    let mut before = ' ';
    let end = text.find(|c: char| {
        let part = c.is_ascii_alphanumeric() || c == '.' || (matches!(c, '+' | '-') && matches!(before, 'e' | 'E'));
        before = c;
        !part
    });
    let (digits, after) = split(text, end.unwrap_or(text.len()));
    let value = match (digits.parse::<i64>(), digits.parse::<f64>()) {
        (Ok(whole), _) => PropertyValue::Integer(whole),
        (Err(_), Ok(double)) if double.is_finite() => PropertyValue::Double(double),
        _ => return Err(SqlError(format!("{digits} is no number"))),
    };
    Ok((Token::Literal(value), after))
}

fn split(text: &str, at: usize) -> (&str, &str) {
    text.split_at_checked(at).unwrap_or((text, ""))
}
