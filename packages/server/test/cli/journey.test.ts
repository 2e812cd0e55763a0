/** What a newcomer does in their first ten minutes, with the real command line against the real server. */
import { chmodSync, existsSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Machine } from "../support/cli.js";

const machine = new Machine();
let server: Awaited<ReturnType<Machine["start"]>>;
let agent: Readonly<Record<string, string>>;
interface Answer {
  readonly changeSet: { readonly id: string; readonly number: string; readonly status: string; readonly title: string };
}
const original = '{"timeout": 20, "retries": 3}\n';
const file = join(machine.repository, "app.json");
const run = machine.run.bind(machine);
const json = machine.json.bind(machine);

beforeAll(async () => {
  writeFileSync(file, original);
  server = await machine.start();
});
afterAll(async () => {
  await server.stop();
});

/** One change-set of the agent, submitted. */
async function proposed(title: string, ...change: readonly string[]): Promise<string> {
  const answer = await json<Answer>(["change-set", "create", "-t", title, ...change, "--submit"], { env: agent });
  expect(answer.changeSet.status).toBe("PENDING_APPROVAL");
  return answer.changeSet.number;
}

test("init: enrols, registers, writes a policy, adds an agent", async () => {
  const unasked = await run(["init", "--name", "shop"]);
  expect([unasked.code, unasked.stderr]).toEqual([
    64,
    expect.stringContaining("give `--mode solo`, `team` or `organisation`"),
  ]);
  const done = await json<{
    agent: { secret: string };
    workspace: { name: string; root: string };
    configuration: { changeSet: { status: string }; documents: string[] };
    tenant: { mode: string };
  }>(["init", "--mode", "solo", "--name", "shop", "--agent", "checkout-bot", "--yes"]);
  expect(done).toMatchObject({
    tenant: { mode: "solo" },
    workspace: { name: "shop", root: machine.repository },
    configuration: { changeSet: { status: "APPLIED" } },
  });
  expect(done.agent.secret).toMatch(/^csk_/);
  agent = { COUNTERSIGN_KEY: done.agent.secret, COUNTERSIGN_URL: server.url, COUNTERSIGN_PASSPHRASE: "" };
  const folder = join(machine.repository, ".countersign/config");
  expect(readdirSync(folder).sort()).toEqual(done.configuration.documents.map((name) => `${name}.json`).sort());
  expect(JSON.parse(readFileSync(join(folder, "grants.json"), "utf8"))).toMatchObject({
    grants: [{ targets: expect.arrayContaining(["file:shop:**"]) }, {}],
  });
});

test("init again changes nothing", async () => {
  const done = await json<{ configuration: { changeSet: unknown } }>([
    "init",
    "--mode",
    "solo",
    "--name",
    "shop",
    "--yes",
  ]);
  expect(done.configuration.changeSet).toBeNull();
});

test("credentials and keys are private, and the key is not in the clear", async () => {
  const folder = join(machine.home, ".config/countersign");
  const modes = [
    folder,
    join(folder, "keys"),
    join(folder, "credentials.json"),
    ...readdirSync(join(folder, "keys")).map((name) => join(folder, "keys", name)),
  ].map((path) => statSync(path).mode & 0o777);
  expect(modes).toEqual([0o700, 0o700, 0o600, 0o600]);
  const key = JSON.parse(
    readFileSync(join(folder, "keys", readdirSync(join(folder, "keys"))[0] ?? ""), "utf8"),
  ) as Record<string, unknown>;
  expect(Object.keys(key).sort()).toEqual([
    "algorithm",
    "cipher",
    "createdAt",
    "kdf",
    "keyId",
    "label",
    "principal",
    "publicKey",
    "sealed",
    "tenant",
    "version",
  ]);
  expect(existsSync(join(machine.data, "first-enrolment-code"))).toBe(false);
});

test("whoami, for the person and for the agent", async () => {
  expect(await json(["whoami"])).toMatchObject({ principal: { name: "ada", kind: "human" }, tenant: { mode: "solo" } });
  expect(await json(["whoami"], { env: agent })).toMatchObject({
    principal: { name: "checkout-bot", kind: "agent", answerable: { name: "ada" } },
  });
});

