// ServiceBusAdministrationClient of @azure/service-bus 7.9.5 for Node, over TLS: it refuses plain HTTP, and a description
// that misses an element.
//
// The address of the emulator's TLS port is in the environment: ONCEBUS_SERVICE_BUS_TLS. Node trusts its authority by
// NODE_EXTRA_CA_CERTS.
'use strict';

const assert = require('assert');
const { ServiceBusAdministrationClient } = require('@azure/service-bus');
const { fresh, run, step } = require('./steps.js');

const HOST = process.env.ONCEBUS_SERVICE_BUS_TLS.replace('https://', '');

function connect(rule, key) {
  const connection = `Endpoint=sb://${HOST}/;SharedAccessKeyName=${rule};SharedAccessKey=${key}`;
  // A retry would hide what the first answer was.
  return new ServiceBusAdministrationClient(connection, { retryOptions: { maxRetries: 0 } });
}

const bus = connect('RootManageSharedAccessKey', 'SAS_KEY_VALUE');

async function all(pages) {
  const found = [];
  for await (const one of pages) found.push(one);
  return found;
}

const refused = (promise, status) => assert.rejects(promise, (error) => {
  assert.strictEqual(error.statusCode, status, `${error.statusCode}: ${error.message}`);
  return true;
});

function shows(found, expected) {
  for (const [key, value] of Object.entries(expected)) assert.deepStrictEqual(found[key], value, key);
}

step('the namespace says what it is', async () => {
  const found = await bus.getNamespaceProperties();
  assert.strictEqual(found.messagingSku, 'Standard');
  assert.ok(found.createdAt instanceof Date);
});

step('a queue shows what it was made with', async () => {
  const made = {
    lockDuration: 'PT45S',
    maxSizeInMegabytes: 2048,
    requiresDuplicateDetection: true,
    requiresSession: true,
    defaultMessageTimeToLive: 'PT5M',
    deadLetteringOnMessageExpiration: true,
    duplicateDetectionHistoryTimeWindow: 'PT1M',
    maxDeliveryCount: 7,
    enableBatchedOperations: false,
    autoDeleteOnIdle: 'PT1H',
    userMetadata: 'grüße <&>',
    status: 'Active',
  };
  const name = fresh('queue');
  shows(await bus.createQueue(name, made), made);
  const found = await bus.getQueue(name);
  shows(found, { name, availabilityStatus: 'Available', enablePartitioning: false, ...made });
  assert.strictEqual(await bus.queueExists(name), true);
  assert.strictEqual(await bus.queueExists(fresh('absent')), false);
});

step('a queue is made, updated and deleted once', async () => {
  const name = fresh('queue');
  await bus.createQueue(name);
  await refused(bus.createQueue(name), 409);
  const found = await bus.getQueue(name);
  await bus.updateQueue({ ...found, lockDuration: 'PT2M', maxDeliveryCount: 20, status: 'ReceiveDisabled' });
  shows(await bus.getQueue(name), { lockDuration: 'PT2M', maxDeliveryCount: 20, status: 'ReceiveDisabled' });
  await bus.deleteQueue(name);
  await refused(bus.deleteQueue(name), 404);
  await assert.rejects(bus.getQueue(name), { code: 'MessageEntityNotFoundError' });
});

step('a queue tells its state', async () => {
  const name = fresh('queue');
  await bus.createQueue(name);
  const found = await bus.getQueueRuntimeProperties(name);
  shows(found, { name, totalMessageCount: 0, activeMessageCount: 0, deadLetterMessageCount: 0, sizeInBytes: 0 });
  assert.ok(found.createdAt instanceof Date);
});

step('lists come in pages', async () => {
  const names = [];
  for (let n = 0; n < 7; n += 1) {
    names.push(fresh('queue'));
    await bus.createQueue(names[n]);
  }
  const found = await all(bus.listQueues());
  for (const name of names) assert.ok(found.some((queue) => queue.name === name), name);
  const sizes = [];
  for await (const page of bus.listQueues().byPage({ maxPageSize: 3 })) sizes.push(page.length);
  assert.ok(sizes.slice(0, -1).every((size) => size === 3), sizes);
  assert.strictEqual(sizes.reduce((sum, size) => sum + size, 0), found.length);
  assert.strictEqual((await all(bus.listQueuesRuntimeProperties())).length, found.length);
});

