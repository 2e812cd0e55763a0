/** Publishing on a real PostgreSQL: what is signed and served, and what is never signed whatever the database says. */
import type { TenantId } from "@countersign/contract";
import {
  decodeEntries,
  generateSigningKeyPair,
  isSignedBy,
  leafHashHex,
  nodeHash,
  originOf,
  parseTilePath,
  RightEdge,
  signCheckpoint,
  signerOf,
  tilePath,
  verifyConsistency,
  type Checkpoint,
  type Tile,
} from "@countersign/proof";
import { describe, expect, test } from "vitest";
import { deploymentTenant } from "../../src/tenancy/index.js";
import { heldClock, newTenant } from "../support/ledger.js";
import { withClient } from "../support/postgres.js";
import { bench, copyFolder, refusal, until } from "../support/publishing.js";
import type { Publishing } from "../../src/publishing/index.js";

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");

/** The root over leaf data, by RFC 6962 §2.1 as it is written there: not by the code under test. */
function rootOf(leaves: readonly Uint8Array[]): Uint8Array {
  if (leaves.length === 1) return leaves[0] as Uint8Array;
  let split = 1;
  while (split * 2 < leaves.length) split *= 2;
  return nodeHash(rootOf(leaves.slice(0, split)), rootOf(leaves.slice(split)));
}

async function listed<T>(items: AsyncIterable<T>): Promise<T[]> {
  const list: T[] = [];
  for await (const item of items) list.push(item);
  return list;
}

async function leafHashesOf(publishing: Publishing, tenant: TenantId, size: number): Promise<Uint8Array[]> {
  const hashes: Uint8Array[] = [];
  for (let index = 0; index * 256 < size; index++) {
    const tile: Tile = { level: "entries", index, width: Math.min(256, size - index * 256) };
    const leaves = decodeEntries((await publishing.tile(tenant, tile)) as Uint8Array, tile.width);
    for (const leaf of leaves ?? []) hashes.push(Buffer.from(leafHashHex(Buffer.from(leaf).toString("utf8")), "hex"));
  }
  return hashes;
}

test("checkpoints, tiles and proofs of a growing ledger fit together, at every edge of a tile", async () => {
  const on = await bench();
  const publishing = on.publisher();
  const seen: Checkpoint[] = [];
  for (const grow of [1, 1, 253, 1, 1, 255, 300]) {
    await on.fill(grow);
    const { checkpoint, incarnation } = await publishing.publish(on.tenant);
    expect(incarnation).toBe(0);
    seen.push(checkpoint);
  }
  const last = seen.at(-1) as Checkpoint;
  const deployment = await publishing.deployment();
  expect(last.origin).toBe(originOf({ deployment, tenant: on.tenant, incarnation: 0 }));
  const leaves = await leafHashesOf(publishing, on.tenant, last.size);
  expect(leaves).toHaveLength(812);
  for (const { size, root, ...checkpoint } of seen) {
    expect(hex(root)).toBe(hex(rootOf(leaves.slice(0, size))));
    expect(isSignedBy({ size, root, ...checkpoint }, publishing.status().key?.publicKey ?? "")).toBe(true);
    const proof = await publishing.consistency(on.tenant, size, last.size);
    expect(verifyConsistency({ from: size, fromRoot: root, to: last.size, toRoot: last.root, proof })).toBe(true);
  }
  const full = await withClient(on.database.superuser, (client) =>
    client.query("select level, index from countersign.tiles where tenant_id = $1 order by index", [on.tenant]),
  );
  expect(full.rows.map((row: { index: string }) => Number(row.index))).toEqual([0, 1, 2]);
  for (const [path, there] of [
    ["tile/0/000", true],
    ["tile/0/002", true],
    ["tile/0/003", false],
    ["tile/0/003.p/44", true],
    ["tile/0/003.p/1", true],
    ["tile/0/003.p/45", false],
    ["tile/1/000.p/3", true],
    ["tile/1/000.p/4", false],
    ["tile/1/000", false],
    ["tile/2/000", false],
    ["tile/entries/003.p/44", true],
    ["tile/entries/004.p/1", false],
  ] as const) {
    const tile = parseTilePath(path) as Tile;
    expect([path, tilePath(tile), (await publishing.tile(on.tenant, tile)) !== undefined]).toEqual([path, path, there]);
  }
  const level1 = await publishing.tile(on.tenant, { level: 1, index: 0, width: 3 });
  expect(hex(level1 ?? new Uint8Array())).toBe(
    [0, 1, 2].map((n) => hex(rootOf(leaves.slice(n * 256, n * 256 + 256)))).join(""),
  );
  await expect(publishing.proveMany(on.tenant, [0, 255, 256, 811])).resolves.toMatchObject({ incarnation: 0 });
  expect(await refusal(publishing.prove(on.tenant, 812))).toMatchObject(["not_found", expect.stringContaining("812")]);
  expect((await refusal(publishing.proveMany(on.tenant, new Array(1_001).fill(0))))[0]).toBe("limit_exceeded");
});

