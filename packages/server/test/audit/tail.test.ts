/** Live tails over HTTP: nothing left out, nothing twice, nothing to whoever may not read any more. */
import { connect } from "node:net";
import { once } from "node:events";
import { Countersign } from "@countersign/sdk";
import { afterAll, beforeAll, expect, test } from "vitest";
import { openTails, type Followed, type TailTurn } from "../../src/followers/index.js";
import { asTenantId, type EntryView, type TenantId } from "@countersign/contract";
import { newId } from "../../src/platform/index.js";
import { createDatabase, type TestDatabase } from "../support/postgres.js";
import { addAgent, call, type Person, startTestServer, type TestServer } from "../support/server.js";

function signal(): { readonly came: Promise<void>; readonly give: () => void } {
  let give = (): void => undefined;
  const came = new Promise<void>((resolve) => (give = resolve));
  return { came, give };
}

let database: TestDatabase;
let server: TestServer;
let ada: Person;
beforeAll(async () => {
  database = await createDatabase();
  server = await startTestServer({ database });
  ada = await server.firstPerson();
});
afterAll(() => server.close());

/** Something that leaves an entry: a code for a person nobody uses. */
async function happen(count: number): Promise<void> {
  for (let i = 0; i < count; i++) expect((await ada.call("issueEnrolmentCode", { id: ada.id })).status).toBe(201);
}

async function head(): Promise<number> {
  const { body } = await ada.call("listAudit", { limit: 1 });
  return body.rows[0]?.seq ?? -1;
}

/** The first events of a tail, as they are sent. */
async function events(query: string, count: number, headers: Record<string, string> = {}): Promise<string> {
  const stop = new AbortController();
  const response = await fetch(`${server.url}/api/ledger/audit/tail${query}`, {
    headers: { authorization: `Bearer ${ada.apiKey}`, ...headers },
    signal: stop.signal,
  });
  expect(response.status).toBe(200);
  expect(response.headers.get("content-type")).toBe("text/event-stream");
  expect(response.headers.get("cache-control")).toBe("no-store");
  let text = "";
  for await (const chunk of response.body as unknown as AsyncIterable<Uint8Array>) {
    text += Buffer.from(chunk).toString("utf8");
    if (text.split("event: entry").length > count && text.endsWith("\n\n")) break;
  }
  stop.abort();
  return text;
}

const idsOf = (text: string): number[] => [...text.matchAll(/^id: (\d+)\nevent: entry$/gm)].map(([, id]) => Number(id));

test("entries come as events, each with its number, from where the reader left off", async () => {
  await happen(3);
  const last = await head();
  expect(idsOf(await events(`?after=${last - 3}`, 3))).toEqual([last - 2, last - 1, last]);
  // What a browser sends when it connects again wins over the address it was given first.
  expect(idsOf(await events("?after=0", 2, { "last-event-id": String(last - 2) }))).toEqual([last - 1, last]);
  const text = await events(`?after=${last - 1}`, 1);
  expect(text.startsWith("retry: 2000\n")).toBe(true);
  expect(JSON.parse(/^data: (.*)$/m.exec(text)?.[1] ?? "")).toMatchObject({
    seq: last,
    action: "principal.code_issued",
    actor: { name: "ada" },
    bodyState: "none",
  });
});

test("a reader that waits is told at once, of what it asked for", async () => {
  const client = new Countersign({ url: server.url, key: ada.apiKey });
  const connected = signal();
  const seen: EntryView[] = [];
  const reading = (async () => {
    const follow = client.follow({ action: ["principal.created"] }, { onConnection: () => connected.give() });
    for await (const entry of follow) {
      seen.push(entry);
      if (seen.length === 2) break;
    }
  })();
  await connected.came;
  await happen(2);
  await addAgent(ada, "one");
  await happen(1);
  await addAgent(ada, "two");
  await reading;
  expect(seen.map(({ subject }) => subject.label)).toEqual(["one", "two"]);
});

