"""azure-servicebus 0.21.1, the last client that speaks REST on the data plane: its whole surface against the emulator."""

import re
import threading
import time
from datetime import datetime, timedelta, timezone

from azure.common import AzureConflictHttpError, AzureHttpError, AzureMissingResourceHttpError
from azure.servicebus import (
    AzureServiceBusPeekLockError,
    AzureServiceBusResourceNotFound,
    Message,
    Queue,
    Rule,
    ServiceBusService,
    Subscription,
    Topic,
)

from steps import ADDRESS, KEY, RULE, advance, equal, fresh, raises, run, session, step

FOR_EVER = 922337203685.47754


def service(key=KEY, rule=RULE):
    return ServiceBusService(
        "ns", shared_access_key_name=rule, shared_access_key_value=key, request_session=session()
    )


bus = service()


def queue(**properties):
    name = fresh("queue")
    equal(bus.create_queue(name, Queue(**properties)), True)
    return name


def topic(**properties):
    name = fresh("topic")
    equal(bus.create_topic(name, Topic(**properties)), True)
    return name


def subscription(of, **properties):
    name = fresh("sub")
    equal(bus.create_subscription(of, name, Subscription(**properties)), True)
    return name


def nothing(message):
    equal((message.body, message.broker_properties), (None, None))


def take(name):
    return bus.receive_queue_message(name, peek_lock=False, timeout=0)


def lock(name):
    return bus.receive_queue_message(name, peek_lock=True, timeout=0)


def http_date(at):
    return at.strftime("%a, %d %b %Y %H:%M:%S GMT")


# ---- queues


@step
def a_queue_is_made_once():
    name = fresh("queue")
    equal(bus.create_queue(name), True)
    equal(bus.create_queue(name), False)
    raises(AzureConflictHttpError, bus.create_queue, name, fail_on_exist=True, status=409)


@step
def a_queue_shows_what_it_was_made_with():
    made = {
        "lock_duration": "PT45S",
        "max_size_in_megabytes": 2048,
        "requires_duplicate_detection": True,
        "requires_session": True,
        "default_message_time_to_live": "PT3M",
        "dead_lettering_on_message_expiration": True,
        "duplicate_detection_history_time_window": "PT5M",
        "max_delivery_count": 7,
        "enable_batched_operations": False,
    }
    name = queue(**made)
    found = bus.get_queue(name)
    for key, value in made.items():
        equal((key, getattr(found, key)), (key, value))
    equal((found.name, found.message_count, found.size_in_bytes), (name, 0, 0))


@step
def a_queue_has_the_documented_defaults():
    found = bus.get_queue(queue())
    equal(found.lock_duration, "PT1M")
    equal(found.max_size_in_megabytes, 1024)
    equal((found.requires_duplicate_detection, found.requires_session), (False, False))
    equal(found.default_message_time_to_live, "P10675199DT2H48M5.4775807S")
    equal(found.dead_lettering_on_message_expiration, False)
    equal(found.duplicate_detection_history_time_window, "PT10M")
    equal((found.max_delivery_count, found.enable_batched_operations), (10, True))


@step
def an_absent_queue_is_not_found():
    raises(AzureServiceBusResourceNotFound, bus.get_queue, fresh("absent"))


@step
def queues_are_listed():
    made = {queue(), queue()}
    found = {listed.name for listed in bus.list_queues()}
    equal(made - found, set())


@step
def a_queue_is_deleted_once():
    name = queue()
    equal(bus.delete_queue(name), True)
    equal(bus.delete_queue(name), False)
    raises(AzureMissingResourceHttpError, bus.delete_queue, name, fail_not_exist=True, status=404)
    raises(AzureServiceBusResourceNotFound, bus.get_queue, name)


@step
def a_name_with_wrong_characters_is_refused():
    raises(AzureHttpError, bus.create_queue, "not*a*name", fail_on_exist=True, status=400)


@step
def a_description_with_a_wrong_value_is_refused():
    raises(AzureHttpError, bus.create_queue, fresh("queue"), Queue(lock_duration="PT10M"), status=400)
    raises(AzureHttpError, bus.create_queue, fresh("queue"), Queue(max_delivery_count="many"), status=400)


@step
def a_queue_may_have_a_path_for_a_name():
    name = fresh("unit/of/queue")
    equal(bus.create_queue(name), True)
    equal(bus.get_queue(name).name, name)
    bus.send_queue_message(name, Message(b"deep"))
    message = lock(name)
    equal(message.body, b"deep")
    message.renew_lock()
    message.delete()
    equal(bus.delete_queue(name), True)


