/**
 * The report of an audit: all changes to some targets in a period, made from the ledger's entries, each proven as it is
 * shown.
 *
 * Promises: constant memory, however long the report (identifiers apart) · no connection to the database is held while
 * the reader is slow · the same question about the same period gives the same answer, except for texts erased since.
 */
import {
  type Action,
  actionsMarked,
  isUuid,
  type JsonObject,
  type JsonValue,
  type Problem,
  quarterPattern,
  type ReportChangeSet,
  type ReportEvent,
  type ReportGap,
  type ReportHeader,
  type ReportSummary,
  type ReportVote,
  type TenantId,
  type VerifyReport,
} from "@countersign/contract";
import { type EntryContent, fingerprintOf, VoteChecker } from "@countersign/proof";
import type { ChangeSets } from "../change-sets/index.js";
import { matchesParts, type Pattern } from "../governance/index.js";
import {
  activeSubjects,
  type AttestedEntry,
  type AuditEntry,
  firstSeqAt,
  type Ledger,
  type Snapshot,
  type Story,
} from "../ledger/index.js";
import { principalNames } from "../tenancy/index.js";
import { gap, type ItemFacts, reportOf, ReportTally } from "./report.rules.js";
import { openKeys } from "../targets/index.js";

export interface ReportQuestion {
  readonly tenant: TenantId;
  /** All targets when left out. */
  readonly pattern?: Pattern | undefined;
  readonly sinceMs?: number | undefined;
  /** Exclusive. */
  readonly untilMs?: number | undefined;
}

export interface ReportParts {
  readonly ledger: Pick<Ledger, "snapshot" | "story" | "auditLog" | "attest">;
  readonly changeSets: Pick<ChangeSets, "targetKeys" | "touching">;
  readonly nowMs: number;
  /** The newest checkpoint; undefined when nothing is published. */
  readonly checkpoint: () => Promise<ReportSummary["checkpoint"]>;
  /** Verifies the ledger behind the report; undefined when that was not asked for. */
  readonly verify: ((range: { readonly from: number; readonly to: number }) => Promise<VerifyReport>) | undefined;
  /** Entries that concern all change-sets, in the form that is shown. */
  readonly events: (entries: readonly AuditEntry[]) => Promise<readonly ReportEvent["entry"][]>;
  /** Change-sets listed at most; 50,000. */
  readonly listedMax?: number;
}

export type Line = ReportHeader | ReportChangeSet | ReportEvent | ReportSummary;

/** Change-sets told from one snapshot. */
const storiesAtOnce = 20;
/** Identifiers probed for entries at once. */
const probedAtOnce = 1_000;
/** More are not listed, and the summary says so: a report nobody reads is asked for a shorter period. */
const listedMaxDefault = 50_000;

/** The first millisecond of a quarter and of the one after it; undefined if the text is no quarter. */
export function quarterOf(text: string): { readonly sinceMs: number; readonly untilMs: number } | undefined {
  const match = quarterPattern.exec(text);
  if (match === null) return undefined;
  const [year, month] = [Number(match[1]), (Number(match[2]) - 1) * 3];
  return { sinceMs: Date.UTC(year, month, 1), untilMs: Date.UTC(year, month + 3, 1) };
}

/** The problems of a period, with JSON pointers. */
export function checkPeriod(asked: {
  readonly quarter?: string | undefined;
  readonly since?: string | undefined;
  readonly until?: string | undefined;
}): Problem[] {
  const problem = (pointer: string, message: string): Problem => ({ code: "invalid_request", pointer, message });
  if (asked.quarter !== undefined && (asked.since !== undefined || asked.until !== undefined))
    return [problem("/quarter", "a quarter, or `since` and `until`, not both")];
  if (asked.since !== undefined && asked.until !== undefined && Date.parse(asked.since) >= Date.parse(asked.until))
    return [problem("/until", "`until` is not after `since`")];
  return [];
}

