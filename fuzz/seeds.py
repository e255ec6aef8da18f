#!/usr/bin/env python3
"""Makes the seeds of the corpora from recorded traffic, and from a few shapes that it lacks.

    fuzz/seeds.py [FOLDER]     default: fuzz/corpus

A fuzzer that begins with what real clients send reaches in seconds what it would not find in days.
"""

import hashlib
import json
import re
import sys
from pathlib import Path
from urllib.parse import urlsplit

HERE = Path(__file__).resolve().parent
RECORDINGS = HERE.parent / "crates/emulator/tests/fixtures/recordings"
SMALL = 3000  # bytes: a larger seed slows every one of its mutations


def exchanges():
    for file in sorted(RECORDINGS.glob("*.jsonl")):
        for line in file.read_text().splitlines():
            yield json.loads(line)


def body(exchange, field):
    value = exchange.get(field)
    return value if isinstance(value, str) else ""


def main():
    out = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / "corpus"
    seeds = {}

    def add(target, text):
        data = text if isinstance(text, bytes) else text.encode()
        if len(data) <= SMALL:
            seeds.setdefault(target, {})[hashlib.sha1(data).hexdigest()] = data

    # HTTP's own, and what the gateway adds: no custom properties.
    common = {"content-type", "content-length", "connection", "accept", "accept-encoding", "user-agent", "host", "date",
              "server", "transfer-encoding", "strict-transport-security", "location", "brokerproperties", "authorization"}
    scripts = {}
    for exchange in exchanges():
        url = urlsplit(exchange["url"])
        path = url.path + ("?" + url.query if url.query else "")
        add("request_path", f"{exchange['method']} {url.path}")
        sent, answered = exchange.get("req_headers") or {}, exchange["resp_headers"] or {}
        for headers in (sent, answered):
            lower = {name.lower(): value for name, value in headers.items()}
            if "brokerproperties" in lower:
                add("broker_properties", lower["brokerproperties"])
            custom = [f"{name}: {value}" for name, value in lower.items() if name not in common]
            if custom and "/messages" in url.path:
                add("property_headers", "\n".join(custom))
        for field in ("req_body", "resp_body"):
            text = body(exchange, field)
            if "<entry" in text:
                add("atom", text)
                for kind, target in (("Filter", "sql_filter"), ("Action", "sql_action")):
                    for part in re.findall(rf"<{kind} .*?<SqlExpression>(.*?)</SqlExpression>", text, re.S):
                        add(target, part.replace("&gt;", ">").replace("&lt;", "<").replace("&amp;", "&"))
            elif text.startswith("[{"):
                add("batch", text)
        request = f"{exchange['method']} {path}\n"
        for name, value in sent.items():
            if name.lower() not in ("content-length", "connection", "accept", "accept-encoding", "user-agent", "host"):
                request += f"{name}: {value}\n"
        if exchange.get("req_headers") is not None:
            scripts.setdefault(exchange["source"], []).append(request + "\n" + body(exchange, "req_body"))
    for requests in scripts.values():
        add("whole_request", "\n%%\n".join(requests[:6]))

    for target, texts in BY_HAND.items():
        for text in texts:
            add(target, text)
    for target, files in seeds.items():
        folder = out / target
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in files.items():
            (folder / name).write_bytes(data)
        print(f"{target}: {len(files)} seeds, {sum(map(len, files.values()))} bytes")


MESSAGE = '{"content_type":"text/plain","broker":{"message_id":"m","label":"M1"},"properties":[["n",{"Integer":3}]]}'

