"""ServiceBusAdministrationClient of azure-servicebus 7.15.0: the management plane at its newest API version."""

from datetime import datetime, timedelta, timezone

from azure.core.exceptions import (
    ClientAuthenticationError,
    HttpResponseError,
    ResourceExistsError,
    ResourceNotFoundError,
)
from azure.core.pipeline.transport import RequestsTransport
from azure.servicebus.management import (
    AccessRights,
    ApiVersion,
    AuthorizationRule,
    CorrelationRuleFilter,
    EntityStatus,
    FalseRuleFilter,
    ServiceBusAdministrationClient,
    SqlRuleAction,
    SqlRuleFilter,
    TrueRuleFilter,
)

from steps import KEY, RULE, equal, fresh, raises, run, session, step

HOST = "ns.servicebus.windows.net"
FOR_EVER = "P10675199DT2H48M5.4775807S"


def client(key=KEY, rule=RULE, **named):
    connection = f"Endpoint=sb://{HOST}/;SharedAccessKeyName={rule};SharedAccessKey={key}"
    transport = RequestsTransport(session=session(), session_owner=False)
    # A retry would hide what the first answer was.
    return ServiceBusAdministrationClient.from_connection_string(connection, transport=transport, retry_total=0, **named)


bus = client()


def queue(**properties):
    name = fresh("queue")
    bus.create_queue(name, **properties)
    return name


def topic(**properties):
    name = fresh("topic")
    bus.create_topic(name, **properties)
    return name


def subscription(of, **properties):
    name = fresh("sub")
    bus.create_subscription(of, name, **properties)
    return name


def span(value):
    """Time spans as the client gives them: text, or a timedelta."""
    texts = {timedelta(seconds=90): "PT1M30S", timedelta(minutes=5): "PT5M", timedelta(hours=25): "P1DT1H"}
    return texts.get(value, value)


def shows(found, expected):
    for key, value in expected.items():
        equal((key, span(getattr(found, key))), (key, span(value)))


def recent(at):
    """Made in this run, in a clock that other steps may have moved by minutes."""
    age = abs(datetime.now(timezone.utc) - at.replace(tzinfo=timezone.utc))
    assert age < timedelta(minutes=10), at


def saying(error, *texts):
    for text in texts:
        assert text in str(error), f"{text!r} is not in {error}"


# ---- the namespace


@step
def the_namespace_says_what_it_is():
    found = bus.get_namespace_properties()
    equal((found.name, found.messaging_sku, found.namespace_type), ("ns", "Standard", "Messaging"))
    recent(found.created_at_utc)
    recent(found.modified_at_utc)
    equal((found.alias, found.messaging_units), (None, None))


# ---- queues


@step
def a_queue_has_the_documented_defaults():
    expected = {
        "auto_delete_on_idle": FOR_EVER,
        "availability_status": "Available",
        "dead_lettering_on_message_expiration": False,
        "default_message_time_to_live": FOR_EVER,
        "duplicate_detection_history_time_window": timedelta(minutes=10),
        "enable_batched_operations": True,
        "enable_express": False,
        "enable_partitioning": False,
        "forward_to": None,
        "forward_dead_lettered_messages_to": None,
        "lock_duration": timedelta(minutes=1),
        "max_delivery_count": 10,
        "max_size_in_megabytes": 1024,
        "requires_duplicate_detection": False,
        "requires_session": False,
        "status": EntityStatus.ACTIVE,
        "user_metadata": None,
        "max_message_size_in_kilobytes": 256,
    }
    name = fresh("queue")
    for found in [bus.create_queue(name), bus.get_queue(name)]:
        found_spans = dict(found.items())
        for key, value in expected.items():
            if value == FOR_EVER:
                assert found_spans[key] in (FOR_EVER, timedelta.max) or found_spans[key] > timedelta(days=10_000_000), key
            else:
                equal((key, found_spans[key]), (key, value))
        equal((found.name, found.authorization_rules or []), (name, []))


