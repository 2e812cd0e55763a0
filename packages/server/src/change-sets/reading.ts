/** Looking at change-sets: one as it is now, lists of them, and their applications. Only a deadline that passed is acted on. */
import {
  type ApplicationView,
  type ChangeSetView,
  type CheckedInput,
  isRefusal,
  legalCommands,
  type OperationOutput,
  type Refusal,
  refused,
  refusedForProblems,
} from "@countersign/contract";
import { checkVote, loadConfiguration, type Route } from "../governance/index.js";
import type { Snapshot } from "../ledger/index.js";
import type { Caller } from "../tenancy/index.js";
import { expire } from "./command.js";
import type { Desk } from "./desk.js";
import { type ListSort, readCursor, writeCursor } from "./lists.rules.js";
import { isStopped, loadForCommand, notFound } from "./load.js";
import { approvalContext, liveVotes, type Loaded, tallyOf } from "./loaded.rules.js";
import {
  type ListFilter,
  listChangeSets,
  readApplication,
  readApplications,
  readWhole,
  readWholes,
} from "./queries.js";
import type { ChangeSetRow, Whole } from "./rows.js";
import { applicationOf, namesOf, summaryOf, view } from "./view.rules.js";
import { asSeenBy } from "./withholding.rules.js";

type Answer<T> = Promise<T | Refusal>;

/** One change-set as it is now; a deadline that passed is acted on first. */
export async function read(desk: Desk, caller: Caller, ref: string): Answer<ChangeSetView> {
  for (let tries = 1; ; tries++) {
    const loaded = await desk.ledger.snapshot(caller.tenant, (snapshot) => loadForCommand(desk, snapshot, ref));
    if (!isStopped(loaded)) return asSeenBy(caller, loaded, view(loaded));
    if (loaded.kind === "refused") return loaded;
    // What cannot be rejected (the database and the ledger disagree, the door is full) is told as overdue.
    if (tries > 2) return loaded.refusal;
    await expire(desk, caller.tenant, loaded.changeSetId);
  }
}

export async function readStatus(
  desk: Desk,
  caller: Caller,
  ref: string,
): Answer<OperationOutput<"getChangeSetStatus">> {
  const changeSet = await read(desk, caller, ref);
  if (isRefusal(changeSet)) return changeSet;
  const { applicationId } = changeSet;
  return { ...changeSet, legalCommands: legalCommands(changeSet.status), applicationId };
}

// ── Lists ────────────────────────────────────────────────────────────────────────────────────────────────────────────

type ListInput = CheckedInput<"listChangeSets">;

export async function list(
  desk: Desk,
  { tenant }: Caller,
  input: ListInput,
): Answer<OperationOutput<"listChangeSets">> {
  const page = pageAfter(input.sort, input.cursor);
  if (isRefusal(page)) return page;
  return desk.ledger.snapshot(tenant, async (snapshot) => {
    const authorId = await authorNamed(desk, snapshot, input.author);
    if (authorId === undefined && input.author !== undefined) return { rows: [], nextCursor: null };
    const { status, category, tag, target, search, sort, order, limit } = input;
    const filter: ListFilter = { status, category, authorId, tag, target, search };
    const found = await listChangeSets(snapshot, filter, { sort, order, limit: limit + 1, after: page.after });
    const { rows, nextCursor } = pageOf(found, { sort, limit });
    const names = await desk.tenancy.principalNames(
      snapshot,
      rows.map((row) => row.author_id),
    );
    return { rows: rows.map((row) => summaryOf(row, names)), nextCursor };
  });
}

async function authorNamed(desk: Desk, snapshot: Snapshot, author: string | undefined): Promise<string | undefined> {
  if (author === undefined) return undefined;
  const { principals } = await desk.tenancy.loadPeople(snapshot);
  return [...principals.values()].find((one) => one.id === author || one.name === author)?.id;
}

/** What waits for people; `mine`: for a vote of the caller's. A page may hold fewer than asked for, or none, and go on. */
export async function pending(
  desk: Desk,
  caller: Caller,
  { cursor, limit, mine }: CheckedInput<"listPendingApprovals">,
): Answer<OperationOutput<"listPendingApprovals">> {
  const page = pageAfter("deadline", cursor);
  if (isRefusal(page)) return page;
  return desk.ledger.snapshot(caller.tenant, async (snapshot) => {
    const order = { sort: "deadline", order: "asc", limit: limit + 1, after: page.after } as const;
    const found = await listChangeSets(snapshot, { status: ["PENDING_APPROVAL"] }, order);
    const { rows, nextCursor } = pageOf(found, { sort: "deadline", limit });
    const waiting = (await loadRows(desk, snapshot, rows)).filter((loaded) => !mine || waitsFor(loaded, caller));
    return { rows: waiting.map(pendingRow), nextCursor };
  });
}

