/** Verdict 25 on a real ledger: a vote that its voter did not sign, appended by whoever owns the database, hashes and all. */
import pg from "pg";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  entryContentText,
  generateSigningKeyPair,
  signMessage,
  voteSigningBytes,
  type JsonObject,
} from "@countersign/proof";
import { newId } from "../../src/platform/index.js";
import { createDatabase, withClient, type TestDatabase } from "../support/postgres.js";
import { createWorld, must, resource, type World } from "../support/world.js";

let database: TestDatabase;
let world: World;
let genuine: JsonObject;
let changeSetId: string;
beforeAll(async () => {
  database = await createDatabase();
  world = await createWorld({ storage: database.storage });
  const items = [{ operation: "CREATE" as const, target: resource("votes/a"), after: { a: 1 } }];
  const { changeSet } = await world.approved(world.builder, { title: "t", items });
  changeSetId = changeSet.id;
  const page = await world.ledger.auditLog(world.tenant, {
    actions: ["change_set.vote_cast"],
    order: "newest",
    limit: 1,
  });
  genuine = page.entries[0]?.data ?? {};
});
afterAll(() => world.close());

/** Through the database's own function, so that content, link and columns are all right. */
async function append(client: pg.ClientBase, data: JsonObject, voter: string): Promise<void> {
  const id = newId();
  const content = entryContentText({
    id,
    nonce: "0".repeat(32),
    at: Date.now(),
    actor: { type: "human", id: voter, humans: [voter] },
    action: "change_set.vote_cast",
    subject: { type: "change_set", id: changeSetId },
    data,
  });
  await client.query(
    "select countersign.append_entries($1, $2, '{1}', $3, $4, array['change_set.vote_cast'], $5, $6, '{}', '{}', '{}')",
    [Date.now(), [world.tenant], [id], [content], [voter], [changeSetId]],
  );
}

/** What verification says while the entry is there; it is taken away again. */
async function verdict(data: JsonObject, voter: string): Promise<string[]> {
  const { votes } = must(await world.changeSets.get(await world.caller(world.builder), { id: changeSetId }));
  expect(votes.length).toBeGreaterThan(0);
  return withClient(database.superuser, async (client) => {
    await client.query("select set_config('app.tenants', $1, false)", [`{${world.tenant}}`]);
    await append(client, data, voter);
    const { findings } = await world.ledger.checkTenant(world.tenant);
    await client.query("set session_replication_role = replica");
    await client.query(
      "delete from countersign.entries where tenant_id = $1 and seq = (select max(seq) from countersign.entries where tenant_id = $1)",
      [world.tenant],
    );
    return findings.map((finding) => finding.class);
  });
}

const signed = (
  privateKey: string,
  changes: Partial<{ decision: string; digest: string; voter: string }> = {},
): JsonObject => {
  const vote = { ...genuine, ...changes } as { digest: string; decision: string; voter: string; atMs: number };
  const bytes = voteSigningBytes({
    tenant: world.tenant,
    changeSetId,
    approvalDigest: vote.digest,
    decision: vote.decision,
    voterId: vote.voter,
    atMs: vote.atMs,
  });
  return { ...vote, signature: signMessage(privateKey, bytes) } as unknown as JsonObject;
};

describe("votes nobody signed", () => {
  it("the untouched ledger verifies, before and after", async () => {
    expect((await world.ledger.checkTenant(world.tenant)).findings).toEqual([]);
  });

  it("a genuine vote repeated as it is, verifies: nothing was forged", async () => {
    expect(await verdict(genuine, world.people.bob.id)).toEqual([]);
  });

  const check = (name: string, data: () => JsonObject, voter: () => string = () => world.people.bob.id): void =>
    it(name, async () => expect(await verdict(data(), voter())).toContain("VOTE_FORGED"));
  check("the decision turned round", () => ({ ...genuine, decision: "REJECTED" }));
  check("replayed on another digest", () => ({ ...genuine, digest: "f".repeat(64) }));
  check(
    "in somebody else's name",
    () => ({ ...genuine, voter: world.people.carol.id }),
    () => world.people.carol.id,
  );
  check("by a key nobody enrolled", () => ({ ...signed(generateSigningKeyPair().privateKey), key: newId() }));
  check("by another key under the enrolled one's name", () => signed(generateSigningKeyPair().privateKey));
  check("with another person's key", () => ({
    ...signed(world.people.carol.privateKey),
    key: world.people.carol.keyId,
  }));

  it("and after all that it verifies again", async () => {
    expect((await world.ledger.checkTenant(world.tenant)).findings).toEqual([]);
  });
});
