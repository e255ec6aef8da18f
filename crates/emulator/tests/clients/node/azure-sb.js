// azure-sb 0.11.2 for Node: plain HTTP on any port, its whole queue and topic surface against the emulator.
//
// The address of the emulator and of its admin port are in the environment: ONCEBUS_SERVICE_BUS and ONCEBUS_ADMIN.
'use strict';

// The client is of a time whose own dependencies warn today.
process.removeAllListeners('warning');
process.noDeprecation = true;

const assert = require('assert');
const http = require('http');
const { promisify } = require('util');
const azure = require('azure-sb');
const { fresh, run, step } = require('./steps.js');

const [ADDRESS, ADMIN] = [process.env.ONCEBUS_SERVICE_BUS, process.env.ONCEBUS_ADMIN];
const KEY = 'SAS_KEY_VALUE';

function connect(rule, key) {
  const connection = `Endpoint=${ADDRESS}/;SharedAccessKeyName=${rule};SharedAccessKey=${key}`;
  const service = azure.createServiceBusService(connection);
  // Callback style into promises, one for each operation that is used.
  const operations = {};
  for (const name of Object.getOwnPropertyNames(Object.getPrototypeOf(service))) {
    if (typeof service[name] === 'function') operations[name] = promisify(service[name].bind(service));
  }
  operations.formatDeadLetterPath = service.formatDeadLetterPath.bind(service);
  return operations;
}

const bus = connect('RootManageSharedAccessKey', KEY);

async function queue(options = {}) {
  const name = fresh('queue');
  await bus.createQueue(name, options);
  return name;
}

async function topic(options = {}) {
  const name = fresh('topic');
  await bus.createTopic(name, options);
  return name;
}

async function subscription(of, options = {}) {
  const name = fresh('sub');
  await bus.createSubscription(of, name, options);
  return name;
}

const lock = (name) => bus.receiveQueueMessage(name, { isPeekLock: true, timeoutIntervalInS: 1 });
const take = (name) => bus.receiveQueueMessage(name, { timeoutIntervalInS: 1 });

// The client turns 204 into this text.
const empty = (promise) => assert.rejects(promise, (error) => String(error).includes('No messages to receive'));

async function refused(promise, status) {
  await assert.rejects(promise, (error) => {
    assert.strictEqual(Number(error.statusCode), status, `${error.statusCode}: ${error.message}`);
    return true;
  });
}

function advance(seconds) {
  return new Promise((resolve, reject) => {
    const request = http.request(`${ADMIN}/clock`, { method: 'POST' }, (answer) => {
      answer.resume().on('end', () => (answer.statusCode === 200 ? resolve() : reject(new Error(answer.statusCode))));
    });
    request.on('error', reject).end(JSON.stringify({ advance_seconds: seconds }));
  });
}

// ---- queues

step('a queue is made once', async () => {
  const name = fresh('queue');
  const made = await bus.createQueue(name);
  assert.strictEqual(made.QueueName, name);
  await refused(bus.createQueue(name), 409);
  assert.strictEqual(await bus.createQueueIfNotExists(name), false);
  assert.strictEqual(await bus.createQueueIfNotExists(fresh('queue')), true);
});

step('a queue shows what it was made with', async () => {
  const made = {
    LockDuration: 'PT45S',
    MaxSizeInMegabytes: '2048',
    RequiresDuplicateDetection: 'true',
    RequiresSession: 'true',
    DefaultMessageTimeToLive: 'PT5M',
    DeadLetteringOnMessageExpiration: 'true',
    DuplicateDetectionHistoryTimeWindow: 'PT1M',
    MaxDeliveryCount: '7',
    EnableBatchedOperations: 'false',
  };
  const name = await queue(made);
  const found = await bus.getQueue(name);
  for (const [key, value] of Object.entries(made)) assert.strictEqual(String(found[key]), value, key);
  assert.strictEqual(found.QueueName, name);
  assert.strictEqual(String(found.MessageCount), '0');
});

