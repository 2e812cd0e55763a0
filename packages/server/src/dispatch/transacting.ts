/**
 * `ledger.transact` as one request uses it: the first change it commits remembers the answer under the request's
 * idempotency key and uses up its proof, in the same commit.
 *
 * Promises: of any number of equal requests one has an effect; the others are ended here with the stored answer, wherever
 * they are in their handler. A retry of the decision reads the caller again.
 *
 * If we die before the commit, nothing is stored and a repeat does the work; if we die after it, a repeat finds the answer.
 */
import {
  isRefusal,
  isUuid,
  limits,
  type OperationId,
  type Permission,
  refused,
  RefusalError,
} from "@countersign/contract";
import type { JsonObject } from "@countersign/proof";
import { hourMs } from "../platform/index.js";
import type {
  AttachedRow,
  Change,
  Decided,
  DecideContext,
  EntryDraft,
  Guard,
  HeldSnapshot,
  Ledger,
  Snapshot,
} from "../ledger/index.js";
import { type Caller, checkPermission, type Tenancy } from "../tenancy/index.js";
import { type CheckedProof, proofUsed } from "./proof.js";
import { type IdempotencyScope, isProofUsed, readStoredResponse, type StoredResponse } from "./queries.js";

export interface Idempotency {
  readonly scope: IdempotencyScope;
  readonly fingerprint: string;
}

/** Ends a handler: the request was answered before. */
export class Replayed extends Error {
  override readonly name = "Replayed";
  readonly stored: StoredResponse;
  constructor(stored: StoredResponse) {
    super("the request was answered before");
    this.stored = stored;
  }
}

export interface Held extends HeldSnapshot {
  /**
   * The response stored under the request's idempotency key, in the snapshot; undefined when the request carries no
   * key.
   */
  readonly stored: Promise<StoredResponse | undefined> | undefined;
}

export interface Transacting {
  readonly ledger: Ledger;
  readonly tenancy: Pick<Tenancy, "authenticateIn">;
  readonly credential: string | undefined;
  /** Brought up to date in place when a decision is made again. */
  readonly caller: Caller;
  readonly permission: Permission | null;
  readonly operation: OperationId;
  readonly status: number;
  readonly subjectId: string | undefined;
  readonly idempotency: Idempotency | undefined;
  readonly proof: CheckedProof | undefined;
  /** The snapshot in which the caller was read. The first decision is loaded in it. */
  readonly held: Held | undefined;
  readonly nowMs: () => number;
}

/** The stored answer, or the refusal of a key that was used for something else. */
export async function findStored(
  snapshot: Snapshot,
  idempotency: Idempotency,
  nowMs: number,
): Promise<StoredResponse | undefined> {
  return sameRequest(idempotency, await readStoredResponse(snapshot, idempotency.scope, nowMs));
}

function sameRequest(
  { scope, fingerprint }: Idempotency,
  stored: StoredResponse | undefined,
): StoredResponse | undefined {
  if (stored === undefined || stored.fingerprint === fingerprint) return stored;
  throw new RefusalError(
    refused(
      "idempotency_key_reused",
      `\`Idempotency-Key: ${scope.key}\` was used with another request within ${limits.idempotencyHours} hours; send a new key with a new request`,
    ),
  );
}

export function transactFor(request: Transacting): Ledger["transact"] {
  const { ledger, idempotency, proof } = request;
  let { held } = request;
  let spent = false;
  return async (tenant, load, decide, options) => {
    if (spent || tenant !== request.caller.tenant) return ledger.transact(tenant, load, decide, options);
    let attempts = 0;
    const within = held;
    held = undefined;
    const outcome = await ledger.transact(
      tenant,
      async (snapshot) => {
        attempts += 1;
        if (attempts > 1) await refresh(request, snapshot);
        await before(request, snapshot, attempts === 1 ? within?.stored : undefined);
        return load(snapshot);
      },
      (loaded, context) => {
        const decision = decide(loaded, context);
        if (isRefusal(decision) || decision.kind !== "change") return decision;
        return idempotency === undefined && proof === undefined ? decision : completed(request, decision, context);
      },
      within === undefined ? options : { ...options, within },
    );
    if (outcome.kind === "committed") spent = true;
    return outcome;
  };
}

/** The checks that may decide the request before its handler. */
async function before(
  { idempotency, proof, nowMs }: Transacting,
  snapshot: Snapshot,
  asked: Held["stored"],
): Promise<void> {
  const find = async (idempotency: Idempotency): Promise<StoredResponse | undefined> =>
    asked === undefined ? findStored(snapshot, idempotency, nowMs()) : sameRequest(idempotency, await asked);
  const [stored, used] = await Promise.all([
    idempotency === undefined ? undefined : find(idempotency),
    proof === undefined ? false : isProofUsed(snapshot, proof.digest),
  ]);
  if (stored !== undefined) throw new Replayed(stored);
  if (used) throw new RefusalError(proofUsed());
}

