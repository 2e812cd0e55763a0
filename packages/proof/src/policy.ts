/**
 * The auditor's policy file: C2SP tlog-policy, and one kind of line more, `anchor NAME KIND LOCATION`, for copies of checkpoints that sign nothing
 * themselves. It says which keys a log may sign with, and how many witnesses and anchors must have confirmed a ledger.
 *
 * Names are compared byte for byte. A file is refused as a whole, with all its errors.
 */
import { isUtf8, textOfUtf8, utf8Length } from "./bytes.js";
import { deceives, parseVerifierKey, type VerifierKey } from "./note.js";

/** Bytes of a policy file; far above what its lines can need. */
export const policyBytesMax = 262_144;
/** Of logs, witnesses with anchors, and groups each; the specification asks for 32. */
export const policyLinesMax = 256;

export interface PolicyLog {
  readonly key: VerifierKey;
  readonly url?: string;
}

export interface PolicyWitness {
  readonly name: string;
  readonly key: VerifierKey;
  readonly url?: string;
}

export interface PolicyAnchor {
  readonly name: string;
  /** `file`, `git`. */
  readonly kind: string;
  readonly location: string;
}

export interface PolicyGroup {
  readonly name: string;
  readonly threshold: number;
  readonly members: readonly string[];
}

export interface Policy {
  readonly logs: readonly PolicyLog[];
  readonly witnesses: readonly PolicyWitness[];
  readonly anchors: readonly PolicyAnchor[];
  /** In order: each group names only members defined before it. */
  readonly groups: readonly PolicyGroup[];
  /** A witness, an anchor or a group; null: `none`, nothing is demanded. */
  readonly quorum: string | null;
}

export interface PolicyProblem {
  /** From 1; 0: the file as a whole. */
  readonly line: number;
  readonly message: string;
}

export type PolicyResult =
  { readonly ok: true; readonly policy: Policy } | { readonly ok: false; readonly problems: readonly PolicyProblem[] };

const problemsMax = 100;

export function parsePolicy(input: string | Uint8Array): PolicyResult {
  const bytes = typeof input === "string" ? utf8Length(input) : input.length;
  if (bytes > policyBytesMax) return whole(`longer than ${policyBytesMax} bytes`);
  if (typeof input !== "string" && !isUtf8(input)) return whole("not UTF-8");
  const reader = new PolicyReader();
  const text = typeof input === "string" ? input : textOfUtf8(input);
  for (const [index, line] of text.split("\n").entries()) reader.take(index + 1, line);
  return reader.end();
}

function whole(message: string): PolicyResult {
  return { ok: false, problems: [{ line: 0, message }] };
}

class PolicyReader {
  readonly #logs: PolicyLog[] = [];
  readonly #witnesses: PolicyWitness[] = [];
  readonly #anchors: PolicyAnchor[] = [];
  readonly #groups: PolicyGroup[] = [];
  #quorum: string | null | undefined;
  readonly #names = new Set<string>();
  /** Names that are in a group, which each may be only once. */
  readonly #grouped = new Set<string>();
  readonly #logKeys = new Set<string>();
  readonly #witnessKeys = new Set<string>();
  readonly #problems: PolicyProblem[] = [];
  #line = 0;

  take(number: number, line: string): void {
    this.#line = number;
    if (hasForbidden(line)) return this.#problem("a control character: only tabs and line feeds are allowed");
    const words = line.split(/[ \t]+/).filter((word) => word !== "");
    const [keyword, ...rest] = words;
    if (keyword === undefined || keyword.startsWith("#")) return;
    // Not the specification's business, but ours: these names are printed beside verdicts.
    if (deceives(line.replaceAll("\t", " "))) return this.#problem("a character that does not show, outside a comment");
    switch (keyword) {
      case "log":
        return this.#takeLog(rest);
      case "witness":
        return this.#takeWitness(rest);
      case "anchor":
        return this.#takeAnchor(rest, line);
      case "group":
        return this.#takeGroup(rest);
      case "quorum":
        return this.#takeQuorum(rest);
      default:
        this.#problem(`\`${shorten(keyword)}\` is none of log, witness, anchor, group, quorum`);
    }
  }

