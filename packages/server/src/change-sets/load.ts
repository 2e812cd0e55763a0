/** Loading what a command decides on: the change-set with its people, in one snapshot. */
import { type Refusal, refused, underWayStatuses } from "@countersign/contract";
import {
  checkLimits,
  type Configuration,
  type LimitedCommand,
  limitGuards,
  loadConfiguration,
} from "../governance/index.js";
import type { Guard, Snapshot } from "../ledger/index.js";
import type { Caller } from "../tenancy/index.js";
import type { Desk } from "./desk.js";
import { due, type Overdue, overdue } from "./expiry.rules.js";
import type { Loaded } from "./loaded.rules.js";
import { type Overlap, readOverlaps, readWhole } from "./queries.js";
import { keysOf, type Whole } from "./rows.js";

/** Why a command has nothing to decide on. */
export type Stopped = Refusal | Overdue;

export function isStopped(value: unknown): value is Stopped {
  const kind = typeof value === "object" && value !== null ? (value as { kind?: unknown }).kind : undefined;
  return kind === "refused" || kind === "overdue";
}

/** What whoever asked is answered. */
export function refusalOf(stopped: Stopped): Refusal {
  return stopped.kind === "overdue" ? stopped.refusal : stopped;
}

/** The change-set as it is; `Overdue` when a deadline passed that nobody has acted on yet (`transactOn` does). */
export async function loadForCommand(desk: Desk, snapshot: Snapshot, ref: string): Promise<Loaded | Stopped> {
  const whole = await readWhole(snapshot, ref);
  if (whole === undefined) return notFound(ref);
  const late = due(whole.changeSet, desk.now());
  if (late !== undefined) return overdue(whole.changeSet, late);
  const [people, configuration, configurationEpoch, overlaps] = await Promise.all([
    desk.tenancy.loadPeople(snapshot),
    loadConfiguration(snapshot),
    snapshot.epoch("config"),
    overlapsOf(snapshot, whole),
  ]);
  return { whole, people, configuration, configurationEpoch, overlaps };
}

function overlapsOf(snapshot: Snapshot, whole: Whole): Promise<Overlap[]> {
  const keys = [...new Set(whole.items.flatMap(keysOf))];
  return readOverlaps(snapshot, { changeSetId: whole.changeSet.id, keys, statuses: underWayStatuses });
}

export function notFound(ref: string): Refusal {
  return refused("not_found", `there is no change-set \`${ref}\`; \`countersign change-set list\` shows them`);
}

/** The counters a command counts against, or which limit is used up. The guards keep it exact at the commit. */
export async function countersFor(
  desk: Desk,
  snapshot: Snapshot,
  of: {
    command: LimitedCommand;
    by: Pick<Caller["principal"], "id" | "kind">;
    items: number;
    configuration: Configuration;
  },
): Promise<Guard[] | Refusal> {
  const { by, configuration } = of;
  const nowMs = desk.now();
  const { guards } = limitGuards(
    of.command,
    { principal: by.id, type: by.kind, nowMs, items: of.items },
    configuration.limits,
  );
  const used = await Promise.all(guards.map(async (guard) => [guard.key, await snapshot.counter(guard.key)] as const));
  return checkLimits(guards, new Map(used), nowMs) ?? [...guards];
}