@step
def a_queue_counts_its_messages():
    name = queue()
    for _ in range(3):
        bus.send_queue_message(name, Message(b"x" * 100))
    found = bus.get_queue(name)
    equal(found.message_count, 3)
    assert found.size_in_bytes >= 300, found.size_in_bytes


# ---- bodies and content types


@step
def bodies_come_back_byte_for_byte():
    name = queue()
    every_byte = bytes(range(256))
    bodies = [b"text", every_byte, "grüße – 你好 – 😀".encode(), b"\r\n\r\n0\r\n", b"x" * 200_000, b'{"a":1}', b"<a/>"]
    for body in bodies:
        bus.send_queue_message(name, Message(body))
    equal([take(name).body for _ in bodies], bodies)
    nothing(take(name))


@step
def a_body_may_be_empty():
    name = queue()
    bus.send_queue_message(name, Message(b"", custom_properties={"empty": True}))
    message = lock(name)
    equal((message.body, message.custom_properties), (None, {"empty": True}))
    message.delete()
    nothing(take(name))


@step
def content_types_come_back_verbatim():
    name = queue()
    for kind in ["text/plain", "application/json; charset=utf-8", "made-up-one", "application/octet-stream"]:
        bus.send_queue_message(name, Message(b"x", type=kind))
        equal(take(name).type, kind)


@step
def a_message_beyond_the_limit_is_refused():
    name = queue()
    raises(AzureHttpError, bus.send_queue_message, name, Message(b"x" * 300_000), status=403)
    nothing(take(name))


# ---- broker properties


@step
def every_broker_property_comes_back():
    name = queue()
    sent = {
        "CorrelationId": "correlation",
        "Label": "label",
        "MessageId": "my id",
        "ReplyTo": "reply-queue",
        "ReplyToSessionId": "reply-session",
        "SessionId": "session",
        "PartitionKey": "session",
        "To": "to",
        "ForcePersistence": False,
        "TimeToLive": 40,
    }
    bus.send_queue_message(name, Message(b"x", broker_properties=sent))
    found = lock(name).broker_properties
    # The client sends every value as text; numbers and booleans come back as what they are.
    for key, value in sent.items():
        equal((key, found[key]), (key, value))
    equal((found["DeliveryCount"], found["EnqueuedSequenceNumber"], found["SequenceNumber"]), (1, 0, 1))
    equal(found["State"], "Active")
    for date in ["EnqueuedTimeUtc", "LockedUntilUtc"]:
        datetime.strptime(found[date], "%a, %d %b %Y %H:%M:%S GMT")
    assert re.fullmatch("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", found["LockToken"]), found
    equal(list(found), sorted(found))


@step
def what_was_not_sent_is_not_there():
    name = queue()
    bus.send_queue_message(name, Message(b"x"))
    found = take(name).broker_properties
    expected = {
        "DeliveryCount",
        "EnqueuedSequenceNumber",
        "EnqueuedTimeUtc",
        "MessageId",
        "SequenceNumber",
        "State",
        "TimeToLive",
    }
    equal(set(found), expected)
    equal(found["TimeToLive"], FOR_EVER)
    assert re.fullmatch("[0-9a-f]{32}", found["MessageId"]), found["MessageId"]


@step
def a_session_id_is_the_partition_key_too():
    name = queue()
    bus.send_queue_message(name, Message(b"x", broker_properties={"SessionId": "s1"}))
    found = take(name).broker_properties
    equal((found["SessionId"], found["PartitionKey"]), ("s1", "s1"))
    differ = Message(b"x", broker_properties={"SessionId": "s1", "PartitionKey": "p1"})
    raises(AzureHttpError, bus.send_queue_message, name, differ, status=400)


@step
def read_only_and_unknown_broker_properties_are_ignored():
    name = queue()
    sent = {"DeliveryCount": 9, "SequenceNumber": 12, "State": "Deferred", "Unheard": "of", "Label": "M1"}
    bus.send_queue_message(name, Message(b"x", broker_properties=sent))
    found = take(name).broker_properties
    equal((found["DeliveryCount"], found["SequenceNumber"], found["State"]), (1, 1, "Active"))
    equal(found["Label"], "M1")
    assert "Unheard" not in found, found


@step
def broker_properties_may_be_text():
    name = queue()
    text = '{"Label": "gr\\u00fc\\u00dfe \\ud83d\\ude00 \\"quoted\\"", "TimeToLive": 12.5}'
    bus.send_queue_message(name, Message(b"x", broker_properties=text))
    found = take(name).broker_properties
    equal((found["Label"], found["TimeToLive"]), ('grüße 😀 "quoted"', 12.5))
    raises(AzureHttpError, bus.send_queue_message, name, Message(b"x", broker_properties="{"), status=400)
    raises(AzureHttpError, bus.send_queue_message, name, Message(b"x", broker_properties="[1]"), status=400)
    nothing(take(name))


