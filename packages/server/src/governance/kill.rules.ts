/**
 * The kill-switch of a tenant: engage, confirm, release. Decisions are changes for the door.
 *
 * INVARIANT: whatever makes the switch bite or lets go moves the epoch `kill`, which guards every `item.started`: by the
 * order of the ledger no item starts after the entry that engaged it.
 * INVARIANT: it stops forward steps only; the callers that compensate, recover or undo do not ask here.
 */
import {
  refused,
  type ConfigurationValue,
  type KeyProof,
  type Permission,
  type Refusal,
  type TenantMode,
} from "@countersign/contract";
import {
  moveEpoch,
  type Actor,
  type Decided,
  type DecideContext,
  type EntryDraft,
  type Guard,
  type Row,
  type Write,
} from "../ledger/index.js";
import { holdGuard } from "./limits.rules.js";

/** A row of kill_switches. */
export interface KillRow {
  readonly id: string;
  readonly version: number;
  readonly scope: string;
  readonly status: "ENGAGED" | "HELD" | "RELEASED";
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

/** A person engages, or confirms an agent's hold; an agent or service sets a hold of 15 minutes. */
export function engageKill(
  loaded: KillLoaded,
  command: KillCommand,
  mode: TenantMode,
  limits: ConfigurationValue<"limits">,
  context: DecideContext,
): Refusal | Decided<KillResult> {
  if (!command.permissions.has("kill.engage"))
    return refused(
      "forbidden",
      "engaging the kill-switch needs `kill.engage`; an administrator can bind a role that has it",
    );
  const inForce = killInForce(loaded.rows, context.nowMs);
  const human = command.actor.type === "human";
  if (inForce?.status === "ENGAGED")
    return refused(
      "already_exists",
      `kill-switch \`${inForce.id}\` is engaged already; nothing is applied until it is released`,
    );
  if (inForce !== undefined)
    return human
      ? confirmHold(loaded, inForce, command, mode)
      : refused("already_exists", `hold \`${inForce.id}\` is in force already; a person can confirm it`);

  const row: KillRow = {
    id: context.uuid(),
    version: 1,
    scope: "tenant",
    status: human ? "ENGAGED" : "HELD",
    reason: command.reason ?? null,
    engagedBy: command.actor.id,
    engagedAtMs: context.nowMs,
    holdUntilMs: human ? null : context.nowMs + holdMinutes * 60_000,
    confirmedBy: null,
    releaseVotes: [],
  };
  // Holds that ended by themselves are closed here, so that the open rows stay few.
  const ended = loaded.rows.map((old) => update({ ...old, status: "RELEASED" }, old.version, old.holdUntilMs));
  const writes: Write[] = [
    { verb: "insert", table: "kill_switches", row: rowOf(row, null) },
    ...ended,
    moveEpoch(killEpoch, loaded.epoch),
  ];
  const guards = human ? [] : [holdGuard(command.actor.id, context.nowMs, limits)];
  return decided(loaded, command, human ? "kill_switch.engaged" : "kill_switch.held", row, writes, mode, guards);
}

function confirmHold(loaded: KillLoaded, held: KillRow, command: KillCommand, mode: TenantMode): Decided<KillResult> {
  const row: KillRow = {
    ...held,
    status: "ENGAGED",
    holdUntilMs: null,
    confirmedBy: command.actor.id,
    reason: command.reason ?? held.reason,
  };
  return decided(
    loaded,
    command,
    "kill_switch.confirmed",
    row,
    [update(row, held.version, null), moveEpoch(killEpoch, loaded.epoch)],
    mode,
  );
}

/** One of the people who release it; with the last of them it lets go. One person ends an agent's hold. */
export function releaseKill(
  loaded: KillLoaded,
  command: KillCommand,
  mode: TenantMode,
  context: DecideContext,
): Refusal | Decided<KillResult> {
  if (command.actor.type !== "human" || !command.permissions.has("kill.release"))
    return refused("forbidden", "releasing the kill-switch needs a person with `kill.release`");
  const row = killInForce(loaded.rows, context.nowMs);
  if (row === undefined) return refused("kill_not_engaged", "no kill-switch is engaged; `change-set apply` works");
  if (row.releaseVotes.some((vote) => vote.principal === command.actor.id))
    return refused("release_needs_another", `you released \`${row.id}\` already; another person must too`);

  const releaseVotes = [...row.releaseVotes, { principal: command.actor.id, atMs: context.nowMs }];
  if (releaseVotes.length < releaseVotesRequired(row, mode)) {
    const next: KillRow = { ...row, releaseVotes };
    return decided(loaded, command, "kill_switch.release_voted", next, [update(next, row.version, null)], mode);
  }
  const released: KillRow = { ...row, status: "RELEASED", releaseVotes };
  return decided(
    loaded,
    command,
    "kill_switch.released",
    released,
    [update(released, row.version, context.nowMs), moveEpoch(killEpoch, loaded.epoch)],
    mode,
  );
}

function decided(
  loaded: KillLoaded,
  command: KillCommand,
  action: string,
  row: KillRow,
  writes: readonly Write[],
  mode: TenantMode,
  guards: readonly Guard[] = [],
): Decided<KillResult> {
  const { proof, reason } = command;
  const entry: EntryDraft = {
    actor: command.actor,
    action,
    subject: { type: "tenant", id: loaded.tenant },
    refs: [{ type: "kill_switch", id: row.id }],
    data: {
      killSwitch: row.id,
      scope: row.scope,
      status: row.status,
      releaseVotes: row.releaseVotes.length,
      ...(row.holdUntilMs === null ? {} : { holdUntilMs: row.holdUntilMs }),
      ...(proof === undefined ? {} : { proof: { key: proof.keyId, atMs: proof.atMs, signature: proof.signature } }),
    },
    ...(reason === undefined ? {} : { body: { reason } }),
    writes,
  };
  return {
    kind: "change",
    change: { guards: [{ kind: "epoch", name: killEpoch, value: loaded.epoch }, ...guards], entries: [entry] },
    result: {
      id: row.id,
      status: row.status,
      holdUntilMs: row.holdUntilMs,
      releaseVotes: row.releaseVotes.length,
      releaseVotesRequired: releaseVotesRequired(row, mode),
    },
  };
}

function update(row: KillRow, from: number, releasedAtMs: number | null): Write {
  return { verb: "update", table: "kill_switches", from, row: rowOf(row, releasedAtMs) };
}

function rowOf(row: KillRow, releasedAtMs: number | null): Row {
  return {
    id: row.id,
    scope: row.scope,
    status: row.status,
    reason: row.reason,
    engaged_by: row.engagedBy,
    engaged_at_ms: row.engagedAtMs,
    hold_until_ms: row.holdUntilMs,
    confirmed_by: row.confirmedBy,
    release_votes: row.releaseVotes.map((vote) => ({ principal: vote.principal, atMs: vote.atMs })),
    released_at_ms: releasedAtMs,
  };
}
