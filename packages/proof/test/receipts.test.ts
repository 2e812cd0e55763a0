/**
 * Receipts and the key statements they carry: with the policy an auditor wrote down once they verify alone after any number of rotations,
 * and statements that do not lead from a pinned key to the one that signed are worth nothing. Where Python is at hand, the second
 * verifier says the same of every one.
 */
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  exitCodeOf,
  formatKeyStatements,
  formatReceipt,
  formatTlogProof,
  formatVerifierKey,
  fromBase64,
  keyStatementsMax,
  linkText,
  noteBytesMax,
  parseKeyStatements,
  parseKeyStatement,
  parsePolicy,
  parseReceiptExtra,
  signCheckpoint,
  signerOf,
  signKeyStatement,
  statementHash,
  toBase64,
  verifierKey,
  verifyReceipt,
  type StoredEntry,
  type Trust,
} from "../src/index.js";
import { chainOf, plain, startMs, tenant } from "./chains.js";
import {
  checkpointAt,
  deployment,
  edgeAt,
  keyOf,
  statementsOf,
  thiefKey,
  trustOf,
  witnessKeys,
  witnessName,
  type CheckpointOptions,
  type KeyStep,
} from "./logs.js";

const script = fileURLToPath(new URL("../../../docs/verify-by-hand/countersign_verify.py", import.meta.url));
const python = spawnSync("python3", ["-c", "import sys; print(sys.version_info >= (3, 8))"], { encoding: "utf8" });
const absent = python.stdout?.trim() === "True" ? undefined : "python3 (3.8 or later) is not on this machine";
if (absent !== undefined) console.warn(`receipts are not read by the second verifier: ${absent}`);

const ledger = chainOf(Array.from({ length: 12 }, (_, i) => plain(i)));
const size = ledger.length;
/** The last, whose way to the root is the complete subtrees before it. */
const proven = ledger[size - 1] as StoredEntry;
const link = linkText({ ...proven, tenant });
const path = edgeAt(ledger, size - 1)
  .hashes()
  .reverse();

type Key = ReturnType<typeof keyOf>;
const [k0, k1, k2, k3] = [keyOf(60), keyOf(61), keyOf(62), keyOf(63)];
const root: KeyStep = { kind: "root", key: k0 };
const rotate = (from: Key, to: Key): KeyStep => ({ kind: "rotate", key: to, by: [from, to] });
const revoke = (key: Key, by: Key, seconds: number): KeyStep => ({
  ...{ kind: "revoke", key, by: [by] },
  atMs: startMs + seconds * 1000,
});
const thrice = [root, rotate(k0, k1), rotate(k1, k2), rotate(k2, k3)];

interface Receipt extends CheckpointOptions {
  readonly statements: readonly string[];
}

/** As anybody could put it together: whatever the statements are. */
async function receiptOf({ statements, ...options }: Receipt): Promise<string> {
  const checkpoint = (await checkpointAt(ledger, size, options)).text;
  const extra = Buffer.from(link + formatKeyStatements(statements));
  return formatTlogProof({ index: proven.seq, proof: path, checkpoint, extra });
}

interface Judge {
  /** Pinned; null: no policy. */
  readonly pins?: Key | null;
  readonly quorum?: string;
  /** Name of the policy's log line. */
  readonly log?: string;
  readonly kept?: readonly string[];
}

const vkey = (name: string, { publicKey }: Key, type: 1 | 4 = 1): string =>
  formatVerifierKey(verifierKey({ name, type, publicKey }));
const policyText = (pins: Key, quorum: string, log = deployment): string =>
  `log ${vkey(log, pins)}\nwitness w0 ${vkey(witnessName(0), witnessKeys[0] as Key, 4)}\nquorum ${quorum}\n`;

function ours(receipt: string | Uint8Array, { pins = k0, quorum = "none", log, kept = [] }: Judge = {}) {
  const parsed = parsePolicy(policyText(pins ?? k0, quorum, log));
  if (!parsed.ok) throw new Error(JSON.stringify(parsed.problems));
  const policy: Partial<Trust> = pins === null ? {} : { policy: parsed.policy };
  return verifyReceipt(receipt, { trust: trustOf({ ...policy, keyStatements: kept }) });
}

