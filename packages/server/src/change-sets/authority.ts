/**
 * What gives authority to change targets, held against the ledger: the change-set with its digests and votes, the people the
 * votes and the separation of duties rest on, the tenant's mode and kill-switches, the configuration, the workspaces.
 *
 * INVARIANT: nothing is changed on the word of a row that the ledger does not know, by an apply, a rollback, or a run that
 * is found without an end.
 */
import { refused, type Refusal } from "@countersign/contract";
import { type Finding, verifySignature, voteSigningBytes } from "@countersign/proof";
import { type Configuration, configurationRows } from "../governance/index.js";
import type { Attestation, AttestedRow, RowReference, Snapshot } from "../ledger/index.js";
import type { People } from "../tenancy/index.js";
import { digestMismatches, hasApprovals } from "./authority.rules.js";
import type { Desk } from "./desk.js";
import { erasedRefusal } from "./lifecycle.rules.js";
import { liveVotes, type Loaded } from "./loaded.rules.js";
import { readWhole } from "./queries.js";
import type { ApplicationItemRow, ApplicationRow, VoteRow, Whole } from "./rows.js";
import { findTargetRules } from "../targets/index.js";

/** `ledger_mismatch` unless everything an apply or a rollback rests on is what the ledger says. */
export async function authorityMismatch(
  desk: Desk,
  snapshot: Snapshot,
  loaded: Loaded,
  killSwitches: readonly { readonly id: string }[],
): Promise<Refusal | undefined> {
  const { whole, people, configuration, configurationEpoch } = loaded;
  const wrong = [
    ...(await ownMismatches(desk, snapshot, loaded, [])),
    ...(await tenantMismatches(desk, snapshot, people, killSwitches)),
    ...(await peopleMismatches(desk, snapshot, people, concerned(whole, people))),
    ...(await configurationMismatches(desk, snapshot, configuration, configurationEpoch)),
    ...(await placeMismatches(desk, snapshot, whole)),
  ];
  return mismatch(whole.changeSet.number, wrong);
}

/** The same for what people are about to decide on: a row that was changed by hand is not to become the newest in the ledger. */
export async function changeSetMismatch(
  desk: Desk,
  snapshot: Snapshot,
  loaded: Pick<Loaded, "whole" | "people">,
): Promise<Refusal | undefined> {
  return mismatch(loaded.whole.changeSet.number, await ownMismatches(desk, snapshot, loaded, []));
}

/** For a run found without an end: that its intent is in the ledger, and what it is to do is what people approved. */
export async function runMismatch(
  desk: Desk,
  snapshot: Snapshot,
  application: ApplicationRow,
  recorded: readonly ApplicationItemRow[],
): Promise<Refusal | undefined> {
  const whole = await readWhole(snapshot, application.change_set_id);
  if (whole === undefined)
    return mismatch(application.change_set_id, [`applications \`${application.id}\` (without a change-set)`]);
  const people = await desk.tenancy.loadPeople(snapshot);
  const { changeSet, revision } = whole;
  const rows: RowReference[] = [
    { table: "applications", id: application.id },
    ...recorded.map((row) => ({ table: "application_items" as const, id: row.id })),
  ];
  const wrong = await ownMismatches(desk, snapshot, { whole, people }, rows);
  wrong.push(
    ...(await peopleMismatches(desk, snapshot, people, new Set(liveVotes(whole).map((vote) => vote.voter_id)))),
  );
  const running = application.kind === "APPLY" ? "APPLYING" : "ROLLING_BACK";
  if (
    changeSet.application_id !== application.id ||
    application.revision_id !== revision.id ||
    changeSet.status !== running
  ) {
    wrong.push(`applications \`${application.id}\` (not the run of its change-set)`);
  }
  const approvers = new Set(
    liveVotes(whole)
      .filter((vote) => vote.decision === "APPROVED")
      .map((vote) => vote.voter_id),
  );
  if (!hasApprovals(whole, approvers)) wrong.push(`applications \`${application.id}\` (without the approvals)`);
  return mismatch(changeSet.number, wrong);
}

