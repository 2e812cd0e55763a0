/**
 * Signed notes (C2SP signed-note): a text and lines of signatures, each by a named key. Checkpoints, key statements and restore
 * statements are such notes.
 *
 * Any input may be hostile: its size is checked before it is parsed, errors come back as a reason, and nothing is
 * thrown.
 */
import { bytesOfHex, concatBytes, hexOf, isUtf8, textOfUtf8, utf8Bytes, utf8Length } from "./bytes.js";
import { sha256PartsHex } from "./hash.js";
import { fromBase64Url, signMessage, toBase64Url, verifySignature } from "./signature.js";

/** A note may not be longer; ours have a few hundred bytes. */
export const noteBytesMax = 1_048_576;
/** As in the reference implementation: more are refused before any is decoded. */
export const noteSignaturesMax = 100;
const keyNameLengthMax = 256;

/** 1: Ed25519 over the text · 4: Ed25519 cosignature of a checkpoint (C2SP tlog-cosignature), with its time. */
export type KeyType = 1 | 4;

/** A signer, as a `vkey` writes it: name, key id and key. */
export interface VerifierKey {
  readonly name: string;
  readonly type: KeyType;
  /** First four bytes of SHA-256(name "\n" type key), as 8 hex digits. */
  readonly keyId: string;
  /** base64url of the 32 bytes, as everywhere here. */
  readonly publicKey: string;
}

export interface NoteSignature {
  readonly name: string;
  /** 8 hex digits. */
  readonly keyId: string;
  /** The bytes after the key id: 64, or 72 in a cosignature. */
  readonly signature: Uint8Array;
  /** The line as it stands, without its line feed. */
  readonly line: string;
}

export interface Note {
  /** The signed text, with its last line feed. */
  readonly text: string;
  readonly signatures: readonly NoteSignature[];
}

export type Parsed<Name extends string, T> =
  ({ readonly ok: true } & Readonly<Record<Name, T>>) | { readonly ok: false; readonly problem: string };

/** Whatever can sign with an Ed25519 key, here or in a device. */
export interface NoteSigner {
  /** base64url of the 32 bytes. */
  readonly publicKey: string;
  /** base64url of the 64 bytes. */
  sign(message: Uint8Array): string | Promise<string>;
}

/** Signs with a private key that is at hand (base64url of the seed). */
export function signerOf(keys: { readonly publicKey: string; readonly privateKey: string }): NoteSigner {
  return { publicKey: keys.publicKey, sign: (message) => signMessage(keys.privateKey, message) };
}

export function parseNote(input: string | Uint8Array): Parsed<"note", Note> {
  const length = typeof input === "string" ? utf8Length(input) : input.byteLength;
  if (length > noteBytesMax) return no(`longer than ${noteBytesMax} bytes`);
  if (typeof input !== "string" && !isUtf8(input)) return no("not UTF-8");
  const note = typeof input === "string" ? input : textOfUtf8(input);
  if (hasControlCharacter(note)) return no("a control character, or no Unicode");
  const end = note.lastIndexOf("\n\n");
  if (end < 0 || !note.endsWith("\n")) return no("no signatures after a blank line");
  const text = note.slice(0, end + 1);
  const lines = note.slice(end + 2, -1).split("\n", noteSignaturesMax + 1);
  if (lines.length > noteSignaturesMax) return no(`more than ${noteSignaturesMax} signatures`);
  if (text === "\n" || lines[0] === "") return no("no text or no signature");
  const signatures = lines.map(parseSignatureLine);
  if (!signatures.every((one) => one !== undefined)) return no("a line that is no signature");
  return { ok: true, note: { text, signatures } };
}

const signatureStart = "\u2014 ";

/** `— name base64(key id, signature)`. */
export function parseSignatureLine(line: string): NoteSignature | undefined {
  if (!line.startsWith(signatureStart)) return undefined;
  const [name, encoded, ...rest] = line.slice(signatureStart.length).split(" ");
  if (name === undefined || encoded === undefined || rest.length > 0 || !isKeyName(name)) return undefined;
  const bytes = fromBase64(encoded);
  if (bytes === undefined || bytes.length < 5) return undefined;
  return { name, keyId: hexOf(bytes.subarray(0, 4)), signature: bytes.subarray(4), line };
}

