/**
 * Bundles of a deployment with anchors, a witness and a rotated key, exported from its database, read by our verifier and by the second
 * one in Python with nothing but the bundle and the auditor's policy: they agree on what is whole, and on every change.
 */
import { spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  contentHashHex,
  exitCodeOf,
  formatKeyStatements,
  formatTlogProof,
  formatVerifierKey,
  generateSigningKeyPair,
  isSignedBy,
  parseReceiptExtra,
  parseTlogProof,
  signCheckpoint,
  signerOf,
  signKeyStatement,
  statementHash,
  verifierKey,
  verifyBundle,
  verifyReceipt,
  zeroHash,
} from "@countersign/proof";
import { loadTrust } from "@countersign/proof/load";
import { rotateKeys } from "../../src/publishing/index.js";
import { temporaryDirectory } from "../support/postgres.js";
import { buildVerifier } from "../../../../scripts/buildVerifier.mjs";
import { Chromium, findChromium, type Page } from "../../../verify/test/support/chromium.js";
import { setStage, type Scene, type Stage } from "../attacks/stage.js";
import { Tamper } from "../attacks/tamper.js";

const html = fileURLToPath(new URL("../../../verify/dist/verify.html", import.meta.url));
const chromium = findChromium();
const script = fileURLToPath(new URL("../../../../docs/verify-by-hand/countersign_verify.py", import.meta.url));
const python = spawnSync("python3", ["-c", "import sys; print(sys.version_info >= (3, 8))"], { encoding: "utf8" });
const absent = python.stdout?.trim() === "True" ? undefined : "python3 (3.8 or later) is not on this machine";
if (absent !== undefined) console.warn(`exports are not read by the second verifier: ${absent}`);

interface Options {
  readonly policy?: string;
  readonly requireAnchored?: boolean;
}

