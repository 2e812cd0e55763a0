/**
 * The kill-switch over the interfaces: governance decides; names beside ids, and the applications in flight, are added
 * here.
 */
import {
  type CheckedInput,
  isRefusal,
  type KillSwitchView,
  type OperationOutput,
  refused,
  type Refusal,
} from "@countersign/contract";
import type { ChangeSets } from "../change-sets/index.js";
import {
  engageKill,
  killInForce,
  type KillLoaded,
  type KillResult,
  type KillRow,
  loadConfiguration,
  loadKill,
  releaseKill,
  releaseVotesRequired,
} from "../governance/index.js";
import type { Decided, DecideContext, Ledger, Outcome, Snapshot } from "../ledger/index.js";
import { type Caller, loadPeople, mayBeOne, type People } from "../tenancy/index.js";
import { receiptViews } from "./receipts.js";

export interface KillDesk {
  readonly ledger: Ledger;
  readonly changeSets: Pick<ChangeSets, "running">;
  readonly now: () => number;
}

interface Loaded {
  readonly kill: KillLoaded;
  readonly people: People;
  readonly configuration: Awaited<ReturnType<typeof loadConfiguration>>;
  readonly inFlight: readonly string[];
}

async function load(desk: KillDesk, snapshot: Snapshot): Promise<Loaded> {
  const [kill, people, configuration, inFlight] = await Promise.all([
    loadKill(snapshot),
    loadPeople(snapshot),
    loadConfiguration(snapshot),
    desk.changeSets.running(snapshot),
  ]);
  return { kill, people, configuration, inFlight };
}

type Transact = Ledger["transact"];

export async function engage(
  desk: KillDesk,
  caller: Caller,
  input: CheckedInput<"engageKillSwitch">,
  transact: Transact,
): Promise<OperationOutput<"engageKillSwitch"> | Refusal> {
  return answered(
    transact(
      caller.tenant,
      (snapshot) => load(desk, snapshot),
      (loaded, context) => {
        const command = { actor: caller.actor, permissions: caller.permissions, reason: input.reason };
        const decision = engageKill(loaded.kill, command, loaded.people.mode, loaded.configuration.limits, context);
        return shown(decision, loaded, { caller, reason: input.reason }, context);
      },
    ),
  );
}

export async function release(
  desk: KillDesk,
  caller: Caller,
  transact: Transact,
): Promise<OperationOutput<"releaseKillSwitch"> | Refusal> {
  return answered(
    transact(
      caller.tenant,
      (snapshot) => load(desk, snapshot),
      (loaded, context) => {
        const released = killInForce(loaded.kill.rows, context.nowMs)?.releaseVotes.map((vote) => vote.principal) ?? [];
        const { id } = caller.principal;
        if (released.some((other) => other !== id && mayBeOne(loaded.people.voters, other, id))) {
          return refused(
            "release_needs_another",
            "one of you issued the code with which the other enrolled a later key: revoke that key, or let another person release it",
          );
        }
        const decision = releaseKill(
          loaded.kill,
          { actor: caller.actor, permissions: caller.permissions },
          loaded.people.mode,
          context,
        );
        return shown(decision, loaded, { caller }, context);
      },
    ),
  );
}

async function answered(
  outcome: Promise<Outcome<{ killSwitch: KillSwitchView }>>,
): Promise<OperationOutput<"engageKillSwitch"> | Refusal> {
  const done = await outcome;
  if (isRefusal(done)) return done;
  return { killSwitch: done.result.killSwitch, receipts: done.kind === "committed" ? receiptViews(done.receipts) : [] };
}

function shown(
  decision: Refusal | Decided<KillResult>,
  loaded: Loaded,
  by: { readonly caller: Caller; readonly reason?: string },
  { nowMs }: DecideContext,
): Refusal | Decided<{ killSwitch: KillSwitchView }> {
  if (isRefusal(decision)) return decision;
  const { result } = decision;
  const before = loaded.kill.rows.find((row) => row.id === result.id);
  const row = before ?? {
    id: result.id,
    scope: "tenant",
    reason: by.reason ?? null,
    engagedBy: by.caller.principal.id,
    engagedAtMs: nowMs,
  };
  const killSwitch = view({ ...row, ...result, reason: by.reason ?? row.reason }, loaded);
  if (decision.kind === "nothing") return { kind: "nothing", result: { killSwitch } };
  return {
    kind: "change",
    change: { ...decision.change, guards: [...by.caller.guards, ...decision.change.guards] },
    result: { killSwitch },
  };
}

type Shown = Pick<KillRow, "id" | "scope" | "status" | "reason" | "engagedBy" | "engagedAtMs" | "holdUntilMs"> &
  Pick<KillResult, "releaseVotesRequired"> & { readonly releaseVotes: number };

function view(row: Shown, { people, inFlight }: Pick<Loaded, "people" | "inFlight">): KillSwitchView {
  const person = people.principals.get(row.engagedBy);
  return {
    id: row.id,
    scope: row.scope,
    status: row.status,
    reason: row.reason,
    engagedBy: { id: row.engagedBy, kind: person?.kind ?? "system", name: person?.name ?? "Countersign" },
    engagedAt: new Date(row.engagedAtMs).toISOString(),
    holdUntil: row.holdUntilMs === null ? null : new Date(row.holdUntilMs).toISOString(),
    releaseVotes: row.releaseVotes,
    releaseVotesRequired: row.releaseVotesRequired,
    inFlight: row.status === "RELEASED" ? [] : [...inFlight],
  };
}

/** Those in force now: a hold that ended by itself is not shown any more. */
export async function list(desk: KillDesk, caller: Caller): Promise<OperationOutput<"listKillSwitches">> {
  return desk.ledger.snapshot(caller.tenant, async (snapshot) => {
    const loaded = await load(desk, snapshot);
    const nowMs = desk.now();
    const inForce = loaded.kill.rows.filter((row) => killInForce([row], nowMs) !== undefined);
    return {
      rows: inForce.map((row) =>
        view(
          {
            ...row,
            releaseVotes: row.releaseVotes.length,
            releaseVotesRequired: releaseVotesRequired(row, loaded.people.mode),
          },
          loaded,
        ),
      ),
    };
  });
}
