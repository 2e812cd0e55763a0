/** The witness, over HTTP: tlog-witness rule by rule, what strangers send, and that it never forgets, also when it is killed. */
import { chmodSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import {
  appendSignature,
  cosignatureOf,
  formatVerifierKey,
  generateSigningKeyPair,
  parseCheckpoint,
  parseVerifierKey,
  signerOf,
  signKeyStatement,
  statementHash,
  keyStatementText,
  verifierKey,
  type Checkpoint,
  type KeyStatement,
  type NoteSigner,
} from "@countersign/proof";
import { afterAll, describe, expect, it } from "vitest";
import {
  addLog,
  followStatements,
  initWitness,
  openWitness,
  runWitness,
  type RunningWitness,
  type WitnessTimeouts,
} from "../../src/witness/index.js";
import { checkpointOf, logKey, MemoryLog, tenantA, tenantB } from "../support/anchors.js";
import { temporaryDirectory } from "../support/postgres.js";
import { startProgram } from "../support/processes.js";

const running = new Set<RunningWitness>();
afterAll(async () => {
  for (const witness of running) await witness.close();
});

interface Served {
  readonly url: string;
  readonly directory: string;
  readonly vkey: string;
  readonly stop: () => Promise<void>;
}

const logVkey = (signer: NoteSigner = logKey(), name = "acme"): string =>
  formatVerifierKey(verifierKey({ name, type: 1, publicKey: signer.publicKey }));

async function made(): Promise<{ directory: string; vkey: string }> {
  const directory = join(temporaryDirectory(), "witness");
  const { vkey } = await initWitness({ directory, name: "witness.example/w1" });
  await addLog(directory, logVkey());
  return { directory, vkey };
}

async function serve(
  given?: { directory: string; vkey: string },
  timeouts?: WitnessTimeouts,
  nowMs = Date.now,
): Promise<Served> {
  const { directory, vkey } = given ?? (await made());
  const witness = await openWitness({ directory, clock: { nowMs } });
  const options = { witness, host: "127.0.0.1", port: 0, report: () => undefined };
  const served = await runWitness({ ...options, ...(timeouts === undefined ? {} : { timeouts }) });
  running.add(served);
  const stop = async (): Promise<void> => {
    running.delete(served);
    await served.close();
  };
  return { url: served.url, directory, vkey, stop };
}

interface Answer {
  readonly status: number;
  readonly type: string;
  readonly body: string;
}

async function post(url: string, body: string | Uint8Array): Promise<Answer> {
  const response = await fetch(`${url}/add-checkpoint`, { method: "POST", body });
  const type = response.headers.get("content-type") ?? "";
  return { status: response.status, type, body: await response.text() };
}

interface Request {
  readonly old: number;
  readonly size: number;
  readonly log?: MemoryLog;
  readonly proof?: readonly Uint8Array[];
  readonly signer?: NoteSigner;
  readonly origin?: string;
  readonly root?: Uint8Array;
}

async function requestOf(request: Request): Promise<string> {
  const { old, size, log = new MemoryLog(), signer = logKey() } = request;
  log.grow(Math.max(old, size));
  const { origin = log.origin, root = log.root(size) } = request;
  const { text } = await checkpointOf({ origin, size, root }, signer);
  const proof = request.proof ?? (old === 0 || old >= size ? [] : await log.consistency(old, size));
  return bodyOf(old, proof, text);
}

function bodyOf(old: number | string, proof: readonly Uint8Array[], text: string): string {
  return `old ${old}\n${proof.map((hash) => `${Buffer.from(hash).toString("base64")}\n`).join("")}\n${text}`;
}

/** The time of the witness's signature in an answer, which has to verify. */
function cosigned(answer: Answer, checkpoint: Checkpoint, vkey: string): number | undefined {
  const key = parseVerifierKey(vkey);
  const parsed = parseCheckpoint(appendSignature(checkpoint.text, answer.body.trimEnd()));
  return parsed.ok && key !== undefined ? cosignatureOf(parsed.checkpoint, key)?.atSeconds : undefined;
}

describe("add-checkpoint, rule by rule", () => {
  const forged = (): MemoryLog => new MemoryLog({ story: "forged", divergesAt: 9 });
  const size409 = (size: number): Partial<Answer> => ({ status: 409, type: "text/x.tlog.size", body: `${size}\n` });
  const zeros = new Uint8Array(32);
  // One witness, asked in this order: what it remembers grows from line to line.
  const transcript: readonly (readonly [string, () => Request, Partial<Answer>])[] = [
    ["an unknown origin", () => ({ old: 0, size: 5, origin: `acme.example/${tenantA}` }), { status: 404 }],
    ["an origin that begins alike", () => ({ old: 0, size: 5, origin: `acmeX/${tenantA}` }), { status: 404 }],
    ["a key that is not trusted", () => ({ old: 0, size: 5, signer: logKey(2) }), { status: 403 }],
    [
      "unknown and untrusted: unknown first",
      () => ({ old: 0, size: 5, origin: "x/y", signer: logKey(2) }),
      { status: 404 },
    ],
    ["an old size above the checkpoint's", () => ({ old: 6, size: 5 }), { status: 400 }],
    ["an old size when nothing was cosigned", () => ({ old: 3, size: 5 }), size409(0)],
    ["a proof from nothing", () => ({ old: 0, size: 5, proof: [zeros] }), { status: 422 }],
    ["the first checkpoint", () => ({ old: 0, size: 5 }), { status: 200 }],
    ["the first one again, as if nothing had been", () => ({ old: 0, size: 5 }), size409(5)],
    ["the same again", () => ({ old: 5, size: 5 }), { status: 200 }],
    ["the same with a proof", () => ({ old: 5, size: 5, proof: [zeros] }), { status: 422 }],
    ["the same size with another root", () => ({ old: 5, size: 5, root: zeros }), size409(5)],
    ["a smaller one", () => ({ old: 4, size: 4 }), size409(5)],
    ["a larger one", () => ({ old: 5, size: 1_000 }), { status: 200 }],
    ["from an older size", () => ({ old: 5, size: 2_000 }), size409(1_000)],
    ["from a size not reached yet", () => ({ old: 1_500, size: 2_000 }), size409(1_000)],
    ["no proof", () => ({ old: 1_000, size: 1_001, proof: [] }), { status: 422 }],
    ["a wrong proof", () => ({ old: 1_000, size: 1_001, proof: [zeros, zeros] }), { status: 422 }],
    ["a proof of a rewritten history", () => ({ old: 1_000, size: 1_001, log: forged() }), { status: 422 }],
    ["the true one still", () => ({ old: 1_000, size: 1_001 }), { status: 200 }],
    [
      "another tenant of the deployment",
      () => ({ old: 0, size: 3, log: new MemoryLog({ origin: `acme/${tenantB}` }) }),
      { status: 200 },
    ],
    ["the deployment's own name", () => ({ old: 0, size: 3, log: new MemoryLog({ origin: "acme" }) }), { status: 200 }],
  ];

  it("answers each as tlog-witness says", async () => {
    const { url, vkey, directory, stop } = await serve();
    let served = url;
    for (const [what, request, expected] of transcript) {
      const body = await requestOf(request());
      const answer = await post(served, body);
      expect({ what, ...answer }).toMatchObject({ what, ...expected });
      if (answer.status === 200) {
        const parsed = parseCheckpoint(body.slice(body.indexOf("\n\n") + 2));
        expect(parsed.ok && Math.abs((cosigned(answer, parsed.checkpoint, vkey) ?? 0) - Date.now() / 1_000) < 60).toBe(
          true,
        );
        expect(answer.body).toMatch(/^— witness\.example\/w1 [A-Za-z0-9+/=]+\n$/);
      }
    }
    await stop();
    served = (await serve({ directory, vkey })).url;
    expect(await post(served, await requestOf({ old: 0, size: 2_000 }))).toMatchObject(size409(1_001));
    expect(await post(served, await requestOf({ old: 1_001, size: 2_000 }))).toMatchObject({ status: 200 });
  });

  it("ignores signatures of unknown keys, before and behind the log's", async () => {
    const { url, directory } = await serve();
    const log = new MemoryLog();
    const { note } = await log.checkpoint(5);
    const other =
      (await checkpointOf({ origin: log.origin, size: 5, root: log.root(5) }, logKey(7))).note.signatures[0]?.line ??
      "";
    const own = note.signatures[0]?.line ?? "";
    const garbage = `— ${log.origin} ${Buffer.alloc(68, 3).toString("base64")}`;
    const lines = [other, garbage, own, other, "— somebody/else AAAAAAAAAAA="];
    const answer = await post(url, bodyOf(0, [], `${note.text}\n${lines.join("\n")}\n`));
    expect(answer.status).toBe(200);
    const kept = await (await fetch(`${url}/checkpoint?origin=${encodeURIComponent(log.origin)}`)).text();
    expect(kept).toBe(`${note.text}\n${own}\n${answer.body}`);
    expect(readdirSync(join(directory, "state"))).toEqual([encodeURIComponent(log.origin)]);
  });

  it("never signs an earlier time than before, though its clock is set back", async () => {
    const given = await made();
    const log = new MemoryLog();
    const times: number[] = [];
    for (const [index, nowMs] of [2_000_000_000_000, 1_000_000_000_000].entries()) {
      const { url, vkey, stop } = await serve(given, undefined, () => nowMs);
      const answer = await post(url, await requestOf({ old: index * 5, size: (index + 1) * 5 }));
      times.push(cosigned(answer, await log.checkpoint((index + 1) * 5), vkey) ?? 0);
      await stop();
    }
    expect(times).toEqual([2_000_000_000, 2_000_000_000]);
  });
});

describe("requests of one log at once", () => {
  it("are cosigned one after the other, also by two processes on one folder", async () => {
    const given = await made();
    const urls = [(await serve(given)).url, (await serve(given)).url];
    const log = new MemoryLog();
    await log.checkpoint(64);
    const sizes = Array.from({ length: 60 }, (_, index) => index + 1);
    // Each comes from nothing: exactly one may be cosigned, whoever is first.
    const answers = await Promise.all(
      sizes.map(async (size) => post(urls[size % 2] ?? "", await requestOf({ old: 0, size, log }))),
    );
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(1);
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([200, 409]));
  });

  it("forked histories: one of the two is never cosigned", async () => {
    const given = await made();
    const urls = [(await serve(given)).url, (await serve(given)).url];
    const stories = [new MemoryLog({ story: "a" }), new MemoryLog({ story: "b" })];
    const cosignedStories = new Set<number>();
    for (let round = 0; round < 20; round += 1) {
      await Promise.all(
        stories.map(async (log, index) => {
          const origin = `${log.origin}/${round}`;
          const { status } = await post(
            urls[(index + round) % 2] ?? "",
            await requestOf({ old: 0, size: 5, log, origin }),
          );
          if (status === 200) cosignedStories.add(round * 2 + index);
        }),
      );
    }
    expect(cosignedStories.size).toBe(20);
    expect(new Set([...cosignedStories].map((story) => Math.floor(story / 2))).size).toBe(20);
  });
});

