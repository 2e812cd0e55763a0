/**
 * The bytes of a ledger entry: content, link, hash, body commitment, row digest. Stored hashes depend on them for ever: a
 * change needs a new version tag. `docs/ledger-format.md` specifies the same bytes for other implementations.
 *
 *   content    = JCS({ v, id, nonce, at, actor, action, subject, refs, data, state, counts?, body? })
 *   link       = "countersign.entry.v…\n" tenant "\n" seq "\n" time_ms "\n" hex(prev) "\n" hex(SHA-256(content)) "\n"
 *   hash       = SHA-256(0x00 || link)                                   (RFC 6962 leaf hash; seq 0 has 32 zero bytes as prev)
 *   commitment = SHA-256("countersign.body.v…" 0x00 salt[32] JCS(body))
 *   row digest = SHA-256("countersign.row.v…" 0x00 salt[32] JCS(row))
 */
import { canonicalize, hasLoneSurrogate } from "./canonicalJson.js";
import { FORMAT_VERSION, tag } from "./formatVersion.js";
import { leafHashHex, sha256Hex, sha256PartsHex } from "./hash.js";
import type { JsonObject, JsonValue } from "./json.js";

export const actorTypes = ["human", "agent", "service", "system"] as const;
export type ActorType = (typeof actorTypes)[number];

export interface EntryActor {
  readonly type: ActorType;
  readonly id: string;
  /** Human roots: the people answerable for the actor. */
  readonly humans: readonly string[];
}

export interface Reference {
  readonly type: string;
  readonly id: string;
}

/** [table, id, version, row digest as hex] of a row that the entry wrote. */
export type StateDigest = readonly [table: string, id: string, version: number, digest: string];
/** [counter key, amount added]. */
export type Count = readonly [key: string, add: number];

/** The content of an entry, before it has a place in the chain. */
export interface EntryContent {
  readonly v: number;
  /** UUIDv7, lower-case. */
  readonly id: string;
  /** 16 random bytes as hex: contents cannot be guessed from their hash. */
  readonly nonce: string;
  /** When it was decided, milliseconds since 1970. */
  readonly at: number;
  readonly actor: EntryActor;
  /** `noun.verb_past`, lower snake: `change_set.approved`. */
  readonly action: string;
  readonly subject: Reference;
  readonly refs: readonly Reference[];
  /** Ids, enums, integers, booleans, digests, signatures only. */
  readonly data: JsonObject;
  /** Sorted by table, then id. */
  readonly state: readonly StateDigest[];
  /** Sorted by key; left out when the change used no counter. */
  readonly counts?: readonly Count[];
  /** Commitment to the texts and states that people read; left out when there are none. */
  readonly body?: { readonly commitment: string };
}

/** The place of an entry in its tenant's chain. Hashes are lower-case hex. */
export interface Link {
  readonly tenant: string;
  readonly seq: number;
  readonly timeMs: number;
  readonly prev: string;
  readonly contentHash: string;
}

/** `prev` of the entry with seq 0. */
export const zeroHash = "0".repeat(64);

export const uuidPattern = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;
export const hashPattern = /^[0-9a-f]{64}$/;
const noncePattern = /^[0-9a-f]{32}$/;
const actionPattern = /^[a-z][a-z0-9_]*\.[a-z][a-z0-9_]*$/;
const namePattern = /^[a-z][a-z0-9_]*$/;

/** UTF-16 code units. Longer content is refused by builder and verifier: entries hold ids and digests, texts go into the body. */
export const contentLengthMax = 1024 * 1024;

export type EntryContentInput = Omit<EntryContent, "v" | "refs" | "data" | "state" | "counts"> & {
  readonly refs?: readonly Reference[];
  readonly data?: JsonObject;
  readonly state?: readonly StateDigest[];
  readonly counts?: readonly Count[];
};

/** The exact text of an entry's content. Sorts `state` and `counts`. Throws if the content would not be valid. */
export function entryContentText(input: EntryContentInput): string {
  const { id, nonce, at, actor, action, subject, refs = [], data = {}, state = [], counts = [], body } = input;
  const content: EntryContent = {
    v: FORMAT_VERSION,
    id,
    nonce,
    at,
    actor,
    action,
    subject,
    refs,
    data,
    state: [...state].sort(byTableAndId),
    ...(counts.length > 0 ? { counts: [...counts].sort((a, b) => compareText(a[0], b[0])) } : {}),
    ...(body !== undefined ? { body } : {}),
  };
  const problem = findContentProblem(content);
  if (problem !== undefined) throw new Error(`not a valid entry: ${problem}`);
  const text = canonicalize(content);
  if (text.length > contentLengthMax) throw new Error(`not a valid entry: content is longer than ${contentLengthMax}`);
  return text;
}

