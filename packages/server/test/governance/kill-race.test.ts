/**
 * The kill-switch against two processes: by the order of the ledger no item starts after the entry that engaged it,
 * whoever started it and whenever they looked.
 */
import { isRefusal } from "@countersign/contract";
import { afterAll, beforeAll, expect, test } from "vitest";
import { checkKill, loadKill } from "../../src/governance/index.js";
import type { KillMessage } from "../support/killProgram.js";
import type { DraftLedger } from "../support/ledger.js";
import { startProgram } from "../support/processes.js";
import {
  addAgent,
  addHuman,
  newKey,
  type Person,
  proofOf,
  startTestServer,
  type TestServer,
} from "../support/server.js";

let server: TestServer;
let ada: Person;
beforeAll(async () => {
  server = await startTestServer({ mode: "team" });
  ada = await server.firstPerson();
});
afterAll(() => server.close());

const program = new URL("../support/killProgram.ts", import.meta.url);
const code = (answer: { body: unknown }): string => (answer.body as { code: string }).code;

async function sequenceNumbers(action: string): Promise<number[]> {
  const all: number[] = [];
  for (let cursor: string | undefined; ;) {
    const page = await ada.call("listAudit", {
      action: action as never,
      order: "asc",
      limit: 200,
      ...(cursor === undefined ? {} : { cursor }),
    });
    all.push(...page.body.rows.map((row) => row.seq));
    if (page.body.nextCursor === null) return all;
    cursor = page.body.nextCursor;
  }
}

test("two processes start items; after the entry that engages it none of them starts another", async () => {
  const started = [
    startProgram<KillMessage>(program, [server.database.appUrl, server.tenant]),
    startProgram<KillMessage>(program, [server.database.appUrl, server.tenant]),
  ];
  // Both are at work when it is engaged.
  for (const one of started)
    for (let message = await one.next(); message.kind === "started" && message.count < 20; message = await one.next());
  const engaged = await ada.call("engageKillSwitch", { reason: "something is off" }, { idempotencyKey: newKey() });
  expect([engaged.status, engaged.body.killSwitch.status]).toEqual([200, "ENGAGED"]);
  const ends = await Promise.all(started.map((one) => one.ended));
  expect(ends.map((end) => [end.code, end.output])).toEqual([
    [0, ""],
    [0, ""],
  ]);

  const engagedAt = engaged.body.receipts[0]?.seq ?? -1;
  const items = await sequenceNumbers("item.started");
  expect(items.length).toBeGreaterThanOrEqual(40);
  expect(items.filter((seq) => seq > engagedAt)).toEqual([]);
});

test("who looked before it was engaged and commits after it is stopped by the guard", async () => {
  const bob = await addHuman(ada, "bob", ["admin"]);
  await release(ada);
  await release(bob);
  const looked = signal();
  const engagedNow = signal();
  let attempts = 0;
  const ledger: DraftLedger = server.ledger;
  const late = ledger.transact(
    server.tenant,
    async (snapshot) => {
      const kill = await loadKill(snapshot);
      if (++attempts === 1) {
        looked.give();
        await engagedNow.given;
      }
      return kill;
    },
    (kill, { nowMs, uuid }) =>
      checkKill(kill.rows, nowMs) ?? {
        kind: "change",
        change: {
          guards: [{ kind: "epoch", name: "kill", value: kill.epoch }],
          entries: [
            {
              actor: { type: "system", id: server.tenant, humans: [] },
              action: "item.started",
              subject: { type: "change_set", id: uuid() },
            },
          ],
        },
        result: undefined,
      },
  );
  await looked.given;
  expect((await ada.call("engageKillSwitch", { reason: "again" })).status).toBe(200);
  engagedNow.give();
  const outcome = await late;
  expect(isRefusal(outcome) && outcome.code).toBe("kill_switch_engaged");
  expect(attempts).toBe(2);
});

test("it is released by two people, each with their key, and by nobody twice", async () => {
  const rows = async () => (await ada.call("listKillSwitches", {})).body.rows;
  expect(await rows()).toMatchObject([
    { status: "ENGAGED", releaseVotesRequired: 2, releaseVotes: 0, reason: "again" },
  ]);
  expect(code(await ada.call("releaseKillSwitch", {}, { proof: null }))).toBe("precondition_required");
  const first = await release(ada);
  expect(first.body.killSwitch).toMatchObject({ status: "ENGAGED", releaseVotes: 1 });
  expect(code(await release(ada))).toBe("release_needs_another");
  const carol = await addHuman(ada, "carol", ["on_call"]);
  const second = await release(carol);
  expect(second.body.killSwitch).toMatchObject({ status: "RELEASED", releaseVotes: 2 });
  expect(await rows()).toEqual([]);
  expect(code(await release(carol))).toBe("kill_not_engaged");
});

test("an agent's is a hold, which a person confirms; ten people at once engage one", async () => {
  const agent = await addAgent(ada, "watcher");
  const held = await agent.call("engageKillSwitch", { reason: "I see errors" });
  expect(held.body.killSwitch).toMatchObject({ status: "HELD", engagedBy: { name: "watcher" } });
  expect(code(await agent.call("releaseKillSwitch", {}))).toBe("forbidden");
  const confirmed = await ada.call("engageKillSwitch", { reason: "confirmed" });
  expect(confirmed.body.killSwitch).toMatchObject({ id: held.body.killSwitch.id, status: "ENGAGED", holdUntil: null });
  await release(ada);
  await release(await addHuman(ada, "dora", ["admin"]));

  const answers = await Promise.all(
    Array.from({ length: 10 }, (_, n) => ada.call("engageKillSwitch", { reason: `at once ${n}` })),
  );
  expect(answers.filter((answer) => answer.status === 200)).toHaveLength(1);
  expect(new Set(answers.filter((answer) => answer.status !== 200).map(code))).toEqual(new Set(["already_exists"]));
  expect((await ada.call("listKillSwitches", {})).body.rows).toHaveLength(1);
});

test("the ledger accounts for everything", async () => {
  expect((await server.verification.checkTenant(server.tenant)).findings).toEqual([]);
});

function release(person: Person) {
  return person.call("releaseKillSwitch", {}, { proof: proofOf(person, "releaseKillSwitch", {}) });
}

function signal() {
  let give = (): void => undefined;
  const given = new Promise<void>((resolve) => (give = resolve));
  return { given, give: () => give() };
}