describe("killed", () => {
  const program = new URL("../support/witnessProgram.ts", import.meta.url);

  async function killedBefore(n: number): Promise<boolean> {
    const given = await made();
    const child = startProgram<string>(program, [given.directory, String(n)]);
    const url = await child.next();
    const honest = new MemoryLog();
    // The log is honest to it until it dies …
    const confirmed: number[] = [];
    for (const size of [5, 9]) {
      const body = await requestOf({ old: confirmed.at(-1) ?? 0, size, log: honest });
      const answer = await post(url, body).catch(() => undefined);
      if (answer?.status === 200) confirmed.push(size);
    }
    child.kill("SIGKILL");
    const { output } = await child.ended;
    expect(output).toBe("");
    // … and then shows another history. What it answered is what it still knows, or it had already gone on to what it was asked.
    const { url: again, stop } = await serve(given);
    const forged = new MemoryLog({ story: "forged" });
    const last = confirmed.at(-1) ?? 0;
    const refused = await post(again, await requestOf({ old: last, size: 20, log: forged }));
    const wasNothing = last === 0 && refused.status === 200;
    expect([200, 409, 422]).toContain(refused.status);
    expect(refused.status === 200).toBe(wasNothing);
    if (!wasNothing) {
      const known = refused.status === 409 ? Number(refused.body) : last;
      expect([5, 9]).toContain(known);
      expect((await post(again, await requestOf({ old: known, size: 30, log: honest }))).status).toBe(200);
    }
    await stop();
    return confirmed.length < 2;
  }

  it("before any change it makes, it forgets nothing it answered", { timeout: 120_000 }, async () => {
    let killed = 0;
    for (let n = 1, going = true; going; n += 4) {
      const outcomes = await Promise.all([n, n + 1, n + 2, n + 3].map(killedBefore));
      killed += outcomes.filter(Boolean).length;
      going = outcomes.every(Boolean);
    }
    // Each of two states: written, synced, linked, its draft removed, folders made and synced.
    expect(killed).toBeGreaterThan(8);
  });
});