@step
def a_queue_shows_every_property_that_it_was_made_with():
    made = {
        "auto_delete_on_idle": timedelta(minutes=5),
        "dead_lettering_on_message_expiration": True,
        "default_message_time_to_live": timedelta(hours=25),
        "duplicate_detection_history_time_window": timedelta(seconds=90),
        "enable_batched_operations": False,
        "enable_express": False,
        "lock_duration": timedelta(seconds=90),
        "max_delivery_count": 14,
        "max_size_in_megabytes": 3072,
        "requires_duplicate_detection": True,
        "requires_session": True,
        "user_metadata": "grüße <&> 你好 \"quoted\"",
    }
    name = fresh("queue")
    shows(bus.create_queue(name, **made), made)
    shows(bus.get_queue(name), made)
    listed = next(found for found in bus.list_queues() if found.name == name)
    shows(listed, made)


@step
def time_spans_may_be_text():
    name = queue(lock_duration="PT13S", default_message_time_to_live="P3DT4H5M6.5S", auto_delete_on_idle="PT10M1S")
    found = bus.get_queue(name)
    equal(found.lock_duration, timedelta(seconds=13))
    equal(found.default_message_time_to_live, timedelta(days=3, hours=4, minutes=5, seconds=6.5))
    equal(found.auto_delete_on_idle, timedelta(minutes=10, seconds=1))


@step
def a_partitioned_queue_is_16_times_as_large():
    name = queue(enable_partitioning=True, max_size_in_megabytes=1024)
    found = bus.get_queue(name)
    equal((found.enable_partitioning, found.max_size_in_megabytes), (True, 16384))


@step
def a_queue_is_made_once():
    name = queue()
    error = raises(ResourceExistsError, bus.create_queue, name, status=409)
    saying(error, "SubCode=40900")
    raises(ResourceExistsError, bus.create_queue, name.upper(), status=409)


@step
def an_absent_queue_is_not_found():
    absent = fresh("absent")
    raises(ResourceNotFoundError, bus.get_queue, absent)
    raises(ResourceNotFoundError, bus.get_queue_runtime_properties, absent)
    raises(ResourceNotFoundError, bus.delete_queue, absent, status=404)


@step
def a_queue_and_a_topic_share_their_names():
    raises(ResourceExistsError, bus.create_queue, topic(), status=409)
    raises(ResourceExistsError, bus.create_topic, queue(), status=409)


@step
def a_queue_is_updated():
    name = queue(lock_duration=timedelta(seconds=60), max_delivery_count=10)
    properties = bus.get_queue(name)
    properties.lock_duration = timedelta(seconds=90)
    properties.max_delivery_count = 21
    properties.default_message_time_to_live = timedelta(hours=25)
    properties.dead_lettering_on_message_expiration = True
    properties.user_metadata = "updated"
    properties.enable_batched_operations = False
    bus.update_queue(properties)
    expected = {
        "lock_duration": timedelta(seconds=90),
        "max_delivery_count": 21,
        "default_message_time_to_live": timedelta(hours=25),
        "dead_lettering_on_message_expiration": True,
        "user_metadata": "updated",
        "enable_batched_operations": False,
    }
    shows(bus.get_queue(name), expected)
    bus.update_queue(properties, max_delivery_count=3, lock_duration="PT30S")
    shows(bus.get_queue(name), {"max_delivery_count": 3, "lock_duration": timedelta(seconds=30)})
    # As a mapping.
    bus.update_queue({**dict(properties.items()), "max_delivery_count": 5})
    equal(bus.get_queue(name).max_delivery_count, 5)


@step
def what_cannot_change_is_refused():
    properties = bus.get_queue(queue())
    raises(HttpResponseError, bus.update_queue, properties, requires_session=True, status=400)
    raises(HttpResponseError, bus.update_queue, properties, requires_duplicate_detection=True, status=400)
    raises(HttpResponseError, bus.update_queue, properties, enable_partitioning=True, status=400)


@step
def an_absent_queue_is_not_updated():
    properties = bus.get_queue(queue())
    properties.name = fresh("absent")
    raises(ResourceNotFoundError, bus.update_queue, properties, status=404)