test("an agent proposes, the person approves by signature, applies, looks, undoes: the bytes are what they were", async () => {
  const number = await proposed("Longer timeout", "--set", "file:shop:app.json#/timeout=30");
  expect(readFileSync(file, "utf8")).toBe(original);

  const list = await run(["change-set", "list", "--pending", "--mine"]);
  expect(list.stdout).toContain(`${number} waits for `);
  const diff = await run(["change-set", "diff", number]);
  expect(diff.stdout).toContain('-{"timeout": 20, "retries": 3}');
  expect(diff.stdout).toContain('+{"timeout": 30, "retries": 3}');

  const unsaid = await run(["change-set", "approve", number]);
  expect([unsaid.code, unsaid.stderr]).toEqual([64, expect.stringContaining("give `--yes`")]);
  const approved = await run(["change-set", "approve", number, "--yes"]);
  expect(approved.stderr).toMatch(/APPROVED will be signed over approval digest [0-9a-f]{64}/);
  expect(approved.stdout).toContain("self-approved (solo)");
  expect(approved.stdout).toContain(`countersign change-set apply ${number}`);

  const applied = await json<Answer & { application: { status: string } }>(["change-set", "apply", number]);
  expect([applied.changeSet.status, applied.application.status]).toEqual(["APPLIED", "SUCCEEDED"]);
  expect(readFileSync(file, "utf8")).toBe('{"timeout": 30, "retries": 3}\n');

  const log = await json<{ rows: { action: string; actor: { name: string } }[] }>([
    "audit",
    "log",
    "--change-set",
    number,
    "--order",
    "asc",
  ]);
  expect(log.rows.map((row) => row.action)).toEqual(
    expect.arrayContaining(["change_set.created", "change_set.vote_cast", "change_set.applied"]),
  );
  expect(log.rows[0]?.actor.name).toBe("checkout-bot");

  const asked = await run(["undo"]);
  expect([asked.code, asked.stderr]).toEqual([
    64,
    expect.stringMatching(/restore file:shop:app\.json[\s\S]*give `--yes`/),
  ]);
  const undone = await json<Answer>(["undo", "--yes"]);
  expect([undone.changeSet.number, undone.changeSet.status]).toEqual([number, "ROLLED_BACK"]);
  expect(readFileSync(file, "utf8")).toBe(original);
  const nothing = await run(["undo", number, "--yes"]);
  expect([nothing.code, nothing.stderr]).toEqual([
    1,
    expect.stringMatching(/illegal_transition: .*ROLLED_BACK[\s\S]*countersign change-set revise/),
  ]);
});

describe("resources", () => {
  test("made by --put, changed by --set and --add, read, and their history", async () => {
    const made = await proposed("Checkout", "--put", "CONFIG:shop/checkout", "--from", file);
    expect((await run(["change-set", "approve", made, "--yes"])).code).toBe(0);
    expect((await run(["change-set", "apply", made])).code).toBe(0);
    const changed = await proposed(
      "Tags",
      "--set",
      "CONFIG:shop/checkout#/retries=5",
      "--add",
      'CONFIG:shop/checkout#/tags=["a"]',
      "--unset",
      "CONFIG:shop/checkout#/timeout",
    );
    expect((await run(["change-set", "approve", changed, "--yes"])).code).toBe(0);
    expect((await run(["change-set", "apply", changed])).code).toBe(0);
    expect(JSON.parse((await run(["resource", "show", "CONFIG:shop/checkout"])).stdout)).toEqual({
      retries: 5,
      tags: ["a"],
    });
    expect(JSON.parse((await run(["resource", "show", "CONFIG:shop/checkout", "--revision", "1"])).stdout)).toEqual({
      timeout: 20,
      retries: 3,
    });
    const history = await json<{ rows: { changeSetNumber: string }[] }>([
      "resource",
      "history",
      "CONFIG:shop/checkout",
    ]);
    expect(new Set(history.rows.map((row) => row.changeSetNumber))).toEqual(new Set([made, changed]));
  });
});

test("a change-set from the standard input, with comments", async () => {
  const input =
    '// by hand\n{ "title": "From a pipe", "items": [ { "operation": "CREATE", "target": { "kind": "file", "workspace": "shop", "path": "new.txt" }, "content": { "text": "hello\\n" } }, ] }';
  const answer = await json<Answer>(["change-set", "create", "-f", "-"], { env: agent, input });
  expect(answer.changeSet).toMatchObject({ title: "From a pipe", status: "DRAFT" });
  const cancelled = await json<Answer>(["change-set", "cancel", answer.changeSet.number], { env: agent });
  expect(cancelled.changeSet.status).toBe("CANCELLED");
});

