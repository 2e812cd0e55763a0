/** A database restored from an older backup: publishing stops, the operator says so, signed, and it goes on under a new origin. */
import { rmSync } from "node:fs";
import { join } from "node:path";
import {
  parseRestoreStatement,
  restoreSignedBy,
  RightEdge,
  formatNote,
  fromBase64Url,
  restoreStatementText,
  signatureLine,
  verifierKey,
  type JsonObject,
} from "@countersign/proof";
import { expect, test } from "vitest";
import { listKeys, restore, restoreAsClone, rotateKeys } from "../../src/publishing/index.js";
import { deploymentTenant } from "../../src/tenancy/index.js";
import { createDatabase, temporaryDirectory } from "../support/postgres.js";
import { bench, copyFolder, refusal, until, type Bench } from "../support/publishing.js";

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");

/** Published at 10; a backup; published at 16. Gives the bench over the backup, with the keys as they are now. */
async function rolledBack(
  meanwhile: (on: Bench) => Promise<unknown> = () => Promise.resolve(),
): Promise<{ before: Bench; on: Bench }> {
  const before = await bench();
  await before.fill(10);
  const publishing = before.publisher();
  await publishing.publish(before.tenant);
  await publishing.publish(deploymentTenant);
  await publishing.stop();
  const copy = await createDatabase({ copyOf: before.database });
  await before.fill(6);
  await meanwhile(before);
  const later = before.publisher();
  await later.publish(before.tenant);
  await later.stop();
  return { before, on: await bench({ database: copy, folder: before.folder, tenants: before.tenants }) };
}

test("publishing stops, with both sizes; restore records it, and publishing goes on under a new origin, once", async () => {
  const { before, on } = await rolledBack();
  const publishing = on.publisher();
  const [code, message] = await refusal(publishing.publish(on.tenant));
  expect([code, message]).toEqual([
    "publishing_stopped",
    expect.stringMatching(/has 1\d entries.*16 were signed.*countersign restore/),
  ]);
  expect(await on.recorded(on.tenant, "ledger.alert_raised")).toEqual([
    { class: "ROLLED_BACK", findings: 1, by: "publisher" },
  ]);
  const lost = (await before.open().latest(on.tenant))?.checkpoint;

  const done = await restore(on.parts, { reason: "disk failed" });
  expect(done.ledgers).toEqual([{ tenant: on.tenant, incarnation: 1, keptSize: 10, lostSize: 16 }]);
  // The server that runs goes on by itself.
  const published = await until(async () => {
    const latest = await publishing.latest(on.tenant);
    return latest?.incarnation === 1 ? latest : undefined;
  });
  const deployment = await publishing.deployment();
  expect(published.checkpoint.origin).toBe(`${deployment}/${on.tenant}/1`);
  expect(published.checkpoint.size).toBe(12); // the alert and the restore are entries

  const [data] = (await on.recorded(on.tenant, "ledger.restored")) as [JsonObject];
  expect(data).toMatchObject({ incarnation: 1, size: 10, lostSize: 16, lostRoot: hex(lost?.root ?? new Uint8Array()) });
  expect(data["root"]).toBe(hex((await publishing.edge(on.tenant, 10)).root()));
  expect(restoreSignedBy(statementOf(data), textOf(data, "key"))).toBe(true);
  expect(await on.recorded(deploymentTenant, "deployment.restored")).toEqual([
    { ledgers: [[on.tenant, 1, 10, 16]], total: 1, missing: [] },
  ]);
  expect(await refusal(restore(on.parts, { reason: "again" }))).toMatchObject([
    "nothing_to_restore",
    expect.stringContaining("agree"),
  ]);
  expect((await refusal(restoreAsClone(on.parts, { reason: "again" })))[0]).toBe("nothing_to_restore");
  expect(await on.recorded(on.tenant, "ledger.restored")).toHaveLength(1);
  // The database from before the restore is the wrong one now.
  await publishing.stop();
  await before.fill(1);
  expect((await refusal(before.publisher().publish(on.tenant)))[0]).toBe("publishing_stopped");
}, 30_000);

function textOf(data: JsonObject, name: string): string {
  const value = data[name];
  if (typeof value !== "string") throw new Error(`\`${name}\` is no text`);
  return value;
}

/** The note that a restore entry was made of. */
function statementOf(data: JsonObject) {
  const bytes = (name: string): Uint8Array => Buffer.from(textOf(data, name), "hex");
  const origin = textOf(data, "previousOrigin");
  const text = restoreStatementText({
    ...{ origin, incarnation: Number(data["incarnation"]), atMs: Number(data["atMs"]) },
    ...{
      size: Number(data["size"]),
      root: bytes("root"),
      lostSize: Number(data["lostSize"]),
      lostRoot: bytes("lostRoot"),
    },
  });
  const key = verifierKey({ name: origin, type: 1, publicKey: textOf(data, "key") });
  const signature = fromBase64Url(textOf(data, "signature"), 64) ?? new Uint8Array();
  const parsed = parseRestoreStatement(formatNote(text, [signatureLine(key, signature)]));
  if (!parsed.ok) throw new Error(parsed.problem);
  return parsed.statement;
}

test("entries written after the backup, before anybody noticed, do not count as kept", async () => {
  const { on } = await rolledBack();
  await on.fill(9); // 19 now: more than were signed, but others
  const publishing = on.publisher();
  expect((await refusal(publishing.publish(on.tenant)))[1]).toMatch(/are not those that were signed/);
  expect((await restore(on.parts, { reason: "r" })).ledgers).toMatchObject([{ keptSize: 10, lostSize: 16 }]);
});

