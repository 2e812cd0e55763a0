/** People, agents and keys, on two servers over one database: what one decides the other obeys at once. */
import { generateSigningKeyPair, enrolmentBytes, signMessage } from "@countersign/proof";
import pg from "pg";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { deploymentTenant } from "../../src/tenancy/index.js";
import {
  addAgent,
  addHuman,
  call,
  enrol,
  newKey,
  type Person,
  startTestServer,
  type TestServer,
} from "../support/server.js";
import { createDatabase, type TestDatabase } from "../support/postgres.js";

let database: TestDatabase;
let server: TestServer;
let other: TestServer;
let ada: Person;

// Two servers of one deployment: what one sealed the other opens.
const sealingKeys = [new Uint8Array(32).fill(7)];
beforeAll(async () => {
  database = await createDatabase();
  // Both start at once on an empty, migrated database: the first start is run twice.
  [server, other] = await Promise.all([
    startTestServer({ database, mode: "team", sealingKeys }),
    startTestServer({ database, mode: "team", sealingKeys }),
  ]);
  // Both issued a code; whichever was later made the other one invalid.
  ada = await enrol(server.url, other.firstCode?.text ?? "").catch(() =>
    enrol(server.url, server.firstCode?.text ?? ""),
  );
});
afterAll(async () => {
  await Promise.all([server.close(), other.close()]);
});

const code = (answer: { body: unknown }): string => (answer.body as { code: string }).code;
const verdict = (answer: { status: number; body: unknown }): [number, string] => [answer.status, code(answer)];

async function asSuperuser<T extends pg.QueryResultRow>(text: string, values: unknown[] = []): Promise<T[]> {
  const client = new pg.Client(database.superuser);
  await client.connect();
  try {
    return (await client.query<T>(text, values)).rows;
  } finally {
    await client.end();
  }
}

describe("the first start", () => {
  test("two processes at once make one deployment and one first tenant", async () => {
    expect(server.tenant).toBe(other.tenant);
    expect(await server.tenancy.tenants()).toEqual([deploymentTenant, server.tenant]);
    const humans = await asSuperuser("select tenant_id, name from countersign.principals where kind = 'human'");
    expect(humans.filter((row) => row["tenant_id"] === server.tenant)).toHaveLength(1);
  });

  test("a third start makes nothing, and hands out no code once somebody is in", async () => {
    const before = await asSuperuser("select count(*) from countersign.entries where tenant_id = $1", [server.tenant]);
    const third = await startTestServer({ database });
    expect(third.firstCode).toBeUndefined();
    await third.close();
    expect(await asSuperuser("select count(*) from countersign.entries where tenant_id = $1", [server.tenant])).toEqual(
      before,
    );
  });
});