function mismatch(number: string, wrong: readonly string[]): Refusal | undefined {
  if (wrong.length === 0) return undefined;
  return refused(
    "ledger_mismatch",
    `the database and the ledger disagree about \`${number}\`: ${wrong.slice(0, 5).join(", ")}${wrong.length > 5 ? ` and ${wrong.length - 5} more` : ""}; nothing was applied: run \`countersign audit verify\``,
    { details: { mismatches: wrong.slice(0, 50) } },
  );
}

/** Change-sets as they were read and found equal to the ledger. */
const knownWholes = new WeakSet<Whole>();

/** `ledger_mismatch` unless it was held against the ledger in this reading: no command signs a forged row into the ledger. */
export async function unlessKnown(
  desk: Desk,
  snapshot: Snapshot,
  loaded: Pick<Loaded, "whole" | "people">,
): Promise<Refusal | undefined> {
  const erased = erasedRefusal(loaded.whole.changeSet);
  if (erased !== undefined) return erased;
  return knownWholes.has(loaded.whole) ? undefined : changeSetMismatch(desk, snapshot, loaded);
}

/** The change-set's rows, what its digests cover, and the signatures of its votes. */
async function ownMismatches(
  desk: Desk,
  snapshot: Snapshot,
  { whole, people }: Pick<Loaded, "whole" | "people">,
  more: readonly RowReference[],
): Promise<string[]> {
  const { changeSet, revision } = whole;
  const votes = liveVotes(whole);
  const own = await desk.ledger.attest(snapshot, {
    subjectId: changeSet.id,
    rows: [
      { table: "change_sets", id: changeSet.id },
      { table: "revisions", id: revision.id },
      ...whole.items.map((item) => ({ table: "items" as const, id: item.id })),
      ...votes.map((vote) => ({ table: "votes" as const, id: vote.id })),
      ...more,
    ],
  });
  const forged = votes
    .filter((vote) => !isGenuine(vote, { tenant: snapshot.tenant, whole, people }))
    .map((vote) => `votes \`${vote.id}\` (its signature is not by the voter's key over the approval digest)`);
  const wrong = [...described(own), ...digestMismatches(whole), ...forged];
  if (wrong.length === 0) knownWholes.add(whole);
  return wrong;
}

function isGenuine(
  vote: VoteRow,
  { tenant, whole, people }: { tenant: string; whole: Whole; people: People },
): boolean {
  const key = people.signingKeys.get(vote.key_id);
  if (key === undefined || key.principalId !== vote.voter_id || vote.digest !== whole.changeSet.approval_digest)
    return false;
  const bytes = voteSigningBytes({
    tenant,
    changeSetId: whole.changeSet.id,
    approvalDigest: vote.digest,
    decision: vote.decision,
    voterId: vote.voter_id,
    atMs: vote.at_ms,
  });
  return verifySignature(key.publicKey, bytes, vote.signature);
}

async function tenantMismatches(
  desk: Desk,
  snapshot: Snapshot,
  people: People,
  killSwitches: readonly { readonly id: string }[],
): Promise<string[]> {
  const { tenant } = snapshot;
  const rows: RowReference[] = [
    { table: "tenants", id: tenant },
    ...killSwitches.map(({ id }) => ({ table: "kill_switches" as const, id })),
  ];
  const attested = await desk.ledger.attest(snapshot, { subjectId: tenant, rows });
  const mode = attested.rows.find((one) => one.table === "tenants" && one.id === tenant)?.row["mode"];
  return [...described(attested), ...(mode === people.mode ? [] : [`tenants \`${tenant}\` (another mode)`])];
}

// ── People ───────────────────────────────────────────────────────────────────────────────────────────────────────────

/** Whose rows decide whether the approvals count: who voted, who proposed, and who answers for the author. */
function concerned(whole: Whole, people: People): Set<string> {
  const { author_id: author, author_humans: humans } = whole.changeSet;
  return new Set([author, ...humans, ...people.humansOf(author), ...liveVotes(whole).map((vote) => vote.voter_id)]);
}

// What is remembered was found equal to the ledger, and does not change: other people are another object.
const known = new WeakMap<People, Set<string>>();

