/**
 * Whoever can write the database, and whoever holds an API key without the person's signing key: what they get applied is
 * what people signed, or nothing. Each case was tried before the defence was there, and went through.
 */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { changeSetInput, isRefusal, type ChangeSetView, type Refusal } from "@countersign/contract";
import { signMessage, voteSigningBytes } from "@countersign/proof";
import { openChangeSets } from "../../src/change-sets/index.js";
import { type DraftShape, moveEpoch } from "../../src/ledger/index.js";
import { newId } from "../../src/platform/index.js";
import { createDatabase, type TestDatabase } from "../support/postgres.js";
import { heldClock } from "../support/ledger.js";
import { createWorld, file, must, resource, type Human, type World } from "../support/world.js";
import { contextIn } from "../../src/targets/index.js";
import { compensatingKind, withKind } from "../support/kinds.js";
import type { ResourceImage } from "../../src/targets/resource/resource.rules.js";

let database: TestDatabase;
let world: World;
const clock = heldClock(Date.now());
beforeAll(async () => {
  database = await createDatabase();
  world = await createWorld({ storage: database.storage, clock });
});
afterAll(() => world.close());

const refusal = (answer: unknown): Refusal => {
  if (!isRefusal(answer)) throw new Error(`it was not refused: ${JSON.stringify(answer).slice(0, 300)}`);
  return answer;
};
const create = (id: string) => ({ operation: "CREATE" as const, target: resource(id), after: { a: 1 } });
const approved = async (id: string): Promise<ChangeSetView> =>
  (await world.approved(world.builder, { title: id, items: [create(id)] })).changeSet;
const apply = async (id: string, by = world.builder) =>
  world.changeSets.apply(await world.caller(by), { id }, world.request());
const rollBack = async (id: string, by = world.people.alice.id) =>
  world.changeSets.rollBack(await world.caller(by), { id, cascade: false }, world.request());
const show = async (id: string) => must(await world.changeSets.get(await world.caller(world.builder), { id }));
const findings = async () =>
  (await world.ledger.checkTenant(world.tenant)).findings.map((one) => `${one.class} ${one.table ?? ""}`);
/** Of the change-set whose item is swapped below, entries and all: verification still sees that its digest was of another. */
const swapped = ["REFERENCE_MISMATCH items", "REFERENCE_MISMATCH revisions"];
const document = async (id: string) =>
  (
    await world.ledger.snapshot(world.tenant, (snapshot) =>
      world.targets
        .kind("resource")
        .read({ ...resource(id), key: "" }, contextIn(snapshot, world.desk.blobs(world.tenant))),
    )
  ).image as ResourceImage;

/** As the database's owner, in one transaction. */
async function tamper(...statements: readonly (readonly [sql: string, ...values: unknown[]])[]): Promise<void> {
  const client = await world.storage.owner.connect();
  try {
    await client.query("begin");
    await client.query("select set_config('app.tenants', $1, true)", [`{${world.tenant}}`]);
    for (const [sql, ...values] of statements) await client.query(sql, [world.tenant, ...values]);
    await client.query("commit");
  } finally {
    client.release();
  }
}

/** Does it, looks, and puts the column back as it was. */
async function whileForged(
  table: string,
  id: string,
  column: string,
  value: unknown,
  look: () => Promise<void>,
): Promise<void> {
  const client = await world.storage.owner.connect();
  let before: unknown;
  try {
    await client.query("begin");
    await client.query("select set_config('app.tenants', $1, true)", [`{${world.tenant}}`]);
    before = (
      await client.query(
        `select to_jsonb(t) -> $3 as value from countersign.${table} t where tenant_id = $1 and id::text = $2`,
        [world.tenant, id, column],
      )
    ).rows[0].value;
    await client.query("commit");
  } finally {
    client.release();
  }
  const set = `update countersign.${table} t set ${column} = (jsonb_populate_record(t, jsonb_build_object('${column}', $3::jsonb))).${column} where tenant_id = $1 and id::text = $2`;
  await tamper([set, id, JSON.stringify(value)]);
  try {
    await look();
  } finally {
    await tamper([set, id, JSON.stringify(before)]);
  }
}

