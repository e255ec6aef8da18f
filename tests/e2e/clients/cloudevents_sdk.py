"""Sends events as the SDK for CloudEvents writes them, in every mode, by both of its interfaces.

Prints, as JSON on a line for each event, what the processor must get: the message's id, content type, body in base64, and
properties. A refused event ends the script.
"""

import base64
import json
import os
import urllib.request
from datetime import datetime, timezone

from cloudevents.core.bindings import http as binding
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent
from cloudevents.v1.http import CloudEvent as OldEvent
from cloudevents.v1.http import to_binary as old_to_binary
from cloudevents.v1.http import to_structured as old_to_structured

APP = os.environ["ONCEBUS_APP"]
SOURCE = "https://example.com/orders/é?x=1"
TIME = datetime(2026, 11, 20, 12, 0, 0, tzinfo=timezone.utc)
FORMAT = JSONFormat()

# Content type, data, and what the data is as bytes.
PAYLOADS = [
    ("application/json", {"total": 12.5, "name": "Größe 😀"}, None),
    ("application/vnd.example+json", {"a": [1, None, True]}, None),
    ("text/plain", "a,b\n\"c\" é 😀", "a,b\n\"c\" é 😀".encode()),
    ("application/octet-stream", bytes(range(256)), bytes(range(256))),
    ("application/xml", "<much wow=\"xml\"/>", b"<much wow=\"xml\"/>"),
]
EXTENSIONS = {"partitionkey": "customer 7 é", "comexample": 'say "hi" 100%', "number": 5, "flag": True}


def post(path, headers, body):
    request = urllib.request.Request(APP + path, data=body, headers=dict(headers), method="POST")
    with urllib.request.urlopen(request, timeout=30) as answer:
        assert answer.status == 202, answer.status


def attributes(event_id, content_type):
    return {"id": event_id, "source": SOURCE, "type": "com.example.placed", "subject": "Bestellung 7/ä",
            "datacontenttype": content_type, **EXTENSIONS}


def expect(event_id, content_type, body):
    own = {"id": event_id, "source": SOURCE, "type": "com.example.placed", "subject": "Bestellung 7/ä",
           "specversion": "1.0", "time": "2026-11-20T12:00:00Z", **EXTENSIONS}
    text = {True: "true", False: "false"}
    properties = {f"cloudevents_{name}": text.get(value, str(value)) if isinstance(value, bool) else str(value)
                  for name, value in own.items()}
    print(json.dumps({"id": f"{SOURCE} {event_id}", "content_type": content_type, "key": EXTENSIONS["partitionkey"],
                      "body": base64.b64encode(body).decode(), "properties": properties}))


def written(data, content_type, raw, structured):
    """The data's bytes: those of the event in JSON where it is JSON there."""
    if raw is not None:
        return raw
    if not structured:
        return FORMAT.write_data(data, content_type)
    whole = structured.decode()
    begin = whole.index('"data":') + len('"data":')
    text, _ = json.JSONDecoder(), None
    while whole[begin] in " \n":
        begin += 1
    _, end = text.raw_decode(whole, begin)
    return whole[begin:end].encode()


def new_interface():
    batch = []
    for number, (content_type, data, raw) in enumerate(PAYLOADS):
        event = CloudEvent({**attributes(f"binary {number}", content_type), "time": TIME}, data)
        message = binding.to_binary(event, FORMAT)
        post("/queues/orders/messages", message.headers, message.body)
        expect(f"binary {number}", content_type, message.body)

        event = CloudEvent({**attributes(f"structured-{number}", content_type), "time": TIME}, data)
        message = binding.to_structured(event, FORMAT)
        post("/queues/orders/messages", message.headers, message.body)
        expect(f"structured-{number}", content_type, written(data, content_type, raw, message.body))

        event = CloudEvent({**attributes(f"batched-{number}", content_type), "time": TIME}, data)
        body = FORMAT.write(event)
        batch.append(body)
        expect(f"batched-{number}", content_type, written(data, content_type, raw, body))
    # The SDK has no batches: an array of what it writes is one.
    headers = {"content-type": "application/cloudevents-batch+json"}
    post("/queues/orders/batch", headers, b"[" + b",".join(batch) + b"]")


def old_interface():
    for number, (content_type, data, raw) in enumerate(PAYLOADS):
        # Its headers are not encoded: what is not ASCII cannot be in them.
        own = {**attributes(f"old-{number}", content_type), "time": "2026-11-20T12:00:00Z"}
        headers, body = old_to_structured(OldEvent(own, data))
        post("/queues/orders/messages", headers, body)
        expect(f"old-{number}", content_type, written(data, content_type, raw, body))


def old_binary():
    own = {"id": "old-binary", "source": "/old", "type": "t", "time": "2026-11-20T12:00:00Z",
           "datacontenttype": "application/json", "comexample": "a b"}
    headers, body = old_to_binary(OldEvent(own, {"a": 1}))
    post("/queues/orders/messages", headers, body)
    properties = {f"cloudevents_{name}": value for name, value in own.items() if name != "datacontenttype"}
    properties["cloudevents_specversion"] = "1.0"
    print(json.dumps({"id": "/old old-binary", "content_type": "application/json", "key": None,
                      "body": base64.b64encode(body).decode(), "properties": properties}))


new_interface()
old_interface()
old_binary()