@step
def a_message_id_has_a_limit():
    name = queue()
    bus.send_queue_message(name, Message(b"x", broker_properties={"MessageId": "i" * 128}))
    equal(take(name).broker_properties["MessageId"], "i" * 128)
    long = Message(b"x", broker_properties={"MessageId": "i" * 129})
    raises(AzureHttpError, bus.send_queue_message, name, long, status=400)


# ---- custom properties


@step
def custom_properties_keep_their_types():
    name = queue()
    sent = {
        "text": "hi there",
        "quoted": 'This "should" work',
        "markup": "<a b='c'>&amp;</a>",
        "small": 37,
        "large": 8555111000,
        "negative": -4294967296,
        "largest": 9007199254740991,
        "double": 3.14159,
        "tiny": -0.001,
        "yes": True,
        "no": False,
        "when": datetime(2011, 12, 14),
        "number-as-text": "12",
        "zone": "Wed, 14 Dec 2011 00:00:00 PST",
    }
    bus.send_queue_message(name, Message(b"x", custom_properties=sent))
    for read in [lock, take]:
        message = read(name)
        if message.custom_properties is not None:
            equal(message.custom_properties, sent)
        if read is lock:
            message.unlock()
    nothing(take(name))


@step
def custom_properties_beyond_ascii_come_back():
    name = queue()
    # What the client can put into a header: Latin-1.
    bus.send_queue_message(name, Message(b"x", custom_properties={"greeting": "grüße"}))
    # It reads the service's escapes as they stand.
    equal(take(name).custom_properties, {"greeting": "gr\\u00fc\\u00dfe"})


@step
def an_answer_has_no_header_that_looks_like_a_property():
    name = queue()
    bus.send_queue_message(name, Message(b"x"))
    message = lock(name)
    equal(message.custom_properties, {})
    message.delete()


# ---- receiving and settling


@step
def messages_come_in_order_and_an_abandoned_one_comes_first():
    name = queue()
    for n in range(3):
        bus.send_queue_message(name, Message(str(n).encode()))
    first = lock(name)
    equal((first.body, first.broker_properties["DeliveryCount"]), (b"0", 1))
    second = lock(name)
    equal(second.body, b"1")
    first.unlock()
    again = lock(name)
    equal((again.body, again.broker_properties["DeliveryCount"]), (b"0", 2))
    assert again.broker_properties["LockToken"] != first.broker_properties["LockToken"]
    equal(lock(name).body, b"2")
    for message in [again, second]:
        message.delete()


@step
def the_location_names_number_and_token():
    name = queue()
    bus.send_queue_message(name, Message(b"x"))
    message = lock(name)
    number, token = message.broker_properties["SequenceNumber"], message.broker_properties["LockToken"]
    place = message.location.split("ns.servicebus.windows.net", 1)[1]
    equal(place, f"/{name}/messages/{number}/{token}")


@step
def a_lock_is_good_for_one_settlement():
    name = queue()
    bus.send_queue_message(name, Message(b"x"))
    message = lock(name)
    message.delete()
    for settle in [message.delete, message.unlock, message.renew_lock]:
        raises(AzureMissingResourceHttpError, settle, status=404)


@step
def a_message_settles_by_its_id_too():
    name = queue()
    bus.send_queue_message(name, Message(b"x", broker_properties={"MessageId": "by-name"}))
    token = lock(name).broker_properties["LockToken"]
    bus.renew_lock_queue_message(name, "by-name", token)
    bus.unlock_queue_message(name, "by-name", token)
    token = lock(name).broker_properties["LockToken"]
    bus.delete_queue_message(name, "by-name", token)
    nothing(take(name))


@step
def a_wrong_token_settles_nothing():
    name = queue()
    bus.send_queue_message(name, Message(b"x"))
    number = lock(name).broker_properties["SequenceNumber"]
    for token in ["00000000-0000-0000-0000-000000000000", "no-token"]:
        for call in [bus.delete_queue_message, bus.unlock_queue_message, bus.renew_lock_queue_message]:
            raises(AzureMissingResourceHttpError, call, name, number, token, status=404)
    equal(bus.get_queue(name).message_count, 1)


