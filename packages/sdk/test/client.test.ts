import { describe, expect, expectTypeOf, test } from "vitest";
import type { ChangeSetAnswer, EntryView } from "@countersign/contract";
import { Countersign, CountersignError, isCountersignError } from "../src/index.js";
import { retryDelayMs } from "../src/retry.js";
import { problem, serve } from "./support.js";

const rejection = async (promise: Promise<unknown>): Promise<CountersignError> => {
  const outcome = await promise.then(
    () => undefined,
    (error: unknown) => error,
  );
  if (!(outcome instanceof CountersignError)) throw new Error(`expected a CountersignError, got ${String(outcome)}`);
  return outcome;
};

/** A client that does not wait but says how long it would have. */
function impatient(
  url: string,
  more: { retries?: number; timeoutMs?: number } = {},
): { client: Countersign; waits: number[] } {
  const waits: number[] = [];
  const client = new Countersign({
    url,
    key: "csk_test",
    sleep: async (ms) => void waits.push(ms),
    random: () => 1,
    ...more,
  });
  return { client, waits };
}

describe("types follow the contract", () => {
  const client = new Countersign();
  test("inputs, answers, streams", () => {
    expectTypeOf(client.createChangeSet).returns.toEqualTypeOf<Promise<ChangeSetAnswer>>();
    expectTypeOf<ReturnType<Countersign["exportAudit"]>>().toEqualTypeOf<AsyncIterable<string>>();
    const good = (): unknown[] => [
      client.whoAmI(),
      client.listPendingApprovals({ mine: true, limit: 5 }),
      client.listChangeSets({ status: ["DRAFT"] }),
      client.createChangeSet({
        title: "t",
        items: [{ operation: "DELETE", target: { kind: "resource", type: "CONFIG", id: "a" } }],
      }),
    ];
    const bad = (): unknown[] => [
      // @ts-expect-error a change-set has items
      client.createChangeSet({ title: "t" }),
      // @ts-expect-error no such status
      client.listChangeSets({ status: ["GONE"] }),
      // @ts-expect-error the id is needed
      client.getChangeSet(),
      // @ts-expect-error no such operation
      client.deleteLedger(),
    ];
    expect([good, bad]).toHaveLength(2);
  });
  test("rows of lists", () => {
    expectTypeOf(client.all("listAudit", {})).toEqualTypeOf<AsyncGenerator<EntryView, void, undefined>>();
  });
});

