/** The ledger's operations: entries with names beside ids, verification, bundles. */
import {
  type CheckedInput,
  type EntryView,
  isAction,
  isUuid,
  type OperationOutput,
  refused,
  refusedForProblems,
  type Refusal,
  RefusalError,
  rowOfAction,
  type TenantId,
  type VerifyReport,
} from "@countersign/contract";
import { iso } from "../platform/index.js";
import type { ChangeSets } from "../change-sets/index.js";
import type { Followed, TailOptions, Tails, TailTurn } from "../followers/index.js";
import { parsePattern } from "../governance/index.js";
import type { AuditEntry, AuditQuery, Ledger } from "../ledger/index.js";
import type { Publishing } from "../publishing/index.js";
import { type Verification, verifyView } from "../verification/index.js";
import { type Caller, loadPeople, principalNames } from "../tenancy/index.js";
import { checkPeriod, quarterOf, report } from "./report.js";

export interface AuditDesk {
  readonly ledger: Ledger;
  readonly verification: Pick<Verification, "verifyTenant">;
  readonly changeSets: Pick<ChangeSets, "idOf" | "get" | "numbersOf" | "targetKeys" | "touching">;
  readonly tails: Tails;
  readonly publishing: Pick<Publishing, "latest">;
  readonly now: () => number;
}
interface Naming {
  readonly ledger: Ledger;
  readonly changeSets: Pick<ChangeSets, "numbersOf">;
}

export async function listAudit(
  desk: AuditDesk,
  caller: Caller,
  input: CheckedInput<"listAudit">,
): Promise<OperationOutput<"listAudit"> | Refusal> {
  const changeSet =
    input.changeSet === undefined ? undefined : await desk.changeSets.idOf(caller.tenant, input.changeSet);
  if (input.changeSet !== undefined && changeSet === undefined)
    return refused("not_found", `there is no change-set \`${input.changeSet}\``);
  const actorId = input.actor === undefined ? undefined : await actorOf(desk.ledger, caller.tenant, input.actor);
  const subjects = [changeSet, input.subject].filter((id): id is string => id !== undefined);
  // Nobody of that name, or two subjects that differ: nothing can match.
  if (actorId === null || new Set(subjects).size > 1) return { rows: [], nextCursor: null };
  const query: AuditQuery = {
    ...(actorId === undefined ? {} : { actorId }),
    ...(input.action === undefined ? {} : { actions: input.action }),
    ...(subjects[0] === undefined ? {} : { subjectId: subjects[0] }),
    ...(input.since === undefined ? {} : { fromMs: Date.parse(input.since) }),
    ...(input.until === undefined ? {} : { toMs: Date.parse(input.until) }),
    ...(input.cursor === undefined ? {} : { cursor: input.cursor }),
    order: input.order === "desc" ? "newest" : "oldest",
    limit: input.limit,
  };
  const page = await desk.ledger.auditLog(caller.tenant, query);
  return { rows: await named(desk, caller.tenant, page.entries), nextCursor: page.next ?? null };
}

/** An id is taken unchanged; a name is looked up among the principals; null when no principal has it. */
export async function actorOf(
  ledger: Pick<Ledger, "snapshot">,
  tenant: TenantId,
  actor: string,
): Promise<string | null> {
  if (isUuid(actor)) return actor;
  const people = await ledger.snapshot(tenant, loadPeople);
  return [...people.principals.values()].find((person) => person.name === actor)?.id ?? null;
}

/** Entries of one page of a history: more of them are read page by page. */
const historyPage = 500;

export async function changeSetHistory(
  desk: AuditDesk,
  caller: Caller,
  input: CheckedInput<"getChangeSetHistory">,
): Promise<OperationOutput<"getChangeSetHistory"> | Refusal> {
  const id = await desk.changeSets.idOf(caller.tenant, input.id);
  if (id === undefined)
    return refused("not_found", `there is no change-set \`${input.id}\`; \`countersign change-set list\` shows them`);
  const entries: AuditEntry[] = [];
  for (let cursor: string | undefined; ;) {
    const page = await desk.ledger.auditLog(caller.tenant, {
      subjectId: id,
      order: "oldest",
      limit: historyPage,
      ...(cursor === undefined ? {} : { cursor }),
    });
    entries.push(...page.entries);
    cursor = page.next;
    if (cursor === undefined) return { rows: await named(desk, caller.tenant, entries) };
  }
}

