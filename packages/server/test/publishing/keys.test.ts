/** The key directory: rotation, revocation, and every way in which it can be lost, damaged or somebody else's. */
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import {
  formatVerifierKey,
  generateSigningKeyPair,
  isSignedBy,
  readKeyHistory,
  signerOf,
  verifierKey,
} from "@countersign/proof";
import { describe, expect, test } from "vitest";
import { initKeys, listKeys, repairStatements, revokeKey, rotateKeys } from "../../src/publishing/index.js";
import { finishPending, prepareRotation } from "../../src/publishing/keyChanges.js";
import { KeyRing, openKeys } from "../../src/publishing/keys.js";
import { systemClock } from "../../src/platform/index.js";
import { deploymentTenant } from "../../src/tenancy/index.js";
import { createDatabase, temporaryDirectory } from "../support/postgres.js";
import { bench, copyFolder, refusal, until, type Bench } from "../support/publishing.js";

/** Published once, and stopped. */
async function published(given: Parameters<typeof bench>[0] = {}): Promise<Bench> {
  const on = await bench(given);
  await on.fill(3);
  const publishing = on.publisher();
  await publishing.publish(on.tenant);
  await publishing.publish(deploymentTenant);
  await publishing.stop();
  return on;
}

test("the first start makes a key that only its owner reads, and records it", async () => {
  const on = await published();
  expect(readdirSync(on.folder).sort()).toEqual(["deployment", "key", "memory", "statements"]);
  expect([statSync(on.folder).mode & 0o777, statSync(join(on.folder, "key")).mode & 0o777]).toEqual([0o700, 0o600]);
  const list = await listKeys(on.parts, on.parts);
  expect(list).toMatchObject({ recorded: true, keys: [{ number: 0, current: true, revokedAtMs: null }] });
  expect(list.deployment).toMatch(/^countersign-[0-9a-f]{16}$/);
  const publishing = on.open();
  expect(await publishing.keyStatements()).toHaveLength(1);
  expect(await publishing.deployment()).toBe(list.deployment);
  const secret = readFileSync(join(on.folder, "key"), "utf8").trim().split(" ")[1] ?? "?";
  expect(JSON.stringify([on.reports, list, await publishing.keyStatements()])).not.toContain(secret);
});

test("after three rotations and a revocation every checkpoint there ever was still verifies", async () => {
  const on = await bench();
  const publishing = on.publisher();
  for (let turn = 0; turn < 4; turn++) {
    if (turn > 0) await rotateKeys(on.parts, { reason: "yearly" });
    await on.fill(2);
    // The server that runs takes the new key: nobody tells it.
    expect((await publishing.publish(on.tenant)).checkpoint.size).toBe(2 * turn + 2);
    expect(publishing.status().key?.number).toBe(turn);
  }
  const { keys, deployment } = await listKeys(on.parts, on.parts);
  expect(new Set(keys.map(({ publicKey }) => publicKey)).size).toBe(4);
  const signers = (await publishing.checkpoints(on.tenant)).map(({ checkpoint }) =>
    keys.findIndex(({ publicKey }) => isSignedBy(checkpoint, publicKey)),
  );
  expect(signers).toEqual([0, 1, 2, 3]);
  const statements = await publishing.keyStatements();
  const pinned = [keys[0]?.publicKey ?? ""];
  const history = readKeyHistory(statements, { deployment, pinned });
  expect(history.problems).toEqual([]);
  expect(history.keys.every(({ trusted }) => trusted)).toBe(true);

  const sinceMs = Date.now();
  const [old, current] = [keys[1], keys[3]];
  const revoked = await revokeKey(on.parts, { key: old?.verifierKey ?? "", sinceMs, reason: "lost" });
  expect(revoked.keys[1]).toMatchObject({ revokedAtMs: sinceMs, current: false });
  await on.fill(1);
  expect((await publishing.publish(on.tenant)).checkpoint.size).toBe(9);
  const again = { sinceMs, reason: "again" };
  expect((await refusal(revokeKey(on.parts, { key: old?.publicKey ?? "", ...again })))[0]).toBe("already_exists");
  expect((await refusal(revokeKey(on.parts, { key: current?.publicKey ?? "", ...again })))[1]).toContain("keys rotate");
  expect((await refusal(revokeKey(on.parts, { key: "deadbeef", ...again })))[0]).toBe("not_found");
  const actions = ["log_key.created", "log_key.rotated", "log_key.revoked"] as const;
  const counts = await Promise.all(actions.map(async (action) => (await on.recorded(deploymentTenant, action)).length));
  expect(counts).toEqual([1, 3, 1]);
});

