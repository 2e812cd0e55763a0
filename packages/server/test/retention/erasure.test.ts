/** Erasing a subject: what is gone, what stays, what verifies; steps cut apart; done around us. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it, test } from "vitest";
import { type ChangeSetAnswer, isRefusal, type Refusal } from "@countersign/contract";
import type { Finding } from "@countersign/proof";
import type pg from "pg";
import { openChangeSets } from "../../src/change-sets/index.js";
import { bodyOpener, SubjectKeys } from "../../src/ledger/subjectKeys.js";
import { moveEpoch } from "../../src/ledger/index.js";
import { verifyTenant, type TenantReport } from "../../src/verification/index.js";
import { hold, holds, release, type RetentionDesk } from "../../src/retention/commands.js";
import { erase, type ErasureDesk, finishAll, previewErasure } from "../../src/retention/erase.js";
import { systemRandom } from "../../src/platform/index.js";
import { openDesk } from "../support/desk.js";
import { committed, testSealing } from "../support/ledger.js";
import { createDatabase, type TestDatabase, withClient } from "../support/postgres.js";
import { startProgram } from "../support/processes.js";
import { retentionDesk } from "../support/retention.js";
import type { EraseMessage } from "../support/eraseProgram.js";
import { createWorld, file, must, resource, type World } from "../support/world.js";

let database: TestDatabase;
let world: World;
let desk: RetentionDesk;
/** What nobody may find any more. */
const secret = "Wolpertinger-4711";

beforeAll(async () => {
  database = await createDatabase();
  world = await createWorld({ storage: database.storage });
  desk = retentionDesk(world.desk, world.changeSets, world.dataDirectory);
});
afterAll(() => world.close());

const refusal = (answer: unknown): Refusal => {
  if (!isRefusal(answer)) throw new Error("it was not refused");
  return answer;
};
const alice = () => world.caller(world.people.alice.id);
const eraseIt = async (subject: string, by = alice(), on: ErasureDesk = desk) =>
  erase(on, await by, { subject, reason: `asked for by ${secret}`, policy: "gdpr-art-17" }, world.ledger.transact);

let named = 0;
/** A change-set that was applied: a file and a resource with the secret in every text. */
async function applied(more: { file?: boolean } = {}): Promise<ChangeSetAnswer> {
  const name = `r${(named += 1)}`;
  const items = [
    { operation: "CREATE" as const, target: resource(`${secret}-${name}`), after: { says: secret } as never },
    ...(more.file === false
      ? []
      : [
          {
            operation: "CREATE" as const,
            target: file(`${secret}-${name}.txt`),
            content: { text: `${secret} ${name}\n` },
          },
        ]),
  ];
  const { changeSet } = await world.approved(world.builder, {
    title: `about ${secret}`,
    description: `${secret} and more`,
    tags: [secret],
    metadata: { of: secret },
    items,
  });
  return must(await world.changeSets.apply(await alice(), { id: changeSet.id }, world.request()));
}

const query = async <T extends pg.QueryResultRow>(text: string, values: unknown[] = []): Promise<T[]> =>
  withClient(database.superuser, async (client) => (await client.query<T>(text, values)).rows);

/** Tables of the tenant that hold the secret, in clear. */
async function tablesHolding(text: string): Promise<string[]> {
  const tables = await query<{ name: string }>(
    "select relname::text as name from pg_class where relnamespace = 'countersign'::regnamespace and relkind = 'r' order by 1",
  );
  const found: string[] = [];
  for (const { name } of tables) {
    if (name === "migrations") continue;
    const [row] = await query<{ count: string }>(
      `select count(*) as count from countersign.${name} as t where t.tenant_id = $1 and position($2 in to_jsonb(t)::text) > 0`,
      [world.tenant, text],
    );
    if (Number(row?.count) > 0) found.push(name);
  }
  return found;
}

async function verified(): Promise<TenantReport> {
  const report = await world.ledger.checkTenant(world.tenant);
  expect(report.findings).toEqual([]);
  expect(report.integrity).toBe("ok");
  return report;
}