export async function named(desk: Naming, tenant: TenantId, entries: readonly AuditEntry[]): Promise<EntryView[]> {
  const subjects = (type: string): string[] =>
    entries.filter(({ subject }) => subject.type === type && isUuid(subject.id)).map(({ subject }) => subject.id);
  const people = new Set([...entries.map((entry) => entry.actor.id), ...subjects("principal")]);
  const [names, numbers] = await desk.ledger.snapshot(tenant, (snapshot) =>
    Promise.all([
      principalNames(snapshot, [...people]),
      desk.changeSets.numbersOf(snapshot, [...new Set(subjects("change_set"))]),
    ]),
  );
  const label = ({ type, id }: AuditEntry["subject"]): string | null =>
    (type === "principal" ? names.get(id)?.name : type === "change_set" ? numbers.get(id) : undefined) ?? null;
  return entries.map((entry) => entryView(entry, names, label(entry.subject)));
}

function entryView(
  entry: AuditEntry,
  names: ReadonlyMap<string, { readonly name: string }>,
  label: string | null,
): EntryView {
  const { actor, subject } = entry;
  return {
    seq: entry.seq,
    at: iso(entry.timeMs),
    entryId: entry.entryId,
    actor: {
      type: actor.type,
      id: actor.id,
      name: actor.type === "system" ? "Countersign" : (names.get(actor.id)?.name ?? null),
      humans: [...actor.humans],
    },
    action: entry.action,
    subject: {
      type: subject.type,
      id: subject.id,
      label,
    },
    refs: entry.refs.map((ref) => ({ type: ref.type, id: ref.id })),
    data: entry.data,
    body: entry.body,
    bodyState: entry.bodyState,
    hash: entry.hash,
  };
}

// ── Tails ────────────────────────────────────────────────────────────────────────────────────────────────────────────

/** The source of tails: entries with names, written once for all readers. */
export function tailSource(desk: Naming): Pick<TailOptions, "read" | "head"> {
  return {
    read: async (tenant, after, limit) => {
      const cursor = after < 0 ? {} : { cursor: String(after) };
      const { entries } = await desk.ledger.auditLog(tenant, { order: "oldest", limit, ...cursor });
      return (await named(desk, tenant, entries)).map(followed);
    },
    head: async (tenant) => {
      const { entries } = await desk.ledger.auditLog(tenant, { order: "newest", limit: 1 });
      return entries[0]?.seq ?? -1;
    },
  };
}

function followed(entry: EntryView): Followed {
  const { seq, actor, action, subject } = entry;
  return { seq, actorId: actor.id, action, subjectId: subject.id, text: JSON.stringify(entry) };
}

/** Longest time that a key may go on reading after its permissions were changed by configuration. */
const recheckMs = 60_000;

/**
 * Entries as server-sent events. The caller's key is looked at again whenever people or keys changed, before anything that came
 * after is sent, and once a minute; a key that may not read any more ends the stream.
 */
export function tailAudit(
  desk: AuditDesk,
  caller: Caller,
  input: CheckedInput<"tailAudit">,
  recheck: () => Promise<Refusal | undefined>,
): AsyncIterable<string> & { readonly headers: Readonly<Record<string, string>> } {
  return {
    // A proxy that collects answers would keep the newest entries to itself.
    headers: { "x-accel-buffering": "no" },
    [Symbol.asyncIterator]: () => {
      const stopped = { turns: undefined as AsyncIterator<TailTurn> | undefined };
      const events = tailEvents(desk, caller, input, { recheck, stopped });
      return {
        next: () => events.next(),
        return: () => {
          void stopped.turns?.return?.(); // it may be waiting for an entry that does not come
          return events.return(undefined);
        },
      };
    },
  };
}

async function* tailEvents(
  desk: AuditDesk,
  caller: Caller,
  input: CheckedInput<"tailAudit">,
  {
    recheck,
    stopped,
  }: { recheck: () => Promise<Refusal | undefined>; stopped: { turns: AsyncIterator<TailTurn> | undefined } },
): AsyncGenerator<string, undefined, undefined> {
  const wanted = await tailFilter(desk, caller, input);
  const turns = desk.tails.follow(caller.tenant, await tailStart(desk, caller, input));
  stopped.turns = turns;
  let checkedMs = desk.now();
  let begun = false;
  for await (const turn of turns) {
    if (turn.kind === "stopped") {
      yield endEvent({ code: "shutting_down", message: "the server is stopping; connect again in a moment" });
      return undefined;
    }
    // What a newer version wrote, and this one does not know, may have changed it too.
    const accessChanged = turn.entries.some(({ action }) => rowOfAction(action)?.changesAccess ?? !isAction(action));
    if (accessChanged || desk.now() - checkedMs >= recheckMs) {
      const refusal = await recheck();
      if (refusal !== undefined) {
        yield endEvent(refusal);
        return undefined;
      }
      checkedMs = desk.now();
    }
    const events = turn.entries.filter(wanted).map(({ seq, text }) => `id: ${seq}\nevent: entry\ndata: ${text}\n\n`);
    // The reader also remembers an id without data. So it continues from there after connecting again, even after
    // entries that its filter left out.
    yield `${begun ? "" : "retry: 2000\n"}${events.length === 0 ? ": nothing new\n" : `${events.join("")}`}id: ${turn.upTo}\n\n`;
    begun = true;
  }
  return undefined;
}

