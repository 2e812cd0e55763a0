/**
 * A summary of events, from entries whose content's hash holds: who approved which change-set with which key, which
 * change-sets were applied and rolled back, erasures, new and revoked keys. Lists are bounded, each with its total. The
 * verifier's verdict says whether the summary may be believed.
 */
import { killSwitchActions, logKeyActions, verifiedActions } from "./actions.js";
import { parseEntryContent, type EntryContent } from "./entry.js";
import { sha256Hex } from "./hash.js";
import type { JsonObject, JsonValue } from "./json.js";
import { fromBase64Url } from "./signature.js";

interface Happened {
  readonly seq: number;
  readonly atMs: number;
  readonly action: string;
  /** The subject of the event. */
  readonly subject: { readonly type: string; readonly id: string };
  readonly actor: { readonly type: string; readonly id: string; readonly name?: string };
}

export interface Approval {
  readonly seq: number;
  readonly atMs: number;
  readonly changeSet: string;
  readonly voter: string;
  /** Where bodies are at hand and the voter's creation is among the entries. */
  readonly voterName?: string;
  readonly key: string;
  /** SHA-256 of the key's 32 bytes, hex, if its enrolment is among the entries. */
  readonly fingerprint?: string;
  readonly decision: string;
  /** The voter is one of the people answerable for the author. */
  readonly self: boolean;
}

/** At most `summaryMax` of each, the first ones; `total` is of all. */
export interface Listed<T> {
  readonly total: number;
  readonly rows: readonly T[];
}

export interface SummaryResult {
  /** Votes, of every decision. */
  readonly approvals: Listed<Approval>;
  readonly selfApprovals: Listed<Approval>;
  /** Applied or rolled back on an authority that asks nobody else first. */
  readonly breakGlass: Listed<Happened & { readonly as: string }>;
  /** The kill-switch engaged, confirmed, released. */
  readonly stops: Listed<Happened>;
  readonly applied: Listed<Happened>;
  readonly rollbacks: Listed<Happened>;
  readonly erasures: Listed<Happened & { readonly entries: number | null; readonly archive?: string }>;
  readonly restored: Listed<Happened & { readonly incarnation: number | null }>;
  /** Keys of people, and of the log. */
  readonly keyChanges: Listed<Happened & { readonly key: string | null; readonly fingerprint?: string }>;
}

export const summaryMax = 1000;
/** Change-sets and people remembered by id. */
const rememberedMax = 100_000;

/** How contents of interest begin: in canonical JSON `action` is the first member. */
const starts = [...new Set([...verifiedActions].map((action) => `{"action":"${action.split(".")[0]}.`))];
/** On-call people and break-glass accounts act without asking. */
const emergencies: ReadonlySet<JsonValue | undefined> = new Set(["on_call", "break_glass"]);

export class Summary {
  readonly #approvals = new List<Approval>();
  readonly #selfApprovals = new List<Approval>();
  readonly #breakGlass = new List<Happened & { as: string }>();
  readonly #stops = new List<Happened>();
  readonly #applied = new List<Happened>();
  readonly #rollbacks = new List<Happened>();
  readonly #erasures = new List<Happened & { entries: number | null; archive?: string }>();
  readonly #restored = new List<Happened & { incarnation: number | null }>();
  readonly #keyChanges = new List<Happened & { key: string | null; fingerprint?: string }>();
  /** Human roots of the authors, by change-set; names, by principal. */
  readonly #authors = new Map<string, readonly string[]>();
  readonly #names = new Map<string, string>();
  /** Fingerprints of the keys that people sign with, by key. */
  readonly #fingerprints = new Map<string, string>();

  /** Takes every entry whose content holds, in order; `body` as canonical JSON where it is at hand. */
  take(seq: number, atMs: number, content: string | Uint8Array, body?: string): void {
    const action = actionOf(content);
    if (action === undefined || !verifiedActions.has(action)) return;
    const parsed = parseEntryContent(typeof content === "string" ? content : Buffer.from(content).toString("utf8"));
    if (parsed.ok) this.#takeContent(seq, atMs, parsed.content, body);
  }

  get result(): SummaryResult {
    return {
      approvals: this.#approvals,
      selfApprovals: this.#selfApprovals,
      breakGlass: this.#breakGlass,
      stops: this.#stops,
      applied: this.#applied,
      rollbacks: this.#rollbacks,
      erasures: this.#erasures,
      restored: this.#restored,
      keyChanges: this.#keyChanges,
    };
  }

