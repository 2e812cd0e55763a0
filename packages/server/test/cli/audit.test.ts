/** An auditor's questions, each with its one command, on the real command line against the real server. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { EntryView, ReportChangeSet, ReportSummary } from "@countersign/contract";
import {
  exitCodeOf,
  leafHashOf,
  noTrust,
  parsePolicy,
  parseTlogProof,
  verifyReceipt,
  verifyTlogProof,
} from "@countersign/proof";
import { afterAll, beforeAll, expect, test } from "vitest";
import { Machine } from "../support/cli.js";

const machine = new Machine();
let server: Awaited<ReturnType<Machine["start"]>>;
let number = "";
const run = machine.run.bind(machine);
const at = (name: string): string => join(machine.repository, name);

beforeAll(async () => {
  writeFileSync(at("app.json"), '{"timeout": 20}\n');
  server = await machine.start();
  const init = await machine.json<{ agent: { secret: string } }>([
    "init",
    ...["--mode", "solo", "--name", "shop", "--agent", "checkout-bot", "--yes"],
  ]);
  const env = { COUNTERSIGN_KEY: init.agent.secret, COUNTERSIGN_URL: server.url, COUNTERSIGN_PASSPHRASE: "" };
  const answer = await machine.json<{ changeSet: { number: string } }>(
    [
      "change-set",
      "create",
      "-t",
      "=cmd|' /C calc'!A0 \u001b[31m",
      "--set",
      "file:shop:app.json#/timeout=30",
      "--submit",
    ],
    { env },
  );
  ({ number } = answer.changeSet);
  for (const command of [
    ["change-set", "approve", number, "--yes"],
    ["change-set", "apply", number],
    ["undo", number, "--reason", "too long", "--yes"],
  ])
    expect((await run(command)).stderr).not.toContain("error");
}, 60_000);
afterAll(async () => {
  await server.stop();
});

interface Report {
  readonly report: { readonly targets: number };
  readonly changeSets: readonly ReportChangeSet[];
  readonly summary: ReportSummary;
}

test("a tenant that is not there, a folder without a database, a period without entries: said, and nothing is made", async () => {
  const other = "0199c000-0000-7000-8000-00000000000b";
  for (const [tenant, code, says] of [
    [other, 1, `not_found: there is no tenant \`${other}\`; this database has \``],
    ["default", 4, "invalid_request: `default` is no tenant id, which is a UUID; this database has `"],
  ] as const) {
    const done = await run(["audit", "verify", "--tenant", tenant]);
    expect([done.code, done.stdout, done.stderr]).toEqual([code, "", expect.stringContaining(says)]);
  }
  for (const [range, code, says] of [
    [["--from", "100000"], 4, "invalid_request: no ledger asked for has an entry `100000`; the longest has "],
    [["--to", "100000"], 4, "invalid_request: no ledger asked for has an entry `100000`; the longest has "],
    [["--from", "3", "--to", "2"], 64, "usage: `--from` is behind `--to`"],
    [["--from", "1", "--to", "2"], 0, ""],
  ] as const) {
    const done = await run(["audit", "verify", ...range]);
    expect([range, done.code, done.stderr]).toEqual([range, code, expect.stringContaining(says)]);
  }
  const fresh = new Machine();
  await fresh.json(["keys", "init"]);
  for (const command of [["anchors"], ["audit", "verify"]]) {
    const done = await fresh.run(command);
    expect([done.code, done.stderr]).toEqual([3, expect.stringMatching(/^database_missing: .*none is in /)]);
  }
  expect(readdirSync(fresh.data)).toEqual(["log-keys"]);
  const { code, stdout } = await run(["audit", "report", "--quarter", "2020-Q1"]);
  expect([code, stdout]).toEqual([0, expect.stringContaining("there is nothing to verify in this period")]);
});

test("all changes to a file: who approved, what was taken back, what is missing, is the record whole", async () => {
  const { code, stdout } = await run(["audit", "report", "--path", "*.json", "--since", "1h"]);
  expect(code).toBe(0);
  expect(stdout).toContain("Changes to file:*:*.json");
  expect(stdout).toMatch(/APPROVED by ada .* signature verified \(key SHA-256 [0-9a-f]{16}…/);
  expect(stdout).toContain("self-approved");
  expect(stdout).toMatch(/rollback +succeeded .* by ada .*“too long”/);
  expect(stdout).toContain("answerable: ada");
  expect(stdout).toMatch(/Missing\n {2}(nothing|not_covered)/);
  expect(stdout).toMatch(/integrity +ok/);
  expect(stdout).not.toContain("\u001b"); // what an agent wrote into a title stays text
});

test("the same for machines: JSON, and CSV that no spreadsheet runs", async () => {
  const { changeSets, summary, report } = await machine.json<Report>(["audit", "report", "--path", "shop:app.json"]);
  expect(report.targets).toBe(1);
  expect(changeSets).toMatchObject([
    {
      number,
      votes: [{ signature: "verified", selfApproved: true }],
      rolledBack: { by: { name: "ada" }, reason: "too long" },
      status: "ROLLED_BACK",
    },
  ]);
  expect(summary.counts).toMatchObject({ changeSets: 1, applied: 1, rolledBack: 1, selfApproved: 1 });
  expect(summary.verdict).toMatchObject({ integrity: "ok" });
  const csv = (await run(["audit", "report", "--csv"])).stdout.split("\r\n");
  expect(csv[0]).toMatch(/^number,id,title,author/);
  expect(csv.find((line) => line.startsWith(number))).toContain("'=cmd|");
});

test.each([
  [["audit", "report", "--path", "a", "--resource", "b"], 64, "exclude each other"],
  [["audit", "report", "--resource", "nonsense"], 64, "no resource"],
  [["audit", "report", "--quarter", "2026-Q7"], 4, "quarter"],
  [["audit", "report", "--quarter", "2026-Q4", "--since", "1d"], 4, "not both"],
  [["audit", "report", "--target", "nonsense"], 4, "nonsense"],
  [["audit", "report", "--since", "someday"], 64, "point in time"],
  [["audit", "export", "--format", "exe"], 64, "bundle, jsonl, csv"],
  [["audit", "export", "--actor", "nobody", "-o", "x"], 1, "nobody"],
  [["audit", "export", "--from", "1", "--since", "1d"], 4, "not both"],
  [["audit", "prove", "999999"], 1, "no entry"],
  [["audit", "prove", "1", "--with-content"], 64, "--out"],
  [["audit", "tail", "--after", "999999"], 1, "no entry"],
  [["audit", "tail", "--actor", "nobody"], 1, "nobody"],
] as const)("%j ends with %i and says why", async (command, code, why) => {
  const done = await run([...command]);
  expect([done.code, done.stdout]).toEqual([code, ""]);
  expect(done.stderr).toContain(why);
});

test("a range as a bundle verifies; it overwrites nothing unasked", async () => {
  const { code, stdout } = await run(["audit", "export", "-o", "ledger.bundle"]);
  expect(code).toBe(0);
  expect(stdout).toMatch(/wrote \d+ entries, \d+ bytes to ledger.bundle\ntied to the signed checkpoint of \d+ entries/);
  expect(stdout).toContain("countersign-verify ledger.bundle --policy FILE");
  expect(statSync(at("ledger.bundle")).mode & 0o777).toBe(0o600);
  expect(await run(["audit", "verify", "ledger.bundle"])).toMatchObject({ code: 0 });
  expect(await run(["audit", "export", "-o", "ledger.bundle"])).toMatchObject({
    code: 64,
    stderr: expect.stringContaining("--force"),
  });
  expect(await run(["audit", "export", "-o", "ledger.bundle", "--force"])).toMatchObject({ code: 0 });
  const bytes = readFileSync(at("ledger.bundle"));
  const middle = bytes.indexOf("change_set.created");
  bytes[middle] = 0x43;
  writeFileSync(at("broken.bundle"), bytes);
  expect((await run(["audit", "verify", "broken.bundle"])).code).toBe(1);
  expect((await run(["audit", "export", "-o", "no/such/folder"])).code).toBe(4);
  expect(existsSync(at("no"))).toBe(false);
});

test("a change-set's whole story, with what its votes are checked by", async () => {
  const answer = await machine.json<{ entries: number; checkpoint: object }>([
    "audit",
    "export",
    ...["--change-set", number, "-o", "story.bundle"],
  ]);
  expect(answer.checkpoint).toMatchObject({ origin: expect.stringMatching(/^countersign-/) });
  const verdict = await machine.json<{ integrity: string; votes: object }>(["audit", "verify", "story.bundle"]);
  expect(verdict).toMatchObject({ integrity: "ok", votes: { checked: 1, unchecked: 0 } });
});

test("for reading: JSON lines and CSV", async () => {
  const lines = (await run(["audit", "export", "--format", "jsonl"])).stdout.trimEnd().split("\n");
  expect(lines.map((line) => (JSON.parse(line) as EntryView).seq)).toEqual(lines.map((_, index) => index));
  const csv = (await run(["audit", "export", "--format", "csv", "--actor", "checkout-bot"])).stdout
    .trimEnd()
    .split("\n");
  expect(csv[0]?.trimEnd()).toMatch(/^seq,at,actor_type,.*,hash,body$/);
  expect(csv.length).toBeGreaterThan(2);
  expect(csv.slice(1).every((line) => line.includes("checkout-bot"))).toBe(true);
});

test("a receipt, and the entry beside it", async () => {
  const { code, stdout } = await run(["audit", "prove", "3", "--out", "entry.tlog-proof", "--with-content"]);
  expect(code).toBe(0);
  expect(stdout).toContain("entry 3 is in the ledger of");
  const parsed = parseTlogProof(readFileSync(at("entry.tlog-proof")));
  if (!parsed.ok) throw new Error(parsed.problem);
  const link = Buffer.from(parsed.proof.extra as Uint8Array).toString("utf8");
  expect(verifyTlogProof(parsed.proof, leafHashOf(parsed.proof.extra as Uint8Array) as Uint8Array)).toBe(true);
  const content = createHash("sha256")
    .update(readFileSync(at("entry.tlog-proof.content")))
    .digest("hex");
  expect(link.trimEnd().split("\n").at(-1)).toBe(content);
  expect((await run(["audit", "prove", "3"])).stdout).toMatch(/^c2sp\.org\/tlog-proof@v1\n/);
  expect(await run(["audit", "prove", "3", "--out", "entry.tlog-proof"])).toMatchObject({ code: 64 });
});

test("a policy to begin with", async () => {
  const { code, stdout } = await run(["audit", "policy"]);
  expect(code).toBe(0);
  expect(parsePolicy(stdout).ok).toBe(true);
  expect(stdout).toContain("over another channel");
  expect((await run(["audit", "policy", "-o", "my-policy"])).stdout).toMatch(/log countersign-\S+ +[0-9a-f]{64}/);
});

test("what is happening: as it happens, from where one left off, until Ctrl-C", async () => {
  const some = await run(["audit", "tail", "--after", "0", "--count", "2", "--json"]);
  expect(some.code).toBe(0);
  expect(
    some.stdout
      .trimEnd()
      .split("\n")
      .map((line) => (JSON.parse(line) as EntryView).seq),
  ).toEqual([1, 2]);

  const hooks = new URL("../support/typescriptHooks.mjs", import.meta.url).href;
  const program = fileURLToPath(new URL("../support/cliProgram.ts", import.meta.url));
  const child = spawn(
    process.execPath,
    ["--import", hooks, program, "audit", "tail", "--action", "principal.created", "--since", "1h"],
    {
      cwd: machine.repository,
      env: { PATH: process.env["PATH"] ?? "", HOME: machine.home, COUNTERSIGN_DATA: machine.data },
    },
  );
  let text = "";
  const seen = new Promise<void>((resolve) => {
    child.stdout.setEncoding("utf8").on("data", (piece: string) => {
      const before = text;
      text += piece;
      // The agent of the beginning has come: now another one, which is told of as it happens.
      if (!before.includes("checkout-bot") && text.includes("checkout-bot"))
        void run(["agent", "create", "newcomer", "--yes"]);
      if (text.includes("newcomer")) resolve();
    });
  });
  await seen;
  child.kill("SIGINT");
  expect(await once(child, "exit")).toEqual([0, null]);
  expect(text).toMatch(/principal\.created ada created the agent newcomer/);
});

test("a receipt after the log's key was rotated: it brings the statements, and says so", async () => {
  const { policy } = await machine.json<{ policy: string }>(["audit", "policy"]);
  const log = policy.split("\n").find((line) => line.startsWith("log ")) ?? "";
  writeFileSync(at("first-policy"), `${log}\nquorum none\n`);
  expect((await run(["audit", "prove", "3", "--out", "before.tlog-proof"])).stdout).not.toContain("statements");
  expect(await run(["keys", "rotate", "--reason", "yearly"])).toMatchObject({ code: 0 });
  expect(await run(["agent", "create", "latecomer", "--yes"])).toMatchObject({ code: 0 });
  const newest = (await run(["audit", "export", "--format", "jsonl"])).stdout.trimEnd().split("\n").at(-1) ?? "";
  const { seq } = JSON.parse(newest) as EntryView;
  const { code, stdout } = await run(["audit", "prove", String(seq), "--out", "after.tlog-proof"]);
  expect([code, stdout]).toEqual([0, expect.stringContaining("2 statements: an auditor who pinned an earlier key")]);
  const parsed = parsePolicy(readFileSync(at("first-policy")));
  if (!parsed.ok) throw new Error(JSON.stringify(parsed.problems));
  const trust = { ...noTrust, policy: parsed.policy };
  for (const name of ["before", "after"])
    expect(exitCodeOf(verifyReceipt(readFileSync(at(`${name}.tlog-proof`)), { trust })), name).toBe(0);
});