let folder: string;
beforeAll(() => void (folder = mkdtempSync(join(tmpdir(), "countersign-receipts-"))));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** What the second verifier is asked at the end, in one process: starting it once for each would take longer than all it does. */
const asked: { readonly words: string[]; readonly expected: readonly (string | number)[] }[] = [];
const runAll = `
import contextlib, io, json, sys
sys.dont_write_bytecode = True
sys.path.insert(0, sys.argv[1])
import countersign_verify
answers = []
for words in json.load(sys.stdin):
    sys.argv, out = ["countersign_verify"] + words, io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(io.StringIO()):
        code = countersign_verify.main()
    told = json.loads(out.getvalue()) if out.getvalue() else {"class": "MALFORMED"}
    # A receipt whose first line is damaged is read as a bundle.
    found = told["class"] if "class" in told else told["first"]["class"]
    answers.append([code] + ([found] if found else []))
print(json.dumps(answers))
`;

function askTheirs(
  receipt: string | Uint8Array,
  { pins = k0, quorum = "none", log }: Judge,
  expected: readonly (string | number)[],
) {
  const [file, policy] = [join(folder, `${asked.length}.tlog-proof`), join(folder, `${asked.length}.policy`)];
  writeFileSync(file, receipt);
  if (pins !== null) writeFileSync(policy, policyText(pins, quorum, log));
  asked.push({ words: [file, "--json", ...(pins === null ? [] : ["--policy", policy])], expected });
}

/** Exit code and class of the first finding. */
async function check(receipt: string | Uint8Array, judge: Judge, expected: readonly (string | number)[]) {
  const result = ours(receipt, judge);
  const found = result.findings[0]?.class;
  expect([exitCodeOf(result), ...(found === undefined ? [] : [found])]).toEqual(expected);
  if ((judge.kept ?? []).length === 0) askTheirs(receipt, judge, expected);
  return result;
}

const untrusted = [1, "KEY_UNTRUSTED"] as const;

describe("a receipt made after the key was rotated three times", () => {
  it.each<[string, Key]>([
    ["the first key", k0],
    ["one between", k2],
    ["the last", k3],
  ])("verifies alone with a policy that pins %s", async (_, pins) => {
    const statements = await statementsOf(...thrice);
    const result = await check(await receiptOf({ statements, key: k3 }), { pins }, [0]);
    expect(result).toMatchObject({ integrity: "ok", receipt: { seq: proven.seq, hash: proven.hash, size } });
  });
  it("one signed with a key before: the same", async () => {
    for (const key of [k0, k1, k2])
      await check(await receiptOf({ statements: await statementsOf(...thrice), key }), {}, [0]);
  });
  it("by the last key of 60", async () => {
    const keys = Array.from({ length: 60 }, (_, n) => keyOf(100 + n));
    const steps = keys.slice(1).map((key, n) => rotate(keys[n] as Key, key));
    const statements = await statementsOf({ kind: "root", key: keys[0] as Key }, ...steps);
    await check(await receiptOf({ statements, key: keys.at(-1) as Key }), { pins: keys[0] as Key }, [0]);
  });
  it("a bare link, which is what receipts were: with a policy that pins the key, or with statements kept", async () => {
    const bare = await receiptOf({ statements: [], key: k3 });
    const kept = await statementsOf(...thrice);
    await check(bare, { pins: k3 }, [0]);
    await check(bare, {}, untrusted);
    await check(bare, { kept }, [0]);
    await check(bare, { kept: kept.slice(0, 3) }, untrusted);
  });
  it("without a policy nobody is believed, whatever it brings", async () => {
    const statements = await statementsOf(...thrice);
    await check(await receiptOf({ statements, key: k3 }), { pins: null }, [3]);
    await check(await receiptOf({ statements: statements.slice(0, 2), key: k3 }), { pins: null }, untrusted);
  });
});

describe("the name of the policy's log line", () => {
  const origin = `${deployment}/${tenant}`;
  it.each<[string, { log: string; incarnation: number }, (string | number)[]]>([
    ["the tenant", { log: origin, incarnation: 0 }, [0]],
    ["the tenant, which was restored", { log: origin, incarnation: 1 }, [0]],
    ["the incarnation itself", { log: `${origin}/1`, incarnation: 1 }, [0]],
    ["the one before", { log: `${origin}/1`, incarnation: 2 }, [...untrusted]],
    ["the one behind", { log: `${origin}/1`, incarnation: 0 }, [...untrusted]],
    ["another tenant", { log: `${deployment}/x`, incarnation: 0 }, [2]],
    ["half the deployment's", { log: deployment.slice(0, 4), incarnation: 0 }, [2]],
  ])("%s", async (_, { log, incarnation }, expected) => {
    const statements = await statementsOf(...thrice);
    for (const pins of [k0, k3])
      await check(await receiptOf({ statements, key: k3, incarnation }), { pins, log }, expected);
  });
});

