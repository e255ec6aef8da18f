//! Form bodies: `application/x-www-form-urlencoded`.

use percent_encoding::percent_decode;

/// The media type.
pub const CONTENT_TYPE: &str = "application/x-www-form-urlencoded";

/// A name and its value, decoded. Bytes, since nothing promises that they are text.
pub type Pair = (Vec<u8>, Vec<u8>);

/// The pairs of a form, or of a query, in order. Repeated names and empty values are kept; an escape that is none stands for itself.
#[must_use]
pub fn pairs(form: &[u8]) -> Vec<Pair> {
    form.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()).map(pair).collect()
}

/// The first value under a name.
#[must_use]
pub fn first<'a>(pairs: &'a [Pair], name: &str) -> Option<&'a [u8]> {
    pairs.iter().find(|(known, _)| known == name.as_bytes()).map(|(_, value)| value.as_slice())
}

fn pair(pair: &[u8]) -> Pair {
    let mut parts = pair.splitn(2, |byte| *byte == b'=');
    (decoded(parts.next().unwrap_or_default()), decoded(parts.next().unwrap_or_default()))
}

fn decoded(part: &[u8]) -> Vec<u8> {
    let spaced: Vec<u8> = part.iter().map(|byte| if *byte == b'+' { b' ' } else { *byte }).collect();
    percent_decode(&spaced).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_repeat_and_values_may_be_empty() {
        let found = pairs(b"a=1&a=%2B+%C3%A4&&b&c=x=y&=v&d=%zz");
        let expected: [(&str, &str); 6] = [("a", "1"), ("a", "+ ä"), ("b", ""), ("c", "x=y"), ("", "v"), ("d", "%zz")];
        let expected: Vec<Pair> =
            expected.iter().map(|(n, v)| (n.as_bytes().to_vec(), v.as_bytes().to_vec())).collect();
        assert_eq!(found, expected);
        assert_eq!(first(&found, "a"), Some(b"1".as_slice()));
        assert_eq!(first(&found, "A"), None);
    }

    proptest! {
        #[test]
        fn no_form_panics(form in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = pairs(&form);
        }
    }
}
