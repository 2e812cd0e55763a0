/**
 * Attacks by those who hold more than the database: an old key, a statement of another ledger, an empty file. Each row is a ledger that
 * was tampered with so that its parts agree with each other; what must never come of it is exit code 0 under a policy that demands more.
 */
import { describe, expect, it } from "vitest";
import {
  exitCodeOf,
  originOf,
  restoreStatementText,
  signMessage,
  verifyEntries,
  type StoredEntry,
  type VerifyOptions,
  type VerifyResult,
} from "../src/index.js";
import { chainOf, plain, startMs, tenant, type Draft } from "./chains.js";
import {
  anchorOf,
  checkpointAt,
  deployment,
  edgeAt,
  logKey,
  nextKey,
  policyOf,
  rootAt,
  statementsOf,
  thiefKey,
  trustOf,
} from "./logs.js";

const ledger = chainOf(Array.from({ length: 60 }, (_, i) => plain(i)));
const policy = policyOf("a");
const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");
const revokedAt = startMs + 100_000;
const root = { kind: "root", key: logKey } as const;
const rotate = { kind: "rotate", key: nextKey, by: [logKey, nextKey] } as const;
const revoke = { kind: "revoke", key: logKey, by: [nextKey], atMs: revokedAt } as const;
const onlyRoot = await statementsOf(root);
const rotated = await statementsOf(root, rotate);
const revoked = await statementsOf(root, rotate, revoke);

const verify = (entries: readonly StoredEntry[], options: Partial<VerifyOptions>): Promise<VerifyResult> =>
  verifyEntries([entries], { tenant, deployment, ...options });
const told = ({ findings, notes }: VerifyResult): string[] => [
  ...findings.map((finding) => `${finding.class} ${finding.seq ?? "-"}`),
  ...notes.map((note) => note.class.toLowerCase()),
];

describe("statements about keys that are held back", () => {
  const atMs = startMs + 50_000;
  /** The log's key was rotated at entry 40, and the anchor has checkpoints before and after. */
  async function anchor() {
    const [before, after] = [await checkpointAt(ledger, 40), await checkpointAt(ledger, 60, { key: nextKey })];
    return trustOf({ policy, anchors: [anchorOf("a", [before, after], { atMs })] });
  }
  const short = ledger.slice(0, 40);

  it.each<[string, Partial<VerifyOptions>]>([
    ["in a database", {}],
    ["in a bundle exported later", { readFrom: "bundle", reachesEnd: true, to: 39, readAtMs: atMs + 100_000 }],
    ["in a part, exported later", { readFrom: "bundle", reachesEnd: false, to: 39, readAtMs: atMs + 100_000 }],
  ])("a ledger cut to where its key was rotated is not shown to be whole: %s", async (_, more) => {
    const own = [await checkpointAt(ledger, 40)];
    const result = await verify(short, {
      ...{ trust: await anchor(), ownCheckpoints: own, ownKeyStatements: onlyRoot },
      ...more,
    });
    expect([result.completeness.status, exitCodeOf(result)]).toEqual(["not_shown", 2]);
    expect(told(result)).toContain("key_unknown");
  });

  it("nor where no quorum is demanded: what the anchor holds would contradict it", async () => {
    const trust = { ...(await anchor()), policy: policyOf("none") };
    const result = await verify(short, { trust, ownCheckpoints: [], ownKeyStatements: onlyRoot });
    expect(exitCodeOf(result)).toBe(2);
  });

  it.each<[string, Partial<VerifyOptions>]>([
    ["a bundle from before the rotation", { readFrom: "bundle", to: 39, reachesEnd: true, readAtMs: atMs - 1 }],
    ["a policy that pins the new key", { trust: undefined as never }],
  ])("no alarm: %s", async (what, more) => {
    const pinsNew = trustOf({
      policy: policyOf("a", { key: nextKey }),
      anchors: (await anchor()).anchors,
    });
    const isOld = what.startsWith("a bundle");
    const result = await verify(isOld ? short : ledger, {
      ...{ ownCheckpoints: [], ownKeyStatements: isOld ? onlyRoot : [] },
      ...more,
      trust: isOld ? await anchor() : pinsNew,
    });
    expect([result.completeness.status, exitCodeOf(result)]).toEqual(["shown", 0]);
  });

  it("a rotation that a revoked key signed is none to whoever kept the true statements", async () => {
    const forged = await statementsOf(root, { kind: "rotate", key: thiefKey, by: [logKey, thiefKey] });
    const own = [await checkpointAt(ledger, 60, { key: thiefKey })];
    const trust = trustOf({ policy: policyOf("none"), keyStatements: revoked });
    const result = await verify(ledger, { trust, ownCheckpoints: own, ownKeyStatements: forged });
    expect(told(result)).toContain("KEY_UNTRUSTED 0");
    // The ledger's own, longer than what was kept, are believed.
    const later = await verify(ledger, {
      trust: trustOf({ policy: policyOf("none"), keyStatements: onlyRoot }),
      ...{ ownCheckpoints: [await checkpointAt(ledger, 60, { key: nextKey })], ownKeyStatements: rotated },
    });
    expect(later.findings).toEqual([]);
  });

  it("the key pinned for one tenant signs for no other", async () => {
    const other = "0199c000-0000-7000-8000-0000000000ff";
    const mine = policyOf("none", { log: `${deployment}/${tenant}`, key: logKey });
    const foreign = policyOf("none", { log: `${deployment}/${other}`, key: thiefKey });
    const both = { ...mine, logs: [...mine.logs, ...foreign.logs] };
    const own = [await checkpointAt(ledger, 60, { key: thiefKey })];
    const result = await verify(ledger, { trust: trustOf({ policy: both }), ownCheckpoints: own });
    expect(told(result)).toEqual(["KEY_UNTRUSTED 0"]);
  });
});

