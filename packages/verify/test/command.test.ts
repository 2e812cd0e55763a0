/** `countersign-verify` as auditors run it: files, policies, standing input, exit codes, and what it says. */
import { spawnSync } from "node:child_process";
import { closeSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  BundleWriter,
  exitCodes,
  formatKeyStatements,
  formatReceipt,
  formatVerifierKey,
  inclusionProof,
  linkText,
  nodeHash,
  originOf,
  sha256Hex,
  verifierKey,
  type BundleHeader,
  type Checkpoint,
  type ReadNodes,
  type StoredEntry,
} from "@countersign/proof";
import { chainOf, enrolled, plain, startMs, tenant, voted, voterOf, type Draft } from "../../proof/test/chains.js";
import { checkpointAt, deployment, logKey, nextKey, statementsOf, thiefKey } from "../../proof/test/logs.js";
import { run } from "../src/main.js";

const ada = voterOf(1);
const person: Draft = {
  action: "principal.created",
  subject: { type: "principal", id: ada.id },
  body: { name: "Ada \u001b[31mLovelace\u202e" },
};
const ledger = chainOf([person, enrolled(ada), voted(ada), ...Array.from({ length: 300 }, (_, i) => plain(i + 3))]);
const size = ledger.length;
let folder: string;
beforeAll(() => void (folder = mkdtempSync(join(tmpdir(), "countersign-verify-"))));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

interface Ran {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}
async function verify(args: readonly string[], stdin = ""): Promise<Ran> {
  let [out, err] = ["", ""];
  async function* given(): AsyncGenerator<Uint8Array> {
    await Promise.resolve();
    for (let at = 0; at < stdin.length; at += 1000) yield Buffer.from(stdin.slice(at, at + 1000), "utf8");
  }
  const code = await run({
    args,
    stdin: given(),
    out: (text) => void (out += text),
    err: (text) => void (err += text),
    watched: false,
    nowMs: () => performance.now(),
  });
  return { code, out, err };
}

function headerOf(entries: readonly StoredEntry[], changes: Partial<BundleHeader> = {}): BundleHeader {
  const last = entries.at(-1);
  return {
    ...({
      deployment,
      tenant,
      selection: "range",
      from: entries[0]?.seq ?? 0,
      to: last?.seq ?? -1,
      bodies: "included",
    } as const),
    head: last === undefined ? null : { seq: last.seq, hash: last.hash, timeMs: last.timeMs },
    exportedAtMs: startMs + 1_000_000,
    ...changes,
  };
}
function textOf(
  entries: readonly StoredEntry[],
  proofs: Parameters<BundleWriter["proofs"]>[0] = {},
  changes: Partial<BundleHeader> = {},
): string {
  const writer = new BundleWriter();
  const lines = [writer.header(headerOf(entries, changes)), writer.proofs(proofs)];
  for (const entry of entries) lines.push(writer.entry(entry));
  return lines.join("") + writer.end();
}
const put = (name: string, text: string | Uint8Array): string => {
  const path = join(folder, name);
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, text);
  return path;
};
async function proven(entries = ledger): Promise<string> {
  const statements = await statementsOf({ kind: "root", key: logKey });
  return textOf(entries, {
    keyStatements: statements,
    checkpoints: [{ note: (await checkpointAt(entries, entries.length)).text }],
  });
}
/** A policy whose file anchor holds these checkpoints. */
function policy(name: string, checkpoints: readonly Checkpoint[], key = logKey): string {
  const records = checkpoints.map(({ text }) => `${Buffer.byteLength(text)} ${startMs}\n${text}`).join("");
  const origin = originOf({ deployment, tenant, incarnation: 0 });
  put(`${name}.anchor/${encodeURIComponent(origin)}/checkpoints`, records);
  return put(`${name}.policy`, policyText("disk", `anchor disk file ./${name}.anchor\n`, key));
}
function policyText(quorum: string, anchors = "", key = logKey): string {
  const vkey = formatVerifierKey(verifierKey({ name: deployment, type: 1, publicKey: key.publicKey }));
  return `log ${vkey}\n${anchors}quorum ${quorum}\n`;
}

