/**
 * The client: one method per operation of the contract, sent with retries and idempotency keys, plus a few helpers for
 * the daily work of agents. Runs in Node ≥ 20 and in browsers; needs nothing but `fetch` and `crypto.randomUUID`.
 */
import {
  isIn,
  errorCatalogue,
  operationIds,
  operationRow,
  type ApplicationAnswer,
  type ApplicationView,
  type ChangeSetView,
  type EntryView,
  type OperationId,
  type OperationOutput,
  type ReportLine,
  settledStatuses,
  type Status,
} from "@countersign/contract";
import { CountersignError, errorFromProblem } from "./errors.js";
import { readEvents, type EndEvent } from "./events.js";
import { buildRequest, type Request } from "./request.js";
import { retryDelayMs } from "./retry.js";
import type { CallOptions, Input, OperationMethods, PagedOperationId, RowOf } from "./types.js";

export interface CountersignOptions {
  /** Address of the server, e.g. `http://127.0.0.1:7117` (the default). */
  readonly url?: string;
  /** API key (`csk_…`). Not needed to enrol. */
  readonly key?: string;
  readonly fetch?: typeof fetch;
  /** How often a request is repeated at most; default 4. 0: never. */
  readonly retries?: number;
  /** Milliseconds one attempt may take; default 120,000. */
  readonly timeoutMs?: number;
  /** Sent as `User-Agent` where the platform allows it. */
  readonly userAgent?: string;
  /** Tests give their own clock and chance. */
  readonly sleep?: (ms: number, signal?: AbortSignal) => Promise<void>;
  readonly random?: () => number;
}

export const defaultUrl = "http://127.0.0.1:7117";

export interface ProposeOptions extends CallOptions {
  /** Submit at once; default true. */
  readonly submit?: boolean;
}

export interface WaitOptions {
  readonly signal?: AbortSignal;
  /** Milliseconds until it gives up with `timed_out`; default: never. */
  readonly timeoutMs?: number;
  /** Milliseconds between two looks: it begins with the first and grows to the second. */
  readonly everyMs?: readonly [first: number, most: number];
  /** Called when the status changes. */
  readonly onStatus?: (status: Status) => void;
}

export interface FollowOptions extends CallOptions {
  /** Called when the connection breaks, and when it is back. */
  readonly onConnection?: (state: "connected" | "lost") => void;
}

class Client {
  readonly url: string;
  readonly #options: CountersignOptions;

  constructor(options: CountersignOptions = {}) {
    const url = new URL(options.url ?? defaultUrl);
    if (url.protocol !== "http:" && url.protocol !== "https:")
      throw new TypeError(`\`${options.url}\` is not an http or https address`);
    this.url = url.href.replace(/\/+$/, "");
    this.#options = options;
  }