describe("what strangers send", () => {
  it("is refused, whatever it is, and the next one is answered", async () => {
    const { url } = await serve();
    const { text } = await new MemoryLog().checkpoint(5);
    const hash = Buffer.alloc(32).toString("base64");
    const bodies: readonly (readonly [string, string | Uint8Array, number])[] = [
      ["nothing", "", 400],
      ["no empty line", "old 0\n", 400],
      ["no old size", `\n${text}`, 400],
      ["a leading zero", bodyOf("00", [], text), 400],
      ["a sign", bodyOf("-1", [], text), 400],
      ["a size beyond 2^53", bodyOf("9007199254740993", [], text), 400],
      ["a size of 2^64", bodyOf("18446744073709551616", [], text), 400],
      ["two spaces", `old  0\n\n${text}`, 400],
      ["a carriage return", `old 0\r\n\r\n${text}`, 400],
      ["64 lines of proof", `old 0\n${`${hash}\n`.repeat(64)}\n${text}`, 400],
      ["a proof line too short", `old 0\nAAAA\n\n${text}`, 400],
      ["base64 with bits left over", `old 0\n${"A".repeat(42)}B=\n\n${text}`, 400],
      ["no checkpoint", "old 0\n\n", 400],
      ["a checkpoint without signatures", `old 0\n\nacme\n5\n${hash}\n`, 400],
      [
        "a checkpoint of size 2^63",
        `old 0\n\nacme\n9223372036854775808\n${hash}\n\n${text.slice(text.indexOf("—"))}`,
        400,
      ],
      ["no UTF-8", Buffer.concat([Buffer.from(`old 0\n\n`), Buffer.alloc(300, 0xff)]), 400],
      ["101 signatures", bodyOf(0, [], text + `${text.slice(text.indexOf("—"))}`.repeat(100)), 400],
      ["more than 64 KiB", Buffer.alloc(65 * 1024, "a"), 413],
      ["a million signatures", bodyOf(0, [], text + "— a AAAAAAAAAAA=\n".repeat(1_000_000)), 413],
    ];
    for (const [what, body, status] of bodies) {
      // Whoever sends too much may find the connection closed before it has sent it all.
      const answer = await post(url, body).catch(() => ({ status: 413 }));
      expect({ what, status: answer.status }).toEqual({ what, status });
    }
    expect((await post(url, await requestOf({ old: 0, size: 5 }))).status).toBe(200);
  });

  const paths: readonly (readonly [string, string, number])[] = [
    ["GET", "/", 200],
    ["GET", "/add-checkpoint", 405],
    ["POST", "/checkpoint?origin=x", 405],
    ["DELETE", "/", 405],
    ["GET", "/checkpoint", 400],
    ["GET", `/checkpoint?origin=${"x".repeat(500)}`, 400],
    ["GET", "/checkpoint?origin=unknown", 404],
    ["GET", "/checkpoint?origin=..%2F..%2Fkey", 404],
    ["GET", "/checkpoint?origin=..", 404],
    ["GET", "/key", 404],
    ["GET", "/%00", 404],
  ];
  it("asks for what is there and what is not", async () => {
    const { url, vkey } = await serve();
    for (const [method, path, status] of paths) {
      const response = await fetch(`${url}${path}`, { method });
      const body = await response.text();
      expect({ method, path, status: response.status }).toEqual({ method, path, status });
      expect(body.includes("PRIVATE")).toBe(false);
    }
    expect(await (await fetch(url)).text()).toContain(vkey);
  });

  it("is not waited for when it sends nothing more", async () => {
    const { url } = await serve(undefined, { headers: 300, request: 600, idle: 600 });
    const { port } = new URL(url);
    const beginnings = [
      "POST /add-checkpoint HTTP/1.1\r\nhost: x\r\n",
      "POST /add-checkpoint HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\nold 0\n",
    ];
    for (const beginning of beginnings) {
      const socket = connect(Number(port), "127.0.0.1");
      socket.write(beginning);
      socket.resume();
      await new Promise((resolve) => socket.once("close", resolve));
    }
    expect((await post(url, await requestOf({ old: 0, size: 5 }))).status).toBe(200);
  });
});