/** Change-sets with their people, in the order of the rows. What else is under way on their targets is not asked. */
async function loadRows(desk: Desk, snapshot: Snapshot, rows: readonly ChangeSetRow[]): Promise<Loaded[]> {
  const people = await desk.tenancy.loadPeople(snapshot);
  const configuration = await loadConfiguration(snapshot);
  const configurationEpoch = await snapshot.epoch("config");
  const wholes = await readWholes(
    snapshot,
    rows.map((row) => row.id),
  );
  const byId = new Map<string, Whole>(wholes.map((whole) => [whole.changeSet.id, whole]));
  return rows
    .flatMap((row) => byId.get(row.id) ?? [])
    .map((whole) => ({ whole, people, configuration, configurationEpoch, overlaps: [] }));
}

function pendingRow(loaded: Loaded): OperationOutput<"listPendingApprovals">["rows"][number] {
  const { changeSet } = loaded.whole;
  const stages = tallyOf(loaded)?.stages ?? [];
  const waitingFor = stages.filter((stage) => stage.state !== "satisfied").map((stage) => stage.name);
  return {
    ...summaryOf(changeSet, namesOf(loaded.people)),
    waitingFor,
    approvalDigest: changeSet.approval_digest ?? "",
  };
}

/** Whether a vote of the caller's is still wanted: on the route, not excluded, not yet cast. */
function waitsFor(loaded: Loaded, caller: Caller): boolean {
  const { whole } = loaded;
  const cast = liveVotes(whole);
  if (cast.some((one) => one.voter_id === caller.principal.id)) return false;
  const votes = cast.map((one) => ({ voter: one.voter_id, decision: one.decision, atMs: one.at_ms }));
  const attempt = { voter: { id: caller.principal.id, type: caller.principal.kind }, decision: "APPROVED" as const };
  return checkVote(attempt, whole.revision.route as Route, votes, approvalContext(loaded, whole)) === undefined;
}

function pageAfter(
  sort: ListSort,
  cursor: string | undefined,
): { readonly after: ReturnType<typeof readCursor> } | Refusal {
  const after = cursor === undefined ? undefined : readCursor(sort, cursor);
  if (after !== undefined || cursor === undefined) return { after };
  const message = `\`cursor\` is not one of this list in this order; start without it`;
  return refusedForProblems([{ code: "invalid_request", pointer: "/cursor", message }]);
}

/** `found`: one more than the page holds, when there is more. */
function pageOf(
  found: readonly { readonly row: ChangeSetRow; readonly value: number }[],
  { sort, limit }: { readonly sort: ListSort; readonly limit: number },
): { readonly rows: ChangeSetRow[]; readonly nextCursor: string | null } {
  const shown = found.slice(0, limit);
  const last = found.length > limit ? shown.at(-1) : undefined;
  const nextCursor = last === undefined ? null : writeCursor(sort, { value: last.value, id: last.row.id });
  return { rows: shown.map(({ row }) => row), nextCursor };
}

// ── Applications ─────────────────────────────────────────────────────────────────────────────────────────────────────

export function applicationsOf(desk: Desk, { tenant }: Caller, ref: string): Answer<{ rows: ApplicationView[] }> {
  return desk.ledger.snapshot(tenant, async (snapshot) => {
    const whole = await readWhole(snapshot, ref);
    if (whole === undefined) return notFound(ref);
    const rows = await readApplications(snapshot, whole.changeSet.id);
    const names = await desk.tenancy.principalNames(
      snapshot,
      rows.map((row) => row.application.started_by),
    );
    return { rows: rows.map((row) => applicationOf(row, names)) };
  });
}

export function applicationNamed(desk: Desk, { tenant }: Caller, id: string): Answer<ApplicationView> {
  return desk.ledger.snapshot(tenant, async (snapshot) => {
    const found = await readApplication(snapshot, id);
    if (found === undefined) return refused("not_found", `there is no application \`${id}\``);
    return applicationOf(found, await desk.tenancy.principalNames(snapshot, [found.application.started_by]));
  });
}