/** The line for a signature that was made; without its line feed. */
export function signatureLine(key: Pick<VerifierKey, "name" | "keyId">, signature: Uint8Array): string {
  return `${signatureStart}${key.name} ${toBase64(concatBytes([bytesOfHex(key.keyId), signature]))}`;
}

/** A signed note of a text, which ends with a line feed, and lines of signatures. */
export function formatNote(text: string, lines: readonly string[]): string {
  return `${text}\n${lines.map((line) => `${line}\n`).join("")}`;
}

/** Adds a signature under a signed note, unless it is there already. */
export function appendSignature(note: string, line: string): string {
  return note.includes(`\n${line}\n`) ? note : `${note}${line}\n`;
}

/** Signs a text with plain Ed25519. */
export async function signNote(
  text: string,
  signers: readonly { name: string; signer: NoteSigner }[],
): Promise<string> {
  const lines: string[] = [];
  for (const { name, signer } of signers) {
    const signature = fromBase64Url(await signer.sign(utf8Bytes(text)), 64);
    if (signature === undefined) throw new Error("the signer gave no Ed25519 signature");
    lines.push(signatureLine(verifierKey({ name, type: 1, publicKey: signer.publicKey }), signature));
  }
  return formatNote(text, lines);
}

/** True if the note has a plain Ed25519 signature of the key that verifies, under the key's name. */
export function noteSignedBy(note: Note, key: VerifierKey): boolean {
  return signaturesOf(note, key).some(
    ({ signature }) => key.type === 1 && verifySignature(key.publicKey, utf8Bytes(note.text), toBase64Url(signature)),
  );
}

/** The signatures that claim to be by a key: same name, same id, and as many bytes as its type has. */
export function signaturesOf(note: Note, key: VerifierKey): NoteSignature[] {
  const length = key.type === 1 ? 64 : 72;
  return note.signatures.filter(
    ({ name, keyId, signature }) => name === key.name && keyId === key.keyId && signature.length === length,
  );
}

/**
 * Opens a note with the keys one trusts, as the reference implementation does: a signature that claims to be by one of them and is not
 * makes the note bad; those of other keys, and repeated ones, are left aside; at least one must verify.
 */
export function openNote(
  input: string | Uint8Array,
  keys: readonly VerifierKey[],
): { ok: true; note: Note; verified: VerifierKey[] } | { ok: false; problem: string } {
  const parsed = parseNote(input);
  if (!parsed.ok) return parsed;
  const verified: VerifierKey[] = [];
  for (const { name, keyId, signature } of parsed.note.signatures) {
    const known = keys.filter((key) => key.name === name && key.keyId === keyId);
    const [key] = known;
    if (key === undefined || verified.includes(key)) continue;
    if (known.length > 1) return no(`more than one key \`${name}\` ${keyId}`);
    const message = utf8Bytes(parsed.note.text);
    if (key.type !== 1 || !verifySignature(key.publicKey, message, toBase64Url(signature)))
      return no(`a wrong signature of \`${name}\``);
    verified.push(key);
  }
  return verified.length === 0 ? no("no signature of a key that is known") : { ok: true, note: parsed.note, verified };
}

/**
 * The fingerprint that people compare over another channel: SHA-256 of the key's 32 bytes, hex. Undefined: the text is
 * no key.
 */
export function fingerprintOf(publicKey: string): string | undefined {
  const raw = fromBase64Url(publicKey, 32);
  return raw === undefined ? undefined : sha256PartsHex(raw);
}

/** A fingerprint as people read it to each other: in groups of eight. */
export function spacedFingerprint(hex: string): string {
  return (hex.match(/.{1,8}/g) ?? []).join(" ");
}

