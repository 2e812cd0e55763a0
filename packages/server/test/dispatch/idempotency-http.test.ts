/** Idempotency keys and key proofs: of equal requests one has an effect; a proof is good once. */
import { afterAll, beforeAll, expect, test } from "vitest";
import pg from "pg";
import {
  type Agent,
  addAgent,
  newKey,
  type Person,
  proofOf,
  startTestServer,
  type TestServer,
} from "../support/server.js";

let server: TestServer;
let ada: Person;
beforeAll(async () => {
  server = await startTestServer();
  ada = await server.firstPerson();
});
afterAll(() => server.close());

async function asSuperuser<T extends pg.QueryResultRow>(text: string, values: unknown[] = []): Promise<T[]> {
  const client = new pg.Client(server.database.superuser);
  await client.connect();
  try {
    return (await client.query<T>(text, values)).rows;
  } finally {
    await client.end();
  }
}

async function agentsNamed(name: string): Promise<number> {
  const all = await ada.call("listPrincipals", { kind: "agent", limit: 200 });
  return all.body.rows.filter((row) => row.name === name).length;
}

test("50 equal requests at once: one effect, one response", async () => {
  const key = newKey();
  const input = { name: "fifty" };
  // Each is signed by itself, as 50 processes would do it.
  const answers = await Promise.all(
    Array.from({ length: 50 }, (_, n) =>
      ada.call("createAgent", input, {
        idempotencyKey: key,
        proof: proofOf(ada, "createAgent", input, Date.now() - n),
      }),
    ),
  );
  expect(answers.map((answer) => answer.status)).toEqual(Array.from({ length: 50 }, () => 201));
  expect(new Set(answers.map((answer) => answer.body.principal.id)).size).toBe(1);
  expect(new Set(answers.map((answer) => JSON.stringify(answer.body.receipts))).size).toBe(1);
  // The secret is shown to the one that had the effect.
  expect(answers.filter((answer) => answer.body.secret !== undefined)).toHaveLength(1);
  expect(answers.filter((answer) => answer.headers.get("idempotency-replayed") === "true")).toHaveLength(49);
  expect(await agentsNamed("fifty")).toBe(1);
  const [row] = await asSuperuser<{ use_count: number; hours: string }>(
    "select use_count, (expires_ms - first_used_ms) / 3600000 as hours from countersign.idempotency_keys where key = $1",
    [key],
  );
  expect(row).toEqual({ use_count: 50, hours: "72" });
});

test("the same key with another body is refused, and changes nothing", async () => {
  const key = newKey();
  expect((await ada.call("createAgent", { name: "first body" }, { idempotencyKey: key })).status).toBe(201);
  const other = await ada.call("createAgent", { name: "other body" }, { idempotencyKey: key });
  expect([other.status, (other.body as unknown as { code: string }).code]).toEqual([422, "idempotency_key_reused"]);
  expect(await agentsNamed("other body")).toBe(0);
});

test("a key belongs to who sent it and to the operation; after 72 hours it is free again", async () => {
  const key = newKey();
  const made = await ada.call("createAgent", { name: "mine" }, { idempotencyKey: key });
  const agent = await addAgent(ada, "other caller");
  // Another operation with the same key is another request.
  expect((await ada.call("mintKey", { principal: agent.id, name: "second" }, { idempotencyKey: key })).status).toBe(
    201,
  );
  await asSuperuser(
    "update countersign.idempotency_keys set first_used_ms = 1, last_used_ms = 1, expires_ms = 2 where key = $1",
    [key],
  );
  const again = await ada.call("createAgent", { name: "mine, again" }, { idempotencyKey: key });
  expect(again.status).toBe(201);
  expect(again.body.principal.id).not.toBe(made.body.principal.id);
});

test("a refusal is not remembered: the request can be made good", async () => {
  const key = newKey();
  expect((await ada.call("createAgent", { name: "mine" }, { idempotencyKey: key })).status).toBe(409);
  expect((await ada.call("createAgent", { name: "not taken" }, { idempotencyKey: key })).status).toBe(201);
});