async function peopleMismatches(
  desk: Desk,
  snapshot: Snapshot,
  people: People,
  ids: ReadonlySet<string>,
): Promise<string[]> {
  const fine = known.get(people) ?? new Set<string>();
  known.set(people, fine);
  const wrong: string[] = [];
  for (const id of ids) {
    if (fine.has(id)) continue;
    const attested = await desk.ledger.attest(snapshot, { subjectId: id, rows: [{ table: "principals", id }] });
    const found = [
      ...described(attested),
      ...(isAsAttested(people, id, attested.rows)
        ? []
        : [`principals \`${id}\` (roles, keys or answerability that the ledger does not know)`]),
    ];
    if (found.length === 0) fine.add(id);
    wrong.push(...found);
  }
  return wrong;
}

/** What decisions are made from is what these rows say: also a binding or a key that was added by hand is found. */
function isAsAttested(people: People, id: string, rows: readonly AttestedRow[]): boolean {
  const of = (table: string) => rows.filter((one) => one.table === table).map((one) => one.row);
  const person = people.principals.get(id);
  const principal = of("principals").find((row) => row["id"] === id);
  if (person === undefined || principal === undefined) return false;
  const bound = (kind: string) =>
    of("role_bindings")
      .filter((row) => row["kind"] === kind && row["status"] === "ACTIVE")
      .map((row) => row["name"] as string);
  const keys = [...people.signingKeys.values()].filter((key) => key.principalId === id);
  const stored = of("signing_keys");
  return (
    principal["kind"] === person.kind &&
    principal["status"] === person.status &&
    (principal["answerable"] ?? null) === person.answerable &&
    (principal["answerable_before"] ?? null) === person.answerableBefore &&
    sameNames(bound("role"), person.boundRoles) &&
    sameNames(bound("group"), person.groups) &&
    stored.length === keys.length &&
    keys.every((key) =>
      stored.some(
        (row) =>
          row["id"] === key.id &&
          row["public_key"] === key.publicKey &&
          row["status"] === key.status &&
          (row["minted_by"] ?? null) === key.mintedBy,
      ),
    )
  );
}

function sameNames(a: readonly string[], b: readonly string[]): boolean {
  return [...a].sort().join("\n") === [...b].sort().join("\n");
}

// ── Configuration, and where the targets are ─────────────────────────────────────────────────────────────────────────────────────

// A configuration is made of the text of its rows alone, so one that was found equal to the ledger stays so within its epoch.
const knownConfigurations = new WeakMap<Configuration, Set<string>>();

async function configurationMismatches(
  desk: Desk,
  snapshot: Snapshot,
  configuration: Configuration,
  epoch: number,
): Promise<string[]> {
  const fine = knownConfigurations.get(configuration) ?? new Set<string>();
  knownConfigurations.set(configuration, fine);
  const place = `${snapshot.tenant} ${epoch}`;
  if (fine.has(place)) return [];
  const wrong: string[] = [];
  for (const id of await configurationRows(snapshot)) {
    wrong.push(
      ...described(
        await desk.ledger.attest(snapshot, { subjectId: id, rows: [{ table: "resources", id }], onlyThese: true }),
      ),
    );
  }
  if (wrong.length === 0) fine.add(place);
  return wrong;
}

/** Where the targets are and how they are reached, as far as rows say it: a workspace, a connection. */
async function placeMismatches(desk: Desk, snapshot: Snapshot, whole: Whole): Promise<string[]> {
  const needs = whole.items.flatMap((item) =>
    item.effects.flatMap(({ target }) => findTargetRules(target.kind)?.needs(target) ?? []),
  );
  const bySubject = new Map(needs.map((need) => [JSON.stringify(need), need]));
  const wrong: string[] = [];
  for (const need of bySubject.values()) wrong.push(...described(await desk.ledger.attest(snapshot, need)));
  return wrong;
}

function described({ mismatches }: Attestation): string[] {
  return mismatches.map(describeFinding);
}

function describeFinding(finding: Finding): string {
  const what =
    finding.table === undefined ? `entry ${finding.seq ?? "?"}` : `${finding.table} \`${finding.id ?? "?"}\``;
  return `${what} (${finding.class})`;
}