@step
def what_is_not_locked_cannot_be_settled():
    name = queue()
    bus.send_queue_message(name, Message(b"x"))
    message = take(name)
    for settle in [message.delete, message.unlock, message.renew_lock]:
        raises(AzureServiceBusPeekLockError, settle)
    equal((message.location, "LockToken" in message.broker_properties), (None, False))


@step
def a_lock_that_expires_gives_the_message_back():
    name = queue(lock_duration="PT5S")
    bus.send_queue_message(name, Message(b"x"))
    late = lock(name)
    nothing(lock(name))
    advance(6)
    again = lock(name)
    equal((again.body, again.broker_properties["DeliveryCount"]), (b"x", 2))
    raises(AzureMissingResourceHttpError, late.delete, status=404)
    again.delete()


@step
def a_renewed_lock_lasts_longer():
    name = queue(lock_duration="PT10S")
    bus.send_queue_message(name, Message(b"x"))
    message = lock(name)
    advance(6)
    message.renew_lock()
    advance(6)
    nothing(lock(name))
    message.delete()
    nothing(lock(name))


@step
def an_empty_queue_answers_when_the_timeout_is_over():
    name = queue()
    started = time.monotonic()
    nothing(bus.receive_queue_message(name, timeout=0))
    assert time.monotonic() - started < 0.5
    for peek_lock in [True, False]:
        started = time.monotonic()
        nothing(bus.receive_queue_message(name, peek_lock=peek_lock, timeout=1))
        waited = time.monotonic() - started
        assert 0.95 <= waited < 2, waited


@step
def a_waiting_receiver_wakes_when_a_message_comes():
    name = queue()
    found = []

    def wait():
        found.append(service().receive_queue_message(name, timeout=30))
        found.append(time.monotonic())

    waiter = threading.Thread(target=wait)
    waiter.start()
    time.sleep(0.3)
    sent = time.monotonic()
    bus.send_queue_message(name, Message(b"at last"))
    waiter.join(30)
    equal(found[0].body, b"at last")
    assert found[1] - sent < 1, found[1] - sent


@step
def many_receivers_get_each_message_once():
    name = queue()
    total, found = 60, []
    bus.send_queue_message_batch(name, [Message(str(n).encode()) for n in range(total)])

    def receive():
        mine = service()
        while True:
            message = mine.receive_queue_message(name, timeout=0)
            if message.body is None:
                return
            found.append(int(message.body))
            message.delete()

    receivers = [threading.Thread(target=receive) for _ in range(6)]
    for receiver in receivers:
        receiver.start()
    for receiver in receivers:
        receiver.join(30)
    equal(sorted(found), list(range(total)))


# ---- time to live, schedules, duplicates, dead letters


@step
def an_expired_message_is_gone():
    name = queue()
    bus.send_queue_message(name, Message(b"short", broker_properties={"TimeToLive": 4}))
    bus.send_queue_message(name, Message(b"long", broker_properties={"TimeToLive": 4000}))
    advance(5)
    equal(take(name).body, b"long")
    nothing(take(name))
    nothing(take(bus.format_dead_letter_queue_name(name)))


@step
def a_queue_caps_the_time_to_live():
    name = queue(default_message_time_to_live="PT30S")
    bus.send_queue_message(name, Message(b"x", broker_properties={"TimeToLive": 4000}))
    bus.send_queue_message(name, Message(b"y", broker_properties={"TimeToLive": 20}))
    bus.send_queue_message(name, Message(b"z"))
    equal([take(name).broker_properties["TimeToLive"] for _ in range(3)], [30, 20, 30])


@step
def an_expired_message_is_dead_lettered_where_the_queue_says_so():
    name = queue(dead_lettering_on_message_expiration=True)
    properties = {"TimeToLive": 4, "MessageId": "late", "Label": "kept"}
    bus.send_queue_message(name, Message(b"x", broker_properties=properties, custom_properties={"n": 1}))
    advance(5)
    nothing(take(name))
    dead = lock(bus.format_dead_letter_queue_name(name))
    equal((dead.body, dead.broker_properties["MessageId"], dead.broker_properties["Label"]), (b"x", "late", "kept"))
    equal((dead.custom_properties["n"], dead.custom_properties["deadletterreason"]), (1, "TTLExpiredException"))
    dead.delete()