step('queues are listed, with a page and a place to begin', async () => {
  const made = [await queue(), await queue(), await queue()];
  const all = (await bus.listQueues()).map((found) => found.QueueName);
  for (const name of made) assert.ok(all.includes(name), name);
  const page = (await bus.listQueues({ top: 2, skip: 1 })).map((found) => found.QueueName);
  assert.deepStrictEqual(page, all.slice(1, 3));
});

step('a queue is deleted once', async () => {
  const name = await queue();
  await bus.deleteQueue(name);
  await refused(bus.deleteQueue(name), 404);
  await assert.rejects(bus.getQueue(name));
});

// ---- messages

step('a text is a message', async () => {
  const name = await queue();
  await bus.sendQueueMessage(name, 'hi there');
  const found = await take(name);
  assert.strictEqual(found.body, 'hi there');
  assert.strictEqual(found.location, undefined);
  await empty(take(name));
});

step('bodies beyond ASCII come back', async () => {
  const name = await queue();
  for (const body of ['grüße – 你好 – 😀', '{"a":[1,2]}', '<a b="c"/>', ' ', 'x'.repeat(100000)]) {
    await bus.sendQueueMessage(name, { body });
    assert.strictEqual((await take(name)).body, body);
  }
});

step('a message may have no body', async () => {
  const name = await queue();
  await bus.sendQueueMessage(name, { customProperties: { n: 1 } });
  const found = await take(name);
  assert.strictEqual(found.body || '', '');
  assert.strictEqual(found.customProperties.n, 1);
});

step('every broker property comes back', async () => {
  const name = await queue();
  const sent = {
    CorrelationId: 'correlation',
    Label: 'label',
    MessageId: 'id',
    ReplyTo: 'reply',
    ReplyToSessionId: 'reply session',
    SessionId: 'session',
    PartitionKey: 'session',
    To: 'to',
    TimeToLive: 40,
    ScheduledEnqueueTimeUtc: 'Fri, 05 Apr 2013 20:00:00 GMT',
  };
  await bus.sendQueueMessage(name, { body: 'x', brokerProperties: sent });
  const found = (await lock(name)).brokerProperties;
  for (const [key, value] of Object.entries(sent)) assert.strictEqual(found[key], value, key);
  assert.strictEqual(found.DeliveryCount, 1);
  assert.strictEqual(found.SequenceNumber, 1);
  assert.strictEqual(found.State, 'Active');
  assert.match(found.LockToken, /^[0-9a-f-]{36}$/);
  assert.ok(Date.parse(found.LockedUntilUtc) > Date.parse(found.EnqueuedTimeUtc));
});

step('custom properties keep their types', async () => {
  const name = await queue();
  const sent = {
    text: 'hi there',
    number: 37,
    negative: -12,
    double: 3.14,
    yes: true,
    no: false,
    when: new Date(Date.UTC(2012, 1, 14)),
  };
  await bus.sendQueueMessage(name, { body: 'x', contentType: 'made-up', customProperties: sent });
  const found = await take(name);
  assert.strictEqual(found.contentType, 'made-up');
  const { when, ...rest } = sent;
  for (const [key, value] of Object.entries(rest)) assert.strictEqual(found.customProperties[key], value, key);
  assert.strictEqual(new Date(found.customProperties.when).getTime(), when.getTime());
  // What the client does not know for a standard header would be here; this one it forgets.
  const known = new Set([...Object.keys(sent), 'strict-transport-security']);
  assert.deepStrictEqual(Object.keys(found.customProperties).filter((key) => !known.has(key)), []);
});

step('a message is locked, renewed, unlocked and deleted', async () => {
  const name = await queue();
  await bus.sendQueueMessage(name, 'x');
  const first = await lock(name);
  assert.match(first.location, new RegExp(`/${name}/messages/1/${first.brokerProperties.LockToken}$`));
  await bus.renewLockForMessage(first);
  await empty(lock(name));
  await bus.unlockMessage(first);
  await refused(bus.deleteMessage(first), 404);
  const second = await lock(name);
  assert.strictEqual(second.brokerProperties.DeliveryCount, 2);
  await bus.deleteMessage(second.location);
  await refused(bus.renewLockForMessage(second), 404);
  await empty(lock(name));
});