/** Something moved since the decision: perhaps the caller's own rights. */
async function refresh(request: Transacting, snapshot: Snapshot): Promise<void> {
  const fresh = await request.tenancy.authenticateIn(request.credential, snapshot);
  if (isRefusal(fresh)) throw new RefusalError(fresh);
  const refusal = request.permission === null ? undefined : checkPermission(fresh, request.permission);
  if (refusal !== undefined) throw new RefusalError(refusal);
  Object.assign(request.caller, fresh);
}

function completed<R>(
  request: Transacting,
  decision: Decided<R> & { kind: "change" },
  context: DecideContext,
): Decided<R> {
  const { idempotency, proof } = request;
  const entries = decision.change.entries.map((entry, index) => {
    const shown = index > 0 || proof === undefined ? {} : { data: { ...entry.data, proof: proof.evidence } };
    const id = entry.id ?? context.uuid();
    return { ...entry, id, ...shown } as EntryDraft & { readonly id: string }; // any entry's data may have a proof
  });
  const guards: Guard[] = [...decision.change.guards];
  const attached: AttachedRow[] = [...(decision.change.attached ?? [])];
  if (proof !== undefined) {
    guards.push(proof.guard, { kind: "absent", table: "used_proofs", key: { digest: proof.digest } });
    attached.push({ verb: "insert", table: "used_proofs", row: { digest: proof.digest, expires_ms: proof.expiresMs } });
  }
  if (idempotency !== undefined) {
    const { principalId, operation, key } = idempotency.scope;
    guards.push({ kind: "absent", table: "idempotency_keys", key: { principal_id: principalId, operation, key } });
    attached.push(
      responseRow(
        request,
        idempotency,
        { result: decision.result, entries: entries.map((entry) => entry.id) },
        context.nowMs,
      ),
    );
  }
  const change: Omit<Change, "tenant"> = { ...decision.change, guards, entries, attached };
  return { kind: "change", change, result: decision.result };
}

function responseRow(
  request: Transacting,
  { scope, fingerprint }: Idempotency,
  answered: { result: unknown; entries: readonly string[] },
  nowMs: number,
): AttachedRow {
  const body = answered.result === undefined ? null : (asSent(answered.result) as JsonObject | null);
  const applicationId = applicationOf(body);
  const changeSetId = request.subjectId !== undefined && isUuid(request.subjectId) ? request.subjectId : undefined;
  return {
    verb: "insert",
    table: "idempotency_keys",
    row: {
      principal_id: scope.principalId,
      operation: scope.operation,
      key: scope.key,
      fingerprint,
      status_code: request.status,
      response: { body, entries: [...answered.entries] },
      change_set_id: changeSetId,
      application_id: applicationId,
      entry_id: answered.entries[0],
      first_used_ms: nowMs,
      last_used_ms: nowMs,
      use_count: 1,
      expires_ms: nowMs + limits.idempotencyHours * hourMs,
    },
  };
}

/**
 * The answer in the form that is sent: without members that are undefined. Only values that hold one are copied;
 * through JSON and back, every answer was built twice to be stored once (a change-set of three items: 139 µs against
 * 8).
 */
function asSent(value: unknown): unknown {
  if (typeof value !== "object" || value === null) return value;
  return Array.isArray(value) ? itemsAsSent(value) : membersAsSent(value as Readonly<Record<string, unknown>>);
}

function itemsAsSent(items: readonly unknown[]): readonly unknown[] {
  let copy: unknown[] | undefined;
  for (const [index, item] of items.entries()) {
    const sent = asSent(item) ?? null;
    if (sent !== item) (copy ??= [...items])[index] = sent;
  }
  return copy ?? items;
}

function membersAsSent(members: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
  let copy: Record<string, unknown> | undefined;
  for (const name of Object.keys(members)) {
    const sent = asSent(members[name]);
    if (sent !== undefined && sent === members[name]) continue;
    copy ??= { ...members };
    if (sent === undefined) delete copy[name];
    else copy[name] = sent;
  }
  return copy ?? members;
}

/** The run that a request began, as its first commit names it. */
function applicationOf(body: JsonObject | null): string | undefined {
  const { applicationId, application } = body ?? {};
  if (typeof applicationId === "string" && isUuid(applicationId)) return applicationId;
  const id = typeof application === "object" && application !== null ? (application as JsonObject)["id"] : undefined;
  return typeof id === "string" && isUuid(id) ? id : undefined;
}
