use super::*;

fn message() -> Message {
    let mut message = Message::default();
    message.broker.label = Some("high".into());
    message.properties = vec![
        ("number".into(), PropertyValue::Integer(42)),
        ("Priority".into(), PropertyValue::Text("low".into())),
        ("ratio".into(), PropertyValue::Double(0.5)),
        ("live".into(), PropertyValue::Boolean(true)),
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
    ] {
        let condition = Condition::parse(text, &parameters).unwrap();
        assert_eq!(condition.is_true(&message()), expected, "{text}");
    }
}

#[test]
fn actions_set_and_remove() {
    let mut changed = message();
    let action = Statements::parse(
        "SET number = 5; SET sys.Label = 'it''s'; REMOVE ratio; SET copy = Priority",
        &Parameters::new(),
    );
    action.unwrap().apply(&mut changed);
    let custom = |name: &str| changed.properties.iter().find(|(n, _)| n == name).map(|(_, v)| v.clone());
    assert_eq!(custom("number"), Some(PropertyValue::Integer(5)));
    assert_eq!(custom("copy"), Some(PropertyValue::Text("low".into())));
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
        &deep,
        &"a".repeat(2000),
    ] {
        assert!(Condition::parse(text, &Parameters::new()).is_err(), "{text}");
    }
    assert!(Statements::parse("DROP x", &Parameters::new()).is_err());
}
