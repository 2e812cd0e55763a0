/**
 * Runs tenancy's commands that change people: load all members, decide, move the epoch `members`. This process makes
 * one change of a tenant at a time, because each change moves that epoch and would make the others decide again.
 */
import { isRefusal, refused, type Refusal, RefusalError, type TenantId } from "@countersign/contract";
import {
  type Decided,
  type DecideContext,
  type EntryDraft,
  type Guard,
  type Ledger,
  moveEpoch,
  type Outcome,
  receiptsOf,
  type ReceiptView,
  type Snapshot,
  type Write,
} from "../ledger/index.js";
import { loadMembers, membersEpoch, membersOf, type Members } from "./people.js";
import type { RolesConfiguration } from "./permissions.rules.js";
import { type BindingRow, type PrincipalRow, type SigningKeyRow, update } from "./rows.js";

export interface TenancyDesk {
  readonly ledger: Ledger;
  readonly now: () => number;
  readonly newId: () => string;
  /** The roles in force; the configuration is governance's. */
  readonly roles: (snapshot: Snapshot) => Promise<RolesConfiguration>;
}

/** Comes from the request: the layer that made it handles replays and key proofs. */
export interface TenancyRequest {
  readonly transact: Ledger["transact"];
}

export interface Loaded<X> {
  readonly members: Members;
  readonly roles: RolesConfiguration;
  readonly also: X;
}

export type Plan<R> =
  | {
      readonly kind: "plan";
      readonly entries: readonly [EntryDraft, ...EntryDraft[]];
      readonly guards?: readonly Guard[];
      readonly result: R;
    }
  | { readonly kind: "nothing"; readonly result: R };

export interface MembersChange<X, R> {
  readonly tenant: TenantId;
  /** Read when deciding: if the change is decided again, the caller is read again. */
  readonly guards: () => readonly Guard[];
  readonly also?: (snapshot: Snapshot, members: Members) => Promise<X>;
  /**
   * The principals whose rows the change may write. These rows are compared with the ledger first, so a row forged by
   * hand does not become the newest recorded one.
   */
  readonly about?: (members: Members, also: X) => string | undefined;
  readonly decide: (loaded: Loaded<X>, context: DecideContext) => Refusal | Plan<R>;
}

const queues = new Map<TenantId, Promise<unknown>>();

export function changeMembers<X, R>(
  desk: TenancyDesk,
  request: TenancyRequest,
  change: MembersChange<X, R>,
): Promise<Outcome<R>> {
  return inTurn(change.tenant, () =>
    request.transact(
      change.tenant,
      async (snapshot): Promise<Loaded<X>> => {
        const [members, roles] = await Promise.all([loadMembers(snapshot), desk.roles(snapshot)]);
        const also = (await change.also?.(snapshot, members)) as X;
        const about = change.about?.(members, also);
        if (about !== undefined) await mustBeKnown(desk, snapshot, members, about);
        return { members, roles, also };
      },
      (loaded, context) => decided(change, loaded, context),
    ),
  );
}

/** Throws `ledger_mismatch` when the principal, or one of its bindings or signing keys, differs from the ledger. */
async function mustBeKnown(
  desk: TenancyDesk,
  snapshot: Snapshot,
  members: Members,
  principalId: string,
): Promise<void> {
  if (!members.rows.principals.has(principalId)) return;
  const of = (table: "role_bindings" | "signing_keys", rows: readonly { id: string; principal_id: string }[]) =>
    rows.filter((row) => row.principal_id === principalId).map(({ id }) => ({ table, id }));
  const rows = [
    { table: "principals" as const, id: principalId },
    ...of("role_bindings", members.rows.bindings),
    ...of("signing_keys", members.rows.signingKeys),
  ];
  const { mismatches } = await desk.ledger.attest(snapshot, { subjectId: principalId, rows, onlyThese: true });
  if (mismatches.length === 0) return;
  throw new RefusalError(
    refused(
      "ledger_mismatch",
      `the database and the ledger disagree about the principal \`${principalId}\`; nothing was changed: run \`countersign audit verify\``,
    ),
  );
}

function decided<X, R>(change: MembersChange<X, R>, loaded: Loaded<X>, context: DecideContext): Refusal | Decided<R> {
  const plan = change.decide(loaded, context);
  if (isRefusal(plan) || plan.kind === "nothing") return plan;
  const { epoch } = loaded.members;
  const [first, ...others] = plan.entries;
  const entries = [{ ...first, writes: [...(first.writes ?? []), moveEpoch(membersEpoch, epoch)] }, ...others];
  const guards: Guard[] = [
    ...change.guards(),
    { kind: "epoch", name: membersEpoch, value: epoch },
    ...(plan.guards ?? []),
  ];
  return { kind: "change", change: { guards, entries }, result: plan.result };
}

async function inTurn<T>(tenant: TenantId, work: () => Promise<T>): Promise<T> {
  const before = queues.get(tenant);
  const turn = (before ?? Promise.resolve()).then(work, work);
  queues.set(tenant, turn);
  try {
    return await turn;
  } finally {
    if (queues.get(tenant) === turn) queues.delete(tenant);
  }
}

/**
 * The answer of a command: its result, its receipts, and the secrets that are shown once and therefore are not in the
 * stored result.
 */
export function answer<R extends object, S extends object>(
  outcome: Outcome<R>,
  secrets: S,
): (R & S & { receipts: ReceiptView[] }) | Refusal {
  if (isRefusal(outcome)) return outcome;
  return {
    ...outcome.result,
    ...secrets,
    receipts: receiptsOf(outcome),
  };
}

/**
 * A change of a principal's bindings or keys also moves the principal's version, so decisions that depended on it are
 * made again.
 */
export function touched(
  members: Members,
  principalId: string,
  changes: Partial<Omit<PrincipalRow, "id" | "version">> = {},
): Write {
  const row = members.rows.principals.get(principalId);
  if (row === undefined) throw new Error(`principal ${principalId} is missing`);
  return update("principals", row, changes);
}

/** The members after the given rows replaced those of the same id. */
export function membersWith(
  members: Members,
  rows: {
    readonly principals?: readonly PrincipalRow[];
    readonly bindings?: readonly BindingRow[];
    readonly signingKeys?: readonly SigningKeyRow[];
  },
): Members {
  return membersOf({
    epoch: members.epoch,
    tenant: members.tenant,
    principals: replaced([...members.rows.principals.values()], rows.principals),
    bindings: replaced(members.rows.bindings, rows.bindings),
    signingKeys: replaced(members.rows.signingKeys, rows.signingKeys),
  });
}

function replaced<R extends { readonly id: string }>(rows: readonly R[], by: readonly R[] = []): R[] {
  const ids = new Set(by.map((row) => row.id));
  return [...rows.filter((row) => !ids.has(row.id)), ...by];
}