/** A key with its id worked out. Throws RangeError for a name that cannot be one, or bytes that are no key. */
export function verifierKey(of: Pick<VerifierKey, "name" | "type" | "publicKey">): VerifierKey {
  const { name, type, publicKey } = of;
  const raw = fromBase64Url(publicKey, 32);
  if (raw === undefined) throw new RangeError("not the base64url of 32 bytes");
  if (!isKeyName(name)) throw new RangeError("a key's name is 1 to 256 characters without spaces and plus");
  return { name, type, keyId: keyIdOf(name, type, raw), publicKey };
}

function keyIdOf(name: string, type: KeyType, raw: Uint8Array): string {
  return sha256PartsHex(utf8Bytes(`${name}\n`), Uint8Array.of(type), raw).slice(0, 8);
}

/** `name+keyid+base64(type, key)`; undefined for anything else, also where the id is not that of the key. */
export function parseVerifierKey(text: string): VerifierKey | undefined {
  if (text.length > keyNameLengthMax + 128) return undefined;
  const [name, keyId, encoded] = splitInThree(text);
  if (name === undefined || keyId === undefined || encoded === undefined) return undefined;
  const bytes = fromBase64(encoded);
  if (!isKeyName(name) || bytes?.length !== 33) return undefined;
  const type = bytes[0];
  if ((type !== 1 && type !== 4) || keyId !== keyIdOf(name, type, bytes.subarray(1))) return undefined;
  return { name, type, keyId, publicKey: toBase64Url(bytes.subarray(1)) };
}

/** The base64 may hold plus signs, the name may not: so the first two are the separators. */
function splitInThree(text: string): (string | undefined)[] {
  const first = text.indexOf("+");
  const second = text.indexOf("+", first + 1);
  if (first < 0 || second < 0) return [];
  return [text.slice(0, first), text.slice(first + 1, second), text.slice(second + 1)];
}

export function formatVerifierKey({ name, type, keyId, publicKey }: VerifierKey): string {
  const raw = fromBase64Url(publicKey, 32);
  if (raw === undefined) throw new RangeError("not the base64url of 32 bytes");
  return `${name}+${keyId}+${toBase64(concatBytes([Uint8Array.of(type), raw]))}`;
}

/** Not empty, bounded, no space of any kind, no plus, and nothing that shows as something else. */
function isKeyName(name: string): boolean {
  return name.length > 0 && name.length <= keyNameLengthMax && !/[\s+]/.test(name) && !deceives(name);
}

// Listed, not \p{Cf}: that grows with every Unicode version, and a note that verifies today must verify always.
const unseen =
  /[\p{Cc}\p{Cs}\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\u{e0000}-\u{e007f}]/u;

/** Whether a name holds characters that do not show, or turn the direction of those that do: it would read as another. */
export function deceives(name: string): boolean {
  return unseen.test(name);
}

/** Control characters but the line feed, and halves of surrogate pairs. */
function hasControlCharacter(text: string): boolean {
  // A pattern over control characters is what this is about.
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    if (unit < 0x20 && unit !== 0x0a) return true;
    if (unit < 0xd800 || unit > 0xdfff) continue;
    const next = text.charCodeAt(i + 1);
    if (unit > 0xdbff || !(next >= 0xdc00 && next <= 0xdfff)) return true;
    i++;
  }
  return false;
}

/** Standard base64 with padding (RFC 4648 §4). */
export function toBase64(bytes: Uint8Array): string {
  const url = toBase64Url(bytes).replaceAll("-", "+").replaceAll("_", "/");
  return url + "=".repeat((4 - (url.length % 4)) % 4);
}

/** Undefined unless `text` is the one way to write its bytes. */
export function fromBase64(text: string): Uint8Array | undefined {
  if (text.length % 4 !== 0 || !/^[A-Za-z0-9+/]*={0,2}$/.test(text)) return undefined;
  const url = text.replace(/=+$/, "").replaceAll("+", "-").replaceAll("/", "_");
  return fromBase64Url(url, Math.floor((url.length * 3) / 4));
}

function no(problem: string): { readonly ok: false; readonly problem: string } {
  return { ok: false, problem };
}
