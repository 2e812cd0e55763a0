/**
 * The client of a witness (tlog-witness): somebody else's program, on another machine, that signs each log's newest size and root
 * and never two that contradict each other.
 *
 * Promises: only a cosignature that verifies with the configured key counts as a receipt; whatever else the answer holds is
 * ignored, and an answer that is huge or never ends is cut off.
 */
import {
  appendSignature,
  type Checkpoint,
  cosignatureOf,
  formatVerifierKey,
  parseCheckpoint,
  type VerifierKey,
} from "@countersign/proof";
import { AnchorContradiction, type Anchor, type AnchorReceipt, type Submission } from "./anchor.js";
import { Turns } from "./turns.js";

export interface WitnessAnchorOptions {
  readonly name: string;
  /** The submission prefix: `/add-checkpoint` is put behind it. */
  readonly url: string;
  readonly key: VerifierKey;
  /** For one exchange. */
  readonly timeoutMs?: number;
}

type Client = WitnessAnchorOptions & { readonly signal: AbortSignal };

const timeoutMsUsual = 15_000;
const answerBytesMax = 64 * 1024;
/** Signature lines of an answer that are looked at. */
const linesMax = 64;
/** Exchanges of one submission: the size remembered, the size learned, and again each time somebody was faster. */
const triesMax = 8;

export function witnessAnchor(options: WitnessAnchorOptions): Anchor {
  const turns = new Turns();
  const cut = new AbortController();
  const client: Client = { ...options, signal: cut.signal };
  return {
    name: options.name,
    kind: "witness",
    location: options.url,
    submit: (submission) => turns.take(submission.origin, () => submit(client, submission)),
    close: () => cut.abort(),
  };
}

async function submit(options: Client, submission: Submission): Promise<AnchorReceipt> {
  const { checkpoint, anchored } = submission;
  let old = Math.min(anchored, checkpoint.size);
  for (let tries = 0; tries < triesMax; tries += 1) {
    const answer = await exchange(options, await requestBody(submission, old));
    if (answer.status === 200) return receiptOf(options, checkpoint, answer.body);
    if (answer.status !== 409) throw refusedBy(options, answer, { checkpoint, old });
    const holds = sizeOf(answer);
    if (holds === undefined) throw new Error(`the witness answered 409 without a size`);
    refuseContradiction(submission, old, holds);
    old = holds;
  }
  throw new Error("the witness named another size each time; does somebody else submit for this log?");
}

async function requestBody({ checkpoint, consistency }: Submission, old: number): Promise<string> {
  const proof = old === 0 || old === checkpoint.size ? [] : await consistency(old);
  const lines = proof.map((hash) => `${Buffer.from(hash).toString("base64")}\n`);
  return `old ${old}\n${lines.join("")}\n${checkpoint.text}`;
}

function refuseContradiction({ checkpoint, anchored }: Submission, old: number, holds: number): void {
  if (holds > checkpoint.size)
    throw new AnchorContradiction(
      "smaller",
      holds,
      `the witness has cosigned size ${holds} and was offered ${checkpoint.size}`,
    );
  if (holds < anchored)
    throw new AnchorContradiction(
      "rewritten",
      holds,
      `the witness cosigned size ${anchored} and now says ${holds}: it has forgotten, or another witness has the same key`,
    );
  if (holds === old) {
    // tlog-witness: at equal sizes 409 also says that the roots differ.
    const message = `the witness has cosigned another root for size ${holds}`;
    if (holds === checkpoint.size) throw new AnchorContradiction("other_root", holds, message);
    throw new Error(`the witness answered 409 with the size it was given, ${holds}`);
  }
}

interface Answer {
  readonly status: number;
  readonly contentType: string;
  readonly body: string;
}

function refusedBy(
  options: WitnessAnchorOptions,
  { status, body }: Answer,
  { checkpoint, old }: { readonly checkpoint: Checkpoint; readonly old: number },
): Error {
  if (status === 422)
    return new AnchorContradiction(
      "inconsistent",
      old,
      `the proof that size ${checkpoint.size} continues the cosigned checkpoint does not hold`,
    );
  const known: Readonly<Record<number, string>> = {
    400: "the witness calls the request malformed",
    403: "the witness does not know the key that signed the checkpoint; tell its operator, who runs `countersign witness add-log`",
    404: `the witness does not know the log \`${checkpoint.origin}\`; tell its operator, who runs \`countersign witness add-log\``,
  };
  const said = body.replaceAll(/[^\x20-\x7e]+/g, " ").slice(0, 200);
  return new Error(`the witness \`${options.name}\` answered ${status}: ${known[status] ?? said}`);
}

/** The content of a 409 answer: the size cosigned last. */
function sizeOf({ contentType, body }: Answer): number | undefined {
  const found = /^(0|[1-9][0-9]{0,15})\n$/.exec(body);
  const size = Number(found?.[1]);
  return contentType.startsWith("text/x.tlog.size") && Number.isSafeInteger(size) ? size : undefined;
}

function receiptOf({ name, key }: WitnessAnchorOptions, checkpoint: Checkpoint, body: string): AnchorReceipt {
  for (const line of body.split("\n", linesMax)) {
    if (!line.startsWith(`— ${key.name} `)) continue;
    const parsed = parseCheckpoint(appendSignature(checkpoint.text, line));
    const cosigned = parsed.ok ? cosignatureOf(parsed.checkpoint, key) : undefined;
    if (cosigned !== undefined)
      return { size: checkpoint.size, atMs: cosigned.atSeconds * 1_000, receipt: `${line}\n` };
  }
  throw new Error(`the witness \`${name}\` answered without a cosignature by \`${formatVerifierKey(key)}\``);
}

async function exchange({ url, timeoutMs = timeoutMsUsual, signal }: Client, body: string): Promise<Answer> {
  const timeout = AbortSignal.timeout(timeoutMs);
  try {
    const response = await fetch(`${url.replace(/\/+$/, "")}/add-checkpoint`, {
      method: "POST",
      headers: { "content-type": "application/octet-stream" },
      body,
      // A redirect would take the checkpoint to whom nobody configured.
      redirect: "error",
      signal: AbortSignal.any([timeout, signal]),
    });
    const { status } = response;
    return { status, contentType: response.headers.get("content-type") ?? "", body: await bounded(response) };
  } catch (cause) {
    if (timeout.aborted) throw new Error(`the witness did not answer within ${timeoutMs} ms`, { cause });
    const { message, cause: inner } = cause as Error;
    const why = inner instanceof Error && inner.message !== "" ? inner.message : message;
    throw new Error(`the witness cannot be reached: ${why}`, { cause });
  }
}

async function bounded(response: Response): Promise<string> {
  const pieces: Uint8Array[] = [];
  let bytes = 0;
  for await (const piece of (response.body ?? []) as AsyncIterable<Uint8Array>) {
    bytes += piece.length;
    if (bytes > answerBytesMax) throw new Error(`the witness's answer is longer than ${answerBytesMax} bytes`);
    pieces.push(piece);
  }
  return Buffer.concat(pieces).toString("utf8");
}
