/**
 * What anchors, witnesses and keys show and do not show: each row does something to a ledger, or does nothing, and says what the
 * verifier must find. False alarms are as bad as misses, so half of the rows are of ledgers that are as they should be.
 */
import { describe, expect, it } from "vitest";
import {
  exitCodeOf,
  verifyEntries,
  type Checkpoint,
  type StoredEntry,
  type Trust,
  type VerifyOptions,
  type VerifyResult,
} from "../src/index.js";
import { chainOf, plain, rehashed, startMs, tenant, type Draft } from "./chains.js";
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

const drafts = (count: number): Draft[] => Array.from({ length: count }, (_, i) => plain(i));
const size = 600;
const ledger = chainOf(drafts(size));
/** The same up to `from`, then others, chained anew. */
function rewritten(from: number, to = size): StoredEntry[] {
  const before = ledger.slice(0, from);
  const prev = before.at(-1)?.hash;
  const more = chainOf(
    Array.from({ length: to - from }, (_, i) => plain(10_000 + i)),
    tenant,
    { seq: from, prev: prev ?? "0".repeat(64) },
  );
  return [...before, ...more];
}

const own = await Promise.all([100, 300, 500, 600].map((n) => checkpointAt(ledger, n)));
const at = (n: number): Checkpoint => own[[100, 300, 500, 600].indexOf(n)] as Checkpoint;
const policy = policyOf("a");
const anchored = (...sizes: number[]): Trust =>
  trustOf({ policy, anchors: [anchorOf("a", sizes.map(at), { leaves: ledger })] });
const withoutLeaves = (...sizes: number[]): Trust => trustOf({ policy, anchors: [anchorOf("a", sizes.map(at))] });

const verify = (entries: readonly StoredEntry[], options: Partial<VerifyOptions> = {}): Promise<VerifyResult> =>
  verifyEntries([entries], { tenant, deployment, trust: anchored(300, 600), ownCheckpoints: own, ...options });
/** `CLASS seq`, and of notes `class`. */
const told = ({ findings, notes }: VerifyResult): string[] => [
  ...findings.map((finding) => `${finding.class} ${finding.seq ?? "-"}`),
  ...notes.map((note) => note.class.toLowerCase()),
];

interface Case {
  readonly entries?: readonly StoredEntry[];
  readonly options?: Partial<VerifyOptions> | (() => Promise<Partial<VerifyOptions>>);
  readonly found: readonly string[];
  readonly exit: number;
  readonly status?: string;
}

async function check({ entries = ledger, options = {}, found, exit, status }: Case): Promise<VerifyResult> {
  const result = await verify(entries, typeof options === "function" ? await options() : options);
  expect(told(result)).toEqual(found);
  expect(exitCodeOf(result)).toBe(exit);
  if (status !== undefined) expect(result.completeness.status).toBe(status);
  return result;
}