describe("the owner of the database forges a row", () => {
  it.each<[table: string, column: string, value: unknown, id: (one: ChangeSetView) => string | Promise<string>]>([
    ["change_sets", "risk_level", "CRITICAL", (one) => one.id],
    ["change_sets", "author_humans", [], (one) => one.id],
    [
      "revisions",
      "route",
      { mode: "team", required: 0, uncapped: 0, capped: false, auto: true, stages: [], escalation: [] },
      (one) => revisionOf(one),
    ],
    ["votes", "decision", "ABSTAINED", (one) => one.votes[0]?.id ?? ""],
    ["items", "reversibility", "irreversible", (one) => one.items[0]?.id ?? ""],
    ["principals", "answerable", null, () => world.builder],
    ["tenants", "mode", "solo", () => world.tenant],
    ["workspaces", "root", "/", () => workspaceId()],
    ["resources", "document", { grants: [] }, () => configId("grants")],
  ])("%s.%s: nothing is applied, and the check names it", async (table, column, value, idOf) => {
    const name = newId();
    writeFileSync(join(world.root, `${name}.txt`), "one\n");
    const items = [
      create(`forged/${name}`),
      { operation: "UPDATE" as const, target: file(`${name}.txt`), content: { text: "two\n" } },
    ];
    const { changeSet } = await world.approved(world.builder, { title: "t", items });
    const id = await idOf(changeSet);
    if (table === "principals") value = world.people.carol.id;
    await whileForged(table, id, column, value, async () => {
      // People are remembered until the epoch moves: before, the forged row is not even looked at.
      if (table === "principals") await moveMembers();
      expect(refusal(await apply(changeSet.id)).code).toBe("ledger_mismatch");
      expect(await findings()).toContain(`STATE_MISMATCH ${table}`);
    });
    expect((await document(`forged/${name}`)).exists).toBe(false);
    if (table === "principals") await moveMembers();
    expect(must(await apply(changeSet.id)).changeSet.status).toBe("APPLIED");
  });

  it("a role given by hand, seen by a process that knows nobody yet, makes no approver", async () => {
    const { changeSet } = await world.propose(world.builder, { title: "t", items: [create("forged/role")] });
    must(await world.changeSets.submit(await world.caller(world.builder), { id: changeSet.id }, world.request()));
    must(await world.vote(world.people.bob, changeSet.id));
    const id = newId();
    await tamper([
      `insert into countersign.role_bindings (tenant_id, id, version, row_salt, principal_id, kind, name, status, granted_at_ms) values ($1, $2, 1, decode(repeat('00', 32), 'hex'), $3, 'group', 'owners', 'ACTIVE', 1)`,
      id,
      world.people.bob.id,
    ]);
    await moveMembers();
    expect(refusal(await apply(changeSet.id))).toMatchObject({
      code: "ledger_mismatch",
      message: expect.stringContaining(world.people.bob.id) as string,
    });
    expect(await findings()).toContain("STATE_WITHOUT_ENTRY role_bindings");
    await tamper(["delete from countersign.role_bindings where tenant_id = $1 and id = $2", id]);
    await moveMembers();
    must(await apply(changeSet.id));
  });

  it("what is brought back is what was there, not what somebody wrote into the item", async () => {
    must(await apply((await approved("forged/back")).id));
    const update = (
      await world.approved(world.builder, {
        title: "t",
        items: [{ operation: "UPDATE", target: resource("forged/back"), after: { a: 2 } }],
      })
    ).changeSet;
    must(await apply(update.id));
    const item = update.items[0];
    const effects = item?.effects.map((effect) => ({ ...effect, before: { ...effect.before, document: { a: 666 } } }));
    await whileForged("items", item?.id ?? "", "effects", effects, async () => {
      expect(refusal(await rollBack(update.id)).code).toBe("ledger_mismatch");
      expect((await document("forged/back")).document).toEqual({ a: 2 });
    });
    must(await rollBack(update.id));
    expect((await document("forged/back")).document).toEqual({ a: 1 });
  });

  it("a run inserted by hand is not taken for one that was cut off", async () => {
    const { changeSet } = await world.propose(world.builder, { title: "t", items: [create("forged/run")] });
    const id = newId();
    const plan = {
      phase: "forward",
      resumed: false,
      actor: { type: "agent", id: world.builder, humans: [world.people.alice.id] },
    };
    await tamper(
      [
        `insert into countersign.applications (tenant_id, id, version, row_salt, change_set_id, revision_id, kind, mode, attempt, status, started_by, plan, applied_items, failed_items, errors, started_at_ms)
        select $1, $2, 1, decode(repeat('00', 32), 'hex'), $3, revision_id, 'APPLY', 'MANUAL', 1, 'RUNNING', $4, $5, 0, 0, '[]', 1 from countersign.change_sets where tenant_id = $1 and id = $3`,
        id,
        changeSet.id,
        world.builder,
        JSON.stringify(plan),
      ],
      [
        "update countersign.change_sets set status = 'APPLYING', application_id = $2 where tenant_id = $1 and id = $3",
        id,
        changeSet.id,
      ],
    );
    await openChangeSets(world.desk).recover(world.tenant);
    expect((await document("forged/run")).exists).toBe(false);
    expect(await findings()).toContain("STATE_WITHOUT_ENTRY applications");
    await tamper(
      [
        "update countersign.change_sets set status = 'DRAFT', application_id = null where tenant_id = $1 and id = $2",
        changeSet.id,
      ],
      ["delete from countersign.applications where tenant_id = $1 and id = $2", id],
    );
  });

  it("a row changed by hand is not signed into the ledger by the next vote", async () => {
    const { changeSet } = await world.propose(world.builder, { title: "t", items: [create("forged/launder")] });
    must(await world.changeSets.submit(await world.caller(world.builder), { id: changeSet.id }, world.request()));
    await whileForged("change_sets", changeSet.id, "author_id", world.people.carol.id, async () => {
      expect(refusal(await world.vote(world.people.bob, changeSet.id)).code).toBe("ledger_mismatch");
    });
    must(await world.vote(world.people.bob, changeSet.id));
  });

  it("nor by any other command, nor by time", async () => {
    const { changeSet } = await world.propose(world.builder, { title: "t", items: [create("forged/others")] });
    must(await world.changeSets.submit(await world.caller(world.builder), { id: changeSet.id }, world.request()));
    await whileForged("change_sets", changeSet.id, "author_id", world.people.carol.id, async () => {
      const alice = await world.caller(world.people.alice.id);
      const bob = await world.caller(world.people.bob.id);
      const answers = [
        await world.changeSets.revise(alice, { id: changeSet.id, revision: 1 }, world.request()),
        await world.changeSets.requestChanges(bob, { id: changeSet.id, reason: "r" }, world.request()),
        await world.changeSets.cancel(alice, { id: changeSet.id }, world.request()),
      ];
      expect(answers.map((answer) => refusal(answer).code)).toEqual(answers.map(() => "ledger_mismatch"));
      clock.now += 25 * 3_600_000;
      expect(refusal(await world.changeSets.get(alice, { id: changeSet.id })).code).toBe("expired");
    });
    expect((await show(changeSet.id)).statusReason).toBe("expired");
    expect(await findings()).toEqual([]);
  });

  it("with entries to match, it is still not what people signed", async () => {
    const one = await approved("forged/entries");
    const item = one.items[0];
    const [row] = await rowsOf("items", item?.id ?? "");
    const effects = [{ ...item?.effects[0], after: { exists: true, hash: "0".repeat(64), document: { a: 666 } } }];
    const { version, ...columns } = row as { version: number };
    await write([
      {
        actor: { type: "system", id: world.tenant, humans: [] },
        action: "change_set.planned",
        subject: { type: "change_set", id: one.id },
        writes: [{ verb: "update", table: "items", row: { ...columns, effects } as never, from: version }],
      },
    ]);
    expect(await findings()).toEqual(swapped);
    expect(refusal(await apply(one.id))).toMatchObject({
      code: "ledger_mismatch",
      message: expect.stringContaining("its items are not those of its digest") as string,
    });
    expect((await document("forged/entries")).exists).toBe(false);
  });
});