test("a rotation that is cut off anywhere is finished by whoever comes next, once", async () => {
  for (const point of ["pending", "entry", "statements", "key"] as const) {
    const on = await published();
    const before = copyFolder(on.folder);
    await prepareRotation({ keys: await openKeys(on.parts), atMs: Date.now(), reason: "yearly" });
    const pending = readFileSync(join(on.folder, "pending"));
    if (point !== "pending") await finishPending(on.parts);
    // The directory as it was when the process died after the step.
    if (point === "entry")
      for (const name of ["statements", "key"]) writeFileSync(join(on.folder, name), readFileSync(join(before, name)));
    if (point === "statements") writeFileSync(join(on.folder, "key"), readFileSync(join(before, "key")));
    writeFileSync(join(on.folder, "pending"), pending, { mode: 0o600 });
    await on.fill(1);
    const publishing = on.publisher();
    const { checkpoint } = await publishing.publish(on.tenant);
    const { keys, recorded } = await listKeys(on.parts, on.parts);
    expect([point, keys.length, recorded, keys[1]?.current]).toEqual([point, 2, true, true]);
    expect(isSignedBy(checkpoint, keys[1]?.publicKey ?? "")).toBe(true);
    expect(await on.recorded(deploymentTenant, "log_key.rotated")).toHaveLength(1);
    expect(existsSync(join(on.folder, "pending"))).toBe(false);
    await publishing.stop();
  }
});

test("keys that change while they are read are read again", async () => {
  const on = await published();
  const { keys } = await rotateKeys(on.parts, { reason: "lost" });
  const key = keys[0]?.publicKey ?? "";
  let meanwhile: (() => Promise<unknown>) | undefined = () =>
    revokeKey(on.parts, { key, sinceMs: 1_000, reason: "lost" });
  const withSnapshot: typeof on.parts.storage.withSnapshot = async (tenant, work) => {
    const read = await on.parts.storage.withSnapshot(tenant, work);
    const now = meanwhile;
    meanwhile = undefined;
    await now?.();
    return read;
  };
  const ring = new KeyRing({ ...on.parts, storage: { withSnapshot } });
  expect((await ring.current()).revokedKeys).toEqual([]);
  expect((await ring.current()).revokedKeys).toEqual([key]);
});

test("keys made before the first start are recorded by it; a signer of one's own takes the key's place", async () => {
  const folder = join(temporaryDirectory(), "log-keys");
  const own = generateSigningKeyPair();
  const signer = signerOf(own);
  const given = { folder, signer, clock: systemClock };
  const made = await initKeys(given, "ledger.example.org/main", undefined);
  expect(made).toMatchObject({ recorded: false, deployment: "ledger.example.org/main" });
  expect((await refusal(initKeys(given, undefined, undefined)))[0]).toBe("already_exists");
  for (const name of ["", "a b", "a+b", "ü", "x".repeat(201)])
    expect((await refusal(initKeys({ ...given, folder: `${folder}2` }, name, undefined)))[0]).toBe("invalid_request");
  const on = await bench({ folder });
  await on.fill(1);
  const publishing = on.publisher({ signer });
  const { checkpoint } = await publishing.publish(on.tenant);
  expect(checkpoint.origin).toBe(`ledger.example.org/main/${on.tenant}`);
  expect(isSignedBy(checkpoint, own.publicKey)).toBe(true);
  expect(existsSync(join(folder, "key"))).toBe(false);
  const next = signerOf(generateSigningKeyPair());
  const parts = { ...on.parts, signer };
  const rotated = await rotateKeys(parts, { reason: "new device" }, next);
  expect(rotated.keys.map(({ current }) => current)).toEqual([false, true]);
  // The old device is not the current key any more.
  await until(() => (publishing.status().state === "stopped" ? true : undefined));
  expect(publishing.status().reason).toContain("is not the current one");
  await publishing.stop();
  await on.fill(1);
  expect((await on.publisher({ signer: next }).publish(on.tenant)).checkpoint.size).toBe(2);
});

