// The scenarios, the same for every system and the same as in ../rust/src/scenario.rs.

import { setTimeout as sleep } from "node:timers/promises";

// How long a worker may do nothing before a scenario gives up.
const stallMs = 120_000;
// Jobs that wake connections before latencies are measured.
const warmUp = 20;

const now = () => performance.now();

export async function setup(queue) {
  await queue.setup();
  await queue.pool.query(
    "create table if not exists orders (id bigint generated always as identity primary key, note text)",
  );
  return {};
}

export async function clear(queue) {
  await queue.pool.query(queue.clear);
  return {};
}

export async function enqueue(queue, { callers, count }) {
  await queue.open();
  const clients = await Promise.all(Array.from({ length: callers }, () => queue.pool.connect()));
  const next = counter(count);
  const begin = now();
  await Promise.all(
    clients.map(async (client) => {
      for (let n = next(); n !== undefined; n = next()) {
        await client.query("begin");
        await client.query("insert into orders (note) values ($1)", ["one of many"]);
        await queue.addIn(client, n);
        await client.query("commit");
      }
    }),
  );
  return perSecond(count, begin);
}

export async function enqueueAlone(queue, { callers, count }) {
  await queue.open();
  await warm(queue.pool, callers);
  const next = counter(count);
  const begin = now();
  await concurrently(callers, async () => {
    for (let n = next(); n !== undefined; n = next()) await queue.add(n);
  });
  return perSecond(count, begin);
}

export async function bulk(queue, { callers, count, chunk }) {
  await queue.open();
  await warm(queue.pool, callers);
  const next = counter(Math.ceil(count / chunk));
  const begin = now();
  await concurrently(callers, async () => {
    for (let i = next(); i !== undefined; i = next()) {
      const size = Math.min(chunk, count - i * chunk);
      await queue.addMany(Array.from({ length: size }, (_, k) => i * chunk + k));
    }
  });
  return perSecond(count, begin);
}

export async function process(queue, { count }) {
  await expectUnfinished(queue, count);
  let handled = 0;
  const start = await queue.worker("backlog", () => {
    handled += 1;
  });
  const begin = now();
  const cpu = globalThis.process.cpuUsage();
  const running = run(start);
  let last = { handled, at: begin };
  while (handled < count) {
    await sleep(2);
    running.check();
    if (handled > last.handled) last = { handled, at: now() };
    if (now() - last.at > stallMs) throw new Error(`no job has started for two minutes, after ${handled} of ${count}`);
  }
  await untilFinished(queue, running);
  const seconds = (now() - begin) / 1000;
  const used = globalThis.process.cpuUsage(cpu);
  return {
    per_second: round(count / seconds),
    seconds: round(seconds),
    worker_cpu_s: round((used.user + used.system) / 1e6),
  };
}

export async function latency(queue, { count, "gap-ms": gap }) {
  const { running, starts } = await idleWorker(queue);
  const times = [];
  for (let n = 0; n < warmUp + count; n += 1) {
    await sleep(gap);
    running.check();
    const time = await measured(queue, starts, n);
    if (n >= warmUp) times.push(time);
  }
  await untilFinished(queue, running);
  return percentiles(times);
}

export async function paced(queue, { rate, seconds }) {
  const { running, starts } = await idleWorker(queue);
  for (let n = 0; n < warmUp; n += 1) await measured(queue, starts, n);
  const count = rate * seconds;
  const calls = new Float64Array(count);
  const adding = [];
  const begin = now();
  while (adding.length < count) {
    const due = Math.min(count, Math.floor(((now() - begin) / 1000) * rate) + 1);
    while (adding.length < due) {
      const i = adding.length;
      calls[i] = now();
      const added = queue.add(warmUp + i);
      // A failure is seen when all are awaited.
      added.catch(() => {});
      adding.push(added);
    }
    running.check();
    await sleep(1);
  }
  await Promise.all(adding);
  const deadline = now() + stallMs;
  const started = () => starts.size - warmUp;
  while (started() < count && now() < deadline) await sleep(5);
  // A job that has not started by now counts with the time it has waited: it must not vanish from the percentiles.
  const end = now();
  const times = Array.from(calls, (call, i) => (starts.get(warmUp + i) ?? end) - call);
  if (started() === count) await untilFinished(queue, running);
  return { ...percentiles(times), started: started() };
}

// A worker on an empty table, and the times at which its handler was called, by job.
async function idleWorker(queue) {
  await expectUnfinished(queue, 0);
  await queue.open();
  await warm(queue.pool, 1);
  const starts = new Map();
  let wake = () => {};
  const start = await queue.worker("trickle", (n) => {
    // A job that starts twice counts with its first start.
    if (!starts.has(n)) starts.set(n, now());
    wake(n);
  });
  starts.next = (n) =>
    new Promise((resolve) => {
      wake = (started) => started === n && resolve();
    });
  return { running: run(start), starts };
}

// Adds a job and answers how long it took until its handler was called.
async function measured(queue, starts, n) {
  const handled = starts.next(n);
  const call = now();
  await queue.add(n);
  let timer;
  const stalled = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`job ${n} has not started for two minutes`)), stallMs);
  });
  await Promise.race([handled, stalled]);
  clearTimeout(timer);
  return starts.get(n) - call;
}

// Starts a worker; `check` throws if it has ended, which no worker does by itself.
function run(start) {
  let ended;
  Promise.resolve(start()).then(
    () => (ended = new Error("the worker has ended")),
    (error) => (ended = error),
  );
  return {
    check() {
      if (ended) throw ended;
    },
  };
}

async function untilFinished(queue, running) {
  const begin = now();
  const client = await queue.pool.connect();
  while ((await client.query(queue.anyUnfinished)).rows[0].any) {
    running.check();
    if (now() - begin > stallMs) throw new Error("jobs are left unfinished two minutes after their handlers ended");
    await sleep(2);
  }
  client.release();
}

async function expectUnfinished(queue, count) {
  const found = (await queue.pool.query(queue.unfinished)).rows[0].n;
  if (found !== count) {
    throw new Error(`the table has ${found} unfinished jobs and should have ${count}: use \`clear\``);
  }
}

async function warm(pool, size) {
  const clients = await Promise.all(Array.from({ length: size }, () => pool.connect()));
  for (const client of clients) client.release();
}

async function concurrently(callers, work) {
  await Promise.all(Array.from({ length: callers }, work));
}

function counter(end) {
  let n = 0;
  return () => (n < end ? n++ : undefined);
}

function perSecond(count, begin) {
  return { per_second: round(count / ((now() - begin) / 1000)) };
}

// Nearest rank.
function percentiles(times) {
  const sorted = Float64Array.from(times).sort();
  const at = (percent) => round(sorted[Math.max(1, Math.ceil((sorted.length * percent) / 100)) - 1]);
  return { p50_ms: at(50), p99_ms: at(99) };
}

function round(value) {
  return Math.round(value * 1000) / 1000;
}