describe("restore entries that excuse too much", () => {
  interface Said {
    readonly key?: typeof logKey;
    readonly of?: string;
    readonly in?: string;
    readonly size?: number;
    readonly root?: Uint8Array;
  }
  function restored({ key = logKey, of = tenant, in: name = deployment, size = 30, root: at }: Said): Draft {
    const previousOrigin = originOf({ deployment: name, tenant: of, incarnation: 0 });
    const kept = at ?? rootAt(ledger, size);
    const lost = { lostSize: 60, lostRoot: rootAt(ledger, 60) };
    const statement = { origin: previousOrigin, incarnation: 1, size, root: kept, ...lost, atMs: startMs };
    const signature = signMessage(key.privateKey, Buffer.from(restoreStatementText(statement)));
    const data = { incarnation: 1, size, root: hex(kept), lostSize: 60, lostRoot: hex(lost.lostRoot) };
    return {
      action: "ledger.restored",
      subject: { type: "tenant", id: tenant },
      data: { ...data, previousOrigin, atMs: startMs, key: key.publicKey, signature },
    };
  }
  /** Cut to 35 entries, and then the entry. */
  function after(said: Said): StoredEntry[] {
    const kept = ledger.slice(0, 35);
    const more = chainOf([restored(said), plain(900)], tenant, { seq: 35, prev: kept.at(-1)?.hash ?? "" });
    return [...kept, ...more];
  }
  async function check(said: Said, more: Partial<VerifyOptions> = {}): Promise<VerifyResult> {
    const entries = after(said);
    const anchored = [await checkpointAt(ledger, 30), await checkpointAt(ledger, 60)];
    return verify(entries, {
      ...{ ownCheckpoints: [await checkpointAt(ledger, 30)], ownKeyStatements: revoked },
      trust: trustOf({ policy, anchors: [anchorOf("a", anchored, { atMs: revokedAt - 1 })] }),
      ...more,
    });
  }

  it.each<[string, Said]>([
    ["of another tenant", { of: "0199c000-0000-7000-8000-0000000000ff" }],
    ["of another deployment", { in: "other.example" }],
    ["that names another root of a size that is known", { root: Buffer.alloc(32, 7) }],
    ["signed by a key that is revoked, and nobody confirms it", {}],
  ])("%s", async (_, said) => {
    const statements = said.of === undefined && said.in === undefined && said.root === undefined ? revoked : rotated;
    const result = await check(said, { ownKeyStatements: statements });
    expect(told(result)[0]).toBe("ROLLED_BACK 37");
    expect(exitCodeOf(result)).toBe(1);
  });

  it("signed by a key that still counts: believed", async () => {
    const result = await check({}, { ownKeyStatements: rotated });
    expect(result.findings).toEqual([]);
  });

  it("signed by a key that was revoked later: believed once a checkpoint that counts covers the entry", async () => {
    const entries = after({});
    const [old, now] = [{ incarnation: 0 }, { incarnation: 1, key: nextKey }];
    const newest = await checkpointAt(entries, 37, now);
    const own = [await checkpointAt(ledger, 30, old), newest];
    const anchored = [await checkpointAt(ledger, 30), await checkpointAt(ledger, 60)];
    const result = await check(
      {},
      {
        ownCheckpoints: own,
        trust: trustOf({ policy, anchors: [anchorOf("a", anchored, { atMs: revokedAt - 1 })] }),
      },
    );
    expect(result.findings).toEqual([]);
    expect(told(result)).toContain("restored");
  });
});

describe("nothing at all", () => {
  it.each<[string, Partial<VerifyOptions>]>([
    ["in a database", {}],
    ["in a bundle that says it is old", { readFrom: "bundle", to: -1, reachesEnd: true, readAtMs: 0 }],
  ])("no entries, and an anchor that is away: not shown to be whole, %s", async (_, more) => {
    const view = { ...anchorOf("a", []), unreadable: "away" };
    const result = await verify([], { trust: trustOf({ policy, anchors: [view] }), ...more });
    expect([result.completeness.status, exitCodeOf(result)]).toEqual(["not_shown", 2]);
  });

  it("a bundle of nothing that says it is older than everything an anchor holds", async () => {
    const trust = trustOf({ policy, anchors: [anchorOf("a", [await checkpointAt(ledger, 60)])] });
    const old = { readFrom: "bundle", to: -1, reachesEnd: true, readAtMs: 0 } as const;
    const result = await verify([], { trust, ...old });
    expect(exitCodeOf(result)).toBe(2);
  });
});

describe("a selection", () => {
  it("whose only checkpoint is signed by a revoked key, nobody knows when, shows nothing", async () => {
    const checkpoint = await checkpointAt(ledger, 60);
    const selection = { size: 60, root: checkpoint.root };
    const [entry] = ledger.slice(59);
    const proof = edgeAt(ledger, 59).hashes().reverse();
    const result = await verify([{ ...(entry as StoredEntry), proof }], {
      ...{ selection, ownCheckpoints: [checkpoint], ownKeyStatements: revoked, reachesEnd: false },
      trust: trustOf({ policy: policyOf("none") }),
    });
    expect(result.findings).toEqual([]);
    expect([result.integrity, exitCodeOf(result)]).toEqual(["undecided", 3]);
  });
});
