//! What an expression says of a message.

use super::super::message::{Message, PropertyValue};
use super::{Arithmetic, Comparison, Operand, Test, properties};
use crate::time::UnixMillis;
use PropertyValue::{Boolean, Double, Integer, Text};

impl Test {
    pub(super) fn of(&self, message: &Message) -> Option<bool> {
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
            Self::Like(one, pattern, escape) => match (one.of(message)?, pattern.of(message)?) {
                (Text(text), Text(pattern)) => Some(like(&text, &pattern, *escape)),
                _ => None,
            },
            Self::IsNull(one) => Some(one.of(message).is_none()),
            Self::Exists(name) => Some(properties::get(message, name).is_some()),
            Self::Truth(one) => match one.of(message)? {
                Boolean(flag) => Some(flag),
                _ => None,
            },
        }
    }
}

impl Operand {
    pub(super) fn of(&self, message: &Message) -> Option<PropertyValue> {
        match self {
            Self::Value(value) => Some(value.clone()),
            Self::Null => None,
            Self::Property(name) => properties::get(message, name),
            Self::Computed(one, operation, other) => compute(&one.of(message)?, *operation, &other.of(message)?),
            Self::Negative(one) => match one.of(message)? {
                Integer(whole) => whole.checked_neg().map(Integer),
                Double(double) => Some(Double(-double)),
                Text(_) | Boolean(_) => None,
            },
        }
    }
}

/// What cannot be represented is unknown, as is a division by zero.
fn compute(one: &PropertyValue, operation: Arithmetic, other: &PropertyValue) -> Option<PropertyValue> {
    match (one, other) {
        (Text(a), Text(b)) if operation == Arithmetic::Add => Some(Text(format!("{a}{b}"))),
        (Integer(a), Integer(b)) => {
            let (a, b) = (*a, *b);
            match operation {
                Arithmetic::Add => a.checked_add(b),
                Arithmetic::Subtract => a.checked_sub(b),
                Arithmetic::Multiply => a.checked_mul(b),
                Arithmetic::Divide => a.checked_div(b),
                Arithmetic::Remainder => a.checked_rem(b),
            }
            .map(Integer)
        }
        _ => {
            let (a, b) = (number(one)?, number(other)?);
            let result = match operation {
                Arithmetic::Add => a + b,
                Arithmetic::Subtract => a - b,
                Arithmetic::Multiply => a * b,
                Arithmetic::Divide => a / b,
                Arithmetic::Remainder => a % b,
            };
            result.is_finite().then_some(Double(result))
        }
    }
}

fn number(value: &PropertyValue) -> Option<f64> {
    match value {
        Integer(whole) => Some(widen(*whole)),
        Double(double) => Some(*double),
        Text(_) | Boolean(_) => None,
    }
}

fn compare(one: &PropertyValue, comparison: Comparison, other: &PropertyValue) -> Option<bool> {
    let order = match (one, other) {
        (Text(a), Text(b)) => match (instant(a), instant(b)) {
            (Some(a), Some(b)) => a.cmp(&b),
            _ => a.cmp(b),
        },
        (Boolean(a), Boolean(b)) => a.cmp(b),
        (Integer(a), Integer(b)) => a.cmp(b),
        _ => number(one)?.partial_cmp(&number(other)?)?,
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

/// A date as a property has it.
fn instant(text: &str) -> Option<UnixMillis> {
    text.ends_with(" GMT").then(|| UnixMillis::parse_http_date(text)).flatten()
}

#[expect(clippy::as_conversions, reason = "rounding is what a comparison of both kinds means")]
fn widen(whole: i64) -> f64 {
    whole as f64
}

/// A sign of a pattern.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Sign {
    /// `%`: any text.
    Many,
    /// `_`: one character.
    One,
    This(char),
}

fn like(text: &str, pattern: &str, escape: Option<char>) -> bool {
    let (text, pattern): (Vec<char>, Vec<Sign>) = (text.chars().collect(), signs(pattern, escape));
    let (mut t, mut p, mut retry) = (0, 0, None);
    while t < text.len() {
        match pattern.get(p) {
            Some(Sign::Many) => {
                retry = Some((p, t));
                p += 1;
            }
            Some(sign) if *sign == Sign::One || text.get(t).is_some_and(|c| *sign == Sign::This(*c)) => {
                t += 1;
                p += 1;
            }
            _ => match retry {
                Some((many, from)) => {
                    retry = Some((many, from + 1));
                    (p, t) = (many + 1, from + 1);
                }
                None => return false,
            },
        }
    }
    pattern.iter().skip(p).all(|sign| *sign == Sign::Many)
}

fn signs(pattern: &str, escape: Option<char>) -> Vec<Sign> {
    let mut chars = pattern.chars();
    let mut signs = Vec::new();
    while let Some(c) = chars.next() {
        signs.push(match c {
            c if Some(c) == escape => Sign::This(chars.next().unwrap_or(c)),
            '%' => Sign::Many,
            '_' => Sign::One,
            c => Sign::This(c),
        });
    }
    signs
}
