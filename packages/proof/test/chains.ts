/** Synthetic ledgers for tests: whole, signed, deterministic. */
import {
  bodyCommitment,
  canonicalize,
  contentHashHex,
  entryContentText,
  entryHashHex,
  generateSigningKeyPair,
  signMessage,
  voteSigningBytes,
  zeroHash,
  type EntryContentInput,
  type StoredEntry,
} from "../src/index.js";

export const tenant = "0199c000-0000-7000-8000-00000000000a";
export const otherTenant = "0199c000-0000-7000-8000-00000000000f";
export const startMs = 1_790_000_000_000;
export const uuid = (kind: string, n: number): string =>
  `0199c000-0000-7000-8${kind}-${n.toString(16).padStart(12, "0")}`;

export type Draft = Pick<EntryContentInput, "action" | "subject"> &
  Partial<Pick<EntryContentInput, "actor" | "data" | "state">> & {
    readonly body?: Record<string, string>;
    readonly timeMs?: number;
  };

/** Entries as the door would store them; the draft's place gives id, nonce and time. */
export function chainOf(
  drafts: readonly Draft[],
  of = tenant,
  from: { seq: number; prev: string } = { seq: 0, prev: zeroHash },
): StoredEntry[] {
  let prev = from.prev;
  return drafts.map((draft, i) => {
    const entry = entryOf(draft, of, from.seq + i, prev);
    prev = entry.hash;
    return entry;
  });
}

function entryOf(draft: Draft, of: string, seq: number, prev: string): StoredEntry {
  const { action, subject, data, state, timeMs = startMs + seq * 10 } = draft;
  const salt = Buffer.alloc(32, seq);
  const entryId = uuid("aaa", seq);
  const content = entryContentText({
    id: entryId,
    nonce: seq.toString(16).padStart(32, "0"),
    at: timeMs - 1,
    actor: draft.actor ?? { type: "agent", id: uuid("bbb", 1), humans: [uuid("bbb", 2)] },
    action,
    subject,
    ...(data !== undefined ? { data } : {}),
    ...(state !== undefined ? { state } : {}),
    ...(draft.body !== undefined ? { body: { commitment: bodyCommitment(salt, draft.body) } } : {}),
  });
  const opened =
    draft.body === undefined ? {} : { body: { salt: salt.toString("hex"), text: canonicalize(draft.body) } };
  return rehashed({ tenantId: of, seq, timeMs, entryId, prev, content, contentHash: "", hash: "", ...opened });
}

/** The entry with content hash and hash made true. */
export function rehashed(entry: StoredEntry): StoredEntry {
  const contentHash = contentHashHex(entry.content ?? "");
  return { ...entry, contentHash, hash: hashOf({ ...entry, contentHash }) };
}

export function hashOf({ tenantId, seq, timeMs, prev, contentHash }: StoredEntry): string {
  return entryHashHex({ tenant: tenantId, seq, timeMs, prev, contentHash });
}

export const plain = (n: number): Draft => ({
  action: "change_set.submitted",
  subject: { type: "change_set", id: uuid("ccc", n) },
  data: { revision: n, label: n % 2 === 0, digest: "ab".repeat(32) },
  state: [["change_sets", uuid("ccc", n), 1, "cd".repeat(32)]],
  ...(n % 3 === 0 ? { body: { title: `Change ${n}: “ümlaut”`, path: "config/app.json" } } : {}),
});

export interface Voter {
  readonly id: string;
  readonly key: string;
  readonly publicKey: string;
  readonly privateKey: string;
}
export const voterOf = (n: number): Voter => ({
  id: uuid("ddd", n),
  key: uuid("eee", n),
  ...generateSigningKeyPair(Buffer.alloc(32, n)),
});

export const enrolled = ({ id, key, publicKey }: Voter): Draft => ({
  action: "principal.key_enrolled",
  subject: { type: "principal", id },
  data: { key, algorithm: "Ed25519", publicKey },
});
export const revoked = ({ id, key }: Voter): Draft => ({
  action: "principal.key_revoked",
  subject: { type: "principal", id },
  data: { key },
});

export function voted(
  voter: Voter,
  changes: Record<string, string | number> = {},
  changeSetId = uuid("ccc", 1),
  signedTenant = tenant,
): Draft {
  const parts = {
    tenant: signedTenant,
    changeSetId,
    approvalDigest: "ef".repeat(32),
    decision: "APPROVED",
    voterId: voter.id,
    atMs: startMs,
  };
  const signature = signMessage(voter.privateKey, voteSigningBytes(parts));
  return {
    action: "change_set.vote_cast",
    actor: { type: "human", id: voter.id, humans: [voter.id] },
    subject: { type: "change_set", id: changeSetId },
    data: {
      revision: 1,
      digest: parts.approvalDigest,
      decision: "APPROVED",
      voter: voter.id,
      key: voter.key,
      atMs: startMs,
      signature,
      ...changes,
    },
  };
}
