/** What a file is, from its first bytes. Only to sort what was dropped: what it says is checked when it is read. */

export const fileKinds = ["bundle", "policy", "anchor", "receipt", "keys"] as const;
export type FileKind = (typeof fileKinds)[number];

/** Enough for the header of every format. */
export const headBytes = 4096;

export function recognise(name: string, head: Uint8Array): FileKind {
  const text = new TextDecoder().decode(head);
  if (text.startsWith("c2sp.org/tlog-proof@")) return "receipt";
  if (/^(?:\d+\n)?countersign\.log-key\.v1\n/.test(text)) return "keys";
  // A record of a file anchor, or one checkpoint by itself: origin, size, root.
  if (/^\d+(?: \d+)?\n[^\n]+\n\d+\n[A-Za-z0-9+/=]{44}\n/.test(text)) return "anchor";
  if (/^[^\n{]+\n\d+\n[A-Za-z0-9+/=]{44}\n/.test(text)) return "anchor";
  if (text.trimStart().startsWith("{")) return "bundle";
  if (/^(?:\s*(?:#.*)?\n)*\s*(?:log|witness|anchor|group|quorum)\s/.test(text)) return "policy";
  if (/\.tlog-proof$/i.test(name)) return "receipt";
  if (/\.(?:bundle|jsonl|ndjson)$/i.test(name)) return "bundle";
  return /polic/i.test(name) || (/^\s*#/.test(text) && text.length < headBytes) ? "policy" : "bundle";
}