function endEvent({ code, message }: Pick<Refusal, "code" | "message">): string {
  return `event: end\ndata: ${JSON.stringify({ code, message })}\n\n`;
}

async function tailStart(
  { ledger }: AuditDesk,
  { tenant }: Caller,
  { after, since }: CheckedInput<"tailAudit">,
): Promise<number | undefined> {
  if (after !== undefined || since === undefined) return after;
  const { entries } = await ledger.auditLog(tenant, { fromMs: Date.parse(since), order: "oldest", limit: 1 });
  return entries[0] === undefined ? undefined : entries[0].seq - 1;
}

async function tailFilter(
  desk: AuditDesk,
  { tenant }: Caller,
  input: CheckedInput<"tailAudit">,
): Promise<(entry: Followed) => boolean> {
  const actor = input.actor === undefined ? undefined : await actorOf(desk.ledger, tenant, input.actor);
  if (actor === null)
    throw new RefusalError(
      refused("not_found", `there is nobody called \`${input.actor}\`; \`countersign agent list\` shows the agents`),
    );
  const changeSet = input.changeSet === undefined ? undefined : await desk.changeSets.idOf(tenant, input.changeSet);
  if (input.changeSet !== undefined && changeSet === undefined)
    throw new RefusalError(refused("not_found", `there is no change-set \`${input.changeSet}\``));
  const actions = input.action === undefined ? undefined : new Set(input.action);
  return (entry) =>
    (actor === undefined || entry.actorId === actor) &&
    (actions === undefined || actions.has(entry.action)) &&
    (input.subject === undefined || entry.subjectId === input.subject) &&
    (changeSet === undefined || entry.subjectId === changeSet);
}

// ── The report ───────────────────────────────────────────────────────────────────────────────────────────────────────

/** Lines of JSON: a header, change-sets, events, a summary. */
export async function* reportAudit(
  desk: AuditDesk,
  caller: Caller,
  input: CheckedInput<"reportAudit">,
): AsyncGenerator<string, undefined, undefined> {
  const problems = checkPeriod(input);
  const pattern = input.target === undefined ? undefined : parsePattern(input.target);
  if (pattern?.kind === "error")
    problems.push({ code: "invalid_request", pointer: "/target", message: `${pattern.message}; docs/policy.md` });
  if (problems.length > 0) throw new RefusalError(refusedForProblems(problems));
  const quarter = input.quarter === undefined ? undefined : quarterOf(input.quarter);
  const parse = (text: string | undefined): number | undefined => (text === undefined ? undefined : Date.parse(text));
  const { tenant } = caller;
  const { ledger, changeSets } = desk;
  const lines = report(
    {
      ledger,
      changeSets,
      nowMs: desk.now(),
      checkpoint: async () => {
        const { checkpoint } = (await desk.publishing.latest(tenant)) ?? {};
        return checkpoint === undefined ? null : { size: checkpoint.size, origin: checkpoint.origin };
      },
      verify:
        input.verify === "none"
          ? undefined
          : (range) => verdictOn(desk, caller, input.verify === "ledger" ? undefined : range),
      events: async (entries) =>
        (await named(desk, tenant, entries)).map(({ body: _, bodyState: __, ...entry }) => entry),
    },
    {
      tenant,
      pattern: pattern?.kind === "error" ? undefined : pattern,
      sinceMs: quarter?.sinceMs ?? parse(input.since),
      untilMs: quarter?.untilMs ?? parse(input.until),
    },
  );
  for await (const line of lines) yield `${JSON.stringify(line)}\n`;
  return undefined;
}

/** Of the period's chain, or of the whole ledger with its state: only that shows that no change-set was taken out of the tables. */
async function verdictOn(
  { verification }: AuditDesk,
  { tenant }: Caller,
  range: { readonly from: number; readonly to: number } | undefined,
): Promise<VerifyReport> {
  const verified = await verification.verifyTenant(
    tenant,
    range === undefined ? { bodies: false } : { ...range, state: false },
  );
  return verifyView(verified);
}