@step
def values_beyond_the_limits_are_refused():
    for wrong in [
        {"lock_duration": timedelta(minutes=6)},
        {"duplicate_detection_history_time_window": timedelta(seconds=10)},
        {"duplicate_detection_history_time_window": timedelta(days=8)},
        {"max_delivery_count": 0},
        {"max_delivery_count": -1},
        {"max_size_in_megabytes": 0},
        {"auto_delete_on_idle": timedelta(minutes=4)},
        {"default_message_time_to_live": timedelta(0)},
        {"user_metadata": "x" * 1025},
    ]:
        name = fresh("queue")
        try:
            raises(HttpResponseError, bus.create_queue, name, status=400, **wrong)
        except AssertionError as error:
            raise AssertionError(f"{wrong}: {error}") from error
        raises(ResourceNotFoundError, bus.get_queue, name)


@step
def names_beyond_the_rules_are_refused():
    for name in ["not*a*name", "a b", "x" * 261, "trailing/", "/leading", "a//b"]:
        raises(HttpResponseError, bus.create_queue, name)


@step
def names_within_the_rules_are_taken():
    for name in ["a.b-c_d", "UPPER-and-lower", "deep/er/name", "1", "x" * 260]:
        bus.create_queue(name)
        equal(bus.get_queue(name).name, name)
        bus.delete_queue(name)
        raises(ResourceNotFoundError, bus.get_queue, name)


@step
def a_queue_tells_its_state():
    name = fresh("queue")
    bus.create_queue(name)
    found = bus.get_queue_runtime_properties(name)
    equal(found.name, name)
    counts = ["active", "dead_letter", "scheduled", "transfer", "transfer_dead_letter"]
    equal([getattr(found, f"{count}_message_count") for count in counts], [0] * 5)
    equal((found.total_message_count, found.size_in_bytes), (0, 0))
    recent(found.created_at_utc)
    recent(found.updated_at_utc)
    equal(found.accessed_at_utc.year, 1)
    assert name in {listed.name for listed in bus.list_queues_runtime_properties()}


@step
def lists_come_in_pages():
    names = {queue() for _ in range(105)}
    found = [listed.name for listed in bus.list_queues()]
    equal(len(found), len(set(found)))
    equal(names - set(found), set())
    sizes = [len(list(page)) for page in bus.list_queues(max_page_size=10).by_page()]
    equal(set(sizes[:-1]), {10})
    equal(sum(sizes), len(found))
    later = [listed.name for listed in bus.list_queues(start_index=5, max_page_size=50)]
    equal(later, found[5:])
    for name in names:
        bus.delete_queue(name)
    equal(names & {listed.name for listed in bus.list_queues()}, set())


@step
def a_queue_forwards_to_another():
    target, dead = queue(), queue()
    name = queue(forward_to=target, forward_dead_lettered_messages_to=dead)
    found = bus.get_queue(name)
    equal(found.forward_to, f"sb://{HOST}/{target}")
    equal(found.forward_dead_lettered_messages_to, f"sb://{HOST}/{dead}")
    found.forward_to = None
    found.forward_dead_lettered_messages_to = None
    bus.update_queue(found)
    found = bus.get_queue(name)
    equal((found.forward_to, found.forward_dead_lettered_messages_to), (None, None))
    bus.update_queue(found, forward_to=dead)
    equal(bus.get_queue(name).forward_to, f"sb://{HOST}/{dead}")


@step
def nobody_forwards_to_what_is_not_there():
    raises(HttpResponseError, bus.create_queue, fresh("queue"), forward_to=fresh("absent"), status=400)


@step
def a_queue_may_be_switched_off():
    name = queue()
    properties = bus.get_queue(name)
    for status in [
        EntityStatus.DISABLED,
        EntityStatus.SEND_DISABLED,
        EntityStatus.RECEIVE_DISABLED,
        EntityStatus.ACTIVE,
    ]:
        properties.status = status
        bus.update_queue(properties)
        equal(bus.get_queue(name).status, status)


