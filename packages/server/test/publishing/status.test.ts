/** Whoever asks how things stand hears that nothing is signed, that an anchor fails or contradicts, and how far they are. */
import { chmodSync, readdirSync, rmSync, utimesSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { OperationOutput } from "@countersign/contract";
import { Machine } from "../support/cli.js";
import { temporaryDirectory } from "../support/postgres.js";
import { until } from "../support/publishing.js";
import { startTestServer, type Person, type TestServer } from "../support/server.js";

const folder = temporaryDirectory();
const anchors = [
  `disk file:${folder}/disk`,
  `slow file:${folder}/slow every=3600`,
  `gone file:${folder}/no/such/mount`,
];
let server: TestServer;
let ada: Person;
let machine: Machine;

type Standing = OperationOutput<"getPublishing">;
interface Listed {
  readonly tenant: string;
  readonly anchor: string;
  readonly standing: string;
  readonly confirmed: number;
  readonly entries: number;
  readonly behind: number;
  readonly everySeconds: number;
  readonly checkpointAt: string;
  readonly confirmedAt: string;
  readonly nextAttemptAt: string | null;
}

beforeAll(async () => {
  server = await startTestServer({ anchors, anchorsRequired: 2, dataDirectory: join(folder, "data") });
  ada = await server.firstPerson();
  machine = new Machine({
    DATABASE_URL: server.database.ownerUrl,
    COUNTERSIGN_APP_DATABASE_URL: server.database.appUrl,
    COUNTERSIGN_ANCHORS: anchors.join(),
    COUNTERSIGN_URL: server.url,
    COUNTERSIGN_KEY: ada.apiKey,
  });
});
afterAll(() => server.close());

/** The text of `countersign status`; that of one who may not read the ledger says nothing of it. */
async function status(key = ada.apiKey): Promise<{ text: string; ledger: Standing | null }> {
  const env = { COUNTERSIGN_KEY: key };
  const { stdout: text } = await machine.run(["status"], { env });
  const { ledger } = await machine.json<{ ledger: Standing | null }>(["status"], { env });
  return { text, ledger };
}

const list = async (): Promise<Listed[]> =>
  (await machine.json<{ anchors: Listed[] }>(["anchors", "list"])).anchors.filter((row) => row.tenant === ada.tenant);

const seen = (good: (standing: Standing) => boolean): Promise<Standing> =>
  until(async () => {
    const { body } = await ada.call("getPublishing", {});
    return good(body) ? body : undefined;
  });
const isAt =
  (name: string, standing: string) =>
  ({ anchors: all }: Standing): boolean =>
    all.some((one) => one.name === name && one.standing === standing);
const isSigned = ({ checkpoint, entries, state }: Standing): boolean =>
  state === "published" && checkpoint?.size === entries;

const readiness = async (): Promise<[number, { name: string; ok: boolean }[]]> => {
  const response = await fetch(`${server.url}/readyz`);
  return [response.status, ((await response.json()) as { checks: { name: string; ok: boolean }[] }).checks];
};

test("one line when all is signed; an anchor that fails, with why and when it is tried again", async () => {
  await seen(
    (one) => isSigned(one) && isAt("gone", "failing")(one) && isAt("disk", "ok")(one) && isAt("slow", "ok")(one),
  );
  const { text, ledger } = await status();
  expect(text).toMatch(/^the ledger is signed: \d+ of \d+ entries, the newest checkpoint \d+ s ago$/m);
  expect(text).toMatch(/^anchor gone fails \(.* ago\): .*no\/such.*$/m);
  expect(text).toMatch(/^ {2}it is tried again by itself, .*countersign anchors list/m);
  expect(text).toMatch(/^2 of 3 anchors confirmed when last asked, at most \d+ of \d+ entries$/m);
  expect(ledger).toMatchObject({ state: "published", reason: null, anchorsDegraded: false });
  expect(JSON.stringify(ledger)).not.toContain("wanted");
});

test("an anchor between two submissions is as far behind as it is, and says when it is asked next", async () => {
  await until(async () =>
    (await list()).find(({ anchor }) => anchor === "slow")?.standing === "ok" ? true : undefined,
  );
  const before = (await list()).find(({ anchor }) => anchor === "slow");
  for (let n = 0; n < 3; n++) await ada.call("issueEnrolmentCode", { id: ada.id });
  await seen((one) => isSigned(one) && one.anchors.some(({ name, behind }) => name === "disk" && behind === 0));
  const rows = await list();
  const [disk, slow] = ["disk", "slow"].map((name) => rows.find(({ anchor }) => anchor === name));
  expect(disk).toMatchObject({ standing: "ok", behind: 0, nextAttemptAt: null, everySeconds: 0 });
  expect(slow).toMatchObject({ standing: "ok", confirmed: before?.confirmed, everySeconds: 3600 });
  expect(slow?.behind).toBe((slow?.entries ?? 0) - (slow?.confirmed ?? 0));
  expect(slow?.behind).toBeGreaterThanOrEqual(3);
  expect(Date.parse(slow?.nextAttemptAt ?? "")).toBe(Date.parse(slow?.confirmedAt ?? "") + 3_600_000);
  expect(Date.parse(slow?.checkpointAt ?? "")).toBeLessThanOrEqual(Date.parse(slow?.confirmedAt ?? ""));
  const { stdout } = await machine.run(["anchors"]);
  const line = stdout.split("\n").find((one) => one.includes(ada.tenant) && one.includes(" slow "));
  expect(line).toMatch(/ ok +\d+ of \d+ +\d+ +\d+ (s|min) ago +in (1 h|\d+ min)$/);
  expect(stdout.split("\n").find((one) => one.includes(ada.tenant) && one.includes(" disk "))).toMatch(
    /when there is more$/,
  );
});

test("nothing is signed: why, and the way out; requests are served all the same", async () => {
  const key = join(folder, "data", "log-keys", "key");
  chmodSync(key, 0o644);
  // The key is read again when one of its files was written.
  utimesSync(join(folder, "data", "log-keys", "statements"), new Date(), new Date());
  await seen(({ state }) => state === "stopped");
  const { text, ledger } = await status();
  expect(text).toMatch(/^NOTHING IS SIGNED: .*log-keys\/key.*$/m);
  expect(text).toContain("docs/publishing.md");
  expect(ledger?.reason).toContain("chmod 600");
  const [code, checks] = await readiness();
  expect([code, checks.find(({ name }) => name === "publishing")?.ok]).toEqual([200, false]);
  chmodSync(key, 0o600);
  await seen(isSigned);
  expect((await status()).text).toContain("the ledger is signed");
});

test("an anchor that contradicts is an alarm", async () => {
  for (const name of readdirSync(join(folder, "disk"))) rmSync(join(folder, "disk", name), { recursive: true });
  await ada.call("issueEnrolmentCode", { id: ada.id });
  await seen(isAt("disk", "contradicts"));
  const { text, ledger } = await status();
  expect(text).toMatch(/^ANCHOR disk CONTRADICTS THE LEDGER.*\n.*docs\/forensics\.md/m);
  expect(text).toMatch(/that is fewer than are required, or one contradicts$/m);
  expect(ledger?.anchorsDegraded).toBe(true);
});

test("whoever may not read the ledger is told nothing of it", async () => {
  const scopes = ["change_sets.read", "principals.read"];
  const { body } = await ada.call("mintKey", { principal: ada.id, name: "narrow", scopes, days: 1 } as never);
  const { text, ledger } = await status(body.secret);
  expect([ledger, text.includes("ada on")]).toEqual([null, true]);
  expect(text).not.toMatch(/anchor|signed/i);
});