describe("bundles", () => {
  it("whole, without a policy: says that the keys are its own", async () => {
    const { code, out } = await verify([put("whole", await proven())]);
    expect(code).toBe(0);
    expect(out).toMatch(/^OK: 303 entries verify; completeness was not demanded\n/);
    expect(out).toContain("policy        none given: every key is the bundle's own");
    expect(out).toContain("keys that it");
    expect(out).toContain("votes 1");
    expect(out).toContain("It does not show that");
  });

  it("without entries: shows nothing, whatever is demanded", async () => {
    const nothing = textOf([]);
    const demandsNothing = put("nothing.policy", policyText("none"));
    for (const more of [[], ["--policy", demandsNothing], ["--policy", policy("nothing", [])]]) {
      const { code, out } = await verify([put("nothing", nothing), ...more]);
      expect([code, out.split("\n")[0]]).toEqual([2, "NOTHING SHOWN: there are no entries in it"]);
      expect(out).toMatch(/^completeness +not shown: there are no entries in it$/m);
      expect(out).not.toContain("all of 0");
    }
    const { code, out } = await verify([put("nothing", nothing), "--json"]);
    expect([code, JSON.parse(out)]).toMatchObject([2, { verdict: "not_shown", integrity: "ok", entries: 0 }]);
  });

  it("whole, and anchored to the end", async () => {
    const path = policy("whole", [await checkpointAt(ledger, size)]);
    const { code, out } = await verify([put("anchored", await proven()), "--policy", path, "--require-anchored"]);
    expect([code, out.split("\n")[0]]).toEqual([
      0,
      "OK: 303 entries verify, and the policy's demand on completeness is met",
    ]);
    expect(out).toContain("file disk");
    expect(out).toContain("(pinned by the policy)");
  });

  it("integrity and completeness are told apart", async () => {
    const path = policy("behind", [await checkpointAt(ledger, 100)]);
    const { code, out } = await verify([put("behind", await proven()), "--policy", path, "--require-anchored"]);
    expect(code).toBe(2);
    expect(out).toMatch(/^NOT SHOWN TO BE WHOLE: integrity holds/);
    expect(out).toMatch(/integrity\s+ok/);
    expect(out).toMatch(/completeness\s+not shown: entries up to 99 are confirmed outside, the 203/);
    expect((await verify([join(folder, "behind"), "--policy", path])).code).toBe(0);
  });

  it("names the first bad entry, what was expected and what was found", async () => {
    const text = (await proven())
      .replace('"revision":17', '"revision":18')
      .replace('\\"revision\\":17', '\\"revision\\":18');
    const { code, out } = await verify([put("tampered", text)]);
    expect(code).toBe(1);
    expect(out).toMatch(/^TAMPERED: CONTENT_MISMATCH seq=17\n/);
    expect(out).toContain("first bad entry: 17");
    expect(out).toMatch(/expected [0-9a-f]{64}\n\s+found {4}[0-9a-f]{64}/);
  });

  it("a tail cut", async () => {
    const path = policy("cut", [await checkpointAt(ledger, size)]);
    const { code, out } = await verify([put("cut", textOf(ledger.slice(0, 200))), "--policy", path]);
    expect([code, out.split("\n")[0]]).toEqual([1, `TAMPERED: TRUNCATED have=200 anchored=${size}`]);
  });

  it("written anew with a key of its own", async () => {
    const path = policy("anew", []);
    const note = (await checkpointAt(ledger, size, { key: thiefKey })).text;
    const { code, out } = await verify([put("anew", textOf(ledger, { checkpoints: [{ note }] })), "--policy", path]);
    expect([code, out.split("\n")[0]]).toEqual([1, "TAMPERED: KEY_UNTRUSTED from seq=0"]);
  });

  it("standard input, and JSON for programs", async () => {
    const { code, out } = await verify(["-", "--json"], await proven());
    const told = JSON.parse(out) as Record<string, unknown>;
    expect([code, told["verdict"], told["exitCode"], told["entries"]]).toEqual([0, "ok", 0, size]);
    expect(told).toMatchObject({ policySource: "none", summary: { approvals: { total: 1 } }, header: { tenant } });
  });

  it("what a bundle says reaches the terminal as text only", async () => {
    const { out } = await verify([put("escape", await proven())]);
    expect(out).toContain("Ada \\u{1b}[31mLovelace\\u{202e}");
    expect(out.replaceAll("\n", "")).not.toMatch(/\p{Cc}|\p{Cf}/u);
  });

  it("of another tenant than asked for", async () => {
    const other = "0199c000-0000-7000-8000-00000000000b";
    expect((await verify([put("other", await proven()), "--tenant", other])).code).toBe(1);
  });
});

