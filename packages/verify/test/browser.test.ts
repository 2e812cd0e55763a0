/** verify.html in a real browser, from a file, without a network: what auditors open. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { BundleWriter, exitCodeOf, noTrust, parsePolicy, sha256Hex, verifyBundle } from "@countersign/proof";
import { buildVerifier } from "../../../scripts/buildVerifier.mjs";
import { Chromium, findChromium, type Page } from "./support/chromium.js";
import { draftsOf, origin, sampleOf, type Sample } from "./support/samples.js";

const html = fileURLToPath(new URL("../dist/verify.html", import.meta.url));
const chromium = findChromium();
const folder = mkdtempSync(join(tmpdir(), "countersign-page-"));
let sample: Sample;
let built: { bytes: number; sha256: string };

beforeAll(async () => {
  built = await buildVerifier();
  sample = await sampleOf(draftsOf(60));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function fileOf(name: string, content: string | Uint8Array): string {
  const path = join(folder, name);
  writeFileSync(path, content);
  return path;
}

describe("the file", () => {
  it("is made of the same sources to the same bytes", async () => {
    expect(await buildVerifier()).toEqual(built);
    expect(readFileSync(html).byteLength).toBe(built.bytes);
  });
  it("names nothing to load, and forbids it", () => {
    const text = readFileSync(html, "utf8");
    const policy = /http-equiv="Content-Security-Policy" content="([^"]+)"/.exec(text)?.[1] ?? "";
    expect(policy).toMatch(
      /^default-src 'none'; script-src 'sha256-[^']+'; worker-src blob:; style-src 'sha256-[^']+'; /,
    );
    expect(text).not.toMatch(/<(?:link|img|iframe|object|embed)\b|\s(?:src|href|style|on\w+)="(?!#)/);
    expect(text.match(/<script/g)).toHaveLength(1);
  });
});

describe.skipIf(chromium === undefined)("in Chromium, offline", () => {
  let browser: Chromium;
  let page: Page;
  beforeAll(async () => void (browser = await Chromium.start(chromium as string)));
  afterAll(() => browser.stop());
  afterEach(async () => {
    expect(page.requests).toEqual([]);
    await page.close();
  });

  interface Shown {
    readonly tone: string;
    readonly word: string;
    readonly headline: string;
    readonly said: string;
    readonly text: string;
  }
  const shown = (): Promise<Shown> =>
    page.evaluate(`({
      tone: document.documentElement.dataset.tone,
      word: document.getElementById("word").textContent,
      headline: document.getElementById("headline").textContent,
      said: document.getElementById("said").textContent,
      text: document.body.innerText,
    })`);
  const done = 'document.documentElement.dataset.state === "done"';

  async function verdict(
    files: { bundle: string; policy?: string; evidence?: string[] },
    options = {},
  ): Promise<Shown> {
    page = await browser.open(html, options);
    if (files.policy !== undefined) await page.choose("#choose-policy", [files.policy]);
    if (files.evidence !== undefined) {
      await page.choose("#choose-evidence", files.evidence);
      await page.until(`document.querySelectorAll("#held-evidence li").length === ${files.evidence.length}`);
    }
    await page.choose("#choose-bundle", [files.bundle]);
    await page.until(done);
    return shown();
  }

  it("waits for a file", async () => {
    page = await browser.open(html);
    expect(await shown()).toMatchObject({ tone: "none", word: "No file yet" });
    expect(page.problems).toEqual([]);
  });

  it("says of a bundle without a policy that it has only its own word", async () => {
    const given = await verdict({ bundle: fileOf("ledger.bundle", sample.bundle) });
    expect(given).toMatchObject({ tone: "doubt", word: "By its own word", headline: "The file agrees with itself." });
    expect(given.text).toContain("Without a policy the keys are the bundle’s own word");
    expect(page.problems).toEqual([]);
  });

  it("says of a bundle without entries that it shows nothing", async () => {
    const writer = new BundleWriter();
    const [deployment = "", tenant = ""] = origin.split("/");
    const range = { selection: "range", from: 0, to: -1, head: null, bodies: "included", exportedAtMs: 1 } as const;
    const nothing = writer.header({ deployment, tenant, ...range }) + writer.proofs({}) + writer.end();
    for (const policy of [undefined, sample.policy, sample.policyWithAnchor]) {
      const brought = policy === undefined ? {} : { policy: fileOf("policy", policy) };
      const given = await verdict({ bundle: fileOf("nothing.bundle", nothing), ...brought });
      expect(given).toMatchObject({ tone: "doubt", word: "Nothing shown" });
      expect(given.text).toContain("Nothing to check");
    }
  });

  it("finds a bundle of the writer intact, against the auditor's policy", async () => {
    const given = await verdict({
      bundle: fileOf("ledger.bundle", sample.bundle),
      policy: fileOf("policy", sample.policy),
    });
    expect(given).toMatchObject({ tone: "good", word: "Intact", headline: "Nothing was altered." });
    expect(given.said).toBe("Intact. Nothing was altered.");
    expect(given.text).toMatch(/60 entries/);
    expect(given.text).toMatch(/Ada Lovelace/);
    expect(given.text).toMatch(/What this does not show/);
    expect(await page.evaluate("document.activeElement.id")).toBe("headline");
    expect(page.problems).toEqual([]);
  });

  it("demands what the policy demands, and takes the anchor's copy for it", async () => {
    const bundle = fileOf("ledger.bundle", sample.bundle);
    const policy = fileOf("policy", sample.policyWithAnchor);
    const without = await verdict({ bundle, policy });
    expect(without).toMatchObject({ tone: "doubt", word: "Not shown whole" });
    expect(without.text).toContain("drop your copy of its `checkpoints`");
    await page.choose("#choose-evidence", [fileOf("checkpoints", await sample.anchor(20, 60))]);
    await page.until(`document.getElementById("word").textContent === "Intact and complete"`);
    expect(await shown()).toMatchObject({ tone: "good", headline: "Nothing was altered, and nothing is missing." });
    // Removing it takes the verdict back.
    await page.evaluate(`document.querySelector("#held-evidence button").click()`);
    await page.until(`document.getElementById("word").textContent === "Not shown whole"`);
  });

  it("says how far an older copy of the anchor reaches, and is strict when asked", async () => {
    const given = await verdict({
      bundle: fileOf("ledger.bundle", sample.bundle),
      policy: fileOf("policy", sample.policyWithAnchor),
      evidence: [fileOf("checkpoints", await sample.anchor(20, 50))],
    });
    expect(given).toMatchObject({ tone: "good", headline: "Nothing was altered. Complete but for the newest 10." });
    await page.evaluate(`document.getElementById("strict").click()`);
    await page.until(`document.getElementById("word").textContent === "Not shown whole"`);
    expect((await shown()).tone).toBe("doubt");
  });

  it("names a ledger that was rewritten after the anchor saw it", async () => {
    const drafts = draftsOf(60);
    drafts[30] = {
      action: "change_set.created",
      subject: { type: "change_set", id: "0199c000-0000-7000-8ccc-0000000000ff" },
    };
    const other = await sampleOf(drafts);
    const given = await verdict({
      bundle: fileOf("ledger.bundle", other.bundle),
      policy: fileOf("policy", sample.policyWithAnchor),
      evidence: [fileOf("checkpoints", await sample.anchor(20, 60))],
    });
    expect(given).toMatchObject({ tone: "bad", word: "Tampered" });
    expect(given.text).toMatch(/EQUIVOCATION|ANCHOR_MISMATCH|HISTORY_REWRITTEN/);
  });

  it("names the first rewritten entry, given the anchor's folder with its tiles", async () => {
    const drafts = draftsOf(60);
    drafts[30] = {
      action: "change_set.created",
      subject: { type: "change_set", id: "0199c000-0000-7000-8ccc-0000000000ff" },
    };
    const other = await sampleOf(drafts);
    const log = join(folder, "mine", encodeURIComponent(origin));
    mkdirSync(join(log, "tile/0"), { recursive: true });
    writeFileSync(join(log, "checkpoints"), await sample.anchor(20, 60));
    const leaves = sample.entries.map(({ hash }) => Buffer.from(hash, "hex"));
    for (const width of [20, 60]) {
      mkdirSync(join(log, "tile/0/000.p"), { recursive: true });
      writeFileSync(join(log, `tile/0/000.p/${width}`), Buffer.concat(leaves.slice(0, width)));
    }
    page = await browser.open(html);
    await page.choose("#choose-policy", [fileOf("policy", sample.policyWithAnchor)]);
    await page.choose("#choose-folder", [join(folder, "mine")]);
    await page.until(`document.querySelectorAll("#held-evidence li").length === 1`);
    await page.choose("#choose-bundle", [fileOf("ledger.bundle", other.bundle)]);
    await page.until(done);
    const given = await shown();
    expect(given).toMatchObject({ tone: "bad", word: "Tampered" });
    expect(given.text).toMatch(/folder of an anchor, 2 tiles/);
    expect(given.text).toMatch(/It shows first at entry 30\.[^]*ANCHOR_MISMATCH · entry 30/);
  });

  it("names the first bad entry, with what was expected and what to do", async () => {
    const text = sample.bundle.toString("utf8");
    const altered = text.replace('\\"revision\\":23', '\\"revision\\":24');
    const given = await verdict({ bundle: fileOf("altered.bundle", altered), policy: fileOf("policy", sample.policy) });
    expect(given).toMatchObject({ tone: "bad", word: "Tampered", headline: "An entry is not what was written." });
    expect(given.text).toMatch(
      /CONTENT_MISMATCH\n[^]*expected\n[^]*[0-9a-f]{64}\n[^]*actual\n[^]*[0-9a-f]{64}\n[^]*What to do:/,
    );
    expect(await page.evaluate("document.title")).toMatch(/^Tampered · altered\.bundle/);
  });

  it("says what is cut off or is no bundle, without calling it tampered", async () => {
    for (const content of [
      sample.bundle.subarray(0, sample.bundle.length - 200),
      Buffer.from("{}\n"),
      Buffer.alloc(0),
      Buffer.alloc(5000, 0xff),
    ]) {
      const given = await verdict({ bundle: fileOf("cut.bundle", content), policy: fileOf("policy", sample.policy) });
      expect(given).toMatchObject({ tone: "unread", word: "Not readable" });
    }
  });

  it("says which lines of a policy it cannot read", async () => {
    const given = await verdict({
      bundle: fileOf("ledger.bundle", sample.bundle),
      policy: fileOf("policy", "log nonsense\nquorum <b>x</b>\n"),
    });
    expect(given).toMatchObject({ tone: "doubt", word: "Policy not read" });
    expect(given.text).toMatch(/line 1: /);
  });

  it("tells whether a receipt holds", async () => {
    const good = await sample.receipt(17);
    const given = await verdict({
      bundle: fileOf("ledger.bundle", sample.bundle),
      policy: fileOf("policy", sample.policy),
      evidence: [
        fileOf("good.tlog-proof", good),
        fileOf("bad.tlog-proof", good.replace("index 17", "index 18")),
        fileOf("none.tlog-proof", "c2sp.org/tlog-proof@v1\n"),
      ],
    });
    expect(given.text).toMatch(/good\.tlog-proof\s+holds\s+entry 17 /);
    expect(given.text).toMatch(/bad\.tlog-proof[^]*does not hold/);
    expect(given.text).toMatch(/none\.tlog-proof[^]*could not be read/);
    const alone = await verdict({
      bundle: fileOf("ledger.bundle", sample.bundle),
      evidence: [fileOf("good.tlog-proof", good)],
    });
    expect(alone.text).toMatch(/good\.tlog-proof\s+cannot be decided\s+no policy was given/);
  });

  it.each([
    ["intact", (text: string) => text],
    ["altered", (text: string) => text.replace('\\"revision\\":23', '\\"revision\\":24')],
    ["cut off", (text: string) => text.slice(0, -100)],
  ])("saves what it shows, and that is what the core says on Node: %s", async (_, change) => {
    const bundle = Buffer.from(change(sample.bundle.toString("utf8")));
    await verdict({ bundle: fileOf("ledger.bundle", bundle), policy: fileOf("policy", sample.policy) });
    const saved = await page.evaluate<string>(`new Promise((resolve) => {
      const create = URL.createObjectURL;
      URL.createObjectURL = (blob) => { blob.text().then(resolve); return create(blob); };
      document.getElementById("save").click();
    })`);
    const policy = parsePolicy(sample.policy);
    if (!policy.ok) throw new Error("not a policy");
    const onNode = await verifyBundle([bundle], {
      trust: { ...noTrust, policy: policy.policy, policySource: "policy" },
    });
    const report = JSON.parse(saved) as { exitCode: number; result: object; file: object };
    expect(report.exitCode).toBe(exitCodeOf(onNode));
    expect({ ...report.result, durationMs: 0 }).toEqual(JSON.parse(JSON.stringify({ ...onNode, durationMs: 0 })));
    expect(report.file).toMatchObject({ bytes: bundle.length, sha256: sha256Hex(bundle) });
  });

  it("says the same where no worker is allowed", async () => {
    page = await browser.open(html, { before: "delete window.Worker" });
    await page.choose("#choose-policy", [fileOf("policy", sample.policy)]);
    await page.choose("#choose-bundle", [fileOf("ledger.bundle", sample.bundle)]);
    await page.until(done);
    expect(await shown()).toMatchObject({ tone: "good", word: "Intact" });
  });

  it("asks nobody, even if a script tried", async () => {
    page = await browser.open(html);
    const tried = await page.evaluate<string>(`fetch("https://example.com/").then(() => "sent", () => "refused")`);
    expect(tried).toBe("refused");
    expect(page.problems.join()).toContain("Content Security Policy");
    page.requests.length = 0;
  });

  it("is green for no flipped bit", async () => {
    page = await browser.open(html);
    await page.choose("#choose-policy", [fileOf("policy", sample.policy)]);
    const { bundle } = sample;
    const positions = new Set([
      0,
      1,
      bundle.indexOf("deployment"),
      bundle.indexOf("0199c000"),
      bundle.indexOf('"to"') + 5,
      bundle.indexOf("checkpoint"),
      bundle.indexOf("\\n60\\n") + 2,
      bundle.indexOf("— ") + 3,
      bundle.indexOf('signature\\":\\"') + 20,
      bundle.length - 1,
      bundle.length - 5,
      bundle.length - 80,
    ]);
    for (let i = 0; positions.size < 56; i++)
      positions.add(Math.floor((bundle.length * (i * 37 + 5)) / 2003) % bundle.length);
    const greens = await page.evaluate<number[]>(`(async () => {
      const bytes = Uint8Array.from(atob(${JSON.stringify(bundle.toString("base64"))}), (c) => c.charCodeAt(0));
      const verdictOf = async (content) => {
        const files = new DataTransfer();
        files.items.add(new File([content], "flipped.bundle"));
        const input = document.getElementById("choose-bundle");
        const done = new Promise((resolve) => {
          const observer = new MutationObserver(() => {
            if (document.documentElement.dataset.state !== "done") return;
            observer.disconnect();
            resolve(document.documentElement.dataset.tone);
          });
          observer.observe(document.documentElement, { attributes: true });
        });
        input.files = files.files;
        input.dispatchEvent(new Event("change"));
        return done;
      };
      if ((await verdictOf(bytes)) !== "good") return [-1];
      const greens = [];
      for (const at of ${JSON.stringify([...positions])}) {
        const changed = bytes.slice();
        changed[at] ^= 1 << (at % 8);
        if ((await verdictOf(changed)) === "good") greens.push(at);
      }
      return greens;
    })()`);
    expect(greens).toEqual([]);
  });

  describe("given a hostile file", () => {
    const attack = '\u202egnp.exe\u0000\u200b<img src=x onerror="window.pwned=1"><script>window.pwned=1</script>';

    it("shows its text as text, and what steers the display as what it is", async () => {
      const hostile = await sampleOf(draftsOf(60, attack));
      const name = `${"x".repeat(200)}.bundle`;
      const given = await verdict(
        { bundle: fileOf(name, hostile.bundle), policy: fileOf("policy", sample.policy) },
        { width: 390, height: 844, mobile: true },
      );
      expect(given.text).toContain("<img src=x");
      expect(given.text).toContain("‹U+202E›");
      expect(given.text).not.toMatch(/[\u202e\u200b]/);
      expect(
        await page.evaluate(`[typeof window.pwned, document.querySelectorAll("img, main script").length].join()`),
      ).toBe("undefined,0");
      expect(await page.evaluate("document.documentElement.scrollWidth <= innerWidth")).toBe(true);
      expect(page.problems).toEqual([]);
    });

    it("with a million signatures, or a line of 64 MiB, neither hangs nor passes", async () => {
      const [header = "", , ...entries] = sample.bundle.toString("utf8").split("\n");
      const note = (await sample.checkpoint(60)).trimEnd();
      const many = JSON.stringify({ checkpoint: `${note}\n${"— a AAAA\n".repeat(1_000_000)}` });
      const long = `{"checkpoint":"${"x".repeat(64 * 1024 * 1024)}"}`;
      for (const line of [many, long]) {
        const given = await verdict({
          bundle: fileOf("huge.bundle", [header, line, ...entries].join("\n")),
          policy: fileOf("policy", sample.policy),
        });
        expect(given.tone).toBe("unread");
      }
    });

    it("as policy, anchor or receipt, says so of that file", async () => {
      const million = `${await sample.checkpoint(60)}${"— a AAAA\n".repeat(1_000_000)}`;
      const given = await verdict({
        bundle: fileOf("ledger.bundle", sample.bundle),
        policy: fileOf("policy", sample.policy),
        evidence: [
          fileOf("a.checkpoints", million),
          fileOf("b.tlog-proof", `c2sp.org/tlog-proof@v1\n${"A".repeat(3_000_000)}`),
        ],
      });
      expect(given.text).toMatch(/Evidence that was not used[^]*a\.checkpoints/);
      expect(given.text).toMatch(/b\.tlog-proof[^]*could not be read/);
    });

    it("as statements of keys that were cut off, which say less than they did, says so of that file", async () => {
      const given = await verdict({
        bundle: fileOf("ledger.bundle", sample.bundle),
        policy: fileOf("policy", sample.policy),
        evidence: [fileOf("cut.statements", "300\ncountersign.log-key.v1\na\n0\n")],
      });
      expect(given.text).toMatch(/Evidence that was not used[^]*cut\.statements[^]*not key statements/);
    });
  });

  it("can be stopped", async () => {
    page = await browser.open(html);
    await page.choose("#choose-bundle", [
      fileOf(
        "big.bundle",
        Buffer.concat([sample.bundle.subarray(0, sample.bundle.indexOf(10) + 1), Buffer.alloc(60 * 1024 * 1024, 0x20)]),
      ),
    ]);
    await page.until(`!document.getElementById("cancel").hidden`);
    await page.evaluate(`document.getElementById("cancel").click()`);
    expect(await shown()).toMatchObject({ tone: "unread", headline: "There is no verdict." });
  });
});