export async function* report(parts: ReportParts, asked: ReportQuestion): AsyncGenerator<Line, void, undefined> {
  const { ledger } = parts;
  const found = await ledger.snapshot(asked.tenant, (snapshot) => findSubjects(parts, snapshot, asked));
  const { period, keys, ids } = found;
  yield {
    kind: "report",
    tenant: asked.tenant,
    target: asked.pattern?.text ?? null,
    since: asked.sinceMs === undefined ? null : new Date(asked.sinceMs).toISOString(),
    until: asked.untilMs === undefined ? null : new Date(asked.untilMs).toISOString(),
    from: period.from,
    to: period.to,
    generatedAt: new Date(parts.nowMs).toISOString(),
    targets: keys?.size ?? found.targets,
  };
  const checkpoint = await parts.checkpoint();
  const teller = new Teller(parts, asked.tenant, {
    period,
    covered: checkpoint?.size,
    wanted: keys === undefined ? () => true : (key) => keys.has(key),
    gone: await whatIsGone(ledger, asked.tenant),
  });
  const tally = new ReportTally();
  const listed = ids.slice(0, parts.listedMax ?? listedMaxDefault);
  for (let at = 0; at < listed.length; at += storiesAtOnce) {
    for (const line of await teller.tell(listed.slice(at, at + storiesAtOnce))) {
      tally.take(line, period);
      yield line;
    }
  }
  yield* eventsOf(parts, asked.tenant, period);
  const { counts, missing } = tally.summary();
  const verdict = parts.verify === undefined || period.to < 0 ? null : await parts.verify(period);
  yield {
    kind: "summary",
    counts,
    missing: [...missing, ...notListed(ids.length, listed.length)],
    checkpoint,
    verdict,
  };
}

function notListed(found: number, listed: number): ReportGap[] {
  if (found === listed) return [];
  const message = `of ${found} change-sets the first ${listed} are listed and counted; for all of them ask for shorter periods, one after the other (\`--since\`, \`--until\`)`;
  return [{ ...gap("not_listed", [], message), count: found - listed }];
}

interface Subjects {
  readonly period: { readonly from: number; readonly to: number };
  /** Undefined: every target is meant. */
  readonly keys: ReadonlySet<string> | undefined;
  readonly targets: number;
  readonly ids: readonly string[];
}

async function findSubjects({ changeSets }: ReportParts, snapshot: Snapshot, asked: ReportQuestion): Promise<Subjects> {
  const [from, to] = [
    asked.sinceMs === undefined ? 0 : await firstSeqAt(snapshot, asked.sinceMs),
    (await firstSeqAt(snapshot, asked.untilMs ?? Number.MAX_SAFE_INTEGER)) - 1,
  ];
  const period = { from, to };
  if (asked.pattern === undefined)
    return { period, keys: undefined, targets: 0, ids: await activeSubjects(snapshot, period) };
  const keys = await matchingKeys(changeSets, snapshot, asked.pattern);
  const ids: string[] = [];
  const touching = await changeSets.touching(snapshot, [...keys]);
  for (let at = 0; at < touching.length; at += probedAtOnce)
    ids.push(...(await activeSubjects(snapshot, { ...period, among: touching.slice(at, at + probedAtOnce) })));
  return { period, keys, targets: keys.size, ids };
}

/** Keys of targets that the pattern means. Widely: of what is not known any more of a target's name, it might be any. */
async function matchingKeys(
  changeSets: ReportParts["changeSets"],
  snapshot: Snapshot,
  pattern: Pattern,
): Promise<Set<string>> {
  const partsOf = await openKeys(snapshot);
  const isMeant = (key: string): boolean => {
    if (pattern.kind === "any") return true;
    const parts = key.startsWith(`${pattern.targetKind}:`) ? partsOf(key) : undefined;
    return parts !== undefined && matchesParts(pattern, parts, "restrict");
  };
  const keys = new Set<string>();
  for await (const some of changeSets.targetKeys(snapshot)) for (const key of some) if (isMeant(key)) keys.add(key);
  return keys;
}

// ── Telling ──────────────────────────────────────────────────────────────────────────────────────────────────────────

interface Gone {
  /** Contents before this entry were pruned. */
  readonly prunedBefore: number;
  readonly erased: ReadonlySet<number>;
}

interface KnownKey {
  readonly principal: string;
  readonly enrolled: AttestedEntry;
  readonly publicKey: string;
  revokedSeq?: number;
}

interface Telling {
  readonly period: { readonly from: number; readonly to: number };
  readonly covered: number | undefined;
  readonly wanted: (key: string) => boolean;
  readonly gone: Gone;
}