  #takeContent(seq: number, atMs: number, content: EntryContent, body: string | undefined): void {
    const { action, data, subject } = content;
    const happened = this.#happened(seq, atMs, content);
    if (killSwitchActions.has(action)) return this.#stops.add(happened);
    if (logKeyActions.has(action)) return this.#keyChanges.add({ ...happened, key: text(data["key"]) });
    switch (action) {
      case "principal.created":
        return remember(this.#names, subject.id, nameIn(body));
      case "principal.key_enrolled":
      case "principal.key_revoked":
        return this.#takeKey(happened, data);
      case "change_set.created":
        return remember(this.#authors, subject.id, content.actor.humans);
      case "change_set.vote_cast":
        return this.#takeVote(seq, atMs, content);
      case "change_set.applied":
        return this.#applied.add(happened);
      case "change_set.rolled_back":
        return this.#rollbacks.add(happened);
      case "ledger.restored":
        return this.#restored.add({ ...happened, incarnation: count(data["incarnation"]) });
      case "subject.erased":
        return this.#erasures.add({ ...happened, entries: Array.isArray(data["seqs"]) ? data["seqs"].length : null });
      case "ledger.pruned":
        return this.#erasures.add({ ...happened, entries: count(data["upTo"]), archive: text(data["archive"]) ?? "" });
      default:
        if (emergencies.has(data["as"])) this.#breakGlass.add({ ...happened, as: text(data["as"]) ?? "" });
    }
  }

  #takeKey(happened: Happened, { key, publicKey }: JsonObject): void {
    const raw = typeof publicKey === "string" ? fromBase64Url(publicKey, 32) : undefined;
    if (typeof key === "string" && raw !== undefined) remember(this.#fingerprints, key, sha256Hex(raw));
    const fingerprint = typeof key === "string" ? this.#fingerprints.get(key) : undefined;
    this.#keyChanges.add({ ...happened, key: text(key), ...(fingerprint === undefined ? {} : { fingerprint }) });
  }

  #takeVote(seq: number, atMs: number, { subject, data }: EntryContent): void {
    const voter = text(data["voter"]) ?? "";
    const name = this.#names.get(voter);
    const key = text(data["key"]) ?? "";
    const fingerprint = this.#fingerprints.get(key);
    const self = data["selfApproved"] === true || this.#authors.get(subject.id)?.includes(voter) === true;
    const approval: Approval = {
      ...{ seq, atMs, changeSet: subject.id, voter, self },
      ...(name === undefined ? {} : { voterName: name }),
      key,
      ...(fingerprint === undefined ? {} : { fingerprint }),
      decision: text(data["decision"]) ?? "",
    };
    this.#approvals.add(approval);
    if (self && approval.decision === "APPROVED") this.#selfApprovals.add(approval);
  }

  #happened(seq: number, atMs: number, { action, subject, actor }: EntryContent): Happened {
    const name = this.#names.get(actor.id);
    const by = { type: actor.type, id: actor.id, ...(name === undefined ? {} : { name }) };
    return { seq, atMs, action, subject, actor: by };
  }
}

class List<T> implements Listed<T> {
  readonly rows: T[] = [];
  total = 0;

  add(row: T): void {
    this.total++;
    if (this.rows.length < summaryMax) this.rows.push(row);
  }
}

function remember<T>(map: Map<string, T>, id: string, value: T | undefined): void {
  if (value !== undefined && map.size < rememberedMax) map.set(id, value);
}

/** The action, if it may be one of those wanted; looked at without parsing. */
function actionOf(content: string | Uint8Array): string | undefined {
  const start =
    typeof content === "string" ? content.slice(0, 64) : Buffer.from(content.subarray(0, 64)).toString("latin1");
  if (!starts.some((prefix) => start.startsWith(prefix))) return undefined;
  return start.slice('{"action":"'.length).split('"', 1)[0];
}

/** Shown to people: kept short. */
function nameIn(body: string | undefined): string | undefined {
  if (body === undefined || body.length > 100_000) return undefined;
  try {
    const value = JSON.parse(body) as { readonly name?: unknown } | null;
    return typeof value?.name === "string" ? value.name.slice(0, 100) : undefined;
  } catch {
    return undefined; // no JSON: the verifier says so where it is the body committed to
  }
}

function text(value: JsonValue | undefined): string | null {
  return typeof value === "string" ? value.slice(0, 200) : null;
}

function count(value: JsonValue | undefined): number | null {
  return typeof value === "number" && Number.isSafeInteger(value) ? value : null;
}
