/** Receipts, exports and the policy to judge them by, as a person takes them from a real server. */
import { createHash } from "node:crypto";
import type { EntryView } from "@countersign/contract";
import {
  type BundleHeader,
  exitCodeOf,
  leafHashOf,
  parsePolicy,
  parseTlogProof,
  readBundle,
  verifyBundle,
  verifyTlogProof,
} from "@countersign/proof";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { commit, committed, entry } from "../support/ledger.js";
import { withClient } from "../support/postgres.js";
import { addAgent, addHuman, call, type Person, startTestServer, type TestServer } from "../support/server.js";

let server: TestServer;
let ada: Person;
beforeAll(async () => {
  server = await startTestServer({ mode: "team" });
  ada = await server.firstPerson();
  await addAgent(ada, "bot");
  await addHuman(ada, "bob");
}, 60_000);
afterAll(() => server.close());

async function exported(asked: Record<string, unknown> = {}): Promise<string> {
  const query = new URLSearchParams(
    Object.entries(asked).map(([name, value]): [string, string] => [name, String(value)]),
  ).toString();
  const response = await fetch(`${server.url}/api/ledger/audit/export?${query}`, {
    headers: { authorization: `Bearer ${ada.apiKey}` },
  });
  const text = await response.text();
  if (!response.ok) throw new Error(text);
  return text;
}

