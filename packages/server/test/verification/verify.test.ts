/** Verification of a whole tenant: versions of rows, bodies that are gone, ranges, commits while it runs. */
import type { TenantId } from "@countersign/contract";
import {
  contentHashHex,
  entryHashHex,
  formatVerifierKey,
  generateSigningKeyPair,
  parseCheckpoint,
  parsePolicy,
  signCheckpoint,
  signMessage,
  verifierKey,
  type Trust,
} from "@countersign/proof";
import type pg from "pg";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  verifyTenant,
  type KnownTree,
  type TenantReport,
  type VerifyTenantOptions,
} from "../../src/verification/index.js";
import { bodyOpener, SubjectKeys } from "../../src/ledger/subjectKeys.js";
import { newId, systemRandom } from "../../src/platform/index.js";
import {
  commit,
  committed,
  entry,
  newTenant,
  openTestLedger,
  testSealing,
  type TestLedger,
} from "../support/ledger.js";
import { createDatabase, withClient, type TestDatabase } from "../support/postgres.js";

let database: TestDatabase;
let ledger: TestLedger;

beforeAll(async () => {
  database = await createDatabase();
  ledger = await openTestLedger(database.storage);
});
afterAll(async () => {
  await ledger.close();
  await database.close();
});

const openBody = bodyOpener(new SubjectKeys(testSealing, systemRandom));

function verified(
  tenant: Parameters<typeof verifyTenant>[1],
  options: VerifyTenantOptions = {},
): Promise<TenantReport> {
  return verifyTenant({ login: database.app, openBody }, tenant, options);
}

async function asOwner(work: (client: pg.Client) => Promise<void>): Promise<void> {
  await withClient(database.superuser, async (client) => {
    await client.query("set session_replication_role = replica");
    await work(client);
  });
}

/** A tenant with one person, renamed `renames` times. */
async function withRenames(renames: number) {
  const tenant = newTenant();
  const id = newId();
  const row = (name: string) => ({ id, kind: "human", name, status: "ACTIVE", created_at_ms: 1 });
  const subject = { type: "principal", id };
  await committed(
    commit(ledger, tenant, {
      entries: [entry({ subject, writes: [{ verb: "insert", table: "principals", row: row("0") }] })],
    }),
  );
  for (let from = 1; from <= renames; from++)
    await committed(
      commit(ledger, tenant, {
        entries: [entry({ subject, writes: [{ verb: "update", table: "principals", row: row(String(from)), from }] })],
      }),
    );
  return { tenant, id };
}

/** Writes other content into an entry and chains everything from there on, as one who knows the format would. */
async function rewrite(client: pg.Client, tenant: string, seq: number, edit: (content: string) => string) {
  const found = await client.query<{ seq: string; time_ms: string; content: string; prev: string }>(
    "select seq, time_ms, content, encode(prev, 'hex') as prev from countersign.entries where tenant_id = $1 and seq >= $2 order by seq",
    [tenant, seq],
  );
  let prev = found.rows[0]?.prev ?? "";
  for (const row of found.rows) {
    const content = Number(row.seq) === seq ? edit(row.content) : row.content;
    const contentHash = contentHashHex(content);
    const hash = entryHashHex({ tenant, seq: Number(row.seq), timeMs: Number(row.time_ms), prev, contentHash });
    await client.query(
      "update countersign.entries set content = $3, content_hash = decode($4, 'hex'), prev = decode($5, 'hex'), hash = decode($6, 'hex') where tenant_id = $1 and seq = $2",
      [tenant, row.seq, content, contentHash, prev, hash],
    );
    prev = hash;
  }
}

describe("versions of a row", () => {
  test("follow each other", async () => {
    const { tenant } = await withRenames(4);
    expect(await verified(tenant)).toMatchObject({ integrity: "ok", findings: [], rows: 1 });
  });

  test.each([
    ["one is missing", 2, '",3,', '",9,', "version 3 is missing"],
    ["one is there twice", 2, '",3,', '",2,', "version 2 is written twice"],
    ["the first is missing", 0, '",1,', '",0,', undefined],
  ])("%s", async (_, seq, from, to, detail) => {
    const { tenant, id } = await withRenames(4);
    await asOwner((client) => rewrite(client, tenant, seq, (content) => content.replace(`${id}${from}`, `${id}${to}`)));
    const { integrity, findings } = await verified(tenant);
    expect(integrity).toBe("tampered");
    const classes = findings.map((finding) => finding.class);
    expect(classes).toContain("STATE_MISMATCH");
    if (detail !== undefined) expect(findings.map((finding) => finding.detail)).toContain(detail);
  });
});