test("a repeat is answered although its proof is stale by now", async () => {
  const key = newKey();
  const input = { name: "stale later" };
  const first = await ada.call("createAgent", input, { idempotencyKey: key });
  const repeated = await ada.call("createAgent", input, {
    idempotencyKey: key,
    proof: proofOf(ada, "createAgent", input, Date.now() - 3_600_000),
  });
  expect([repeated.status, repeated.body.principal.id]).toEqual([201, first.body.principal.id]);
});

const code = (answer: { body: unknown }): string => (answer.body as { code: string }).code;

test("a proof is good once, for this request, by this person's key, for ten minutes", async () => {
  const input = { name: "proven" };
  const proof = proofOf(ada, "createAgent", input);
  expect((await ada.call("createAgent", input, { proof })).status).toBe(201);
  await ada.call("setPrincipalStatus", { id: ada.id, status: "ACTIVE" });
  const cases: [string, object | null, number, string][] = [
    ["used already", proof, 403, "signature_invalid"],
    ["none", null, 428, "precondition_required"],
    ["for another input", proofOf(ada, "createAgent", { name: "else" }), 403, "signature_invalid"],
    ["for another operation", proofOf(ada, "createHuman", input), 403, "signature_invalid"],
    ["too old", proofOf(ada, "createAgent", input, Date.now() - 11 * 60_000), 403, "signature_invalid"],
    ["from the future", proofOf(ada, "createAgent", input, Date.now() + 5 * 60_000), 403, "signature_invalid"],
    ["by an unknown key", { ...proofOf(ada, "createAgent", input), keyId: ada.id }, 403, "signing_key_unknown"],
    ["of another tenant", proofOf({ ...ada, tenant: ada.id }, "createAgent", input), 403, "signature_invalid"],
    ["not a signature", { ...proofOf(ada, "createAgent", input), signature: "A".repeat(86) }, 403, "signature_invalid"],
  ];
  const before = await agentsNamed("proven");
  for (const [what, sent, status, expected] of cases) {
    const answer = await ada.call("createAgent", input, { proof: sent });
    expect([what, answer.status, code(answer)]).toEqual([what, status, expected]);
  }
  expect(await agentsNamed("proven")).toBe(before);
});

test("one proof sent 20 times at once has one effect", async () => {
  const agent: Agent = await addAgent(ada, "many keys");
  const input = { principal: agent.id, name: "once" };
  const proof = proofOf(ada, "mintKey", input as never);
  // The defaults are the server's: what is signed is what is sent.
  const answers = await Promise.all(Array.from({ length: 20 }, () => ada.call("mintKey", input, { proof })));
  expect(answers.filter((answer) => answer.status === 201)).toHaveLength(1);
  expect(new Set(answers.filter((answer) => answer.status !== 201).map(code))).toEqual(new Set(["signature_invalid"]));
});

test("an agent proves nothing, whatever it signs", async () => {
  const agent = await addAgent(ada, "signer");
  await ada.call("setBindings", { id: agent.id, roles: ["admin"], groups: [] });
  const input = { name: "by an agent" };
  const answer = await agent.call("createAgent", {
    ...input,
    proof: proofOf({ ...ada, id: agent.id }, "createAgent", input),
  });
  expect([answer.status, code(answer)]).toEqual([403, "forbidden"]);
});

test("the proof is on record: anybody can verify the signature again", async () => {
  const made = await ada.call("createAgent", { name: "on record" });
  const audit = await ada.call("listAudit", { subject: made.body.principal.id, order: "asc" });
  expect(audit.body.rows[0]).toMatchObject({
    action: "principal.created",
    actor: { name: "ada" },
    data: { proof: { operation: "createAgent", key: ada.keyId } },
  });
});

test("the ledger accounts for everything", async () => {
  expect((await server.verification.checkTenant(server.tenant)).findings).toEqual([]);
});
