/**
 * A tenant with people, agents and configuration over a test database, and the change-set commands on it: everything below
 * the edges, made of the real parts.
 */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import {
  asTenantId,
  type ChangeSetAnswer,
  changeSetInput,
  type ChangeSetInputLoose,
  isRefusal,
  type JsonObject,
  type Refusal,
  type TenantId,
  type TenantMode,
  type VoteDecision,
} from "@countersign/contract";
import { generateSigningKeyPair, signMessage, voteSigningBytes } from "@countersign/proof";
import { openChangeSets, type ChangeSets, type Desk, type RequestContext } from "../../src/change-sets/index.js";
import { moveEpoch, type Actor, type EntryDraft } from "../../src/ledger/index.js";
import { type Clock, newId, systemClock } from "../../src/platform/index.js";
import type { Storage } from "../../src/storage/index.js";
import { registerWorkspace, type Targets } from "../../src/targets/index.js";
import type { Caller } from "../../src/tenancy/index.js";
import { callerOf, openDesk } from "./desk.js";
import { createDatabase, temporaryDirectory } from "./postgres.js";
import { committed, type TestLedger } from "./ledger.js";

export interface Human {
  readonly id: string;
  readonly name: string;
  readonly keyId: string;
  readonly privateKey: string;
}

export interface World {
  readonly tenant: TenantId;
  readonly dataDirectory: string;
  readonly storage: Storage;
  readonly ledger: TestLedger;
  readonly targets: Targets;
  readonly changeSets: ChangeSets;
  readonly desk: Desk;
  /** Root of the workspace `shop`. */
  readonly root: string;
  readonly people: { readonly alice: Human; readonly bob: Human; readonly carol: Human };
  /** The agent `builder`; alice is answerable for it. */
  readonly builder: string;
  caller(id: string): Promise<Caller>;
  request(): RequestContext;
  propose(by: string, input: ChangeSetInputLoose): Promise<ChangeSetAnswer>;
  vote(by: Human, ref: string, decision?: VoteDecision, reason?: string): Promise<ChangeSetAnswer | Refusal>;
  /** Proposed, submitted and approved by as many as it takes. */
  approved(by: string, input: ChangeSetInputLoose): Promise<ChangeSetAnswer>;
  configure(name: string, document: JsonObject): Promise<void>;
  close(): Promise<void>;
}

export interface WorldOptions {
  readonly mode?: TenantMode;
  /** Wraps the parts before the commands are opened on them; tests of crashes count and stop there. */
  readonly wrap?: (desk: Desk) => Desk;
  readonly storage?: Storage;
  readonly clock?: Clock;
}

const system: Actor = { type: "system", id: "00000000-0000-7000-8000-000000000000", humans: [] };

