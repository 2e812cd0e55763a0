/** The report of an audit: told by entries, proven as it is shown, complete about what it was asked. */
import type { ReportChangeSet, ReportHeader, ReportLine, ReportSummary } from "@countersign/contract";
import { writeFileSync } from "node:fs";
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { reportAudit } from "../../src/audit/entries.js";
import { checkPeriod, quarterOf, report } from "../../src/audit/report.js";
import { openTails } from "../../src/followers/index.js";
import { Machine } from "../support/cli.js";
import { createDatabase, type TestDatabase, withClient } from "../support/postgres.js";
import { createWorld, file, must, resource, type World } from "../support/world.js";

let database: TestDatabase;
let world: World;
const numbers: Record<string, string> = {};

interface Report {
  readonly head: ReportHeader;
  readonly sets: readonly ReportChangeSet[];
  readonly events: readonly { readonly action: string; readonly reason: string | null }[];
  readonly end: ReportSummary;
}

async function reported(asked: Record<string, unknown> = {}): Promise<Report> {
  const tails = openTails({
    head: async () => -1,
    read: async () => [],
    onCommitted: () => () => undefined,
  });
  const publishing = { latest: async () => undefined };
  const { ledger, changeSets } = world;
  const desk = { ledger, verification: ledger, changeSets, tails, publishing, now: Date.now };
  const lines: ReportLine[] = [];
  const caller = await world.caller(world.people.alice.id);
  for await (const line of reportAudit(desk, caller, { verify: "none", ...asked } as never))
    lines.push(JSON.parse(line) as ReportLine);
  tails.close();
  const [head, end] = [lines[0], lines.at(-1)];
  if (head?.kind !== "report" || end?.kind !== "summary") throw new Error("not a whole report");
  return {
    head,
    sets: lines.filter((line) => line.kind === "changeSet"),
    events: lines.flatMap((line) =>
      line.kind === "event" ? [{ action: line.entry.action, reason: line.reason }] : [],
    ),
    end,
  };
}

const one = (report: Report, name: string): ReportChangeSet =>
  report.sets.find(({ number }) => number === numbers[name]) as ReportChangeSet;

/** The superuser does what no program of ours may. */
async function tampering(sql: string, ...values: unknown[]): Promise<void> {
  await withClient(database.superuser, async (client) => {
    await client.query("set session_replication_role = replica");
    await client.query(sql, values);
  });
}

beforeAll(async () => {
  database = await createDatabase();
  world = await createWorld({ storage: database.storage });
  for (const name of ["a.txt", "b.txt"]) writeFileSync(join(world.root, name), "eins\n");
  const { builder, people, changeSets } = world;
  const caller = await world.caller(builder);
  const alice = await world.caller(people.alice.id);
  const edit = (path: string, text: string) => ({
    operation: "UPDATE" as const,
    target: file(path),
    content: { text },
  });

  const applied = await world.approved(builder, {
    title: "=1+1 über",
    items: [edit("a.txt", "zwei\n"), edit("b.txt", "zwei\n")],
  });
  must(await changeSets.apply(caller, { id: applied.changeSet.id }, world.request()));
  numbers["applied"] = applied.changeSet.number;

  const undone = await world.approved(builder, { title: "undone", items: [edit("a.txt", "drei\n")] });
  must(await changeSets.apply(caller, { id: undone.changeSet.id }, world.request()));
  must(
    await changeSets.rollBack(
      alice,
      { id: undone.changeSet.id, cascade: false, reason: "it was wrong" },
      world.request(),
    ),
  );
  numbers["undone"] = undone.changeSet.number;

  const drafted = await world.propose(builder, { title: "still open", items: [edit("b.txt", "offen\n")] });
  numbers["open"] = drafted.changeSet.number;

  const refused = await world.propose(builder, { title: "rejected", items: [edit("a.txt", "nein\n")] });
  must(await changeSets.submit(caller, { id: refused.changeSet.id }, world.request()));
  must(await world.vote(people.bob, refused.changeSet.id, "REJECTED", "not like this"));
  numbers["rejected"] = refused.changeSet.number;

  const other = await world.approved(builder, {
    title: "elsewhere",
    items: [{ operation: "CREATE", target: resource("shop/checkout"), after: { on: true } }],
  });
  must(await changeSets.apply(caller, { id: other.changeSet.id }, world.request()));
  numbers["elsewhere"] = other.changeSet.number;

  // Drift: the file is not what the plan was made for; the apply is refused and nothing is changed.
  const drifted = await world.approved(builder, { title: "drifted", items: [edit("b.txt", "vier\n")] });
  writeFileSync(join(world.root, "b.txt"), "somebody else\n");
  const answer = await changeSets.apply(caller, { id: drifted.changeSet.id }, world.request());
  expect(answer).toMatchObject({ code: "drift" });
  world.ledger.recordRefusal(world.tenant, {
    actor: caller.actor,
    code: "drift",
    subject: { type: "change_set", id: drifted.changeSet.id },
  });
  numbers["drifted"] = drifted.changeSet.number;
  while ((await reported()).end.counts.refusals === 0) await new Promise((go) => setImmediate(go)); // nobody waits for its entry
}, 60_000);
afterAll(() => world.close());