describe("a change-set", () => {
  it("loses every text and keeps every proof", async () => {
    writeFileSync(join(world.root, "before.txt"), `before ${secret}\n`);
    const { changeSet } = await world.approved(world.builder, {
      title: `about ${secret}`,
      description: secret,
      items: [
        { operation: "UPDATE", target: file("before.txt"), content: { text: `after ${secret}\n` } },
        { operation: "CREATE", target: resource("kept"), after: { says: secret } as never },
      ],
    });
    must(await world.changeSets.apply(await alice(), { id: changeSet.id }, world.request()));
    // The resource has a later state, so the one with the secret is an earlier revision.
    const { changeSet: later } = await world.approved(world.builder, {
      title: "later",
      items: [{ operation: "UPDATE", target: resource("kept"), after: { says: "nothing" } as never }],
    });
    must(await world.changeSets.apply(await alice(), { id: later.id }, world.request()));
    const before = await verified();

    const foreseen = must(await previewErasure(desk, await alice(), `change_set:${changeSet.number}`));
    expect(foreseen.alreadyBy).toBeNull();
    const { report, outcome } = must(await eraseIt(`change_set:${changeSet.number}`));
    expect(report.finished).toBe(true);
    expect(report.erased).toEqual(foreseen.erased);
    expect(Object.fromEntries(report.erased.map(({ what, count }) => [what, count]))).toMatchObject({
      "items with their states and diffs": 2,
      "earlier revisions of resources": 1,
      backups: 1,
    });
    expect(report.keys).toBeGreaterThan(0);
    expect(report.notReached).toContain(
      "the targets themselves: files in workspaces, and git with their history; JSON resources as they are now",
    );
    expect(outcome.kind).toBe("committed");

    const after = await verified();
    expect(after.entries).toBeGreaterThan(before.entries);
    // The later change-set names the state before, which is what it would bring back; erasing that one as well leaves nothing.
    expect(must(await eraseIt(`change_set:${later.id}`)).report.finished).toBe(true);
    expect(await tablesHolding(secret)).toEqual([]);
    expect(readFileSync(join(world.root, "before.txt"), "utf8")).toBe(`after ${secret}\n`);
    await verified();
  });

  it("says so, and is not rolled back, revised or archived", async () => {
    const { changeSet } = await applied();
    must(await eraseIt(`change_set:${changeSet.number}`));
    const view = must(await world.changeSets.get(await alice(), { id: changeSet.id }));
    expect(view).toMatchObject({ number: changeSet.number, status: "APPLIED", title: "erased", legalCommands: [] });
    expect(view.erasedAt).not.toBeNull();
    expect(JSON.stringify(view)).not.toContain(secret);
    const rolled = await world.changeSets.rollBack(
      await alice(),
      { id: changeSet.id, cascade: false },
      world.request(),
    );
    expect(refusal(rolled)).toMatchObject({ code: "erased" });
    expect(refusal(rolled).message).toMatch(/were erased at .* cannot be rolled back/);
    expect(refusal(await world.changeSets.archive(await alice(), { id: changeSet.id }, world.request())).code).toBe(
      "erased",
    );
  });

  it("in the audit log: what happened is there, what was said is not", async () => {
    const { changeSet } = await applied({ file: false });
    must(await eraseIt(`change_set:${changeSet.number}`));
    const { entries } = await world.ledger.auditLog(world.tenant, {
      subjectId: changeSet.id,
      limit: 200,
      order: "oldest",
    });
    const states = entries.map(({ action, bodyState }) => [action, bodyState]);
    expect(states).toContainEqual(["change_set.created", "erased"]);
    expect(states.at(-1)).toEqual(["subject.erased", "present"]);
    expect(entries.at(-1)?.body).toEqual({ reason: `asked for by ${secret}` });
    expect(entries.at(-1)?.data).toMatchObject({
      subjectType: "change_set",
      subject: changeSet.id,
      policy: "gdpr-art-17",
      seqs: entries.filter(({ bodyState }) => bodyState === "erased").map(({ seq }) => seq),
    });
  });

  it("erased again, nothing is left to do; by two processes at once, once", async () => {
    const { changeSet } = await applied({ file: false });
    const other = await openDesk(database.storage, world.dataDirectory);
    const otherDesk = retentionDesk(other, openChangeSets(other), world.dataDirectory);
    const asked = { subject: `change_set:${changeSet.id}`, reason: "twice", policy: "gdpr" };
    const both = await Promise.all([
      erase(desk, await alice(), asked, world.ledger.transact),
      erase(otherDesk, await alice(), asked, other.ledger.transact),
    ]);
    expect(both.map((one) => must(one).outcome.kind).sort()).toEqual(["committed", "nothing"]);
    expect(both.map((one) => must(one).report.alreadyBy !== null).sort()).toEqual([false, true]);
    expect(must(await eraseIt(`change_set:${changeSet.id}`)).outcome.kind).toBe("nothing");
    await other.ledger.close();
    await verified();
  });

  it.each([
    [
      "that is a draft",
      async () =>
        (
          await world.propose(world.builder, {
            title: "draft",
            items: [{ operation: "CREATE", target: resource("d"), after: {} as never }],
          })
        ).changeSet.number,
    ],
    [
      "that is approved",
      async () =>
        (
          await world.approved(world.builder, {
            title: "waits",
            items: [{ operation: "CREATE", target: resource("w"), after: {} as never }],
          })
        ).changeSet.number,
    ],
  ])("%s stays", async (_, make) => {
    expect(refusal(await eraseIt(`change_set:${await make()}`)).code).toBe("illegal_transition");
  });

  it.each([
    "change_set:CS-2026-1120-999",
    "change_set:' or 1=1 --",
    `change_set:${"9".repeat(100)}`,
    "principal:nobody",
    "principal:__proto__",
    "change_set:00000000-0000-7000-8000-000000000000",
  ])("%s is not there", async (subject) => {
    expect(refusal(await eraseIt(subject)).code).toBe("not_found");
  });

  it("is not erased on the word of a row that was changed by hand", async () => {
    const { changeSet } = await applied({ file: false });
    await query("update countersign.change_sets set title = 'another' where id = $1", [changeSet.id]);
    expect(refusal(await eraseIt(`change_set:${changeSet.id}`)).code).toBe("ledger_mismatch");
    await query("update countersign.change_sets set title = $2 where id = $1", [changeSet.id, changeSet.title]);
    await verified();
  });
});

