/**
 * The kill-switch of a tenant: who may engage, confirm and release it, and its next state. `kill.ts` turns the decision
 * into changes for the door.
 *
 * INVARIANT: every step that engages or releases the switch moves the epoch `kill`, which guards every `item.started`:
 * by the order of the ledger no item starts after the entry that engaged it.
 * INVARIANT: it stops forward steps only; the callers that compensate, recover or undo do not ask here.
 */
import {
  refused,
  type KeyProof,
  type KillSwitchView,
  type Permission,
  type Refusal,
  type TenantMode,
} from "@countersign/contract";
import type { Actor } from "../ledger/index.js";

/** A row of kill_switches. */
export interface KillRow {
  readonly id: string;
  readonly version: number;
  readonly scope: "tenant";
  readonly status: KillSwitchView["status"];
  readonly reason: string | null;
  readonly engagedBy: string;
  readonly engagedAtMs: number;
  readonly holdUntilMs: number | null;
  readonly confirmedBy: string | null;
  readonly releaseVotes: readonly ReleaseVote[];
}
export interface ReleaseVote {
  readonly principal: string;
  readonly atMs: number;
}

export interface KillLoaded {
  readonly tenant: string;
  /** Not released yet, of scope `tenant`. */
  readonly rows: readonly KillRow[];
  readonly epoch: number;
}

export interface KillCommand {
  readonly actor: Actor;
  readonly permissions: ReadonlySet<Permission>;
  readonly reason?: string;
  /** That the person's key was unlocked there and then, verified by the caller: goes into the entry. */
  readonly proof?: KeyProof;
}

/** The next state of the switch. */
export interface KillStep {
  readonly action:
    | "kill_switch.engaged"
    | "kill_switch.held"
    | "kill_switch.confirmed"
    | "kill_switch.release_voted"
    | "kill_switch.released";
  readonly row: KillRow;
  /** Version of the row before; undefined when there was none. */
  readonly from?: number;
  /** Holds that ended by themselves and are closed beside it, so that the open rows stay few. */
  readonly ended: readonly KillRow[];
  /** It bites now, or lets go. */
  readonly moves: boolean;
}

export interface KillResult {
  readonly id: string;
  readonly status: KillRow["status"];
  readonly holdUntilMs: number | null;
  readonly releaseVotes: number;
  readonly releaseVotesRequired: number;
}

export const killEpoch = "kill";
export const holdMinutes = 15;

/** The switch that stops applies now, if any: a confirmed one before a hold. */
export function killInForce(rows: readonly KillRow[], nowMs: number): KillRow | undefined {
  return (
    rows.find((row) => row.status === "ENGAGED") ??
    rows.find((row) => row.status === "HELD" && (row.holdUntilMs ?? 0) > nowMs)
  );
}

/** `kill_switch_engaged` when forward steps must not start. */
export function checkKill(rows: readonly KillRow[], nowMs: number): Refusal | undefined {
  const row = killInForce(rows, nowMs);
  if (row === undefined) return undefined;
  const since = new Date(row.engagedAtMs).toISOString();
  if (row.status === "HELD" && row.holdUntilMs !== null)
    return refused(
      "kill_switch_engaged",
      `an agent holds the tenant until ${new Date(row.holdUntilMs).toISOString()}; a person can confirm or release it`,
      {
        details: { killSwitch: row.id },
        retryAfterSeconds: Math.ceil((row.holdUntilMs - nowMs) / 1000),
      },
    );
  return refused(
    "kill_switch_engaged",
    `kill-switch \`${row.id}\` is engaged since ${since}; two people release it (solo: one)`,
    { details: { killSwitch: row.id } },
  );
}

export function releaseVotesRequired(row: Pick<KillRow, "status">, mode: TenantMode): number {
  return row.status === "HELD" || mode === "solo" ? 1 : 2;
}

/** A person engages, or confirms an agent's hold; an agent or service sets a hold of 15 minutes. `id`: of a new switch. */
export function engage(
  rows: readonly KillRow[],
  command: KillCommand,
  at: { readonly id: string; readonly nowMs: number },
): Refusal | KillStep {
  if (!command.permissions.has("kill.engage")) {
    const message = "engaging the kill-switch needs `kill.engage`; an administrator can bind a role that has it";
    return refused("forbidden", message);
  }
  const inForce = killInForce(rows, at.nowMs);
  const human = command.actor.type === "human";
  if (inForce?.status === "ENGAGED") {
    const message = `kill-switch \`${inForce.id}\` is engaged already; nothing is applied until it is released`;
    return refused("already_exists", message);
  }
  if (inForce !== undefined) {
    if (human) return confirm(inForce, command);
    return refused("already_exists", `hold \`${inForce.id}\` is in force already; a person can confirm it`);
  }
  const row: KillRow = {
    id: at.id,
    version: 1,
    scope: "tenant",
    status: human ? "ENGAGED" : "HELD",
    reason: command.reason ?? null,
    engagedBy: command.actor.id,
    engagedAtMs: at.nowMs,
    holdUntilMs: human ? null : at.nowMs + holdMinutes * 60_000,
    confirmedBy: null,
    releaseVotes: [],
  };
  return { action: human ? "kill_switch.engaged" : "kill_switch.held", row, ended: rows, moves: true };
}

function confirm(held: KillRow, command: KillCommand): KillStep {
  const reason = command.reason ?? held.reason;
  const row: KillRow = { ...held, status: "ENGAGED", holdUntilMs: null, confirmedBy: command.actor.id, reason };
  return { action: "kill_switch.confirmed", row, from: held.version, ended: [], moves: true };
}

/**
 * The release vote of one person. The last required vote releases the switch. For an agent's hold one vote is enough.
 */
export function release(
  rows: readonly KillRow[],
  command: KillCommand,
  mode: TenantMode,
  nowMs: number,
): Refusal | KillStep {
  if (command.actor.type !== "human" || !command.permissions.has("kill.release"))
    return refused("forbidden", "releasing the kill-switch needs a person with `kill.release`");
  const row = killInForce(rows, nowMs);
  if (row === undefined) return refused("kill_not_engaged", "no kill-switch is engaged; `change-set apply` works");
  if (row.releaseVotes.some((vote) => vote.principal === command.actor.id)) {
    const message = `you released \`${row.id}\` already; another person must too`;
    return refused("release_needs_another", message);
  }
  const releaseVotes = [...row.releaseVotes, { principal: command.actor.id, atMs: nowMs }];
  const last = releaseVotes.length >= releaseVotesRequired(row, mode);
  return {
    action: last ? "kill_switch.released" : "kill_switch.release_voted",
    row: { ...row, releaseVotes, status: last ? "RELEASED" : row.status },
    from: row.version,
    ended: [],
    moves: last,
  };
}
