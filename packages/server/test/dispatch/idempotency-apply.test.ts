/** A change-set over HTTP from proposal to undo, every command sent twice: one effect each, and the run's address for who asks again. */
import { signMessage, voteSigningBytes } from "@countersign/proof";
import { afterAll, beforeAll, expect, test } from "vitest";
import { newKey, type Person, startTestServer, type TestServer } from "../support/server.js";

let server: TestServer;
let ada: Person;
beforeAll(async () => {
  server = await startTestServer();
  ada = await server.firstPerson();
});
afterAll(() => server.close());

/** What a person signs when they approve this revision. */
function vote(person: Person, changeSet: { id: string; approvalDigest: string | null }) {
  const atMs = Date.now();
  const digest = changeSet.approvalDigest ?? "";
  const bytes = voteSigningBytes({
    tenant: person.tenant,
    changeSetId: changeSet.id,
    approvalDigest: digest,
    decision: "APPROVED",
    voterId: person.id,
    atMs,
  });
  return { digest, keyId: person.keyId, atMs, signature: signMessage(person.privateKey, bytes) };
}

const target = { kind: "resource" as const, type: "CONFIG", id: "shop/checkout", environment: "development" };

const named = (id: string) => ({ type: target.type, environment: target.environment, id });

async function approved(title: string, id: string): Promise<string> {
  const created = await ada.call("createChangeSet", {
    title,
    items: [{ operation: "CREATE", target: { ...target, id }, after: { retries: 3 } }],
  });
  expect([created.status, created.body]).toMatchObject([201, {}]);
  const submitted = await ada.call("submitChangeSet", { id: created.body.changeSet.id });
  const { changeSet } = submitted.body;
  if (changeSet.status === "APPROVED") return changeSet.id;
  const voted = await ada.call("approveChangeSet", { id: changeSet.id, ...vote(ada, changeSet) });
  expect(voted.body.changeSet.status).toBe("APPROVED");
  return changeSet.id;
}

test("20 equal applies at once: one run; the others are sent to it", async () => {
  const id = await approved("retry thrice", "shop/checkout");
  const key = newKey();
  const answers = await Promise.all(
    Array.from({ length: 20 }, () => ada.call("applyChangeSet", { id }, { idempotencyKey: key })),
  );
  expect(answers.map((answer) => answer.status).sort()).toEqual([200, ...Array.from({ length: 19 }, () => 202)]);
  const applications = new Set(answers.map((answer) => answer.body.application.id));
  expect(applications.size).toBe(1);
  const [application] = applications;
  for (const answer of answers.filter((one) => one.status === 202))
    expect(answer.headers.get("location")).toBe(`/api/ledger/applications/${application}`);
  const followed = await ada.call("getApplication", { applicationId: application ?? "" });
  expect(followed.body).toMatchObject({ kind: "APPLY", status: "SUCCEEDED", changeSetId: id });
  expect((await ada.call("getResource", named("shop/checkout"))).body.document).toEqual({ retries: 3 });
  expect((await ada.call("listApplications", { id })).body.rows).toHaveLength(1);
  // Without the key it is another request, and too late.
  expect((await ada.call("applyChangeSet", { id })).status).toBe(409);
});

test("a roll back that is sent again answers with the run it began", async () => {
  const id = await approved("to be undone", "shop/undone");
  expect((await ada.call("applyChangeSet", { id }, { idempotencyKey: newKey() })).status).toBe(200);
  const key = newKey();
  const first = await ada.call("rollbackChangeSet", { id, reason: "no" }, { idempotencyKey: key });
  const again = await ada.call("rollbackChangeSet", { id, reason: "no" }, { idempotencyKey: key });
  expect([first.status, again.status]).toEqual([200, 202]);
  expect(again.body.application.id).toBe(first.body.application.id);
  expect(again.body.changeSet.status).toBe("ROLLED_BACK");
  expect((await ada.call("getResource", named("shop/undone"))).body.deleted).toBe(true);
});

test("a proposal that is sent again is the same change-set, with the same receipts", async () => {
  const key = newKey();
  const input = {
    title: "once",
    items: [{ operation: "CREATE" as const, target: { ...target, id: "shop/once" }, after: { on: true } }],
  };
  const answers = await Promise.all(
    Array.from({ length: 10 }, () => ada.call("createChangeSet", input, { idempotencyKey: key })),
  );
  expect(answers.map((answer) => answer.status)).toEqual(Array.from({ length: 10 }, () => 201));
  expect(
    new Set(answers.map((answer) => JSON.stringify([answer.body.changeSet.number, answer.body.receipts]))).size,
  ).toBe(1);
  const found = await ada.call("listChangeSets", { search: "once" });
  expect(found.body.rows.filter((row) => row.title === "once")).toHaveLength(1);
});

test("the kill-switch stops an apply by whoever, and says so with 423", async () => {
  const id = await approved("stopped", "shop/stopped");
  await ada.call("engageKillSwitch", { reason: "wait" });
  const stopped = await ada.call("applyChangeSet", { id });
  expect([stopped.status, (stopped.body as unknown as { code: string }).code]).toEqual([423, "kill_switch_engaged"]);
  await ada.call("releaseKillSwitch", {});
  expect((await ada.call("applyChangeSet", { id })).status).toBe(200);
  const refusals = await ada.call("listAudit", { action: "refusal.recorded" as never, changeSet: id });
  expect(refusals.body.rows.map((row) => row.data["code"])).toContain("kill_switch_engaged");
});

test("the ledger accounts for everything", async () => {
  const report = await ada.call("verifyChain", {});
  expect(report.body).toMatchObject({ integrity: "ok", findings: [] });
});