describe("enrolling", () => {
  async function attempt(
    enrolmentCode: string,
    change: (input: { code: string; publicKey: string; signature: string; label: string }) => object = (input) => input,
  ) {
    const { publicKey, privateKey } = generateSigningKeyPair();
    const signature = signMessage(privateKey, enrolmentBytes({ code: enrolmentCode, publicKey }));
    return call(server.url, "enrol", change({ code: enrolmentCode, publicKey, signature, label: "" }) as never);
  }

  test("20 people with one code at once: one is in", async () => {
    const made = await ada.call("createHuman", { name: "twenty" });
    const answers = await Promise.all(Array.from({ length: 20 }, () => attempt(made.body.enrolmentCode)));
    expect(answers.filter((answer) => answer.status === 201)).toHaveLength(1);
    expect(new Set(answers.filter((answer) => answer.status !== 201).map(code))).toEqual(
      new Set(["enrolment_code_invalid"]),
    );
  });

  test("a code that is wrong, expired, replaced or somebody else's opens nothing", async () => {
    const made = await ada.call("createHuman", { name: "late" });
    const good = made.body.enrolmentCode;
    const pair = generateSigningKeyPair();
    expect(verdict(await attempt(`${good.slice(0, -1)}x`))).toEqual([403, "enrolment_code_invalid"]);
    expect(verdict(await attempt("csk_guess"))).toEqual([403, "enrolment_code_invalid"]);
    // The signature must be by the key that is enrolled, over this code.
    expect(verdict(await attempt(good, (input) => ({ ...input, publicKey: pair.publicKey })))).toEqual([
      403,
      "signature_invalid",
    ]);
    expect(verdict(await attempt(good, (input) => ({ ...input, publicKey: "AAAA" })))).toEqual([
      403,
      "signature_invalid",
    ]);
    expect(verdict(await attempt(good, (input) => ({ ...input, signature: "" })))).toEqual([403, "signature_invalid"]);

    const next = await ada.call("issueEnrolmentCode", { id: made.body.principal.id });
    expect(verdict(await attempt(good))).toEqual([403, "enrolment_code_invalid"]);
    const codes = await asSuperuser<{ id: string; at: string }>(
      "select id, expires_at_ms as at from countersign.enrolment_codes where principal_id = $1",
      [made.body.principal.id],
    );
    await asSuperuser("update countersign.enrolment_codes set expires_at_ms = 1 where principal_id = $1", [
      made.body.principal.id,
    ]);
    expect(verdict(await attempt(next.body.enrolmentCode))).toEqual([403, "enrolment_code_invalid"]);
    // What was done to the database by hand is found.
    const findings = (await server.verification.checkTenant(server.tenant)).findings.map((finding) => finding.class);
    expect(new Set(findings)).toEqual(new Set(["STATE_MISMATCH"]));
    await asSuperuser(
      "update countersign.enrolment_codes as c set expires_at_ms = o.at from unnest($1::uuid[], $2::bigint[]) as o (id, at) where c.id = o.id",
      [codes.map((row) => row.id), codes.map((row) => row.at)],
    );
  });

  test("one key is one person's: it is not enrolled twice", async () => {
    const { publicKey, privateKey } = generateSigningKeyPair();
    const enrolWith = (enrolmentCode: string) =>
      call(server.url, "enrol", {
        code: enrolmentCode,
        publicKey,
        label: "",
        signature: signMessage(privateKey, enrolmentBytes({ code: enrolmentCode, publicKey })),
      });
    const first = await ada.call("createHuman", { name: "key one" });
    const second = await ada.call("createHuman", { name: "key two" });
    expect((await enrolWith(first.body.enrolmentCode)).status).toBe(201);
    expect(verdict(await enrolWith(second.body.enrolmentCode))).toEqual([409, "already_exists"]);
  });

  test("who issued the code is on record: it decides who counts as a second person", async () => {
    const zoe = await addHuman(ada, "zoe");
    const people = await server.ledger.snapshot(server.tenant, server.tenancy.loadPeople);
    expect(people.signingKeys.get(zoe.keyId)?.mintedBy).toBe(ada.id);
    expect(people.voters.find((voter) => voter.id === zoe.id)?.keys).toEqual([
      { id: zoe.keyId, mintedBy: [ada.id], first: true },
    ]);
    const reset = await ada.call("issueEnrolmentCode", { id: zoe.id });
    const again = await enrol(server.url, reset.body.enrolmentCode);
    const later = await server.ledger.snapshot(server.tenant, server.tenancy.loadPeople);
    expect(later.voters.find((voter) => voter.id === zoe.id)?.keys).toContainEqual({
      id: again.keyId,
      mintedBy: [ada.id],
      first: false,
    });
  });
});

