// npm graphile-worker, with the settings that its page on performance gives for its own figures.

import { Logger, makeWorkerUtils, runMigrations, runTaskList } from "graphile-worker";
import pg from "pg";

// What the library would print for each job; its own test switches it off in the same way, with NO_LOG_SUCCESS.
const logger = new Logger(() => (level, message) => {
  if (level === "error" || level === "warning") console.error(message);
});
const settings = {
  concurrentJobs: 24,
  maxPoolSize: 25,
  localQueue: { size: 500 },
  completeJobBatchDelay: 0,
  failJobBatchDelay: 0,
};

export class Graphile {
  unfinished = "select count(*)::int as n from graphile_worker._private_jobs";
  anyUnfinished = "select exists (select from graphile_worker._private_jobs) as any";
  clear = "truncate graphile_worker._private_jobs";

  constructor(options) {
    this.url = options.url;
    this.pool = makePool(options.url, Math.max(options.callers, 16));
  }

  async setup() {
    await runMigrations({ pgPool: this.pool, logger });
  }

  // Called once before jobs are added; the library checks its schema here.
  async open() {
    this.utils = await makeWorkerUtils({ pgPool: this.pool, logger });
  }

  // The documented way into a transaction of the caller's is the SQL function.
  async addIn(client, n) {
    await client.query("select graphile_worker.add_job('noop', $1::json)", [JSON.stringify({ n })]);
  }

  async add(n) {
    await this.utils.addJob("noop", { n });
  }

  async addMany(numbers) {
    await this.utils.addJobs(numbers.map((n) => ({ identifier: "noop", payload: { n } })));
  }

  // A worker that is connected but not started: a function that starts it and answers its end.
  async worker(_load, handler) {
    const pool = makePool(this.url, settings.maxPoolSize);
    const clients = await Promise.all(Array.from({ length: settings.maxPoolSize }, () => pool.connect()));
    for (const client of clients) client.release();
    const options = { preset: { worker: settings }, concurrency: settings.concurrentJobs, logger, noHandleSignals: true };
    const tasks = { noop: (payload) => handler(payload.n) };
    return () => runTaskList(options, tasks, pool).promise;
  }
}

function makePool(url, max) {
  const pool = new pg.Pool({ connectionString: url, max });
  // The library wants both to be heard. A lost connection shows where it is used next.
  pool.on("error", (error) => console.error(error));
  pool.on("connect", (client) => client.on("error", (error) => console.error(error)));
  return pool;
}