describe("keys of a log", () => {
  const key = (seed: number): NoteSigner => logKey(seed);
  async function chain(
    steps: readonly (readonly [KeyStatement["kind"], NoteSigner, readonly NoteSigner[]])[],
  ): Promise<string[]> {
    const notes: string[] = [];
    let previous = "0".repeat(64);
    for (const [number, [kind, subject, signers]] of steps.entries()) {
      const statement = {
        deployment: "acme",
        number,
        previous,
        kind,
        key: subject.publicKey,
        atMs: 1_700_000_000_000 + number,
      };
      notes.push(await signKeyStatement(statement, signers));
      previous = statementHash(keyStatementText(statement));
    }
    return notes;
  }
  const prefixed = (notes: readonly string[]): string =>
    notes.map((note) => `${Buffer.byteLength(note)}\n${note}`).join("");

  it("are followed through statements that begin at one that was added", async () => {
    const given = await made();
    const { url } = await serve(given);
    expect((await post(url, await requestOf({ old: 0, size: 5, signer: key(2) }))).status).toBe(403);
    const notes = await chain([
      ["root", key(1), [key(1)]],
      ["rotate", key(2), [key(1), key(2)]],
    ]);
    for (const text of [prefixed(notes), notes.join("")])
      expect((await followStatements(given.directory, text)).trusted).toHaveLength(2);
    // A running witness knows it at once; both keys sign while the old one is not revoked.
    expect((await post(url, await requestOf({ old: 0, size: 5, signer: key(2) }))).status).toBe(200);
    expect((await post(url, await requestOf({ old: 5, size: 6, signer: key(1) }))).status).toBe(200);
    const revoked = [
      ...notes,
      ...(
        await chain([
          ["root", key(1), [key(1)]],
          ["rotate", key(2), [key(1), key(2)]],
          ["revoke", key(1), [key(2)]],
        ])
      ).slice(2),
    ];
    expect((await followStatements(given.directory, prefixed(revoked))).trusted).toEqual([key(2).publicKey]);
    expect((await post(url, await requestOf({ old: 6, size: 7, signer: key(1) }))).status).toBe(403);
    expect((await post(url, await requestOf({ old: 6, size: 7, signer: key(2) }))).status).toBe(200);
    await expect(addLog(given.directory, logVkey(key(1)))).rejects.toThrow("revoked");
  });

  it("are not taken from a forged, foreign or broken chain", async () => {
    const { directory } = await made();
    const chains: readonly (readonly [string, string[]])[] = [
      ["another root", await chain([["root", key(3), [key(3)]]])],
      [
        "a rotation that the old key did not sign",
        await chain([
          ["root", key(1), [key(1)]],
          ["rotate", key(2), [key(2), key(2)]],
        ]),
      ],
      [
        "a rotation without its root",
        (
          await chain([
            ["root", key(1), [key(1)]],
            ["rotate", key(2), [key(1), key(2)]],
          ])
        ).slice(1),
      ],
      ["no statement", ["hello\n"]],
      ["nothing", []],
    ];
    for (const [what, notes] of chains)
      await expect(followStatements(directory, prefixed(notes)), what).rejects.toMatchObject({
        refusal: { code: "witness_unusable" },
      });
  });

  const vkeys = ["", "acme", "acme+00000000+AQ==", logVkey().replace("+", "+0"), `${"a".repeat(5_000)}+x+y`];
  it.each(vkeys.map((vkey) => ({ vkey })))("are not taken from `$vkey`", async ({ vkey }) => {
    const { directory } = await made();
    await expect(addLog(directory, vkey)).rejects.toMatchObject({ refusal: { code: "witness_unusable" } });
  });
});