describe("hostile texts are stored as they are, and shown harmless", () => {
  const hostile = "\u001b[2J\u202egnp.exe\u200b";
  test("in tables, details and the log", async () => {
    const number = await proposed(hostile, "--set", 'file:shop:app.json#/evil="\\u001b]0;x\\u0007"');
    const stored = await json<{ title: string }>(["change-set", "show", number]);
    expect(stored.title).toBe(hostile);
    for (const command of [
      ["change-set", "list"],
      ["change-set", "show", number],
      ["change-set", "diff", number],
      ["change-set", "history", number],
      ["audit", "log"],
      ["status"],
      ["audit", "log", "--csv"],
    ]) {
      const done = await run(command);
      expect(done.code, command.join(" ")).toBe(0);
      if (command.includes("--csv")) continue;
      expect(done.stdout, command.join(" ")).not.toMatch(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200b\u202e]/);
    }
    expect((await run(["change-set", "list"])).stdout).toContain("\\x1b[2J\\u{202e}gnp.exe\\u{200b}");
    await json(["change-set", "cancel", number], { env: agent });
  });
});

describe("refusals end with their code and the command that would help", () => {
  test.each([
    ["mistyped", ["chnge-set", "list"], 64, /unknown command 'chnge-set'[\s\S]*Did you mean change-set/],
    [
      "mistyped option",
      ["change-set", "list", "--statsu", "x"],
      64,
      /unknown option '--statsu'[\s\S]*Did you mean --status/,
    ],
    ["a group alone", ["change-set"], 64, /a command is missing[\s\S]*create/],
    ["nothing to change", ["change-set", "create"], 64, /the change-set has no items/],
    ["no such change-set", ["change-set", "show", "CS-2026-0101-001"], 1, /not_found/],
    ["no number at all", ["change-set", "show", "x"], 4, /invalid_request: [\s\S]*\/id/],
    [
      "no such target",
      ["change-set", "create", "--set", "CONFIG:nowhere#/a=1"],
      1,
      /target_not_found: [\s\S]*\/items\/0\/target\/id[\s\S]*help: countersign resource list/,
    ],
    ["no such file", ["change-set", "create", "-f", "nowhere.json"], 4, /file_unreadable: cannot read `nowhere.json`/],
    ["escaping path", ["change-set", "create", "--file", "shop:../x", "--from", "app.json"], 1, /path_refused/],
    ["no such status", ["change-set", "list", "--status", "GONE"], 4, /invalid_request/],
    ["nobody there", ["whoami", "--url", "http://127.0.0.1:1"], 64, /the login `default` is for/],
    ["no such human", ["human", "code", "nobody"], 1, /there is no human `nobody`[\s\S]*countersign human list/],
  ])("%s", async (_name, args, code, text) => {
    const done = await run(args);
    expect([done.code, done.stdout, done.stderr]).toEqual([code, "", expect.stringMatching(text)]);
  });

  test("all problems at once, with pointers, as JSON too", async () => {
    const input = JSON.stringify({
      title: "x",
      category: "NOPE",
      items: [
        { operation: "DELETE", target: { kind: "file", workspace: "nope", path: "x" } },
        { operation: "EXPLODE" },
      ],
    });
    const done = await run(["change-set", "create", "-f", "-", "--json"], { input });
    const { error } = JSON.parse(done.stderr) as {
      error: { code: string; exitCode: number; problems: { pointer: string }[]; help: string[] };
    };
    expect(done.code).toBe(4);
    expect(error).toMatchObject({ code: "invalid_request", exitCode: 4 });
    expect(error.problems.map((problem) => problem.pointer)).toEqual(
      expect.arrayContaining(["/category", "/items/1/operation"]),
    );
    expect(error.help.length).toBeGreaterThan(0);
  });

  test("a wrong passphrase signs nothing", async () => {
    const number = await proposed("Not to be approved", "--set", "file:shop:app.json#/timeout=31");
    const done = await run(["change-set", "approve", number, "--yes"], {
      env: { COUNTERSIGN_PASSPHRASE: "wrong horse" },
    });
    expect([done.code, done.stderr]).toEqual([
      1,
      expect.stringMatching(/passphrase_wrong: the passphrase does not open/),
    ]);
    expect(await json(["change-set", "show", number])).toMatchObject({ status: "PENDING_APPROVAL", votes: [] });
    await json(["change-set", "reject", number, "--reason", "not wanted", "--yes"]);
    expect(await json(["change-set", "show", number])).toMatchObject({
      status: "REJECTED",
      votes: [{ decision: "REJECTED", reason: "not wanted" }],
    });
  });

  test("an agent cannot vote, release or mint: it has no key", async () => {
    const done = await run(["agent", "create", "another"], { env: agent });
    expect([done.code, done.stderr]).toEqual([1, expect.stringMatching(/^forbidden/)]);
    const vote = await run(
      ["change-set", "approve", await proposed("Mine", "--set", "file:shop:app.json#/timeout=32"), "--yes"],
      { env: { ...agent, COUNTERSIGN_PASSPHRASE: "correct horse" } },
    );
    expect([vote.code, vote.stderr]).toEqual([
      64,
      expect.stringMatching(/key_file_missing: there is no signing key of `checkout-bot`/),
    ]);
  });

  test("keys inside the workspace are not used", async () => {
    const inside = join(machine.repository, "secrets");
    const done = await run(["init", "--mode", "solo", "--name", "shop", "--yes"], {
      env: { COUNTERSIGN_CONFIG: inside },
    });
    expect([done.code, done.stderr]).toEqual([
      1,
      expect.stringMatching(/keys_in_workspace: [\s\S]*within reach of agents/),
    ]);
    expect(existsSync(inside)).toBe(false);
  });

  test("a key file anybody could read is closed", async () => {
    const credentials = join(machine.home, ".config/countersign/credentials.json");
    chmodSync(credentials, 0o644);
    await json(["whoami"]);
    expect(statSync(credentials).mode & 0o777).toBe(0o600);
  });
});

