use super::*;
use crate::ids::CountingIds;

fn message() -> Message {
    let mut message = Message::default();
    message.broker.label = Some("high".into());
    message.properties = vec![
        ("number".into(), PropertyValue::Integer(42)),
        ("Priority".into(), PropertyValue::Text("low".into())),
        ("ratio".into(), PropertyValue::Double(0.5)),
        ("live".into(), PropertyValue::Boolean(true)),
        ("rate".into(), PropertyValue::Text("5%".into())),
        ("born".into(), PropertyValue::Text("Wed, 14 Dec 2011 00:00:00 GMT".into())),
    ];
    message
}

#[test]
fn conditions_follow_three_valued_logic() {
    let parameters = Parameters::from([("@p".to_owned(), PropertyValue::Text("low".into()))]);
    for (text, expected) in [
        ("number > 40", true),
        ("number > 42", false),
        ("1=1", true),
        ("1=0", false),
        ("priority = 'low'", true),
        ("Priority = @p AND number = 42", true),
        ("missing = 1", false),
        ("NOT missing = 1", false),
        ("missing = 1 OR live", true),
        ("missing IS NULL AND number IS NOT NULL", true),
        ("number IN (1, 42)", true),
        ("number NOT IN (1, 42)", false),
        ("Priority LIKE 'l%'", true),
        ("Priority LIKE '_w'", false),
        ("Priority LIKE '%o_'", true),
        ("sys.Label = 'high'", true),
        ("user.number <= 42.0", true),
        ("EXISTS(number) AND NOT EXISTS(nothing)", true),
        ("(number = 1 OR number = 42) AND ratio < 1", true),
        ("number = 'forty'", false),
        ("[number] <> 1", true),
        ("number + 1 = 43 AND number - 2 = 40 AND number*2 > 80", true),
        ("(number + 8) / 10 = 5 AND number % 5 = 2", true),
        ("-number = -42 AND number-1 = 41", true),
        ("2 + 3 * 2 = 8 AND ratio * 2 = 1", true),
        ("number / 0 = 1", false),
        ("NOT number / 0 = 1", false),
        ("missing + 1 > 0", false),
        ("Priority + '!' = 'low!'", true),
        ("Priority LIKE '%' + 'w'", true),
        ("Priority LIKE 'l!_w' ESCAPE '!'", false),
        ("rate LIKE '5!%' ESCAPE '!' AND rate NOT LIKE '6%'", true),
        ("missing LIKE '%'", false),
        ("NOT (missing LIKE '%')", false),
        ("born < 'Thu, 15 Dec 2011 00:00:00 GMT' AND born > 'Sun, 20 Nov 2011 00:00:00 GMT'", true),
        ("user.[Priority] = 'low' AND sys.[Label] = 'high'", true),
        ("[and] IS NULL AND property('number') = 42 AND p(Priority) = 'low'", true),
        ("sys.correlationid IS NULL AND SYS.LABEL IS NOT NULL", true),
        ("live AND NOT live = false", true),
        ("live = TRUE OR missing", true),
        ("1e2 = 100 AND 1.5e-1 < 0.2", true),
    ] {
        let condition = Condition::parse(text, &parameters).unwrap();
        assert_eq!(condition.is_true(&message()), expected, "{text}");
    }
}

#[test]
fn actions_set_and_remove() {
    let mut changed = message();
    let action = Statements::parse(
        "SET number = number / 8; SET sys.Label = 'it''s'; REMOVE ratio; SET copy = Priority; SET id = newid()",
        &Parameters::new(),
    );
    action.unwrap().apply(&mut changed, &mut CountingIds::default());
    let custom = |name: &str| changed.properties.iter().find(|(n, _)| n == name).map(|(_, v)| v.clone());
    assert_eq!(custom("number"), Some(PropertyValue::Integer(5)));
    assert_eq!(custom("copy"), Some(PropertyValue::Text("low".into())));
    let id = PropertyValue::Text("00000000-0000-0000-0000-000000000001".into());
    assert_eq!(custom("id"), Some(id));
    assert_eq!(custom("ratio"), None);
    assert_eq!(changed.broker.label.as_deref(), Some("it's"));
}

#[test]
fn what_is_not_understood_is_refused() {
    let deep = "(".repeat(100) + "1=1" + &")".repeat(100);
    for text in [
        "",
        "number >",
        "= 1",
        "a = 'x",
        "a = @none",
        "a ! b",
        "a = 1 b",
        "1e",
        "NOT",
        "a LIKE 1",
        "a LIKE 'x' ESCAPE 'ab'",
        "sys.Nothing = 1",
        "(a = 1) + 1 = 2",
        "a = (b = 1)",
        "-(a = 1)",
        "a IN 1",
        "a = newid()",
        "AND",
        "a = NOT b",
        &deep,
        &"a".repeat(2000),
    ] {
        assert!(Condition::parse(text, &Parameters::new()).is_err(), "{text}");
    }
    assert!(Statements::parse("DROP x", &Parameters::new()).is_err());
}

#[test]
fn an_action_has_at_most_as_many_statements_as_documented() {
    let action = |statements: usize| Statements::parse(&"SET a=1;".repeat(statements), &Parameters::new());
    assert!(action(MOST_STATEMENTS).is_ok());
    let refused = action(MOST_STATEMENTS + 1).unwrap_err().to_string();
    assert!(refused.ends_with("more than 32 expressions"), "{refused}");
    // For conditions nothing but their length is documented.
    assert!(Condition::parse(&["a=1"; 100].join(" OR "), &Parameters::new()).is_ok());
}