describe("a principal", () => {
  it("who is active stays; suspended, they lose their name and keep their signatures", async () => {
    const { carol } = world.people;
    expect(refusal(await eraseIt("principal:carol")).code).toBe("illegal_transition");
    await committed(
      world.ledger.transact(
        world.tenant,
        (snapshot) =>
          snapshot.query<{ row: Record<string, never>; version: number; epoch: number }>({
            name: "",
            text: "select to_jsonb(p) - 'row_salt' - 'tenant_id' - 'version' as row, version, (select version from countersign.epochs where tenant_id = $1 and id = 'members') as epoch from countersign.principals as p where tenant_id = $1 and id = $2",
            values: [world.tenant, carol.id],
          }),
        ([found]) => ({
          kind: "change",
          change: {
            guards: [],
            entries: [
              {
                actor: { type: "human", id: world.people.alice.id, humans: [world.people.alice.id] },
                action: "principal.suspended",
                subject: { type: "principal", id: carol.id },
                data: { from: "ACTIVE", to: "SUSPENDED" },
                body: { name: "carol" },
                writes: [
                  {
                    verb: "update",
                    table: "principals",
                    row: { ...found?.row, status: "SUSPENDED" },
                    from: found?.version ?? 0,
                  },
                  moveEpoch("members", found?.epoch ?? 0),
                ],
              },
            ],
          },
          result: undefined,
        }),
      ),
    );
    const { report } = must(await eraseIt("principal:carol"));
    expect(report.erased).toContainEqual({ module: "tenancy", what: "names", count: 1 });
    const [row] = await query<{ name: string; status: string }>(
      "select name, status from countersign.principals where id = $1",
      [carol.id],
    );
    expect(row).toEqual({ name: `erased-${carol.id.slice(-12)}`, status: "SUSPENDED" });
    // Her votes verify still: checkTenant looks at every signature.
    expect((await verified()).votes.checked).toBeGreaterThan(0);
    expect(must(await eraseIt(`principal:${carol.id}`)).report.alreadyBy).not.toBeNull();
  });

  it("nobody erases themselves", async () => {
    expect(refusal(await eraseIt("principal:alice")).message).toMatch(/nobody can erase themselves/);
  });
});

