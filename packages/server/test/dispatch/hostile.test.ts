/** An API key without more, over HTTP: what it gets done, what it is told, and what it leaves in the ledger. */
import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, expect, test } from "vitest";
import { signMessage, voteSigningBytes } from "@countersign/proof";
import {
  type Agent,
  addAgent,
  addHuman,
  enrol,
  type Person,
  proofOf,
  startTestServer,
  type TestServer,
} from "../support/server.js";

let server: TestServer;
let ada: Person;
let agent: Agent;
beforeAll(async () => {
  server = await startTestServer();
  ada = await server.firstPerson();
  agent = await addAgent(ada, "agent");
});
afterAll(async () => {
  expect((await server.verification.checkTenant(server.tenant)).findings).toEqual([]);
  await server.close();
});

const config = (name: string) => ({
  kind: "resource" as const,
  type: "SYSTEM_CONFIG",
  id: `system.config/${name}`,
  environment: "system",
});

/** Proposed, submitted, approved and applied by the one person there is. */
async function change(items: readonly object[]): Promise<string> {
  const made = await ada.call("createChangeSet", { title: "t", items: items as never });
  expect(made.status).toBe(201);
  const { id } = made.body.changeSet;
  const submitted = await ada.call("submitChangeSet", { id });
  const digest = submitted.body.changeSet.approvalDigest ?? "";
  const atMs = Date.now();
  const bytes = voteSigningBytes({
    tenant: ada.tenant,
    changeSetId: id,
    approvalDigest: digest,
    decision: "APPROVED",
    voterId: ada.id,
    atMs,
  });
  const vote = {
    id,
    digest,
    decision: "APPROVED" as const,
    keyId: ada.keyId,
    atMs,
    signature: signMessage(ada.privateKey, bytes),
  };
  expect((await ada.call("approveChangeSet", vote)).status).toBe(200);
  expect((await ada.call("applyChangeSet", { id })).body.changeSet.status).toBe("APPLIED");
  return id;
}

test("taking back what governs the tenant needs the key; taking back anything else does not", async () => {
  const grants = {
    grants: [{ id: "a", principals: ["agents"], operations: ["*"], targets: ["resource:development:*:**"] }],
  };
  const rules = await change([{ operation: "CREATE", target: config("grants"), after: grants }]);
  const input = { id: rules, cascade: false };
  const without = await ada.call("rollbackChangeSet", input);
  expect([without.status, (without.body as unknown as { code: string }).code]).toEqual([428, "precondition_required"]);
  const other = await ada.call("rollbackChangeSet", input, {
    proof: proofOf(ada, "rollbackChangeSet", { ...input, cascade: true }),
  });
  expect((other.body as unknown as { code: string }).code).toBe("signature_invalid");
  const proven = await ada.call("rollbackChangeSet", input, { proof: proofOf(ada, "rollbackChangeSet", input) });
  expect(proven.body.changeSet.status).toBe("ROLLED_BACK");
  const plain = await change([
    {
      operation: "CREATE",
      target: { kind: "resource", type: "CONFIG", id: "plain", environment: "development" },
      after: { a: 1 },
    },
  ]);
  expect((await ada.call("rollbackChangeSet", { id: plain })).body.changeSet.status).toBe("ROLLED_BACK");
});

test("a list says nothing of names its reader may not see, its cursor neither", async () => {
  const named = (id: string, environment: string) => ({
    operation: "CREATE",
    target: { kind: "resource", type: "CONFIG", id, environment },
    after: { a: 1 },
  });
  const grants = {
    grants: [{ id: "b", principals: ["agents"], operations: ["read"], targets: ["resource:open:*:**"] }],
  };
  await change([
    { operation: "CREATE", target: config("grants"), after: grants },
    named("hidden-name", "closed"),
    named("one", "open"),
    named("two", "open"),
  ]);
  const seen: string[] = [];
  for (let cursor: string | undefined; ;) {
    const page = await agent.call("listResources", { limit: 1, ...(cursor === undefined ? {} : { cursor }) });
    expect(page.status).toBe(200);
    const next = page.body.nextCursor;
    expect(Buffer.from(next ?? "", "base64url").toString("utf8")).not.toContain("hidden-name");
    seen.push(...page.body.rows.map((row) => row.id));
    if (next === null) break;
    cursor = next;
  }
  expect(seen).toEqual(["one", "two"]);
});