  /** Calls an operation by its id. `client.createChangeSet(…)` is the same, and reads better. */
  async call<K extends OperationId>(id: K, input: Input<K>, options: CallOptions = {}): Promise<OperationOutput<K>> {
    const { response, done } = await this.#send(id, input as Readonly<Record<string, unknown>>, options);
    const answer = await readJson(response, id).finally(done);
    // The request was repeated because its answer was lost, and the first request's run is still under way. Wait for
    // the run's end, as the first request would have.
    const { status, job } = operationRow(id);
    if (response.status === 202 && status !== 202 && job === undefined)
      return (await this.#ended(answer as ApplicationAnswer, options)) as OperationOutput<K>;
    return answer as OperationOutput<K>;
  }

  async #ended(answer: ApplicationAnswer, options: CallOptions): Promise<ApplicationAnswer> {
    let { application } = answer;
    if (application.status !== "RUNNING") return answer;
    for (let waitMs = 250; application.status === "RUNNING"; waitMs = Math.min(5_000, waitMs * 1.5)) {
      await (this.#options.sleep ?? wait)(waitMs, options.signal);
      application = await this.call("getApplication", { applicationId: application.id }, passedOn(options));
    }
    const changeSet = await this.call("getChangeSet", { id: application.changeSetId }, passedOn(options));
    return { changeSet, application, receipts: answer.receipts };
  }

  /** Calls a streamed operation; gives its lines as they were sent. */
  async *lines<K extends OperationId>(
    id: K,
    input: Input<K>,
    options: CallOptions = {},
  ): AsyncGenerator<string, void, undefined> {
    const { response, alive, done: ended } = await this.#send(id, input as Readonly<Record<string, unknown>>, options);
    if (response.body === null) return ended();
    const reader = (response.body as ReadableStream<Uint8Array>).getReader();
    const decoder = new TextDecoder("utf-8", { fatal: true });
    let rest = "";
    try {
      for (;;) {
        alive();
        const { done, value } = await reader.read();
        ended(); // what the caller does with it may take as long as it likes
        rest += done ? decoder.decode() : decoder.decode(value, { stream: true });
        const lines = rest.split("\n");
        rest = lines.pop() ?? "";
        yield* lines;
        if (done) break;
      }
      if (rest !== "") yield rest;
    } catch (cause) {
      if (options.signal?.aborted === true) throw noAnswer(this.url, id, cause, { byCaller: true, inTime: true });
      throw new CountersignError(
        {
          code: "unreachable",
          status: 0,
          title: "the answer broke off",
          detail: `the answer of \`${this.url}\` broke off; the part that came is incomplete`,
          operation: id,
        },
        { cause },
      );
    } finally {
      // Closes the connection when the caller stops early. After an error there is no connection left to close.
      await reader.cancel().catch(() => undefined);
      ended();
    }
  }

  /**
   * Entries of the ledger as they are committed, for as long as the caller likes: connects again after a broken connection or a
   * restart of the server and goes on after the last entry it gave, without a gap or a repeat. Ends by throwing:
   * `aborted` after the caller's signal, `key_revoked` and similar codes when the key may not read any more.
   */
  async *follow(
    input: Input<"tailAudit"> = {},
    options: FollowOptions = {},
  ): AsyncGenerator<EntryView, void, undefined> {
    const { onConnection, ...call } = options;
    let at = input.after;
    let failures = 0;
    for (;;) {
      let connected = false;
      const { since, after: _, ...filters } = input;
      const from = at === undefined ? (since === undefined ? {} : { since }) : { after: at };
      try {
        for await (const event of readEvents(this.lines("tailAudit", { ...filters, ...from }, call))) {
          if (!connected) onConnection?.("connected");
          connected = true;
          failures = 0;
          if (event.id !== undefined) at = event.id;
          if (event.kind === "entry") yield event.entry;
          if (event.kind === "end") throw endOf(event);
        }
        throw brokenOff(this.url);
      } catch (error) {
        const delayMs = retryDelayMs(error, failures++, this.#options.random ?? Math.random);
        if (delayMs === undefined) throw error;
        if (connected) onConnection?.("lost");
        await (this.#options.sleep ?? wait)(delayMs, call.signal);
      }
    }
  }

  /** A report line by line, as it comes: a header, change-sets, events, a summary. */
  async *report(input: Input<"reportAudit">, options: CallOptions = {}): AsyncGenerator<ReportLine, void, undefined> {
    let last: ReportLine | undefined;
    for await (const line of this.lines("reportAudit", input, options)) {
      const parsed = parse(line) as ReportLine | undefined;
      if (parsed === undefined) throw brokenOff(this.url);
      last = parsed;
      yield parsed;
    }
    if (last?.kind !== "summary") throw brokenOff(this.url);
  }

  /** Every row of a list, page after page. */
  async *all<K extends PagedOperationId>(
    id: K,
    input: Input<K>,
    options: CallOptions = {},
  ): AsyncGenerator<RowOf<K>, void, undefined> {
    let cursor: string | null = null;
    do {
      const page: { rows: readonly unknown[]; nextCursor: string | null } = (await this.call(
        id,
        { ...input, ...(cursor === null ? {} : { cursor }) } as Input<K>,
        options,
      )) as never;
      yield* page.rows as readonly RowOf<K>[];
      cursor = page.nextCursor;
    } while (cursor !== null);
  }

  /** Proposes a change-set and submits it. The answer says whose approval it waits for. */
  async propose(input: Input<"createChangeSet">, options: ProposeOptions = {}): Promise<ChangeSetView> {
    const { submit = true, idempotencyKey = crypto.randomUUID(), ...call } = options;
    const created = await this.call("createChangeSet", input, { ...call, idempotencyKey });
    if (!submit) return created.changeSet;
    // Derived from the caller's key, so proposing again with the same key repeats both steps without a second effect.
    const submitted = await this.call(
      "submitChangeSet",
      { id: created.changeSet.id },
      { ...call, idempotencyKey: `${idempotencyKey}:submit` },
    );
    return submitted.changeSet;
  }

  /** Reads the change-set repeatedly until it has one of the statuses. Throws when it cannot reach them any more. */
  async waitFor(
    id: string,
    statuses: readonly Status[],
    options: WaitOptions = {},
  ): Promise<OperationOutput<"getChangeSetStatus">> {
    const [first, most] = options.everyMs ?? [500, 5_000];
    const sleep = this.#options.sleep ?? wait;
    let waitMs = first;
    let spentMs = 0;
    let before: Status | undefined;
    for (;;) {
      const now = await this.call(
        "getChangeSetStatus",
        { id },
        options.signal === undefined ? {} : { signal: options.signal },
      );
      if (now.status !== before) options.onStatus?.(now.status);
      before = now.status;
      if (statuses.includes(now.status)) return now;
      const place = `change-set \`${now.number}\` is ${now.status}`;
      if (isIn(settledStatuses, now.status))
        throw waited(
          "settled_otherwise",
          `${place}${now.statusReason === null ? "" : ` (${now.statusReason})`}; it will not become ${statuses.join(" or ")}`,
        );
      if (options.timeoutMs !== undefined && spentMs >= options.timeoutMs)
        throw waited("timed_out", `${place} after ${spentMs} ms of waiting for ${statuses.join(" or ")}`);
      await sleep(waitMs, options.signal);
      spentMs += waitMs;
      waitMs = Math.min(most, waitMs * 1.5);
    }
  }

  /** The latest run that applied (or rolled back) a change-set. */
  async lastApplication(id: string, kind: ApplicationView["kind"] = "APPLY"): Promise<ApplicationView | undefined> {
    const { rows } = await this.call("listApplications", { id });
    return rows.findLast((row) => row.kind === kind);
  }

  async #send(id: OperationId, input: Readonly<Record<string, unknown>>, options: CallOptions): Promise<Sent> {
    const row = operationRow(id);
    const key = row.idempotent === true ? (options.idempotencyKey ?? crypto.randomUUID()) : undefined;
    const request = buildRequest(id, input, key);
    const repeatable = row.method === "GET" || row.idempotent === true;
    const retries = repeatable ? (this.#options.retries ?? 4) : 0;
    for (let attempt = 0; ; attempt++) {
      try {
        return await this.#attempt(id, request, options);
      } catch (error) {
        const delayMs =
          attempt < retries ? retryDelayMs(error, attempt, this.#options.random ?? Math.random) : undefined;
        if (delayMs === undefined) throw error;
        await (this.#options.sleep ?? wait)(delayMs, options.signal);
      }
    }
  }

  async #attempt(id: OperationId, request: Request, options: CallOptions): Promise<Sent> {
    const timeout = new Timeout(options.timeoutMs ?? this.#options.timeoutMs ?? 120_000);
    const signal = options.signal === undefined ? timeout.signal : AbortSignal.any([timeout.signal, options.signal]);
    const { key, userAgent } = this.#options;
    const headers = {
      ...request.headers,
      ...(key === undefined ? {} : { authorization: `Bearer ${key}` }),
      ...(userAgent === undefined ? {} : { "user-agent": userAgent }),
    };
    try {
      const send = this.#options.fetch ?? fetch;
      // A redirect could carry the key to another host.
      const response = await send(`${this.url}${request.path}`, {
        method: request.method,
        headers,
        signal,
        redirect: "error",
        ...(request.body === undefined ? {} : { body: request.body }),
      });
      if (!response.ok) throw await problemOf(response, id, this.url);
      // A stream may take any time, as long as data keeps coming.
      return { response, alive: () => timeout.begin(), done: () => timeout.end() };
    } catch (cause) {
      timeout.end();
      if (cause instanceof CountersignError) throw cause;
      throw noAnswer(this.url, id, cause, { byCaller: options.signal?.aborted === true, inTime: !timeout.over });
    }
  }
}

interface Sent {
  readonly response: Response;
  /** Data came: the time starts again. */
  readonly alive: () => void;
  readonly done: () => void;
}

/** Aborts when no data came for `timeoutMs`. */
class Timeout {
  readonly #controller = new AbortController();
  readonly #ms: number;
  #timer: ReturnType<typeof setTimeout> | undefined;
  constructor(ms: number) {
    this.#ms = ms;
    this.begin();
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  get over(): boolean {
    return this.#controller.signal.aborted;
  }

  begin(): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#controller.abort(), this.#ms);
  }

  end(): void {
    clearTimeout(this.#timer);
  }
}

/** Options for a different request: all but the idempotency key. */
function passedOn({ signal, timeoutMs }: CallOptions): CallOptions {
  return { ...(signal === undefined ? {} : { signal }), ...(timeoutMs === undefined ? {} : { timeoutMs }) };
}

function waited(code: "settled_otherwise" | "timed_out", detail: string): CountersignError {
  return new CountersignError({
    code,
    status: 0,
    title: "the status did not come",
    detail,
    operation: "getChangeSetStatus",
  });
}

function brokenOff(url: string): CountersignError {
  return new CountersignError({
    code: "unreachable",
    status: 0,
    title: "the answer broke off",
    detail: `the answer of \`${url}\` broke off; the part that came is incomplete`,
    operation: "stream",
  });
}

/** Connect again to a server that stops, but not with a key that may not read any more. */
function endOf({ code, message }: EndEvent): CountersignError {
  const { status } = errorCatalogue[code];
  return new CountersignError({ code, status, title: "the stream ended", detail: message, operation: "tailAudit" });
}

function noAnswer(
  url: string,
  operation: string,
  cause: unknown,
  how: { readonly byCaller: boolean; readonly inTime: boolean },
): CountersignError {
  const base = { status: 0, operation };
  if (how.byCaller)
    return new CountersignError(
      { ...base, code: "aborted", title: "aborted", detail: "the caller gave the request up" },
      { cause },
    );
  if (!how.inTime)
    return new CountersignError(
      { ...base, code: "timed_out", title: "no answer in time", detail: `\`${url}\` did not answer in time` },
      { cause },
    );
  const inner = cause instanceof Error && cause.cause instanceof Error ? cause.cause : cause;
  const why = inner instanceof Error && inner.message !== "" ? ` (${inner.message})` : "";
  return new CountersignError(
    {
      ...base,
      code: "unreachable",
      title: "the server cannot be reached",
      detail: `no Countersign server answers at \`${url}\`${why}`,
    },
    { cause },
  );
}

async function problemOf(response: Response, operation: string, url: string): Promise<CountersignError> {
  const text = await response.text();
  const after = Number(response.headers.get("retry-after") ?? Number.NaN);
  const answer = {
    status: response.status,
    operation,
    ...(Number.isFinite(after) ? { retryAfterSeconds: after } : {}),
  };
  const problem = errorFromProblem(parse(text), answer);
  if (problem !== undefined) return problem;
  // 502 and 504 of a proxy in between: the server behind it did not answer.
  const code =
    response.status === 502 || response.status === 503 || response.status === 504 ? "unreachable" : "malformed_answer";
  const detail = `\`${url}\` answered ${response.status} without a problem document; is it a Countersign server?`;
  return new CountersignError({ ...answer, code, title: "not an answer of Countersign", detail });
}

async function readJson(response: Response, operation: string): Promise<unknown> {
  const text = await response.text();
  const value = parse(text);
  if (value !== undefined) return value;
  throw new CountersignError({
    code: "malformed_answer",
    status: response.status,
    title: "not an answer of Countersign",
    detail: "the answer is not JSON; is it a Countersign server?",
    operation,
  });
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    // Not JSON: the caller decides what that means.
    return undefined;
  }
}

function wait(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const stop = (): void => {
      clearTimeout(timer);
      reject(
        new CountersignError({
          code: "aborted",
          status: 0,
          title: "aborted",
          detail: "the caller gave the request up",
          operation: "wait",
        }),
      );
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", stop);
      resolve();
    }, ms);
    if (signal?.aborted === true) return stop();
    signal?.addEventListener("abort", stop, { once: true });
  });
}

for (const id of operationIds) {
  const streamed = operationRow(id).stream !== undefined;
  Object.defineProperty(Client.prototype, id, {
    value(this: Client, input: Input<typeof id> = {} as Input<typeof id>, options: CallOptions = {}): unknown {
      return streamed ? this.lines(id, input, options) : this.call(id, input, options);
    },
  });
}

/** A client of one server with one key: `new Countersign({ url, key })`. */
export type Countersign = Client & OperationMethods;
export const Countersign = Client as unknown as new (options?: CountersignOptions) => Countersign;