@step
def too_many_deliveries_end_in_the_dead_letter_queue():
    name = queue(max_delivery_count=3)
    bus.send_queue_message(name, Message(b"poison"))
    for count in range(1, 4):
        message = lock(name)
        equal(message.broker_properties["DeliveryCount"], count)
        message.unlock()
    nothing(lock(name))
    dead = bus.format_dead_letter_queue_name(name)
    equal(dead, name + "/$DeadLetterQueue")
    found = lock(dead)
    equal((found.body, found.custom_properties["deadletterreason"]), (b"poison", "MaxDeliveryCountExceeded"))
    found.renew_lock()
    found.unlock()
    again = lock(name + "/$deadletterqueue")
    equal(again.body, b"poison")
    again.delete()
    nothing(take(dead))


@step
def nobody_sends_to_a_dead_letter_queue():
    dead = bus.format_dead_letter_queue_name(queue())
    raises(AzureHttpError, bus.send_queue_message, dead, Message(b"x"))
    nothing(take(dead))


@step
def a_scheduled_message_waits_for_its_time():
    name = queue()
    due = datetime.now(timezone.utc) + timedelta(seconds=3600)
    bus.send_queue_message(name, Message(b"far", broker_properties={"ScheduledEnqueueTimeUtc": due}))
    bus.send_queue_message(name, Message(b"now"))
    equal(take(name).body, b"now")
    nothing(take(name))
    past = datetime.now(timezone.utc) - timedelta(seconds=3600)
    bus.send_queue_message(name, Message(b"past", broker_properties={"ScheduledEnqueueTimeUtc": past}))
    equal(take(name).body, b"past")


@step
def a_scheduled_message_wakes_a_waiting_receiver():
    name = queue()
    # The emulator's clock is ahead of ours: ask it for the time.
    probe = queue()
    bus.send_queue_message(probe, Message(b"x"))
    now = datetime.strptime(take(probe).broker_properties["EnqueuedTimeUtc"], "%a, %d %b %Y %H:%M:%S GMT")
    due = now + timedelta(seconds=2)
    sent = {"ScheduledEnqueueTimeUtc": due}
    bus.send_queue_message(name, Message(b"due", broker_properties=sent))
    nothing(take(name))
    found = bus.receive_queue_message(name, peek_lock=False, timeout=10)
    equal((found.body, found.broker_properties["ScheduledEnqueueTimeUtc"]), (b"due", http_date(due)))
    equal(found.broker_properties["EnqueuedTimeUtc"] >= http_date(due), True)


@step
def a_duplicate_is_accepted_and_dropped():
    name = queue(requires_duplicate_detection=True, duplicate_detection_history_time_window="PT20S")
    for body in [b"first", b"second"]:
        bus.send_queue_message(name, Message(body, broker_properties={"MessageId": "same"}))
    bus.send_queue_message(name, Message(b"other", broker_properties={"MessageId": "other"}))
    equal([take(name).body for _ in range(2)], [b"first", b"other"])
    nothing(take(name))
    # It is remembered after it was taken, and forgotten after the window.
    bus.send_queue_message(name, Message(b"third", broker_properties={"MessageId": "same"}))
    nothing(take(name))
    advance(21)
    bus.send_queue_message(name, Message(b"fourth", broker_properties={"MessageId": "same"}))
    equal(take(name).body, b"fourth")


# ---- batches


@step
def a_batch_is_sent_in_its_order():
    name = queue()
    batch = [
        Message(b"first", broker_properties={"Label": "M1", "TimeToLiveTimeSpan": "0.00:00:40"}),
        Message("second – 你好", broker_properties={"Label": "M2"}, custom_properties={"Priority": "Low"}),
        Message(b"third", custom_properties={"Priority": "Medium", "Customer": "ABC"}),
        Message(b""),
    ]
    bus.send_queue_message_batch(name, batch)
    found = [take(name) for _ in batch]
    equal([message.body for message in found], [b"first", "second – 你好".encode(), b"third", None])
    equal([message.broker_properties["SequenceNumber"] for message in found], [1, 2, 3, 4])
    equal((found[0].broker_properties["Label"], found[0].broker_properties["TimeToLive"]), ("M1", 40))
    equal(found[1].custom_properties, {"priority": "Low"})
    equal(found[2].custom_properties, {"priority": "Medium", "customer": "ABC"})
    equal({message.type for message in found}, {"application/xml; charset=utf-8"})


@step
def a_batch_is_accepted_or_refused_as_a_whole():
    name = queue()
    large = [Message(b"x" * 100_000) for _ in range(3)]
    raises(AzureHttpError, bus.send_queue_message_batch, name, large, status=403)
    wrong = [Message(b"x"), Message(b"x", broker_properties={"MessageId": "i" * 129})]
    raises(AzureHttpError, bus.send_queue_message_batch, name, wrong, status=400)
    nothing(take(name))
    bus.send_queue_message_batch(name, [Message(b"x" * 1000) for _ in range(200)])
    equal(bus.get_queue(name).message_count, 200)


