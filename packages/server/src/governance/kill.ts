/** Changes for the door that engage, confirm and release the kill-switch. The rules are in `kill.rules.ts`. */
import { isRefusal, type ConfigurationValue, type Refusal, type TenantMode } from "@countersign/contract";
import {
  moveEpoch,
  type Decided,
  type DecideContext,
  type EntryDraft,
  type Guard,
  type Row,
  type Write,
} from "../ledger/index.js";
import {
  engage,
  killEpoch,
  release,
  releaseVotesRequired,
  type KillCommand,
  type KillLoaded,
  type KillResult,
  type KillRow,
  type KillStep,
} from "./kill.rules.js";
import { holdGuard } from "./limits.rules.js";

/** Refuses with `forbidden`, `already_exists`, and at the door, for too many holds of one agent, `rate_limited`. */
export function engageKill(
  loaded: KillLoaded,
  command: KillCommand,
  mode: TenantMode,
  limits: ConfigurationValue<"limits">,
  context: DecideContext,
): Refusal | Decided<KillResult> {
  const step = engage(loaded.rows, command, { id: context.uuid(), nowMs: context.nowMs });
  if (isRefusal(step)) return step;
  const guards = step.action === "kill_switch.held" ? [holdGuard(command.actor.id, context.nowMs, limits)] : [];
  return decided(loaded, command, step, mode, guards, context.nowMs);
}

/** Refuses with `forbidden`, `kill_not_engaged`, `release_needs_another`. */
export function releaseKill(
  loaded: KillLoaded,
  command: KillCommand,
  mode: TenantMode,
  context: DecideContext,
): Refusal | Decided<KillResult> {
  const step = release(loaded.rows, command, mode, context.nowMs);
  return isRefusal(step) ? step : decided(loaded, command, step, mode, [], context.nowMs);
}

function decided(
  loaded: KillLoaded,
  command: KillCommand,
  step: KillStep,
  mode: TenantMode,
  guards: readonly Guard[],
  nowMs: number,
): Decided<KillResult> {
  const { row } = step;
  const next: Write =
    step.from === undefined
      ? { verb: "insert", table: "kill_switches", row: columns(row, null) }
      : { verb: "update", table: "kill_switches", from: step.from, row: columns(row, releasedAt(row, nowMs)) };
  const ended = step.ended.map((old): Write => ({
    verb: "update",
    table: "kill_switches",
    from: old.version,
    row: columns({ ...old, status: "RELEASED" }, old.holdUntilMs),
  }));
  const moved = step.moves ? [moveEpoch(killEpoch, loaded.epoch)] : [];
  return {
    kind: "change",
    change: {
      guards: [{ kind: "epoch", name: killEpoch, value: loaded.epoch }, ...guards],
      entries: [entryOf(loaded, command, step, [next, ...ended, ...moved])],
    },
    result: {
      id: row.id,
      status: row.status,
      holdUntilMs: row.holdUntilMs,
      releaseVotes: row.releaseVotes.length,
      releaseVotesRequired: releaseVotesRequired(row, mode),
    },
  };
}

function releasedAt(row: KillRow, nowMs: number): number | null {
  return row.status === "RELEASED" ? nowMs : null;
}

/** The switch belongs to the tenant: its entries are about the tenant, so that its rows are attested with it. */
function entryOf(loaded: KillLoaded, command: KillCommand, step: KillStep, writes: readonly Write[]): EntryDraft {
  const { row } = step;
  const { proof, reason } = command;
  return {
    actor: command.actor,
    action: step.action,
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
}

function columns(row: KillRow, releasedAtMs: number | null): Row {
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