describe("bodies", () => {
  test("that are gone without an entry are found, whether or not bodies are read", async () => {
    const tenant = newTenant();
    for (let i = 0; i < 3; i++) await committed(commit(ledger, tenant, { entries: [entry({ body: { text: "x" } })] }));
    expect(await verified(tenant)).toMatchObject({ integrity: "ok", findings: [] });
    await asOwner(async (client) => {
      await client.query(
        "delete from countersign.bodies where tenant_id = $1 and entry_id = (select entry_id from countersign.entries where tenant_id = $1 and seq = 1)",
        [tenant],
      );
    });
    for (const bodies of [false, true]) {
      const { findings } = await verified(tenant, { bodies });
      expect({ bodies, findings }).toMatchObject({
        bodies,
        findings: [{ class: "ERASED_WITHOUT_ENTRY", seq: 1, expected: "body" }],
      });
    }
  });
});

describe("a tail", () => {
  const sizes = [1, 2, 7, 255, 256, 300];

  async function known(of: TenantId, size: number): Promise<KnownTree> {
    const { root = "" } = await verified(of, { to: size - 1 });
    return { size, root: Buffer.from(root, "hex") };
  }
  async function anchoredAt(
    of: TenantId,
    { size, root }: KnownTree,
    { privateKey, publicKey } = generateSigningKeyPair(),
  ): Promise<Trust> {
    const sign = (message: Uint8Array): string => signMessage(privateKey, message);
    const text = await signCheckpoint({ origin: `ledger.example.org/main/${of}`, size, root }, { publicKey, sign });
    const parsed = parseCheckpoint(text);
    if (!parsed.ok) throw new Error(parsed.problem);
    const checkpoints = [{ checkpoint: parsed.checkpoint, atMs: null }];
    return {
      ...{ policySource: "none", keyStatements: [] },
      anchors: [{ name: "shelf", kind: "file", location: "/elsewhere", checkpoints }],
    };
  }

  let tenant: TenantId;
  beforeAll(async () => {
    tenant = newTenant();
    for (let i = 0; i < 3; i++)
      await committed(commit(ledger, tenant, { entries: Array.from({ length: 100 }, () => entry()) }));
  });

  test("says of the end what reading everything says", async () => {
    const whole = await verified(tenant);
    for (const size of sizes) {
      const since = await known(tenant, size);
      const tail = await verified(tenant, { since });
      expect(tail).toMatchObject({
        integrity: "ok",
        findings: [],
        entries: 300 - size,
        base: { size },
        root: whole.root,
      });
      const anchored = await verified(tenant, { since: "anchor", trust: await anchoredAt(tenant, since) });
      expect(anchored).toMatchObject({ integrity: "ok", entries: 300 - size, base: { size }, root: whole.root });
    }
  });

  test("begins at no checkpoint of an anchor that nobody who counts signed", async () => {
    const [logKey, other] = [generateSigningKeyPair(), generateSigningKeyPair()];
    const vkey = formatVerifierKey(
      verifierKey({ name: "ledger.example.org/main", type: 1, publicKey: logKey.publicKey }),
    );
    const parsed = parsePolicy(`log ${vkey}\nanchor shelf file /elsewhere\nquorum none\n`);
    if (!parsed.ok) throw new Error(JSON.stringify(parsed.problems));
    const since = await known(tenant, 256);
    const record = { name: "ledger.example.org/main", keyStatements: [], heads: new Map() };
    for (const [key, base] of [
      [logKey, { size: 256 }],
      [other, undefined],
    ] as const) {
      const trust = { ...(await anchoredAt(tenant, since, key)), policy: parsed.policy };
      const report = await verified(tenant, { since: "anchor", trust, record });
      expect([report.base, report.entries]).toEqual([base, base === undefined ? 300 : 44]);
    }
  });

  test("begins nowhere if the tree there has another root: everything is read", async () => {
    const { root } = await known(tenant, 7);
    expect(await verified(tenant, { since: { size: 8, root } })).toMatchObject({ entries: 300, integrity: "ok" });
    expect((await verified(tenant, { since: { size: 301, root } })).base).toBeUndefined();
  });

  test("a checkpoint of the past has its root, or the history was rewritten", async () => {
    const { anchors } = await anchoredAt(tenant, await known(tenant, 200));
    const [right] = anchors[0]?.checkpoints ?? [];
    const { anchors: others } = await anchoredAt(tenant, { ...(await known(tenant, 199)), size: 200 });
    const [wrong] = others[0]?.checkpoints ?? [];
    if (right === undefined || wrong === undefined) throw new Error("no checkpoints");
    expect(await verified(tenant, { asOf: right.checkpoint })).toMatchObject({ integrity: "ok", entries: 200 });
    expect((await verified(tenant, { asOf: wrong.checkpoint })).findings).toMatchObject([
      { class: "HISTORY_REWRITTEN" },
    ]);
    expect((await verified(tenant, { asOf: 120 })).entries).toBe(120);
  });

  test("finds what was done to it, and to the entry before it", async () => {
    for (const seq of [6, 7, 299]) {
      const since = await known(tenant, 7);
      const hash = await withClient(database.superuser, async (client) => {
        await client.query("set session_replication_role = replica");
        const { rows } = await client.query<{ hash: Buffer }>(
          "select hash from countersign.entries where tenant_id = $1 and seq = $2",
          [tenant, seq],
        );
        const set = "update countersign.entries set hash = $3 where tenant_id = $1 and seq = $2";
        await client.query(set, [tenant, seq, Buffer.alloc(32, 7)]);
        return rows[0]?.hash;
      });
      expect((await verified(tenant, { since })).integrity).toBe("tampered");
      await asOwner(async (client) => {
        await client.query("update countersign.entries set hash = $3 where tenant_id = $1 and seq = $2", [
          tenant,
          seq,
          hash,
        ]);
      });
    }
    expect((await verified(tenant)).findings).toEqual([]);
  });
});

