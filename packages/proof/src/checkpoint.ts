/**
 * Checkpoints (C2SP tlog-checkpoint): a signed note that names a log's origin, the size of its tree and the root; and cosignatures
 * (C2SP tlog-cosignature), by which a witness says that this was the largest consistent tree it had seen at a time.
 *
 * The origin of a tenant's ledger is `<deployment>/<tenant>`, from the first restore on with the number of its incarnation behind.
 */
import { concatBytes, utf8Bytes } from "./bytes.js";
import { uuidPattern } from "./entry.js";
import {
  deceives,
  formatNote,
  fromBase64,
  noteSignedBy,
  parseNote,
  signaturesOf,
  signatureLine,
  signNote,
  toBase64,
  verifierKey,
  type Note,
  type NoteSigner,
  type Parsed,
  type VerifierKey,
} from "./note.js";
import { fromBase64Url, toBase64Url, verifySignature } from "./signature.js";

export interface TreeHead {
  readonly origin: string;
  readonly size: number;
  /** 32 bytes. */
  readonly root: Uint8Array;
}

export interface Checkpoint extends TreeHead {
  /** Lines behind the root: signed, without a meaning here. */
  readonly extensions: readonly string[];
  readonly note: Note;
  /** The whole signed note. */
  readonly text: string;
}

const extensionsMax = 16;
const originLengthMax = 300;

/** The text that is signed. */
export function checkpointBody({ origin, size, root }: TreeHead): string {
  return `${origin}\n${size}\n${toBase64(root)}\n`;
}

export function parseCheckpoint(input: string | Uint8Array): Parsed<"checkpoint", Checkpoint> {
  const parsed = parseNote(input);
  if (!parsed.ok) return parsed;
  const { note } = parsed;
  const [origin = "", size = "", encoded = "", ...extensions] = note.text.slice(0, -1).split("\n", extensionsMax + 4);
  if (origin === "" || origin.length > originLengthMax) return no("no origin, or too long a one");
  if (deceives(origin)) return no("an origin with characters that do not show");
  if (!/^(0|[1-9]\d{0,15})$/.test(size) || !Number.isSafeInteger(Number(size)))
    return no("the size is not a decimal below 2^53");
  const root = encoded.length === 44 ? fromBase64(encoded) : undefined;
  if (root?.length !== 32) return no("the root is not the base64 of 32 bytes");
  if (extensions.length > extensionsMax || extensions.includes("")) return no("an empty line, or too many");
  const text = formatNote(
    note.text,
    note.signatures.map(({ line }) => line),
  );
  return { ok: true, checkpoint: { origin, size: Number(size), root, extensions, note, text } };
}

/** A checkpoint signed by the log: the key's name is the origin. */
export function signCheckpoint(head: TreeHead, signer: NoteSigner): Promise<string> {
  return signNote(checkpointBody(head), [{ name: head.origin, signer }]);
}

/** True if the log's key (base64url) signed it, under the origin's name. */
export function isSignedBy(checkpoint: Checkpoint, publicKey: string): boolean {
  const name = checkpoint.origin;
  let key: VerifierKey;
  try {
    key = verifierKey({ name, type: 1, publicKey });
  } catch {
    return false; // an origin that cannot be a key's name, or no key: nothing can be signed by it
  }
  return noteSignedBy(checkpoint.note, key);
}

/** The bytes a witness signs. `atSeconds`: seconds since 1970-01-01T00:00Z. */
export function cosignatureMessage(body: string, atSeconds: number): Uint8Array {
  return utf8Bytes(`cosignature/v1\ntime ${atSeconds}\n${body}`);
}

/** The line by which a witness cosigns, without its line feed. */
export async function signCosignature(
  checkpoint: Pick<Checkpoint, "note">,
  by: { readonly name: string; readonly signer: NoteSigner; readonly atSeconds: number },
): Promise<string> {
  const { name, signer, atSeconds } = by;
  const signature = fromBase64Url(await signer.sign(cosignatureMessage(checkpoint.note.text, atSeconds)), 64);
  if (signature === undefined) throw new Error("the signer gave no Ed25519 signature");
  const time = new Uint8Array(8);
  new DataView(time.buffer).setBigUint64(0, BigInt(atSeconds));
  return signatureLine(verifierKey({ name, type: 4, publicKey: signer.publicKey }), concatBytes([time, signature]));
}

/**
 * When the witness of a key (type 4) cosigned; undefined if it did not. Of several times the first: from then on the checkpoint existed, and
 * a witness that is asked again later takes nothing away from that.
 */
export function cosignatureOf(
  checkpoint: Pick<Checkpoint, "note">,
  key: VerifierKey,
): { readonly atSeconds: number } | undefined {
  if (key.type !== 4) return undefined;
  let first: number | undefined;
  for (const { signature } of signaturesOf(checkpoint.note, key)) {
    const time = new DataView(signature.buffer, signature.byteOffset, 8).getBigUint64(0);
    // attacker-controlled: may be 2^63. A time beyond the year 9999 is no time.
    if (time > 253_402_300_799n) continue;
    const message = cosignatureMessage(checkpoint.note.text, Number(time));
    if (!verifySignature(key.publicKey, message, toBase64Url(signature.subarray(8)))) continue;
    first = Math.min(first ?? Infinity, Number(time));
  }
  return first === undefined ? undefined : { atSeconds: first };
}

export interface Origin {
  readonly deployment: string;
  readonly tenant: string;
  /** 0; one more after every restore. */
  readonly incarnation: number;
}

export function originOf({ deployment, tenant, incarnation }: Origin): string {
  return `${deployment}/${tenant}${incarnation === 0 ? "" : `/${incarnation}`}`;
}

export function parseOrigin(origin: string): Origin | undefined {
  const parts = origin.split("/");
  const last = parts.at(-1) ?? "";
  const numbered = /^[1-9]\d{0,8}$/.test(last);
  const tenant = parts.at(numbered ? -2 : -1) ?? "";
  const deployment = parts.slice(0, numbered ? -2 : -1).join("/");
  if (!uuidPattern.test(tenant) || !isDeploymentName(deployment)) return undefined;
  return { deployment, tenant, incarnation: numbered ? Number(last) : 0 };
}

/** Printable ASCII without spaces and plus, at most 200 characters, such as `ledger.example.org/main`. */
export function isDeploymentName(name: string): boolean {
  return /^[!-*,-~]{1,200}$/.test(name) && !name.startsWith("/") && !name.endsWith("/");
}

function no(problem: string): { readonly ok: false; readonly problem: string } {
  return { ok: false, problem };
}
