/**
 * The one way in: authenticate → permit → validate → replay or proof → handler. Every edge (HTTP now, others later)
 * hands a request here and sends the answer.
 *
 * Promises: an operation that is not permitted does nothing · all problems of a request are reported at once · of equal
 * requests with one idempotency key one has an effect · errors of the program itself are answered without internals,
 * and logged under the request's id.
 */
import {
  isRefusal,
  limits,
  operationRow,
  type OperationId,
  type KeyProof,
  type Operation,
  refused,
  type Refusal,
  RefusalError,
} from "@countersign/contract";
import { canonicalize, type JsonObject, sha256Hex } from "@countersign/proof";
import type { ChangeSets } from "../change-sets/index.js";
import { isRecorded, type Ledger, readReceipts, receiptViews } from "../ledger/index.js";
import { type Log } from "../platform/index.js";
import { type Storage, writeOperational } from "../storage/index.js";
import {
  type Call,
  type Caller,
  checkPermission,
  systemCaller,
  deploymentTenant,
  type Handlers,
  type Tenancy,
  type TextStream,
} from "../tenancy/index.js";
import { internalError, problemOf } from "./problems.js";
import { checkProof, type CheckedProof } from "./proof.js";
import { noteReplay, readResponseStoredFor, type StoredResponse } from "./queries.js";
import { idNamed, subjectOfRefusal } from "./recorded.rules.js";
import { findStored, type Held, type Idempotency, Replayed, transactFor } from "./transacting.js";
import { validate } from "./validation.js";

export { problemOf, problemTypeBase } from "./problems.js";
export { type LogAnswer, openTree, type ServeLog } from "./tree.js";
export { responsesEraser } from "./responses.js";
export { sweepJob } from "./sweeping.js";
export { pointerOf } from "./validation.js";

export interface DispatchRequest {
  readonly operation: OperationId;
  readonly requestId: string;
  /** The API key's text, without the scheme. */
  readonly credential: string | undefined;
  /** Path parameters, query or body, headers that are members: all in one object, as sent. */
  readonly input: Readonly<Record<string, unknown>>;
  readonly idempotencyKey?: string | undefined;
}

export interface DispatchAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  /** A problem document when `problem`; lines when it is a stream. */
  readonly body: object | AsyncIterable<string>;
  readonly kind: "answer" | "problem" | "stream";
  /** For the log. */
  readonly tenant?: string;
  readonly principal?: string;
  readonly code?: string;
}

export interface DispatchOptions {
  /** What does each operation. */
  readonly handlers: Handlers;
  readonly ledger: Ledger;
  readonly tenancy: Pick<Tenancy, "authenticate" | "authenticateIn" | "authenticateHolding">;
  /** Applications are shown as they are now when a request is repeated. */
  readonly changeSets: Pick<ChangeSets, "application" | "get">;
  readonly now: () => number;
  readonly storage: Pick<Storage, "app">;
  readonly log: Pick<Log, "warn" | "error">;
}

export type Dispatch = (request: DispatchRequest) => Promise<DispatchAnswer>;

export function openDispatch(options: DispatchOptions): Dispatch {
  return async (request) => {
    const state: { caller?: Caller } = {};
    const by = (): Pick<DispatchAnswer, "tenant" | "principal"> =>
      state.caller === undefined ? {} : { tenant: state.caller.tenant, principal: state.caller.principal.id };
    try {
      const answer = await run(options, request, state);
      return { ...answer, ...by() };
    } catch (error) {
      const refusal = refusalOf(error, request, options.log);
      if (state.caller !== undefined) record(options.ledger, state.caller, request, refusal);
      return { kind: "problem", ...problemOf(refusal, request.requestId), code: refusal.code, ...by() };
    }
  };
}

/** Refusals travel as exceptions from here on: the one place that answers them is above. */
function must<T>(value: T | Refusal): T {
  if (isRefusal(value)) throw new RefusalError(value);
  return value;
}

async function run(on: DispatchOptions, request: DispatchRequest, state: { caller?: Caller }): Promise<DispatchAnswer> {
  const { caller, held } = await identify(on, request);
  if (request.operation !== "enrol") state.caller = caller;
  try {
    return await runFor(on, request, caller, held);
  } finally {
    // Most often it ended with the loading; also when nothing came to be loaded.
    await held?.end();
  }
}

