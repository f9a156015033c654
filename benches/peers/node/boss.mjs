// npm pg-boss. Two queues: `noop` as the library makes it, and `live` with its LISTEN/NOTIFY wake-up, which costs each
// enqueue a NOTIFY and is what a worker needs to start a job at once.

import pg from "pg";
import { PgBoss } from "pg-boss";

// Of those that were tried, the fastest with the least work for Postgres.
const batch = 5000;
const loops = 4;

export class Boss {
  unfinished = "select count(*)::int as n from pgboss.job where state < 'completed'";
  anyUnfinished = "select exists (select from pgboss.job where state < 'completed') as any";
  clear = "truncate pgboss.job";

  constructor(options) {
    this.url = options.url;
    // The callers' own connections; pg-boss has a pool of its own for what it does itself.
    this.pool = new pg.Pool({ connectionString: options.url, max: Math.max(options.callers, 16) });
    this.boss = this.make(Math.max(options.callers, 16), {});
    this.queue = "noop";
  }

  make(max, settings) {
    // A producer that waits for a connection is late, and that is measured: it is not an error.
    const boss = new PgBoss({ connectionString: this.url, max, connectionTimeoutMillis: 120_000, ...settings });
    this.failed = new Promise((_, reject) => boss.on("error", reject));
    this.failed.catch((error) => console.error(error));
    return boss;
  }

  async setup() {
    await this.boss.start();
    await this.boss.createQueue("noop");
    await this.boss.createQueue("live", { notify: true });
  }

  async open() {
    await this.boss.start();
  }

  async addIn(client, n) {
    await this.boss.send(this.queue, { n }, { db: { executeSql: (text, values) => client.query(text, values) } });
  }

  async add(n) {
    await this.boss.send(this.queue, { n });
  }

  async addMany(numbers) {
    await this.boss.insert(this.queue, numbers.map((n) => ({ data: { n } })));
  }

  async worker(load, handler) {
    return load === "backlog" ? await this.drainer(handler) : await this.listener(handler);
  }

  // fetch() and complete() in loops, which is faster than work().
  async drainer(handler) {
    const boss = this.make(loops, {});
    await boss.start();
    const loop = async () => {
      for (;;) {
        const jobs = await boss.fetch("noop", { batchSize: batch });
        if (jobs.length === 0) return;
        for (const job of jobs) handler(job.data.n);
        await boss.complete("noop", jobs.map((job) => job.id));
      }
    };
    // A loop that finds nothing has done its part of the backlog; only a failure ends the worker early.
    return async () => {
      await Promise.race([this.failed, Promise.all(Array.from({ length: loops }, loop))]);
      await this.failed;
    };
  }

  async listener(handler) {
    this.queue = "live";
    const boss = this.make(10, { useListenNotify: true });
    await boss.start();
    // Half a second is the shortest poll that the library allows.
    const poll = { pollingIntervalSeconds: 0.5, notifyPollingIntervalSeconds: 0.5, burstWhenBatchFull: true };
    return async () => {
      await boss.work("live", { batchSize: 100, ...poll }, async (jobs) => {
        for (const job of jobs) handler(job.data.n);
      });
      await this.failed;
    };
  }
}