describe("ledgers that are as they should be", () => {
  it.each<[string, Case]>([
    ["anchored to the end", { found: [], exit: 0, status: "shown" }],
    ["no policy, no anchors", { options: { trust: trustOf() }, found: [], exit: 0, status: "not_demanded" }],
    [
      "nothing known at all",
      { options: { trust: trustOf(), ownCheckpoints: [] }, found: [], exit: 0, status: "not_demanded" },
    ],
    [
      "a policy that demands nothing",
      {
        options: { trust: { ...anchored(600), policy: policyOf("none") } },
        found: [],
        exit: 0,
        status: "not_demanded",
      },
    ],
    [
      "entries after the last anchored ones: shown up to there",
      { options: { trust: anchored(300, 500) }, found: ["unanchored"], exit: 0, status: "shown" },
    ],
    [
      "the same where all must be covered",
      {
        options: { trust: { ...anchored(300, 500), requireAnchored: true } },
        found: ["unanchored"],
        exit: 2,
        status: "not_shown",
      },
    ],
    [
      "covered to the end, as demanded",
      { options: { trust: { ...anchored(600), requireAnchored: true } }, found: [], exit: 0, status: "shown" },
    ],
    [
      "the anchor is away",
      {
        options: { trust: trustOf({ policy, anchors: [anchorOf("a", [], { unreadable: "ENOENT" })] }) },
        found: ["anchor_unreadable", "unanchored"],
        exit: 2,
        status: "not_shown",
      },
    ],
    [
      "the anchor has nothing yet",
      { options: { trust: anchored() }, found: ["unanchored"], exit: 2, status: "not_shown" },
    ],
    [
      "one of two anchors is enough for `any`",
      {
        options: {
          trust: trustOf({
            policy: policyOf("g", { anchors: ["a", "b"], groups: ["group g any a b"] }),
            anchors: [anchorOf("a", [at(500)]), anchorOf("b", [], { unreadable: "away" })],
          }),
        },
        found: ["anchor_unreadable", "unanchored"],
        exit: 0,
        status: "shown",
      },
    ],
    [
      "and not for `all`",
      {
        options: {
          trust: trustOf({
            policy: policyOf("g", { anchors: ["a", "b"], groups: ["group g all a b"] }),
            anchors: [anchorOf("a", [at(500)]), anchorOf("b", [], { unreadable: "away" })],
          }),
        },
        found: ["anchor_unreadable", "unanchored"],
        exit: 2,
        status: "not_shown",
      },
    ],
    [
      "two witnesses of three cosigned",
      {
        options: async () => ({
          trust: trustOf({ policy: policyOf("g", { anchors: [], groups: ["group g 2 w0 w1 w2"] }) }),
          ownCheckpoints: [
            await checkpointAt(ledger, 500, { cosigned: [[0, 1], [2, 3]] }), // prettier-ignore
            await checkpointAt(ledger, 600, { cosigned: [[1, 5]] }),
          ],
        }),
        found: ["unanchored"],
        exit: 0,
        status: "shown",
      },
    ],
    [
      "one witness of three is not enough",
      {
        options: async () => ({
          trust: trustOf({ policy: policyOf("g", { anchors: [], groups: ["group g 2 w0 w1 w2"] }) }),
          ownCheckpoints: [await checkpointAt(ledger, 600, { cosigned: [[1, 5]] })],
        }),
        found: [],
        exit: 2,
        status: "not_shown",
      },
    ],
    [
      "the key was rotated, properly",
      {
        options: async () => ({
          ownKeyStatements: await statementsOf(
            { kind: "root", key: logKey },
            { kind: "rotate", key: nextKey, by: [logKey, nextKey] },
          ),
          ownCheckpoints: [at(100), await checkpointAt(ledger, 550, { key: nextKey })],
          trust: trustOf({ policy, anchors: [anchorOf("a", [await checkpointAt(ledger, 550, { key: nextKey })])] }),
        }),
        found: ["key_rotated", "unanchored"],
        exit: 0,
        status: "shown",
      },
    ],
    [
      "an empty ledger, of which nobody knows anything",
      { entries: [], options: { ownCheckpoints: [], trust: anchored() }, found: [], exit: 2 },
    ],
    [
      "an anchor that holds checkpoints of another tenant only",
      {
        options: async () => ({
          trust: trustOf({
            policy,
            anchors: [
              anchorOf("a", [
                await checkpointAt(ledger, 700, {
                  of: "0199c000-0000-7000-8000-00000000000b",
                  root: new Uint8Array(32),
                }),
              ]),
            ],
          }),
        }),
        found: ["unanchored"],
        exit: 2,
      },
    ],
    [
      "a checkpoint somebody else signed in the anchor is no sign of tampering, and nothing is shown while it is there",
      {
        options: async () => ({
          trust: trustOf({
            policy,
            anchors: [anchorOf("a", [at(500), await checkpointAt(rewritten(50), 600, { key: thiefKey })])],
          }),
        }),
        found: ["key_unknown", "unanchored"],
        exit: 2,
      },
    ],
    [
      "a later range, with its edge",
      {
        entries: ledger.slice(400),
        options: () => Promise.resolve({ from: 400, leftEdge: edgeHashes(400), trust: anchored(100, 300, 500, 600) }),
        found: [],
        exit: 0,
        status: "shown",
      },
    ],
    [
      "a later range, without: nothing can be compared",
      { entries: ledger.slice(400), options: { from: 400 }, found: ["unanchored"], exit: 2 },
    ],
    [
      "a part of the ledger is not truncated",
      { entries: ledger.slice(0, 400), options: { to: 399 }, found: ["unanchored"], exit: 0 },
    ],
    [
      "reading that failed says nothing about the end",
      {
        entries: ledger.slice(0, 400),
        options: { reachesEnd: false, ownCheckpoints: [] },
        found: ["unanchored"],
        exit: 0,
      },
    ],
  ])("%s", async (_, row) => void (await check(row)));

  it("a bundle that was exported before the anchor learnt more", async () => {
    const entries = ledger.slice(0, 550);
    const options = {
      ...({ readFrom: "bundle", readAtMs: startMs + 499_000, to: 549, reachesEnd: true } as const),
      ownCheckpoints: [at(100), at(300), at(500)],
    };
    await check({ entries, options, found: ["anchor_ahead", "unanchored"], exit: 0, status: "shown" });
  });
});

