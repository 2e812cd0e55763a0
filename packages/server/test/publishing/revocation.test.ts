/** A log key is revoked from a moment on at which it still signed: ledgers at rest get a checkpoint that counts, by themselves. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { TenantId } from "@countersign/contract";
import {
  exitCodeOf,
  formatReceipt,
  isSignedBy,
  parsePolicy,
  parseVerifierKey,
  verifyReceipt,
  type Trust,
} from "@countersign/proof";
import { afterEach, describe, expect, test } from "vitest";
import { listKeys, openAnchors, revokeKey, rotateKeys, type Publishing } from "../../src/publishing/index.js";
import { verifyTenant } from "../../src/verification/index.js";
import { fileAnchor } from "../../src/publishing/anchors/file.js";
import { witnessAnchor } from "../../src/publishing/anchors/witness.js";
import { supersede } from "../../src/publishing/superseding.js";
import { bodyOpener, SubjectKeys } from "../../src/ledger/subjectKeys.js";
import { systemClock, systemRandom } from "../../src/platform/index.js";
import { deploymentTenant } from "../../src/tenancy/index.js";
import {
  addLog,
  followStatements,
  initWitness,
  openWitness,
  runWitness,
  type RunningWitness,
} from "../../src/witness/index.js";
import { newTenant, testSealing } from "../support/ledger.js";
import { temporaryDirectory } from "../support/postgres.js";
import { startProgram } from "../support/processes.js";
import type { PublishMessage, PublishOrder } from "../support/publishProgram.js";
import { bench, until, type Bench } from "../support/publishing.js";

const action = "ledger.checkpoint_superseded";
const running: RunningWitness[] = [];
afterEach(async () => {
  for (const witness of running.splice(0)) await witness.close();
});

/** The current key is replaced, and counts for nothing since long ago. */
async function revoke(on: Bench): Promise<void> {
  const { keys } = await listKeys(on.parts, on.parts);
  await rotateKeys(on.parts, { reason: "lost" });
  const key = keys.at(-1)?.publicKey ?? "";
  await revokeKey(on.parts, { key, sinceMs: 1_000, reason: "lost" });
}

/** The newest checkpoint of a key in use. */
async function covered(on: Bench, publishing: Publishing, tenant: TenantId): Promise<number> {
  return until(async () => {
    const { keys } = await listKeys(on.parts, on.parts);
    const newest = await publishing.latest(tenant);
    const signer = keys.find((key) => newest !== undefined && isSignedBy(newest.checkpoint, key.publicKey));
    return signer?.current === true ? newest?.checkpoint.size : undefined;
  });
}

const superseded = async (on: Bench, tenants = on.tenants): Promise<number[]> =>
  Promise.all(tenants.map(async (tenant) => (await on.recorded(tenant, action)).length));

/** Three ledgers: the deployment's, one with entries, one without. */
async function published(): Promise<Bench & { readonly empty: TenantId }> {
  const empty = newTenant();
  const on = await bench({ tenants: [deploymentTenant, newTenant(), newTenant(), empty] });
  await on.fill(3);
  await on.fill(300, on.tenants[2]);
  const publishing = on.publisher();
  // The deployment's own last: publishing writes its first entry.
  for (const tenant of on.tenants.slice(0, 3).reverse()) await publishing.publish(tenant);
  await publishing.stop();
  return { ...on, empty };
}