describe("archives of pruned entries", () => {
  const archive = textOf(ledger.slice(0, 100), {}, { head: { seq: size - 1, hash: "ab".repeat(32), timeMs: startMs } });
  const drafts = [person, enrolled(ada), voted(ada), ...Array.from({ length: 300 }, (_, i) => plain(i + 3))];
  const pruned: Draft = {
    action: "ledger.pruned",
    subject: { type: "tenant", id: tenant },
    data: { upTo: 100, archive: sha256Hex(archive), archiveEntries: 100, kept: 3 },
  };
  const after = chainOf([...drafts, pruned]).map((entry) => {
    const { body: _, ...rest } = entry;
    return entry.seq > 2 && entry.seq < 100 ? { ...rest, content: null } : entry;
  });
  it("named by its digest, whole, and ending as the ledger does", async () => {
    const { code, out } = await verify([put("pruned", textOf(after)), "--archive", put("archive", archive)]);
    expect(out).toContain("100 entries verify, and a pruning names it");
    expect(out).toContain("PRUNED by seq=303");
    expect(code).toBe(0);
  });
  it("another file", async () => {
    const { code, out } = await verify([
      put("pruned", textOf(after)),
      "--archive",
      put("no-archive", textOf(ledger.slice(0, 99))),
    ]);
    expect([code, out.split("\n")[0]]).toEqual([1, "TAMPERED: REFERENCE_MISMATCH seq=98"]);
  });
  it("one that was changed", async () => {
    const { code } = await verify([
      put("pruned", textOf(after)),
      "--archive",
      put("bad", archive.replace('\\"revision\\":17', '\\"revision\\":18')),
    ]);
    expect(code).toBe(1);
  });
});