# ---- topics, subscriptions, rules


@step
def a_topic_is_made_shown_listed_and_deleted():
    made = {
        "default_message_time_to_live": "PT3M",
        "max_size_in_megabytes": 3072,
        "requires_duplicate_detection": True,
        "duplicate_detection_history_time_window": "PT5M",
        "enable_batched_operations": False,
    }
    name = topic(**made)
    equal(bus.create_topic(name), False)
    raises(AzureConflictHttpError, bus.create_topic, name, fail_on_exist=True, status=409)
    found = bus.get_topic(name)
    for key, value in made.items():
        equal((key, getattr(found, key)), (key, value))
    equal(found.name, name)
    assert name in {listed.name for listed in bus.list_topics()}
    assert name not in {listed.name for listed in bus.list_queues()}
    equal(bus.delete_topic(name), True)
    equal(bus.delete_topic(name), False)
    raises(AzureMissingResourceHttpError, bus.delete_topic, name, fail_not_exist=True, status=404)
    raises(AzureServiceBusResourceNotFound, bus.get_topic, name)


@step
def a_subscription_is_made_shown_listed_and_deleted():
    of = topic()
    made = {
        "lock_duration": "PT30S",
        "requires_session": True,
        "default_message_time_to_live": "PT3M",
        "dead_lettering_on_message_expiration": True,
        "dead_lettering_on_filter_evaluation_exceptions": False,
        "enable_batched_operations": False,
    }
    # The client writes the delivery count behind an element that it belongs before, and the service, which reads in
    # one order, takes no notice of it.
    name = subscription(of, max_delivery_count=15, **made)
    equal(bus.get_subscription(of, name).max_delivery_count, 10)
    equal(bus.create_subscription(of, name), False)
    raises(AzureConflictHttpError, bus.create_subscription, of, name, fail_on_exist=True, status=409)
    found = bus.get_subscription(of, name)
    for key, value in made.items():
        equal((key, getattr(found, key)), (key, value))
    equal((found.name, found.message_count), (name, 0))
    other = subscription(of)
    equal({listed.name for listed in bus.list_subscriptions(of)}, {name, other})
    equal(bus.delete_subscription(of, name), True)
    equal(bus.delete_subscription(of, name), False)
    raises(AzureMissingResourceHttpError, bus.get_subscription, of, name, status=404)
    raises(AzureMissingResourceHttpError, bus.create_subscription, fresh("absent"), name, status=404)


@step
def rules_are_made_shown_listed_and_deleted():
    of = topic()
    name = subscription(of)
    rules = {
        "all": Rule("TrueFilter", "1=1"),
        "none": Rule("FalseFilter", "1=0"),
        "sql": Rule("SqlFilter", "number > 3 AND color = 'red'"),
        "related": Rule("CorrelationFilter", "order-7"),
    }
    for rule_name, rule in rules.items():
        equal(bus.create_rule(of, name, rule_name, rule), True)
        equal(bus.create_rule(of, name, rule_name, rule), False)
        raises(AzureConflictHttpError, bus.create_rule, of, name, rule_name, rule, fail_on_exist=True, status=409)
    for rule_name, rule in rules.items():
        found = bus.get_rule(of, name, rule_name)
        equal((found.name, found.filter_type), (rule_name, rule.filter_type))
    equal(bus.get_rule(of, name, "sql").filter_expression, "number > 3 AND color = 'red'")
    equal({listed.name for listed in bus.list_rules(of, name)}, {"$Default", *rules})
    equal(bus.delete_rule(of, name, "all"), True)
    equal(bus.delete_rule(of, name, "all"), False)
    raises(AzureMissingResourceHttpError, bus.delete_rule, of, name, "all", fail_not_exist=True, status=404)
    raises(AzureMissingResourceHttpError, bus.get_rule, of, name, "all", status=404)


@step
def a_wrong_filter_is_refused():
    of = topic()
    name = subscription(of)
    for expression in ["number >", "= 3", "number = 'open"]:
        raises(AzureHttpError, bus.create_rule, of, name, "wrong", Rule("SqlFilter", expression), status=400)


@step
def a_message_reaches_every_subscription():
    of = topic()
    names = [subscription(of), subscription(of)]
    sent = {"n": 1, "text": "t"}
    bus.send_topic_message(of, Message(b"x", broker_properties={"MessageId": "m"}, custom_properties=sent))
    for name in names:
        found = bus.receive_subscription_message(of, name, peek_lock=False, timeout=0)
        equal((found.body, found.broker_properties["MessageId"], found.custom_properties), (b"x", "m", sent))
        equal(found.broker_properties["EnqueuedSequenceNumber"], 1)
        nothing(bus.receive_subscription_message(of, name, peek_lock=False, timeout=0))