describe("every ledger at rest is given one entry, and a checkpoint of the key in use covers it", () => {
  for (const when of ["while the server runs", "while it is off"] as const)
    test(when, async () => {
      const on = await published();
      const before = when === "while it is off" ? undefined : on.publisher();
      if (before !== undefined) await before.publish(on.tenant);
      await revoke(on);
      const publishing = before ?? on.publisher();
      expect(await covered(on, publishing, on.tenant)).toBe(4);
      expect(await covered(on, publishing, on.tenants[2] as TenantId)).toBe(301);
      await covered(on, publishing, deploymentTenant);
      // The deployment's own has the entry of the revocation; one without entries has nothing that is signed.
      expect(await superseded(on)).toEqual([0, 1, 1, 0]);
      expect(await publishing.latest(on.empty)).toBeUndefined();
      const [entry] = await on.recorded(on.tenant, action);
      const { keys } = await listKeys(on.parts, on.parts);
      expect(entry).toEqual({ size: 3, key: keys[0]?.publicKey });
      // Neither time nor another start does it again; a key that is only replaced revokes nothing.
      await publishing.stop();
      await rotateKeys(on.parts, { reason: "yearly" });
      const later = on.publisher();
      for (const tenant of on.tenants.slice(0, 3)) await later.publish(tenant);
      expect(await superseded(on)).toEqual([0, 1, 1, 0]);
    });

  test("a ledger that goes on needs none; one that is not what was signed gets none", async () => {
    const on = await published();
    const other = on.tenants[2] as TenantId;
    await revoke(on);
    await on.fill(1);
    await on.tamper(`delete from countersign.entries where tenant_id = '${other}' and seq >= 200`);
    const publishing = on.publisher();
    expect(await covered(on, publishing, on.tenant)).toBe(4);
    await until(() => publishing.status().tenants.find((one) => one.tenant === other && one.state === "stopped"));
    expect(await superseded(on)).toEqual([0, 0, 0, 0]);
  });

  test("one that has grown since it was looked at gets none, and none gets two", async () => {
    const on = await bench();
    await on.fill(3);
    const by = { ledger: on.ledger, actor: { type: "system", id: deploymentTenant, humans: [] } } as const;
    const at = (size: number): Promise<boolean> => supersede(by, on.tenant, { size, key: "R".repeat(43) });
    expect([await at(2), await at(3), await at(3)]).toEqual([false, true, false]);
    expect(await superseded(on, [on.tenant])).toEqual([1]);
  });
});

describe("killed between two steps, the next goes on; there is one entry and one root for a size", () => {
  for (const dieAt of ["superseded", "remembered", "stored"] as const)
    test(dieAt, async () => {
      const on = await bench();
      await on.fill(3);
      const first = on.publisher();
      await first.publish(on.tenant);
      await first.stop();
      await revoke(on);
      const { ownerUrl, appUrl } = on.database;
      const order: PublishOrder = { ownerUrl, appUrl, folder: on.folder, tenant: on.tenant, leaseMs: 300, dieAt };
      const url = new URL("../support/publishProgram.ts", import.meta.url);
      const program = startProgram<PublishMessage>(url, [JSON.stringify(order)]);
      expect((await program.ended).signal).toBe("SIGKILL");
      expect(await superseded(on)).toEqual([0, 1]);
      const publishing = on.publisher({ leaseMs: 300 });
      expect(await covered(on, publishing, on.tenant)).toBe(4);
      expect(await superseded(on)).toEqual([0, 1]);
      expect(on.reports.map(([event]) => event)).not.toContain("publishing.tenant_stopped");
      const roots = (await publishing.checkpoints(on.tenant)).map(({ checkpoint }) => checkpoint);
      expect(roots.map(({ size }) => size)).toEqual([3, 4]);
      for (const { size, root } of roots)
        expect(Buffer.from(root).equals((await publishing.edge(on.tenant, size)).root())).toBe(true);
    });
});