test("all of it: each change-set with its people, its proofs and its outcome", async () => {
  const report = await reported({ verify: "ledger" });
  expect(report.sets.map(({ number }) => number)).toEqual(
    ["applied", "undone", "open", "rejected", "elsewhere", "drifted"].map((name) => numbers[name]),
  );
  expect(one(report, "applied")).toMatchObject({
    title: "=1+1 über",
    author: { name: "builder" },
    humans: [{ name: "alice" }],
    policy: "allow",
    targets: [
      { operation: "UPDATE", target: "FILE shop:a.txt" },
      { operation: "UPDATE", target: "FILE shop:b.txt" },
    ],
    votes: [
      { voter: { name: "bob" }, decision: "APPROVED", signature: "verified", binding: true, selfApproved: false },
    ],
    approved: { automatic: false },
    runs: [{ kind: "APPLY", outcome: "succeeded", attempt: 1 }],
    applied: { by: { name: "builder" } },
    rolledBack: null,
    status: "APPLIED",
    statusNow: "APPLIED",
    missing: [],
  });
  expect(one(report, "applied").votes[0]?.fingerprint).toMatch(/^[0-9a-f]{64}$/);
  expect(one(report, "undone")).toMatchObject({
    rolledBack: { by: { name: "alice" }, reason: "it was wrong" },
    runs: [
      { kind: "APPLY", outcome: "succeeded" },
      { kind: "ROLLBACK", outcome: "succeeded", as: "author_human", reason: "it was wrong" },
    ],
    status: "ROLLED_BACK",
  });
  expect(one(report, "rejected")).toMatchObject({
    votes: [{ voter: { name: "bob" }, decision: "REJECTED", reason: "not like this", signature: "verified" }],
    status: "REJECTED",
    approved: null,
  });
  expect(one(report, "open").missing).toMatchObject([{ kind: "still_open" }]);
  expect(one(report, "drifted")).toMatchObject({ refusals: [{ code: "drift", count: 1, by: { name: "builder" } }] });
  expect(report.end).toMatchObject({
    counts: { changeSets: 6, applied: 3, rolledBack: 1, rejected: 1, refusals: 1, open: 2, forgedVotes: 0 },
    missing: [],
    verdict: { integrity: "ok", findings: [] },
  });
});