export type ParsedContent =
  { readonly ok: true; readonly content: EntryContent } | { readonly ok: false; readonly problem: string };

/** Reads content strictly: canonical text, exactly the members of the format, each of its form. Never throws. */
export function parseEntryContent(text: string): ParsedContent {
  if (text.length > contentLengthMax) return { ok: false, problem: "content is too large" };
  let value: unknown;
  try {
    value = JSON.parse(text);
    if (canonicalize(value) !== text) return { ok: false, problem: "content is not canonical JSON" };
  } catch {
    // Neither JSON.parse nor canonicalize say more than this about hostile text.
    return { ok: false, problem: "content is not JSON" };
  }
  const problem = findContentProblem(value);
  return problem === undefined ? { ok: true, content: value as EntryContent } : { ok: false, problem };
}

/** SHA-256 of the content's UTF-8, hex. */
export function contentHashHex(content: string | Uint8Array): string {
  return sha256Hex(content);
}

const linkTag = tag("entry");

/** The text that is hashed into the chain, and the leaf data of the RFC 6962 tree. */
export function linkText(link: Link): string {
  return `${linkTag}\n${link.tenant}\n${link.seq}\n${link.timeMs}\n${link.prev}\n${link.contentHash}\n`;
}

/** Chain link and RFC 6962 leaf hash at once: SHA-256(0x00 || link), hex. */
export function entryHashHex(link: Link): string {
  return leafHashHex(linkText(link));
}

/** The beginning of every link of a tenant. */
export function linkTextStart(tenant: string): string {
  return `${linkTag}\n${tenant}\n`;
}

/** `entryHashHex` for many entries of one tenant: the beginning of the link is built once (0.72 µs an entry against 0.86). */
export function entryHasher(
  tenant: string,
): (seq: number, timeMs: number, prev: string, contentHash: string) => string {
  const start = linkTextStart(tenant);
  return (seq, timeMs, prev, contentHash) => leafHashHex(`${start}${seq}\n${timeMs}\n${prev}\n${contentHash}\n`);
}

/** Commitment to a body: SHA-256("countersign.body.v…" 0x00 salt JCS(body)), hex. `salt` is 32 random bytes. */
export function bodyCommitment(salt: Uint8Array, body: JsonObject): string {
  return bodyCommitmentOfText(salt, canonicalize(body));
}

/** The same from the canonical text. */
export function bodyCommitmentOfText(salt: Uint8Array, text: string): string {
  return sha256PartsHex(`${tag("body")}\u0000`, checkedSalt(salt), text);
}

/** Digest of a governed row: SHA-256("countersign.row.v…" 0x00 salt JCS(row)), hex. `row` has no NULL columns and no salt. */
export function rowDigest(salt: Uint8Array, row: JsonObject): string {
  return rowDigestOfText(salt, canonicalize(row));
}

/** The same from the canonical text. */
export function rowDigestOfText(salt: Uint8Array, text: string): string {
  return sha256PartsHex(`${tag("row")}\u0000`, checkedSalt(salt), text);
}

function checkedSalt(salt: Uint8Array): Uint8Array {
  if (salt.byteLength !== 32) throw new Error(`a salt has 32 bytes, not ${salt.byteLength}`);
  return salt;
}