def rules():
    make = lambda name, *rights: AuthorizationRule(  # noqa: E731
        type="SharedAccessAuthorizationRule",
        claim_type="SharedAccessKey",
        claim_value="None",
        rights=list(rights),
        created_at_utc=datetime.now(timezone.utc),
        modified_at_utc=datetime.now(timezone.utc),
        key_name=name,
        primary_key="cHJpbWFyeS1wcmltYXJ5LXByaW1hcnktcHJpbWFyeTE=",
        secondary_key="c2Vjb25kYXJ5LXNlY29uZGFyeS1zZWNvbmRhcnktMjI=",
    )
    every = (AccessRights.MANAGE, AccessRights.SEND, AccessRights.LISTEN)
    return [make("all", *every), make("listen", AccessRights.LISTEN)]


def has_rules(found, names):
    equal({rule.key_name for rule in found}, set(names))
    for rule in found:
        equal(rule.type, "SharedAccessAuthorizationRule")
        equal(rule.primary_key, "cHJpbWFyeS1wcmltYXJ5LXByaW1hcnktcHJpbWFyeTE=")
        equal(rule.secondary_key, "c2Vjb25kYXJ5LXNlY29uZGFyeS1zZWNvbmRhcnktMjI=")
        expected = {"all": {"Manage", "Send", "Listen"}, "listen": {"Listen"}}[rule.key_name]
        equal({str(getattr(right, "value", right)) for right in rule.rights}, expected)


@step
def a_queue_keeps_its_authorization_rules():
    name = queue(authorization_rules=rules())
    found = bus.get_queue(name)
    has_rules(found.authorization_rules, ["all", "listen"])
    found.authorization_rules = found.authorization_rules[:1]
    bus.update_queue(found)
    equal(len(bus.get_queue(name).authorization_rules), 1)


@step
def a_rule_of_a_queue_opens_that_queue():
    name = queue(authorization_rules=rules())
    primary = "cHJpbWFyeS1wcmltYXJ5LXByaW1hcnktcHJpbWFyeTE="
    # The client signs for the whole namespace, where the rule is unknown.
    raises(ClientAuthenticationError, client(key=primary, rule="all").get_queue, name, status=401)


# ---- topics


@step
def a_topic_shows_every_property_that_it_was_made_with():
    made = {
        "auto_delete_on_idle": timedelta(minutes=5),
        "default_message_time_to_live": timedelta(hours=25),
        "duplicate_detection_history_time_window": timedelta(seconds=90),
        "enable_batched_operations": False,
        "enable_express": False,
        "filtering_messages_before_publishing": False,
        "max_size_in_megabytes": 3072,
        "requires_duplicate_detection": True,
        "support_ordering": True,
        "user_metadata": "meta",
    }
    name = fresh("topic")
    shows(bus.create_topic(name, **made), made)
    shows(bus.get_topic(name), made)
    shows(next(found for found in bus.list_topics() if found.name == name), made)


@step
def a_topic_has_the_documented_defaults():
    expected = {
        "availability_status": "Available",
        "duplicate_detection_history_time_window": timedelta(minutes=10),
        "enable_batched_operations": True,
        "enable_express": False,
        "enable_partitioning": False,
        "filtering_messages_before_publishing": False,
        "max_size_in_megabytes": 1024,
        "requires_duplicate_detection": False,
        "status": EntityStatus.ACTIVE,
        "support_ordering": True,
        "user_metadata": None,
        "max_message_size_in_kilobytes": 256,
    }
    found = bus.get_topic(topic())
    for key, value in expected.items():
        equal((key, getattr(found, key)), (key, value))