describe("what is found", () => {
  const cut = ledger.slice(0, 550);
  const forged = rewritten(450);
  it.each<[string, Case]>([
    ["6 the tail cut", { entries: cut, found: ["TRUNCATED 550", "unanchored"], exit: 1 }],
    ["6 the tail cut, no anchor", { entries: cut, options: { trust: trustOf() }, found: ["TRUNCATED 550"], exit: 1 }],
    [
      "6 the tail cut and its checkpoints, found by the deployment's ledger",
      {
        entries: cut,
        options: {
          trust: trustOf(),
          ownCheckpoints: own.slice(0, 3),
          recordedHead: { size: 590, root: new Uint8Array(32), seq: 7 },
        },
        found: ["TRUNCATED 550"],
        exit: 1,
      },
    ],
    [
      "6 the tail of a bundle cut",
      {
        entries: cut,
        options: {
          readFrom: "bundle",
          readAtMs: startMs + 600_000,
          to: 549,
          reachesEnd: true,
          ownCheckpoints: own.slice(0, 3),
        },
        found: ["TRUNCATED 550", "unanchored"],
        exit: 1,
      },
    ],
    ["7 rewritten from 450", { entries: forged, found: ["HISTORY_REWRITTEN 450", "unanchored"], exit: 1 }],
    [
      "7 rewritten from 450, no leaf tiles",
      {
        entries: forged,
        options: { trust: withoutLeaves(300, 500, 600) },
        found: ["HISTORY_REWRITTEN 300", "unanchored"],
        exit: 1,
      },
    ],
    [
      "7 rewritten, nothing but its own checkpoints",
      { entries: forged, options: { trust: trustOf() }, found: ["HISTORY_REWRITTEN 300"], exit: 1 },
    ],
    [
      "7 rewritten, found by the deployment's ledger",
      {
        entries: forged,
        options: {
          trust: trustOf(),
          ownCheckpoints: [],
          recordedHead: { size: 500, root: rootAt(ledger, 500), seq: 7 },
        },
        found: ["HISTORY_REWRITTEN 0"],
        exit: 1,
      },
    ],
    [
      "7 rewritten from the first entry",
      { entries: rewritten(0), found: ["HISTORY_REWRITTEN 0", "unanchored"], exit: 1 },
    ],
    [
      "8 rewritten after the last anchored entry: not tampering, and not shown",
      {
        entries: forged,
        options: { trust: { ...anchored(300), requireAnchored: true }, ownCheckpoints: own.slice(0, 2) },
        found: ["unanchored"],
        exit: 2,
      },
    ],
    [
      "10 two signed heads of one size",
      {
        options: async () => ({
          trust: trustOf({
            policy: policyOf("a", { anchors: ["a", "b"] }),
            anchors: [anchorOf("a", [at(600)]), anchorOf("b", [await checkpointAt(forged, 600)])],
          }),
        }),
        found: ["EQUIVOCATION -", "ANCHOR_MISMATCH 0"],
        exit: 1,
      },
    ],
    [
      "11 rewritten and signed anew with the stolen key",
      {
        entries: forged,
        options: async () => ({ ownCheckpoints: [at(100), at(300), await checkpointAt(forged, 590)] }),
        found: ["ANCHOR_MISMATCH 450", "unanchored"],
        exit: 1,
      },
    ],
    [
      "12 the key swapped",
      {
        options: async () => ({
          ownCheckpoints: [at(100), at(300), await checkpointAt(ledger, 590, { key: thiefKey })],
        }),
        found: ["KEY_UNTRUSTED 300"],
        exit: 1,
      },
    ],
    [
      "12 a rotation forged",
      {
        options: async () => ({
          ownKeyStatements: await statementsOf(
            { kind: "root", key: logKey },
            { kind: "rotate", key: thiefKey, by: [thiefKey] },
          ),
          ownCheckpoints: [at(100), at(300), await checkpointAt(ledger, 590, { key: thiefKey })],
        }),
        found: ["KEY_UNTRUSTED 300"],
        exit: 1,
      },
    ],
    [
      "12 a root of its own",
      {
        options: async () => ({
          ownKeyStatements: await statementsOf({ kind: "root", key: thiefKey }),
          ownCheckpoints: [await checkpointAt(ledger, 590, { key: thiefKey })],
        }),
        found: ["KEY_UNTRUSTED 0"],
        exit: 1,
      },
    ],
    [
      "12 a rotation forged, and no policy: its own statements do not hold",
      {
        options: async () => ({
          trust: trustOf(),
          ownKeyStatements: await statementsOf(
            { kind: "root", key: logKey },
            { kind: "rotate", key: thiefKey, by: [thiefKey] },
          ),
          ownCheckpoints: [at(100), at(300), await checkpointAt(ledger, 590, { key: thiefKey })],
        }),
        found: ["KEY_UNTRUSTED 300"],
        exit: 1,
      },
    ],
    [
      "21 an older backup in its place",
      {
        entries: ledger.slice(0, 320),
        options: { ownCheckpoints: own.slice(0, 2) },
        found: ["ROLLED_BACK 320", "unanchored"],
        exit: 1,
      },
    ],
    [
      "21 an older backup, and it went on from there",
      {
        entries: forged,
        options: { ownCheckpoints: own.slice(0, 2) },
        found: ["ROLLED_BACK 450", "unanchored"],
        exit: 1,
      },
    ],
    [
      "22 the anchor lies in the data directory",
      {
        options: { trust: trustOf({ policy, anchors: [anchorOf("a", own, { sameSource: true })] }) },
        found: ["anchor_source_untrusted", "unanchored"],
        exit: 2,
      },
    ],
    [
      "22 the policy lies in the data directory",
      { options: { trust: { ...anchored(600), policySameSource: true } }, found: ["anchor_source_untrusted"], exit: 2 },
    ],
    [
      "22 no policy, and anchored it must be",
      { options: { trust: trustOf({ requireAnchored: true }) }, found: ["anchor_source_untrusted"], exit: 2 },
    ],
    [
      "a policy for another log",
      {
        options: { trust: { ...anchored(600), policy: policyOf("a", { log: "other.example" }) } },
        found: ["unanchored"],
        exit: 2,
      },
    ],
    [
      "an anchor beside the source still proves what it can",
      {
        entries: forged,
        options: { trust: trustOf({ policy, anchors: [anchorOf("a", [at(600)], { sameSource: true })] }) },
        found: ["HISTORY_REWRITTEN 0", "anchor_source_untrusted", "unanchored"],
        exit: 1,
      },
    ],
    [
      "content edited under its hash: the anchors agree, and nothing else is said",
      {
        entries: ledger.map((entry, i) =>
          i === 5 ? { ...entry, content: (entry.content as string).replace("abab", "abac") } : entry,
        ),
        found: ["CONTENT_MISMATCH 5"],
        exit: 1,
      },
    ],
    [
      "content and hash edited: one finding, the roots are its consequence",
      {
        entries: ledger.map((entry, i) =>
          i === 5 ? rehashed({ ...entry, content: (entry.content as string).replace("abab", "abac") }) : entry,
        ),
        found: ["LINK_BROKEN 6", "unanchored"],
        exit: 1,
      },
    ],
    ["one deleted", { entries: ledger.filter((_, i) => i !== 5), found: ["GAP 5", "unanchored"], exit: 1 }],
  ])("%s", async (_, row) => void (await check(row)));

  it("says how much there was", async () => {
    const { findings } = await verify(cut);
    expect(findings[0]).toMatchObject({ class: "TRUNCATED", have: 550, anchored: 600, evidence: [at(600).text] });
  });
  it("keeps both notes of an equivocation", async () => {
    const other = await checkpointAt(forged, 600);
    const { findings } = await verify(ledger, { trust: trustOf({ policy, anchors: [anchorOf("a", [other])] }) });
    const found = findings.find((finding) => finding.class === "EQUIVOCATION");
    expect([...(found?.evidence ?? [])].sort()).toEqual([at(600).text, other.text].sort());
    expect(found?.size).toBe(600);
  });
  it("says between which sizes, where no leaf hashes are kept", async () => {
    const { findings } = await verify(forged, { trust: withoutLeaves(100, 300, 500, 600) });
    expect(findings[0]).toMatchObject({ between: [300, 500] });
  });
});