test("over a restart of the server a reader goes on: no gap, no repeat", async () => {
  const client = new Countersign({
    url: server.url,
    key: ada.apiKey,
    sleep: () => new Promise((go) => setImmediate(go)),
  });
  const first = await head();
  const states: string[] = [];
  const lost = signal();
  const half = signal();
  const seen: number[] = [];
  const reading = (async () => {
    const onConnection = (state: string): void => {
      states.push(state);
      if (state === "lost") lost.give();
    };
    for await (const { seq } of client.follow({ after: first }, { onConnection })) {
      seen.push(seq);
      if (seen.length === 5) half.give();
      if (seen.length === 12) break;
    }
  })();
  await happen(5);
  await half.came;
  const { port } = new URL(server.url);
  const { dataDirectory } = server;
  await server.close(); // does not wait for readers
  await lost.came;
  server = await startTestServer({ database, dataDirectory, port: Number(port) });
  await happen(7);
  await reading;
  expect(seen).toEqual(Array.from({ length: 12 }, (_, i) => first + 1 + i));
  expect(states).toEqual(["connected", "lost", "connected"]);
});

test("a key that is revoked reads nothing of what comes after", async () => {
  const made = await ada.call("mintKey", { principal: ada.id, name: "reader", scopes: ["audit.read"], days: 1 });
  expect(made.status).toBe(201);
  const { key, secret } = made.body;
  const client = new Countersign({ url: server.url, key: secret });
  const connected = signal();
  const seen: string[] = [];
  const reading = (async () => {
    for await (const { action } of client.follow({}, { onConnection: () => connected.give() })) seen.push(action);
  })();
  const ended = expect(reading).rejects.toMatchObject({ code: "key_revoked", status: 401 });
  await connected.came;
  expect((await ada.call("revokeKey", { id: key.id })).status).toBe(200);
  await happen(3);
  await ended;
  expect(seen).toEqual([]);
});

test("what is asked wrongly is refused before the stream begins", async () => {
  const asked = async (input: Record<string, unknown>) => {
    const { status, body } = await ada.call("tailAudit", input as never);
    return [status, (body as { code?: string }).code];
  };
  expect(await asked({ after: 1_000_000 })).toEqual([404, "not_found"]);
  expect(await asked({ actor: "nobody" })).toEqual([404, "not_found"]);
  expect(await asked({ changeSet: "CS-2020-0101-001" })).toEqual([404, "not_found"]);
  expect(await asked({ after: "-2" })).toEqual([422, "invalid_request"]);
  expect(await asked({ after: "1e400" })).toEqual([422, "invalid_request"]);
  expect(await asked({ since: "yesterday" })).toEqual([422, "invalid_request"]);
  const hostile = await call(
    server.url,
    "tailAudit",
    {},
    { apiKey: ada.apiKey, headers: { "last-event-id": "9".repeat(400) } },
  );
  expect(hostile.status).toBe(422);
  expect((await call(server.url, "tailAudit", {})).status).toBe(401);
});

test("readers that do not read cost the server nothing, and the others nothing", async () => {
  const { hostname, port } = new URL(server.url);
  const sockets = await Promise.all(
    Array.from({ length: 20 }, async () => {
      const socket = connect(Number(port), hostname);
      await once(socket, "connect");
      socket.pause();
      socket.write(
        `GET /api/ledger/audit/tail?after=-1 HTTP/1.1\r\nHost: ${hostname}:${port}\r\nAuthorization: Bearer ${ada.apiKey}\r\n\r\n`,
      );
      return socket;
    }),
  );
  const first = await head();
  const client = new Countersign({ url: server.url, key: ada.apiKey });
  const seen: number[] = [];
  const reading = (async () => {
    for await (const { seq } of client.follow({ after: first })) if (seen.push(seq) === 4) break;
  })();
  await happen(4);
  await reading;
  expect(seen).toEqual([1, 2, 3, 4].map((i) => first + i));
  for (const socket of sockets) socket.destroy();
});

// ── The follower itself ──────────────────────────────────────────────────────────────────────────────────────────────

