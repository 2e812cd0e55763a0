/** The auditor's policy file, and what a deployment states about its keys: good ones, bad ones, hostile ones. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  coversOrigin,
  formatVerifierKey,
  generateSigningKeyPair,
  keyStatementText,
  parseKeyStatement,
  parsePolicy,
  parseRestoreStatement,
  quorumSize,
  readKeyHistory,
  restoreSignedBy,
  sha256Bytes,
  signerOf,
  signKeyStatement,
  signRestoreStatement,
  statementHash,
  verifierKey,
  type KeyStatement,
  type Policy,
} from "../src/index.js";

const pairs = Array.from({ length: 40 }, (_, n) => generateSigningKeyPair(Buffer.alloc(32, n + 1)));
const pair = (n: number) => pairs[n] as (typeof pairs)[number];
const vkey = (n: number, type: 1 | 4, name = `k${n}.example`): string =>
  formatVerifierKey(verifierKey({ name, type, publicKey: pair(n).publicKey }));

const good = (text: string): Policy => {
  const parsed = parsePolicy(text);
  if (!parsed.ok) throw new Error(JSON.stringify(parsed.problems));
  return parsed.policy;
};

describe("a policy file", () => {
  it("is read: logs, witnesses, anchors, groups, quorum", () => {
    const policy = good(
      [
        "# an auditor's own",
        `log ${vkey(0, 1)} https://log.example/`,
        "",
        `  witness\tX1  ${vkey(1, 4)}`,
        `witness X2 ${vkey(2, 4)} https://w.example/`,
        "anchor mine file /srv/a folder/anchor  ",
        "anchor repo git /srv/repo",
        "group X any X1 X2",
        "group all-of-it all X mine",
        "quorum all-of-it",
      ].join("\n") + "\n",
    );
    expect(policy.logs).toMatchObject([{ key: { name: "k0.example", type: 1 }, url: "https://log.example/" }]);
    expect(policy.witnesses.map(({ name, url }) => [name, url])).toEqual([
      ["X1", undefined],
      ["X2", "https://w.example/"],
    ]);
    expect(policy.anchors).toEqual([
      { name: "mine", kind: "file", location: "/srv/a folder/anchor" },
      { name: "repo", kind: "git", location: "/srv/repo" },
    ]);
    expect(policy.groups).toEqual([
      { name: "X", threshold: 1, members: ["X1", "X2"] },
      { name: "all-of-it", threshold: 2, members: ["X", "mine"] },
    ]);
    expect(policy.quorum).toBe("all-of-it");
  });
  it("that demands nothing", () => expect(good("quorum none").quorum).toBeNull());

  const w = `witness a ${vkey(1, 4)}\n`;
  const bad: readonly [string, string | Uint8Array, readonly number[]][] = [
    ["no quorum", w, [0]],
    ["two", `${w}quorum a\nquorum a`, [3]],
    ["a quorum of nobody", "quorum b", [1]],
    ["a quorum before its witness", `quorum a\n${w}`, [1]],
    ["a group of itself", `${w}group g any g\nquorum a`, [2]],
    ["a member twice", `${w}group g any a a\nquorum g`, [2]],
    ["a member of two groups", `${w}group g any a\ngroup h any a\nquorum g`, [3]],
    ["a threshold of nothing", `${w}group g 0 a\nquorum a`, [2]],
    ["a threshold above the members", `${w}group g 2 a\nquorum a`, [2]],
    ["a threshold with a leading zero", `${w}group g 01 a\nquorum a`, [2]],
    ["a group of none", `${w}group g any\nquorum a`, [2]],
    ["the name none", `witness none ${vkey(1, 4)}\nquorum none`, [1]],
    ["a name twice", `${w}anchor a file /x\nquorum a`, [2]],
    ["a key twice", `${w}witness b ${vkey(1, 4)}\nquorum a`, [2]],
    ["a log twice under two names", `log ${vkey(0, 1)}\nlog ${vkey(0, 1, "other")}\nquorum none`, [2]],
    ["a witness's key as a log", `log ${vkey(1, 4)}\nquorum none`, [1]],
    ["a log's key as a witness", `witness a ${vkey(0, 1)}\nquorum none`, [1]],
    ["another word", "logs x\nquorum none", [1]],
    ["a carriage return", `quorum none\r\n`, [1, 0]],
    ["a NUL", "quorum none\n\0", [2]],
    ["no UTF-8", Buffer.from([0xff]), [0]],
    ["an anchor without place", "anchor a file\nquorum none", [1]],
    ["a name that turns direction", `anchor a\u202eb file /x\nquorum none`, [1]],
    ["a place that does not show", `anchor a file /x\u200b\nquorum none`, [1]],
    ["a byte order mark", `\ufeffquorum none`, [1, 0]],
    ["a control character of C1", `anchor a\u0085b file /x\nquorum none`, [1]],
    ["too long", Buffer.alloc(300_000, 0x0a), [0]],
    ["nothing", "", [0]],
  ];
  it.each(bad)("refused: %s", (_, text, lines) => {
    const parsed = parsePolicy(text);
    expect(parsed.ok ? [] : parsed.problems.map(({ line }) => line)).toEqual(lines);
  });
  it("a line of spaces takes as long as any other", () => {
    const spaces = " ".repeat(250_000);
    const [anchor] = good(`anchor a file /x${spaces}y${spaces.slice(0, 100)}\nquorum none`).anchors;
    expect(anchor?.location).toHaveLength(250_003);
    expect(parsePolicy(`${spaces}anchor${spaces.slice(0, 100)}\nquorum none`).ok).toBe(false);
  });
  it("says everything that is wrong, up to a hundred", () => {
    const parsed = parsePolicy(`${"what is this\n".repeat(5000)}quorum none`);
    expect(!parsed.ok && parsed.problems).toHaveLength(100);
  });
  it("holds 256 groups, not more", () => {
    const anchors = Array.from({ length: 256 }, (_, n) => `anchor a${n} file /a/${n}\n`).join("");
    const groups = (count: number) => Array.from({ length: count }, (_, n) => `group g${n} any a${n}\n`).join("");
    expect(parsePolicy(`${anchors}${groups(256)}quorum g255`).ok).toBe(true);
    expect(parsePolicy(`${anchors}${groups(256)}group h any g0\nquorum h`).ok).toBe(false);
  });

  it("a log line covers its origin, and all below a deployment", () => {
    const [log] = good(`log ${vkey(0, 1, "d.example")}\nquorum none`).logs;
    if (log === undefined) throw new Error("no log");
    expect(["d.example", "d.example/t", "d.example/t/2", "d.example2/t", "x"].map((o) => coversOrigin(log, o))).toEqual(
      [true, true, true, false, false],
    );
  });
});

describe("quorums are over sizes", () => {
  const base = "anchor a file /a\nanchor b file /b\nanchor c file /c\n";
  const size = (text: string, sizes: Record<string, number>) =>
    quorumSize(good(base + text), new Map(Object.entries(sizes)));
  const rows: readonly [string, Record<string, number>, number | undefined][] = [
    ["quorum none", { a: 5 }, undefined],
    ["quorum a", { a: 5 }, 5],
    ["quorum a", { b: 5 }, undefined],
    ["group g any a b c\nquorum g", { a: 5, c: 9 }, 9],
    ["group g all a b c\nquorum g", { a: 5, b: 7, c: 9 }, 5],
    ["group g all a b c\nquorum g", { a: 5, b: 7 }, undefined],
    ["group g 2 a b c\nquorum g", { a: 5, b: 7, c: 9 }, 7],
    ["group g any a b\ngroup h all g c\nquorum h", { a: 5, b: 7, c: 6 }, 6],
    ["group g any a b\ngroup h all g c\nquorum h", { c: 6 }, undefined],
    ["quorum a", { a: 0 }, 0],
  ];
  it.each(rows)("%j with %o: %s", (text, sizes, expected) => expect(size(text, sizes)).toBe(expected));
  it("agrees with asking at every size whether the quorum confirmed it", () => {
    const confirms = (policy: Policy, sizes: Record<string, number>, name: string, at: number): boolean => {
      const group = policy.groups.find((one) => one.name === name);
      if (group === undefined) return (sizes[name] ?? -1) >= at;
      return group.members.filter((one) => confirms(policy, sizes, one, at)).length >= group.threshold;
    };
    const some = fc.record({ a: fc.nat(9), b: fc.nat(9), c: fc.nat(9) }, { requiredKeys: [] });
    fc.assert(
      fc.property(some, fc.integer({ min: 1, max: 2 }), fc.integer({ min: 1, max: 2 }), (sizes, k, l) => {
        const policy = good(`${base}group g ${k} a b\ngroup h ${l} g c\nquorum h`);
        const naive = Array.from({ length: 11 }, (_, at) => at)
          .filter((at) => confirms(policy, sizes, "h", at))
          .at(-1);
        expect(quorumSize(policy, new Map(Object.entries(sizes)))).toBe(naive);
      }),
    );
  });
});

const deployment = "d.example";
type Step = readonly [
  kind: KeyStatement["kind"],
  key: number,
  signers: readonly number[],
  changes?: Partial<KeyStatement>,
];

/** Statements one after the other. */
async function history(steps: readonly Step[]): Promise<string[]> {
  const made: string[] = [];
  let previous = "0".repeat(64);
  for (const [number, [kind, key, signers, changes]] of steps.entries()) {
    const { publicKey } = pair(key);
    const statement = { deployment, number, previous, kind, key: publicKey, atMs: 1000 + number, ...changes };
    made.push(
      await signKeyStatement(
        statement,
        signers.map((n) => signerOf(pair(n))),
      ),
    );
    previous = statementHash(keyStatementText(statement));
  }
  return made;
}
const read = (statements: readonly string[], ...pinned: number[]) =>
  readKeyHistory(statements, { deployment, pinned: pinned.map((n) => pair(n).publicKey) });