test("configuration: pulled, changed, compared, pushed as a change-set", async () => {
  const folder = join(machine.home, "config");
  await json(["config", "pull", folder]);
  expect(await json(["config", "diff", folder])).toEqual({ changes: [] });
  writeFileSync(join(folder, "freeze.json"), '{ "windows": [], "weekly": [], } // nothing is frozen');
  expect(await json(["config", "diff", folder])).toEqual({ changes: [] });
  writeFileSync(
    join(folder, "approvals.json"),
    '{ "deadlineHours": { "LOW": 40, "NORMAL": 20, "HIGH": 8, "CRITICAL": 2 } }',
  );
  expect(await json<{ changes: { name: string; operation: string }[] }>(["config", "diff", folder])).toMatchObject({
    changes: [{ name: "approvals", operation: "CREATE" }],
  });
  expect((await run(["config", "diff", folder, "--exit-code"])).code).toBe(1);
  const wrong = await run(["config", "push", folder]);
  expect([wrong.code, wrong.stderr]).toEqual([
    expect.any(Number),
    expect.stringMatching(/\/items\/0\/.*undoWindowHours/),
  ]);
  expect(wrong.code).not.toBe(0);
  writeFileSync(
    join(folder, "approvals.json"),
    (await run(["config", "pull", join(machine.home, "all"), "--all"])) &&
      readFileSync(join(machine.home, "all/approvals.json"), "utf8").replace(
        '"undoWindowHours": 72',
        '"undoWindowHours": 48',
      ),
  );
  const pushed = await json<Answer>(["config", "push", folder, "--submit"]);
  expect(pushed.changeSet).toMatchObject({ title: "Configuration: approvals", status: "PENDING_APPROVAL" });
  await json(["change-set", "approve", pushed.changeSet.number, "--yes"]);
  await json(["change-set", "apply", pushed.changeSet.number]);
  expect(await json(["config", "diff", folder])).toEqual({ changes: [] });
  writeFileSync(join(folder, "polcy.json"), "{}");
  expect((await run(["config", "diff", folder])).stderr).toMatch(/file_malformed: `polcy.json`.*known: policy, grants/);
});