async function identify(
  on: DispatchOptions,
  { operation, credential, idempotencyKey: key }: DispatchRequest,
): Promise<{ readonly caller: Caller; readonly held?: Held }> {
  if (operation === "enrol") return { caller: systemCaller(deploymentTenant) };
  // Loaded in one snapshot with who it is, which saves the statements of a second one and reading people and configuration again.
  if (operationRow(operation).decidesAtOnce !== true)
    return { caller: must(await on.tenancy.authenticate(credential)) };
  // Asked together with who it is: one round trip. A key that is none is refused once it is known who sends it.
  let stored: Held["stored"];
  const identified = await on.tenancy.authenticateHolding(credential, (snapshot, apiKeyId) => {
    if (key === undefined || !isIdempotencyKey(key)) return;
    stored = readResponseStoredFor(snapshot, { apiKeyId, operation, key }, on.now());
    stored.catch(() => undefined); // Told to whoever waits for it, if anybody comes to.
  });
  const { caller, held } = must(identified);
  return { caller, held: { ...held, stored } };
}

async function runFor(
  on: DispatchOptions,
  request: DispatchRequest,
  caller: Caller,
  held: Held | undefined,
): Promise<DispatchAnswer> {
  const row = operationRow(request.operation);
  if (row.permission !== null) must(checkPermission(caller, row.permission) ?? true);
  const { value } = must(validate(row, request.input));
  const sent = request.input as JsonObject;
  const idempotency = row.idempotent === true ? idempotencyOf(row, caller, request) : undefined;
  try {
    const proof =
      row.proof === true || (row.proof === "for_rules" && sent["proof"] !== undefined)
        ? await provenBy(on, caller, { request, sent, idempotency })
        : undefined;
    const transact =
      request.operation === "enrol"
        ? on.ledger.transact
        : transactFor({
            ...on,
            credential: request.credential,
            caller,
            permission: row.permission,
            operation: request.operation,
            status: row.status,
            subjectId: idNamed(sent),
            idempotency,
            proof,
            held,
            nowMs: on.now,
          });
    const call = {
      caller,
      input: value,
      recheck: async () => {
        const now = await on.tenancy.authenticate(request.credential);
        return isRefusal(now) ? now : row.permission === null ? undefined : checkPermission(now, row.permission);
      },
      request: { transact, nowMs: on.now(), requestId: request.requestId, proven: proof !== undefined },
    };
    const answer = handle(on.handlers, request.operation, call);
    if (isStream(answer))
      return { kind: "stream", status: row.status, headers: answer.headers ?? {}, body: await begun(answer) };
    const body = must(await answer);
    const job = row.job?.(body as never);
    return job === undefined
      ? { kind: "answer", status: row.status, headers: {}, body }
      : { kind: "answer", status: 202, headers: { location: job }, body };
  } catch (error) {
    if (error instanceof Replayed && idempotency !== undefined)
      return replay(on, { caller, row, idempotency, stored: error.stored });
    throw error;
  }
}

function handle(
  handlers: Handlers,
  operation: OperationId,
  call: Pick<Call<OperationId>, "caller" | "request" | "recheck"> & { input: unknown },
): TextStream | Promise<object | Refusal> {
  // The row's schema made `input`, and the row's id picked the handler: they are of one operation.
  const handler = handlers[operation] as (call: unknown) => TextStream | Promise<object | Refusal>;
  return handler(call);
}

function isStream(answer: object): answer is TextStream {
  return Symbol.asyncIterator in answer;
}

/** Its first piece is read here, so a refusal before that is still answered as a problem. */
async function begun(lines: AsyncIterable<string>): Promise<AsyncIterable<string>> {
  const iterator = lines[Symbol.asyncIterator]();
  let first: IteratorResult<string> | undefined = await iterator.next();
  // No generator around it: a generator that is dropped before it began would not give back the snapshot and its
  // connection.
  const again: AsyncIterator<string> = {
    next: () => {
      const result = first;
      first = undefined;
      return result === undefined ? iterator.next() : Promise.resolve(result);
    },
    return: async () => (await iterator.return?.()) ?? { done: true, value: undefined },
  };
  return { [Symbol.asyncIterator]: () => again };
}

// ── Idempotency and proofs ───────────────────────────────────────────────────────────────────────────────────────────

const isIdempotencyKey = (key: string): boolean =>
  /^[\x21-\x7e]+$/.test(key) && key.length <= limits.idempotencyKeyLengthMax;