/** The error in a content, in a few words; undefined if there is none. Takes any value. */
function findContentProblem(value: unknown): string | undefined {
  if (!isObject(value)) return "content is not an object";
  const { v, id, nonce, at, actor, action, subject, refs, data, state, counts, body, ...others } = value;
  const unknown = Object.keys(others)[0];
  if (unknown !== undefined) return `unknown member ${JSON.stringify(unknown.slice(0, 40))}`;
  if (v !== FORMAT_VERSION) return "unknown version";
  if (!matches(id, uuidPattern)) return "`id` is not a UUID";
  if (!matches(nonce, noncePattern)) return "`nonce` is not 16 bytes";
  if (!isCount(at)) return "`at` is not a time";
  if (!isActor(actor)) return "`actor` is not an actor";
  if (!matches(action, actionPattern)) return "`action` is not an action";
  if (!isReference(subject)) return "`subject` is not a reference";
  if (!Array.isArray(refs) || !refs.every(isReference)) return "`refs` are not references";
  if (!isObject(data)) return "`data` is not an object";
  if (!isSorted(state, isStateDigest, byTableAndId)) return "`state` is not a sorted list of row digests";
  if (counts !== undefined && !isCounts(counts)) return "`counts` is not a sorted list of counts";
  if (body !== undefined && !isBodyReference(body)) return "`body` is not a commitment";
  return findDataProblem(data as JsonValue, 0);
}

/** `data` holds integers, short texts and structures of them; PostgreSQL must be able to store it. */
function findDataProblem(value: JsonValue, depth: number): string | undefined {
  if (typeof value === "number")
    return Number.isSafeInteger(value) ? undefined : "`data` holds a number that is no safe integer";
  if (typeof value === "string") return isStorable(value) ? undefined : "`data` holds U+0000 or a lone surrogate";
  if (typeof value !== "object" || value === null) return undefined;
  if (depth > 16) return "`data` is nested too deeply";
  if (Object.hasOwn(value, "id") && Object.hasOwn(value, "nonce"))
    return "`data` holds an object with both `id` and `nonce`";
  for (const [key, member] of Object.entries(value)) {
    if (!isStorable(key)) return "`data` holds U+0000 or a lone surrogate";
    const problem = findDataProblem(member as JsonValue, depth + 1);
    if (problem !== undefined) return problem;
  }
  return undefined;
}

/** PostgreSQL can store the text: no U+0000, no lone surrogate. */
export function isStorable(text: string): boolean {
  return !text.includes("\u0000") && !hasLoneSurrogate(text);
}

function isActor(value: unknown): boolean {
  if (!hasExactly(value, ["type", "id", "humans"])) return false;
  const { type, id, humans } = value;
  return (
    (actorTypes as readonly unknown[]).includes(type) &&
    isId(id) &&
    Array.isArray(humans) &&
    humans.every((human) => isId(human))
  );
}

function isReference(value: unknown): boolean {
  return hasExactly(value, ["type", "id"]) && matches(value["type"], namePattern) && isId(value["id"]);
}

function isStateDigest(value: unknown): value is StateDigest {
  if (!Array.isArray(value) || value.length !== 4) return false;
  const [table, id, version, digest] = value as unknown[];
  return matches(table, namePattern) && isId(id) && isCount(version) && version > 0 && matches(digest, hashPattern);
}

function isCounts(value: unknown): boolean {
  const isOne = (one: unknown): one is Count =>
    Array.isArray(one) && one.length === 2 && isId(one[0]) && Number.isSafeInteger(one[1]);
  return isSorted(value, isOne, (a, b) => compareText(a[0], b[0])) && (value as unknown[]).length > 0;
}

function isBodyReference(value: unknown): boolean {
  return hasExactly(value, ["commitment"]) && matches(value["commitment"], hashPattern);
}

/** Strictly ascending, so nothing is there twice. */
function isSorted<T>(value: unknown, isOne: (one: unknown) => one is T, compare: (a: T, b: T) => number): boolean {
  if (!Array.isArray(value)) return false;
  const list = value as unknown[];
  return list.every((one, i) => isOne(one) && (i === 0 || compare(list[i - 1] as T, one) < 0));
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function hasExactly(value: unknown, members: readonly string[]): value is Record<string, unknown> {
  return (
    isObject(value) &&
    Object.keys(value).length === members.length &&
    members.every((name) => Object.hasOwn(value, name))
  );
}

function matches(value: unknown, pattern: RegExp): value is string {
  return typeof value === "string" && pattern.test(value);
}

function isId(value: unknown): value is string {
  return typeof value === "string" && value.length > 0 && value.length <= 1024 && isStorable(value);
}

function isCount(value: unknown): value is number {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0;
}

function byTableAndId(a: StateDigest, b: StateDigest): number {
  return compareText(a[0], b[0]) || compareText(a[1], b[1]);
}

/** By UTF-16 code units, as everywhere in canonical JSON; never by locale. */
function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