  end(): PolicyResult {
    if (this.#quorum === undefined) {
      this.#line = 0;
      this.#problem("there is no quorum line; `quorum none` demands nothing");
    }
    if (this.#problems.length > 0) return { ok: false, problems: this.#problems };
    const policy = {
      logs: this.#logs,
      witnesses: this.#witnesses,
      anchors: this.#anchors,
      groups: this.#groups,
      quorum: this.#quorum ?? null,
    };
    return { ok: true, policy };
  }

  #takeLog([vkey, url, ...more]: readonly string[]): void {
    if (vkey === undefined || more.length > 0) return this.#problem("write `log VKEY [URL]`");
    const key = this.#key(vkey, 1);
    if (key === undefined || !this.#room(this.#logs)) return;
    if (this.#logKeys.has(key.publicKey)) return this.#problem("this log's key is listed already");
    this.#logKeys.add(key.publicKey);
    this.#logs.push({ key, ...(url === undefined ? {} : { url }) });
  }

  #takeWitness([name, vkey, url, ...more]: readonly string[]): void {
    if (name === undefined || vkey === undefined || more.length > 0)
      return this.#problem("write `witness NAME VKEY [URL]`");
    const key = this.#key(vkey, 4);
    if (key === undefined || !this.#room(this.#witnesses) || !this.#define(name)) return;
    if (this.#witnessKeys.has(key.publicKey)) return this.#problem("this witness's key is listed already");
    this.#witnessKeys.add(key.publicKey);
    this.#witnesses.push({ name, key, ...(url === undefined ? {} : { url }) });
  }

  /** The location is the rest of the line: folders have spaces in their names. */
  #takeAnchor([name, kind]: readonly string[], line: string): void {
    // No pattern for the end of the line: one that skips spaces there takes the square of their number.
    const location = /^[ \t]*anchor[ \t]+[^ \t]+[ \t]+[^ \t]+[ \t](.*)$/.exec(line)?.[1]?.trim();
    if (name === undefined || kind === undefined || location === undefined || location === "")
      return this.#problem("write `anchor NAME KIND LOCATION`, such as `anchor mine file /srv/anchor`");
    if (!/^[a-z][a-z0-9-]{0,31}$/.test(kind)) return this.#problem(`\`${shorten(kind)}\` is no kind of anchor`);
    if (this.#room(this.#anchors) && this.#define(name)) this.#anchors.push({ name, kind, location });
  }

  #takeGroup([name, count, ...members]: readonly string[]): void {
    if (name === undefined || count === undefined || members.length === 0)
      return this.#problem("write `group NAME all|any|K MEMBER…`");
    if (!this.#room(this.#groups)) return;
    const threshold = count === "all" ? members.length : count === "any" ? 1 : decimal(count);
    if (threshold === undefined || threshold < 1 || threshold > members.length)
      return this.#problem(`\`${shorten(count)}\` is none of all, any, 1 to ${members.length}`);
    let good = true;
    for (const member of members) {
      if (!this.#names.has(member)) {
        this.#problem(`\`${shorten(member)}\` is not defined before this line`);
        good = false;
      } else if (this.#grouped.has(member)) {
        this.#problem(`\`${shorten(member)}\` is in a group already`);
        good = false;
      }
      this.#grouped.add(member);
    }
    if (this.#define(name) && good) this.#groups.push({ name, threshold, members });
  }

  #takeQuorum([name, ...more]: readonly string[]): void {
    if (name === undefined || more.length > 0) return this.#problem("write `quorum NAME` or `quorum none`");
    if (this.#quorum !== undefined) return this.#problem("there is a quorum line already");
    this.#quorum = name === "none" ? null : name;
    if (name !== "none" && !this.#names.has(name))
      this.#problem(`\`${shorten(name)}\` is not defined before this line`);
  }

  #key(vkey: string, type: 1 | 4): VerifierKey | undefined {
    const key = parseVerifierKey(vkey);
    if (key === undefined) this.#problem(`\`${shorten(vkey)}\` is no Ed25519 verifier key (name+id+base64)`);
    else if (key.type !== type)
      this.#problem(type === 1 ? "this is a witness's key" : "this is a log's key, not a witness's");
    else return key;
    return undefined;
  }

  #define(name: string): boolean {
    if (name === "none" || this.#names.has(name)) {
      this.#problem(name === "none" ? "`none` cannot be a name" : `\`${shorten(name)}\` is defined already`);
      return false;
    }
    this.#names.add(name);
    return true;
  }

  #room(list: readonly unknown[]): boolean {
    if (list.length < policyLinesMax) return true;
    this.#problem(`more than ${policyLinesMax} of these`);
    return false;
  }

  #problem(message: string): void {
    if (this.#problems.length < problemsMax) this.#problems.push({ line: this.#line, message });
  }
}

function decimal(text: string): number | undefined {
  return /^[1-9]\d{0,3}$/.test(text) ? Number(text) : undefined;
}

/** The specification allows the tab alone. Others would show as something they are not. */
function hasForbidden(line: string): boolean {
  for (let i = 0; i < line.length; i++) {
    const unit = line.charCodeAt(i);
    if ((unit < 0x20 && unit !== 0x09) || unit === 0x7f) return true;
  }
  return false;
}

function shorten(text: string): string {
  return text.length > 60 ? `${text.slice(0, 60)}…` : text;
}

/**
 * Whether a log line is about an origin. The key's name is the origin's, or that of the deployment: one key signs for all its tenants, and
 * the specification lists a key only once.
 */
export function coversOrigin({ key }: PolicyLog, origin: string): boolean {
  return origin === key.name || origin.startsWith(`${key.name}/`);
}

/**
 * The size up to which the quorum has confirmed a tree: a witness or anchor confirms the size given for it, a group of
 * k the k-th largest size of its members. Undefined: it confirms no size, or nothing is demanded.
 */
export function quorumSize(policy: Policy, confirmed: ReadonlyMap<string, number>): number | undefined {
  if (policy.quorum === null) return undefined;
  const sizes = new Map(confirmed);
  // INVARIANT: a group names only members defined before it, so its members are decided.
  for (const { name, threshold, members } of policy.groups) {
    const reached = members.flatMap((member) => sizes.get(member) ?? []).sort((a, b) => b - a);
    const size = reached[threshold - 1];
    if (size === undefined) sizes.delete(name);
    else sizes.set(name, size);
  }
  return sizes.get(policy.quorum);
}