describe("its own files", () => {
  it("are its owner's alone, and a key is never replaced", async () => {
    const { directory } = await made();
    const before = readFileSync(join(directory, "key"), "utf8");
    expect(
      [statSync(directory).mode & 0o077, statSync(join(directory, "key")).mode & 0o077].every(
        (mode) => (mode & 0o066) === 0,
      ),
    ).toBe(true);
    await expect(initWitness({ directory, name: "other" })).rejects.toThrow("already");
    expect(readFileSync(join(directory, "key"), "utf8")).toBe(before);
  });

  const broken: readonly (readonly [string, (directory: string) => void])[] = [
    ["memory that vanished", (directory) => rmSync(join(directory, "state"), { recursive: true })],
    ["a key that vanished", (directory) => rmSync(join(directory, "key"))],
    ["a key others may read", (directory) => chmodSync(join(directory, "key"), 0o644)],
    ["another key", (directory) => writeFileSync(join(directory, "key"), generateSigningKeyPair().privateKey)],
    ["a damaged description", (directory) => writeFileSync(join(directory, "witness.json"), "{")],
    ["no witness at all", (directory) => rmSync(directory, { recursive: true })],
  ];
  it.each(broken)("%s: it does not start", async (_what, breakIt) => {
    const { directory } = await made();
    breakIt(directory);
    const opening = openWitness({ directory, clock: { nowMs: Date.now } });
    await expect(opening).rejects.toMatchObject({ refusal: { code: "witness_unusable" } });
  });

  it("damaged memory of one log: nothing is cosigned for it, and the others go on", async () => {
    const { url, directory } = await serve();
    await post(url, await requestOf({ old: 0, size: 5 }));
    const folder = join(directory, "state", encodeURIComponent(`acme/${tenantA}`));
    writeFileSync(join(folder, "1.json"), "{");
    expect((await post(url, await requestOf({ old: 0, size: 6 }))).status).toBe(500);
    expect(
      (await post(url, await requestOf({ old: 0, size: 6, log: new MemoryLog({ origin: `acme/${tenantB}` }) }))).status,
    ).toBe(200);
  });
});

/** So that the signer of a log is used as the publisher uses it. */
it("cosigns what a publisher signs", async () => {
  const signer = signerOf(generateSigningKeyPair());
  const { directory, vkey } = await made();
  await addLog(directory, logVkey(signer, "other.example/ledger"));
  const { url } = await serve({ directory, vkey });
  const log = new MemoryLog({ origin: `other.example/ledger/${tenantA}/1`, signer });
  const checkpoint = await log.checkpoint(7);
  const answer = await post(url, bodyOf(0, [], checkpoint.text));
  expect(cosigned(answer, checkpoint, vkey)).toBeDefined();
});