@step
def a_topic_is_made_updated_and_deleted_once():
    name = topic()
    raises(ResourceExistsError, bus.create_topic, name, status=409)
    found = bus.get_topic(name)
    found.default_message_time_to_live = timedelta(seconds=90)
    found.user_metadata = "updated"
    bus.update_topic(found, enable_batched_operations=False)
    expected = {
        "default_message_time_to_live": timedelta(seconds=90),
        "user_metadata": "updated",
        "enable_batched_operations": False,
    }
    shows(bus.get_topic(name), expected)
    bus.delete_topic(name)
    raises(ResourceNotFoundError, bus.get_topic, name)
    raises(ResourceNotFoundError, bus.delete_topic, name, status=404)
    raises(ResourceNotFoundError, bus.update_topic, found, status=404)


@step
def a_topic_tells_its_state():
    name = topic()
    subscription(name)
    found = bus.get_topic_runtime_properties(name)
    equal((found.name, found.subscription_count, found.size_in_bytes, found.scheduled_message_count), (name, 1, 0, 0))
    recent(found.created_at_utc)
    assert name in {listed.name for listed in bus.list_topics_runtime_properties()}


@step
def a_topic_keeps_its_authorization_rules():
    has_rules(bus.get_topic(topic(authorization_rules=rules())).authorization_rules, ["all", "listen"])


@step
def topics_come_in_pages():
    names = {topic() for _ in range(7)}
    sizes = [len(list(page)) for page in bus.list_topics(max_page_size=3).by_page()]
    equal(set(sizes[:-1]), {3})
    equal(names - {listed.name for listed in bus.list_topics(max_page_size=3)}, set())


# ---- subscriptions


@step
def a_subscription_shows_every_property_that_it_was_made_with():
    of = topic()
    made = {
        "auto_delete_on_idle": timedelta(minutes=5),
        "dead_lettering_on_filter_evaluation_exceptions": False,
        "dead_lettering_on_message_expiration": True,
        "default_message_time_to_live": timedelta(hours=25),
        "enable_batched_operations": False,
        "lock_duration": timedelta(seconds=90),
        "max_delivery_count": 14,
        "requires_session": True,
        "user_metadata": "meta",
    }
    name = fresh("sub")
    shows(bus.create_subscription(of, name, **made), made)
    shows(bus.get_subscription(of, name), made)
    shows(next(iter(bus.list_subscriptions(of))), made)


@step
def a_subscription_has_the_documented_defaults():
    of = topic()
    expected = {
        "availability_status": "Available",
        "dead_lettering_on_filter_evaluation_exceptions": True,
        "dead_lettering_on_message_expiration": False,
        "enable_batched_operations": True,
        "forward_to": None,
        "forward_dead_lettered_messages_to": None,
        "lock_duration": timedelta(minutes=1),
        "max_delivery_count": 10,
        "requires_session": False,
        "status": EntityStatus.ACTIVE,
        "user_metadata": None,
    }
    found = bus.get_subscription(of, subscription(of))
    for key, value in expected.items():
        equal((key, getattr(found, key)), (key, value))


@step
def a_subscription_is_made_updated_and_deleted_once():
    of = topic()
    name = subscription(of)
    raises(ResourceExistsError, bus.create_subscription, of, name, status=409)
    found = bus.get_subscription(of, name)
    found.lock_duration = timedelta(seconds=90)
    found.user_metadata = "updated"
    bus.update_subscription(of, found, max_delivery_count=12)
    expected = {"lock_duration": timedelta(seconds=90), "user_metadata": "updated", "max_delivery_count": 12}
    shows(bus.get_subscription(of, name), expected)
    bus.delete_subscription(of, name)
    raises(ResourceNotFoundError, bus.get_subscription, of, name, status=404)
    raises(ResourceNotFoundError, bus.delete_subscription, of, name, status=404)
    raises(ResourceNotFoundError, bus.create_subscription, fresh("absent"), name, status=404)
    raises(ResourceNotFoundError, bus.update_subscription, of, found, status=404)


@step
def a_subscription_tells_its_state():
    of = topic()
    name = subscription(of)
    found = bus.get_subscription_runtime_properties(of, name)
    equal((found.name, found.total_message_count, found.active_message_count), (name, 0, 0))
    equal((found.dead_letter_message_count, found.transfer_message_count), (0, 0))
    recent(found.created_at_utc)
    recent(found.updated_at_utc)
    recent(found.accessed_at_utc)
    equal([listed.name for listed in bus.list_subscriptions_runtime_properties(of)], [name])