@step
def a_subscriptions_messages_are_settled():
    of = topic()
    name = subscription(of)
    bus.send_topic_message_batch(of, [Message(b"one"), Message(b"two")])
    first = bus.receive_subscription_message(of, name, timeout=0)
    equal(first.body, b"one")
    first.renew_lock()
    first.unlock()
    raises(AzureMissingResourceHttpError, first.delete, status=404)
    again = bus.receive_subscription_message(of, name, timeout=0)
    equal((again.body, again.broker_properties["DeliveryCount"]), (b"one", 2))
    again.delete()
    equal(bus.read_delete_subscription_message(of, name, timeout=0).body, b"two")
    nothing(bus.peek_lock_subscription_message(of, name, timeout=0))


def delivered(of, name):
    found = []
    while True:
        message = bus.read_delete_subscription_message(of, name, timeout=0)
        if message.body is None:
            return found
        found.append(message.body.decode())


@step
def filters_choose_the_messages():
    of = topic()
    cases = {
        "number > 3": ["b", "c"],
        "number >= 3 AND color = 'red'": ["a"],
        "color IN ('red', 'blue')": ["a", "b"],
        "color LIKE 'gr%'": ["c"],
        "color NOT LIKE '%r%'": ["b"],
        "flag = TRUE": ["a"],
        "flag IS NULL": ["c"],
        "EXISTS(flag)": ["a", "b"],
        "sys.Label = 'two'": ["b"],
        "sys.MessageId = 'id-c' OR number = 3": ["a", "c"],
        "NOT (number = 3)": ["b", "c"],
        "user.color <> 'red'": ["b", "c"],
        "size < 2.5": ["a", "b"],
        "1=1": ["a", "b", "c"],
        "1=0": [],
    }
    names = {}
    for expression in cases:
        names[expression] = subscription(of)
        equal(bus.create_rule(of, names[expression], "filter", Rule("SqlFilter", expression)), True)
        equal(bus.delete_rule(of, names[expression], "$Default"), True)
    send = [
        ("a", "one", {"number": 3, "color": "red", "flag": True, "size": 1.5}),
        ("b", "two", {"number": 4, "color": "blue", "flag": False, "size": 2}),
        ("c", "three", {"number": 5, "color": "green", "size": 3.25}),
    ]
    for body, label, properties in send:
        broker = {"Label": label, "MessageId": "id-" + body}
        bus.send_topic_message(of, Message(body.encode(), custom_properties=properties, broker_properties=broker))
    for expression, expected in cases.items():
        equal((expression, delivered(of, names[expression])), (expression, expected))


@step
def a_filter_may_calculate():
    of = topic()
    cases = {
        "number + 1 = 4": ["3"],
        "number - 1 = 4": ["5"],
        "number * 2 >= 8": ["4", "5"],
        "number / 2 = 2": ["4", "5"],
        "number % 2 = 1": ["3", "5"],
        "(number + 1) * 2 = 10": ["4"],
        "-number < -3": ["4", "5"],
        "number * 0.5 = 2.5": ["5"],
        "text + '!' = 'n3!'": ["3"],
    }
    names = {}
    for expression in cases:
        names[expression] = subscription(of)
        equal(bus.create_rule(of, names[expression], "filter", Rule("SqlFilter", expression)), True)
        equal(bus.delete_rule(of, names[expression], "$Default"), True)
    for number in [3, 4, 5]:
        properties = {"number": number, "text": f"n{number}"}
        bus.send_topic_message(of, Message(str(number).encode(), custom_properties=properties))
    for expression, expected in cases.items():
        equal((expression, delivered(of, names[expression])), (expression, expected))


@step
def a_correlation_filter_compares_the_correlation_id():
    of = topic()
    name = subscription(of)
    bus.create_rule(of, name, "related", Rule("CorrelationFilter", "order-7"))
    bus.delete_rule(of, name, "$Default")
    for body, correlation in [(b"yes", "order-7"), (b"no", "order-8")]:
        bus.send_topic_message(of, Message(body, broker_properties={"CorrelationId": correlation}))
    bus.send_topic_message(of, Message(b"none"))
    equal(delivered(of, name), ["yes"])