test("an auditor with a witness: an alarm after the revocation, a note when the server has covered it", async () => {
  const on = await bench();
  await on.fill(3);
  const directory = join(temporaryDirectory(), "witness");
  const { vkey } = await initWitness({ directory, name: "witness.example/w1" });
  const key = parseVerifierKey(vkey);
  if (key === undefined) throw new Error("no key");
  const witness = await openWitness({ directory, clock: systemClock });
  const served = await runWitness({ witness, host: "127.0.0.1", port: 0, report: () => undefined });
  running.push(served);
  const publisher = (): Publishing =>
    on.publisher({
      anchors: (source) =>
        openAnchors({
          ...{ storage: on.database.storage, clock: systemClock, source },
          anchors: [witnessAnchor({ name: "w1", url: served.url, key })],
          report: (event, details) => on.reports.push([event, details]),
        }),
    });
  const first = publisher();
  await first.publish(on.tenant);
  const pinned = (await listKeys(on.parts, on.parts)).keys[0]?.verifierKey ?? "";
  await addLog(directory, pinned);
  const cosigned = (publishing: Publishing, size: number): Promise<unknown> =>
    until(() => publishing.status().anchors.find((one) => one.tenant === on.tenant && one.size === size));
  await cosigned(first, 3);
  await first.stop();

  const parsed = parsePolicy(`log ${pinned}\nwitness w1 ${vkey}\nquorum w1\n`);
  if (!parsed.ok) throw new Error(JSON.stringify(parsed.problems));
  const trust: Trust = { policy: parsed.policy, policySource: "test", keyStatements: [], anchors: [] };
  const openBody = bodyOpener(new SubjectKeys(testSealing, systemRandom));
  const verdict = async () => {
    const parts = { login: on.database.app, openBody, deploymentTenant };
    const { integrity, findings, notes, completeness } = await verifyTenant(parts, on.tenant, { trust });
    const classes = [findings, notes].map((found) => found.map((one) => one.class));
    return [integrity, ...classes, completeness.status, completeness.anchored];
  };
  expect((await verdict())[0]).toBe("ok");
  await revoke(on);
  expect((await verdict()).slice(0, 2)).toEqual(["tampered", ["KEY_REVOKED"]]);

  await followStatements(directory, readFileSync(join(on.folder, "statements"), "utf8"));
  on.reports.length = 0;
  const second = publisher();
  expect(await covered(on, second, on.tenant)).toBe(4);
  await cosigned(second, 4);
  expect(await verdict()).toEqual(["ok", [], expect.arrayContaining(["KEY_REVOKED"]), "shown", 4]);
  // The old one was not shown to the witness again, which would have refused it.
  expect(on.reports.filter(([, { tenant }]) => tenant === on.tenant).map(([event]) => event)).toEqual([
    "publishing.checkpoint_superseded",
  ]);
});

describe("a receipt stands on a checkpoint whose signature counts, though more anchors hold one of a revoked key", () => {
  test.each<[string, (heldMs: number) => number, number]>([
    ["revoked from before it was held: the newer one, which nobody holds yet", (heldMs) => heldMs - 1_000, 4],
    ["revoked from after it was held: it counts, and it is the one that is held", (heldMs) => heldMs + 60_000, 3],
  ])("%s", async (_, since, size) => {
    const on = await bench();
    await on.fill(3);
    const anchors = [fileAnchor({ name: "disk", directory: temporaryDirectory(), clock: systemClock })];
    const first = on.publisher({
      anchors: (source) => openAnchors({ storage: on.database.storage, clock: systemClock, source, anchors }),
    });
    await first.publish(on.tenant);
    const held = await until(() =>
      first.status().anchors.find((one) => one.tenant === on.tenant && one.size === 3 && one.confirmedMs !== null),
    );
    await first.stop();
    const [old] = (await listKeys(on.parts, on.parts)).keys;
    await rotateKeys(on.parts, { reason: "lost" });
    await revokeKey(on.parts, { key: old?.publicKey ?? "", sinceMs: since(held.confirmedMs ?? 0), reason: "lost" });
    const second = on.publisher();
    expect(await covered(on, second, on.tenant)).toBe(4);

    const keyStatements = await second.keyStatements();
    const receipt = await on.ledger.snapshot(on.tenant, async (snapshot) => {
      const place = await on.ledger.findEntry(snapshot, "1");
      return place && on.ledger.receiptOf(snapshot, place, keyStatements);
    });
    if (receipt === undefined) throw new Error("no receipt");
    expect(receipt.size).toBe(size);
    const parsed = parsePolicy(`log ${old?.verifierKey ?? ""}\nquorum none\n`);
    if (!parsed.ok) throw new Error(JSON.stringify(parsed.problems));
    const { text } = formatReceipt({ ...receipt.path, link: receipt.link, keyStatements });
    const trust: Trust = { policy: parsed.policy, policySource: "test", keyStatements: [], anchors: [] };
    // Without the auditor's own copy of the anchor nobody says when it was signed.
    expect(exitCodeOf(verifyReceipt(text, { trust }))).toBe(size === 4 ? 0 : 3);
  });
});