describe.skipIf(absent !== undefined)("both offline verifiers", () => {
  let stage: Stage;
  let scene: Scene;
  let folder: string;
  const bundles = new Map<string, string>();
  beforeAll(async () => {
    stage = await setStage();
    scene = await stage.copy();
    folder = temporaryDirectory();
    await scene.open(async ({ verification, publishing }) => {
      const common = { deployment: stage.deployment, keyStatements: await publishing.keyStatements(), bodies: true };
      const [, second = 0] = stage.anchored;
      const about = { subjectId: stage.applied[0] ?? "", about: { changeSet: stage.applied[0] ?? "" } };
      for (const [name, options] of Object.entries({
        whole: {},
        "a range from its middle": { from: 20, to: second + 3 },
        "a range to the end": { from: 30 },
        "a change-set's story": { selection: about },
      })) {
        let text = "";
        for await (const piece of verification.exportBundle(stage.tenant, { ...common, ...options })) text += piece;
        bundles.set(name, text);
      }
    });
  }, 120_000);
  afterAll(async () => {
    await scene.drop();
    await stage.close();
  });

  /** Exit code and class of the first finding, of ours and of theirs. */
  async function both(bundle: string | Uint8Array, { policy, requireAnchored = false }: Options = {}) {
    const result = await verifyBundle([Buffer.from(bundle)], {
      trust: (ledger) =>
        loadTrust({ ledger, requireAnchored, ...(policy === undefined ? {} : { policyPath: policy }) }),
    });
    const path = join(folder, "bundle.jsonl");
    writeFileSync(path, bundle);
    const words = [
      ...(policy === undefined ? [] : ["--policy", policy]),
      ...(requireAnchored ? ["--require-anchored"] : []),
    ];
    const theirs = spawnSync("python3", [script, path, "--json", ...words], { encoding: "utf8" });
    expect(theirs.stderr).not.toContain("Traceback");
    const read = JSON.parse(theirs.stdout) as {
      findings: { class: string }[];
      completeness: { anchored: number | null };
    };
    return {
      ours: [exitCodeOf(result), result.completeness.anchored, ...new Set(result.findings.map((one) => one.class))],
      theirs: [theirs.status, read.completeness?.anchored ?? null, ...new Set(read.findings.map((one) => one.class))],
    };
  }
  const text = (name: string): string => bundles.get(name) ?? "";
  /** With its last line made true again: what remains to be found is elsewhere. */
  function resealed(changed: string): string {
    const lines = changed.trimEnd().split("\n").slice(0, -1);
    const before = lines.map((line) => `${line}\n`).join("");
    const entries = lines.filter((line) => line.includes('"seq":') && line.includes('"prev":')).length;
    return `${before}${JSON.stringify({ entries, sha256: contentHashHex(before) })}\n`;
  }

  const names = ["whole", "a range from its middle", "a range to the end", "a change-set's story"];
  it.each(names)("%s: holds, with the policy and without", async (name) => {
    expect(text(name)).toContain('"checkpoint"');
    const plain = await both(text(name));
    expect(plain.ours[0]).toBe(0);
    expect(plain.theirs).toEqual(plain.ours);
    const demanded = await both(text(name), { policy: stage.policy });
    expect(demanded.ours.slice(0, 1)).toEqual([0]);
    expect(demanded.theirs).toEqual(demanded.ours);
  });

  it("the whole: confirmed up to the last anchor, not to the end", async () => {
    const { ours, theirs } = await both(text("whole"), { policy: stage.policy, requireAnchored: true });
    expect(ours).toEqual([2, stage.anchored[2]]);
    expect(theirs).toEqual(ours);
  });

  it("with the witness alone", async () => {
    const { ours, theirs } = await both(text("whole"), { policy: stage.witnessPolicy });
    expect(ours).toEqual([0, stage.anchored[2]]);
    expect(theirs).toEqual(ours);
  });

  it("a policy that pins another key", async () => {
    const { publicKey } = generateSigningKeyPair(Buffer.alloc(32, 7));
    const policy = join(folder, "other-policy");
    const log = verifierKey({ name: stage.deployment, type: 1, publicKey });
    writeFileSync(policy, `log ${formatVerifierKey(log)}\nquorum none\n`);
    const { ours, theirs } = await both(text("whole"), { policy });
    expect(ours).toEqual([1, null, "KEY_UNTRUSTED"]);
    expect(theirs).toEqual(ours);
  });

  const changes: readonly [string, string, (whole: string) => string][] = [
    ["an entry left out", "whole", (all) => all.replace(/^\{"[^\n]*"seq":40,[^\n]*\n/m, "")],
    ["the last entries cut, the header with them", "whole", cutTo(50)],
    ["a key statement left out", "whole", (all) => all.replace(/^\{"keyStatement":[^\n]*\n/m, "")],
    ["all checkpoints left out", "whole", (all) => all.replaceAll(/^\{"checkpoint":[^\n]*\n/gm, "")],
    ["an edge of other hashes", "a range to the end", (all) => all.replace(/\{"edge":\["../, '{"edge":["00')],
    ["no edge", "a range to the end", (all) => all.replace(/^\{"edge":[^\n]*\n/m, "")],
    [
      "a consistency proof of other hashes",
      "a range from its middle",
      (all) => all.replace(/"consistency":\["../, '"consistency":["00'),
    ],
    [
      "an inclusion proof of other hashes",
      "a change-set's story",
      (all) => all.replace(/"proof":\["../, '"proof":["00'),
    ],
    [
      "a body left out",
      "whole",
      (all) => all.replace(/"body":\{"salt":"[0-9a-f]{64}","text":"(?:[^"\\]|\\.)*"\},/, ""),
    ],
    [
      "a vote turned round",
      "whole",
      (all) => all.replace(/\\"decision\\":\\"APPROVED\\"/, '\\"decision\\":\\"REJECTED\\"'),
    ],
  ];
  it.each(changes)("%s: both say the same", async (_, name, change) => {
    const changed = resealed(change(text(name)));
    expect(changed).not.toBe(text(name));
    const { ours, theirs } = await both(changed, { policy: stage.policy });
    expect(theirs).toEqual(ours);
  });

  it("rewritten, and signed again: both find the first entry by the anchors' leaves", async () => {
    const own = await stage.copy();
    try {
      await own.sql((client) => new Tamper(stage).rewrite(client, 32));
      let changed = "";
      await own.open(async ({ verification, publishing }) => {
        const keyStatements = await publishing.keyStatements();
        const options = { deployment: stage.deployment, keyStatements, bodies: true };
        for await (const piece of verification.exportBundle(stage.tenant, options)) changed += piece;
      });
      const { ours, theirs } = await both(changed, { policy: stage.policy });
      expect(ours.slice(0, 1)).toEqual([1]);
      expect(ours).toContain("HISTORY_REWRITTEN");
      expect(theirs.slice(0, 1)).toEqual([1]);
      expect(theirs).toContain("HISTORY_REWRITTEN");
    } finally {
      await own.drop();
    }
  });

  it("a flipped bit anywhere: neither takes it for whole", async () => {
    const whole = Buffer.from(text("a change-set's story"));
    for (let n = 0; n < 40; n++) {
      const at = Math.floor((n * whole.length) / 40) + (n % 7);
      const changed = Buffer.from(whole);
      changed[at] = (changed[at] ?? 0) ^ (1 << (n % 8));
      const { ours, theirs } = await both(changed, { policy: stage.policy });
      expect(ours[0], `byte ${at}`).not.toBe(0);
      expect(theirs[0], `byte ${at}`).toBe(ours[0]);
    }
  });

  describe("a receipt made after three rotations, with the policy of the first day", () => {
    let receipt: string;
    let policy: string;
    beforeAll(async () => {
      const own = await stage.copy();
      try {
        await own.open(async ({ parts }) => {
          for (const reason of ["once more", "and again"]) await rotateKeys(parts, { reason });
        });
        receipt = await own.serve(async (ada) => {
          const { body: made } = await ada.call("issueEnrolmentCode", { id: ada.id });
          const { status, body } = await ada.call("proveEntry", { entry: String(made.receipts[0]?.seq) });
          expect([status, body.keyStatements]).toEqual([200, 4]);
          return body.proof;
        });
      } finally {
        await own.drop();
      }
      policy = join(folder, "first-policy");
      writeFileSync(policy, `${stage.logLine}quorum none\n`);
    }, 60_000);

    /** Exit code and class of the first finding: ours, theirs; and what the page says of it. */
    async function all(given: string | Uint8Array) {
      const result = verifyReceipt(given, { trust: (ledger) => loadTrust({ ledger, policyPath: policy }) });
      const path = join(folder, "entry.tlog-proof");
      writeFileSync(path, given);
      const { status, stdout } = spawnSync("python3", [script, path, "--json", "--policy", policy], {
        encoding: "utf8",
      });
      const found = stdout === "" ? "MALFORMED" : (JSON.parse(stdout) as { class: string | null }).class;
      const ours = [exitCodeOf(result), result.findings[0]?.class ?? null];
      return { ours, theirs: [status, found], page: chromium === undefined ? undefined : await row(path) };
    }
    let browser: Chromium | undefined;
    afterAll(() => browser?.stop());
    async function row(path: string): Promise<string> {
      if (browser === undefined) {
        await buildVerifier();
        browser = await Chromium.start(chromium as string);
      }
      const bundle = join(folder, "beside.bundle");
      writeFileSync(bundle, text("a change-set's story"));
      const page: Page = await browser.open(html);
      try {
        await page.choose("#choose-policy", [policy]);
        await page.choose("#choose-bundle", [bundle]);
        await page.choose("#choose-evidence", [path]);
        await page.until('document.documentElement.dataset.state === "done"');
        const words = await page.evaluate<string>("document.body.innerText");
        return (
          /entry\.tlog-proof\s+(holds|does not hold|cannot be decided|could not be read)/.exec(words)?.[1] ?? words
        );
      } finally {
        await page.close();
      }
    }
    const onPage = (says: string): string | undefined => (chromium === undefined ? undefined : says);
    const parts = () => {
      const parsed = parseTlogProof(receipt);
      if (!parsed.ok) throw new Error(parsed.problem);
      const { extra = new Uint8Array(), ...proof } = parsed.proof;
      const read = parseReceiptExtra(extra);
      if (!read.ok) throw new Error(read.problem);
      return { ...proof, checkpoint: proof.checkpoint, ...read.extra };
    };
    function made(keyStatements: readonly string[], checkpoint = parts().checkpoint.text): string {
      const { index, proof, linkText } = parts();
      return formatTlogProof({
        index,
        proof,
        checkpoint,
        extra: Buffer.from(linkText + formatKeyStatements(keyStatements)),
      });
    }

    it("all of them accept it", async () => {
      for (const { publicKey } of stage.logKeys) expect(isSignedBy(parts().checkpoint, publicKey)).toBe(false);
      expect(await all(receipt)).toEqual({ ours: [0, null], theirs: [0, null], page: onPage("holds") });
    });
    it.each<[string, (statements: readonly string[]) => readonly string[]]>([
      ["without its statements", () => []],
      ["with the last rotation left out", (statements) => statements.slice(0, -1)],
      ["with one between left out", (statements) => statements.filter((_, n) => n !== 2)],
    ])("%s: KEY_UNTRUSTED, say all of them", async (_, change) => {
      const untrusted = [1, "KEY_UNTRUSTED"];
      const changed = made(change(parts().keyStatements));
      expect(await all(changed)).toEqual({ ours: untrusted, theirs: untrusted, page: onPage("does not hold") });
    });
    it("with a rotation to a thief's key that no key before signed: KEY_UNTRUSTED, say all of them", async () => {
      const { keyStatements, checkpoint } = parts();
      const thief = generateSigningKeyPair(Buffer.alloc(32, 9));
      const signer = signerOf(thief);
      const root = keyStatements[0]?.slice(0, keyStatements[0].indexOf("\n\n") + 1) ?? zeroHash;
      const statement = { deployment: stage.deployment, number: 1, previous: statementHash(root), atMs: Date.now() };
      const rotated = await signKeyStatement({ ...statement, kind: "rotate", key: thief.publicKey }, [signer]);
      const forged = made([keyStatements[0] ?? "", rotated], await signCheckpoint(checkpoint, signer));
      const untrusted = [1, "KEY_UNTRUSTED"];
      expect(await all(forged)).toEqual({ ours: untrusted, theirs: untrusted, page: onPage("does not hold") });
    });
    it("a flipped bit anywhere: none accepts it", async () => {
      const whole = Buffer.from(receipt);
      for (let n = 0; n < 8; n++) {
        const changed = Buffer.from(whole);
        // Not in its first line: what begins otherwise is no receipt.
        const at = 22 + Math.floor((n * (whole.length - 22)) / 8);
        changed[at] = (changed[at] ?? 0) ^ (1 << (n % 8));
        const { ours, theirs, page } = await all(changed);
        expect(ours[0], `byte ${at}`).not.toBe(0);
        expect(theirs[0], `byte ${at}`).toBe(ours[0]);
        expect(page, `byte ${at}`).not.toBe("holds");
      }
    });
  });

  describe.skipIf(chromium === undefined)("and verify.html, in a browser without a network", () => {
    let browser: Chromium;
    beforeAll(async () => {
      await buildVerifier();
      browser = await Chromium.start(chromium as string);
    });
    afterAll(() => browser.stop());

    /** `good`, `doubt` or `bad`, with nothing but the bundle and the policy. */
    async function tone(bundle: string | Uint8Array): Promise<unknown> {
      const path = join(folder, "dropped.bundle");
      writeFileSync(path, bundle);
      const page: Page = await browser.open(html);
      try {
        await page.choose("#choose-policy", [stage.witnessPolicy]);
        await page.choose("#choose-bundle", [path]);
        await page.until('document.documentElement.dataset.state === "done"');
        expect(page.requests).toEqual([]);
        return await page.evaluate("document.documentElement.dataset.tone");
      } finally {
        await page.close();
      }
    }

    it.each(names)("%s: all three say that it holds", async (name) => {
      const { ours, theirs } = await both(text(name), { policy: stage.witnessPolicy });
      expect([ours[0], theirs[0], await tone(text(name))]).toEqual([0, 0, "good"]);
    });

    it("a flipped bit: none of the three does", async () => {
      const whole = Buffer.from(text("whole"));
      for (let n = 0; n < 12; n++) {
        const changed = Buffer.from(whole);
        const at = Math.floor((n * whole.length) / 12) + n;
        changed[at] = (changed[at] ?? 0) ^ (1 << (n % 8));
        const { ours, theirs } = await both(changed, { policy: stage.witnessPolicy });
        expect([ours[0] === 0, theirs[0] === 0, (await tone(changed)) === "good"], `byte ${at}`).toEqual([
          false,
          false,
          false,
        ]);
      }
    });
  });
});

/** Whoever hands over a bundle cuts its end off, and says so in the header. */
function cutTo(size: number): (whole: string) => string {
  return (whole) => {
    const lines = whole.trimEnd().split("\n");
    const kept = lines.filter((line) => {
      const seq = /"seq":(\d+),"timeMs"/.exec(line)?.[1];
      return seq === undefined || !line.includes('"prev"') || Number(seq) < size;
    });
    const last = JSON.parse(kept.at(-2) ?? "{}") as { seq: number; hash: string; timeMs: number };
    const header = {
      ...(JSON.parse(kept[0] ?? "{}") as object),
      to: last.seq,
      head: { seq: last.seq, hash: last.hash, timeMs: last.timeMs },
    };
    const rest = kept.slice(1).filter((line) => !line.startsWith('{"checkpoint"'));
    return `${[JSON.stringify(header), ...rest].join("\n")}\n`;
  };
}