@step
def an_action_changes_the_message():
    of = topic()
    name = subscription(of)
    rule = Rule("SqlFilter", "number = 1", "SqlRuleAction")
    rule.action_expression = "SET number = 42; SET added = 'new'; SET copied = text; REMOVE gone"
    bus.create_rule(of, name, "act", rule)
    found = bus.get_rule(of, name, "act")
    equal((found.action_type, found.action_expression), ("SqlRuleAction", rule.action_expression))
    bus.delete_rule(of, name, "$Default")
    bus.send_topic_message(of, Message(b"x", custom_properties={"number": 1, "text": "t", "gone": "soon"}))
    found = bus.receive_subscription_message(of, name, peek_lock=False, timeout=0)
    expected = {"number": 42, "text": "t", "added": "new", "copied": "t", "rulename": "act"}
    equal(found.custom_properties, expected)


@step
def two_rules_that_both_match_deliver_once_without_actions():
    of = topic()
    name = subscription(of)
    bus.create_rule(of, name, "again", Rule("TrueFilter", "1=1"))
    bus.send_topic_message(of, Message(b"x"))
    equal(delivered(of, name), ["x"])


@step
def a_subscription_has_a_dead_letter_queue():
    of = topic()
    name = subscription(of)
    bus.send_topic_message(of, Message(b"poison"))
    for _ in range(10):
        bus.receive_subscription_message(of, name, timeout=0).unlock()
    nothing(bus.receive_subscription_message(of, name, timeout=0))
    dead = bus.format_dead_letter_subscription_name(name)
    found = bus.receive_subscription_message(of, dead, timeout=0)
    equal((found.body, found.custom_properties["deadletterreason"]), (b"poison", "MaxDeliveryCountExceeded"))
    # The message itself would be looked for in the subscription: the client reads the location too early to its end.
    number, token = found.broker_properties["SequenceNumber"], found.broker_properties["LockToken"]
    bus.delete_subscription_message(of, dead, number, token)
    nothing(bus.receive_subscription_message(of, dead, timeout=0))


@step
def a_topic_without_subscriptions_swallows_what_it_gets():
    of = topic()
    bus.send_topic_message(of, Message(b"x"))
    name = subscription(of)
    equal(delivered(of, name), [])


@step
def a_topic_detects_duplicates():
    of = topic(requires_duplicate_detection=True)
    name = subscription(of)
    for body in [b"first", b"second"]:
        bus.send_topic_message(of, Message(body, broker_properties={"MessageId": "same"}))
    equal(delivered(of, name), ["first"])


# ---- refusals


@step
def what_does_not_exist_is_not_found():
    absent = fresh("absent")
    gone = (404, 410)
    for call in [
        lambda: bus.send_queue_message(absent, Message(b"x")),
        lambda: bus.send_queue_message_batch(absent, [Message(b"x")]),
        lambda: bus.receive_queue_message(absent, timeout=0),
        lambda: bus.receive_queue_message(absent, peek_lock=False, timeout=0),
        lambda: bus.receive_subscription_message(topic(), absent, timeout=0),
        lambda: bus.delete_queue_message(absent, 1, "00000000-0000-0000-0000-000000000000"),
    ]:
        error = raises(AzureHttpError, call)
        assert error.status_code in gone, error


@step
def a_topic_is_not_received_from():
    raises(AzureHttpError, bus.receive_queue_message, topic(), timeout=0)


@step
def a_wrong_key_opens_nothing():
    name = queue()
    for stranger in [service(key="wrong="), service(rule="NoSuchRule")]:
        raises(AzureHttpError, stranger.send_queue_message, name, Message(b"x"), status=401)
        raises(AzureHttpError, stranger.receive_queue_message, name, timeout=0, status=401)
        raises(AzureHttpError, stranger.create_queue, fresh("queue"), status=401)
        raises(AzureHttpError, stranger.list_queues, status=401)
    nothing(take(name))


@step
def the_client_may_be_pointed_at_host_and_port():
    # Without the rewriting of requests: plain HTTP, and a resource that is signed with an odd port.
    host, port = ADDRESS.removeprefix("http://").split(":")
    direct = ServiceBusService(
        host, host_base=":" + port, shared_access_key_name=RULE, shared_access_key_value=KEY
    )
    direct._httpclient.protocol = "http"  # pylint: disable=protected-access
    name = fresh("queue")
    equal(direct.create_queue(name), True)
    direct.send_queue_message(name, Message(b"x", custom_properties={"n": 1}))
    message = direct.receive_queue_message(name, timeout=0)
    equal((message.body, message.custom_properties), (b"x", {"n": 1}))
    message.unlock()
    direct.receive_queue_message(name, timeout=0).delete()
    equal(direct.delete_queue(name), True)


run()