describe("requests", () => {
  test("carry the key, and an idempotency key of their own", async () => {
    const { url, asked } = await serve({ body: { changeSet: { id: "x" }, receipts: [] } });
    const { client } = impatient(`${url}/`);
    await client.submitChangeSet({ id: "CS-2026-1120-001" });
    await client.submitChangeSet({ id: "CS-2026-1120-001" });
    await client.submitChangeSet({ id: "CS-2026-1120-001" }, { idempotencyKey: "mine" });
    const keys = asked.map((request) => request.headers["idempotency-key"]);
    expect(keys[0]).toMatch(/^[0-9a-f-]{36}$/);
    expect(keys[1]).not.toBe(keys[0]);
    expect(keys[2]).toBe("mine");
    expect(asked[0]).toMatchObject({
      method: "POST",
      path: "/api/ledger/changesets/CS-2026-1120-001/submit",
      body: "{}",
    });
    expect(asked[0]?.headers.authorization).toBe("Bearer csk_test");
  });

  test("propose creates and submits, both repeatable with one key", async () => {
    const { url, asked } = await serve(
      { status: 201, body: { changeSet: { id: "c1" }, receipts: [] } },
      { body: { changeSet: { id: "c1", status: "PENDING_APPROVAL" }, receipts: [] } },
    );
    const { client } = impatient(url);
    const set = await client.propose(
      { title: "t", items: [{ operation: "DELETE", target: { kind: "resource", type: "CONFIG", id: "a" } }] },
      { idempotencyKey: "k" },
    );
    expect(set.status).toBe("PENDING_APPROVAL");
    expect(asked.map((r) => [r.path, r.headers["idempotency-key"]])).toEqual([
      ["/api/ledger/changesets", "k"],
      ["/api/ledger/changesets/c1/submit", "k:submit"],
    ]);
  });

  test("apply repeated while it runs waits for the run that is under way", async () => {
    const run = { id: "a1", changeSetId: "c1", status: "RUNNING" };
    const { url, asked } = await serve(
      { hangUp: true },
      { status: 202, body: { changeSet: {}, application: run, receipts: [{ seq: 7 }] } },
      { body: run },
      { body: { ...run, status: "SUCCEEDED" } },
      { body: { id: "c1", status: "APPLIED" } },
    );
    const { client, waits } = impatient(url);
    const answer = await client.applyChangeSet({ id: "c1" });
    expect(answer).toMatchObject({
      application: { id: "a1", status: "SUCCEEDED" },
      changeSet: { status: "APPLIED" },
      receipts: [{ seq: 7 }],
    });
    expect(asked.map((request) => request.path)).toEqual([
      "/api/ledger/changesets/c1/apply",
      "/api/ledger/changesets/c1/apply",
      "/api/ledger/applications/a1",
      "/api/ledger/applications/a1",
      "/api/ledger/changesets/c1",
    ]);
    expect(waits).toEqual([200, 250, 375]);
  });

  test("a job that was begun is the answer, not a run to wait for", async () => {
    const verification = { id: "v1", kind: "requested", state: "queued" };
    const { url, asked } = await serve({ status: 202, body: { kind: "job", verification } });
    const answer = await impatient(url).client.verifyChain({ full: "true" });
    expect(answer).toMatchObject({ kind: "job", verification: { id: "v1" } });
    expect(asked).toHaveLength(1);
  });

  test("lists are read page after page", async () => {
    const { url, asked } = await serve(
      { body: { rows: [{ seq: 3 }, { seq: 2 }], nextCursor: "n" } },
      { body: { rows: [{ seq: 1 }], nextCursor: null } },
    );
    const { client } = impatient(url);
    const seqs: number[] = [];
    for await (const entry of client.all("listAudit", { limit: 2 })) seqs.push(entry.seq);
    expect(seqs).toEqual([3, 2, 1]);
    expect(asked.map((r) => r.path)).toEqual([
      "/api/ledger/audit/changes?limit=2",
      "/api/ledger/audit/changes?limit=2&cursor=n",
    ]);
  });

  test("a stream gives whole lines, whatever pieces they come in", async () => {
    // "é" in two pieces: c3 a9.
    const { url } = await serve({
      headers: { "content-type": "application/jsonl" },
      pieces: ['{"a":', '"\u00c3', '\u00a9"}\n{"b":2}', "\nlast"],
    });
    const lines: string[] = [];
    for await (const line of impatient(url).client.exportAudit()) lines.push(line);
    expect(lines).toEqual(['{"a":"é"}', '{"b":2}', "last"]);
  });

  test("a stream that breaks off is an error, not an end", async () => {
    const { url } = await serve({ pieces: ["one\ntw", null] });
    const lines: string[] = [];
    const error = await rejection(
      (async () => {
        for await (const line of impatient(url).client.exportAudit()) lines.push(line);
      })(),
    );
    expect(lines).toEqual(["one"]);
    expect(error.detail).toContain("broke off");
  });
});