step('a lock that expires gives the message back', async () => {
  const name = await queue({ LockDuration: 'PT5S' });
  await bus.sendQueueMessage(name, 'x');
  const late = await lock(name);
  await advance(6);
  await refused(bus.unlockMessage(late), 404);
  assert.strictEqual((await lock(name)).brokerProperties.DeliveryCount, 2);
});

step('too many deliveries end in the dead letter queue', async () => {
  const name = await queue({ MaxDeliveryCount: '2' });
  await bus.sendQueueMessage(name, 'poison');
  for (let n = 0; n < 2; n += 1) await bus.unlockMessage(await lock(name));
  await empty(lock(name));
  const dead = bus.formatDeadLetterPath(name);
  const found = await lock(dead);
  assert.strictEqual(found.body, 'poison');
  assert.strictEqual(found.customProperties.deadletterreason, 'MaxDeliveryCountExceeded');
  await bus.deleteMessage(found);
  await empty(lock(dead));
});

step('a duplicate is dropped', async () => {
  const name = await queue({ RequiresDuplicateDetection: 'true' });
  for (const body of ['first', 'second']) {
    await bus.sendQueueMessage(name, { body, brokerProperties: { MessageId: 'same' } });
  }
  assert.strictEqual((await take(name)).body, 'first');
  await empty(take(name));
});

step('a message beyond the limit is refused', async () => {
  await refused(bus.sendQueueMessage(await queue(), 'x'.repeat(300000)), 403);
});

step('an empty queue answers when the timeout is over', async () => {
  const name = await queue();
  const started = Date.now();
  await empty(take(name));
  const waited = Date.now() - started;
  assert.ok(waited >= 950 && waited < 2000, `${waited} ms`);
});

step('a waiting receiver wakes when a message comes', async () => {
  const name = await queue();
  const waiting = bus.receiveQueueMessage(name, { timeoutIntervalInS: 30 });
  await new Promise((resolve) => setTimeout(resolve, 200));
  const sent = Date.now();
  await bus.sendQueueMessage(name, 'at last');
  assert.strictEqual((await waiting).body, 'at last');
  assert.ok(Date.now() - sent < 1000);
});

// ---- topics, subscriptions, rules

step('a topic is made, shown, listed and deleted once', async () => {
  const made = {
    DefaultMessageTimeToLive: 'PT5M',
    MaxSizeInMegabytes: '3072',
    RequiresDuplicateDetection: 'true',
    DuplicateDetectionHistoryTimeWindow: 'PT1M',
    EnableBatchedOperations: 'false',
  };
  const name = await topic(made);
  await refused(bus.createTopic(name), 409);
  assert.strictEqual(await bus.createTopicIfNotExists(name), false);
  const found = await bus.getTopic(name);
  for (const [key, value] of Object.entries(made)) assert.strictEqual(String(found[key]), value, key);
  assert.ok((await bus.listTopics()).some((listed) => listed.TopicName === name));
  await bus.deleteTopic(name);
  await refused(bus.deleteTopic(name), 404);
});

step('a subscription is made, shown, listed and deleted once', async () => {
  const of = await topic();
  const made = { LockDuration: 'PT30S', RequiresSession: 'false', DefaultMessageTimeToLive: 'PT5M' };
  const name = await subscription(of, made);
  await refused(bus.createSubscription(of, name), 409);
  const found = await bus.getSubscription(of, name);
  for (const [key, value] of Object.entries(made)) assert.strictEqual(String(found[key]), value, key);
  assert.deepStrictEqual([found.TopicName, found.SubscriptionName], [of, name]);
  const listed = await bus.listSubscriptions(of);
  assert.deepStrictEqual(listed.map((one) => one.SubscriptionName), [name]);
  await bus.deleteSubscription(of, name);
  await refused(bus.deleteSubscription(of, name), 404);
  await refused(bus.getSubscription(of, name), 404);
});

