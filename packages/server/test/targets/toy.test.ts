/**
 * A toy target kind goes the whole way: listed in the two lists of kinds, and known nowhere else. If this needs a line outside
 * `toy/contract` and `toy/server`, something asks which kind a target is of.
 */
import { readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { parseTargetText, targetKinds, type ItemInput, type OperationInput } from "@countersign/contract";
import { signMessage, voteSigningBytes } from "@countersign/proof";
import { exerciseTarget } from "../support/exercise-target.js";
import { addAgent, startTestServer, type Agent, type Person, type TestServer } from "../support/server.js";
import { draftItem } from "../../src/cli/grammar.js";
import { kvExercise } from "../toy/server/exercise.js";
import { valuesFile } from "../toy/server/kv.js";

vi.mock("../../../contract/src/targets/kinds.js", async (original) => {
  const { kinds } = await original<typeof import("../../../contract/src/targets/kinds.js")>();
  const { kvDescriptor } = await import("../toy/contract/kv.js");
  return { kinds: { ...kinds, kv: kvDescriptor } };
});
vi.mock("../../src/targets/kinds.js", async (original) => {
  const { kinds } = await original<typeof import("../../src/targets/kinds.js")>();
  const { kv } = await import("../toy/server/kv.js");
  return { kinds: { ...kinds, kv } };
});

exerciseTarget("kv", kvExercise);

const kvItem = (operation: ItemInput["operation"], key: string, more: object = {}): ItemInput =>
  ({
    operation,
    target: { kind: "kv", store: "flags", key, environment: "development" },
    ...more,
  }) as unknown as ItemInput;

describe("a toy kind, over REST", () => {
  let server: TestServer;
  let ada: Person;
  let agent: Agent;
  beforeAll(async () => {
    server = await startTestServer();
    ada = await server.firstPerson();
    agent = await addAgent(ada, "builder");
  });
  afterAll(() => server.close());

  const values = (): unknown => JSON.parse(readFileSync(valuesFile(server.dataDirectory), "utf8"));
  const propose = (by: Agent | Person, title: string, items: ItemInput[]) =>
    by.call("createChangeSet", { title, items });
  /** Submitted and approved by the one person there is, then applied. */
  async function carryOut(by: Agent | Person, title: string, items: ItemInput[]): Promise<string> {
    const made = await propose(by, title, items);
    expect(made.body).toMatchObject({ changeSet: { status: "DRAFT" } });
    const { id } = made.body.changeSet;
    let { changeSet } = (await by.call("submitChangeSet", { id })).body;
    if (changeSet.status === "PENDING_APPROVAL")
      changeSet = (await approve(id, changeSet.approvalDigest ?? "")).changeSet;
    expect(changeSet.status).toBe("APPROVED");
    expect((await ada.call("applyChangeSet", { id })).body).toMatchObject({ changeSet: { status: "APPLIED" } });
    return id;
  }
  async function approve(id: string, digest: string) {
    const atMs = Date.now();
    const { tenant, id: voterId, keyId, privateKey } = ada;
    const bytes = voteSigningBytes({
      tenant,
      changeSetId: id,
      approvalDigest: digest,
      decision: "APPROVED",
      voterId,
      atMs,
    });
    const input: OperationInput<"approveChangeSet"> = {
      id,
      digest,
      keyId,
      atMs,
      signature: signMessage(privateKey, bytes),
    };
    return (await ada.call("approveChangeSet", input)).body;
  }

  it("is listed with the kinds", () => expect(targetKinds).toEqual(["resource", "file", "kv"]));

  it("is typed on the command line, and what is wrong is told in its form", () => {
    expect(draftItem({ form: "delete", text: "kv:flags:a" }, "development", () => Buffer.of()).item).toEqual(
      kvItem("DELETE", "a"),
    );
    expect(
      draftItem({ form: "rename", text: "kv:flags:a", operand: "b" }, "development", () => Buffer.of()).item,
    ).toEqual(kvItem("RENAME", "a", { to: { id: "b" } }));
    expect(
      draftItem({ form: "put", text: "kv:flags:a", operand: "-" }, "development", () => Buffer.from("[1]")).item,
    ).toEqual(kvItem("UPDATE", "a", { after: [1] }));
    expect(parseTargetText("kv:flags", "development")).toEqual({
      wrong: "`kv:flags` is no value target; write `kv:STORE:KEY`, e.g. `kv:flags:checkout/new`",
    });
  });

  it("needs a grant, which names it as people write it", async () => {
    const denied = await propose(agent, "flag", [kvItem("CREATE", "checkout/new", { after: true })]);
    expect([denied.status, JSON.stringify(denied.body)]).toEqual([
      403,
      expect.stringContaining("kv:development:flags:checkout/new"),
    ]);
    const wrong = { grants: [{ id: "a", principals: ["agents"], operations: ["*"], targets: ["kv:*:flags"] }] };
    const config = {
      kind: "resource" as const,
      type: "SYSTEM_CONFIG",
      id: "system.config/grants",
      environment: "system",
    };
    const refused = await propose(ada, "grant", [{ operation: "CREATE", target: config, after: wrong }]);
    expect(JSON.stringify(refused.body)).toContain("is not of the form `kv:<environment>:<store>:<key>`");
    const after = {
      grants: [{ id: "a", principals: ["agents"], operations: ["*"], targets: ["kv:development:flags:**"] }],
    };
    await carryOut(ada, "grant", [{ operation: "CREATE", target: config, after }]);
  });

  it("is proposed, approved, applied, undone to exactly what was, reported and erased", async () => {
    const id = await carryOut(agent, "a group of flags", [
      kvItem("CREATE", "group/", { after: { a: 1, b: 2, c: 3 } }),
      kvItem("UPDATE", "group/b", { after: 22 }),
    ]);
    expect(values()).toEqual({
      "kv:development:flags:group/a": 1,
      "kv:development:flags:group/b": 22,
      "kv:development:flags:group/c": 3,
    });

    // The third target of an item is found by others as well as the first.
    const waiting = await propose(agent, "waiting", [kvItem("CREATE", "more/", { after: { a: 1, b: 2, c: 3 } })]);
    const { id: first } = waiting.body.changeSet;
    await agent.call("submitChangeSet", { id: first });
    const overlap = await propose(agent, "another", [kvItem("CREATE", "more/c", { after: 33 })]);
    expect(overlap.body).toMatchObject({ changeSet: { conflicts: [{ changeSetId: first, target: "flags:more/c" }] } });

    const above = await carryOut(agent, "on top", [kvItem("RENAME", "group/c", { to: { id: "group/d" } })]);
    expect(await ada.call("rollbackChangeSet", { id })).toMatchObject({
      status: 409,
      body: { code: "rollback_blocked" },
    });
    expect((await ada.call("rollbackChangeSet", { id, cascade: true })).body).toMatchObject({
      changeSet: { status: "ROLLED_BACK" },
    });
    expect(values()).toEqual({});

    const report = await fetch(
      `${server.url}/api/ledger/audit/report?target=${encodeURIComponent("kv:*:flags:group/c")}`,
      {
        headers: { authorization: `Bearer ${ada.apiKey}` },
      },
    );
    const text = await report.text();
    expect([report.status, text]).toEqual([200, expect.stringContaining("a group of flags")]);
    expect(text).toContain("on top");

    for (const subject of [above, id]) {
      const erased = await ada.call("eraseSubject", {
        subject: `change_set:${subject}`,
        reason: "asked for",
        policy: "gdpr-art-17",
      });
      expect(erased.status, JSON.stringify(erased.body)).toBeLessThan(300);
      // What its kind says stays, beside what the others say.
      expect(erased.body.notReached).toContain(
        "the targets themselves: files in workspaces, and git with their history; values in stores; JSON resources as they are now",
      );
    }
    const shown = JSON.stringify((await ada.call("getChangeSet", { id })).body);
    expect(shown).not.toContain("group");
    const rows = await server.storage.withSnapshot(server.tenant, async (client) => {
      const found = await client.query<{ target_key: string }>(
        "select distinct target_key from countersign.item_targets where change_set_id <> $1",
        [first],
      );
      return found.rows;
    });
    expect(rows).toEqual([{ target_key: "erased" }]);
  });

  it("leaves a ledger that agrees with the database", async () =>
    expect((await server.verification.checkTenant(server.tenant)).findings).toEqual([]));
});