describe("errors", () => {
  test("show code, detail, every problem and what is legal", async () => {
    const problems = [
      { code: "item_invalid", message: "`patch` is missing", pointer: "/items/0" },
      { code: "no_effect", message: "it changes nothing", pointer: "/items/1" },
    ];
    const { url } = await serve(
      problem("item_invalid", 422, { problems, legal: ["revise", "cancel"], changeSet: "CS-1", instance: "req-1" }),
    );
    const error = await rejection(impatient(url).client.submitChangeSet({ id: "x" }));
    expect(error).toMatchObject({
      code: "item_invalid",
      status: 422,
      legal: ["revise", "cancel"],
      requestId: "req-1",
      details: { changeSet: "CS-1" },
      operation: "submitChangeSet",
    });
    expect(error.message).toBe(
      "item_invalid: about `item_invalid`\n  /items/0 item_invalid: `patch` is missing\n  /items/1 no_effect: it changes nothing\n  legal now: revise, cancel",
    );
    expect(isCountersignError(error, "item_invalid")).toBe(true);
    expect(isCountersignError(error, "no_effect")).toBe(false);
  });

  test.each([
    ["not a problem document", { status: 500, body: "<html>" }, "malformed_answer"],
    ["a code nobody knows", { status: 400, body: { code: "hasOwnProperty" } }, "malformed_answer"],
    ["an empty 200", { status: 200, body: "" }, "malformed_answer"],
    ["a proxy's 502", { status: 502, body: "bad gateway" }, "unreachable"],
    ["hung up", { hangUp: true as const }, "unreachable"],
  ])("%s", async (_name, answer, code) => {
    const { url } = await serve(answer);
    expect((await rejection(impatient(url, { retries: 0 }).client.whoAmI())).code).toBe(code);
  });

  test("no server", async () => {
    const error = await rejection(impatient("http://127.0.0.1:1", { retries: 0 }).client.whoAmI());
    expect(error.message).toMatch(/^unreachable: no Countersign server answers at `http:\/\/127\.0\.0\.1:1` \(/);
  });

  test("no answer in time, and the caller's own signal", async () => {
    const { url } = await serve({ silent: true });
    const client = new Countersign({ url, retries: 0, timeoutMs: 5 });
    expect((await rejection(client.whoAmI())).code).toBe("timed_out");
    expect((await rejection(client.whoAmI({}, { signal: AbortSignal.abort(), timeoutMs: 60_000 }))).code).toBe(
      "aborted",
    );
  });

  test.each(["ftp://x", "nonsense"])("address %s is refused", (url) => {
    expect(() => new Countersign({ url })).toThrow();
  });
});

describe("retries", () => {
  test("with the same idempotency key until it works", async () => {
    const { url, asked } = await serve(
      { hangUp: true },
      problem("overloaded", 503, { retryAfterSeconds: 2 }),
      problem("idempotency_in_flight", 409),
      { body: { changeSet: {}, receipts: [] } },
    );
    const { client, waits } = impatient(url);
    await client.submitChangeSet({ id: "x" });
    expect(new Set(asked.map((r) => r.headers["idempotency-key"])).size).toBe(1);
    expect(asked).toHaveLength(4);
    expect(waits).toEqual([200, 2_000, 800]);
  });

  test("Retry-After of the header counts", async () => {
    const { url } = await serve({ ...problem("rate_limited", 429), headers: { "retry-after": "3" } }, { body: {} });
    const { client, waits } = impatient(url);
    await client.whoAmI();
    expect(waits).toEqual([3_000]);
  });

  test("not beyond their number", async () => {
    const { url, asked } = await serve(problem("database_unavailable", 503));
    expect((await rejection(impatient(url, { retries: 2 }).client.whoAmI())).code).toBe("database_unavailable");
    expect(asked).toHaveLength(3);
  });

  test("never what may not be repeated", async () => {
    const { url, asked } = await serve({ hangUp: true });
    await rejection(impatient(url).client.enrol({ code: "c", publicKey: "p", signature: "s" }));
    expect(asked).toHaveLength(1);
  });

  const make = (code: string, status: number, retryAfterSeconds?: number): CountersignError =>
    new CountersignError({
      code: code as CountersignError["code"],
      status,
      title: "",
      detail: "",
      operation: "x",
      ...(retryAfterSeconds === undefined ? {} : { retryAfterSeconds }),
    });
  test.each([
    ["first", make("overloaded", 503), 0, 1, 200],
    ["half of it is chance", make("overloaded", 503), 0, 0, 100],
    ["grows", make("unreachable", 0), 3, 1, 1_600],
    ["to a limit", make("timed_out", 0), 20, 1, 5_000],
    ["the server's wish", make("rate_limited", 429, 7), 0, 1, 7_000],
    ["a wish too long", make("rate_limited", 429, 61), 0, 1, undefined],
    ["a refusal stays a refusal", make("policy_denied", 403), 0, 1, undefined],
    ["frozen has a time but is no passing fault", make("frozen", 409, 5), 0, 1, undefined],
    ["kill-switch", make("kill_switch_engaged", 423, 5), 0, 1, undefined],
    ["aborted", make("aborted", 0), 0, 1, undefined],
    ["another error", new Error("x"), 0, 1, undefined],
  ])("delay: %s", (_name, error, attempt, random, expected) => {
    expect(retryDelayMs(error, attempt, () => random)).toBe(expected);
  });
});

describe("waitFor", () => {
  const status = (value: string, statusReason: string | null = null) => ({
    body: { number: "CS-1", status: value, statusReason },
  });
  test("looks until it comes, more and more rarely", async () => {
    const { url } = await serve(
      status("PENDING_APPROVAL"),
      status("PENDING_APPROVAL"),
      status("APPROVED"),
      status("APPLIED"),
    );
    const { client, waits } = impatient(url);
    const seen: string[] = [];
    expect((await client.waitFor("x", ["APPLIED"], { onStatus: (s) => seen.push(s) })).status).toBe("APPLIED");
    expect(waits).toEqual([500, 750, 1_125]);
    expect(seen).toEqual(["PENDING_APPROVAL", "APPROVED", "APPLIED"]);
  });
  test("gives up where it cannot come any more", async () => {
    const { url } = await serve(status("REJECTED", "expired"));
    const error = await rejection(impatient(url).client.waitFor("x", ["APPLIED"]));
    expect(error.message).toBe(
      "settled_otherwise: change-set `CS-1` is REJECTED (expired); it will not become APPLIED",
    );
  });
  test("gives up in time", async () => {
    const { url } = await serve(status("PENDING_APPROVAL"));
    expect((await rejection(impatient(url).client.waitFor("x", ["APPLIED"], { timeoutMs: 1_000 }))).code).toBe(
      "timed_out",
    );
  });
});
