/**
 * Checks archives of pruned entries. Each archive must verify by itself, be the one that a pruning named, and end with
 * the hash that the ledger has at that place.
 */
import { Sha256Stream, verifyBundle, type BundleResult, type Finding } from "@countersign/proof";

export interface Archive {
  readonly path: string;
  readonly sha256: string;
  readonly result: BundleResult;
}

/** `pieces`: the file's bytes. Used by the command and by the page. */
export async function readArchive(
  path: string,
  pieces: AsyncIterable<Uint8Array>,
  tenant: string | undefined,
): Promise<Archive> {
  const digest = new Sha256Stream();
  async function* read(): AsyncGenerator<Uint8Array> {
    for await (const piece of pieces) {
      digest.update(piece);
      yield piece;
    }
  }
  const result = await verifyBundle(read(), tenant === undefined ? {} : { tenant });
  return { path, sha256: digest.hex(), result };
}

/** Where the ledger's hashes are wanted. */
export function endsOf(archives: readonly Archive[]): number[] {
  const ends = archives.flatMap(({ result: { head } }) => (head === undefined ? [] : [head.seq]));
  return [...new Set(ends)].sort((a, b) => a - b);
}

/** Problems of the archives as archives of this ledger. */
function compareArchives(archives: readonly Archive[], ledger: BundleResult): Finding[] {
  const named = ledger.notes.flatMap(({ archive }) => (archive === undefined ? [] : [archive]));
  return archives.flatMap((archive): Finding[] => {
    const { path, sha256, result } = archive;
    const wrong = result.findings.map((finding) => ({
      ...finding,
      detail: `in the archive ${path}: ${finding.detail ?? ""}`,
    }));
    if (wrong.length > 0) return wrong;
    const about = { class: "REFERENCE_MISMATCH", seq: result.head?.seq ?? null } as const;
    if (!named.includes(sha256))
      return [
        {
          ...about,
          expected: named.join(", ") || "no pruning",
          actual: sha256,
          detail: `no pruning names the archive ${path}`,
        },
      ];
    const chained = ledger.hashes?.find(({ seq }) => seq === result.head?.seq)?.hash;
    if (chained === result.head?.hash) return [];
    const detail = `the archive ${path} ends with another entry than the ledger has there`;
    return [{ ...about, expected: chained ?? "that entry", actual: result.head?.hash ?? "nothing", detail }];
  });
}

/** The verdict on the ledger with its archives. */
export function withArchives(result: BundleResult, archives: readonly Archive[]): BundleResult {
  const wrongs = compareArchives(archives, result);
  const [first] = wrongs;
  if (first === undefined) return result;
  const findings = [...result.findings, ...wrongs];
  const malformed = findings.every((finding) => finding.class === "MALFORMED");
  return {
    ...result,
    integrity: malformed ? "undecided" : "tampered",
    first: result.first ?? first,
    findings,
    findingsTotal: result.findingsTotal + wrongs.length,
  };
}