step('rules are made, shown, listed and deleted once', async () => {
  const of = await topic();
  const name = await subscription(of);
  const rules = {
    all: { trueFilter: '1=1' },
    none: { falseFilter: '1=0' },
    sql: { sqlExpressionFilter: 'n > 3' },
    related: { correlationIdFilter: 'c1' },
    acting: { trueFilter: '1=1', sqlRuleAction: "SET a = 'b'" },
  };
  for (const [rule, options] of Object.entries(rules)) await bus.createRule(of, name, rule, options);
  await refused(bus.createRule(of, name, 'sql', rules.sql), 409);
  const found = await bus.getRule(of, name, 'sql');
  assert.strictEqual(found.RuleName, 'sql');
  assert.strictEqual(found.Filter.SqlExpression, 'n > 3');
  const listed = (await bus.listRules(of, name)).map((rule) => rule.RuleName);
  assert.deepStrictEqual(listed.sort(), ['$Default', ...Object.keys(rules)].sort());
  await bus.deleteRule(of, name, 'sql');
  await refused(bus.deleteRule(of, name, 'sql'), 404);
});

step('filters and actions decide what a subscription gets', async () => {
  const of = await topic();
  const [sql, related, acting] = [await subscription(of), await subscription(of), await subscription(of)];
  await bus.createRule(of, sql, 'rule', { sqlExpressionFilter: "n > 3 AND color = 'red'" });
  await bus.createRule(of, related, 'rule', { correlationIdFilter: 'c1' });
  await bus.createRule(of, acting, 'rule', { sqlExpressionFilter: 'n = 1', sqlRuleAction: "SET color = 'blue'" });
  for (const name of [sql, related, acting]) await bus.deleteRule(of, name, '$Default');
  await bus.sendTopicMessage(of, { body: 'a', customProperties: { n: 1, color: 'red' } });
  await bus.sendTopicMessage(of, { body: 'b', customProperties: { n: 4, color: 'red' } });
  await bus.sendTopicMessage(of, { body: 'c', brokerProperties: { CorrelationId: 'c1' } });
  const next = (name) => bus.receiveSubscriptionMessage(of, name, { timeoutIntervalInS: 1 });
  assert.strictEqual((await next(sql)).body, 'b');
  assert.strictEqual((await next(related)).body, 'c');
  const changed = await next(acting);
  assert.deepStrictEqual([changed.body, changed.customProperties.color], ['a', 'blue']);
  await Promise.all([sql, related, acting].map((name) => empty(next(name))));
});

step("a subscription's messages are locked, unlocked and deleted", async () => {
  const of = await topic();
  const name = await subscription(of);
  await bus.sendTopicMessage(of, 'x');
  const next = () => bus.receiveSubscriptionMessage(of, name, { isPeekLock: true, timeoutIntervalInS: 1 });
  const first = await next();
  await bus.renewLockForMessage(first);
  await bus.unlockMessage(first);
  await bus.deleteMessage(await next());
  await empty(next());
});

// ---- refusals

step('what does not exist is not found', async () => {
  const absent = fresh('absent');
  for (const attempt of [() => bus.sendQueueMessage(absent, 'x'), () => take(absent), () => lock(absent)]) {
    await assert.rejects(attempt(), (error) => [404, 410].includes(Number(error.statusCode)));
  }
});

step('a wrong key opens nothing', async () => {
  const name = await queue();
  for (const stranger of [connect('RootManageSharedAccessKey', 'wrong='), connect('NoSuchRule', KEY)]) {
    await refused(stranger.sendQueueMessage(name, 'x'), 401);
    await refused(stranger.createQueue(fresh('queue')), 401);
    await refused(stranger.listQueues(), 401);
  }
});

run();
