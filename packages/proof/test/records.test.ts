/** Entries by which a ledger speaks of itself: erasures, prunings and restores, done properly and not. */
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
import { chainOf, plain, startMs, tenant, uuid, type Draft } from "./chains.js";
import {
  anchorOf,
  checkpointAt,
  deployment,
  logKey,
  policyOf,
  rootAt,
  statementsOf,
  thiefKey,
  trustOf,
} from "./logs.js";

const statements = await statementsOf({ kind: "root", key: logKey });
const told = ({ findings, notes }: VerifyResult): string[] => [
  ...findings.map((finding) => `${finding.class} ${finding.seq ?? "-"}`),
  ...notes.map((note) => `${note.class.toLowerCase()}${note.by === undefined ? "" : ` by ${note.by}`}`),
];
const verify = (entries: readonly StoredEntry[], options: Partial<VerifyOptions> = {}): Promise<VerifyResult> =>
  verifyEntries([entries], { tenant, ...options });

const erased = (...seqs: number[]): Draft => ({
  action: "subject.erased",
  subject: { type: "principal", id: uuid("ddd", 1) },
  data: { subjectType: "principal", subject: uuid("ddd", 1), policy: "customers", seqs },
});
const pruned = (upTo: number, data: Record<string, string | number> = {}): Draft => ({
  action: "ledger.pruned",
  subject: { type: "tenant", id: tenant },
  data: { upTo, archive: "ab".repeat(32), archiveEntries: upTo, kept: 1, ...data },
});

describe("erasure and pruning", () => {
  const drafts = Array.from({ length: 12 }, (_, i) => plain(i)); // every third has a body
  const whole = chainOf(drafts);
  const without = (entries: readonly StoredEntry[], what: "content" | "body", ...seqs: number[]): StoredEntry[] =>
    entries.map((entry) => {
      if (!seqs.includes(entry.seq)) return entry;
      const { body: _, ...rest } = entry;
      return what === "body" ? rest : { ...rest, content: null };
    });
  const chained = (...more: Draft[]): StoredEntry[] => chainOf([...drafts, ...more]);

  it.each<[string, readonly StoredEntry[], readonly string[]]>([
    ["nothing is gone", whole, []],
    ["nothing is gone, and an erasure says so all the same", chained(erased(3)), []],
    ["a body", without(whole, "body", 3), ["ERASED_WITHOUT_ENTRY 3"]],
    ["a body, as an entry says", without(chained(erased(3)), "body", 3), ["erased by 12"]],
    [
      "bodies, one of them as an entry says",
      without(chained(erased(3, 9)), "body", 3, 6, 9),
      ["ERASED_WITHOUT_ENTRY 6", "erased by 12"],
    ],
    [
      "bodies, as two entries say",
      without(chained(erased(3), erased(9, 6)), "body", 3, 6, 9),
      ["erased by 12", "erased by 13"],
    ],
    ["a content: erasing takes bodies only", without(chained(erased(4)), "content", 4), ["ERASED_WITHOUT_ENTRY 4"]],
    ["contents", without(whole, "content", 4, 5, 6, 8), ["ERASED_WITHOUT_ENTRY 4", "ERASED_WITHOUT_ENTRY 8"]],
    ["contents, pruned", without(chained(pruned(9)), "content", 0, 1, 2, 4, 5, 6, 8), ["pruned by 12"]],
    [
      "contents, pruned, and one behind",
      without(chained(pruned(9)), "content", 0, 1, 2, 9),
      ["ERASED_WITHOUT_ENTRY 9", "pruned by 12"],
    ],
    ["bodies, pruned", without(chained(pruned(9)), "body", 0, 3, 6), ["pruned by 12"]],
    [
      "an erasure cannot excuse what comes later",
      without(chained(erased(13), plain(0), plain(3)), "body", 13),
      ["MALFORMED 12", "ERASED_WITHOUT_ENTRY 13"],
    ],
    ["a pruning of everything there is not yet", chained(pruned(99)), ["MALFORMED 12"]],
    ["a pruning without an end", chained({ ...pruned(1), data: {} }), ["MALFORMED 12"]],
    ["rows gone from the beginning", whole.slice(3), ["PRUNED_WITHOUT_ENTRY 0"]],
    [
      "rows gone from the beginning, and a pruning that kept their hashes",
      chained(pruned(3)).slice(3),
      ["PRUNED_WITHOUT_ENTRY 0"],
    ],
  ])("%s", async (_, entries, expected) => {
    const found = told(await verify(entries, { bodiesExpected: true }));
    expect([...found].sort()).toEqual([...expected].sort());
  });

  it("names the archive", async () => {
    const { notes } = await verify(without(chained(pruned(9)), "content", 1, 2));
    expect(notes[0]).toMatchObject({ class: "PRUNED", by: 12, archive: "ab".repeat(32), upTo: 9 });
  });
  it("says nothing of bodies that nobody expects", async () => {
    expect(told(await verify(without(whole, "body", 3)))).toEqual([]);
  });
  it("a part of a ledger cannot know what is erased later", async () => {
    const part = without(whole, "body", 3).slice(0, 8);
    const result = await verify(part, { bodiesExpected: true, to: 7 });
    expect([told(result), exitCodeOf(result)]).toEqual([["erased"], 0]);
  });
  it("a million contents that are gone, one by one, and come back as pruned", async () => {
    const many = chainOf([...Array.from({ length: 3000 }, (_, i) => plain(i)), pruned(3000)]);
    const gone = many.map((entry) => (entry.seq % 2 === 1 && entry.seq < 3000 ? { ...entry, content: null } : entry));
    expect(told(await verify(gone))).toEqual(["pruned by 3000"]);
  });
});