test("one that nobody wrote to has no checkpoint; another process's entries are published too", async () => {
  const on = await bench();
  const publishing = on.publisher();
  expect((await refusal(publishing.publish(newTenant())))[0]).toBe("not_published");
  const other = await bench({ database: on.database, tenants: on.tenants });
  await other.fill(3);
  expect((await publishing.publish(on.tenant)).checkpoint.size).toBe(3);
  expect(await refusal(on.open().publish(newTenant()))).toMatchObject(["not_published", expect.anything()]);
});

/** A chain of entries without contents, as after pruning: the door would take ten times as long. */
function bareEntries(tenant: string, count: number): string {
  return `do $body$
declare
  previous bytea := decode(repeat('00', 32), 'hex');
  digest bytea := sha256('x');
  next bytea;
begin
  for n in 0 .. ${count - 1} loop
    next := sha256('\\x00'::bytea || convert_to('countersign.entry.v1' || E'\\n' || '${tenant}' || E'\\n' || n || E'\\n' || 1000 || E'\\n'
      || encode(previous, 'hex') || E'\\n' || encode(digest, 'hex') || E'\\n', 'UTF8'));
    insert into countersign.entries (tenant_id, seq, time_ms, entry_id, prev, content_hash, hash)
    values ('${tenant}', n, 1000, gen_random_uuid(), previous, digest, next);
    previous := next;
  end loop;
end $body$`;
}

test("a second tree level is stored, and proofs go through it", async () => {
  const on = await bench();
  await on.tamper(bareEntries(on.tenant, 65_536 + 700));
  const publishing = on.publisher();
  const { checkpoint } = await publishing.publish(on.tenant);
  const levels = await withClient(on.database.superuser, (client) =>
    client.query<{ level: number; count: string }>(
      "select level, count(*) as count from countersign.tiles where tenant_id = $1 group by level order by level",
      [on.tenant],
    ),
  );
  expect(levels.rows).toEqual([
    { level: 0, count: "258" },
    { level: 1, count: "1" },
  ]);
  // In a process that remembers nothing.
  const fresh = on.open();
  expect((await fresh.prove(on.tenant, 65_000)).checkpoint.size).toBe(checkpoint.size);
  expect(hex((await fresh.edge(on.tenant, checkpoint.size)).root())).toBe(hex(checkpoint.root));
  expect(await listed(fresh.tileDifferences(on.tenant, checkpoint.size))).toEqual([]);
}, 60_000);

test("at most one checkpoint in the interval", async () => {
  const on = await bench();
  const publishing = on.publisher({ intervalMs: 500 });
  for (let n = 0; n < 30; n++) await on.fill(1);
  await publishing.publish(on.tenant);
  await on.fill(1);
  await publishing.publish(on.tenant);
  const signed = (await publishing.checkpoints(on.tenant)).map(({ signedMs }) => signedMs);
  const gaps = signed.slice(1).map((ms, n) => ms - (signed[n] ?? 0));
  // The interval is held on a clock that cannot go back; the times are those of the other.
  for (const gap of gaps) expect(gap).toBeGreaterThanOrEqual(450);
});

test("the deployment's ledger records heads that moved, and not its own", async () => {
  const on = await bench();
  await on.fill(5);
  const publishing = on.publisher({ headsEveryMs: 0 });
  const { checkpoint } = await publishing.publish(on.tenant);
  const heads = await until(async () => {
    const found = await on.recorded(deploymentTenant, "ledger.heads_recorded");
    return found.length > 0 ? found : undefined;
  });
  expect(heads).toEqual([{ heads: [[on.tenant, 5, hex(checkpoint.root)]] }]);
  const covered = (await publishing.publish(deploymentTenant)).checkpoint.size;
  await publishing.stop();
  const again = on.publisher({ headsEveryMs: 0 });
  await on.fill(1);
  await again.publish(on.tenant);
  await until(async () => (await on.recorded(deploymentTenant, "ledger.heads_recorded"))[1]);
  expect((await again.publish(deploymentTenant)).checkpoint.size).toBe(covered + 1);
});

/** Changes an entry that nothing follows, and gives it the hash of what it is now. */
function rewritten(tenant: string, seq: number): string[] {
  const where = `where tenant_id = '${tenant}' and seq = ${seq}`;
  return [
    `update countersign.entries set time_ms = time_ms + 1 ${where}`,
    `update countersign.entries set hash = sha256('\\x00'::bytea || convert_to('countersign.entry.v1' || E'\\n' || tenant_id || E'\\n' || seq || E'\\n' || time_ms || E'\\n' || encode(prev, 'hex') || E'\\n' || encode(content_hash, 'hex') || E'\\n', 'UTF8')) ${where}`,
  ];
}