const trusted = (statements: readonly string[], ...pinned: number[]): number[] =>
  read(statements, ...pinned)
    .keys.filter((key) => key.trusted)
    .map((key) => pairs.findIndex((one) => one.publicKey === key.publicKey));

describe("key statements", () => {
  const three: Step[] = [
    ["root", 0, [0]],
    ["rotate", 1, [0, 1]],
    ["rotate", 2, [1, 2]],
    ["rotate", 3, [2, 3]],
  ];
  it("are followed from any key that is pinned, both ways", async () => {
    const statements = await history(three);
    for (const pinned of [0, 1, 2, 3]) expect(trusted(statements, pinned)).toEqual([0, 1, 2, 3]);
    expect(read(statements, 0).problems).toEqual([]);
    expect(trusted(statements)).toEqual([]);
    expect(trusted(statements, 9)).toEqual([9]);
  });
  it("revoke from an instant on", async () => {
    const statements = await history([...three, ["revoke", 1, [3], { atMs: 77 }]]);
    expect(read(statements, 0).keys.map((key) => key.revokedAtMs)).toEqual([undefined, 77, undefined, undefined]);
  });
  const forged: readonly [string, readonly Step[], readonly number[]][] = [
    [
      "a rotation that the old key did not sign",
      [
        ["root", 0, [0]],
        ["rotate", 1, [1]],
      ],
      [0],
    ],
    [
      "a rotation that the new key did not sign",
      [
        ["root", 0, [0]],
        ["rotate", 1, [0]],
      ],
      [0],
    ],
    [
      "a rotation by somebody else",
      [
        ["root", 0, [0]],
        ["rotate", 1, [5, 1]],
      ],
      [0],
    ],
    ["a rotation by the key before the current one", [...three, ["rotate", 4, [2, 4]]], [0, 1, 2, 3]],
    ["a key that comes back", [...three, ["rotate", 0, [3, 0]]], [0, 1, 2, 3]],
    [
      "a gap",
      [
        ["root", 0, [0]],
        ["rotate", 1, [0, 1], { number: 2 }],
      ],
      [0],
    ],
    [
      "another past",
      [
        ["root", 0, [0]],
        ["rotate", 1, [0, 1], { previous: "f".repeat(64) }],
      ],
      [0],
    ],
    [
      "another deployment",
      [
        ["root", 0, [0]],
        ["rotate", 1, [0, 1], { deployment: "e.example" }],
      ],
      [0],
    ],
    [
      "a second root",
      [
        ["root", 0, [0]],
        ["root", 1, [1, 0]],
      ],
      [0],
    ],
    [
      "the current key revoking itself",
      [
        ["root", 0, [0]],
        ["revoke", 0, [0]],
      ],
      [0],
    ],
    [
      "a revocation by the revoked key",
      [
        ["root", 0, [0]],
        ["rotate", 1, [0, 1]],
        ["revoke", 0, [0]],
      ],
      [0, 1],
    ],
    ["no root", [["rotate", 1, [0, 1]]], [0]],
  ];
  it.each(forged)("end at %s", async (_, steps, keys) => {
    const statements = await history(steps);
    expect(trusted(statements, 0).sort()).toEqual([...keys]);
    expect(read(statements, 0).problems).toHaveLength(1);
  });
  it("with one bit changed are not believed", async () => {
    const [root = "", rotate = ""] = await history(three);
    const bytes = Buffer.from(rotate);
    for (let at = 0; at < bytes.length * 8; at += 7) {
      const changed = Buffer.from(bytes);
      changed[at >> 3] = (changed[at >> 3] ?? 0) ^ (1 << (at % 8));
      expect(trusted([root, changed.toString("utf8")], 0), `bit ${at}`).toEqual([0]);
    }
  });
  it("are bounded", async () => {
    const [root = ""] = await history(three);
    expect(read([root, ...Array<string>(5000).fill("x")], 0).problems.length).toBeLessThan(3);
    expect(parseKeyStatement("x".repeat(2_000_000)).ok).toBe(false);
  });
});