function idempotencyOf(row: Operation, caller: Caller, request: DispatchRequest): Idempotency | undefined {
  const { idempotencyKey: key, operation } = request;
  if (key === undefined) return undefined;
  if (!isIdempotencyKey(key)) {
    throw new RefusalError(
      refused(
        "invalid_request",
        `\`Idempotency-Key\` is 1 to ${limits.idempotencyKeyLengthMax} visible ASCII characters; a UUID will do`,
      ),
    );
  }
  // The proof is not part of the input: a repeat may be signed anew.
  const { proof: _, ...input } = request.input as JsonObject;
  const fingerprint = sha256Hex(canonicalize([row.method, row.path, input]));
  return { scope: { principalId: caller.principal.id, operation, key }, fingerprint };
}

async function provenBy(
  on: DispatchOptions,
  caller: Caller,
  given: { request: DispatchRequest; sent: JsonObject; idempotency: Idempotency | undefined },
): Promise<CheckedProof> {
  const { idempotency, request } = given;
  // A repeat is answered from the stored response, even if its proof is stale by now.
  const stored =
    idempotency === undefined
      ? undefined
      : await on.ledger.snapshot(caller.tenant, (snapshot) => findStored(snapshot, idempotency, on.now()));
  if (stored !== undefined) throw new Replayed(stored);
  const { proof, ...input } = given.sent;
  const question = {
    operation: request.operation,
    input,
    proof: proof as KeyProof | undefined,
    caller,
    nowMs: on.now(),
  };
  return must(await checkProof(question, (read) => on.ledger.snapshot(caller.tenant, read)));
}

interface Repeat {
  readonly caller: Caller;
  readonly row: Operation;
  readonly idempotency: Idempotency;
  readonly stored: StoredResponse;
}

async function replay(on: DispatchOptions, { caller, row, idempotency, stored }: Repeat): Promise<DispatchAnswer> {
  await countReplay(on, caller, idempotency);
  const receipts = receiptViews(
    await on.ledger.snapshot(caller.tenant, (snapshot) => readReceipts(snapshot, stored.response.entries)),
  );
  const headers = { "idempotency-replayed": "true" };
  if (row.run !== true || stored.applicationId === null) {
    return { kind: "answer", status: row.status, headers, body: { ...stored.response.body, receipts } };
  }
  const application = must(await on.changeSets.application(caller, { applicationId: stored.applicationId }));
  const changeSet = must(await on.changeSets.get(caller, { id: application.changeSetId }));
  return {
    kind: "answer",
    status: 202,
    headers: { ...headers, location: `/api/ledger/applications/${application.id}` },
    body: { changeSet, application, receipts },
  };
}

/** Counts a replay. The answer stands without it: the next one is counted again. */
async function countReplay(on: DispatchOptions, { tenant }: Caller, { scope }: Idempotency): Promise<void> {
  try {
    await writeOperational(on.storage.app, tenant, noteReplay(tenant, scope, on.now()));
  } catch (error) {
    on.log.warn(
      { message: error instanceof Error ? error.message : String(error) },
      "housekeeping of idempotency keys failed",
    );
  }
}

// ── Refusals ─────────────────────────────────────────────────────────────────────────────────────────────────────────

function refusalOf(error: unknown, { operation, requestId }: DispatchRequest, log: DispatchOptions["log"]): Refusal {
  if (error instanceof RefusalError) return shownRefusal(error.refusal, { operation, requestId }, log);
  log.error({ err: error, requestId, operation }, "a request failed inside");
  return internalError(requestId);
}

/** Only the operator may know where the database is and why it does not answer: that goes to the log. */
function shownRefusal(
  refusal: Refusal,
  about: { operation: OperationId; requestId: string },
  log: DispatchOptions["log"],
): Refusal {
  if (refusal.code !== "database_unavailable") return refusal;
  log.warn({ ...about, message: refusal.message }, "the database is away");
  return { ...refusal, message: "the database does not answer; it is tried again with every request" };
}

/** Refusals of governed decisions are entries: they record who was refused, and with which code. */
function record(ledger: Ledger, caller: Caller, request: DispatchRequest, refusal: Refusal): void {
  if (!isRecorded(refusal.code)) return;
  ledger.recordRefusal(caller.tenant, {
    actor: caller.actor,
    code: refusal.code,
    subject: subjectOfRefusal(request, refusal),
  });
}