describe("legal holds", () => {
  it("keep a subject, and the tenant; released, they do not", async () => {
    const { changeSet } = await applied({ file: false });
    const placed = must(
      await hold(
        desk,
        await alice(),
        { subject: `change_set:${changeSet.number}`, reason: "a lawsuit" },
        world.ledger.transact,
      ),
    ).result;
    expect(placed.subject).toEqual({ type: "change_set", id: changeSet.id, label: changeSet.number });
    expect(refusal(await eraseIt(`change_set:${changeSet.number}`))).toMatchObject({
      code: "legal_hold",
      details: { hold: placed.id },
    });
    const whole = must(
      await hold(desk, await alice(), { subject: null, reason: "all of it" }, world.ledger.transact),
    ).result;
    const asked = { id: placed.id, reason: "settled" };
    expect(must(await release(desk, await alice(), asked, world.ledger.transact)).result.status).toBe("RELEASED");
    expect(must(await release(desk, await alice(), asked, world.ledger.transact)).kind).toBe("nothing");
    expect(refusal(await eraseIt(`change_set:${changeSet.number}`)).details).toMatchObject({ hold: whole.id });
    must(await release(desk, await alice(), { id: whole.id, reason: "settled" }, world.ledger.transact));
    expect(await holds(desk, await alice(), false)).toEqual([]);
    expect((await holds(desk, await alice(), true)).map(({ status }) => status)).toEqual(["RELEASED", "RELEASED"]);
    must(await eraseIt(`change_set:${changeSet.number}`));
    expect(
      refusal(await release(desk, await alice(), { id: changeSet.id, reason: "x" }, world.ledger.transact)).code,
    ).toBe("not_found");
    await verified();
  });

  it("a hold that is placed while an erasure is decided wins", async () => {
    const { changeSet } = await applied({ file: false });
    let placed = false;
    const racing: ErasureDesk = {
      ...desk,
      erasers: [
        ...desk.erasers,
        {
          module: "race",
          erase: async () => {
            if (!placed) {
              placed = true;
              must(
                await hold(
                  desk,
                  await alice(),
                  { subject: `change_set:${changeSet.id}`, reason: "just now" },
                  world.ledger.transact,
                ),
              );
            }
            return { writes: [], erased: [] };
          },
        },
      ],
    };
    expect(refusal(await eraseIt(`change_set:${changeSet.id}`, alice(), racing)).code).toBe("legal_hold");
    const [row] = await query<{ keys: string }>(
      "select count(*) as keys from countersign.subject_keys where subject_id = $1",
      [changeSet.id],
    );
    expect(Number(row?.keys)).toBeGreaterThan(0);
    for (const { id } of await holds(desk, await alice(), false))
      must(await release(desk, await alice(), { id, reason: "done" }, world.ledger.transact));
  });
});