describe("what it is about", () => {
  const asked: readonly [target: string, names: readonly string[], keys: number][] = [
    ["file:shop:a.txt", ["applied", "undone", "rejected"], 1],
    ["file:*:*.txt", ["applied", "undone", "open", "rejected", "drifted"], 2],
    ["file:SHOP:A.TXT", ["applied", "undone", "rejected"], 1], // some file systems do not tell them apart
    ["file:other:**", [], 0],
    ["resource:*:CONFIG:shop/checkout", ["elsewhere"], 1],
    ["resource:production:CONFIG:shop/checkout", [], 0],
    ["resource:*:*:**", ["elsewhere"], 1],
  ];
  test.each(asked)("%s", async (target, names, keys) => {
    const report = await reported({ target });
    expect(report.sets.map(({ number }) => number)).toEqual(names.map((name) => numbers[name]));
    expect(report.head.targets).toBe(keys);
  });

  test("items on other targets are counted, not shown", async () => {
    expect(one(await reported({ target: "file:shop:a.txt" }), "applied")).toMatchObject({
      targets: [{ target: "FILE shop:a.txt" }],
      otherItems: 1,
    });
  });
});

test("a period takes what happened in it, and tells the whole story of that", async () => {
  const all = await reported();
  const undone = one(all, "undone");
  const since = undone.rolledBack?.at ?? "";
  const report = await reported({ target: "file:shop:a.txt", since });
  expect(report.sets.map(({ number }) => number)).not.toContain(numbers["applied"]);
  expect(one(report, "undone")).toMatchObject({ votes: [{ signature: "verified" }], applied: undone.applied });
  const before = await reported({ target: "file:shop:a.txt", until: undone.applied?.at ?? "" });
  expect(one(before, "undone")).toMatchObject({ applied: null, rolledBack: null, statusNow: "ROLLED_BACK" });
  expect(one(before, "undone").status).not.toBe("ROLLED_BACK");
  expect((await reported({ quarter: "1999-Q4" })).sets).toEqual([]);
  const now = new Date();
  expect(
    (await reported({ quarter: `${now.getUTCFullYear()}-Q${Math.floor(now.getUTCMonth() / 3) + 1}` })).sets,
  ).toHaveLength(6);
});

test("quarters and periods", () => {
  expect(quarterOf("2026-Q4")).toEqual({ sinceMs: Date.UTC(2026, 9, 1), untilMs: Date.UTC(2027, 0, 1) });
  expect(quarterOf("2026q1")).toEqual({ sinceMs: Date.UTC(2026, 0, 1), untilMs: Date.UTC(2026, 3, 1) });
  for (const bad of ["2026-Q5", "2026-Q0", "26-Q1", "2026-Q4 ", ""]) expect(quarterOf(bad)).toBeUndefined();
  expect(checkPeriod({ quarter: "2026-Q4", since: "2026-10-01T00:00:00Z" })).toMatchObject([{ pointer: "/quarter" }]);
  expect(checkPeriod({ since: "2026-10-02T00:00:00Z", until: "2026-10-01T00:00:00Z" })).toMatchObject([
    { pointer: "/until" },
  ]);
});

