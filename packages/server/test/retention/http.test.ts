/** Erasures, holds and prunings over HTTP and the command line: who may, with which proof, and what is answered again. */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { signMessage, voteSigningBytes } from "@countersign/proof";
import { afterAll, beforeAll, expect, test } from "vitest";
import { Machine } from "../support/cli.js";
import { addAgent, addHuman, newKey, type Person, startTestServer, type TestServer } from "../support/server.js";

let server: TestServer;
let ada: Person;
const machine = new Machine();
beforeAll(async () => {
  server = await startTestServer();
  ada = await server.firstPerson();
});
afterAll(() => server.close());

const secret = "Wolpertinger-4711";
const cli = (...args: string[]) =>
  machine.run(args, { env: { COUNTERSIGN_URL: server.url, COUNTERSIGN_KEY: ada.apiKey } });

let made = 0;
async function applied(key = newKey()): Promise<{ id: string; number: string }> {
  const target = { kind: "resource" as const, type: "CONFIG", id: `shop/${(made += 1)}`, environment: "development" };
  const created = await ada.call(
    "createChangeSet",
    { title: secret, items: [{ operation: "CREATE", target, after: { says: secret } }] },
    { idempotencyKey: key },
  );
  const { id, number } = created.body.changeSet;
  const { changeSet } = (await ada.call("submitChangeSet", { id })).body;
  if (changeSet.status !== "APPROVED") {
    const atMs = Date.now();
    const digest = changeSet.approvalDigest ?? "";
    const bytes = voteSigningBytes({
      tenant: ada.tenant,
      changeSetId: id,
      approvalDigest: digest,
      decision: "APPROVED",
      voterId: ada.id,
      atMs,
    });
    await ada.call("approveChangeSet", {
      id,
      digest,
      keyId: ada.keyId,
      atMs,
      signature: signMessage(ada.privateKey, bytes),
    });
  }
  const run = await ada.call("applyChangeSet", { id });
  expect(run.body.changeSet.status).toBe("APPLIED");
  return { id, number };
}

test("it takes the permission and the person's own key, unlocked for this", async () => {
  const { number } = await applied();
  const asked = { subject: `change_set:${number}`, reason: "request", policy: "gdpr-art-17" };
  const agent = await addAgent(ada, "builder");
  const member = await addHuman(ada, "bob", ["member"]);
  expect((await agent.call("eraseSubject", asked)).status).toBe(403);
  expect((await member.call("eraseSubject", asked)).status).toBe(403);
  expect((await member.call("previewErasure", { subject: asked.subject })).status).toBe(403);
  expect((await member.call("pruneLedger", { upTo: 1, archive: "x" })).status).toBe(403);
  expect((await member.call("placeLegalHold", { subject: null, reason: "x" })).status).toBe(403);
  expect((await ada.call("eraseSubject", asked, { proof: null })).status).toBe(428);
  // A proof is of one request.
  const other = { ...asked, policy: "other" };
  expect(
    (
      await ada.call("eraseSubject", other, {
        proof: { keyId: ada.keyId, atMs: Date.now(), signature: "A".repeat(86) },
      })
    ).status,
  ).toBe(403);
  expect((await ada.call("getChangeSet", { id: number })).body.title).toBe(secret);
});

test("erased, and every stored answer forgets it; asked again, the same answer", async () => {
  const create = newKey();
  const { id, number } = await applied(create);
  const asked = { subject: `change_set:${number}`, reason: "request", policy: "gdpr-art-17" };
  const foreseen = await ada.call("previewErasure", { subject: asked.subject });
  expect(foreseen.body.subject.label).toBe(number);
  const key = newKey();
  const done = await ada.call("eraseSubject", asked, { idempotencyKey: key });
  expect([done.status, done.body]).toMatchObject([200, { finished: true, alreadyBy: null }]);
  const again = await ada.call("eraseSubject", asked, { idempotencyKey: key });
  expect(again.headers.get("idempotency-replayed")).toBe("true");
  expect(again.body.receipts).toEqual(done.body.receipts);
  // The creation repeated with its key is not carried out again, and tells nothing.
  const repeated = await ada.call(
    "createChangeSet",
    {
      title: secret,
      items: [
        {
          operation: "CREATE",
          target: { kind: "resource", type: "CONFIG", id: `shop/${made}`, environment: "development" },
          after: { says: secret },
        },
      ],
    },
    { idempotencyKey: create },
  );
  expect(repeated.body).toMatchObject({ erased: true });
  expect(JSON.stringify(repeated.body)).not.toContain(secret);
  const view = await ada.call("getChangeSet", { id });
  expect(view.body).toMatchObject({ title: "erased", legalCommands: [] });
  const rolled = await ada.call("rollbackChangeSet", { id });
  expect([rolled.status, rolled.body]).toMatchObject([410, { code: "erased" }]);
  expect((await ada.call("verifyChain", {})).body).toMatchObject({ integrity: "ok", findings: [] });
});