describe("an origin of no ledger", () => {
  it.each(["5", "/5", "a/5", tenant, `/${tenant}`, `${deployment}/${tenant}/0`, `${deployment}/${tenant}/01`, "x"])(
    "malformed: %s",
    async (origin) => {
      const checkpoint = await signCheckpoint({ origin, size, root: edgeAt(ledger, size).root() }, signerOf(k0));
      const text = formatTlogProof({ index: proven.seq, proof: path, checkpoint, extra: Buffer.from(link) });
      await check(text, {}, [4, "MALFORMED"]);
    },
  );
});

describe("statements that lead nowhere", () => {
  const forged: readonly [string, () => Promise<string[]>, Key][] = [
    ["the last left out", async () => (await statementsOf(...thrice)).slice(0, 3), k3],
    ["the first left out", async () => (await statementsOf(...thrice)).slice(1), k3],
    ["one between left out", async () => (await statementsOf(...thrice)).filter((_, n) => n !== 2), k3],
    ["in another order", async () => swapped(await statementsOf(...thrice)), k3],
    ["each twice", async () => (await statementsOf(...thrice)).flatMap((one) => [one, one]), k3],
    ["a rotation that the old key did not sign", () => statementsOf(root, { ...rotate(k0, thiefKey), by: [thiefKey] }), thiefKey],
    ["a rotation that the new key did not sign", () => statementsOf(root, { ...rotate(k0, k1), by: [k0] }), k1],
    ["a rotation signed by a key that is none", () => statementsOf(root, rotate(thiefKey, k3)), k3],
    ["a chain of somebody's own", () => statementsOf({ kind: "root", key: thiefKey }, rotate(thiefKey, k3)), k3],
    ["of another deployment", () => statementsElsewhere(), k3],
    ["another deployment's, under this one's name", async () => (await statementsElsewhere()).map((one) => one.replaceAll("elsewhere.example", deployment)), k3],
    ["texts that are none", async () => ["x", "y\n\n— z AAAAAAA=\n"], k3],
    ["a restore statement's text", async () => ["countersign.restore.v1\na\n1\n\n— z AAAAAAA=\n"], k3],
  ]; // prettier-ignore
  it.each(forged)("%s: no key that counts signed", async (_, make, key) => {
    await check(await receiptOf({ statements: await make(), key }), {}, untrusted);
  });
  it.each(forged)("%s: not accepted where the key itself is pinned", async (name, make, key) => {
    // What stood behind the damage may have revoked it; a receipt without statements would be accepted.
    await check(await receiptOf({ statements: await make(), key }), { pins: key }, [undamaged.includes(name) ? 0 : 3]);
  });
  /** A beginning of the true chain is no damage; and a chain whose last key is pinned, and signed for it, is whole. */
  const undamaged = ["the last left out", "a chain of somebody's own"];

  async function statementsElsewhere(): Promise<string[]> {
    const texts: string[] = [];
    let previous = "0".repeat(64);
    for (const [number, { kind, key, by = [key] }] of thrice.entries()) {
      const statement = { deployment: "elsewhere.example", number, previous, kind, key: key.publicKey, atMs: startMs };
      const text = await signKeyStatement(statement, by.map(signerOf));
      const read = parseKeyStatement(text);
      if (!read.ok) throw new Error(read.problem);
      previous = statementHash(read.statement.note.text);
      texts.push(text);
    }
    return texts;
  }
});

const swapped = ([first = "", second = "", ...rest]: readonly string[]): string[] => [second, first, ...rest];