describe("what was altered behind its back shows", () => {
  /** Does it, looks, takes it back. */
  async function altered(change: string, back: string, ...values: unknown[]): Promise<Report> {
    await tampering(change, ...values);
    try {
      return await reported({ verify: "ledger" });
    } finally {
      await tampering(back, ...values);
    }
  }
  const id = async (name: string): Promise<string> => one(await reported(), name).id;

  test("a status column is not believed", async () => {
    const report = await altered(
      "update countersign.change_sets set status = 'APPLIED' where id = $1",
      "update countersign.change_sets set status = 'REJECTED' where id = $1",
      await id("rejected"),
    );
    expect(one(report, "rejected")).toMatchObject({ status: "REJECTED", statusNow: "APPLIED" });
    expect(one(report, "rejected").missing).toMatchObject([
      { kind: "unverifiable", message: expect.stringContaining("STATE_MISMATCH") },
    ]);
    expect(report.end.verdict?.integrity).toBe("tampered");
  });

  test("a vote that was turned around in its entry is unreadable, and the verdict says where", async () => {
    const seq = one(await reported(), "rejected").votes[0]?.seq;
    const swap = (from: string, to: string): string =>
      `update countersign.entries set content = replace(content, '${from}', '${to}') where tenant_id = '${world.tenant}' and seq = ${seq} and $1::text is not null`;
    const report = await altered(swap('"REJECTED"', '"APPROVED"'), swap('"APPROVED"', '"REJECTED"'), "x");
    expect(one(report, "rejected").votes).toMatchObject([{ signature: "unreadable" }]);
    expect(
      one(report, "rejected").missing.some(({ kind, seqs }) => kind === "unverifiable" && seqs.includes(seq ?? -1)),
    ).toBe(true);
    expect(report.end.verdict?.findings[0]).toMatchObject({ class: "CONTENT_MISMATCH", seq });
  });

  test("a change-set whose items were taken out of the tables is missed by the verdict", async () => {
    const changeSet = await id("rejected");
    await tampering("create table public.kept as select * from countersign.items where change_set_id = $1", changeSet);
    await tampering("delete from countersign.items where change_set_id = $1", changeSet);
    const report = await reported({ verify: "ledger", target: "file:shop:a.txt" });
    await tampering("insert into countersign.items select * from public.kept where change_set_id = $1", changeSet);
    expect(one(report, "rejected")).toBeUndefined();
    expect(report.end.verdict?.findings.map((finding) => finding.class)).toContain("ENTRY_WITHOUT_STATE");
  });

  test("untouched it is whole", async () => {
    expect((await reported({ verify: "ledger" })).end).toMatchObject({ missing: [], verdict: { integrity: "ok" } });
  });
});

test("what is asked wrongly is refused with a pointer", async () => {
  await expect(reported({ target: "nonsense" })).rejects.toThrow(/nonsense/);
  await expect(reported({ target: "file:shop:/etc/passwd" })).rejects.toThrow(/without/);
});

describe("more change-sets than are listed", () => {
  const cut = async (listedMax: number): Promise<ReportLine[]> => {
    const { ledger, changeSets } = world;
    const nothing = { checkpoint: async () => null, verify: undefined, events: async () => [] };
    const asked = { tenant: world.tenant, pattern: undefined, sinceMs: undefined, untilMs: undefined };
    const lines: ReportLine[] = [];
    for await (const line of report({ ledger, changeSets, nowMs: Date.now(), ...nothing, listedMax }, asked))
      lines.push(line);
    return lines;
  };

  test("the summary says how many, and how to go on", async () => {
    const all = (await cut(1_000)).filter(({ kind }) => kind === "changeSet").length;
    const lines = await cut(2);
    const end = lines.at(-1);
    expect(lines.filter(({ kind }) => kind === "changeSet")).toHaveLength(2);
    if (end?.kind !== "summary") throw new Error("no summary");
    expect([end.counts.changeSets, end.missing.filter(({ kind }) => kind === "not_listed")]).toMatchObject([
      2,
      [{ count: all - 2, message: expect.stringMatching(new RegExp(`of ${all} .* the first 2 .*--since`)) }],
    ]);
    expect((await cut(all)).at(-1)).not.toMatchObject({ missing: [{ kind: "not_listed" }] });
  });

  test.each([
    ["text", [], /not_listed [0-9]+: of .*--since/],
    ["CSV, whose rows alone look whole", ["--csv"], /not_listed [0-9]+: of .*--since/],
    ["JSON", ["--json"], /not_listed/],
  ])("whoever reads it as %s sees it, and the exit code", async (_, format, says) => {
    const answer = (await cut(2)).map((line) => `${JSON.stringify(line)}\n`).join("");
    // A ledger of fifty thousand change-sets takes long to write: this one answers as its server does.
    const server = createServer((_request, reply) => reply.end(answer)).listen(0, "127.0.0.1");
    await once(server, "listening");
    const { port } = server.address() as AddressInfo;
    const machine = new Machine({ COUNTERSIGN_URL: `http://127.0.0.1:${port}`, COUNTERSIGN_KEY: "csk_x" });
    const done = await machine.run(["audit", "report", ...format]);
    server.close();
    expect(done.code).toBe(2);
    expect(format[0] === "--csv" ? done.stderr : done.stdout).toMatch(says);
  });
});
