// npm graphile-worker, with the settings of its own performance test (perfTest/graphile.config.js and latencyTest.js).

import { Logger, makeWorkerUtils, runMigrations, runTaskList } from "graphile-worker";
import pg from "pg";

// What the library would print for each job; its own test switches it off in the same way, with NO_LOG_SUCCESS.
const logger = new Logger(() => (level, message) => {
  if (level === "error" || level === "warning") console.error(message);
});
const concurrentJobs = 24;

export class Graphile {
  unfinished = "select count(*)::int as n from graphile_worker._private_jobs";
  anyUnfinished = "select exists (select from graphile_worker._private_jobs) as any";
  clear = "truncate graphile_worker._private_jobs";

  constructor(options) {
    this.url = options.url;
    this.pool = new pg.Pool({ connectionString: options.url, max: Math.max(options.callers, 16) });
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
  async worker(load, handler) {
    const backlog = load === "backlog";
    const pool = new pg.Pool({ connectionString: this.url, max: concurrentJobs + 1 });
    const clients = await Promise.all(Array.from({ length: concurrentJobs + 1 }, () => pool.connect()));
    for (const client of clients) client.release();
    const settings = backlog
      ? { localQueue: { size: 500, refetchDelay: { durationMs: 10 } }, completeJobBatchDelay: 0, failJobBatchDelay: 0 }
      : {};
    const preset = { worker: { concurrentJobs, maxPoolSize: concurrentJobs + 1, ...settings } };
    const tasks = { noop: (payload) => handler(payload.n) };
    return () => runTaskList({ preset, logger, concurrency: concurrentJobs, noHandleSignals: true }, tasks, pool).promise;
  }
}