describe("revoked keys", () => {
  const steps = [...thrice, revoke(k1, k3, 100)];
  it.each<[string, CheckpointOptions, (string | number)[]]>([
    ["another one: nothing to it", { key: k3 }, [0]],
    ["that one, nobody knows when", { key: k1 }, [3]],
    ["that one, cosigned before", { key: k1, cosigned: [[0, 99]] }, [0]],
    ["that one, cosigned after", { key: k1, cosigned: [[0, 100]] }, [1, "KEY_REVOKED"]],
    ["that one, cosigned before by nobody of the policy", { key: k1, cosigned: [[1, 99]] }, [3]],
  ])("signed by %s", async (_, options, expected) => {
    await check(await receiptOf({ statements: await statementsOf(...steps), ...options }), {}, expected);
  });
  it("a receipt that leaves the revocation out: judged by what it has, and by what was kept", async () => {
    const all = await statementsOf(...steps);
    const without = await receiptOf({ statements: all.slice(0, 4), key: k1 });
    await check(without, {}, [0]);
    await check(without, { kept: all }, [3]);
  });
  it("a revocation by somebody else, or of the key in force, revokes nothing; the receipt is not accepted either", async () => {
    const by = async (step: KeyStep): Promise<string[]> => statementsOf(...thrice, step);
    for (const step of [revoke(k1, thiefKey, 100), revoke(k1, k1, 100), revoke(k3, k3, 100)])
      await check(await receiptOf({ statements: await by(step), key: k3 }), {}, [3]);
  });
  it("who kept the true chain is not led along one that forks off before its revocation", async () => {
    const fork = await statementsOf(root, rotate(k0, k1), rotate(k1, thiefKey));
    const receipt = await receiptOf({ statements: fork, key: thiefKey });
    await check(receipt, { kept: await statementsOf(...steps) }, untrusted);
    const pinned = await receiptOf({ statements: fork, key: k0 });
    await check(pinned, {}, [0]);
    await check(pinned, { kept: await statementsOf(...steps) }, [3]);
  });
});

describe("what follows the link", () => {
  const note = "a\n\n— z AAAAAAA=\n";
  const good = `${link}${Buffer.byteLength(note)}\n${note}`;
  const bad: readonly [string, Uint8Array | string][] = [
    ["nothing at all", ""],
    ["no link", good.slice(link.length)],
    ["a link cut off", link.slice(0, -1)],
    ["a link that ends in another line", link.replace(/\n$/, "\r\n")],
    ["a line too many", `${link}\n`],
    ["a tenant that is none", link.replace(tenant, "x")],
    ["a number that is none", link.replace(`\n${proven.seq}\n`, "\n011\n")],
    ["statements without a length", `${link}${note}`],
    ["a length of 0", `${link}0\n${good.slice(link.length)}`],
    ["a length with a leading zero", good.replace(link, `${link}0`)],
    ["a length with a sign", good.replace(link, `${link}+`)],
    ["a length of eight digits", good.replace(link, `${link}10000000`)],
    ["a length beyond the end", good.slice(0, -1)],
    ["a length that leaves something over", `${good}x`],
    ["a length through a character", `${link}4\na\n\n—`],
    ["bytes that are no UTF-8", Buffer.concat([Buffer.from(`${link}1\n`), Buffer.of(0xff)])],
    ["one more than are read", link + "1\nx".repeat(keyStatementsMax + 1)],
    ["10,000", link + "1\nx".repeat(10_000)],
  ];
  it("is the statements, or nothing", () => {
    const read = (extra: string) => parseReceiptExtra(Buffer.from(extra));
    expect(read(link)).toMatchObject({ ok: true, extra: { linkText: link, keyStatements: [] } });
    expect(read(good)).toMatchObject({ ok: true, extra: { linkText: link, keyStatements: [note] } });
    expect(read(link + "1\nx".repeat(keyStatementsMax))).toMatchObject({ ok: true });
    expect(parseKeyStatements(Buffer.from(formatKeyStatements(["é", note])))).toEqual(["é", note]);
  });
  it.each(bad)("malformed: %s", async (_, extra) => {
    const checkpoint = (await checkpointAt(ledger, size, { key: k0 })).text;
    const text = formatTlogProof({ index: proven.seq, proof: path, checkpoint, extra: Buffer.from(extra) });
    await check(text, {}, [4, "MALFORMED"]);
  });
  it("malformed: longer than any receipt", async () => {
    const long = await receiptOf({ statements: ["x".repeat(noteBytesMax)], key: k0 });
    await check(long, {}, [4, "MALFORMED"]);
    const whole = await receiptOf({ statements: [], key: k0 });
    await check(whole + "— a AAAAAAA=\n".repeat(80_000), {}, [4, "MALFORMED"]);
  });
});

