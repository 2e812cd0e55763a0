/** What stops a change-set: kill-switch, freeze, limits, dependencies, time, and the loss of everything that is not governed. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { findTransition, isRefusal, type Command, type Refusal, type Status } from "@countersign/contract";
import { openChangeSets } from "../../src/change-sets/index.js";
import { engageKill, loadKill, releaseKill } from "../../src/governance/index.js";
import { tables } from "../../src/storage/index.js";
import { createDatabase, type TestDatabase } from "../support/postgres.js";
import { heldClock } from "../support/ledger.js";
import { createWorld, file, must, resource, type World } from "../support/world.js";
import { compensatingKind, withKind } from "../support/kinds.js";

let database: TestDatabase;
let world: World;
const clock = heldClock(Date.now());
beforeAll(async () => {
  database = await createDatabase();
  world = await createWorld({ storage: database.storage, clock });
});
afterAll(() => world.close());

const refusal = (answer: unknown): Refusal => {
  if (!isRefusal(answer)) throw new Error("it was not refused");
  return answer;
};
const create = (id: string) => ({ operation: "CREATE" as const, target: resource(id), after: { a: 1 } });
const approved = async (id: string) =>
  (await world.approved(world.builder, { title: id, items: [create(id)] })).changeSet;
const apply = async (id: string) => world.changeSets.apply(await world.caller(world.builder), { id }, world.request());
const submit = async (id: string) =>
  world.changeSets.submit(await world.caller(world.builder), { id }, world.request());
const show = async (id: string) => must(await world.changeSets.get(await world.caller(world.builder), { id }));

async function kill(verb: "engage" | "release", by = world.people.alice.id): Promise<unknown> {
  const caller = await world.caller(by);
  const command = { actor: caller.actor, permissions: caller.permissions, reason: "stop" };
  return world.ledger.transact(world.tenant, loadKill, (loaded, context) =>
    verb === "engage"
      ? engageKill(loaded, command, "team", { perHour: { agent: limits, human: limits }, holdsPerDay: 4 }, context)
      : releaseKill(loaded, command, "team", context),
  );
}
const limits = { changeSets: 600, items: 6000, submits: 600, applies: 600 };

describe("the kill-switch", () => {
  it("refuses every apply while it is engaged, and two people release it", async () => {
    const one = await approved("kill/a");
    await kill("engage");
    expect(refusal(await apply(one.id)).code).toBe("kill_switch_engaged");
    await kill("release", world.people.alice.id);
    expect(refusal(await apply(one.id)).code).toBe("kill_switch_engaged");
    await kill("release", world.people.bob.id);
    expect(must(await apply(one.id)).changeSet.status).toBe("APPLIED");
  });

  it("engaged underway: no item starts after it, what was done is compensated", async () => {
    writeFileSync(join(world.root, "a.txt"), "one\n");
    writeFileSync(join(world.root, "b.txt"), "one\n");
    const items = ["a.txt", "b.txt"].map((name) => ({
      operation: "UPDATE" as const,
      target: file(name),
      content: { text: "two\n" },
    }));
    const { changeSet } = await world.approved(world.builder, { title: "t", items });
    const kind = compensatingKind(world.targets, "file");
    let acts = 0;
    const act: typeof kind.act = async (step, context) => {
      const outcome = await kind.act(step, context);
      acts += 1;
      if (acts === 1) await kill("engage");
      return outcome;
    };
    const counting = { ...kind, act };
    const changeSets = openChangeSets({
      ...world.desk,
      targets: withKind(world.targets, counting),
    });
    const ended = must(
      await changeSets.apply(await world.caller(world.builder), { id: changeSet.id }, world.request()),
    );
    expect(ended.changeSet.status).toBe("APPROVED");
    expect(ended.application).toMatchObject({
      status: "COMPENSATED",
      errors: [{ code: "kill_switch_engaged" }],
      items: [{ sequence: 1, status: "COMPENSATED" }],
    });
    expect(readFileSync(join(world.root, "a.txt"), "utf8")).toBe("one\n");
    expect(acts).toBe(2);
    await kill("release", world.people.alice.id);
    await kill("release", world.people.bob.id);
  });

  it("does not hold up a rollback", async () => {
    const one = await approved("kill/b");
    must(await apply(one.id));
    await kill("engage");
    const answer = await world.changeSets.rollBack(
      await world.caller(world.people.alice.id),
      { id: one.id, cascade: false },
      world.request(),
    );
    expect(must(answer).changeSet.status).toBe("ROLLED_BACK");
    await kill("release", world.people.alice.id);
    await kill("release", world.people.bob.id);
  });
});

describe("freeze, limits, dependencies", () => {
  it("a freeze refuses with how long it lasts", async () => {
    const one = await approved("freeze/a");
    const iso = (ms: number): string => new Date(ms).toISOString();
    await world.configure("freeze", {
      windows: [{ id: "release", from: iso(clock.now - 1000), until: iso(clock.now + 60_000), reason: "release day" }],
      weekly: [],
    });
    expect(refusal(await apply(one.id))).toMatchObject({ code: "frozen", retryAfterSeconds: 60 });
    await world.configure("freeze", { windows: [], weekly: [] });
    must(await apply(one.id));
  });

  it("the limit of an hour is exact under concurrency", async () => {
    clock.now += 3_600_000;
    const perHour = { changeSets: 10, items: 6000, submits: 600, applies: 600 };
    await world.configure("limits", { perHour: { agent: perHour, human: limits }, holdsPerDay: 4 });
    const caller = await world.caller(world.builder);
    const input = {
      title: "t",
      description: "",
      priority: "NORMAL" as const,
      applyMode: "MANUAL" as const,
      tags: [],
      metadata: {},
      dependsOn: [],
    };
    const all = await Promise.all(
      Array.from({ length: 30 }, (_, n) =>
        world.changeSets.create(caller, { ...input, items: [create(`limit/${n}`)] }, world.request()),
      ),
    );
    expect(all.filter((one) => !isRefusal(one))).toHaveLength(10);
    for (const one of all.filter(isRefusal)) expect(one.code).toBe("rate_limited");
    clock.now += 3_600_000;
    await world.propose(world.builder, { title: "the next hour", items: [create("limit/next")] });
  });

  it("what it depends on is applied first", async () => {
    const first = await approved("depends/a");
    const second = (
      await world.approved(world.builder, { title: "t", dependsOn: [first.number], items: [create("depends/b")] })
    ).changeSet;
    expect(refusal(await apply(second.id))).toMatchObject({
      code: "dependency_unmet",
      details: { waitingFor: [first.number] },
    });
    must(await apply(first.id));
    must(await apply(second.id));
  });
});

describe("approvals that do not hold any more", () => {
  it("a longer route sends it back to whoever may give what is missing; what was signed before is void", async () => {
    const one = await approved("reroute/a");
    await world.configure("routes", {
      categories: {},
      otherwise: [{ name: "review", groups: ["reviewers"], quorum: 2 }],
    });
    expect(refusal(await apply(one.id)).code).toBe("approvals_missing");
    const now = await show(one.id);
    expect(now).toMatchObject({ status: "PENDING_APPROVAL", statusReason: "rerouted", requiredApprovals: 2 });
    expect(now.approvalDigest).not.toBe(one.approvalDigest);
    must(await world.vote(world.people.bob, one.id));
    expect(must(await world.vote(world.people.carol, one.id)).changeSet.status).toBe("APPROVED");
    must(await apply(one.id));
    await world.configure("routes", {
      categories: {},
      otherwise: [{ name: "review", groups: ["reviewers"], quorum: 1 }],
    });
    expect((await world.ledger.checkTenant(world.tenant)).findings).toEqual([]);
  });
});

describe("time", () => {
  it("a deadline that passed rejects, whoever looks first", async () => {
    const { changeSet } = await world.propose(world.builder, { title: "t", items: [create("time/a")] });
    expect(must(await submit(changeSet.id)).changeSet.status).toBe("PENDING_APPROVAL");
    clock.now += 25 * 3_600_000;
    expect(refusal(await world.vote(world.people.bob, changeSet.id)).code).toBe("illegal_transition");
    expect(await show(changeSet.id)).toMatchObject({ status: "REJECTED", statusReason: "expired" });
  });

  it("an approval ends too, and says so to whoever applies", async () => {
    const one = await approved("time/b");
    clock.now += 8 * 86_400_000;
    expect(refusal(await apply(one.id)).code).toBe("expired");
    expect(await show(one.id)).toMatchObject({ status: "REJECTED", statusReason: "expired" });
    const again = must(
      await world.changeSets.revise(await world.caller(world.builder), { id: one.id, revision: 1 }, world.request()),
    );
    expect(again.changeSet.status).toBe("DRAFT");
  });

  it("archiving waits for the undo window and releases the backups", async () => {
    writeFileSync(join(world.root, "old.txt"), "one\n");
    const { changeSet } = await world.approved(world.builder, {
      title: "t",
      items: [{ operation: "DELETE", target: file("old.txt") }],
    });
    must(await apply(changeSet.id));
    const archive = async () =>
      world.changeSets.archive(await world.caller(world.builder), { id: changeSet.id }, world.request());
    expect(refusal(await archive())).toMatchObject({
      code: "illegal_transition",
      message: expect.stringContaining("can be undone until") as string,
    });
    clock.now += 73 * 3_600_000;
    expect(must(await archive()).changeSet.status).toBe("ARCHIVED");
    expect(
      refusal(
        await world.changeSets.rollBack(
          await world.caller(world.people.alice.id),
          { id: changeSet.id, cascade: false },
          world.request(),
        ),
      ).code,
    ).toBe("illegal_transition");
  });
});

describe("the loss of every derived and operational row", () => {
  it("changes no decision, applies nothing twice, repeats no number", async () => {
    const before = await approved("loss/a");
    const pending = (await world.propose(world.builder, { title: "t", items: [create("loss/b")] })).changeSet;
    must(await submit(pending.id));
    const gone = Object.entries(tables)
      .filter(([, { class: of }]) => ["derived", "operational"].includes(of))
      .map(([name]) => name);
    expect(gone).toContain("number_series");
    const client = await world.storage.owner.connect();
    try {
      await client.query("begin");
      await client.query("select set_config('app.tenants', $1, true)", [`{${world.tenant}}`]);
      for (const name of gone.filter((one) => one !== "tenant_locks"))
        await client.query(`delete from countersign.${name} where tenant_id = $1`, [world.tenant]);
      await client.query("commit");
    } finally {
      client.release();
    }
    // A process started after the loss: it has no blocks of numbers left either.
    const fresh = openChangeSets(world.desk);
    const caller = await world.caller(world.builder);
    const next = must(
      await fresh.create(
        caller,
        {
          title: "t",
          description: "",
          priority: "NORMAL",
          applyMode: "MANUAL",
          tags: [],
          metadata: {},
          dependsOn: [],
          items: [create("loss/c")],
        },
        world.request(),
      ),
    );
    expect(next.changeSet.number > pending.number).toBe(true);
    expect(refusal(await world.vote(world.people.alice, pending.id)).code).toBe("separation_of_duties");
    must(await fresh.apply(caller, { id: before.id }, world.request()));
    expect(refusal(await fresh.apply(caller, { id: before.id }, world.request())).code).toBe("illegal_transition");
    expect((await world.ledger.checkTenant(world.tenant)).findings).toEqual([]);
  });
});

describe("whatever is asked for in whatever order", () => {
  type Ask = Extract<
    Command,
    "submit" | "vote" | "apply" | "roll_back" | "revise" | "cancel" | "request_changes" | "archive" | "resume"
  >;
  const asks: Ask[] = [
    "submit",
    "vote",
    "apply",
    "roll_back",
    "revise",
    "cancel",
    "request_changes",
    "archive",
    "resume",
  ];
  let n = 0;

  const doIt = async (ask: Ask, id: string, revision: number): Promise<unknown> => {
    const [builder, alice, bob] = await Promise.all(
      [world.builder, world.people.alice.id, world.people.bob.id].map((who) => world.caller(who)),
    );
    if (builder === undefined || alice === undefined || bob === undefined) throw new Error("nobody");
    switch (ask) {
      case "submit":
        return world.changeSets.submit(builder, { id }, world.request());
      case "vote":
        clock.now += 1; // a signature of the same moment would be the one that was cast before
        return world.vote(world.people.bob, id);
      case "apply":
        return world.changeSets.apply(builder, { id }, world.request());
      case "roll_back":
        return world.changeSets.rollBack(alice, { id, cascade: false }, world.request());
      case "revise":
        return world.changeSets.revise(builder, { id, revision }, world.request());
      case "cancel":
        return world.changeSets.cancel(builder, { id }, world.request());
      case "request_changes":
        return world.changeSets.requestChanges(bob, { id, reason: "again" }, world.request());
      case "archive":
        return world.changeSets.archive(builder, { id }, world.request());
      case "resume":
        return world.changeSets.resume(alice, { id }, world.request());
    }
  };

  /** Engine events that may follow a command within it. */
  const reachable = (from: Status, ask: Ask): Set<Status> => {
    const first = findTransition(from, ask)?.to ?? [];
    const ends = first.flatMap((status) =>
      status === "APPLYING"
        ? (findTransition(status, "finish_apply")?.to ?? [])
        : status === "ROLLING_BACK"
          ? (findTransition(status, "finish_rollback")?.to ?? [])
          : [status],
    );
    return new Set(ends);
  };

  it("a status changes only as the table of transitions says (property)", { timeout: 180_000 }, async () => {
    await world.configure("limits", {
      perHour: { agent: { changeSets: 6000, items: 6000, submits: 6000, applies: 6000 }, human: limits },
      holdsPerDay: 4,
    });
    const seen = new Set<Status>();
    await fc.assert(
      fc.asyncProperty(fc.array(fc.constantFrom(...asks), { minLength: 3, maxLength: 9 }), async (sequence) => {
        const { changeSet } = await world.propose(world.builder, { title: "t", items: [create(`walk/${n++}`)] });
        let now = await show(changeSet.id);
        for (const ask of sequence) {
          const answer = await doIt(ask, changeSet.id, now.revision);
          const next = await show(changeSet.id);
          if (isRefusal(answer)) expect(next.status).toBe(now.status);
          else expect(reachable(now.status, ask)).toContain(next.status);
          seen.add(next.status);
          now = next;
        }
      }),
      { numRuns: 40, seed: 20261121 },
    );
    expect(seen.size).toBeGreaterThan(5);
    expect((await world.ledger.checkTenant(world.tenant)).findings).toEqual([]);
  });
});
