// Runs one scenario of the queue benchmark on one Node rival and prints one JSON object: see ../README.md.

import { parseArgs } from "node:util";

import { Boss } from "./boss.mjs";
import { Graphile } from "./graphile.mjs";
import * as scenario from "./scenario.mjs";

const systems = { "graphile-worker": Graphile, "pg-boss": Boss };
const scenarios = {
  setup: scenario.setup,
  clear: scenario.clear,
  enqueue: scenario.enqueue,
  "enqueue-alone": scenario.enqueueAlone,
  bulk: scenario.bulk,
  process: scenario.process,
  latency: scenario.latency,
  paced: scenario.paced,
};
const numbers = { count: 10_000, callers: 1, chunk: 1000, rate: 1000, seconds: 20, "gap-ms": 20 };

async function main() {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: Object.fromEntries(["url", ...Object.keys(numbers)].map((name) => [name, { type: "string" }])),
  });
  const [system, name] = positionals;
  const System = systems[system] ?? fail(`no system is called ${system}`);
  const run = scenarios[name] ?? fail(`no scenario is called ${name}`);
  const options = { url: values.url ?? fail("--url names the database") };
  for (const [number, otherwise] of Object.entries(numbers)) {
    const value = Number(values[number] ?? otherwise);
    if (!Number.isInteger(value) || value < 1) fail(`--${number} is a whole number, 1 or more`);
    options[number] = value;
  }
  return await run(new System(options), options);
}

function fail(sentence) {
  throw new Error(sentence);
}

main().then(
  (answer) => {
    // Pools and workers are still open, and nothing waits for them.
    process.stdout.write(`${JSON.stringify(answer)}\n`, () => process.exit(0));
  },
  (error) => {
    console.error(error?.stack ?? error);
    process.exit(1);
  },
);
