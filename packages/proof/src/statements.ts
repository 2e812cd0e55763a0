/**
 * Statements of a deployment about its log: its keys, one after the other, and restores of an older state. They are
 * signed notes, so they can stand in a ledger entry, beside the key and in every bundle, and be checked in each place.
 *
 *   countersign.log-key.v1 · deployment · number · hash of the statement before · root, rotate or revoke · key · time
 *   countersign.restore.v1 · origin before · incarnation · size kept · its root · size lost · its root · time
 *
 * one a line. Key statements are a chain: each names the hash of the text before it, and a new key is signed by the old one and itself.
 */
import { bytesOfHex, hexOf, isUtf8, textOfUtf8, utf8Length } from "./bytes.js";
import { isDeploymentName, parseOrigin } from "./checkpoint.js";
import { hashPattern } from "./entry.js";
import { sha256Hex } from "./hash.js";
import {
  fromBase64,
  noteSignedBy,
  parseNote,
  signNote,
  toBase64,
  verifierKey,
  type Note,
  type NoteSigner,
  type Parsed,
} from "./note.js";
import { fromBase64Url, importPublicKey, toBase64Url } from "./signature.js";
import { tag } from "./formatVersion.js";

export const keyStatementKinds = ["root", "rotate", "revoke"] as const;
export type KeyStatementKind = (typeof keyStatementKinds)[number];

export interface KeyStatement {
  readonly deployment: string;
  /** 0 for the root, then without gaps. */
  readonly number: number;
  /** Hex of SHA-256 of the text of the statement before; zeros for the root. */
  readonly previous: string;
  readonly kind: KeyStatementKind;
  /** base64url: the new key, or the one revoked. */
  readonly key: string;
  /** From when it holds. A revoked key's signatures do not count from then on. */
  readonly atMs: number;
}

const keyTag = tag("log-key");
const restoreTag = tag("restore");
const zeros = "0".repeat(64);
/** More statements than this are not read: a key a day for years. */
export const keyStatementsMax = 1_000;

export function keyStatementText({ deployment, number, previous, kind, key, atMs }: KeyStatement): string {
  const raw = fromBase64Url(key, 32);
  if (raw === undefined) throw new RangeError("not the base64url of 32 bytes");
  return lines(keyTag, deployment, number, previous, kind, toBase64(raw), atMs);
}

/** The hash that the next statement names as `previous`. */
export function statementHash(text: string): string {
  return sha256Hex(text);
}

/** The whole signed note. `signers`: the current key, and for a new key that one too. */
export function signKeyStatement(statement: KeyStatement, signers: readonly NoteSigner[]): Promise<string> {
  return signNote(
    keyStatementText(statement),
    signers.map((signer) => ({ name: statement.deployment, signer })),
  );
}

export function parseKeyStatement(
  input: string | Uint8Array,
): Parsed<"statement", KeyStatement & { readonly note: Note }> {
  const parsed = parseNote(input);
  if (!parsed.ok) return parsed;
  const { note } = parsed;
  const [first, deployment = "", number = "", previous = "", kind = "", encoded = "", at = "", ...more] = note.text
    .slice(0, -1)
    .split("\n", 9);
  if (first !== keyTag) return no(`the first line is not \`${keyTag}\``);
  const key = encoded.length === 44 ? fromBase64(encoded) : undefined;
  const known = keyStatementKinds.find((one) => one === kind);
  const [count, atMs] = [decimal(number), decimal(at)];
  if (more.length > 0 || !isDeploymentName(deployment) || !hashPattern.test(previous)) return no("not a key statement");
  if (known === undefined || key?.length !== 32 || count === undefined || atMs === undefined)
    return no("not a key statement");
  const statement = { deployment, number: count, previous, kind: known, key: toBase64Url(key), atMs };
  return { ok: true, statement: { ...statement, note } };
}

/** Statements one after the other, each after a line with its length in bytes: as files and receipts hold them. */
export function formatKeyStatements(statements: readonly string[]): string {
  return statements.map((statement) => `${utf8Length(statement)}\n${statement}`).join("");
}

/** Undefined unless the bytes are what `formatKeyStatements` writes of some texts. `readKeyHistory` judges them. */
export function parseKeyStatements(bytes: Uint8Array): string[] | undefined {
  const statements: string[] = [];
  for (let at = 0; at < bytes.length;) {
    const begins = bytes.indexOf(0x0a, at) + 1;
    const length = begins > 0 && begins - at <= 8 ? textOfUtf8(bytes.subarray(at, begins - 1)) : "";
    const end = begins + Number(length);
    if (!/^[1-9]\d{0,6}$/.test(length) || end > bytes.length) return undefined;
    const statement = bytes.subarray(begins, end);
    if (!isUtf8(statement)) return undefined;
    statements.push(textOfUtf8(statement));
    at = end;
  }
  return statements;
}

export interface LogKey {
  /** base64url. */
  readonly publicKey: string;
  /** Number of the statement that brought it; 0 for one that is pinned and that no statement names. */
  readonly from: number;
  readonly fromMs: number;
  readonly revokedAtMs?: number;
  readonly trusted: boolean;
}

export interface KeyHistory {
  readonly keys: readonly LogKey[];
  /** Statements that do not follow, with the reason. All statements after the first of them are untrusted. */
  readonly problems: readonly string[];
}

/**
 * Follows the statements. A key is trusted if it is pinned, or if the chain of good statements holds a pinned key: a rotation is signed by both
 * keys, so trust reaches along it in both directions. Revocations count wherever they stand in the good chain.
 */