describe("API keys", () => {
  test("a key that was revoked on one server is refused by the other with the next request", async () => {
    const agent = await addAgent(ada, "revoked");
    const there = (): Promise<{ status: number; body: unknown }> =>
      call(other.url, "whoAmI", {}, { apiKey: agent.apiKey });
    for (let round = 0; round < 3; round++) expect((await there()).status).toBe(200);
    await ada.call("revokeKey", { id: agent.keyId });
    expect(verdict(await there())).toEqual([401, "key_revoked"]);
  });

  test("a principal that was suspended on one server is refused by the other, and let in again", async () => {
    const agent = await addAgent(ada, "suspended");
    const there = (): Promise<{ status: number; body: unknown }> =>
      call(other.url, "whoAmI", {}, { apiKey: agent.apiKey });
    expect((await there()).status).toBe(200);
    await ada.call("setPrincipalStatus", { id: agent.id, status: "SUSPENDED" });
    expect(verdict(await there())).toEqual([401, "principal_suspended"]);
    await ada.call("setPrincipalStatus", { id: agent.id, status: "ACTIVE" });
    expect((await there()).status).toBe(200);
  });

  test("an agent rests on its human: suspended with them, going on under another", async () => {
    const bert = await addHuman(ada, "bert", ["admin"]);
    const agent = await addAgent(bert, "berts");
    await ada.call("setPrincipalStatus", { id: bert.id, status: "SUSPENDED" });
    expect(verdict(await agent.call("whoAmI", {}))).toEqual([401, "principal_suspended"]);
    const accepted = await ada.call("acceptAgent", { id: agent.id });
    expect(accepted.body.principal.answerable).toMatchObject({ name: "ada" });
    expect((await agent.call("whoAmI", {})).status).toBe(200);
    // The human before stays excluded.
    const people = await server.ledger.snapshot(server.tenant, server.tenancy.loadPeople);
    expect(people.humansOf(agent.id)).toEqual([ada.id, bert.id]);
  });

  test.each([
    ["none", undefined, "unauthenticated"],
    ["nonsense", "hello", "key_malformed"],
    ["an enrolment code", "cse_x", "key_malformed"],
  ])("%s is refused", async (_, apiKey, expected) => {
    expect(verdict(await call(server.url, "whoAmI", {}, apiKey === undefined ? {} : { apiKey }))).toEqual([
      401,
      expected,
    ]);
  });

  test("an expired key, a key of a tenant that is not there, another key's secret: each refused with nothing told", async () => {
    const agent = await addAgent(ada, "expired");
    const second = await addAgent(ada, "second");
    const { mintCredential } = await import("../../src/tenancy/index.js");
    const { systemRandom, newId } = await import("../../src/platform/index.js");
    const guessed = mintCredential("csk", server.tenant, agent.keyId, systemRandom).text;
    const elsewhere = mintCredential("csk", newId() as typeof server.tenant, second.keyId, systemRandom).text;
    expect(verdict(await call(server.url, "whoAmI", {}, { apiKey: guessed }))).toEqual([401, "key_unknown"]);
    expect(verdict(await call(server.url, "whoAmI", {}, { apiKey: elsewhere }))).toEqual([401, "key_unknown"]);
    const before = await asSuperuser<{ expires_at_ms: string }>(
      "select expires_at_ms from countersign.api_keys where id = $1",
      [agent.keyId],
    );
    await asSuperuser("update countersign.api_keys set expires_at_ms = 1 where id = $1", [agent.keyId]);
    expect(verdict(await agent.call("whoAmI", {}))).toEqual([401, "key_expired"]);
    await asSuperuser("update countersign.api_keys set expires_at_ms = $2 where id = $1", [
      agent.keyId,
      before[0]?.expires_at_ms,
    ]);
    expect((await agent.call("whoAmI", {})).status).toBe(200);
  });

  test("scopes narrow what the key may; a role that is missing is told apart from a scope that is missing", async () => {
    const agent = await addAgent(ada, "scoped");
    const minted = await ada.call("mintKey", {
      principal: agent.id,
      name: "reads",
      scopes: ["change_sets.read"],
      days: 1,
    });
    const apiKey = minted.body.secret;
    expect((await call(server.url, "listChangeSets", {}, { apiKey })).status).toBe(200);
    expect(verdict(await call(server.url, "engageKillSwitch", { reason: "x" }, { apiKey }))).toEqual([
      403,
      "scope_missing",
    ]);
    expect(verdict(await call(server.url, "listKeys", {}, { apiKey }))).toEqual([403, "forbidden"]);
    // It is on record, once for many.
    await call(server.url, "listKeys", {}, { apiKey });
    const refusals = await ada.call("listAudit", { action: "refusal.recorded" as never, actor: agent.id });
    expect(refusals.body.rows.map((row) => row.data["code"]).sort()).toEqual(["forbidden", "scope_missing"]);
  });

  test("a person's key is minted by that person alone", async () => {
    const cleo = await addHuman(ada, "cleo");
    expect(verdict(await ada.call("mintKey", { principal: cleo.id, name: "in her name" }))).toEqual([403, "forbidden"]);
    expect((await ada.call("mintKey", { principal: ada.id, name: "my own" })).status).toBe(201);
  });

  test("lists show who holds what, never a secret", async () => {
    const keys = await ada.call("listKeys", { limit: 2 });
    expect(keys.body.rows).toHaveLength(2);
    const next = await ada.call("listKeys", { limit: 200, cursor: keys.body.nextCursor ?? "" });
    expect(next.body.rows.some((row) => keys.body.rows.some((known) => known.id === row.id))).toBe(false);
    const stored = await asSuperuser<{ secret_hash: string }>("select secret_hash from countersign.api_keys");
    for (const { secret_hash } of stored) expect(JSON.stringify([keys.body, next.body])).not.toContain(secret_hash);
    expect(verdict(await ada.call("listKeys", { cursor: "nonsense" }))).toEqual([422, "invalid_request"]);
    expect(verdict(await ada.call("listPrincipals", { cursor: "'; drop table" }))).toEqual([422, "invalid_request"]);
  });
});