describe("what is wrong with the directory stops the signing, says the way out, and is noticed when it is put right", () => {
  const key = (folder: string): string => join(folder, "key");
  const memory = (folder: string): string => {
    const [tenant] = readdirSync(join(folder, "memory")).filter((name) => name !== deploymentTenant);
    const inside = join(folder, "memory", tenant ?? "");
    return join(inside, readdirSync(inside)[0] ?? "");
  };
  for (const [what, spoil, reason] of [
    ["others may read the key", (f: string) => chmodSync(key(f), 0o640), /chmod 600.*keys rotate/],
    ["the key is gone", (f: string) => rmSync(key(f)), /there is no log key.*backup/],
    ["the key is cut short", (f: string) => writeFileSync(key(f), readFileSync(key(f)).subarray(0, 40)), /no log key/],
    [
      "the key is another one",
      (f: string) => writeFileSync(key(f), `countersign-log-key.v1 ${generateSigningKeyPair().privateKey}\n`),
      /not the current one/,
    ],
    ["the key is a folder", (f: string) => (rmSync(key(f)), mkdirSync(key(f))), /no file of ours/],
    [
      "the statements are cut short",
      (f: string) => writeFileSync(join(f, "statements"), readFileSync(join(f, "statements")).subarray(0, 100)),
      /cut short.*keys repair/,
    ],
    ["the statements are gone", (f: string) => rmSync(join(f, "statements")), /do not verify.*keys repair/],
    [
      "a statement is edited",
      (f: string) =>
        writeFileSync(join(f, "statements"), readFileSync(join(f, "statements"), "utf8").replace("root", "toor")),
      /keys repair/,
    ],
    ["the deployment has no name", (f: string) => writeFileSync(join(f, "deployment"), "a b\n"), /no name/],
    ["the directory is gone", (f: string) => renameSync(f, `${f}-gone`), /has no keys.*--as-clone/],
    [
      "the directory is another deployment's",
      (f: string) => writeFileSync(join(f, "deployment"), "other\n"),
      /do not verify/,
    ],
    ["the memory is damaged", (f: string) => writeFileSync(memory(f), "{"), /damaged.*countersign restore/],
    ["the memory is cut to nothing", (f: string) => writeFileSync(memory(f), ""), /damaged/],
    ["the memory is emptied", (f: string) => rmSync(memory(f)), /remembers nothing.*countersign restore/],
    ["all memory is gone", (f: string) => rmSync(join(f, "memory"), { recursive: true }), /remembers nothing/],
    [
      "the memory is of another size",
      (f: string) => writeFileSync(memory(f), readFileSync(memory(f), "utf8").replace('"size":3', '"size":2')),
      /are not those that were signed/,
    ],
    [
      "the memory is of another log",
      (f: string) =>
        writeFileSync(memory(f), readFileSync(memory(f), "utf8").replace("countersign-", "countersigned-")),
      /remembers origin/,
    ],
  ] as const)
    test(what, async () => {
      const on = await published();
      const whole = copyFolder(on.folder);
      spoil(on.folder);
      await on.fill(1);
      const publishing = on.publisher();
      const [code, message] = await refusal(publishing.publish(on.tenant));
      expect(code).toBe("publishing_stopped");
      expect(message).toMatch(reason);
      // Everything else works, and what was published is served.
      expect((await publishing.latest(on.tenant))?.checkpoint.size).toBe(3);
      expect((await publishing.prove(on.tenant, 2)).size).toBe(3);
      await publishing.stop();
      rmSync(on.folder, { recursive: true, force: true });
      renameSync(whole, on.folder);
      expect((await on.publisher().publish(on.tenant)).checkpoint.size).toBeGreaterThanOrEqual(4);
    });

  test("the statements are written anew from the ledger", async () => {
    const on = await published();
    await rotateKeys(on.parts, { reason: "r" });
    const good = readFileSync(join(on.folder, "statements"));
    writeFileSync(join(on.folder, "statements"), good.subarray(0, good.length - 5));
    expect((await refusal(listKeys(on.parts, on.parts)))[1]).toContain("keys repair");
    await repairStatements(on.parts);
    expect(readFileSync(join(on.folder, "statements")).equals(good)).toBe(true);
  });

  test("a database that is another's gets no second identity", async () => {
    const on = await published();
    const stranger = await bench();
    const strange = stranger.publisher();
    await stranger.fill(1);
    await strange.publish(stranger.tenant);
    await strange.stop();
    const mixed = await bench({ database: on.database, tenants: on.tenants, folder: stranger.folder });
    const publishing = mixed.publisher();
    await mixed.fill(1);
    expect((await refusal(publishing.publish(on.tenant)))[1]).toMatch(/has the keys of .* and the database is that of/);
    expect((await refusal(initKeys({ ...on.parts, folder: `${on.folder}-new` }, undefined, on.parts)))[0]).toBe(
      "log_key_unusable",
    );
  });
});

test("two that start at once with two empty directories: one deployment", async () => {
  const database = await createDatabase();
  const [a, b] = [await bench({ database }), await bench({ database })];
  await a.fill(1);
  const both = [a, b].map((on) => on.publisher({ tenants: a.parts.tenants }));
  await until(() =>
    both.some((one) => one.status().state === "leading") && both.some((one) => one.status().state === "stopped")
      ? true
      : undefined,
  );
  expect(await a.recorded(deploymentTenant, "log_key.created")).toHaveLength(1);
  const leader = both.find((one) => one.status().state === "leading");
  expect((await leader?.publish(a.tenant))?.checkpoint.size).toBe(1);
});

test("a policy line of a key is what `log` takes", async () => {
  const on = await published();
  const { keys, deployment } = await listKeys(on.parts, on.parts);
  const [first] = keys;
  expect(first?.verifierKey).toBe(
    formatVerifierKey(verifierKey({ name: deployment, type: 1, publicKey: first?.publicKey ?? "" })),
  );
});
