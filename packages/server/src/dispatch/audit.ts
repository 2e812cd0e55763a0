/** The ledger as operations show it: entries with names beside ids, verification, bundles. */
import {
  type CheckedInput,
  type EntryView,
  isUuid,
  type OperationOutput,
  refused,
  type Refusal,
  type TenantId,
  type VerifyReport,
} from "@countersign/contract";
import type { Finding } from "@countersign/proof";
import type { ChangeSets } from "../change-sets/index.js";
import type { AuditEntry, AuditQuery, Ledger } from "../ledger/index.js";
import { type Caller, deploymentTenant, loadPeople, principalNames } from "../tenancy/index.js";

export interface AuditDesk {
  readonly ledger: Ledger;
  readonly changeSets: Pick<ChangeSets, "idOf" | "get" | "numbersOf">;
}

const iso = (ms: number): string => new Date(ms).toISOString();

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

/** An id as it is; a name by the principals; null when nobody has it. */
async function actorOf(ledger: Ledger, tenant: TenantId, actor: string): Promise<string | null> {
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

async function named(desk: AuditDesk, tenant: TenantId, entries: readonly AuditEntry[]): Promise<EntryView[]> {
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
    hash: entry.hash,
  };
}

export function exportAudit(
  desk: AuditDesk,
  caller: Caller,
  input: CheckedInput<"exportAudit">,
): AsyncIterable<string> {
  return desk.ledger.exportRange(caller.tenant, {
    from: input.from,
    ...(input.to === undefined ? {} : { to: input.to }),
    bodies: input.bodies,
    deployment: deploymentTenant,
  });
}

export async function verifyChain(
  desk: AuditDesk,
  caller: Caller,
  input: CheckedInput<"verifyChain">,
): Promise<VerifyReport> {
  const report = await desk.ledger.verifyTenant(caller.tenant, {
    from: input.from,
    state: input.state && input.from === 0,
    bodies: true,
  });
  return {
    tenant: caller.tenant,
    integrity: report.integrity,
    completeness: { status: report.completeness.status, note: report.completeness.statement },
    entries: report.entries,
    from: report.from,
    to: report.head?.seq ?? null,
    head: report.head?.hash ?? null,
    findings: report.findings.map(findingView),
    durationMs: Math.round(report.durationMs),
    entriesPerSecond: Math.round(report.entriesPerSecond),
  };
}

function findingView(finding: Finding): VerifyReport["findings"][number] {
  const place = finding.seq === null ? "" : ` seq=${finding.seq}`;
  const row = finding.table === undefined ? "" : ` ${finding.table} ${finding.id ?? ""}`;
  const suspect = finding.suspect === undefined ? "" : ` (suspect ${finding.suspect})`;
  const detail = finding.detail === undefined ? "" : `: ${finding.detail}`;
  return {
    class: finding.class,
    seq: finding.seq,
    table: finding.table ?? null,
    id: finding.id ?? null,
    message: `${finding.class}${place}${row}${suspect}${detail}`,
    expected: finding.expected,
    actual: finding.actual,
  };
}