test("a body in the place of another is found", async () => {
  const tenant = newTenant();
  for (let i = 0; i < 3; i++) await committed(commit(ledger, tenant, { entries: [entry({ body: { n: i } })] }));
  await asOwner(async (client) => {
    await client.query(
      `update countersign.bodies as x set salt = y.salt, sealed = y.sealed
  from countersign.bodies as y join countersign.entries as e on e.tenant_id = y.tenant_id and e.entry_id = y.entry_id and e.seq = 0
 where y.tenant_id = $1 and x.tenant_id = $1 and x.entry_id = (select entry_id from countersign.entries where tenant_id = $1 and seq = 2)`,
      [tenant],
    );
  });
  const report = await verified(tenant, { bodies: true });
  expect(report).toMatchObject({ integrity: "tampered", findings: [{ class: "REFERENCE_MISMATCH", seq: 2 }] });
});

test("commits while it runs are no tampering", async () => {
  const tenant = newTenant();
  const stopped = { yes: false };
  const writing = (async () => {
    let rows = 0;
    while (!stopped.yes && rows < 2_000) {
      await Promise.all(
        Array.from({ length: 5 }, () =>
          committed(
            commit(ledger, tenant, {
              guards: [{ kind: "counter", key: "many", add: 1, max: 1_000_000 }],
              entries: [
                entry({
                  body: { text: "y" },
                  writes: [
                    {
                      verb: "insert",
                      table: "principals",
                      row: { id: newId(), kind: "human", name: `n${rows++}`, status: "ACTIVE", created_at_ms: 1 },
                    },
                  ],
                }),
              ],
            }),
          ),
        ),
      );
    }
  })();
  const reports: TenantReport[] = [];
  for (let i = 0; i < 4; i++) reports.push(await verified(tenant, { bodies: i % 2 === 0 }));
  stopped.yes = true;
  await writing;
  expect(reports.flatMap((report) => report.findings)).toEqual([]);
  expect(reports.map((report) => report.undecided)).toEqual(reports.map(() => undefined));
  expect(reports.at(-1)?.entries).toBeGreaterThan(reports[0]?.entries ?? 0);
});