class Teller {
  readonly #parts: ReportParts;
  readonly #tenant: TenantId;
  readonly #telling: Telling;
  /** Signing keys of the voters met so far, from their enrolments. */
  readonly #keys = new Map<string, KnownKey>();
  readonly #voters = new Set<string>();

  constructor(parts: ReportParts, tenant: TenantId, telling: Telling) {
    this.#parts = parts;
    this.#tenant = tenant;
    this.#telling = telling;
  }

  tell(ids: readonly string[]): Promise<ReportChangeSet[]> {
    return this.#parts.ledger.snapshot(this.#tenant, async (snapshot) => {
      const stories: { id: string; story: Story }[] = [];
      for (const id of ids)
        stories.push({
          id,
          story: await this.#parts.ledger.story(snapshot, { subjectId: id, to: this.#telling.period.to }),
        });
      const people = stories.flatMap(({ story }) => peopleOf(story));
      const names = await principalNames(snapshot, [...new Set(people.filter(isUuid))]);
      for (const voter of new Set(stories.flatMap(({ story }) => votersOf(story))))
        await this.#learnKeys(snapshot, voter);
      return stories.map(({ id, story }) => this.#line(id, story, names));
    });
  }

  #line(id: string, story: Story, names: ReadonlyMap<string, { readonly name: string }>): ReportChangeSet {
    const { gone, ...telling } = this.#telling;
    const contents = new Map(story.entries.map((entry) => [entry.seq, entry]));
    const row = story.rows.find(({ table, id: of }) => table === "change_sets" && of === id)?.row;
    return reportOf({
      id,
      entries: story.told,
      row: row === undefined ? undefined : rowFacts(row),
      items: story.rows.flatMap(({ table, row: item }) => (table === "items" ? [itemFacts(item)] : [])),
      ...telling,
      signature: (seq) => this.#verdict(contents.get(seq)),
      name: (of) => (of === this.#tenant ? "Countersign" : (names.get(of)?.name ?? null)),
      mismatches: story.mismatches.map((one) => ({
        seq: one.seq,
        message: `${one.class}${one.seq === null ? "" : ` seq=${one.seq}`}${one.table === undefined ? "" : ` ${one.table} ${one.id ?? ""}`}`,
      })),
      excused: (seq) =>
        gone.erased.has(seq) ? "content_erased" : seq < gone.prunedBefore ? "content_pruned" : undefined,
    });
  }

  /** A voter's keys are those that the voter's own entries enrolled. These entries are hashed again like all others. */
  async #learnKeys(snapshot: Snapshot, voter: string): Promise<void> {
    if (this.#voters.has(voter)) return;
    this.#voters.add(voter);
    const { entries } = await this.#parts.ledger.attest(snapshot, { subjectId: voter, rows: [], onlyThese: true });
    for (const entry of entries) {
      const { action, data, subject } = entry.content;
      const id = data["key"];
      if (typeof id !== "string" || subject.id !== voter) continue;
      const known = this.#keys.get(id);
      if (action === "principal.key_enrolled" && known === undefined && typeof data["publicKey"] === "string")
        this.#keys.set(id, { principal: voter, enrolled: entry, publicKey: data["publicKey"] });
      if (action === "principal.key_revoked" && known !== undefined) known.revokedSeq ??= entry.seq;
    }
  }

  #verdict(vote: AttestedEntry | undefined): Pick<ReportVote, "signature" | "detail" | "fingerprint"> {
    if (vote === undefined)
      return {
        signature: "unreadable",
        detail: "the entry does not verify or is missing",
        fingerprint: null,
      };
    const key = this.#keys.get(textOf(vote.content.data["key"]));
    const fingerprint = key === undefined ? null : (fingerprintOf(key.publicKey) ?? null);
    if (key === undefined || key.enrolled.seq > vote.seq)
      return {
        signature: "unknown_key",
        detail: "no entry before the vote enrolled the key for this voter",
        fingerprint,
      };
    if (key.revokedSeq !== undefined && key.revokedSeq < vote.seq)
      return {
        signature: "forged",
        detail: `the key was revoked by entry ${key.revokedSeq}, before the vote`,
        fingerprint,
      };
    // A checker of its own: it takes entries in their order, and a later vote may be asked for before an earlier one.
    const checker = new VoteChecker(this.#tenant);
    checker.takeContent(key.enrolled.seq, key.enrolled.content);
    const verdict = checker.takeContent(vote.seq, vote.content);
    if (verdict.kind === "good") return { signature: "verified", detail: null, fingerprint };
    return {
      signature: verdict.kind === "forged" ? "forged" : "unknown_key",
      detail: verdict.kind === "forged" ? verdict.why : null,
      fingerprint,
    };
  }
}