@step
def subscriptions_come_in_pages():
    of = topic()
    names = {subscription(of) for _ in range(7)}
    sizes = [len(list(page)) for page in bus.list_subscriptions(of, max_page_size=3).by_page()]
    equal(sizes, [3, 3, 1])
    equal({listed.name for listed in bus.list_subscriptions(of)}, names)
    equal([listed.name for listed in bus.list_subscriptions(topic())], [])


@step
def a_subscription_forwards_to_a_queue():
    of, target = topic(), queue()
    name = subscription(of, forward_to=target, forward_dead_lettered_messages_to=target)
    found = bus.get_subscription(of, name)
    equal(found.forward_to, f"sb://{HOST}/{target}")
    equal(found.forward_dead_lettered_messages_to, f"sb://{HOST}/{target}")


# ---- rules


def rule(of, name, **properties):
    made = fresh("rule")
    bus.create_rule(of, name, made, **properties)
    return made


@step
def a_subscription_begins_with_a_rule_that_takes_everything():
    of = topic()
    name = subscription(of)
    found = list(bus.list_rules(of, name))
    equal([(one.name, type(one.filter), one.action) for one in found], [("$Default", TrueRuleFilter, None)])
    recent(found[0].created_at_utc)


@step
def rules_of_a_subscription_that_is_switched_off_may_be_changed():
    of = topic()
    name = subscription(of, status=EntityStatus.DISABLED)
    made = rule(of, name, filter=FalseRuleFilter())
    found = bus.get_rule(of, name, made)
    found.filter = TrueRuleFilter()
    bus.update_rule(of, name, found)
    bus.delete_rule(of, name, "$Default")
    equal([(one.name, type(one.filter)) for one in bus.list_rules(of, name)], [(made, TrueRuleFilter)])


@step
def an_sql_filter_is_kept():
    of = topic()
    name = subscription(of)
    made = rule(of, name, filter=SqlRuleFilter("Priority = 'low' AND n > 3"))
    found = bus.get_rule(of, name, made)
    equal((found.name, type(found.filter)), (made, SqlRuleFilter))
    equal(found.filter.sql_expression, "Priority = 'low' AND n > 3")
    equal((found.filter.parameters, found.action), ({}, None))


@step
def parameters_keep_their_types():
    of = topic()
    name = subscription(of)
    values = {
        "@text": "grüße <&>",
        "@small": 5,
        "@large": 2**40,
        "@double": 3.5,
        "@flag": True,
        "@when": datetime(2020, 7, 5, 11, 12, 13),
        "@span": timedelta(days=1, minutes=2),
    }
    expression = " AND ".join(f"p{n} = {key}" for n, key in enumerate(values))
    action = SqlRuleAction("SET Priority = @text; SET n = @small", parameters={"@text": "high", "@small": 7})
    made = rule(of, name, filter=SqlRuleFilter(expression, parameters=values), action=action)
    found = bus.get_rule(of, name, made)
    equal(dict(found.filter.parameters), values)
    equal(found.filter.sql_expression, expression)
    equal(found.action.sql_expression, "SET Priority = @text; SET n = @small")
    equal(dict(found.action.parameters), {"@text": "high", "@small": 7})


@step
def a_correlation_filter_is_kept():
    of = topic()
    name = subscription(of)
    made = {
        "correlation_id": "c",
        "message_id": "m",
        "to": "t",
        "reply_to": "r",
        "label": "l <&> ü",
        "session_id": "s",
        "reply_to_session_id": "rs",
        "content_type": "text/plain",
    }
    properties = {"text": "x", "small": 1, "large": 2**40, "flag": False, "double": 1.5, "when": datetime(2020, 7, 5)}
    correlation = CorrelationRuleFilter(**made, properties=properties)
    found = bus.get_rule(of, name, rule(of, name, filter=correlation)).filter
    equal(type(found), CorrelationRuleFilter)
    shows(found, made)
    equal(dict(found.properties), properties)