describe("an API key without the person's signing key", () => {
  const ballot = async (by: Human, one: ChangeSetView, atMs: number) => {
    const decision = "APPROVED" as const;
    const approvalDigest = (await show(one.id)).approvalDigest ?? "";
    const signature = signMessage(
      by.privateKey,
      voteSigningBytes({ tenant: world.tenant, changeSetId: one.id, approvalDigest, decision, voterId: by.id, atMs }),
    );
    return { id: one.id, digest: approvalDigest, decision, keyId: by.keyId, atMs, signature };
  };

  it("does not repeat a vote that was dismissed", async () => {
    const { bob } = world.people;
    const { changeSet } = await world.propose(world.builder, {
      title: "t",
      items: [{ operation: "CREATE", target: { ...resource("replay"), type: "SECURITY_RULE" }, after: { a: 1 } }],
    });
    const submit = async () =>
      must(await world.changeSets.submit(await world.caller(world.builder), { id: changeSet.id }, world.request()));
    await submit();
    const seen = await ballot(bob, changeSet, clock.now);
    const cast = async (vote: typeof seen) =>
      world.changeSets.vote(await world.caller(bob.id), vote, vote.decision, world.request());
    must(await cast(seen));
    must(
      await world.changeSets.requestChanges(
        await world.caller(world.people.carol.id),
        { id: changeSet.id, reason: "again" },
        world.request(),
      ),
    );
    await submit();
    expect(refusal(await cast(seen)).code).toBe("signature_invalid");
    must(await cast(await ballot(bob, changeSet, clock.now + 1)));
  });
});