const revokedAt = startMs + 100_000;
const statements = await statementsOf(
  { kind: "root", key: logKey },
  { kind: "rotate", key: nextKey, by: [logKey, nextKey] },
  { kind: "revoke", key: logKey, by: [nextKey], atMs: revokedAt },
);

describe("13 signatures of a revoked key", () => {
  const policyW = policyOf("w0", { anchors: [] });
  const cosignedAfter = (seconds: number | undefined): Promise<Checkpoint> =>
    checkpointAt(ledger, 600, seconds === undefined ? {} : { cosigned: [[0, seconds]] });

  it.each<[string, number | undefined, readonly string[], number]>([
    ["cosigned before: it counts", 99, ["key_rotated", "key_revoked"], 0],
    ["cosigned after: found", 101, ["KEY_REVOKED 600", "key_rotated", "key_revoked"], 1],
    ["not cosigned: nobody can tell, never tampering", undefined, ["key_revoked", "key_rotated", "key_revoked"], 2],
  ])("%s", async (_, seconds, found, exit) => {
    const checkpoint = await cosignedAfter(seconds);
    const options = { trust: trustOf({ policy: policyW }), ownKeyStatements: statements, ownCheckpoints: [checkpoint] };
    const result = await verify(ledger, options);
    expect([...told(result)].sort()).toEqual([...found].sort());
    expect(exitCodeOf(result)).toBe(exit);
  });

  it("covered by a later checkpoint that counts: revoked from a moment on at which it still signed", async () => {
    const trust = trustOf({ policy: policyW });
    const early = await checkpointAt(ledger, 500, { cosigned: [[0, 101]] });
    const covering = await checkpointAt(ledger, 600, { key: nextKey, cosigned: [[0, 102]] });
    const options = { trust, ownKeyStatements: statements };
    const covered = await verify(ledger, { ...options, ownCheckpoints: [early, covering] });
    expect([covered.completeness.status, exitCodeOf(covered)]).toEqual(["shown", 0]);
    expect(covered.notes.filter((note) => note.class === "KEY_REVOKED").map(({ detail }) => detail)).toContainEqual(
      expect.stringContaining("a later one that does covers what they say"),
    );
    // One behind it, or of another tree, is covered by nothing.
    const before = await checkpointAt(ledger, 300, { key: nextKey });
    expect(told(await verify(ledger, { ...options, ownCheckpoints: [before, early] }))).toContain("KEY_REVOKED 500");
    const other = await checkpointAt(rewritten(450), 500, { cosigned: [[0, 101]] });
    expect(told(await verify(ledger, { ...options, ownCheckpoints: [other, covering] }))).toContain("KEY_REVOKED 500");
  });

  it("an anchor that held it before the revocation is as good as a witness", async () => {
    const view = anchorOf("a", [at(600)], { atMs: revokedAt - 1 });
    const options = {
      trust: trustOf({ policy, anchors: [view] }),
      ownKeyStatements: statements,
      ownCheckpoints: [at(600)],
    };
    const result = await verify(ledger, options);
    expect([result.completeness.status, exitCodeOf(result)]).toEqual(["shown", 0]);
  });

  it("the verifier's own statements count where the ledger hides the revocation", async () => {
    const trust = trustOf({ policy: policyW, keyStatements: statements });
    const result = await verify(ledger, { trust, ownCheckpoints: [await cosignedAfter(101)] });
    expect(told(result)).toContain("KEY_REVOKED 600");
  });
});

function edgeHashes(n: number): readonly Uint8Array[] {
  return edgeAt(ledger, n).hashes();
}