/** A ledger in memory that counts who asks. */
function source(count: number) {
  const entries: Followed[] = [];
  const asked = { reads: 0, heads: 0, atOnce: 0, most: 0 };
  const listeners = new Set<(of: TenantId) => void>();
  const tenant = asTenantId(newId());
  const add = (many: number): void => {
    for (let i = 0; i < many; i++)
      entries.push({ seq: entries.length, actorId: "a", action: "b", subjectId: "c", text: "x".repeat(10_000) });
    for (const listener of listeners) listener(tenant);
  };
  add(count);
  return {
    tenant,
    add,
    asked,
    options: {
      head: async () => {
        asked.heads += 1;
        return entries.length - 1;
      },
      read: async (_: TenantId, after: number, limit: number) => {
        asked.reads += 1;
        asked.most = Math.max(asked.most, ++asked.atOnce);
        await new Promise((go) => setImmediate(go));
        asked.atOnce -= 1;
        return entries.slice(after + 1, after + 1 + limit);
      },
      onCommitted: (listener: (of: TenantId) => void) => {
        listeners.add(listener);
        return () => void listeners.delete(listener);
      },
      lookMs: 60_000,
    },
  };
}

async function take(turns: AsyncIterator<TailTurn>, until: number): Promise<number[]> {
  const seqs: number[] = [];
  for (;;) {
    const { done, value } = await turns.next();
    if (done === true || value.kind !== "entries") return seqs;
    seqs.push(...value.entries.map(({ seq }) => seq));
    if (value.upTo >= until) return seqs;
  }
}

test("a hundred readers ask the database once, and those far behind a few at a time", async () => {
  const { tenant, add, asked, options } = source(2_000);
  const tails = openTails(options);
  const fresh = Array.from({ length: 100 }, () => tails.follow(tenant));
  for (const turns of fresh) expect(await turns.next()).toMatchObject({ value: { entries: [], upTo: 1_999 } });
  const before = asked.reads;
  add(50);
  const all = await Promise.all(fresh.map((turns) => take(turns, 2_049)));
  for (const seqs of all) expect(seqs).toEqual(Array.from({ length: 50 }, (_, i) => 2_000 + i));
  expect(asked.reads - before).toBeLessThanOrEqual(2);

  asked.most = 0;
  const late = Array.from({ length: 20 }, () => tails.follow(tenant, -1));
  const told = await Promise.all(late.map((turns) => take(turns, 2_049)));
  for (const seqs of told) expect(seqs).toEqual(Array.from({ length: 2_050 }, (_, i) => i));
  expect(asked.most).toBeLessThanOrEqual(5); // four of them, and the look for all

  expect(tails.readers).toBe(120);
  for (const turns of [...fresh, ...late]) await turns.return?.();
  expect(tails.readers).toBe(0);
  tails.close();
});

test("a reader that left is gone at once, one too many is refused, a stop ends them all", async () => {
  const { tenant, options } = source(3);
  const tails = openTails({ ...options, readersMax: 2 });
  const [one, two] = [tails.follow(tenant), tails.follow(tenant)];
  await Promise.all([one.next(), two.next()]);
  await expect(tails.follow(tenant).next()).rejects.toSatisfy(
    (error: Error & { refusal?: { code: string } }) => error.refusal?.code === "overloaded",
  );
  const waiting = one.next();
  await one.return?.();
  await waiting;
  expect(tails.readers).toBe(1);
  const last = two.next();
  tails.close();
  expect(await last).toEqual({ done: false, value: { kind: "stopped" } });
  expect(await two.next()).toMatchObject({ done: true });
});

test("a database that is away is waited for", async () => {
  const { tenant, add, options } = source(1);
  let away = false;
  const tails = openTails({
    ...options,
    lookMs: 1,
    read: (of, after, limit) => (away ? Promise.reject(new Error("away")) : options.read(of, after, limit)),
  });
  const turns = tails.follow(tenant);
  await turns.next();
  away = true;
  add(2);
  const seen = take(turns, 2);
  await new Promise((go) => setImmediate(go));
  away = false;
  expect(await seen).toEqual([1, 2]);
  await turns.return?.();
  tails.close();
});