describe("what is written while it is erased", () => {
  it("an entry that came after the erasure was decided makes it decide again: no body is lost unnamed", async () => {
    const { changeSet } = await applied({ file: false });
    let written = 0;
    const racing: ErasureDesk = {
      ...desk,
      erasers: [
        ...desk.erasers,
        {
          module: "race",
          erase: async () => {
            if ((written += 1) <= 2) await note(world.ledger, changeSet.id, `late ${written}`);
            return { writes: [], erased: [] };
          },
        },
      ],
    };
    const { outcome } = must(await eraseIt(`change_set:${changeSet.id}`, alice(), racing));
    expect(outcome.kind).toBe("committed");
    expect(written).toBe(3);
    await verified();
  });

  it("a process that still remembers an erased key makes another", async () => {
    const { changeSet } = await applied({ file: false });
    const other = await openDesk(database.storage, world.dataDirectory);
    await note(other.ledger, changeSet.id, "the other process knows a key now");
    must(await eraseIt(`change_set:${changeSet.id}`));
    await note(other.ledger, changeSet.id, "written after");
    await note(world.ledger, changeSet.id, "written after");
    await other.ledger.close();
    const { entries } = await world.ledger.auditLog(world.tenant, { subjectId: changeSet.id, limit: 200 });
    expect(entries.slice(0, 3).map(({ body }) => body)).toMatchObject([
      { note: "written after" },
      { note: "written after" },
      { reason: expect.any(String) as string },
    ]);
    await verified();
    // What was said since is erased by asking again.
    expect(must(await eraseIt(`change_set:${changeSet.id}`)).report.erased).toEqual([
      { module: "ledger", what: "texts of the ledger", count: 2 },
    ]);
    await verified();
  });

  it("many writers, and erasures between them: everything opens or is named", async () => {
    const { changeSet } = await applied({ file: false });
    const writers = Array.from({ length: 8 }, async (_, lane) => {
      for (let i = 0; i < 6; i++) await note(world.ledger, changeSet.id, `${lane} ${i}`);
    });
    const erasing = (async () => {
      for (let i = 0; i < 4; i++) {
        const done = await eraseIt(`change_set:${changeSet.id}`);
        if (isRefusal(done)) expect(done.code).toBe("conflict");
      }
    })();
    await Promise.all([...writers, erasing]);
    await verified();
  });
});

async function note(ledger: World["ledger"], id: string, text: string): Promise<void> {
  await committed(
    ledger.transact(
      world.tenant,
      () => Promise.resolve(undefined),
      () => ({
        kind: "change",
        change: {
          guards: [],
          entries: [
            {
              actor: { type: "human", id: world.people.alice.id, humans: [] },
              action: "thing.noted",
              subject: { type: "change_set", id },
              body: { note: text },
            },
          ],
        },
        result: undefined,
      }),
    ),
  );
}

test("killed between the commit and the removal, the next start removes", async () => {
  const { changeSet } = await applied();
  const program = startProgram<EraseMessage>(new URL("../support/eraseProgram.ts", import.meta.url), [
    database.appUrl,
    world.tenant,
    world.people.alice.id,
    `change_set:${changeSet.id}`,
    world.dataDirectory,
  ]);
  expect((await program.next()).kind).toBe("committed");
  program.kill("SIGKILL");
  await program.ended;
  const bodies = async (): Promise<number> => {
    const [row] = await query<{ count: string }>(
      "select count(*) as count from countersign.bodies as b join countersign.entries as e using (tenant_id, entry_id) where e.subject_id = $1 and e.action <> 'subject.erased'",
      [changeSet.id],
    );
    return Number(row?.count);
  };
  expect(await bodies()).toBeGreaterThan(0);
  // The keys went with the commit: nothing opens any more, and it verifies as erased.
  await verified();
  const { entries } = await world.ledger.auditLog(world.tenant, { subjectId: changeSet.id, limit: 200 });
  expect(entries.filter(({ bodyState }) => bodyState === "present").map(({ action }) => action)).toEqual([
    "subject.erased",
  ]);
  expect(await finishAll(desk, world.tenant)).toBe(true);
  expect(await bodies()).toBe(0);
  expect(await tablesHolding(secret)).not.toContain("idempotency_keys");
  await verified();
});

