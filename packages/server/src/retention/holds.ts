/**
 * Legal holds: what must not be erased or pruned, however old. Governed rows, so placing and releasing are entries; the
 * epoch `holds` moves with both, and every erasure and pruning guards it.
 */
import { limits, refused, type Refusal } from "@countersign/contract";
import {
  moveEpoch,
  type Actor,
  type Decided,
  type DecideContext,
  type Guard,
  type Reference,
  type Row,
  type Snapshot,
} from "../ledger/index.js";
import { allHolds, holdById, holdsInForce } from "./queries.js";

export const holdsEpoch = "holds";

export interface LegalHold {
  readonly id: string;
  readonly version: number;
  /** Null: the whole tenant. */
  readonly subjectType: string | null;
  readonly subjectId: string | null;
  readonly reason: string;
  readonly status: "HELD" | "RELEASED";
  readonly placedBy: string;
  readonly placedAtMs: number;
  readonly releasedBy: string | null;
  readonly releasedAtMs: number | null;
  readonly releaseReason: string | null;
}

export interface Holds {
  readonly inForce: readonly LegalHold[];
  readonly epoch: number;
}

const withNumbers = (hold: LegalHold): LegalHold => ({
  ...hold,
  placedAtMs: Number(hold.placedAtMs),
  releasedAtMs: hold.releasedAtMs === null ? null : Number(hold.releasedAtMs),
});

export async function loadHolds(snapshot: Snapshot): Promise<Holds> {
  const [inForce, epoch] = await Promise.all([
    snapshot.query<LegalHold>(holdsInForce(snapshot.tenant)),
    snapshot.epoch(holdsEpoch),
  ]);
  return { inForce: inForce.map(withNumbers), epoch };
}

/** Newest first. */
export async function listHolds(snapshot: Snapshot, released: boolean): Promise<LegalHold[]> {
  const query = released ? allHolds(snapshot.tenant, limits.holdsMax) : holdsInForce(snapshot.tenant);
  return (await snapshot.query<LegalHold>(query)).map(withNumbers);
}

/** The facts that a decision to erase or prune depends on. */
export function holdsGuard({ epoch }: Holds): Guard {
  return { kind: "epoch", name: holdsEpoch, value: epoch };
}

/** `legal_hold` if the subject, or all of the tenant, is held. Null: asked of the tenant as a whole. */
export function checkHolds({ inForce }: Holds, subject: Reference | null): Refusal | undefined {
  const hold = inForce.find(
    ({ subjectType, subjectId }) =>
      subjectId === null || (subject !== null && subjectType === subject.type && subjectId === subject.id),
  );
  if (hold === undefined) return undefined;
  const what = hold.subjectId === null ? "the whole tenant" : `${subject?.type ?? "it"} \`${hold.subjectId}\``;
  return refused(
    "legal_hold",
    `${what} is under the legal hold \`${hold.id}\`; nothing was removed: \`countersign audit holds\` shows why, \`countersign audit release ${hold.id}\` ends it`,
    { details: { hold: hold.id } },
  );
}

export interface HoldResult {
  readonly hold: LegalHold;
}

export function placeHold(
  loaded: Holds,
  given: {
    readonly actor: Actor;
    readonly guards: readonly Guard[];
    readonly subject: Reference | null;
    readonly reason: string;
  },
  context: DecideContext,
): Refusal | Decided<HoldResult> {
  if (loaded.inForce.length >= limits.holdsMax)
    return refused(
      "limit_exceeded",
      `there are \`${loaded.inForce.length}\` legal holds already; hold the whole tenant instead`,
    );
  const hold: LegalHold = {
    id: context.uuid(),
    version: 1,
    subjectType: given.subject?.type ?? null,
    subjectId: given.subject?.id ?? null,
    reason: given.reason,
    status: "HELD",
    placedBy: given.actor.id,
    placedAtMs: context.nowMs,
    releasedBy: null,
    releasedAtMs: null,
    releaseReason: null,
  };
  return {
    kind: "change",
    change: {
      guards: [...given.guards, holdsGuard(loaded)],
      entries: [
        {
          actor: given.actor,
          action: "legal_hold.placed",
          subject: { type: "legal_hold", id: hold.id },
          refs: given.subject === null ? [] : [given.subject],
          data: { scope: given.subject === null ? "tenant" : "subject" },
          body: { reason: given.reason },
          writes: [{ verb: "insert", table: "legal_holds", row: rowOf(hold) }, moveEpoch(holdsEpoch, loaded.epoch)],
        },
      ],
    },
    result: { hold },
  };
}

export async function loadHold(snapshot: Snapshot, id: string): Promise<{ hold: LegalHold | undefined; holds: Holds }> {
  const [rows, holds] = await Promise.all([
    snapshot.query<LegalHold>(holdById(snapshot.tenant, id)),
    loadHolds(snapshot),
  ]);
  return { hold: rows[0] === undefined ? undefined : withNumbers(rows[0]), holds };
}

/** One that was released before stays so: nothing is written. */
export function releaseHold(
  loaded: { readonly hold: LegalHold | undefined; readonly holds: Holds },
  given: { readonly id: string; readonly actor: Actor; readonly guards: readonly Guard[]; readonly reason: string },
  context: DecideContext,
): Refusal | Decided<HoldResult> {
  const { hold } = loaded;
  if (hold === undefined)
    return refused("not_found", `there is no legal hold \`${given.id}\`; \`countersign audit holds\` shows them`);
  if (hold.status === "RELEASED") return { kind: "nothing", result: { hold } };
  const released: LegalHold = {
    ...hold,
    version: hold.version + 1,
    status: "RELEASED",
    releasedBy: given.actor.id,
    releasedAtMs: context.nowMs,
    releaseReason: given.reason,
  };
  return {
    kind: "change",
    change: {
      guards: [...given.guards, holdsGuard(loaded.holds)],
      entries: [
        {
          actor: given.actor,
          action: "legal_hold.released",
          subject: { type: "legal_hold", id: hold.id },
          refs:
            hold.subjectType === null || hold.subjectId === null
              ? []
              : [{ type: hold.subjectType, id: hold.subjectId }],
          body: { reason: given.reason },
          writes: [
            { verb: "update", table: "legal_holds", row: rowOf(released), from: hold.version },
            moveEpoch(holdsEpoch, loaded.holds.epoch),
          ],
        },
      ],
    },
    result: { hold: released },
  };
}

function rowOf(hold: LegalHold): Row {
  return {
    id: hold.id,
    subject_type: hold.subjectType,
    subject_id: hold.subjectId,
    reason: hold.reason,
    status: hold.status,
    placed_by: hold.placedBy,
    placed_at_ms: hold.placedAtMs,
    released_by: hold.releasedBy,
    released_at_ms: hold.releasedAtMs,
    release_reason: hold.releaseReason,
  };
}
