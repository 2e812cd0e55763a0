/**
 * A witness (tlog-witness): it checks every checkpoint of the logs it knows, signs a checkpoint only if it continues
 * the last one it signed, and remembers that one. With a witness on somebody else's machine, even the owner of the
 * ledger's database *and* its signing key cannot show two histories without being found out.
 *
 * Promises: never two cosignatures of one log that contradict each other, whatever happens to its process
 * (witness.test.ts); a cosigned checkpoint is on the disk before the answer is sent.
 */
import {
  appendSignature,
  formatNote,
  isSignedBy,
  parseCheckpoint,
  signCosignature,
  verifyConsistency,
  type Checkpoint,
  type NoteSigner,
} from "@countersign/proof";
import type { Clock } from "../platform/index.js";
import { logOf, trustedKeys, type WitnessedLog } from "./logs.js";
import { parseAddCheckpoint, type AddCheckpoint } from "./request.js";
import { isNameable, type Remembered, type WitnessState } from "./state.js";

export interface WitnessAnswer {
  readonly status: 200 | 400 | 403 | 404 | 409 | 422;
  readonly contentType: "text/plain; charset=utf-8" | "text/x.tlog.size";
  readonly body: string;
}

export interface WitnessParts {
  readonly name: string;
  readonly signer: NoteSigner;
  readonly state: WitnessState;
  readonly logs: () => Promise<readonly WitnessedLog[]>;
  readonly clock: Clock;
}

/** Times a decision is made again because another process was faster. */
const triesMax = 8;
const emptyRoot = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/**
 * The statuses and their order are tlog-witness's. Throws only errors that an operator has to see: a state that cannot
 * be read or kept.
 */
export async function addCheckpoint(parts: WitnessParts, body: Uint8Array): Promise<WitnessAnswer> {
  const parsed = parseAddCheckpoint(body);
  if (!parsed.ok) return says(400, parsed.problem);
  const { checkpoint, old } = parsed.request;
  const log = logOf(await parts.logs(), checkpoint.origin);
  if (log === undefined || !isNameable(checkpoint.origin)) return says(404, "this log is not known here");
  const key = trustedKeys(log).find((candidate) => isSignedBy(checkpoint, candidate));
  if (key === undefined) return says(403, "no signature is by a trusted key of this log");
  if (old > checkpoint.size) return says(400, "the old size is larger than the checkpoint's");
  for (let tries = 0; tries < triesMax; tries += 1) {
    const last = await parts.state.read(checkpoint.origin);
    const refusal = judge(parsed.request, last);
    if (refusal !== undefined) return refusal;
    const answer = await cosign(parts, { checkpoint, last, key });
    if (answer !== undefined) return answer;
  }
  throw new Error(`other processes cosigned for \`${checkpoint.origin}\` all the time`);
}

/** Undefined: it continues the cosigned checkpoint. */
function judge({ checkpoint, old, proof }: AddCheckpoint, last: Remembered | undefined): WitnessAnswer | undefined {
  const held = last?.size ?? 0;
  if (old !== held) return conflict(held);
  const root = Buffer.from(checkpoint.root).toString("hex");
  if (last !== undefined && checkpoint.size === held && root !== last.root) return conflict(held);
  return continues({ checkpoint, old, proof }, last?.root ?? emptyRoot)
    ? undefined
    : says(422, "the consistency proof does not hold");
}

function continues({ checkpoint, old, proof }: AddCheckpoint, root: string): boolean {
  const { size } = checkpoint;
  if (old === 0 || old === size)
    return proof.length === 0 && (old !== size || Buffer.from(checkpoint.root).toString("hex") === root);
  const fromRoot = Buffer.from(root, "hex");
  return verifyConsistency({ from: old, fromRoot, to: size, toRoot: checkpoint.root, proof: [...proof] });
}

/** Undefined: another process was faster. */
async function cosign(
  { name, signer, state, clock }: WitnessParts,
  { checkpoint, last, key }: { checkpoint: Checkpoint; last: Remembered | undefined; key: string },
): Promise<WitnessAnswer | undefined> {
  // A clock that was set back does not make us say that we saw the larger tree before the smaller one.
  const atSeconds = Math.max(Math.floor(clock.nowMs() / 1_000), last?.atSeconds ?? 0);
  const line = await signCosignature(checkpoint, { name, signer, atSeconds });
  const remembered = {
    origin: checkpoint.origin,
    size: checkpoint.size,
    root: Buffer.from(checkpoint.root).toString("hex"),
    atSeconds,
    note: appendSignature(signedByLog(checkpoint, key), line),
  };
  // If we die before: nothing was said. After, before the answer: the log asks again and is answered 409 with the size, or the same.
  return (await state.advance(last, remembered)) ? says(200, line) : undefined;
}

/** Of all the signatures that came with it we keep the log's. */
function signedByLog({ note }: Checkpoint, key: string): string {
  const alone = note.signatures.map(({ line }) => formatNote(note.text, [line]));
  const signed = alone.find((text) => {
    const parsed = parseCheckpoint(text);
    return parsed.ok && isSignedBy(parsed.checkpoint, key);
  });
  if (signed === undefined) throw new Error("the signature that was verified is not in the note");
  return signed;
}

function conflict(size: number): WitnessAnswer {
  return { status: 409, contentType: "text/x.tlog.size", body: `${size}\n` };
}

function says(status: WitnessAnswer["status"], text: string): WitnessAnswer {
  return { status, contentType: "text/plain; charset=utf-8", body: text.endsWith("\n") ? text : `${text}\n` };
}