describe("roles", () => {
  test("the last administrator stays one, and keeps a signing key", async () => {
    const fresh = await startTestServer({ mode: "team" });
    const only = await fresh.firstPerson();
    expect(verdict(await only.call("setBindings", { id: only.id, roles: ["member"], groups: [] }))).toEqual([
      409,
      "last_administrator",
    ]);
    expect(verdict(await only.call("setPrincipalStatus", { id: only.id, status: "SUSPENDED" }))).toEqual([
      409,
      "last_administrator",
    ]);
    expect(verdict(await only.call("revokeSigningKey", { id: only.keyId }))).toEqual([409, "last_administrator"]);
    const second = await addHuman(only, "second", ["admin"]);
    expect((await second.call("setBindings", { id: only.id, roles: ["member"], groups: [] })).status).toBe(200);
    expect(verdict(await only.call("createAgent", { name: "no more" }))).toEqual([403, "forbidden"]);
    await fresh.close();
  });

  test("two administrators who remove each other at once: one stays", async () => {
    const fresh = await startTestServer({ mode: "team" });
    const first = await fresh.firstPerson();
    const second = await addHuman(first, "second", ["admin"]);
    const answers = await Promise.all([
      first.call("setBindings", { id: second.id, roles: ["member"], groups: [] }),
      second.call("setBindings", { id: first.id, roles: ["member"], groups: [] }),
    ]);
    expect(answers.filter((answer) => answer.status === 200)).toHaveLength(1);
    await fresh.close();
  });

  test("a role nobody knows is refused with its place, a group is any plain name", async () => {
    const answer = await ada.call("createHuman", { name: "role", roles: ["member", "emperor"], groups: ["UI team"] });
    expect(answer.status).toBe(422);
    expect(
      (answer.body as unknown as { problems: { pointer: string }[] }).problems.map((problem) => problem.pointer),
    ).toEqual(["/roles/1", "/groups/0"]);
  });

  test("40 agents made at once are all made, each once", async () => {
    const answers = await Promise.all(
      Array.from({ length: 40 }, (_, n) =>
        (n % 2 === 0 ? ada : { ...ada, call: ada.call }).call(
          "createAgent",
          { name: `crowd ${n}` },
          { idempotencyKey: newKey() },
        ),
      ),
    );
    expect(answers.map((answer) => answer.status)).toEqual(Array.from({ length: 40 }, () => 201));
  });

  test("a name is one principal's, as it was written", async () => {
    const names = ["O'Brien \u202e evil", "<script>alert(1)</script>", "\u001b[31mred", "名前 👩‍💻", "a".repeat(120)];
    for (const name of names) expect((await ada.call("createAgent", { name })).body.principal.name).toBe(name);
    expect(verdict(await ada.call("createAgent", { name: names[0] ?? "" }))).toEqual([409, "name_taken"]);
    expect(verdict(await ada.call("createAgent", { name: "a".repeat(121) }))).toEqual([422, "limit_exceeded"]);
    expect(verdict(await ada.call("createAgent", { name: " padded " }))).toEqual([422, "invalid_request"]);
  });
});

