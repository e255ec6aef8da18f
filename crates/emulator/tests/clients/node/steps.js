// What the scripts of the Node clients share: steps that are the assertions.
//
// Each step prints one line, a failed one does not keep the next from running, and the last line counts them.
'use strict';

const steps = [];
let names = 0;

// Makes a function a step. Its name is what the step promises.
const step = (name, work) => steps.push({ name, work });

// A name that no other step has.
const fresh = (kind) => `${kind}-${++names}`;

// Runs all steps in their order and ends the program; its status says whether all passed.
async function run() {
  let passed = 0;
  for (const { name, work } of steps) {
    const started = Date.now();
    try {
      await work();
      passed += 1;
      console.log(`ok   ${name} (${((Date.now() - started) / 1000).toFixed(2)} s)`);
    } catch (error) {
      console.log(`FAIL ${name}: ${error && error.stack ? error.stack : error}`);
    }
  }
  console.log(`${passed} of ${steps.length} steps passed`);
  process.exit(passed && passed === steps.length ? 0 : 1);
}

module.exports = { fresh, run, step };
