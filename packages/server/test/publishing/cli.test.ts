/** `countersign keys …` and `countersign restore` as people type them: before there is a database, beside a server, after it. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { deploymentTenant } from "../../src/tenancy/index.js";
import { Machine } from "../support/cli.js";
import { createDatabase, type TestDatabase } from "../support/postgres.js";
import { startTestServer, type TestServer } from "../support/server.js";

let database: TestDatabase;
let machine: Machine;
let server: TestServer | undefined;

interface Listed {
  readonly deployment: string;
  readonly recorded: boolean;
  readonly keys: { publicKey: string; verifierKey: string; current: boolean; revokedSince: string | null }[];
}

async function json<T>(args: readonly string[], code = 0): Promise<T> {
  const done = await machine.run([...args, "--json"]);
  expect([done.code, code === 0 ? done.stderr : ""]).toEqual([code, ""]);
  return (code === 0 ? JSON.parse(done.stdout) : (JSON.parse(done.stderr) as { error: unknown }).error) as T;
}

beforeAll(async () => {
  database = await createDatabase();
  machine = new Machine({ DATABASE_URL: database.ownerUrl, COUNTERSIGN_APP_DATABASE_URL: database.appUrl });
});
afterAll(() => server?.close());

test("init before there is anything but a schema; the server's start records it", async () => {
  const made = await json<Listed>(["keys", "init", "--deployment", "ledger.example.org/main"]);
  expect(made).toMatchObject({ deployment: "ledger.example.org/main", recorded: false });
  expect((await json<{ code: string }>(["keys", "init"], 1)).code).toBe("already_exists");
  expect((await json<{ code: string }>(["keys", "rotate", "--reason", "r"], 1)).code).toBe("not_published");
  server = await startTestServer({ database, dataDirectory: machine.data });
  await server.publishing.publish(deploymentTenant);
  const listed = await json<Listed>(["keys", "list"]);
  expect([listed.recorded, listed.keys.length, listed.keys[0]?.publicKey]).toEqual([true, 1, made.keys[0]?.publicKey]);
  expect((await machine.run(["keys", "list"])).stdout).toContain(`log ${made.keys[0]?.verifierKey ?? "?"}`);
});

test("init without a database leaves the keys for the first start, and makes no database", async () => {
  const alone = new Machine();
  const done = await alone.run(["keys", "init", "--json"]);
  expect(done.code).toBe(0);
  expect(JSON.parse(done.stdout)).toMatchObject({ recorded: false, keys: [{ current: true }] });
  expect([existsSync(join(alone.data, "log-keys", "pending")), existsSync(join(alone.data, "postgres.json"))]).toEqual([
    true,
    false,
  ]);
});

test("rotate and revoke beside a running server", async () => {
  const rotated = await json<Listed>(["keys", "rotate", "--reason", "yearly"]);
  expect(rotated.keys.map(({ current }) => current)).toEqual([false, true]);
  await server?.publishing.publish(deploymentTenant);
  expect(server?.publishing.status().key?.publicKey).toBe(rotated.keys[1]?.publicKey);
  const id = rotated.keys[0]?.verifierKey.split("+")[1] ?? "";
  const args = ["keys", "revoke", id, "--since", "2026-01-01T00:00Z", "--reason", "lost"];
  expect((await machine.run(args)).code).toBe(64); // nobody said yes
  const revoked = await json<Listed>([...args, "--yes"]);
  expect(revoked.keys[0]?.revokedSince).toBe("2026-01-01T00:00:00.000Z");
  // Nobody is told to pin a key that was revoked.
  const { stdout } = await machine.run(["keys", "list"]);
  expect(stdout).toContain(`  log ${revoked.keys[1]?.verifierKey ?? "?"}\n`);
  expect(stdout).not.toContain(revoked.keys[0]?.verifierKey);
  expect(
    (await json<{ code: string }>(["keys", "revoke", "00000000", "--since", "1d", "--reason", "r", "--yes"], 1)).code,
  ).toBe("not_found");
  expect((await machine.run(["keys", "rotate"])).code).toBe(64);
  const again = await machine.run(["keys", "rotate", "--reason", "yearly"]);
  expect(again.stderr).toContain(join(machine.data, "log-keys", "statements"));
  expect((await json<Listed>(["keys", "repair"])).keys).toHaveLength(3);
});

test("restore refuses when nothing was restored", async () => {
  await server?.publishing.publish(server.tenant);
  expect((await json<{ code: string }>(["restore", "--reason", "r", "--yes"], 1)).code).toBe("nothing_to_restore");
  expect((await json<{ code: string }>(["restore", "--as-clone", "--reason", "r", "--yes"], 1)).code).toBe(
    "nothing_to_restore",
  );
  expect((await machine.run(["restore", "--reason", "r"])).code).toBe(64);
});

test("a copy of the database becomes a deployment of its own", async () => {
  await server?.close();
  const copy = await createDatabase({ copyOf: database });
  const staging = new Machine({ DATABASE_URL: copy.ownerUrl, COUNTERSIGN_APP_DATABASE_URL: copy.appUrl });
  const done = await staging.run(["restore", "--as-clone", "--deployment", "staging", "--reason", "tests", "--yes"]);
  expect([done.code, done.stdout]).toEqual([0, expect.stringContaining("it was a copy of ledger.example.org/main")]);
  const cloned = await startTestServer({ database: copy, dataDirectory: staging.data });
  const { checkpoint } = await cloned.publishing.publish(cloned.tenant);
  expect(checkpoint.origin).toBe(`staging/${cloned.tenant}/1`);
  await cloned.close();
});