describe("an agent", () => {
  it("does not take up again what a person was taking back", async () => {
    mkdirSync(join(world.root, "again"));
    writeFileSync(join(world.root, "again/a.txt"), "one\n");
    writeFileSync(join(world.root, "again/b.txt"), "one\n");
    const items = ["again/a.txt", "again/b.txt"].map((name) => ({
      operation: "UPDATE" as const,
      target: file(name),
      content: { text: "two\n" },
    }));
    const { changeSet } = await world.approved(world.builder, { title: "t", items });
    must(await apply(changeSet.id));
    const kind = compensatingKind(world.targets, "file");
    let acts = 0;
    const act: typeof kind.act = async (step, context) => {
      acts += 1;
      if (acts === 2)
        for (const name of ["again/a.txt", "again/b.txt"]) writeFileSync(join(world.root, name), "somebody else\n");
      return kind.act(step, context);
    };
    const spoiling = { ...kind, act };
    const spoiled = openChangeSets({
      ...world.desk,
      targets: withKind(world.targets, spoiling),
    });
    const half = must(
      await spoiled.rollBack(
        await world.caller(world.people.alice.id),
        { id: changeSet.id, cascade: false },
        world.request(),
      ),
    );
    expect(half.changeSet.status).toBe("PARTIALLY_APPLIED");
    const agent = {
      ...(await world.caller(world.builder)),
      permissions: new Set(["change_sets.apply", "change_sets.propose"] as const),
    };
    expect(refusal(await world.changeSets.resume(agent, { id: changeSet.id }, world.request())).code).toBe("forbidden");
  });

  it("is not let past the limit of applies by AUTO", async () => {
    const perHour = { changeSets: 600, items: 6000, submits: 600, applies: 2 };
    await world.configure("limits", {
      perHour: { agent: perHour, human: { ...perHour, applies: 600 } },
      holdsPerDay: 4,
    });
    clock.now += 3_600_000;
    const statuses: string[] = [];
    for (let n = 0; n < 3; n++) {
      const { changeSet } = await world.approved(world.builder, {
        title: "t",
        applyMode: "AUTO",
        items: [create(`auto/${n}`)],
      });
      statuses.push(changeSet.status);
    }
    expect(statuses).toEqual(["APPLIED", "APPLIED", "APPROVED"]);
    await world.configure("limits", {
      perHour: { agent: { ...perHour, applies: 600 }, human: { ...perHour, applies: 600 } },
      holdsPerDay: 4,
    });
  });

  it("that was suspended has nothing applied by the engine", async () => {
    const { changeSet } = await world.propose(world.builder, {
      title: "t",
      applyMode: "AUTO",
      items: [create("auto/suspended")],
    });
    must(await world.changeSets.submit(await world.caller(world.builder), { id: changeSet.id }, world.request()));
    await setStatus(world.builder, "SUSPENDED");
    expect(must(await world.vote(world.people.bob, changeSet.id)).changeSet.status).toBe("APPROVED");
    expect((await document("auto/suspended")).exists).toBe(false);
    await setStatus(world.builder, "ACTIVE");
    must(await apply(changeSet.id));
  });
});