describe("receipts", () => {
  const nodes: ReadNodes = (wanted) =>
    wanted.map(({ level, index }) => {
      const hash = (from: number, to: number): Uint8Array =>
        to - from === 1
          ? Buffer.from(ledger[from]?.hash ?? "", "hex")
          : nodeHash(hash(from, (from + to) / 2), hash((from + to) / 2, to));
      return hash(index * 2 ** level, (index + 1) * 2 ** level);
    });
  async function receipt(
    seq: number,
    of: StoredEntry = ledger[seq] as StoredEntry,
    { key = logKey, keyStatements = [] }: { key?: typeof logKey; keyStatements?: readonly string[] } = {},
  ): Promise<string> {
    const { tenantId, timeMs, prev, contentHash } = of;
    const link = linkText({ tenant: tenantId, seq: of.seq, timeMs, prev, contentHash });
    const checkpoint = (await checkpointAt(ledger, size, { key })).text;
    const proof = await inclusionProof(seq, size, nodes);
    return formatReceipt({ index: seq, proof, checkpoint, link, keyStatements }).text;
  }
  it("of an entry, with its content", async () => {
    const path = policy("receipt", [await checkpointAt(ledger, size)]);
    const content = put("content", ledger[17]?.content as string);
    const { code, out } = await verify([
      put("r.tlog-proof", await receipt(17)),
      "--policy",
      path,
      "--content",
      content,
    ]);
    expect(code).toBe(0);
    expect(out).toContain(`entry 17 of ${originOf({ deployment, tenant, incarnation: 0 })}`);
    expect(out).toContain("change_set.submitted");
  });
  it.each<[string, (text: string) => Promise<string>, number]>([
    ["of another entry", async (text) => text.replace("index 17", "index 18"), 1], // prettier-ignore
    ["with another entry's link", () => receipt(17, ledger[18]), 1],
    [
      "with a path that leads elsewhere",
      async (text) => text.replace(/\n[A-Za-z0-9+/]{43}=\n/, `\n${"A".repeat(43)}=\n`),
      1,
    ],
    ["cut off", async (text) => text.slice(0, 60), 4],
    ["without a link", async (text) => text.replace(/\nextra .*\n/, "\n"), 4],
    [
      "a link that is none",
      async (text) => text.replace(/\nextra .*\n/, `\nextra ${Buffer.from("x").toString("base64")}\n`),
      4,
    ],
  ])("%s", async (_, change, exit) => {
    const path = policy("receipts", [await checkpointAt(ledger, size)]);
    const text = await change(await receipt(17));
    expect((await verify(["-", "--policy", path], text)).code).toBe(exit);
  });
  it("another content", async () => {
    const path = policy("receipts2", [await checkpointAt(ledger, size)]);
    const content = put("content", ledger[18]?.content as string);
    expect((await verify([put("r", await receipt(17)), "--policy", path, "--content", content])).code).toBe(1);
  });
  it("without a policy nothing is decided", async () => {
    const { code, out } = await verify([put("r", await receipt(17))]);
    expect([code, out.split(":")[0]]).toEqual([3, "UNDECIDED"]);
  });
  it("anchored nowhere yet: not shown", async () => {
    expect((await verify([put("r", await receipt(17)), "--policy", policy("nowhere", [])])).code).toBe(2);
  });
  describe("made after the log's key was rotated and the first one revoked", () => {
    const steps = [
      { kind: "root", key: logKey },
      { kind: "rotate", key: nextKey, by: [logKey, nextKey] },
      { kind: "revoke", key: logKey, by: [nextKey], atMs: startMs },
    ] as const;
    const first = (): string => put("first.policy", policyText("none"));
    it("holds with the policy of before, and says how the key changed", async () => {
      const path = put(
        "r",
        await receipt(17, undefined, { key: nextKey, keyStatements: await statementsOf(...steps) }),
      );
      const { code, out } = await verify([path, "--policy", first()]);
      expect(code).toBe(0);
      expect(out).toContain(`statement 1 made ${nextKey.publicKey} the log's key`);
      expect(out).toContain(`${logKey.publicKey} was revoked`);
    });
    it("the rotation left out", async () => {
      const statements = await statementsOf(...steps);
      const path = put("r", await receipt(17, undefined, { key: nextKey, keyStatements: statements.slice(1) }));
      const { code, out } = await verify([path, "--policy", first()]);
      expect([code, out.split(" ")[1]]).toEqual([1, "KEY_UNTRUSTED"]);
    });
    it("a statement damaged on which nothing depends: not accepted, and it says which", async () => {
      const [root = "", rotate = "", revoke = ""] = await statementsOf(...steps);
      const keyStatements = [root, rotate, revoke.replace(String(startMs), String(startMs + 1))];
      const path = put("r", await receipt(17, undefined, { key: nextKey, keyStatements }));
      const { code, out } = await verify([path, "--policy", first()]);
      expect(code).toBe(3);
      expect(out.replaceAll(/\s+/g, " ")).toContain("statement 2: is not signed by the key before");
    });
    it("the revocation left out, and kept by the auditor", async () => {
      const statements = await statementsOf(...steps);
      const path = put("r", await receipt(17, undefined, { keyStatements: statements.slice(0, 2) }));
      const keys = put("keys", formatKeyStatements(statements));
      expect((await verify([path, "--policy", first()])).code).toBe(0);
      expect((await verify([path, "--policy", first(), "--keys", keys])).code).toBe(3);
    });
  });
  it("signed by a stranger", async () => {
    const path = policy("stranger", [await checkpointAt(ledger, size)], thiefKey);
    expect((await verify([put("r", await receipt(17)), "--policy", path])).code).toBe(1);
  });
});