function peopleOf({ told }: Story): string[] {
  return told.flatMap(({ actor, data }) => [
    actor.id,
    ...actor.humans,
    ...(typeof data["voter"] === "string" ? [data["voter"]] : []),
  ]);
}

function votersOf({ entries }: Story): string[] {
  const voterOf = ({ action, data }: EntryContent): string[] =>
    action === "change_set.vote_cast" && typeof data["voter"] === "string" ? [data["voter"]] : [];
  return entries.flatMap(({ content }) => voterOf(content));
}

/** A column that holds text. */
function textOf(value: JsonValue | undefined): string {
  return typeof value === "string" ? value : "";
}

function rowFacts(row: JsonObject) {
  return {
    number: textOf(row["number"]),
    title: textOf(row["title"]),
    status: textOf(row["status"]),
    revisionId: textOf(row["revision_id"]),
  };
}

function itemFacts(row: JsonObject): ItemFacts {
  return {
    revisionId: textOf(row["revision_id"]),
    operation: textOf(row["operation"]),
    target: `${textOf(row["target_type"])} ${textOf(row["target_id"])}`,
    environment: textOf(row["target_environment"]),
    keys: keysOfEffects(row["effects"]),
  };
}

function keysOfEffects(effects: JsonValue | undefined): string[] {
  const all = (Array.isArray(effects) ? effects : []) as readonly { readonly target?: { readonly key?: JsonValue } }[];
  return [...new Set(all.map(({ target }) => textOf(target?.key)))];
}

// ── What bears on all ────────────────────────────────────────────────────────────────────────────────────────────────

const eventActions = actionsMarked("reported");

const pageEntries = 200;

async function* entriesOf(
  ledger: Pick<Ledger, "auditLog">,
  tenant: TenantId,
  actions: readonly Action[],
  from = 0,
): AsyncGenerator<readonly AuditEntry[], void, undefined> {
  let cursor: string | undefined = from === 0 ? undefined : String(from - 1);
  do {
    const page = await ledger.auditLog(tenant, {
      actions,
      order: "oldest",
      limit: pageEntries,
      ...(cursor === undefined ? {} : { cursor }),
    });
    yield page.entries;
    cursor = page.next;
  } while (cursor !== undefined);
}

async function* eventsOf(
  { ledger, events }: ReportParts,
  tenant: TenantId,
  { from, to }: { readonly from: number; readonly to: number },
): AsyncGenerator<ReportEvent, void, undefined> {
  for await (const page of entriesOf(ledger, tenant, eventActions, from)) {
    const within = page.filter(({ seq }) => seq <= to);
    const shown = await events(within);
    for (const [index, entry] of shown.entries()) {
      const reason = within[index]?.body?.["reason"];
      yield { kind: "event", entry, reason: typeof reason === "string" && reason !== "" ? reason : null };
    }
    if (within.length < page.length) return;
  }
}

/** Erasures remembered at most, one by one. */
const erasedMax = 1_000_000;

/** Prunings and erasures by entries, at any time: the contents that they name are missing for a reason. */
async function whatIsGone(ledger: Pick<Ledger, "auditLog">, tenant: TenantId): Promise<Gone> {
  const erased = new Set<number>();
  let prunedBefore = 0;
  for await (const page of entriesOf(ledger, tenant, ["ledger.pruned", "subject.erased"])) {
    for (const { action, data } of page) {
      const { upTo, seqs } = data;
      if (action === "ledger.pruned" && typeof upTo === "number") prunedBefore = Math.max(prunedBefore, upTo);
      if (action === "subject.erased" && Array.isArray(seqs) && erased.size < erasedMax)
        for (const seq of seqs) if (typeof seq === "number") erased.add(seq);
    }
  }
  return { prunedBefore, erased };
}