describe("21 restores", () => {
  const before = chainOf(Array.from({ length: 40 }, (_, i) => plain(i)));
  const kept = 30;
  interface Said {
    readonly key?: typeof logKey;
    readonly size?: number;
    readonly lostSize?: number;
    readonly root?: string;
  }
  function restored({ key = logKey, size = kept, lostSize = 40, root }: Said = {}): Draft {
    const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");
    const origin = originOf({ deployment, tenant, incarnation: 0 });
    const statement = {
      ...{ origin, incarnation: 1, size, lostSize, atMs: startMs },
      root: root === undefined ? rootAt(before, size) : Buffer.from(root, "hex"),
      lostRoot: rootAt(before, 40),
    };
    const signature = signMessage(key.privateKey, Buffer.from(restoreStatementText(statement)));
    return {
      action: "ledger.restored",
      subject: { type: "tenant", id: tenant },
      data: {
        ...{ incarnation: 1, size, root: hex(statement.root), lostSize, lostRoot: hex(statement.lostRoot) },
        ...{ previousOrigin: origin, atMs: startMs, key: key.publicKey, signature },
      },
    };
  }
  const after = (said?: Said): StoredEntry[] => [
    ...before.slice(0, kept),
    ...chainOf([restored(said), ...Array.from({ length: 20 }, (_, i) => plain(700 + i))], tenant, {
      seq: kept,
      prev: before[kept - 1]?.hash ?? "",
    }),
  ];
  const policy = policyOf("a");

  async function check(entries: readonly StoredEntry[], more: Partial<VerifyOptions> = {}): Promise<VerifyResult> {
    const [old, now] = [0, 1].map((incarnation) => ({ incarnation }));
    const own = [
      await checkpointAt(before, 20, old),
      await checkpointAt(before, 30, old),
      await checkpointAt(entries, 45, now),
    ];
    const anchored = [
      await checkpointAt(before, 20, old),
      await checkpointAt(before, 40, old),
      own[2] as (typeof own)[0],
    ];
    return verify(entries, {
      ...{ deployment, ownCheckpoints: own, ownKeyStatements: statements },
      trust: trustOf({ policy, anchors: [anchorOf("a", anchored)] }),
      ...more,
    });
  }

  it("after a signed restore entry: said, and no finding", async () => {
    const result = await check(after());
    expect(told(result)).toEqual(["restored by 30", "unanchored"]);
    expect(result.notes[0]).toMatchObject({ class: "RESTORED", incarnation: 1 });
    expect([result.completeness.status, exitCodeOf(result)]).toEqual(["shown", 0]);
  });

  it.each<[string, Said]>([
    ["signed by a stranger", { key: thiefKey }],
    ["that names another root", { root: "ab".repeat(32) }],
    ["that gives up less than was lost", { lostSize: 35 }],
  ])("a restore entry %s excuses nothing", async (_, said) => {
    const result = await check(after(said));
    expect(result.integrity).toBe("tampered");
    expect(["ROLLED_BACK", "ANCHOR_MISMATCH", "HISTORY_REWRITTEN"]).toContain(result.first?.class);
  });

  it("restored again to an older state, and nobody said so", async () => {
    const result = await check(after(), { ownCheckpoints: [] });
    expect(result.integrity).toBe("ok");
    const older = before.slice(0, 25);
    const again = await check(after(), {});
    expect(again.integrity).toBe("ok");
    const rolled = await verify(older, {
      ...{ deployment, ownKeyStatements: statements, ownCheckpoints: [await checkpointAt(before, 20)] },
      trust: trustOf({
        policy,
        anchors: [anchorOf("a", [await checkpointAt(before, 20), await checkpointAt(after(), 45, { incarnation: 1 })])],
      }),
    });
    expect(told(rolled)).toContain("ROLLED_BACK 25");
  });

  it("a part after the restore, which does not see its entry, is no sign of tampering", async () => {
    const entries = after();
    const result = await check(entries.slice(35), { from: 35, leftEdge: undefined as never });
    expect(result.findings).toEqual([]);
  });

  it("a hostile restore entry is malformed, never more", async () => {
    const { data = {}, ...draft } = restored();
    const result = await check(
      after()
        .slice(0, 30)
        .concat(
          chainOf([{ ...draft, data: { ...data, root: "x" } }], tenant, { seq: 30, prev: before[29]?.hash ?? "" }),
        ),
    );
    expect(told(result)).toContain("MALFORMED 30");
  });
});