describe("nothing is signed that contradicts what was signed", () => {
  const uuid = (text: string): string => `'${text}'::uuid`;
  for (const [what, tampering, state, served] of [
    ["entries are rewritten with good hashes", (t: string) => rewritten(t, 19), "rewritten", 20],
    [
      "the tail is cut",
      (t: string) => [`delete from countersign.entries where tenant_id = ${uuid(t)} and seq >= 10`],
      "rolled_back",
      20,
    ],
    [
      "a new entry does not continue the chain",
      (t: string) => [`update countersign.entries set prev = sha256('x') where tenant_id = ${uuid(t)} and seq = 25`],
      "chain_broken",
      20,
    ],
    [
      "a new entry's hash is not its link's",
      (t: string) => [`update countersign.entries set hash = sha256('x') where tenant_id = ${uuid(t)} and seq = 29`],
      "chain_broken",
      20,
    ],
    [
      "a checkpoint nobody signed is put into the table",
      (t: string) => [
        `insert into countersign.checkpoints select tenant_id, incarnation, 25, root, note, signed_ms from countersign.checkpoints where tenant_id = ${uuid(t)}`,
      ],
      "checkpoint_forged",
      20,
    ],
    [
      "a checkpoint of another deployment is put into the table",
      (t: string) => [
        `update countersign.checkpoints set note = replace(note, '/', '-stranger/') where tenant_id = ${uuid(t)}`,
      ],
      "checkpoint_forged",
      20,
    ],
  ] as const)
    test(what, async () => {
      const on = await bench();
      await on.fill(20);
      const first = on.publisher();
      expect((await first.publish(on.tenant)).checkpoint.size).toBe(served);
      await first.stop();
      await on.fill(10);
      await on.tamper(...tampering(on.tenant));
      const publishing = on.publisher();
      const [code] = await refusal(publishing.publish(on.tenant));
      expect(code).toBe("publishing_stopped");
      const status = publishing.status();
      expect(status.state).toBe("leading"); // the others go on
      expect(status.tenants.find(({ tenant }) => tenant === on.tenant)).toMatchObject({
        state: "stopped",
        kind: state,
      });
      expect(on.reports.filter(([event]) => event === "publishing.tenant_stopped")).toHaveLength(1);
      const sizes = await withClient(on.database.superuser, (client) =>
        client.query(
          "select size from countersign.checkpoints where tenant_id = $1 and note like '%' || tenant_id || '%'",
          [on.tenant],
        ),
      );
      expect(sizes.rows.some((row: { size: string }) => Number(row.size) > 25)).toBe(false);
    });
});

test("a checkpoint in the table that a stranger signed is not taken for ours, even of the right tree", async () => {
  const on = await bench();
  await on.fill(20);
  const first = on.publisher();
  const { origin, size, root } = (await first.publish(on.tenant)).checkpoint;
  await first.stop();
  const note = await signCheckpoint({ origin, size, root }, signerOf(generateSigningKeyPair()));
  await on.tamper(`update countersign.checkpoints set note = '${note}' where tenant_id = '${on.tenant}'`);
  await on.fill(1);
  const publishing = on.publisher();
  expect((await refusal(publishing.publish(on.tenant)))[1]).toMatch(/was not signed with this deployment's key/);
});

test("what was published by another copy of the key directory binds this one too", async () => {
  const on = await bench();
  await on.fill(20);
  const first = on.publisher();
  await first.publish(on.tenant);
  const behind = copyFolder(on.folder);
  await on.fill(5);
  await first.publish(on.tenant);
  await first.stop();
  // Entries that this copy does not remember, and the table does.
  await on.tamper(...rewritten(on.tenant, 24));
  const other = await bench({ database: on.database, tenants: on.tenants, folder: behind });
  await other.fill(1);
  const publishing = other.publisher();
  expect((await refusal(publishing.publish(on.tenant)))[1]).toMatch(
    /is not the ledger of which checkpoint 25 was signed/,
  );
});

test("a stored tile that is wrong is named, and proofs are right all the same", async () => {
  const on = await bench();
  await on.fill(600);
  const first = on.publisher();
  const { checkpoint } = await first.publish(on.tenant);
  await first.stop();
  await on.tamper(
    `update countersign.tiles set hashes = overlay(hashes placing '\\x00000000'::bytea from 100) where tenant_id = '${on.tenant}' and index = 1`,
  );
  const publishing = on.open();
  expect(await listed(publishing.tileDifferences(on.tenant, 600))).toEqual([{ level: 0, index: 1 }]);
  const { proof, ...rest } = await publishing.prove(on.tenant, 300);
  const edge = new RightEdge();
  edge.append(Buffer.from(leafHashHex(rest.leaf), "hex"));
  expect(proof.length).toBeGreaterThan(8);
  expect(rest.checkpoint.size).toBe(checkpoint.size);
  expect(on.reports).toContainEqual(["publishing.tile_differs", { tenant: on.tenant }]);
});

test("a clock that goes back is waited for", async () => {
  const clock = heldClock(2_000_000_000_000);
  const on = await bench();
  await on.fill(1);
  const first = on.publisher({ clock });
  expect((await first.publish(on.tenant)).signedMs).toBe(clock.now);
  clock.now -= 60_000;
  await on.fill(1);
  await until(() => first.status().tenants.find((one) => one.tenant === on.tenant && one.state === "waiting"));
  clock.now += 60_001;
  expect((await first.publish(on.tenant)).checkpoint.size).toBe(2);
});