test("people: another one enrols with a code, on their own machine", async () => {
  const created = await json<{ enrolmentCode: string }>([
    "human",
    "create",
    "grace",
    "--role",
    "member",
    "--group",
    "reviewers",
  ]);
  const hers = {
    COUNTERSIGN_CONFIG: join(machine.home, "grace"),
    COUNTERSIGN_URL: server.url,
    COUNTERSIGN_PASSPHRASE: "her own horse",
  };
  const enrolled = await json<Record<string, unknown>>(["enrol", created.enrolmentCode, "--label", "laptop"], {
    env: hers,
  });
  expect(enrolled).toMatchObject({ principal: { name: "grace" }, signingKey: { label: "laptop" } });
  expect(enrolled).not.toHaveProperty("secret");
  const again = await run(["enrol", created.enrolmentCode], {
    env: { ...hers, COUNTERSIGN_CONFIG: join(machine.home, "grace2") },
  });
  expect([again.code, again.stderr]).toEqual([
    1,
    expect.stringMatching(/enrolment_code_invalid[\s\S]*countersign human code NAME/),
  ]);
  expect(readdirSync(join(machine.home, "grace2/keys"))).toEqual([]);
  const keys = await json<{ rows: { id: string; principal: { name: string } }[] }>([
    "key",
    "list",
    "--signing",
    "--of",
    "grace",
  ]);
  expect(keys.rows).toHaveLength(1);
  await json(["human", "suspend", "grace"]);
  const suspended = await run(["whoami"], { env: hers });
  expect([suspended.code, suspended.stderr]).toEqual([1, expect.stringMatching(/principal_suspended/)]);
  await json(["human", "activate", "grace"]);
  expect(await json(["whoami"], { env: hers })).toMatchObject({ principal: { name: "grace" } });
});

test("API keys: minted for an agent, used, revoked at once", async () => {
  const minted = await json<{ secret: string; key: { id: string } }>([
    "key",
    "create",
    "checkout-bot",
    "--name",
    "ci",
    "--days",
    "2",
  ]);
  const env = { ...agent, COUNTERSIGN_KEY: minted.secret };
  expect(await json(["whoami"], { env })).toMatchObject({ principal: { name: "checkout-bot" } });
  await json(["key", "revoke", minted.key.id]);
  const done = await run(["whoami"], { env });
  expect([done.code, done.stderr]).toEqual([1, expect.stringMatching(/^key_revoked/)]);
});

test("login and logout with an API key, under a profile", async () => {
  const login = await run(["login", "--profile", "bot"], { input: `${agent["COUNTERSIGN_KEY"] ?? ""}\n` });
  expect([login.code, login.stdout]).toEqual([0, expect.stringMatching(/logged in as profile bot[\s\S]*checkout-bot/)]);
  expect(await json(["whoami", "--profile", "bot"])).toMatchObject({ principal: { name: "checkout-bot" } });
  await json(["logout", "--profile", "bot"]);
  expect((await run(["whoami", "--profile", "bot"])).code).toBe(64);
});

test("kill-switch: engaged by anybody, nothing is applied, released with a key", async () => {
  const number = await proposed("Stopped", "--set", "file:shop:app.json#/timeout=33");
  await json(["change-set", "approve", number, "--yes"]);
  await json(["kill", "engage", "--reason", "test"]);
  const done = await run(["change-set", "apply", number]);
  expect([done.code, done.stderr]).toEqual([
    1,
    expect.stringMatching(/kill_switch_engaged[\s\S]*countersign kill release/),
  ]);
  expect(await json(["kill", "release"])).toMatchObject({ killSwitch: { status: "RELEASED" } });
  expect(readFileSync(file, "utf8")).toBe(original);
});

test("team mode: the author's human does not approve", async () => {
  const number = await proposed("Needs another", "--set", "file:shop:app.json#/timeout=34");
  expect(await json(["tenant", "mode", "team"])).toMatchObject({ tenant: { mode: "team" } });
  const done = await run(["change-set", "approve", number, "--yes"]);
  expect(done.code).toBe(1);
  expect(done.stderr).toMatch(/separation_of_duties|not_an_approver/);
  const hers = { COUNTERSIGN_CONFIG: join(machine.home, "grace"), COUNTERSIGN_PASSPHRASE: "her own horse" };
  expect((await run(["change-set", "approve", number, "--yes"], { env: hers })).code).toBe(0);
});

