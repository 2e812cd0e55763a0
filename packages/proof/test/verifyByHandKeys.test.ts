/** The rules about keys and restores in both verifiers, with a policy and an anchor's folder: they end with the same code. */
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  exitCodeOf,
  formatVerifierKey,
  noTrust,
  originOf,
  restoreStatementText,
  signMessage,
  verifierKey,
  verifyBundle,
  writeBundle,
  type BundleProofs,
  type Checkpoint,
  type StoredEntry,
} from "../src/index.js";
import { loadTrust } from "../src/load.js";
import { chainOf, otherTenant, plain, startMs, tenant, type Draft } from "./chains.js";
import { checkpointAt, deployment, edgeAt, logKey, nextKey, rootAt, statementsOf } from "./logs.js";

const script = fileURLToPath(new URL("../../../docs/verify-by-hand/countersign_verify.py", import.meta.url));
const python = spawnSync("python3", ["-c", "import sys; print(sys.version_info >= (3, 8))"], { encoding: "utf8" });
const absent = python.stdout?.trim() === "True" ? undefined : "python3 (3.8 or later) is not on this machine";
if (absent !== undefined) console.warn(`keys and restores are not read by the second verifier: ${absent}`);

const ledger = chainOf(Array.from({ length: 60 }, (_, i) => plain(i)));
const exportedAtMs = startMs + 900_000;
const root = { kind: "root", key: logKey } as const;
const rotate = { kind: "rotate", key: nextKey, by: [logKey, nextKey] } as const;
const revoke = { kind: "revoke", key: logKey, by: [nextKey], atMs: startMs + 100_000 } as const;

function restoredOf(of: string): StoredEntry[] {
  const kept = ledger.slice(0, 35);
  const [previousOrigin, keptRoot, lostRoot] = [
    originOf({ deployment, tenant: of, incarnation: 0 }),
    rootAt(ledger, 30),
    rootAt(ledger, 60),
  ];
  const numbers = { incarnation: 1, size: 30, lostSize: 60, atMs: startMs };
  const text = restoreStatementText({ ...numbers, origin: previousOrigin, root: keptRoot, lostRoot });
  const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");
  const said: Draft = {
    action: "ledger.restored",
    subject: { type: "tenant", id: tenant },
    data: {
      ...{ ...numbers, root: hex(keptRoot), lostRoot: hex(lostRoot), previousOrigin, key: logKey.publicKey },
      signature: signMessage(logKey.privateKey, Buffer.from(text)),
    },
  };
  return [...kept, ...chainOf([said, plain(900)], tenant, { seq: 35, prev: kept.at(-1)?.hash ?? "" })];
}

describe.skipIf(absent !== undefined)("keys and restores, by both verifiers", () => {
  let folder: string;
  beforeAll(() => void (folder = mkdtempSync(join(tmpdir(), "countersign-keys-"))));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  async function both(
    entries: readonly StoredEntry[],
    proofs: BundleProofs,
    {
      anchored,
      quorum = "a",
      selected,
    }: { anchored: readonly Checkpoint[]; quorum?: string | null; selected?: boolean },
  ): Promise<[number | null, number]> {
    const place = join(folder, "anchor", encodeURIComponent(`${deployment}/${tenant}`));
    mkdirSync(place, { recursive: true });
    const records = anchored.map(({ text }) => `${Buffer.byteLength(text)} ${startMs + 50_000}\n${text}`);
    writeFileSync(join(place, "checkpoints"), records.join(""));
    const policyPath = join(folder, "policy");
    const vkey = formatVerifierKey(verifierKey({ name: deployment, type: 1, publicKey: logKey.publicKey }));
    writeFileSync(policyPath, `log ${vkey}\nanchor a file ${join(folder, "anchor")}\nquorum ${quorum ?? "none"}\n`);
    const last = entries.at(-1);
    const head = last === undefined ? null : { seq: last.seq, hash: last.hash, timeMs: last.timeMs };
    const range = { from: selected === true ? 0 : (entries[0]?.seq ?? 0), to: last?.seq ?? -1, head };
    const header = { deployment, tenant, ...range, bodies: "included", exportedAtMs } as const;
    const selection = selected === true ? "entries" : "range";
    let text = "";
    for await (const piece of writeBundle({ ...header, selection }, entries, proofs)) text += piece;
    const path = join(folder, "bundle.jsonl");
    writeFileSync(path, text);
    const given = quorum === null ? [] : ["--policy", policyPath];
    const theirs = spawnSync("python3", [script, path, ...given], { encoding: "utf8" });
    expect(theirs.stderr).not.toContain("Traceback");
    const trust = quorum === null ? noTrust : loadTrust({ policyPath, ledger: { deployment, tenant } });
    return [theirs.status, exitCodeOf(await verifyBundle([Buffer.from(text)], { trust }))];
  }
  const notes = (...checkpoints: Checkpoint[]) => checkpoints.map(({ text }) => ({ note: text }));

  it("cut to where the key was rotated, the later statements left out", async () => {
    const [before, after] = [await checkpointAt(ledger, 40), await checkpointAt(ledger, 60, { key: nextKey })];
    const cut = { keyStatements: await statementsOf(root), checkpoints: notes(before) };
    const anchored = [before, after];
    expect(await both(ledger.slice(0, 40), cut, { anchored })).toEqual([2, 2]);
    expect(await both(ledger.slice(0, 40), cut, { anchored, quorum: "none" })).toEqual([2, 2]);
    const whole = { keyStatements: await statementsOf(root, rotate), checkpoints: notes(before, after) };
    expect(await both(ledger, whole, { anchored })).toEqual([0, 0]);
  });

  it("a restore of this ledger, of another, and by a revoked key", async () => {
    const anchored = [await checkpointAt(ledger, 30), await checkpointAt(ledger, 60)];
    const checkpoints = notes(await checkpointAt(ledger, 30));
    const [plainly, revoked] = [await statementsOf(root, rotate), await statementsOf(root, rotate, revoke)];
    const [ours, foreign] = [restoredOf(tenant), restoredOf(otherTenant)];
    expect(await both(ours, { checkpoints, keyStatements: plainly }, { anchored })).toEqual([0, 0]);
    expect(await both(foreign, { checkpoints, keyStatements: plainly }, { anchored })).toEqual([1, 1]);
    expect(await both(ours, { checkpoints, keyStatements: revoked }, { anchored })).toEqual([1, 1]);
  });

  it("nothing at all is not shown to be whole", async () => {
    expect(await both([], {}, { anchored: [] })).toEqual([2, 2]);
    expect(await both([], {}, { anchored: [], quorum: "none" })).toEqual([2, 2]);
    const checkpoints = notes(await checkpointAt(ledger, 60));
    expect(await both([], { checkpoints: [] }, { anchored: [], quorum: null })).toEqual([2, 2]);
    expect(await both(ledger, { checkpoints }, { anchored: [], quorum: null })).toEqual([0, 0]);
  });

  it("a selection on a checkpoint by a revoked key, nobody knows when", async () => {
    const keyStatements = await statementsOf(root, rotate, revoke);
    const proofs = { keyStatements, checkpoints: notes(await checkpointAt(ledger, 60)) };
    const entry = { ...(ledger[59] as StoredEntry), proof: edgeAt(ledger, 59).hashes().reverse() };
    const selected = { anchored: [], quorum: "none", selected: true };
    expect(await both([entry], proofs, selected)).toEqual([3, 3]);
  });
});
