/** The body of add-checkpoint (tlog-witness): old size, consistency proof, empty line, checkpoint. From strangers. */
import { type Checkpoint, parseCheckpoint } from "@countersign/proof";

export interface AddCheckpoint {
  readonly old: number;
  readonly proof: readonly Uint8Array[];
  readonly checkpoint: Checkpoint;
}

/** "The client MUST NOT send more than 63 consistency proof lines." */
const proofLinesMax = 63;
const hashLine = /^[A-Za-z0-9+/]{43}=$/;

/** Undefined with a problem when it is malformed. */
export function parseAddCheckpoint(
  body: Uint8Array,
): { readonly ok: true; readonly request: AddCheckpoint } | { readonly ok: false; readonly problem: string } {
  const bytes = Buffer.from(body.buffer, body.byteOffset, body.byteLength);
  const end = bytes.indexOf("\n\n");
  if (end < 0) return malformed("there is no empty line before the checkpoint");
  const [first = "", ...lines] = bytes.toString("latin1", 0, end).split("\n", proofLinesMax + 2);
  const old = Number(/^old (0|[1-9][0-9]{0,15})$/.exec(first)?.[1]);
  if (!Number.isSafeInteger(old)) return malformed("the first line is not `old` and a size");
  if (lines.length > proofLinesMax) return malformed(`there are more than ${proofLinesMax} lines of proof`);
  const proof = lines.map(decodeHash);
  if (!proof.every((hash) => hash !== undefined)) return malformed("a line of proof is not the base64 of 32 bytes");
  const parsed = parseCheckpoint(bytes.subarray(end + 2));
  return parsed.ok ? { ok: true, request: { old, proof, checkpoint: parsed.checkpoint } } : malformed(parsed.problem);
}

function decodeHash(line: string): Uint8Array | undefined {
  if (!hashLine.test(line)) return undefined;
  const bytes = Buffer.from(line, "base64");
  return bytes.length === 32 && bytes.toString("base64") === line ? bytes : undefined;
}

function malformed(problem: string): { readonly ok: false; readonly problem: string } {
  return { ok: false, problem };
}