describe("done around us", () => {
  /** As superuser, on a copy. */
  async function afterwards(tamper: (client: pg.Client) => Promise<void>): Promise<TenantReport> {
    const name = `${database.name}_copy`;
    const superuser = { ...database.superuser };
    await withClient(to(superuser, "postgres"), (admin) =>
      admin.query(`create database ${name} template ${database.name}`),
    );
    try {
      await withClient(to(superuser, name), async (client) => {
        await client.query("set session_replication_role = replica");
        await tamper(client);
      });
      return await verifyTenant(
        { login: to(database.app, name), openBody: bodyOpener(new SubjectKeys(testSealing, systemRandom)) },
        world.tenant,
        { bodies: true },
      );
    } finally {
      await withClient(to(superuser, "postgres"), (admin) => admin.query(`drop database ${name} with (force)`));
    }
  }
  const to = (login: pg.ClientConfig, name: string): pg.ClientConfig => {
    if (login.connectionString === undefined) return { ...login, database: name };
    const url = new URL(login.connectionString);
    url.pathname = `/${name}`;
    return { ...login, connectionString: url.href };
  };
  const classes = (report: TenantReport): Finding["class"][] => [...new Set(report.findings.map((one) => one.class))];

  it.each<[string, (client: pg.Client, id: string) => Promise<unknown>, Finding["class"][]]>([
    [
      "bodies deleted",
      (client, id) =>
        client.query(
          "delete from countersign.bodies where entry_id in (select entry_id from countersign.entries where subject_id = $1)",
          [id],
        ),
      ["ERASED_WITHOUT_ENTRY"],
    ],
    [
      "the key deleted",
      (client, id) => client.query("delete from countersign.subject_keys where subject_id = $1", [id]),
      ["ERASED_WITHOUT_ENTRY"],
    ],
    [
      "a content deleted",
      (client, id) =>
        client.query(
          "update countersign.entries set content = null, action = null, actor_id = null, subject_id = null where action = 'change_set.created' and subject_id = $1",
          [id],
        ),
      ["ERASED_WITHOUT_ENTRY"],
    ],
  ])("%s", async (_, tamper, found) => {
    await world.changeSets.idle();
    const { changeSet } = await applied({ file: false });
    // Databases are copied only while nobody is connected to them: the door and the pools are.
    await endConnections();
    const report = await afterwards(async (client) => void (await tamper(client, changeSet.id)));
    expect(report.integrity).toBe("tampered");
    expect(classes(report)).toEqual(expect.arrayContaining(found));
  });

  async function endConnections(): Promise<void> {
    await withClient(to({ ...database.superuser }, "postgres"), (admin) =>
      admin.query("select pg_terminate_backend(pid, 5000) from pg_stat_activity where datname = $1", [database.name]),
    );
  }

  test("the server's role cannot delete a key or a body, nor have a function do so that no entry speaks for", async () => {
    const { changeSet } = await applied({ file: false });
    const [entry] = await query<{ entry_id: string }>(
      "select entry_id from countersign.entries where subject_id = $1 and action = 'change_set.created'",
      [changeSet.id],
    );
    const asServer = (text: string, values: unknown[] = []): Promise<unknown> =>
      withClient(database.app, async (client) => {
        await client.query("begin");
        await client.query("select set_config('app.tenants', $1, true)", [`{${world.tenant}}`]);
        const found = await client.query(text, values);
        await client.query("commit");
        return found.rows[0] as unknown;
      });
    await expect(asServer("delete from countersign.bodies")).rejects.toMatchObject({ code: "42501" });
    await expect(asServer("delete from countersign.subject_keys")).rejects.toMatchObject({ code: "42501" });
    for (const name of ["erase_subject_keys", "prune_entries"])
      await expect(
        asServer(`select countersign.${name}($1, $2)`, [world.tenant, entry?.entry_id]),
      ).rejects.toMatchObject({
        code: "CS006",
      });
    expect(await asServer("select countersign.finish_erasures($1) as gone", [world.tenant])).toEqual({ gone: "0" });
    await verified();
  });

  test("an entry that names too little does not get the keys", async () => {
    const { changeSet } = await applied({ file: false });
    const forged = world.ledger.transact(
      world.tenant,
      () => Promise.resolve(undefined),
      () => ({
        kind: "change",
        change: {
          guards: [],
          entries: [
            {
              actor: { type: "human", id: world.people.alice.id, humans: [] },
              action: "subject.erased",
              subject: { type: "change_set", id: changeSet.id },
              data: { subjectType: "change_set", subject: changeSet.id, policy: "x", seqs: [] },
              erasesKeys: true,
            },
          ],
        },
        result: undefined,
      }),
    );
    await expect(forged).rejects.toThrow(/CS006/);
    await verified();
  });
});