describe("what an agent may not read", () => {
  it("is not shown to it in other people's change-sets", async () => {
    const secret = { ...resource("secret"), environment: "production" };
    const items = [{ operation: "CREATE" as const, target: secret, after: { password: "hunter2" } }, create("open")];
    const { changeSet } = await world.propose(world.people.bob.id, { title: "t", items });
    const agent = await world.caller(world.builder);
    const seen = must(await world.changeSets.get(agent, { id: changeSet.id }));
    expect(JSON.stringify(seen)).not.toContain("hunter2");
    expect(seen.items[0]).toMatchObject({
      diff: { format: "withheld" },
      effects: [{ after: { exists: true, hash: null } }],
    });
    expect(seen.items[1]?.effects[0]?.after.document).toEqual({ a: 1 });
    expect(JSON.stringify(must(await world.changeSets.items(agent, { id: changeSet.id })))).not.toContain("hunter2");
    const carol = await world.caller(world.people.carol.id);
    expect(JSON.stringify(must(await world.changeSets.get(carol, { id: changeSet.id })))).toContain("hunter2");
  });
});

describe("what governs the tenant", () => {
  const freeze = {
    kind: "resource" as const,
    type: "SYSTEM_CONFIG",
    id: "system.config/freeze",
    environment: "system",
  };

  it("is not taken back by a stored login", async () => {
    const item = { operation: "CREATE" as const, target: freeze, after: { windows: [], weekly: [] } };
    const { changeSet } = await world.propose(world.people.carol.id, { title: "t", applyMode: "AUTO", items: [item] });
    const carol = await world.caller(world.people.carol.id);
    const submitted = must(await world.changeSets.submit(carol, { id: changeSet.id }, world.request())).changeSet;
    expect(submitted.status).toBe("PENDING_APPROVAL");
    must(await world.vote(world.people.bob, changeSet.id));
    expect(must(await world.vote(world.people.alice, changeSet.id)).changeSet.status).toBe("APPLIED");
    const back = (request: object) =>
      world.changeSets.rollBack(carol, { id: changeSet.id, cascade: false }, { ...world.request(), ...request });
    expect(refusal(await back({})).code).toBe("precondition_required");
    expect(must(await back({ proven: true })).changeSet.status).toBe("ROLLED_BACK");
  });
});