export function readKeyHistory(
  statements: readonly string[],
  { deployment, pinned }: { readonly deployment: string; readonly pinned: readonly string[] },
): KeyHistory {
  const keys = new Map<string, { from: number; fromMs: number; revokedAtMs?: number }>();
  const problems: string[] = [];
  let current: string | undefined;
  let previous = zeros;
  for (const [index, text] of statements.slice(0, keyStatementsMax).entries()) {
    const parsed = parseKeyStatement(text);
    const problem = parsed.ok
      ? problemOf(parsed.statement, { index, deployment, previous, current, keys })
      : parsed.problem;
    if (!parsed.ok || problem !== undefined) {
      problems.push(`statement ${index}: ${problem ?? "malformed"}`);
      break;
    }
    const { kind, key, atMs, note } = parsed.statement;
    previous = statementHash(note.text);
    if (kind === "revoke") {
      const known = keys.get(key) as { from: number; fromMs: number };
      keys.set(key, { ...known, revokedAtMs: atMs });
    } else {
      keys.set(key, { from: index, fromMs: atMs });
      current = key;
    }
  }
  if (statements.length > keyStatementsMax) problems.push(`more than ${keyStatementsMax} statements`);
  const reached = [...keys.keys()].some((key) => pinned.includes(key));
  const known = [...keys].map(([publicKey, rest]) => ({ publicKey, ...rest, trusted: reached }));
  const alone = pinned
    .filter((key) => !keys.has(key))
    .map((publicKey) => ({ publicKey, from: 0, fromMs: 0, trusted: true }));
  return { keys: [...known, ...alone], problems };
}

function problemOf(
  statement: KeyStatement & { readonly note: Note },
  at: {
    readonly index: number;
    readonly deployment: string;
    readonly previous: string;
    readonly current: string | undefined;
    readonly keys: ReadonlyMap<string, { readonly revokedAtMs?: number }>;
  },
): string | undefined {
  const { deployment, number, previous, kind, key, note } = statement;
  const signed = (publicKey: string): boolean =>
    noteSignedBy(note, verifierKey({ name: deployment, type: 1, publicKey }));
  if (deployment !== at.deployment) return `is of \`${deployment}\``;
  if (number !== at.index || previous !== at.previous) return "does not follow the one before";
  if (importPublicKey(key) === undefined) return "names no Ed25519 key";
  if (kind === "root") return at.index > 0 || !signed(key) ? "is no root" : undefined;
  if (at.current === undefined || !signed(at.current)) return "is not signed by the key before";
  if (kind === "rotate") return at.keys.has(key) || !signed(key) ? "is not signed by the new key" : undefined;
  const known = at.keys.get(key);
  if (known === undefined || key === at.current) return "revokes no earlier key";
  return known.revokedAtMs === undefined ? undefined : "revokes a key a second time";
}

export interface RestoreStatement {
  /** The origin before the restore. */
  readonly origin: string;
  /** Of the ledger from now on. */
  readonly incarnation: number;
  /** Entries that are still there, and their root (32 bytes). */
  readonly size: number;
  readonly root: Uint8Array;
  /** Entries that had been published, and their root. */
  readonly lostSize: number;
  readonly lostRoot: Uint8Array;
  readonly atMs: number;
}

export function restoreStatementText(given: RestoreStatement): string {
  const { origin, incarnation, size, root, lostSize, lostRoot, atMs } = given;
  return lines(restoreTag, origin, incarnation, size, hexOf(root), lostSize, hexOf(lostRoot), atMs);
}

/** The whole signed note; the key's name is the origin before. */
export function signRestoreStatement(statement: RestoreStatement, signer: NoteSigner): Promise<string> {
  return signNote(restoreStatementText(statement), [{ name: statement.origin, signer }]);
}

export function parseRestoreStatement(
  input: string | Uint8Array,
): Parsed<"statement", RestoreStatement & { readonly note: Note }> {
  const parsed = parseNote(input);
  if (!parsed.ok) return parsed;
  const { note } = parsed;
  const [first, origin = "", ...rest] = note.text.slice(0, -1).split("\n", 10);
  if (first !== restoreTag) return no(`the first line is not \`${restoreTag}\``);
  const [incarnation, size, lostSize, atMs] = [rest[0], rest[1], rest[3], rest[5]].map((text) => decimal(text ?? ""));
  const [root = "", lostRoot = ""] = [rest[2], rest[4]];
  const before = parseOrigin(origin);
  if (rest.length !== 6 || before === undefined || !hashPattern.test(root) || !hashPattern.test(lostRoot))
    return no("not a restore statement");
  if (incarnation === undefined || size === undefined || lostSize === undefined || atMs === undefined)
    return no("not a restore statement");
  if (incarnation <= before.incarnation) return no("the incarnation is not a later one");
  const roots = { root: bytesOfHex(root), lostRoot: bytesOfHex(lostRoot) };
  return { ok: true, statement: { origin, incarnation, size, lostSize, atMs, ...roots, note } };
}

/** Whether a key of the log (base64url) signed the statement. */
export function restoreSignedBy(statement: RestoreStatement & { readonly note: Note }, publicKey: string): boolean {
  return (
    importPublicKey(publicKey) !== undefined &&
    noteSignedBy(statement.note, verifierKey({ name: statement.origin, type: 1, publicKey }))
  );
}

function lines(...parts: readonly (string | number)[]): string {
  return parts.map((part) => `${part}\n`).join("");
}

function decimal(text: string): number | undefined {
  if (!/^(0|[1-9]\d{0,15})$/.test(text)) return undefined;
  return Number.isSafeInteger(Number(text)) ? Number(text) : undefined;
}

function no(problem: string): { readonly ok: false; readonly problem: string } {
  return { ok: false, problem };
}