const headerOf = (bundle: string): BundleHeader => JSON.parse(bundle.slice(0, bundle.indexOf("\n"))) as BundleHeader;
const entriesOf = (bundle: string): { seq: number; proof?: string[] }[] =>
  bundle
    .split("\n")
    .filter((line) => /^\{"(body|content)":/.test(line))
    .map((line) => JSON.parse(line) as { seq: number });

/** The server's log key, pinned as an auditor would after a phone call. */
async function policyOf(quorum = "quorum none"): Promise<string> {
  const { body } = await ada.call("getAuditPolicy", {});
  return `log ${body.keys[0]?.vkey}\n${quorum}\n`;
}

async function verified(bundle: string) {
  const parsed = parsePolicy(await policyOf());
  if (!parsed.ok) throw new Error("no policy");
  const trust = { policy: parsed.policy, policySource: "test", keyStatements: [], anchors: [] };
  return verifyBundle([Buffer.from(bundle)], { trust } as never);
}

describe("receipts", () => {
  test("an entry is shown to be in the ledger, by its number and by its id", async () => {
    const { body: log } = await ada.call("listAudit", { limit: 3 });
    for (const entry of log.rows) {
      const byNumber = await ada.call("proveEntry", { entry: String(entry.seq), content: "true" });
      expect(byNumber.status).toBe(200);
      const parsed = parseTlogProof(byNumber.body.proof);
      if (!parsed.ok) throw new Error(parsed.problem);
      expect(parsed.proof.index).toBe(entry.seq);
      const leaf = leafHashOf(parsed.proof.extra as Uint8Array) as Uint8Array;
      expect(Buffer.from(leaf).toString("hex")).toBe(entry.hash);
      expect(verifyTlogProof(parsed.proof, leaf)).toBe(true);
      expect(verifyTlogProof(parsed.proof, leafHashOf(Buffer.from("another")) as Uint8Array)).toBe(false);
      const digest = createHash("sha256")
        .update(byNumber.body.content ?? "")
        .digest("hex");
      expect(byNumber.body.link.trimEnd().endsWith(digest)).toBe(true);
      const byId = await ada.call("proveEntry", { entry: entry.entryId });
      expect(byId.body).toMatchObject({ seq: entry.seq, content: null });
    }
  });

  test("one that was just written waits for its checkpoint", async () => {
    const made = await ada.call("issueEnrolmentCode", { id: ada.id });
    const [receipt] = made.body.receipts;
    const { status, body } = await ada.call("proveEntry", { entry: String(receipt?.seq) });
    expect(status).toBe(200);
    expect(body.size).toBeGreaterThan(receipt?.seq ?? Infinity);
  });

  test.each([
    ["999999"],
    ["00000000-0000-7000-8000-000000000000"],
    ["-1"],
    ["1e3"],
    ["0x10"],
    ["../../etc"],
    ["99999999999999999999"],
  ])("there is no entry %s", async (entry) => {
    expect(await ada.call("proveEntry", { entry })).toMatchObject({ status: 404, body: { code: "not_found" } });
  });

  test("whoever may not read the ledger gets none", async () => {
    expect((await call(server.url, "proveEntry", { entry: "0" })).status).toBe(401);
  });
});

describe("exports", () => {
  test("a range verifies, and its completeness is tied to the log's key", async () => {
    const bundle = await exported();
    const head = headerOf(bundle);
    expect(head).toMatchObject({ selection: "range", from: 0, deployment: expect.stringMatching(/^countersign-/) });
    expect(head.about).toBeUndefined();
    const result = await verified(bundle);
    expect(result).toMatchObject({ integrity: "ok", findings: [], entries: head.to + 1 });
    expect(exitCodeOf(result)).toBe(0);
    for await (const part of readBundle([Buffer.from(bundle)])) {
      if (part.kind !== "proofs") continue;
      expect(part.proofs.keyStatements?.length).toBe(1);
      expect(part.proofs.checkpoints?.length).toBeGreaterThan(0);
    }
  });

  test("every part of it verifies: with its left edge and what lies behind", async () => {
    const { to } = headerOf(await exported());
    for (const [from, end] of [
      [0, 0],
      [0, to],
      [1, 1],
      [3, to - 1],
      [to, to],
      [5, to],
    ]) {
      const bundle = await exported({ from, to: end });
      expect(headerOf(bundle)).toMatchObject({ from, to: end, head: { seq: to } });
      expect(await verified(bundle)).toMatchObject({
        integrity: "ok",
        entries: (end as number) - (from as number) + 1,
      });
    }
  });

  test("a range by time is the entries of that time, all of them", async () => {
    const { body } = await ada.call("listAudit", { order: "asc", limit: 200 });
    const [second, fifth] = [body.rows[2], body.rows[5]] as [EntryView, EntryView];
    const bundle = await exported({ since: second.at, until: fifth.at });
    const expected = body.rows.filter(({ at }) => at >= second.at && at < fifth.at).map(({ seq }) => seq);
    expect(entriesOf(bundle).map(({ seq }) => seq)).toEqual(expected);
    expect(headerOf(bundle).about).toEqual({ since: second.at, until: fifth.at });
    expect(await verified(bundle)).toMatchObject({ integrity: "ok" });
  });

  test("a selection is all that one did, each with its proof", async () => {
    const { body } = await ada.call("listAudit", { actor: "bob", order: "asc", limit: 200 });
    const bundle = await exported({ actor: "bob" });
    const entries = entriesOf(bundle);
    expect(entries.map(({ seq }) => seq)).toEqual(body.rows.map(({ seq }) => seq));
    expect(entries.every(({ proof }) => Array.isArray(proof))).toBe(true);
    expect(headerOf(bundle)).toMatchObject({ selection: "entries", about: { actor: body.rows[0]?.actor.id } });
    expect(await verified(bundle)).toMatchObject({ integrity: "ok", entries: body.rows.length });
  });

  test("a flipped character is found, wherever it is", async () => {
    const bundle = await exported({ from: 2, to: 6 });
    let seen = 0;
    for (let at = 20; at < bundle.length; at += 97) {
      const other = bundle[at] === "0" ? "1" : "0";
      if (bundle[at] === "\n") continue;
      const result = await verified(`${bundle.slice(0, at)}${other}${bundle.slice(at + 1)}`);
      expect([1, 2, 3, 4], `at ${at}: ${bundle.slice(at - 20, at + 20)}`).toContain(exitCodeOf(result));
      seen += 1;
    }
    expect(seen).toBeGreaterThan(30);
  });

  test("lines for people: the same entries, in order, with names", async () => {
    const lines = (await exported({ format: "jsonl" })).trimEnd().split("\n");
    const views = lines.map((line) => JSON.parse(line) as EntryView);
    expect(views.map(({ seq }) => seq)).toEqual(views.map((_, index) => index));
    expect(views.some(({ actor, action }) => actor.name === "ada" && action === "principal.created")).toBe(true);
    const some = (await exported({ format: "jsonl", from: 2, to: 4, bodies: false })).trimEnd().split("\n");
    expect(some.map((line) => (JSON.parse(line) as EntryView).seq)).toEqual([2, 3, 4]);
  });

  test("a wrong tile in the database makes no wrong proof", async () => {
    const entries = Array.from({ length: 600 }, (_, n) => entry({ data: { n } }));
    for (let at = 0; at < entries.length; at += 100)
      await committed(commit(server.ledger, server.tenant, { entries: entries.slice(at, at + 100) }));
    await server.publishing.publish(server.tenant);
    await withClient(server.database.superuser, async (client) => {
      await client.query("set session_replication_role = replica");
      const { rowCount } = await client.query(
        "update countersign.tiles set hashes = decode(repeat('00', 8192), 'hex') where tenant_id = $1",
        [server.tenant],
      );
      expect(rowCount).toBeGreaterThan(1);
    });
    for (const asked of [{ actor: "ada" }, { from: 300, to: 500 }, { from: 0, to: 5 }, { from: 512 }])
      expect(await verified(await exported(asked)), JSON.stringify(asked)).toMatchObject({
        integrity: "ok",
        findings: [],
      });
  });

  test("without the publisher it is exported all the same, and says so", async () => {
    await server.publishing.stop();
    await ada.call("issueEnrolmentCode", { id: ada.id });
    const bundle = await exported();
    expect(headerOf(bundle).about).toEqual({ unproven: expect.stringMatching(/^(publishing_stopped|not_published)$/) });
    expect(await verified(bundle)).toMatchObject({ integrity: "ok" });
    const selection = await exported({ actor: "ada" });
    expect(await verified(selection)).toMatchObject({ integrity: "ok" });
    const { body } = await ada.call("listAudit", { limit: 1 });
    expect(await ada.call("proveEntry", { entry: String(body.rows[0]?.seq) })).toMatchObject({
      body: { code: expect.stringMatching(/^(publishing_stopped|not_published)$/) },
    });
  });

  const wrong: readonly [Record<string, unknown>, string][] = [
    [{ from: 5, to: 2 }, "not_found"],
    [{ to: 1_000_000 }, "not_found"],
    [{ from: 0, since: "2026-01-01T00:00:00Z" }, "invalid_request"],
    [{ actor: "nobody" }, "not_found"],
    [{ changeSet: "CS-2020-0101-001" }, "not_found"],
    [{ changeSet: "CS-2020-0101-001", subject: "x" }, "invalid_request"],
    [{ format: "exe" }, "invalid_request"],
    [{ from: "-1" }, "invalid_request"],
    [{ bodies: "perhaps" }, "invalid_request"],
  ];
  test.each(wrong)("%j is refused with %s", async (asked, code) => {
    await expect(exported(asked)).rejects.toThrow(code);
  });
});

test("the policy is a policy, warns, and names the key by its fingerprint", async () => {
  const { status, body } = await ada.call("getAuditPolicy", {});
  expect(status).toBe(200);
  const parsed = parsePolicy(body.policy);
  if (!parsed.ok) throw new Error(JSON.stringify(parsed.problems));
  expect(parsed.policy).toMatchObject({ quorum: null, logs: [{ key: { name: body.deployment, type: 1 } }] });
  expect(body.policy).toContain("# WARNING");
  const { fingerprint = "" } = body.keys[0] ?? {};
  expect(body.policy.replaceAll(" ", "")).toContain(fingerprint);
  const key = Buffer.from(parsed.policy.logs[0]?.key.publicKey ?? "", "base64url");
  expect(createHash("sha256").update(key).digest("hex")).toBe(fingerprint);
});
