import { mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { isRefusal, type ChangeSetAnswer, type Refusal } from "@countersign/contract";
import { openChangeSets, type ChangeSets } from "../../src/change-sets/index.js";
import { createWorld, file, must, resource, type World } from "../support/world.js";
import { contextIn } from "../../src/targets/index.js";
import { compensatingKind, withKind } from "../support/kinds.js";

let world: World;
beforeAll(async () => {
  world = await createWorld();
});
afterAll(() => world.close());

const refusal = (answer: unknown): Refusal => {
  if (!isRefusal(answer)) throw new Error("it was not refused");
  return answer;
};
const submit = async (by: string, id: string): Promise<ChangeSetAnswer | Refusal> =>
  world.changeSets.submit(await world.caller(by), { id }, world.request());
const apply = async (by: string, id: string) => world.changeSets.apply(await world.caller(by), { id }, world.request());
const rollBack = async (by: string, id: string, cascade = false) =>
  world.changeSets.rollBack(await world.caller(by), { id, cascade }, world.request());
const clean = async (): Promise<void> => {
  const report = await world.ledger.checkTenant(world.tenant);
  expect(report.findings).toEqual([]);
  expect(report.integrity).toBe("ok");
};
const create = (id: string, after: Record<string, unknown>) => ({
  operation: "CREATE" as const,
  target: resource(id),
  after: after as never,
});
const read = (path: string): string => readFileSync(join(world.root, path), "utf8");

describe("the whole way", () => {
  it("new JSON in a file keeps the order of members it was sent with, from proposal to disk", async () => {
    writeFileSync(join(world.root, "order.json"), '{\n  "name": "shop"\n}\n');
    // An order that jsonb does not keep: it sorts by length, then by bytes.
    const value = { zebra: 1, a: { longer: true, b: 2 }, mm: 3 };
    const { changeSet } = await world.approved(world.builder, {
      title: "Options of the shop",
      items: [
        { operation: "ADD_CHILD", target: file("order.json"), pointer: "", key: "options", value },
        { operation: "CREATE", target: file("new.json"), after: value },
      ],
    });
    expect(must(await apply(world.builder, changeSet.id)).changeSet.status).toBe("APPLIED");
    const inner = JSON.stringify({ name: "shop", options: value }, null, 2);
    expect(read("order.json")).toBe(`${inner}\n`);
    expect(read("new.json")).toBe(`${JSON.stringify(value, null, 2)}\n`);
    await clean();
  });

  it("JSON resources and files: proposed, approved, applied, rolled back to the exact bytes", async () => {
    const original = '{\n  "name": "shop",   // kept\n  "port": 80\n}\n';
    mkdirSync(join(world.root, "config"));
    writeFileSync(join(world.root, "config/app.json"), original, { mode: 0o640 });
    const { changeSet } = await world.approved(world.builder, {
      title: "Checkout times out later",
      items: [
        create("shop/checkout", { timeout: 30 }),
        { operation: "CHANGE_PROPERTY", target: resource("shop/checkout"), pointer: "/timeout", value: 60 },
        { operation: "CHANGE_PROPERTY", target: file("config/app.json"), pointer: "/port", value: 8080 },
        { operation: "CREATE", target: file("docs/notes.txt"), content: { text: "hello\n" } },
        { operation: "RENAME", target: file("docs/notes.txt"), to: { path: "docs/readme.txt" } },
      ],
    });
    expect(changeSet.status).toBe("APPROVED");
    expect(changeSet.votes.map((vote) => vote.decision)).toContain("APPROVED");

    const applied = must(await apply(world.builder, changeSet.id));
    expect(applied.changeSet.status).toBe("APPLIED");
    expect(applied.application).toMatchObject({ status: "SUCCEEDED", appliedItems: 5, failedItems: 0 });
    expect(read("config/app.json")).toBe('{\n  "name": "shop",   // kept\n  "port": 8080\n}\n');
    expect(statSync(join(world.root, "config/app.json")).mode & 0o777).toBe(0o640);
    expect(read("docs/readme.txt")).toBe("hello\n");
    await clean();

    const undone = must(await rollBack(world.people.alice.id, changeSet.id));
    expect(undone.changeSet.status).toBe("ROLLED_BACK");
    expect(read("config/app.json")).toBe(original);
    expect(() => statSync(join(world.root, "docs"))).toThrow();
    await clean();
  });

  it("nothing is changed before it is applied, and what is planned is shown", async () => {
    const { changeSet } = await world.propose(world.builder, { title: "t", items: [create("plan/only", { a: 1 })] });
    expect(changeSet).toMatchObject({ status: "DRAFT", revision: 1, category: expect.any(String) as string });
    expect(changeSet.number).toMatch(/^CS-\d{4}-\d{4}-\d{3}$/);
    expect(changeSet.items[0]).toMatchObject({
      reversibility: "exact",
      effects: [{ before: { exists: false }, after: { exists: true } }],
    });
    const again = await world.propose(world.builder, { title: "t", items: [create("plan/only", { a: 2 })] });
    expect(again.changeSet.number > changeSet.number).toBe(true);
  });
});

describe("decisions", () => {
  it("the author's human does not approve their agent's change-set, and the others are named", async () => {
    const { changeSet } = await world.propose(world.builder, { title: "t", items: [create("duties/a", { a: 1 })] });
    must(await submit(world.builder, changeSet.id));
    expect(refusal(await world.vote(world.people.alice, changeSet.id))).toMatchObject({ code: "separation_of_duties" });
    expect(must(await world.vote(world.people.bob, changeSet.id)).changeSet.status).toBe("APPROVED");
  });

  it("a rejection needs a reason and rejects; an approval can be withdrawn", async () => {
    const { changeSet } = await world.approved(world.builder, { title: "t", items: [create("duties/b", { a: 1 })] });
    expect(refusal(await world.vote(world.people.carol, changeSet.id, "REJECTED")).code).toBe("reason_required");
    expect(must(await world.vote(world.people.carol, changeSet.id, "REJECTED", "not now")).changeSet).toMatchObject({
      status: "REJECTED",
      statusReason: "vote",
    });
    expect(refusal(await apply(world.builder, changeSet.id)).code).toBe("illegal_transition");
  });

  it("a forged signature, another digest, another's key, an old signature", async () => {
    const { changeSet } = await world.propose(world.builder, { title: "t", items: [create("duties/c", { a: 1 })] });
    const submitted = must(await submit(world.builder, changeSet.id)).changeSet;
    const { bob, carol } = world.people;
    const ballot = {
      id: changeSet.id,
      digest: submitted.approvalDigest ?? "",
      keyId: bob.keyId,
      atMs: Date.now(),
      signature: "A".repeat(86),
    };
    const check = async (changes: object, code: string): Promise<void> => {
      const answer = await world.changeSets.vote(
        await world.caller(bob.id),
        { ...ballot, ...changes },
        "APPROVED",
        world.request(),
      );
      expect(refusal(answer).code).toBe(code);
    };
    await check({}, "signature_invalid");
    await check({ digest: "0".repeat(64) }, "digest_mismatch");
    await check({ keyId: carol.keyId }, "signing_key_unknown");
    await check({ atMs: Date.now() - 3_600_000 }, "signature_invalid");
    await check({ signature: undefined }, "precondition_required");
    const agent = await world.changeSets.vote(await world.caller(world.builder), ballot, "APPROVED", world.request());
    expect(refusal(agent).code).toBe("agents_never_vote");
  });

  it("a revision starts again: votes are dismissed, the old signature is worth nothing", async () => {
    const { changeSet } = await world.approved(world.builder, { title: "t", items: [create("duties/d", { a: 1 })] });
    const revised = must(
      await world.changeSets.revise(
        await world.caller(world.builder),
        { id: changeSet.id, revision: 1, items: [create("duties/d", { a: 2 }) as never] },
        world.request(),
      ),
    ).changeSet;
    expect(revised).toMatchObject({ status: "DRAFT", revision: 2, approvalDigest: null });
    expect(revised.revisionDigest).not.toBe(changeSet.revisionDigest);
    expect(revised.votes.every((vote) => vote.dismissed)).toBe(true);
    expect(
      refusal(
        await world.changeSets.revise(
          await world.caller(world.builder),
          { id: changeSet.id, revision: 1 },
          world.request(),
        ),
      ).code,
    ).toBe("precondition_failed");
    await clean();
  });

  it("changes can be requested, by somebody on the route, with a reason", async () => {
    const { changeSet } = await world.propose(world.builder, { title: "t", items: [create("duties/e", { a: 1 })] });
    must(await submit(world.builder, changeSet.id));
    const ask = async (by: string, reason?: string) =>
      world.changeSets.requestChanges(
        await world.caller(by),
        { id: changeSet.id, ...(reason === undefined ? {} : { reason }) },
        world.request(),
      );
    expect(refusal(await ask(world.people.bob.id)).code).toBe("reason_required");
    expect(must(await ask(world.people.bob.id, "smaller")).changeSet.status).toBe("DRAFT");
  });

  it("policy denies what no grant allows; reading needs a grant too", async () => {
    const production = { ...resource("p"), environment: "production" };
    const answer = await world.changeSets.create(
      await world.caller(world.builder),
      {
        title: "t",
        description: "",
        priority: "NORMAL",
        applyMode: "MANUAL",
        tags: [],
        metadata: {},
        dependsOn: [],
        items: [{ operation: "CREATE", target: production, after: { a: 1 } }],
      },
      world.request(),
    );
    expect(refusal(answer).code).toBe("read_not_granted");
    await world.configure("grants", {
      grants: [
        {
          id: "agents",
          principals: ["agents"],
          operations: ["*"],
          targets: ["file:shop:**", "resource:development:*:**"],
        },
        { id: "look", principals: ["agents"], operations: ["read"], targets: ["resource:production:*:**"] },
      ],
    });
    const { changeSet } = await world.propose(world.builder, {
      title: "t",
      items: [{ operation: "CREATE", target: production, after: { a: 1 } }],
    });
    expect(must(await submit(world.builder, changeSet.id)).changeSet).toMatchObject({
      status: "REJECTED",
      statusReason: "policy_denied",
    });
  });

  it("only people choose HIGH and CRITICAL", async () => {
    const input = {
      title: "t",
      description: "",
      priority: "HIGH" as const,
      applyMode: "MANUAL" as const,
      tags: [],
      metadata: {},
      dependsOn: [],
      items: [create("prio", { a: 1 }) as never],
    };
    expect(refusal(await world.changeSets.create(await world.caller(world.builder), input, world.request())).code).toBe(
      "priority_needs_human",
    );
    expect(
      must(await world.changeSets.create(await world.caller(world.people.bob.id), input, world.request())).changeSet
        .priority,
    ).toBe("HIGH");
  });

  it("AUTO: applied by the engine once approved", async () => {
    const { changeSet } = await world.propose(world.builder, {
      title: "t",
      applyMode: "AUTO",
      items: [create("auto/a", { a: 1 })],
    });
    const answer = must(await submit(world.builder, changeSet.id));
    const last =
      answer.changeSet.status === "PENDING_APPROVAL" ? must(await world.vote(world.people.bob, changeSet.id)) : answer;
    expect(last.changeSet.status).toBe("APPLIED");
  });
});

describe("all problems at once, with pointers", () => {
  it("names every item that cannot be carried out", async () => {
    const answer = await world.changeSets.create(
      await world.caller(world.builder),
      {
        title: "t",
        description: "",
        priority: "NORMAL",
        applyMode: "MANUAL",
        tags: [],
        metadata: {},
        dependsOn: ["CS-2020-0101-001"],
        items: [{ operation: "DELETE", target: resource("nobody/home") }],
      },
      world.request(),
    );
    expect(refusal(answer)).toMatchObject({ code: "not_found", problems: [{ pointer: "/dependsOn/0" }] });
    const items = await world.changeSets.create(
      await world.caller(world.builder),
      {
        title: "t",
        description: "",
        priority: "NORMAL",
        applyMode: "MANUAL",
        tags: [],
        metadata: {},
        dependsOn: [],
        items: [
          { operation: "DELETE", target: resource("nobody/home") },
          { operation: "UPDATE", target: file("gone.txt"), content: { text: "x" } },
        ],
      },
      world.request(),
    );
    expect(refusal(items).problems?.map((problem) => problem.pointer?.slice(0, 8))).toEqual(["/items/0", "/items/1"]);
    // A form that is wrong does not hide what the others would meet; items on its target are left out.
    const mixed = await world.changeSets.create(
      await world.caller(world.builder),
      {
        title: "t",
        description: "",
        priority: "NORMAL",
        applyMode: "MANUAL",
        tags: [],
        metadata: {},
        dependsOn: [],
        items: [
          { operation: "UPDATE", target: file("../up.txt"), content: { text: "x" } },
          { operation: "DELETE", target: file("../up.txt") },
          { operation: "DELETE", target: resource("nobody/home") },
        ],
      },
      world.request(),
    );
    expect(refusal(mixed).problems?.map((problem) => [problem.pointer?.slice(0, 8), problem.code])).toEqual([
      ["/items/0", "path_refused"],
      ["/items/1", "path_refused"],
      ["/items/2", "target_not_found"],
    ]);
  });
});

describe("two change-sets on one target", () => {
  it("the conflict is shown at submit and decided at apply: the second is drift, never overwritten", async () => {
    must(
      await apply(
        world.builder,
        (await world.approved(world.builder, { title: "base", items: [create("conflict/a", { v: 0 })] })).changeSet.id,
      ),
    );
    const change = (v: number) => ({
      title: `v${v}`,
      items: [{ operation: "UPDATE" as const, target: resource("conflict/a"), after: { v } }],
    });
    const first = await world.approved(world.builder, change(1));
    const second = await world.approved(world.builder, change(2));
    expect(second.changeSet.conflicts.map((one) => one.number)).toEqual([first.changeSet.number]);
    must(await apply(world.builder, first.changeSet.id));
    const drift = refusal(await apply(world.builder, second.changeSet.id));
    expect(drift).toMatchObject({ code: "drift", problems: [{ pointer: "/items/0" }] });
    const shown = must(await world.changeSets.get(await world.caller(world.builder), { id: second.changeSet.id }));
    expect(shown).toMatchObject({ status: "APPROVED", blocked: "drift" });

    const rebased = must(
      await world.changeSets.revise(
        await world.caller(world.builder),
        { id: second.changeSet.id, revision: 1 },
        world.request(),
      ),
    );
    expect(rebased.changeSet).toMatchObject({ status: "DRAFT", revision: 2, blocked: null });
  });

  it("a rollback is refused while later ones build on it, and cascades when asked", async () => {
    const base = await world.approved(world.builder, { title: "base", items: [create("stack/a", { v: 0 })] });
    must(await apply(world.builder, base.changeSet.id));
    const later = await world.approved(world.builder, {
      title: "later",
      items: [{ operation: "UPDATE", target: resource("stack/a"), after: { v: 1 } }],
    });
    must(await apply(world.builder, later.changeSet.id));
    const blocked = refusal(await rollBack(world.people.alice.id, base.changeSet.id));
    expect(blocked).toMatchObject({
      code: "rollback_blocked",
      details: { later: [{ number: later.changeSet.number }] },
    });
    expect(must(await rollBack(world.people.alice.id, base.changeSet.id, true)).changeSet.status).toBe("ROLLED_BACK");
    expect(must(await world.changeSets.get(await world.caller(world.builder), { id: later.changeSet.id })).status).toBe(
      "ROLLED_BACK",
    );
    await clean();
  });

  it("a file changed by hand since it was applied is not rolled over", async () => {
    writeFileSync(join(world.root, "drifted.txt"), "one\n");
    const answer = await world.approved(world.builder, {
      title: "t",
      items: [{ operation: "UPDATE", target: file("drifted.txt"), content: { text: "two\n" } }],
    });
    must(await apply(world.builder, answer.changeSet.id));
    writeFileSync(join(world.root, "drifted.txt"), "three\n");
    expect(refusal(await rollBack(world.people.alice.id, answer.changeSet.id)).code).toBe("drift");
    expect(read("drifted.txt")).toBe("three\n");
  });
});

describe("failing applies", () => {
  it("an item that fails underway: what was done is compensated, the rest never happens", async () => {
    writeFileSync(join(world.root, "first.txt"), "one\n");
    mkdirSync(join(world.root, "sub"));
    writeFileSync(join(world.root, "sub/second.txt"), "one\n");
    const answer = await world.approved(world.builder, {
      title: "t",
      items: [
        create("compensated/a", { a: 1 }),
        { operation: "UPDATE", target: file("first.txt"), content: { text: "two\n" } },
        { operation: "UPDATE", target: file("sub/second.txt"), content: { text: "two\n" } },
      ],
    });
    // Taken away between the check of bases and the act: the kind refuses, having changed nothing.
    const kind = compensatingKind(world.targets, "file");
    let acts = 0;
    const act: typeof kind.act = async (step, context) => {
      acts += 1;
      if (acts === 2) rmSync(join(world.root, "sub"), { recursive: true });
      return kind.act(step, context);
    };
    const other = openChangeSets({ ...world.desk, targets: withKind(world.targets, { ...kind, act }) });
    const ended = must(
      await other.apply(await world.caller(world.builder), { id: answer.changeSet.id }, world.request()),
    );
    expect(ended.application.status).toMatch(/COMPENSATED|PARTIAL/);
    expect(read("first.txt")).toBe("one\n");
    const gone = await world.ledger.snapshot(world.tenant, (snapshot) =>
      world.targets.kind("resource").read(
        {
          kind: "resource",
          type: "CONFIG",
          id: "compensated/a",
          environment: "development",
          key: "resource:development:CONFIG:compensated/a",
        },
        contextIn(snapshot, world.desk.blobs(world.tenant)),
      ),
    );
    expect(gone.image.exists).toBe(false);
    expect(ended.application.errors.length).toBeGreaterThan(0);
    await clean();
  });

  /** The commands over a file kind whose n-th act is preceded by something of somebody else's. */
  const interrupted = (n: number, before: () => void): ChangeSets => {
    const kind = compensatingKind(world.targets, "file");
    let acts = 0;
    const act: typeof kind.act = (step, context) => {
      acts += 1;
      if (acts === n) before();
      return kind.act(step, context);
    };
    return openChangeSets({ ...world.desk, targets: withKind(world.targets, { ...kind, act }) });
  };

  it("what cannot be compensated is named; it can be resumed once the target is back, or resolved with evidence", async () => {
    for (const way of ["resume", "roll_back", "resolve"] as const) {
      mkdirSync(join(world.root, way));
      writeFileSync(join(world.root, way, "a.txt"), "one\n");
      writeFileSync(join(world.root, way, "b.txt"), "one\n");
      const items = [
        { operation: "UPDATE" as const, target: file(`${way}/a.txt`), content: { text: "two\n" } },
        { operation: "UPDATE" as const, target: file(`${way}/b.txt`), content: { text: "two\n" } },
      ];
      const { changeSet } = await world.approved(world.builder, { title: way, items });
      const strangers = interrupted(2, () => {
        writeFileSync(join(world.root, way, "a.txt"), "somebody else\n");
        writeFileSync(join(world.root, way, "b.txt"), "somebody else\n");
      });
      const ended = must(
        await strangers.apply(await world.caller(world.builder), { id: changeSet.id }, world.request()),
      );
      expect(ended.changeSet).toMatchObject({ status: "PARTIALLY_APPLIED", statusReason: "diverged" });
      expect(ended.application.items.map((one) => one.status)).toEqual(["DIVERGED", "NOT_APPLIED"]);
      expect(read(`${way}/a.txt`)).toBe("somebody else\n");

      writeFileSync(join(world.root, way, "a.txt"), "two\n");
      writeFileSync(join(world.root, way, "b.txt"), "one\n");
      if (way === "resume") {
        expect(
          must(
            await world.changeSets.resume(
              await world.caller(world.people.alice.id),
              { id: changeSet.id },
              world.request(),
            ),
          ).changeSet.status,
        ).toBe("APPLIED");
        expect([read(`${way}/a.txt`), read(`${way}/b.txt`)]).toEqual(["two\n", "two\n"]);
      } else if (way === "roll_back") {
        expect(must(await rollBack(world.people.alice.id, changeSet.id)).changeSet.status).toBe("ROLLED_BACK");
        expect([read(`${way}/a.txt`), read(`${way}/b.txt`)]).toEqual(["one\n", "one\n"]);
      } else {
        const resolve = async (by: string) =>
          world.changeSets.resolve(
            await world.caller(by),
            { id: changeSet.id, as: "applied", evidence: "looked at both files" },
            world.request(),
          );
        expect(refusal(await resolve(world.builder)).code).toBe("agents_never_vote");
        expect(must(await resolve(world.people.bob.id)).changeSet.status).toBe("APPLIED");
      }
    }
    await clean();
  });

  it("is tried three times, then rejected", async () => {
    writeFileSync(join(world.root, "tries.txt"), "one\n");
    const { changeSet } = await world.approved(world.builder, {
      title: "t",
      items: [{ operation: "UPDATE", target: file("tries.txt"), content: { text: "two\n" } }],
    });
    for (const expected of ["APPROVED", "APPROVED", "REJECTED"]) {
      const strangers = interrupted(1, () => writeFileSync(join(world.root, "tries.txt"), "one!\n"));
      const ended = must(
        await strangers.apply(await world.caller(world.builder), { id: changeSet.id }, world.request()),
      );
      expect(read("tries.txt")).toBe("one!\n");
      writeFileSync(join(world.root, "tries.txt"), "one\n");
      expect(ended.changeSet.status).toBe(expected);
    }
    expect(refusal(await apply(world.builder, changeSet.id)).code).toBe("illegal_transition");
  });

  it("50 applies of one change-set at once: one is it, the others say why", async () => {
    const answer = await world.approved(world.builder, { title: "t", items: [create("race/apply", { a: 1 })] });
    const caller = await world.caller(world.builder);
    const all = await Promise.all(
      Array.from({ length: 50 }, () => world.changeSets.apply(caller, { id: answer.changeSet.id }, world.request())),
    );
    expect(all.filter((one) => !isRefusal(one))).toHaveLength(1);
    for (const one of all.filter(isRefusal))
      expect(["illegal_transition", "conflict", "application_in_flight"]).toContain(one.code);
  });

  it("50 equal votes at once: one vote", async () => {
    const { changeSet } = await world.propose(world.builder, { title: "t", items: [create("race/vote", { a: 1 })] });
    must(await submit(world.builder, changeSet.id));
    const all = await Promise.all(Array.from({ length: 50 }, () => world.vote(world.people.bob, changeSet.id)));
    expect(all.some((one) => !isRefusal(one))).toBe(true);
    const shown = must(await world.changeSets.get(await world.caller(world.builder), { id: changeSet.id }));
    expect(shown.votes).toHaveLength(1);
    await clean();
  });

  it("numbers never collide under concurrency", async () => {
    const caller = await world.caller(world.builder);
    const all = await Promise.all(
      Array.from({ length: 60 }, (_, index) =>
        world.propose(caller.principal.id, { title: "t", items: [create(`race/number/${index}`, { a: 1 })] }),
      ),
    );
    expect(new Set(all.map((one) => one.changeSet.number)).size).toBe(60);
  });
});

describe("lists", () => {
  it("find an item by each target it touches, and a conflict names the one that is shared", async () => {
    writeFileSync(join(world.root, "from.txt"), "moves\n");
    const move = await world.propose(world.builder, {
      title: "From here to there",
      items: [{ operation: "MOVE", target: file("from.txt"), to: { path: "moved/there.txt" } }],
    });
    const caller = await world.caller(world.builder);
    for (const target of ["from.txt", "moved/there.txt"])
      expect(
        must(await world.changeSets.list(caller, { sort: "created", order: "desc", limit: 50, target })).rows.map(
          ({ number }) => number,
        ),
      ).toEqual([move.changeSet.number]);
    must(await submit(world.builder, move.changeSet.id));
    const content = { text: "in the way\n" };
    const create = await world.propose(world.builder, {
      title: "There",
      items: [{ operation: "CREATE", target: file("moved/there.txt"), content }],
    });
    expect(create.changeSet.conflicts).toMatchObject([
      { number: move.changeSet.number, target: expect.stringContaining("moved/there.txt") as string },
    ]);
  });

  it("filter, search, sort and page", async () => {
    const caller = await world.caller(world.builder);
    await world.propose(world.builder, {
      title: "needle in hay",
      tags: ["rare"],
      items: [create("list/needle", { a: 1 })],
    });
    const list = async (input: object) =>
      must(await world.changeSets.list(caller, { sort: "created", order: "desc", limit: 50, ...input } as never)).rows;
    expect((await list({ search: "NEEDLE" })).map((row) => row.title)).toEqual(["needle in hay"]);
    expect((await list({ tag: "rare" })).map((row) => row.title)).toEqual(["needle in hay"]);
    expect((await list({ target: "list/needle" })).map((row) => row.title)).toEqual(["needle in hay"]);
    expect(await list({ author: "nobody" })).toEqual([]);
    const seen: string[] = [];
    let cursor: string | undefined;
    do {
      const page = must(
        await world.changeSets.list(caller, {
          sort: "risk",
          order: "asc",
          limit: 7,
          ...(cursor === undefined ? {} : { cursor }),
        }),
      );
      seen.push(...page.rows.map((row) => row.id));
      cursor = page.nextCursor ?? undefined;
    } while (cursor !== undefined);
    expect(new Set(seen).size).toBe(seen.length);
    expect(seen.length).toBe((await list({ limit: 200 })).length);
    expect(
      refusal(await world.changeSets.list(caller, { sort: "created", order: "desc", limit: 5, cursor: "nonsense" }))
        .code,
    ).toBe("invalid_request");
  });
});

describe("authority is in the ledger, not in a column", () => {
  const tamper = async (sql: string, values: unknown[]): Promise<void> => {
    const client = await world.storage.owner.connect();
    try {
      await client.query("begin");
      await client.query("select set_config('app.tenants', $1, true)", [`{${world.tenant}}`]);
      await client.query(sql, values);
      await client.query("commit");
    } finally {
      client.release();
    }
  };

  it("a status set to APPROVED by hand applies nothing", async () => {
    const { changeSet } = await world.propose(world.builder, { title: "t", items: [create("forged/a", { a: 1 })] });
    const submitted = must(await submit(world.builder, changeSet.id)).changeSet;
    expect(submitted.status).toBe("PENDING_APPROVAL");
    await tamper(
      "update countersign.change_sets set status = 'APPROVED', approved_until_ms = 9007199254740991 where tenant_id = $1 and id = $2",
      [world.tenant, changeSet.id],
    );
    const answer = refusal(await apply(world.builder, changeSet.id));
    expect(answer.code).toBe("ledger_mismatch");
    const report = await world.ledger.checkTenant(world.tenant);
    expect(report.findings.map((one) => one.class)).toContain("STATE_MISMATCH");
    await tamper(
      "update countersign.change_sets set status = 'PENDING_APPROVAL', approved_until_ms = null where tenant_id = $1 and id = $2",
      [world.tenant, changeSet.id],
    );
    await clean();
  });

  it("items swapped by hand after the approval apply nothing", async () => {
    const answer = await world.approved(world.builder, { title: "t", items: [create("forged/b", { a: 1 })] });
    await tamper(
      "update countersign.items set effects = jsonb_set(effects, '{0,after,document}', '{\"a\":666}') where tenant_id = $1 and change_set_id = $2",
      [world.tenant, answer.changeSet.id],
    );
    expect(refusal(await apply(world.builder, answer.changeSet.id)).code).toBe("ledger_mismatch");
  });
});