BY_HAND = {
    "broker_properties": [
        '{"Label":"M2","TimeToLive":90,"MessageId":"1","SessionId":"s","CorrelationId":"c","To":"t","ReplyTo":"r"}',
        '{"ScheduledEnqueueTimeUtc":"Wed, 04 May 2033 20:17:03 GMT","PartitionKey":"p","ViaPartitionKey":"v"}',
        '{"ScheduledEnqueueTimeUtc":"2033-05-04T20:17:03.1234567Z","ForcePersistence":"true","ReplyToSessionId":"x"}',
        '{"TimeToLiveTimeSpan":"1.02:03:04.5","Label":"Gr\\u00fc\\ud83d\\ude00","Unknown":[{}]}',
        '{"TimeToLive":922337203685.47754,"DeliveryCount":"1","EnqueuedTimeUtc":null}',
        '{"TimeToLive":"0.5","MessageId":12.5,"ForcePersistence":false}',
    ],
    "property_headers": [
        'priority: "High"\ncustomer: "12345,ABC"\ncount: -4294967296\nratio: 3.14e-2\nlive: true\nnone: null',
        'text: servicebus\nwhen: "Wed, 14 Dec 2011 00:00:00 GMT"\nparts: [1,{"a":2}]\nbig: 18446744073709551615\nempty:',
        'traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\nx: "\\u00fc\\ud83d\\ude00"\nx: "again"',
    ],
    "config": [
        '{"UserConfig":{"Namespaces":[{"Name":"n","Queues":[{"Name":"q","Properties":{"LockDuration":"PT30S",'
        '"MaxDeliveryCount":3,"DefaultMessageTimeToLive":"PT1H","RequiresSession":false,"ForwardTo":"t",'
        '"UserMetadata":"a <b> & \\u0001"}}],"Topics":[{"Name":"t","Properties":{"RequiresDuplicateDetection":true,'
        '"DuplicateDetectionHistoryTimeWindow":"PT20S"},"Subscriptions":[{"Name":"s"}]}]}],"Logging":{"Type":"File"}}}',
        '{"UserConfig":{"Namespaces":[{"Topics":[{"Name":"t","Subscriptions":[{"Name":"s","Properties":{'
        '"DeadLetteringOnMessageExpiration":true,"Status":"ReceiveDisabled"},"Rules":[{"Name":"r","Properties":{'
        '"FilterType":"Sql","SqlFilter":{"SqlExpression":"a LIKE \'x%\' AND n > 1"},"Action":{"SqlExpression":"SET n = 2"}}},'
        '{"Name":"c","Properties":{"FilterType":"Correlation","CorrelationFilter":{"Label":"l","ContentType":"text/plain",'
        '"Properties":{"k":1,"d":2.5,"b":true,"s":"x"}}}}]}]}]}]}}',
        '{"UserConfig":{"Namespaces":[{}]}}',
    ],
    "batch": [
        '[{"Body":"first","BrokerProperties":{"Label":"M1","TimeToLiveTimeSpan":"0.00:00:40"}},'
        '{"Body":"AAEC","IsBodyBase64":true,"UserProperties":{"Priority":"Low","n":3,"x":1.5,"live":true,"gone":null}}]',
        '[{"Body":"later","BrokerProperties":{"ScheduledEnqueueTimeUtc":"2033-05-04T20:17:03Z","MessageId":"1"}},{}]',
        "[]",
    ],
    "atom": [
        '<entry xmlns="http://www.w3.org/2005/Atom"><content type="application/xml"><RuleDescription '
        'xmlns:i="http://www.w3.org/2001/XMLSchema-instance" xmlns="c"><Filter i:type="CorrelationFilter"><CorrelationId>'
        'c</CorrelationId><Label>l</Label><Properties><KeyValueOfstringanyType><Key>k</Key><Value i:type="d6p1:int" '
        'xmlns:d6p1="http://www.w3.org/2001/XMLSchema">3</Value></KeyValueOfstringanyType></Properties></Filter>'
        '<Action i:type="SqlRuleAction"><SqlExpression>SET a = @p</SqlExpression><Parameters><KeyValueOfstringanyType>'
        '<Key>@p</Key><Value i:type="d6p1:double" xmlns:d6p1="x">2.5</Value></KeyValueOfstringanyType></Parameters>'
        '<RequiresPreprocessing>true</RequiresPreprocessing></Action><Name>r</Name></RuleDescription></content></entry>',
        "<TopicDescription><DefaultMessageTimeToLive>P1DT2H3M4.5S</DefaultMessageTimeToLive><EnablePartitioning>true"
        "</EnablePartitioning><UserMetadata><![CDATA[a <b> & c]]></UserMetadata></TopicDescription>",
        "<?xml version='1.0'?><!-- x --><QueueDescription><LockDuration>PT5M</LockDuration><MaxSizeInMegabytes>5120"
        "</MaxSizeInMegabytes><MaxMessageSizeInKilobytes>256</MaxMessageSizeInKilobytes></QueueDescription>",
    ],
    "sql_filter": [
        "n > 1 AND (n <> 2.5 OR NOT live = TRUE) AND label IS NOT NULL\n" + MESSAGE,
        "sys.Label LIKE 'M%_' AND user.n IN (1, 2, 3) AND EXISTS([my prop]) OR \"x y\" NOT IN ('it''s')",
        "text LIKE '%100\\%%' ESCAPE '\\' AND whole = 9223372036854775807 AND double >= -1.5e3",
        "sys.MessageId = @text OR @whole < 0 AND missing IS NULL",
        " OR ".join(["a = 1"] * 100),
        "(" * 31 + "1=1" + ")" * 31,
        "n + 1 * -2 / (3 % 4) - 5 = 0 AND newid() <> p(x)",
    ],
    "sql_action": [
        "SET a = 1; SET sys.Label = 'it''s'; REMOVE double; SET [my copy] = text\n" + MESSAGE,
        "SET sys.ContentType = 'x'; SET sys.To = @text; SET flag = NULL; REMOVE user.whole",
        "SET n = n + 1.5; SET a.b = NEWID();",
    ],
    "request_path": [
        "POST /a/b/Messages",
        "DELETE /q/$DeadLetterQueue/messages/head",
        "PUT /t/subscriptions/s/messages/12/41f822ef-0c89-4f17-96e9-1df6c1f1a81e",
        "GET /t/Subscriptions/s/Rules/%24Default",
        "GET /$Resources/Queues",
        "POST /q/messages/a%2Fb%C3%BC/x//",
        "GET /$namespaceinfo",
    ],
    "service_bus_sas": [
        "/q/messages/head\nSharedAccessSignature sr=http%3A%2F%2Flocalhost%2Fq&sig=AAAA&se=1795174201&skn=Root",
        "Guarded/messages\nSharedAccessSignature skn=Listener&se=1&sig=%2B%3D&sr=sb%3a%2f%2fns.servicebus.windows.net%3a443%2f",
        "/\nBearer eyJ0eXAi.eyJhdWQi.c2ln",
        "a/b/$DeadLetterQueue\n",
        "q\nsharedaccesssignature sr=&sig=&se=&skn=",
    ],
    "connection_strings": [
        "Endpoint=sb://ns.servicebus.windows.net/;SharedAccessKeyName=RootManageSharedAccessKey;SharedAccessKey=abc=",
        "Endpoint=sb://127.0.0.1:7001;SharedAccessKeyName=k;SharedAccessKey=SAS_KEY_VALUE;UseDevelopmentEmulator=true;",
        "Endpoint=sb://ns/;SharedAccessSignature=SharedAccessSignature sr=a&sig=b%3D&se=1795174201&skn=k;EntityPath=q",
        '"endpoint=http://[::1]:80/; sharedaccesskeyname = k ;SharedAccessKey=x==;EntityPath=/a/b/"',
        "DefaultEndpointsProtocol=https;AccountName=acc;AccountKey=a2V5;EndpointSuffix=core.windows.net",
        "DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;AccountKey=a2V5;"
        "BlobEndpoint=http://127.0.0.1:10000/devstoreaccount1;QueueEndpoint=http://127.0.0.1:10001/devstoreaccount1",
        "BlobEndpoint=https://a.blob.core.windows.net/;SharedAccessSignature=?sv=2023-11-03&sr=c&sp=rcw&se=2026-01-02T00%3A00%3A00Z&sig=a%2Bb%3D",
        "UseDevelopmentStorage=true",
    ],
    "whole_request": [
        'POST /q/messages\nContent-Type: text/plain\nBrokerProperties: {"Label":"M1","TimeToLive":10}\npriority: "High"\n\nhello'
        "\n%%\nPOST /q/messages/head?timeout=5\n\n\n%%\nPOST @\n\n\n%%\nPUT @\n\n\n%%\nDELETE /q/messages/head\n\n\n%%\nDELETE @\n",
        'POST /t/messages\nBrokerProperties: {"Label":"high"}\nnumber: 3\n\nx\n%%\nPOST /t/subscriptions/some/messages/head\n\n'
        "\n%%\nDELETE @\n\n\n%%\nGET /t/subscriptions/some?api-version=2021-05\n",
        "POST /q/messages\nContent-Type: application/vnd.microsoft.servicebus.json\n\n"
        '[{"Body":"1","BrokerProperties":{"ScheduledEnqueueTimeUtc":"2026-11-18T08:27:00Z"}},{"Body":"2"}]'
        "\n%%\nDELETE /q/messages/head?timeout=240\n\n\n%%\nDELETE /q/messages/head\n",
        "POST /q/messages\n\ntwice\n%%\nPOST /q/messages/head\n\n\n%%\nPUT @\n\n\n%%\nPOST /q/messages/head\n\n\n%%\nPUT @\n\n"
        "\n%%\nPOST /q/$DeadLetterQueue/messages/head?timeout=0\n\n\n%%\nDELETE @\n",
        "GET /$Resources/Queues?$skip=1&$top=1&api-version=2021-05\n\n\n%%\nGET /$namespaceinfo\n\n\n%%\nGET /nothing\n\n\n%%\nPATCH /q\n",
        "PUT /new/queue?api-version=2021-05\nContent-Type: application/atom+xml\n\n<entry><content><QueueDescription><LockDuration>PT1S"
        "</LockDuration><ForwardTo>q</ForwardTo></QueueDescription></content></entry>\n%%\nPOST /new/queue/messages\n\nx\n%%\n"
        "PUT /new/queue\nIf-Match: *\n\n<entry><content><QueueDescription/></content></entry>\n%%\nDELETE /new/queue\n",
        "PUT /t/subscriptions/all/rules/r\n\n<entry><content><RuleDescription xmlns:i='x'><Filter i:type='SqlFilter'><SqlExpression>a=1"
        "</SqlExpression></Filter></RuleDescription></content></entry>\n%%\nGET /t/subscriptions/all/rules/r\n\n\n%%\nDELETE "
        "/t/subscriptions/all/rules/$Default\n\n\n%%\nGET /t/subscriptions/all/rules\n",
        "POST /q/messages\nAuthorization:\n\n\n%%\nPOST /once/only/messages\nAuthorization: SharedAccessSignature sr=a&sig=b&se=1&skn=Root\n\nx",
        'POST /once/only/messages\nBrokerProperties: {"MessageId":"1"}\n\n1\n%%\nPOST /once/only/messages\nBrokerProperties: '
        '{"MessageId":"1"}\n\n2\n%%\nDELETE /once/only/messages/head\n\n\n%%\nDELETE /once/only/messages/head?timeout=1\n',
    ],
}

if __name__ == "__main__":
    main()