test.each<[string, object]>([
  ["a subject of another kind", { subject: "tenant:default", reason: "x", policy: "p" }],
  ["no reason", { subject: "principal:bob", reason: "", policy: "p" }],
  ["a policy that is a text", { subject: "principal:bob", reason: "x", policy: "because I say so" }],
  ["a very long subject", { subject: `principal:${"x".repeat(10_000)}`, reason: "x", policy: "p" }],
  ["U+0000", { subject: "principal:b\u0000b", reason: "x", policy: "p" }],
])("refused as it was sent: %s", async (_, input) => {
  const answer = await ada.call("eraseSubject", input as never);
  expect(answer.status).toBe(422);
});

test("the ledger is pruned under a signed checkpoint, and the server verifies it", async () => {
  await applied();
  await server.publishing.publish(server.tenant);
  const { rows } = (await ada.call("listAudit", { limit: 1 })).body;
  const upTo = (rows[0]?.seq ?? 0) - 3;
  const foreseen = await ada.call("previewPruning", { upTo });
  expect(foreseen.body.checkpoint).toBeGreaterThanOrEqual(upTo);
  const done = await ada.call("pruneLedger", { upTo, archive: "first.bundle" });
  expect([done.status, done.body]).toMatchObject([200, { archive: { upTo, done: true } }]);
  expect(existsSync(done.body.archive.file ?? "")).toBe(true);
  expect((await ada.call("listArchives", {})).body.rows).toHaveLength(1);
  expect((await ada.call("verifyChain", {})).body).toMatchObject({ integrity: "ok", findings: [] });
  const outside = await ada.call("pruneLedger", { upTo: upTo + 1, archive: "../../../etc/cron.d/x" });
  expect([outside.status, outside.body]).toMatchObject([409, { code: "archive_unusable" }]);
});

test("from the command line: looked at before, held, listed", async () => {
  const { number } = await applied();
  const dry = await cli("audit", "erase", "--subject", `change_set:${number}`, "--dry-run");
  expect(dry.stderr).toBe("");
  expect(dry.stdout).toMatch(/would be erased/);
  expect(dry.stdout).toMatch(/Not reached:/);
  expect((await cli("audit", "erase", "--subject", `change_set:${number}`)).code).toBe(64);
  const placed = await cli("audit", "hold", "--subject", `change_set:${number}`, "--reason", "case 12", "--json");
  const { hold } = JSON.parse(placed.stdout) as { hold: { id: string } };
  const refused = await cli(
    "audit",
    "erase",
    "--subject",
    `change_set:${number}`,
    "--reason",
    "x",
    "--policy",
    "p",
    "--yes",
  );
  expect([refused.code, refused.stderr]).toEqual([1, expect.stringMatching(/legal hold/)]);
  expect((await cli("audit", "holds")).stdout).toMatch(hold.id);
  // Without the key there is no proof, and without a proof no release.
  expect((await cli("audit", "release", hold.id, "--reason", "x")).code).toBe(1);
  expect((await cli("audit", "archives")).stdout).toMatch(/first\.bundle/);
  const { rows } = (await ada.call("listArchives", {})).body;
  const offline = (file: string) =>
    machine.run(["audit", "verify", "--archive", file], {
      env: { DATABASE_URL: server.database.ownerUrl, COUNTERSIGN_APP_DATABASE_URL: server.database.appUrl },
    });
  const held = await offline(rows[0]?.file ?? "");
  expect([held.code, held.stdout]).toEqual([0, expect.stringMatching(/^ok: .* named by entry/)]);
  const other = `${machine.home}/other.bundle`;
  writeFileSync(other, readFileSync(rows[0]?.file ?? "", "utf8").replace("change_set.created", "change_set.forgered"));
  expect((await offline(other)).code).toBe(1);
  expect((await offline("nothing.bundle")).code).toBe(4);
  expect((await cli("audit", "prune", "--before", "1d")).code).toBe(4);
  expect((await cli("audit", "prune")).code).toBe(64);
});