export async function createWorld(options: WorldOptions = {}): Promise<World> {
  const storage = options.storage ?? (await createDatabase()).storage;
  const tenant = asTenantId(newId());
  const dataDirectory = temporaryDirectory();
  const clock = options.clock ?? systemClock;
  const plain = await openDesk(storage, dataDirectory, clock);
  const { ledger } = plain;
  const desk = options.wrap?.(plain) ?? plain;
  const changeSets = openChangeSets(desk);

  const write = async (drafts: readonly EntryDraft[]): Promise<void> => {
    await committed(
      ledger.transact(
        tenant,
        () => Promise.resolve(0),
        () => ({ kind: "change", change: { guards: [], entries: drafts }, result: undefined }),
      ),
    );
  };
  const nowMs = clock.nowMs();
  await write([
    {
      actor: system,
      action: "tenant.created",
      subject: { type: "tenant", id: tenant },
      writes: [
        {
          verb: "insert",
          table: "tenants",
          row: {
            id: tenant,
            kind: "customer",
            name: "test",
            mode: options.mode ?? "team",
            status: "ACTIVE",
            created_at_ms: nowMs,
          },
        },
      ],
    },
  ]);
  const human = async (name: string, roles: readonly string[], groups: readonly string[]): Promise<Human> => {
    const pair = generateSigningKeyPair();
    const one = { id: newId(), name, keyId: newId(), privateKey: pair.privateKey };
    const binding = (kind: "role" | "group", bound: string) => ({
      verb: "insert" as const,
      table: "role_bindings" as const,
      row: { id: newId(), principal_id: one.id, kind, name: bound, status: "ACTIVE", granted_at_ms: nowMs },
    });
    await write([
      {
        actor: system,
        action: "principal.created",
        subject: { type: "principal", id: one.id },
        writes: [
          {
            verb: "insert",
            table: "principals",
            row: { id: one.id, kind: "human", name, status: "ACTIVE", created_at_ms: nowMs },
          },
          ...roles.map((role) => binding("role", role)),
          ...groups.map((group) => binding("group", group)),
        ],
      },
      {
        actor: { type: "human", id: one.id, humans: [one.id] },
        action: "principal.key_enrolled",
        subject: { type: "principal", id: one.id },
        data: { key: one.keyId, algorithm: "Ed25519", publicKey: pair.publicKey },
        writes: [
          {
            verb: "insert",
            table: "signing_keys",
            row: {
              id: one.keyId,
              principal_id: one.id,
              algorithm: "Ed25519",
              public_key: pair.publicKey,
              label: "test",
              status: "ACTIVE",
              enrolled_at_ms: nowMs,
            },
          },
        ],
      },
    ]);
    return one;
  };
  const everyGroup = ["reviewers", "ui", "design", "backend", "integration"];
  const people = {
    alice: await human("alice", ["admin"], everyGroup),
    bob: await human("bob", ["member"], everyGroup),
    carol: await human("carol", ["member"], everyGroup),
  };
  const builder = newId();
  await write([
    {
      actor: { type: "human", id: people.alice.id, humans: [people.alice.id] },
      action: "principal.created",
      subject: { type: "principal", id: builder },
      writes: [
        {
          verb: "insert",
          table: "principals",
          row: {
            id: builder,
            kind: "agent",
            name: "builder",
            agent_type: "GENERAL",
            status: "ACTIVE",
            answerable: people.alice.id,
            created_at_ms: nowMs,
          },
        },
        {
          verb: "insert",
          table: "role_bindings",
          row: {
            id: newId(),
            principal_id: builder,
            kind: "role",
            name: "agent",
            status: "ACTIVE",
            granted_at_ms: nowMs,
          },
        },
        moveEpoch("members", 0),
      ],
    },
  ]);

  const root = join(temporaryDirectory(), "shop");
  mkdirSync(root);
  const registered = await ledger.transact(
    tenant,
    (snapshot) =>
      registerWorkspace({ name: "shop", root, environment: "development" }, { actor: system, snapshot, dataDirectory }),
    (change, context) => {
      if (typeof change !== "function") throw new Error(JSON.stringify(change));
      const { guards, entries } = change(context);
      return { kind: "change", change: { guards, entries }, result: undefined };
    },
  );
  if (isRefusal(registered)) throw new Error(registered.message);

  const configure = async (name: string, document: JsonObject): Promise<void> => {
    const ref = {
      kind: "resource" as const,
      type: "SYSTEM_CONFIG",
      id: `system.config/${name}`,
      environment: "system",
      key: `resource:system:SYSTEM_CONFIG:system.config/${name}`,
    };
    const outcome = await ledger.transact(
      tenant,
      async (snapshot) => {
        const context = { tenant, snapshot, blobs: plain.blobs(tenant) };
        const before = await plain.targets.resource.read(ref, context);
        const view = {
          state: (target: typeof ref | Parameters<typeof plain.targets.resource.read>[0]) =>
            plain.targets.resource.read(target, context),
        };
        const input = {
          operation: before.image.exists ? ("UPDATE" as const) : ("CREATE" as const),
          target: { kind: "resource" as const, type: "SYSTEM_CONFIG", id: ref.id, environment: "system" },
          after: document,
        };
        const checked = await plain.targets.resource.check(input, "", context);
        if (!("input" in checked)) throw new Error(JSON.stringify(checked));
        const planned = await plain.targets.resource.plan(checked, "", view, context);
        if (!("effects" in planned)) throw new Error(JSON.stringify(planned));
        return plain.targets.resource.change(planned.effects, { actor: system, changeSetId: newId() }, context);
      },
      (change, context) => {
        if (typeof change !== "function") throw new Error(JSON.stringify(change));
        return { kind: "change", change: change(context), result: undefined };
      },
    );
    if (isRefusal(outcome)) throw new Error(outcome.message);
  };
  await configure("grants", {
    grants: [
      {
        id: "agents",
        principals: ["agents"],
        operations: ["*"],
        targets: ["file:shop:**", "resource:development:*:**"],
      },
    ],
  });
  await configure("routes", { categories: {}, otherwise: [{ name: "review", groups: ["reviewers"], quorum: 1 }] });

  const caller = (id: string): Promise<Caller> => callerOf(ledger, tenant, id);
  const request = (): RequestContext => ({ transact: ledger.transact, nowMs: clock.nowMs(), requestId: newId() });

  const world: World = {
    tenant,
    dataDirectory,
    storage,
    ledger,
    targets: plain.targets,
    changeSets,
    desk,
    root,
    people,
    builder,
    caller,
    request,
    configure,
    propose: async (by, input) =>
      must(await changeSets.create(await caller(by), changeSetInput.parse(input), request())),
    vote: async (by, ref, decision = "APPROVED", reason) => {
      const view = must(await changeSets.get(await caller(by.id), { id: ref }));
      const atMs = clock.nowMs();
      const approvalDigest = view.approvalDigest ?? "0".repeat(64);
      const signature = signMessage(
        by.privateKey,
        voteSigningBytes({ tenant, changeSetId: view.id, approvalDigest, decision, voterId: by.id, atMs }),
      );
      return changeSets.vote(
        await caller(by.id),
        {
          id: ref,
          digest: approvalDigest,
          decision,
          keyId: by.keyId,
          atMs,
          signature,
          ...(reason === undefined ? {} : { reason }),
        },
        decision,
        request(),
      );
    },
    approved: async (by, input) => {
      const { changeSet } = await world.propose(by, input);
      let answer = must(await changeSets.submit(await caller(by), { id: changeSet.id }, request()));
      for (const voter of [people.bob, people.carol]) {
        if (answer.changeSet.status !== "PENDING_APPROVAL") break;
        answer = must(await world.vote(voter, changeSet.id));
      }
      return answer;
    },
    close: async () => {
      await changeSets.idle();
      await ledger.close();
    },
  };
  return world;
}

/** The answer, or a failed test with the refusal's text. */
export function must<T>(answer: T | Refusal): T {
  if (isRefusal(answer))
    throw new Error(`refused: ${answer.code}: ${answer.message} ${JSON.stringify(answer.details ?? {})}`);
  return answer;
}

export const resource = (
  id: string,
  type = "CONFIG",
): { kind: "resource"; type: string; id: string; environment: string } => ({
  kind: "resource",
  type,
  id,
  environment: "development",
});
export const file = (path: string): { kind: "file"; workspace: string; path: string } => ({
  kind: "file",
  workspace: "shop",
  path,
});