describe("written", () => {
  const write = async (keyStatements: readonly string[]) => {
    const checkpoint = (await checkpointAt(ledger, size, { key: k3 })).text;
    return formatReceipt({ index: proven.seq, proof: path, checkpoint, link, keyStatements });
  };
  it("with all statements; with none where there is a root alone", async () => {
    const statements = await statementsOf(...thrice);
    const { text, keyStatements } = await write(statements);
    expect(keyStatements).toBe(4);
    await check(text, {}, [0]);
    for (const few of [[], statements.slice(0, 1)])
      expect(await write(few)).toEqual({ keyStatements: 0, text: await receiptOf({ statements: [], key: k3 }) });
  });
  it("with none where they do not fit, and it says so", async () => {
    const bare = { keyStatements: null, text: await receiptOf({ statements: [], key: k3 }) };
    expect(await write(new Array<string>(10_000).fill("x"))).toEqual(bare);
    expect(await write(new Array<string>(keyStatementsMax).fill("x".repeat(800)))).toEqual(bare);
    expect(await write(["x", "y".repeat(2 * noteBytesMax)])).toEqual(bare);
    const most = await write(new Array<string>(keyStatementsMax).fill("x".repeat(700)));
    expect(most.keyStatements).toBe(keyStatementsMax);
    expect(Buffer.byteLength(most.text)).toBeLessThanOrEqual(noteBytesMax);
  });
});

describe("a flipped bit", () => {
  const make = async (): Promise<Buffer> =>
    Buffer.from(
      await receiptOf({ statements: await statementsOf(...thrice, revoke(k1, k3, 100)), key: k3, cosigned: [[0, 50]] }),
    );
  const flippedAt = (whole: Buffer, at: number, bit: number): Buffer => {
    const changed = Buffer.from(whole);
    changed[at] = (changed[at] as number) ^ (1 << bit);
    return changed;
  };
  it("anywhere: not accepted, but where a witness signed whom nothing depends on; and then it says the same", async () => {
    const whole = await make();
    const told = ours(whole).receipt;
    const cosignature = whole.lastIndexOf("— ");
    // Some in every line, a prime apart, so that all bits are met. All 25,536 pass as well, in a minute.
    for (let at = 0; at < whole.length; at += 61) {
      const flipped = flippedAt(whole, at, (at * 5) % 8);
      const result = ours(flipped);
      const found = result.findings[0]?.class;
      askTheirs(flipped, {}, [exitCodeOf(result), ...(found === undefined ? [] : [found])]);
      if (at < cosignature - 1) expect(exitCodeOf(result), `byte ${at}`).not.toBe(0);
      if (exitCodeOf(result) === 0) expect(result.receipt, `byte ${at}`).toEqual(told);
      expect(exitCodeOf(ours(flipped, { quorum: "w0" })), `byte ${at}`).not.toBe(0);
    }
  });
  it("in the bytes of the extra: malformed, another leaf, or statements that do not follow", async () => {
    const whole = (await make()).toString("utf8");
    const [, encoded = ""] = /\nextra (.*)\n/.exec(whole) ?? [];
    const extra = Buffer.from(fromBase64(encoded) as Uint8Array);
    const kept = (await statementsOf(...thrice)).slice(0, 2);
    for (let at = 0; at < extra.length; at += 53) {
      const text = whole.replace(encoded, toBase64(flippedAt(extra, at, (at * 3) % 8)));
      expect(exitCodeOf(ours(text)), `byte ${at}`).not.toBe(0);
      // Where the key that signed is pinned the statements are not needed, and yet none of them may be damaged.
      expect(exitCodeOf(ours(text, { pins: k3 })), `byte ${at}`).not.toBe(0);
      expect(exitCodeOf(ours(text, { pins: k3, kept })), `byte ${at}`).not.toBe(0);
    }
  });
});

it.skipIf(absent !== undefined)("the second verifier says the same of every one of these", () => {
  const input = JSON.stringify(asked.map(({ words }) => words));
  const { stdout, stderr } = spawnSync("python3", ["-c", runAll, dirname(script)], { input, encoding: "utf8" });
  expect(stderr).toBe("");
  const told = JSON.parse(stdout) as (string | number)[][];
  const differing = asked.flatMap(({ words, expected }, i) =>
    JSON.stringify(told[i]) === JSON.stringify(expected) ? [] : [{ file: words[0], expected, theirs: told[i] }],
  );
  expect(differing).toEqual([]);
  expect(told.length).toBeGreaterThan(100);
});