describe("restore statements", () => {
  const origin = `${deployment}/0199c000-0000-7000-8000-00000000000a`;
  const statement = {
    origin,
    incarnation: 1,
    size: 5,
    root: sha256Bytes("kept"),
    lostSize: 9,
    lostRoot: sha256Bytes("lost"),
    atMs: 1_790_000_000_000,
  };
  it("are read as they were signed", async () => {
    const parsed = parseRestoreStatement(await signRestoreStatement(statement, signerOf(pair(0))));
    if (!parsed.ok) throw new Error(parsed.problem);
    const { note: _note, root, lostRoot, ...rest } = parsed.statement;
    const { root: kept, lostRoot: lost, ...others } = statement;
    expect(rest).toEqual(others);
    expect([root, lostRoot].map((hash) => Buffer.from(hash).toString("hex"))).toEqual(
      [kept, lost].map((hash) => Buffer.from(hash).toString("hex")),
    );
    expect(restoreSignedBy(parsed.statement, pair(0).publicKey)).toBe(true);
    expect(restoreSignedBy(parsed.statement, pair(1).publicKey)).toBe(false);
  });
  const bad: readonly [string, (good: string) => string][] = [
    ["an incarnation that is no later one", (good) => good.replace("\n1\n5\n", "\n0\n5\n")],
    ["a size of 2^63", (good) => good.replace("\n1\n5\n", "\n1\n9223372036854775808\n")],
    ["a leading zero", (good) => good.replace("\n1\n5\n", "\n01\n5\n")],
    ["a line more", (good) => good.replace("\n1\n5\n", "\n1\n5\n5\n")],
    ["a line less", (good) => good.replace("\n1\n5\n", "\n1\n")],
    ["another origin", (good) => good.replace("d.example/", "d example/")],
    ["capital hex", (good) => good.replace(/[0-9a-f]{64}/, (hex) => hex.toUpperCase())],
    ["another first line", (good) => good.replace("restore.v1", "restore.v2")],
    ["a carriage return", (good) => good.replace("\n", "\r\n")],
  ];
  it.each(bad)("refused: %s", async (_, change) => {
    const text = await signRestoreStatement(statement, signerOf(pair(0)));
    expect(parseRestoreStatement(text).ok).toBe(true);
    expect(change(text)).not.toBe(text);
    expect(parseRestoreStatement(change(text))).toMatchObject({
      ok: false,
      problem: expect.stringMatching(/./) as string,
    });
  });
  it("with one bit changed are not", async () => {
    const bytes = Buffer.from(await signRestoreStatement(statement, signerOf(pair(0))));
    for (let at = 0; at < bytes.length * 8; at += 7) {
      const changed = Buffer.from(bytes);
      changed[at >> 3] = (changed[at >> 3] ?? 0) ^ (1 << (at % 8));
      const parsed = parseRestoreStatement(changed);
      expect(parsed.ok && restoreSignedBy(parsed.statement, pair(0).publicKey), `bit ${at}`).toBe(false);
    }
  });
});