test("what is cut off between entry and memory is finished by the next, without a second entry", async () => {
  const { on } = await rolledBack();
  const memory = copyFolder(on.folder);
  await restore(on.parts, { reason: "r" });
  rmSync(on.folder, { recursive: true });
  const again = await bench({ database: on.database, tenants: on.tenants, folder: memory });
  expect((await restore(again.parts, { reason: "r" })).ledgers).toMatchObject([{ incarnation: 1 }]);
  expect(await on.recorded(on.tenant, "ledger.restored")).toHaveLength(1);
  expect((await again.publisher().publish(on.tenant)).incarnation).toBe(1);
});

test("a key made after the backup is recorded again; both kinds of loss at once", async () => {
  const { on } = await rolledBack((before) => rotateKeys(before.parts, { reason: "yearly" }));
  const publishing = on.publisher();
  expect((await refusal(publishing.publish(on.tenant)))[1]).toMatch(/does not know all keys.*countersign restore/);
  await publishing.stop();
  await restore(on.parts, { reason: "r" });
  expect(await on.recorded(deploymentTenant, "log_key.rotated")).toHaveLength(1);
  const { keys } = await listKeys(on.parts, on.parts);
  expect(keys.map(({ current }) => current)).toEqual([false, true]);
  expect((await on.publisher().publish(on.tenant)).incarnation).toBe(1);
});

test("a lost memory is a restore too: what had been signed is the newest checkpoint there is", async () => {
  const { before } = await rolledBack();
  for (const spoil of ["memory", join("memory", before.tenant)])
    rmSync(join(before.folder, spoil), { recursive: true, force: true });
  expect((await restore(before.parts, { reason: "r" })).ledgers).toEqual(
    expect.arrayContaining([{ tenant: before.tenant, incarnation: 1, keptSize: 16, lostSize: null }]),
  );
  expect((await before.publisher().publish(before.tenant)).incarnation).toBe(1);
});

test("restored twice: incarnations go on", async () => {
  const { on } = await rolledBack();
  await restore(on.parts, { reason: "first" });
  const publishing = on.publisher();
  await publishing.publish(on.tenant);
  await publishing.stop();
  const copy = await createDatabase({ copyOf: on.database });
  await on.fill(4);
  const later = on.publisher();
  await later.publish(on.tenant);
  await later.stop();
  const again = await bench({ database: copy, tenants: on.tenants, folder: on.folder });
  expect((await restore(again.parts, { reason: "second" })).ledgers).toMatchObject([
    { incarnation: 2, keptSize: 11, lostSize: 15 },
  ]);
  expect((await again.publisher().publish(on.tenant)).checkpoint.origin).toMatch(/\/2$/);
}, 30_000);

test("a copy becomes a deployment of its own, and the original goes on untouched", async () => {
  const before = await bench();
  await before.fill(10);
  const original = before.publisher();
  await original.publish(before.tenant);
  await original.stop();
  const copy = await createDatabase({ copyOf: before.database });
  const folder = join(temporaryDirectory(), "staging-keys");
  const on = await bench({ database: copy, tenants: before.tenants, folder });
  const waiting = on.publisher();
  expect((await refusal(waiting.publish(on.tenant)))[1]).toMatch(/--as-clone/);
  await waiting.stop();
  expect((await refusal(restore(on.parts, { reason: "r" })))[0]).toBe("log_key_unusable");
  const done = await restoreAsClone(on.parts, { reason: "staging", deployment: "staging.example.org" });
  expect(done).toMatchObject({
    deployment: "staging.example.org",
    previousDeployment: await before.open().deployment(),
  });
  expect(await on.recorded(deploymentTenant, "deployment.cloned")).toHaveLength(1);
  const publishing = on.publisher();
  const { checkpoint } = await publishing.publish(on.tenant);
  expect(checkpoint.origin).toBe(`staging.example.org/${on.tenant}/1`);
  expect((await publishing.checkpoints(on.tenant)).map((one) => one.checkpoint.origin)).toEqual([checkpoint.origin]);
  expect(await publishing.keyStatements()).toHaveLength(1);
  await before.fill(1);
  expect((await before.publisher().publish(before.tenant)).checkpoint.size).toBe(11);
  expect((await refusal(restoreAsClone(on.parts, { reason: "again" })))[0]).toBe("nothing_to_restore");
  // Not with somebody's live keys.
  const wrong = await bench({ database: copy, tenants: before.tenants, folder: before.folder });
  expect((await refusal(restoreAsClone(wrong.parts, { reason: "r" })))[1]).toMatch(/name an empty directory/);
});

test("nothing was ever published: there is nothing to restore", async () => {
  const on = await bench();
  await on.fill(1);
  expect((await refusal(restoreAsClone(on.parts, { reason: "r" })))[0]).toBe("nothing_to_restore");
  expect((await refusal(restore(on.parts, { reason: "r" })))[0]).toBe("log_key_unusable");
});

test("the proofs of an incarnation go over what was kept", async () => {
  const { on } = await rolledBack();
  await restore(on.parts, { reason: "r" });
  const publishing = on.publisher();
  const { checkpoint } = await publishing.publish(on.tenant);
  const { proof, leaf } = await publishing.prove(on.tenant, 3);
  expect([proof.length > 0, leaf.includes(on.tenant)]).toEqual([true, true]);
  const edge = await publishing.edge(on.tenant, checkpoint.size);
  expect(hex(new RightEdge(checkpoint.size, edge.hashes()).root())).toBe(hex(checkpoint.root));
});