describe("between the decision and its commit", () => {
  it("what it depends on is rolled back: it is decided again", async () => {
    const first = await approved("race/a");
    must(await apply(first.id));
    const second = (
      await world.approved(world.builder, { title: "t", dependsOn: [first.number], items: [create("race/b")] })
    ).changeSet;
    let once = true;
    const transact: typeof world.ledger.transact = (tenant, load, decide, options) =>
      world.ledger.transact(
        tenant,
        async (snapshot) => {
          const loaded = await load(snapshot);
          if (once) {
            once = false;
            must(await rollBack(first.id));
          }
          return loaded;
        },
        decide,
        options,
      );
    const answer = await world.changeSets.apply(
      await world.caller(world.builder),
      { id: second.id },
      { ...world.request(), transact },
    );
    expect(refusal(answer).code).toBe("dependency_unmet");
  });
});

describe("a workspace of another environment", () => {
  it("is not what was planned: approved for one environment is not applied in another", async () => {
    const input = {
      title: "t",
      items: [{ operation: "CREATE" as const, target: file("moved.txt"), content: { text: "x" } }],
    };
    const { changeSet } = await world.approved(world.builder, input);
    const [row] = await rowsOf("workspaces", await workspaceId());
    const { version, ...columns } = row as { version: number };
    const set = (environment: string, from: number) =>
      write([
        {
          actor: { type: "system", id: world.tenant, humans: [] },
          action: "workspace.registered",
          subject: { type: "workspace", id: columns["id" as never] },
          writes: [{ verb: "update", table: "workspaces", row: { ...columns, environment } as never, from }],
        },
      ]);
    await set("production", version);
    expect(refusal(await apply(changeSet.id)).code).toBe("drift");
    await set("development", version + 1);
    must(await apply(changeSet.id));
  });
});

describe("size", () => {
  it("a short request about a large document is refused before it is too much", async () => {
    const large = { text: "x".repeat(1_900_000), n: 0 };
    const { changeSet } = await world.approved(world.builder, {
      title: "t",
      items: [{ operation: "CREATE", target: resource("large"), after: large }],
    });
    must(await apply(changeSet.id));
    const items = Array.from({ length: 200 }, (_, n) => ({
      operation: "CHANGE_PROPERTY" as const,
      target: resource("large"),
      pointer: "/n",
      value: n + 1,
    }));
    const input = changeSetInput.parse({ title: "t", items });
    const answer = refusal(await world.changeSets.create(await world.caller(world.builder), input, world.request()));
    expect(answer).toMatchObject({ code: "limit_exceeded", problems: [{ pointer: "/items/6" }] });
    must(
      await world.changeSets.create(
        await world.caller(world.builder),
        { ...input, items: input.items.slice(0, 6) },
        world.request(),
      ),
    );
  });

  it("a change-set of 200 files is applied and rolled back", { timeout: 120_000 }, async () => {
    const items = Array.from({ length: 200 }, (_, n) => ({
      operation: "CREATE" as const,
      target: file(`many/${n}.txt`),
      content: { text: `${n}\n` },
    }));
    const { changeSet } = await world.approved(world.builder, { title: "many", items });
    expect(must(await apply(changeSet.id)).application.appliedItems).toBe(200);
    expect(readFileSync(join(world.root, "many/199.txt"), "utf8")).toBe("199\n");
    must(await rollBack(changeSet.id));
    expect(existsSync(join(world.root, "many"))).toBe(false);
    expect(await findings()).toEqual(swapped);
  });
});