describe("called wrongly, or with what cannot be read", () => {
  it.each<[string, readonly string[], number, string]>([
    ["nothing", [], 64, "which bundle"],
    ["two files", ["a", "b"], 64, "`b` is one too many"],
    ["an unknown option", ["a", "--what"], 64, "--what"],
    ["no tenant", ["a", "--tenant", "x"], 64, "UUID"],
    ["a policy that is not there", ["a", "--policy", "/nowhere"], 64, "there is no such file"],
    ["a bundle that is not there", ["/nowhere"], 3, "there is no file `/nowhere`"],
    ["a folder", [tmpdir()], 3, "folder"],
  ])("%s", async (_, args, exit, says) => {
    const { code, err } = await verify(args);
    expect(code).toBe(exit);
    expect(err).toContain(says);
  });
  it("a policy with mistakes: each with its line", async () => {
    const { code, err } = await verify(["a", "--policy", put("bad.policy", "log x\nwhat\n")]);
    expect(code).toBe(64);
    expect(err).toMatch(/bad\.policy:1: [\s\S]*bad\.policy:2: /);
  });
  it("help and version", async () => {
    expect(await verify(["--help"])).toMatchObject({ code: 0, out: expect.stringContaining("Exit codes") as string });
    expect((await verify(["--version"])).out).toMatch(/^countersign-verify \d+\.\d+\.\d+\n$/);
  });
  it("no bundle at all: malformed", async () => {
    expect((await verify(["-"], "")).code).toBe(exitCodes.malformed);
    expect((await verify(["-"], "PK\u0003\u0004".repeat(1000))).code).toBe(exitCodes.malformed);
  });
});

describe("the program", () => {
  const command = fileURLToPath(new URL("../bin/countersign-verify.js", import.meta.url));
  it("verifies 200 MB in a heap of 64 MB", () => {
    const path = join(folder, "large");
    const file = openSync(path, "w");
    const writer = new BundleWriter();
    const padding = "ab".repeat(2000);
    const entries = 45_000;
    let prev = "0".repeat(64);
    const draft: Draft = {
      action: "change_set.submitted",
      subject: { type: "change_set", id: "x" },
      data: { padding },
    };
    // The ledger goes on behind the bundle, so its head need not be known before the entries are made.
    const head = { seq: entries, hash: "0".repeat(64), timeMs: startMs };
    writeSync(file, writer.header({ ...headerOf(ledger), bodies: "withheld", to: entries - 1, head }));
    for (let seq = 0; seq < entries; seq += 500) {
      const made = chainOf(
        Array.from({ length: 500 }, () => draft),
        tenant,
        { seq, prev },
      );
      prev = made.at(-1)?.hash ?? "";
      writeSync(file, made.map((entry) => writer.entry(entry)).join(""));
    }
    writeSync(file, writer.end());
    closeSync(file);
    expect(readFileSync(path).length).toBeGreaterThan(200_000_000);
    const ran = spawnSync(process.execPath, ["--max-old-space-size=64", command, path, "--json"], { encoding: "utf8" });
    rmSync(path);
    expect(ran.stderr).toBe("");
    expect([ran.status, (JSON.parse(ran.stdout) as { entries: number }).entries]).toEqual([0, entries]);
  });
});