describe("the record", () => {
  const bundle = join(machine.home, "ledger.bundle");
  test("verifies in the database, and as a bundle that needs nothing else", async () => {
    const local = await json<{ integrity: string; reports: { entries: number; integrity: string }[] }>([
      "audit",
      "verify",
    ]);
    expect(local.integrity).toBe("ok");
    const exported = await json<{ entries: number }>(["audit", "export", "-o", bundle]);
    expect(local.reports.map((report) => report.entries)).toContain(exported.entries);
    expect(await json(["audit", "verify", bundle], { env: { COUNTERSIGN_DATA: "/nowhere" } })).toMatchObject({
      integrity: "ok",
      entries: exported.entries,
    });
    expect(await json(["audit", "verify", "--remote"])).toMatchObject({ integrity: "ok" });
    expect((await run(["audit", "export", "-o", bundle])).stderr).toContain("`--force` overwrites it");
  });
  test("a bundle with one byte changed: 1, and the entry; cut off: 4; none: 4; no database: 3", async () => {
    const text = readFileSync(bundle, "utf8");
    const line = text.split("\n").findIndex((row) => row.includes("change_set.applied"));
    const { seq } = JSON.parse(text.split("\n")[line] ?? "{}") as { seq: number };
    const bad = text
      .split("\n")
      .map((row, index) => (index === line ? row.replace("change_set.applied", "change_set.archive") : row))
      .join("\n");
    writeFileSync(`${bundle}.bad`, bad);
    const tampered = await run(["audit", "verify", `${bundle}.bad`]);
    expect([tampered.code, tampered.stdout]).toEqual([
      1,
      expect.stringMatching(new RegExp(`TAMPERED[\\s\\S]*first bad entry: ${seq}\\n`)),
    ]);
    writeFileSync(`${bundle}.cut`, text.slice(0, text.length / 2));
    expect((await run(["audit", "verify", `${bundle}.cut`])).code).toBe(4);
    expect((await run(["audit", "verify", "nowhere.bundle"])).code).toBe(4);
    expect((await run(["audit", "verify"], { env: { DATABASE_URL: "postgres://x@127.0.0.1:1/x" } })).code).toBe(3);
    expect((await run(["audit", "verify"], { env: { COUNTERSIGN_DATA: join(machine.home, "none") } })).code).toBe(3);
  });
  test("as CSV", async () => {
    const done = await run(["audit", "log", "--csv", "--limit", "0", "--since", "1d", "--order", "asc"]);
    const rows = done.stdout.split("\r\n");
    expect(rows[0]).toBe(
      "seq,at,actor_type,actor_id,actor_name,action,subject_type,subject_id,subject_label,change_set,data,hash,body",
    );
    expect(rows[1]?.startsWith("0,20")).toBe(true);
    expect(rows.length).toBeGreaterThan(60);
  });
});

test("as a process: exit code, streams, no colours in a pipe", async () => {
  const done = await machine.process(["change-set", "show", "CS-2026-0101-001", "--json"]);
  expect([done.code, done.stdout, (JSON.parse(done.stderr) as { error: { code: string } }).error.code]).toEqual([
    1,
    "",
    "not_found",
  ]);
  const piped = await machine.process(["login", "--profile", "pipe"], { input: agent["COUNTERSIGN_KEY"] ?? "" });
  expect([piped.code, piped.stdout]).toEqual([0, expect.stringContaining("checkout-bot")]);
  const list = await machine.process(["change-set", "list"]);
  expect([list.code, list.stdout]).toEqual([0, expect.not.stringContaining("\u001b")]);
  const colored = await machine.process(["change-set", "list"], { env: { FORCE_COLOR: "1" } });
  expect(colored.stdout).toContain("\u001b[");
});

test("a second server on the same data is refused with the address of the first", async () => {
  const done = await run(["start", "--port", "0"]);
  expect([done.code, done.stderr]).toEqual([
    3,
    expect.stringMatching(new RegExp(`data_directory_in_use: .*${server.url.replaceAll(".", "\\.")}`)),
  ]);
});

test("with the server away: the ledger still verifies, the schema is shown, everything else says what to do", async () => {
  expect(await server.stop()).toBe(0);
  expect(await json<{ integrity: string }>(["audit", "verify"])).toMatchObject({ integrity: "ok" });
  expect(await json<{ pending: unknown[] }>(["migrate", "status"])).toMatchObject({ pending: [] });
  expect(await json(["migrate", "up"])).toEqual({ applied: [] });
  const done = await run(["status"]);
  expect([done.code, done.stderr]).toEqual([3, expect.stringMatching(/^unreachable: [\s\S]*help: countersign start/)]);
  server = await machine.start();
});