step('a queue keeps where it forwards to and who may use it', async () => {
  const [target, name] = [fresh('queue'), fresh('queue')];
  await bus.createQueue(target);
  const rule = {
    claimType: 'SharedAccessKey',
    keyName: 'listener',
    accessRights: ['Listen'],
    primaryKey: 'cHJpbWFyeS1wcmltYXJ5LXByaW1hcnktcHJpbWFyeTE=',
    secondaryKey: 'c2Vjb25kYXJ5LXNlY29uZGFyeS1zZWNvbmRhcnktMjI=',
  };
  await bus.createQueue(name, { forwardTo: target, authorizationRules: [rule] });
  const found = await bus.getQueue(name);
  assert.ok(found.forwardTo.endsWith(`/${target}`), found.forwardTo);
  assert.strictEqual(found.authorizationRules.length, 1);
  shows(found.authorizationRules[0], { keyName: 'listener', primaryKey: rule.primaryKey, accessRights: ['Listen'] });
});

step('a topic and its subscriptions are made, shown, updated, listed and deleted', async () => {
  const [topic, name] = [fresh('topic'), fresh('sub')];
  const made = { defaultMessageTimeToLive: 'PT5M', supportOrdering: true, userMetadata: 'meta', maxSizeInMegabytes: 3072 };
  shows(await bus.createTopic(topic, made), made);
  await refused(bus.createTopic(topic), 409);
  await bus.updateTopic({ ...(await bus.getTopic(topic)), userMetadata: 'updated' });
  shows(await bus.getTopic(topic), { ...made, userMetadata: 'updated' });
  const options = { lockDuration: 'PT30S', maxDeliveryCount: 14, deadLetteringOnFilterEvaluationExceptions: false };
  shows(await bus.createSubscription(topic, name, options), options);
  await refused(bus.createSubscription(topic, name), 409);
  await bus.updateSubscription({ ...(await bus.getSubscription(topic, name)), maxDeliveryCount: 15 });
  shows(await bus.getSubscription(topic, name), { ...options, maxDeliveryCount: 15, subscriptionName: name });
  shows(await bus.getSubscriptionRuntimeProperties(topic, name), { totalMessageCount: 0, activeMessageCount: 0 });
  shows(await bus.getTopicRuntimeProperties(topic), { subscriptionCount: 1, sizeInBytes: 0 });
  assert.deepStrictEqual((await all(bus.listSubscriptions(topic))).map((one) => one.subscriptionName), [name]);
  assert.strictEqual(await bus.subscriptionExists(topic, name), true);
  await bus.deleteSubscription(topic, name);
  await refused(bus.deleteSubscription(topic, name), 404);
  await bus.deleteTopic(topic);
  assert.strictEqual(await bus.topicExists(topic), false);
});

step('rules are made, shown, updated, listed and deleted', async () => {
  const [topic, name] = [fresh('topic'), fresh('sub')];
  await bus.createTopic(topic);
  const first = { name: 'first', filter: { sqlExpression: '1=0' } };
  await bus.createSubscription(topic, name, { defaultRuleOptions: first });
  const sql = {
    sqlExpression: '@number = n AND @text = color',
    sqlParameters: { '@number': 7, '@text': 'grüße <&>', '@flag': true, '@when': new Date(Date.UTC(2020, 6, 5)) },
  };
  await bus.createRule(topic, name, 'sql', sql, { sqlExpression: "SET a = 'b'" });
  await refused(bus.createRule(topic, name, 'sql', sql), 409);
  const found = await bus.getRule(topic, name, 'sql');
  shows(found, { name: 'sql' });
  shows(found.filter, { sqlExpression: sql.sqlExpression });
  shows(found.filter.sqlParameters, { '@number': 7, '@text': 'grüße <&>', '@flag': true });
  assert.strictEqual(found.action.sqlExpression, "SET a = 'b'");
  const related = { correlationId: 'c', subject: 'l', applicationProperties: { n: 1, text: 'x', flag: false } };
  await bus.createRule(topic, name, 'related', related);
  shows((await bus.getRule(topic, name, 'related')).filter, related);
  await bus.updateRule(topic, name, { ...found, filter: { sqlExpression: 'n = 2' } });
  assert.strictEqual((await bus.getRule(topic, name, 'sql')).filter.sqlExpression, 'n = 2');
  const names = (await all(bus.listRules(topic, name))).map((rule) => rule.name).sort();
  assert.deepStrictEqual(names, ['first', 'related', 'sql']);
  await bus.deleteRule(topic, name, 'sql');
  await refused(bus.deleteRule(topic, name, 'sql'), 404);
  assert.strictEqual(await bus.ruleExists(topic, name, 'sql'), false);
});

step('a wrong key opens nothing', async () => {
  for (const stranger of [connect('RootManageSharedAccessKey', 'd3Jvbmc='), connect('NoSuchRule', 'SAS_KEY_VALUE')]) {
    await refused(stranger.getNamespaceProperties(), 401);
    await refused(stranger.createQueue(fresh('queue')), 401);
  }
});

run();