@step
def true_and_false_filters_are_kept():
    of = topic()
    name = subscription(of)
    for kind in [TrueRuleFilter, FalseRuleFilter]:
        equal(type(bus.get_rule(of, name, rule(of, name, filter=kind())).filter), kind)
    # Without a filter it is the one that takes everything.
    equal(type(bus.get_rule(of, name, rule(of, name)).filter), TrueRuleFilter)


@step
def a_rule_is_made_updated_and_deleted_once():
    of = topic()
    name = subscription(of)
    made = rule(of, name, filter=SqlRuleFilter("n = 1"))
    raises(ResourceExistsError, bus.create_rule, of, name, made, status=409)
    found = bus.get_rule(of, name, made)
    found.filter = CorrelationRuleFilter(label="new")
    found.action = SqlRuleAction("SET a = 'b'")
    bus.update_rule(of, name, found)
    again = bus.get_rule(of, name, made)
    equal((again.filter.label, again.action.sql_expression), ("new", "SET a = 'b'"))
    bus.delete_rule(of, name, made)
    raises(ResourceNotFoundError, bus.get_rule, of, name, made, status=404)
    raises(ResourceNotFoundError, bus.delete_rule, of, name, made, status=404)
    raises(ResourceNotFoundError, bus.update_rule, of, name, found, status=404)
    raises(ResourceNotFoundError, bus.create_rule, of, fresh("absent"), made, status=404)
    raises(ResourceNotFoundError, bus.create_rule, fresh("absent"), name, made, status=404)


@step
def a_wrong_expression_is_refused():
    of = topic()
    name = subscription(of)
    for wrong in ["n >", "= 1", "n = 'open", "n = @absent", ""]:
        raises(HttpResponseError, bus.create_rule, of, name, "wrong", filter=SqlRuleFilter(wrong), status=400)
    raises(HttpResponseError, bus.create_rule, of, name, "wrong", action=SqlRuleAction("PUT a = 1"), status=400)


@step
def rules_come_in_pages():
    of = topic()
    name = subscription(of)
    names = {rule(of, name) for _ in range(6)}
    sizes = [len(list(page)) for page in bus.list_rules(of, name, max_page_size=3).by_page()]
    equal(sizes, [3, 3, 1])
    equal({listed.name for listed in bus.list_rules(of, name)}, {"$Default", *names})


# ---- older versions, and strangers


@step
def the_older_api_version_is_spoken():
    older = client(api_version=ApiVersion.V2017_04)
    name, of = fresh("queue"), fresh("topic")
    older.create_queue(name, max_delivery_count=7)
    equal((older.get_queue(name).max_delivery_count, older.get_queue(name).max_message_size_in_kilobytes), (7, None))
    older.create_topic(of)
    older.create_subscription(of, "s")
    older.create_rule(of, "s", "r", filter=SqlRuleFilter("a = 1"))
    equal(older.get_rule(of, "s", "r").filter.sql_expression, "a = 1")
    assert name in {found.name for found in older.list_queues()}
    # A property that this version does not know.
    raises(HttpResponseError, older.create_queue, fresh("queue"), max_message_size_in_kilobytes=1024, status=400)


@step
def the_standard_tier_has_no_large_messages():
    raises(HttpResponseError, bus.create_queue, fresh("queue"), max_message_size_in_kilobytes=2048, status=400)


@step
def a_wrong_key_opens_nothing():
    for stranger in [client(key="d3Jvbmc="), client(rule="NoSuchRule")]:
        raises(ClientAuthenticationError, stranger.get_namespace_properties, status=401)
        raises(ClientAuthenticationError, stranger.create_queue, fresh("queue"), status=401)
        raises(ClientAuthenticationError, lambda s=stranger: list(s.list_queues()), status=401)
        raises(ClientAuthenticationError, stranger.get_queue, fresh("queue"), status=401)


run()