test("a thousand refusals of made-up names are few entries", async () => {
  const entries = async (): Promise<number> => (await server.verification.verifyTenant(server.tenant)).entries;
  const before = await entries();
  for (let n = 0; n < 30; n++) {
    expect((await agent.call("revokeKey", { id: randomUUID() })).status).toBe(403);
    expect(
      (
        await ada.call(
          "setPrincipalStatus",
          { id: randomUUID(), status: "SUSPENDED" },
          { proof: proofOf(ada, "createAgent", {}) },
        )
      ).status,
    ).toBe(403);
  }
  // One of each kind; a minute may end meanwhile.
  expect((await entries()) - before).toBeLessThanOrEqual(6);
});

test("where two people must agree, a key that one of them reset for the other is nobody else", async () => {
  const fresh = await startTestServer({ mode: "team" });
  const first = await fresh.firstPerson();
  const second = await addHuman(first, "second", ["admin"]);
  const reset = await first.call("issueEnrolmentCode", { id: second.id });
  const puppet = await enrol(fresh.url, reset.body.enrolmentCode);
  expect(puppet.id).toBe(second.id);
  const verdict = ({ status, body }: { status: number; body: unknown }) => [status, (body as { code?: string }).code];
  const refused = [409, "release_needs_another"];
  expect((await first.call("setTenantMode", { mode: "solo" })).body).toMatchObject({ waitingForSecondPerson: true });
  expect(verdict(await puppet.call("setTenantMode", { mode: "solo" }))).toEqual(refused);
  expect((await first.call("engageKillSwitch", { reason: "x" })).status).toBe(200);
  expect((await first.call("releaseKillSwitch", {})).status).toBe(200);
  expect(verdict(await puppet.call("releaseKillSwitch", {}))).toEqual(refused);
  expect((await second.call("revokeSigningKey", { id: puppet.keyId })).status).toBe(200);
  expect((await second.call("releaseKillSwitch", {})).body.killSwitch.status).toBe("RELEASED");
  expect((await second.call("setTenantMode", { mode: "solo" })).body.tenant.mode).toBe("solo");
  await fresh.close();
});

test("a principal changed by hand is not signed into the ledger by the next change of it", async () => {
  const made = await addAgent(ada, "forged");
  const other = await addHuman(ada, "bea");
  const set = async (answerable: string): Promise<void> => {
    const client = await server.storage.owner.connect();
    try {
      await client.query("begin");
      await client.query("select set_config('app.tenants', $1, true)", [`{${server.tenant}}`]);
      await client.query("update countersign.principals set answerable = $2 where tenant_id = $1 and id = $3", [
        server.tenant,
        answerable,
        made.id,
      ]);
      await client.query("commit");
    } finally {
      client.release();
    }
  };
  await set(other.id);
  const answers = [
    await ada.call("mintKey", { principal: made.id, name: "second" }),
    await ada.call("setBindings", { id: made.id, roles: ["agent"], groups: ["reviewers"] }),
    await ada.call("setPrincipalStatus", { id: made.id, status: "SUSPENDED" }),
    await ada.call("revokeKey", { id: made.keyId }),
  ];
  for (const { status, body } of answers)
    expect([status, (body as { code?: string }).code]).toEqual([409, "ledger_mismatch"]);
  await set(ada.id);
  expect((await ada.call("revokeKey", { id: made.keyId })).status).toBe(200);
});
