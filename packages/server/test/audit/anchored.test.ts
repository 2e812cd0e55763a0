/** What is taken away convinces an auditor who brings their own policy: with a witness and an anchor, end to end. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { Readable } from "node:stream";
import { afterAll, beforeAll, expect, test } from "vitest";
import { parsePolicy } from "@countersign/proof";
import { run } from "../../../verify/src/main.js";
import { addLog, initWitness, openWitness, runWitness, type RunningWitness } from "../../src/witness/index.js";
import { createDatabase, temporaryDirectory } from "../support/postgres.js";
import { type Person, startTestServer, type TestServer } from "../support/server.js";

const folder = temporaryDirectory();
const kept = join(folder, "kept-by-the-auditor");
let server: TestServer;
let witness: RunningWitness;
let ada: Person;
let policy: string;

beforeAll(async () => {
  const database = await createDatabase();
  const dataDirectory = join(folder, "data");
  const first = await startTestServer({ database, dataDirectory });
  ada = await first.firstPerson();
  const { body } = await ada.call("getAuditPolicy", {});
  await first.close();

  const directory = join(folder, "witness");
  const { vkey } = await initWitness({ directory, name: "witness.example/w1" });
  await addLog(directory, body.keys[0]?.vkey ?? "");
  const opened = await openWitness({ directory, clock: { nowMs: () => Date.now() } });
  witness = await runWitness({ witness: opened, host: "127.0.0.1", port: 0, report: () => undefined });

  const anchors = [`w1 witness:${witness.url} ${vkey}`, `mine file:${kept}`];
  server = await startTestServer({ database, dataDirectory, anchors, port: Number(new URL(ada.url).port) });
  const proposed = await ada.call("getAuditPolicy", { anchors: "true" });
  policy = proposed.body.policy;
}, 60_000);
afterAll(async () => {
  await server.close();
  await witness.close();
});

/** `countersign-verify` on a file, as an auditor runs it. */
async function verdict(file: string, text: string, ...more: string[]): Promise<{ code: number; out: string }> {
  writeFileSync(join(folder, file), text);
  let out = "";
  const code = await run({
    args: [join(folder, file), ...more],
    stdin: Readable.from([]) as never,
    out: (piece) => void (out += piece),
    err: (piece) => void (out += piece),
    watched: false,
    nowMs: () => performance.now(),
  });
  return { code, out };
}

const policyFile = (text: string): string => {
  const path = join(folder, "policy");
  writeFileSync(path, text);
  return path;
};

async function exported(asked: Record<string, string> = {}): Promise<string> {
  const response = await fetch(`${server.url}/api/ledger/audit/export?${new URLSearchParams(asked).toString()}`, {
    headers: { authorization: `Bearer ${ada.apiKey}` },
  });
  return response.text();
}

test("the policy names the witness, asks for it, and mentions the place", () => {
  const parsed = parsePolicy(policy);
  if (!parsed.ok) throw new Error(JSON.stringify(parsed.problems));
  expect(parsed.policy).toMatchObject({
    logs: [{}],
    witnesses: [{ name: "w1" }],
    anchors: [{ name: "mine", kind: "file", location: kept }],
    groups: [{ name: "outside", threshold: 1, members: ["w1"] }],
    quorum: "outside",
  });
});

test("a receipt has the witness's signature, and convinces whoever asks for it", async () => {
  const made = await ada.call("issueEnrolmentCode", { id: ada.id });
  const path = made.body.receipts[0]?.proof ?? "";
  const response = await fetch(`${server.url}${path}?content=true`, {
    headers: { authorization: `Bearer ${ada.apiKey}` },
  });
  const receipt = (await response.json()) as {
    proof: string;
    anchors: string[];
    cosignatures: number;
    content: string;
  };
  expect(receipt).toMatchObject({ cosignatures: 1 });
  expect(receipt.anchors).toContain("w1");
  writeFileSync(join(folder, "content"), receipt.content);
  const asked = ["--policy", policyFile(policy), "--content", join(folder, "content")];
  const good = await verdict("receipt.tlog-proof", receipt.proof, ...asked);
  expect(good.out).toContain("ok");
  expect(good.code).toBe(0);
  const forged = receipt.proof.replace(/^index (\d+)$/m, (_, index: string) => `index ${Number(index) - 1}`);
  expect((await verdict("receipt.tlog-proof", forged, ...asked)).code).not.toBe(0);
  writeFileSync(join(folder, "content"), `${receipt.content} `);
  expect((await verdict("receipt.tlog-proof", receipt.proof, ...asked)).code).toBe(1);
});

test("a range is complete for whoever asks the witness; a range without its checkpoints is not", async () => {
  // The newest checkpoint may be a moment older than its cosignature: the receipt waits for that.
  await ada.call("proveEntry", { entry: "0" });
  const bundle = await exported();
  const asked = ["--policy", policyFile(policy), "--require-anchored"];
  const good = await verdict("range.bundle", bundle, ...asked);
  expect(good.out).toMatch(/completeness +shown/i);
  expect(good.code).toBe(0);
  const part = await exported({ from: "2", to: "4" });
  expect((await verdict("part.bundle", part, ...asked)).code).toBe(0);
  const anchored = policy.replace(/^group .*\n/m, "").replace(/^quorum .*$/m, "quorum mine");
  const other = policyFile(anchored);
  expect((await verdict("range.bundle", bundle, "--policy", other)).code).toBe(0);

  const bare = bundle
    .split("\n")
    .filter((line) => !line.startsWith('{"checkpoint"'))
    .join("\n");
  expect((await verdict("bare.bundle", bare, ...asked)).code).not.toBe(0);
});

test("a selection shows its entries, and says that there may be others", async () => {
  const selection = await exported({ actor: "ada" });
  const good = await verdict("ada.bundle", selection, "--policy", policyFile(policy));
  expect([0, 2]).toContain(good.code);
  expect(good.out).toMatch(/others/);
  const lines = selection.split("\n");
  const at = lines.findIndex((line) => /"proof":\["[0-9a-f]/.test(line));
  const tampered = [...lines];
  tampered[at] = (lines[at] ?? "").replace(
    /"proof":\["([0-9a-f])/,
    (_, digit: string) => `"proof":["${digit === "0" ? "1" : "0"}`,
  );
  expect((await verdict("ada.bundle", tampered.join("\n"), "--policy", policyFile(policy))).code).toBe(1);
});

test("another deployment's key is not believed", async () => {
  const stranger = await startTestServer();
  const body = (await (await stranger.firstPerson()).call("getAuditPolicy", {})).body;
  await stranger.close();
  const log = `log ${body.keys[0]?.vkey}`;
  const bundle = await exported();
  const other = policyFile(policy.replace(/^log .*$/m, log));
  expect((await verdict("range.bundle", bundle, "--policy", other)).code).not.toBe(0);
});