describe("tenants", () => {
  test("the mode goes up by one person, down by two", async () => {
    const fresh = await startTestServer({ mode: "team" });
    const first = await fresh.firstPerson();
    const second = await addHuman(first, "second", ["admin"]);
    expect((await first.call("setTenantMode", { mode: "organisation" })).body).toMatchObject({
      waitingForSecondPerson: false,
      tenant: { mode: "organisation" },
    });
    expect((await first.call("setTenantMode", { mode: "solo" })).body).toMatchObject({
      waitingForSecondPerson: true,
      tenant: { mode: "organisation" },
    });
    expect(verdict(await first.call("setTenantMode", { mode: "solo" }))).toEqual([409, "release_needs_another"]);
    // Another mode is another request: it starts again.
    expect((await second.call("setTenantMode", { mode: "team" })).body).toMatchObject({ waitingForSecondPerson: true });
    expect((await first.call("setTenantMode", { mode: "team" })).body).toMatchObject({
      waitingForSecondPerson: false,
      tenant: { mode: "team" },
    });
    expect((await fresh.verification.checkTenant(fresh.tenant)).findings).toEqual([]);
    await fresh.close();
  });

  test("tenants are made in the deployment's tenant, and see nothing of each other", async () => {
    expect(verdict(await ada.call("createTenant", { name: "x", mode: "solo", human: "y" }))).toEqual([
      403,
      "forbidden",
    ]);
    const issued = await server.tenancy.issueCode(deploymentTenant);
    const operator = await enrol(server.url, issued.text);
    const key = newKey();
    const made = await operator.call(
      "createTenant",
      { name: "acme", mode: "organisation", human: "eve" },
      { idempotencyKey: key },
    );
    expect(made.status).toBe(201);
    const replayed = await operator.call(
      "createTenant",
      { name: "acme", mode: "organisation", human: "eve" },
      { idempotencyKey: key },
    );
    expect(replayed.body.tenant).toEqual(made.body.tenant);
    expect(verdict(await operator.call("createTenant", { name: "acme", mode: "solo", human: "eve" }))).toEqual([
      409,
      "name_taken",
    ]);
    expect((await server.tenancy.tenants()).map(String)).toContain(made.body.tenant.id);

    const eve = await enrol(server.url, made.body.enrolmentCode);
    expect((await eve.call("listPrincipals", {})).body.rows.map((row) => row.name)).toEqual(["eve"]);
    // Ids of the other tenant name nothing here.
    const cases = [
      await eve.call("setPrincipalStatus", { id: ada.id, status: "SUSPENDED" }),
      await eve.call("setBindings", { id: ada.id, roles: ["member"], groups: [] }),
      await eve.call("mintKey", { principal: ada.id, name: "stolen" }),
      await eve.call("issueEnrolmentCode", { id: ada.id }),
      await eve.call("revokeSigningKey", { id: ada.keyId }),
      await eve.call("acceptAgent", { id: ada.id }),
    ];
    expect(cases.map(verdict)).toEqual(cases.map(() => [404, "not_found"]));
    expect((await eve.call("listAudit", { actor: ada.id })).body.rows).toEqual([]);
  });
});

test("no secret and no name is in the content of an entry", async () => {
  const rows = await asSuperuser<{ content: string }>("select content from countersign.entries");
  const text = rows.map((row) => row.content).join("\n");
  const found = (part: string): boolean => text.includes(part);
  expect(['"ada"', "crowd 1", '"zoe"', '"acme"', "csk_", "cse_", "reviewers"].filter(found)).toEqual([]);
  const hashes = await asSuperuser<{ hash: string }>(
    "select secret_hash as hash from countersign.api_keys union all select code_hash from countersign.enrolment_codes",
  );
  expect(hashes.filter(({ hash }) => found(hash))).toEqual([]);
});

test("the ledgers account for everything", async () => {
  for (const tenant of await server.tenancy.tenants())
    expect((await server.verification.checkTenant(tenant)).findings).toEqual([]);
});