describe("a key that was revoked", () => {
  it("after it signed: its vote is not counted at the apply", async () => {
    const one = await approved("revoked");
    const { bob } = world.people;
    const [key] = await rowsOf("signing_keys", bob.keyId);
    const { version, ...columns } = key as { version: number };
    const epoch = await world.ledger.snapshot(world.tenant, (snapshot) => snapshot.epoch("members"));
    const second = newId();
    await write([
      {
        actor: { type: "human", id: bob.id, humans: [bob.id] },
        action: "principal.key_enrolled",
        subject: { type: "principal", id: bob.id },
        data: { key: second, algorithm: "Ed25519", publicKey: "A".repeat(43) },
        writes: [
          {
            verb: "insert",
            table: "signing_keys",
            row: { ...columns, id: second, public_key: "A".repeat(43) } as never,
          },
        ],
      },
      {
        actor: { type: "human", id: bob.id, humans: [bob.id] },
        action: "principal.key_revoked",
        subject: { type: "principal", id: bob.id },
        data: { key: bob.keyId },
        writes: [
          {
            verb: "update",
            table: "signing_keys",
            row: { ...columns, status: "REVOKED", revoked_at_ms: clock.now } as never,
            from: version,
          },
          moveEpoch("members", epoch),
        ],
      },
    ]);
    expect(refusal(await apply(one.id)).code).toBe("approvals_missing");
    expect((await document("revoked")).exists).toBe(false);
  });
});

// ── What the cases share ─────────────────────────────────────────────────────────────────────────────────────────────

async function rowsOf(table: string, id: string): Promise<Record<string, unknown>[]> {
  return world.ledger.snapshot(world.tenant, async (snapshot) =>
    (
      await snapshot.query<{ row: Record<string, unknown> }>({
        name: `test_${table}`,
        text: `select to_jsonb(t) - 'row_salt' - 'tenant_id' as row from countersign.${table} t where tenant_id = $1 and id::text = $2`,
        values: [world.tenant, id],
      })
    ).map(({ row }) => row),
  );
}

async function one(sql: string, value: string): Promise<string> {
  const rows = await world.ledger.snapshot(world.tenant, (snapshot) =>
    snapshot.query<{ id: string }>({ name: "", text: sql, values: [world.tenant, value] }),
  );
  return rows[0]?.id ?? "";
}
const revisionOf = (changeSet: ChangeSetView) =>
  one("select revision_id as id from countersign.change_sets where tenant_id = $1 and id = $2", changeSet.id);
const workspaceId = () => one("select id from countersign.workspaces where tenant_id = $1 and name = $2", "shop");
const configId = (name: string) =>
  one("select id from countersign.resources where tenant_id = $1 and resource_id = $2", `system.config/${name}`);

async function write(entries: readonly DraftShape[]): Promise<void> {
  const outcome = await world.ledger.transact(
    world.tenant,
    () => Promise.resolve(0),
    () => ({ kind: "change", change: { guards: [], entries }, result: undefined }),
  );
  if (isRefusal(outcome)) throw new Error(outcome.message);
}

async function moveMembers(): Promise<void> {
  const epoch = await world.ledger.snapshot(world.tenant, (snapshot) => snapshot.epoch("members"));
  await write([
    {
      actor: { type: "system", id: world.tenant, humans: [] },
      action: "tenant.looked_at",
      subject: { type: "tenant", id: world.tenant },
      writes: [moveEpoch("members", epoch)],
    },
  ]);
}

async function setStatus(id: string, status: string): Promise<void> {
  const [row] = await rowsOf("principals", id);
  const { version, ...columns } = row as { version: number };
  const epoch = await world.ledger.snapshot(world.tenant, (snapshot) => snapshot.epoch("members"));
  await write([
    {
      actor: { type: "system", id: world.tenant, humans: [] },
      action: status === "SUSPENDED" ? "principal.suspended" : "principal.reinstated",
      subject: { type: "principal", id },
      data: { from: status === "SUSPENDED" ? "ACTIVE" : "SUSPENDED", to: status },
      writes: [
        { verb: "update", table: "principals", row: { ...columns, status } as never, from: version },
        moveEpoch("members", epoch),
      ],
    },
  ]);
}
