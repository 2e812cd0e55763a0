/**
 * The one door: load in a snapshot, decide purely, and commit the change, unless a guard of the decision has moved.
 * Promises: at most `transactAttemptsMax` decisions; errors that a caller can meet come back as a refusal, not as an
 * exception.
 */
import { isRefusal, limits, refused, RefusalError, type Refusal, type TenantId } from "@countersign/contract";
import type { Door, MovedGuard } from "./groups.js";
import { prepareChange, type Preparation } from "./prepare.js";
import { type GovernedRefusal, isRecorded, type RefusalLog } from "./refusals.js";
import type { SubjectKeys } from "./subjectKeys.js";
import type { HeldSnapshot } from "./snapshot.js";
import type { Decided, DecideContext, DraftShape, Outcome, Snapshot } from "./types.js";

export interface TransactParts {
  readonly door: Door;
  readonly refusals: RefusalLog;
  readonly subjectKeys: SubjectKeys;
  snapshot<T>(tenant: TenantId, read: (snapshot: Snapshot) => Promise<T>): Promise<T>;
  /** Time, randomness, sealing and the catalogue, fresh for each decision. */
  preparation(): Preparation;
}

export interface TransactOptions {
  /** Who is refused what, if the decision refuses with a code that is recorded. */
  readonly refusal?: Pick<GovernedRefusal, "actor" | "subject">;
  /** Of this tenant: the first decision is loaded in it, and the loading ends it. */
  readonly within?: HeldSnapshot | undefined;
}

export async function transact<L, R>(
  parts: TransactParts,
  tenant: TenantId,
  load: (snapshot: Snapshot) => Promise<L>,
  decide: (loaded: L, context: DecideContext) => Refusal | Decided<R, DraftShape>,
  options: TransactOptions = {},
): Promise<Outcome<R>> {
  try {
    const outcome = await attempt(parts, tenant, { load, decide, within: options.within });
    if (isRefusal(outcome) && options.refusal !== undefined && isRecorded(outcome.code)) {
      parts.refusals.record(tenant, { ...options.refusal, code: outcome.code });
    }
    return outcome;
  } catch (error) {
    if (error instanceof RefusalError) return error.refusal;
    throw error;
  }
}

async function attempt<L, R>(
  { door, subjectKeys, snapshot, preparation }: TransactParts,
  tenant: TenantId,
  {
    load,
    decide,
    within,
  }: {
    readonly load: (snapshot: Snapshot) => Promise<L>;
    readonly decide: (loaded: L, context: DecideContext) => Refusal | Decided<R, DraftShape>;
    readonly within: HeldSnapshot | undefined;
  },
): Promise<Outcome<R>> {
  let moved: readonly MovedGuard[] = [];
  for (let tries = 0; tries < limits.transactAttemptsMax; tries++) {
    const loaded = await (tries === 0 && within !== undefined
      ? loadWithin(within, tenant, load)
      : snapshot(tenant, load));
    const context = preparation();
    const decision = decide(loaded, context);
    if (decision.kind !== "change") return decision;
    const prepared = prepareChange({ tenant, ...decision.change }, context);
    const committed = await door.submit(prepared);
    if (committed.kind === "committed") {
      subjectKeys.learn(prepared.newKeys);
      return { kind: "committed", result: decision.result, receipts: committed.receipts };
    }
    moved = committed.guards;
    subjectKeys.forget(new Set(moved.flatMap((guard) => (guard.kind === "key" ? [guard.key] : []))));
  }
  return refusedForMoved(moved);
}

/** The connection goes back before the change waits for the door. */
async function loadWithin<L>(
  { snapshot, end }: HeldSnapshot,
  tenant: TenantId,
  load: (snapshot: Snapshot) => Promise<L>,
): Promise<L> {
  if (snapshot.tenant !== tenant) throw new Error("a decision is loaded in a snapshot of its own tenant");
  try {
    return await load(snapshot);
  } finally {
    await end();
  }
}

function refusedForMoved(moved: readonly MovedGuard[]): Refusal {
  const [first] = moved;
  const culprit = first === undefined ? "something" : `${first.table} ${first.key}`;
  return refused(
    "conflict",
    `\`${culprit}\` was changed by others ${limits.transactAttemptsMax} times meanwhile; read it again and repeat`,
    {
      retryAfterSeconds: 1,
      details: { moved },
    },
  );
}
