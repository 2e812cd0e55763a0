/**
 * Archives: bundles of the contents that a pruning removes. They are written before anything is removed, and read back
 * before anybody relies on them.
 *
 * Promises: the file at an archive's path is whole, on disk, and was verified after it was written; an existing file is
 * never overwritten.
 */
import { createReadStream } from "node:fs";
import { link, mkdir, open, realpath, rm } from "node:fs/promises";
import { basename, dirname, isAbsolute, join, relative, resolve } from "node:path";
import { asTenantId, isRefusal, refused, type Refusal, type TenantId } from "@countersign/contract";
import { readBundle, Sha256Stream, verifyBundle, type BundleHeader, type Finding } from "@countersign/proof";
import type pg from "pg";
import { hasCode, newId, syncFolder } from "../platform/index.js";
import { openReading, readEntries } from "../ledger/index.js";
import type { ArchiveFacts } from "./pruning.js";
import { prunings, type PrunedRow } from "./queries.js";

export interface ArchiveRange {
  readonly tenant: TenantId;
  readonly from: number;
  /** Last entry. */
  readonly to: number;
}

/** Where an archive of that name lies: below `folder`, whatever links there are. Refuses with `archive_unusable`. */
export async function archivePath(folder: string, name: string): Promise<string | Refusal> {
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const root = await realpath(folder);
  const wanted = isAbsolute(name) ? name : resolve(root, name);
  const parent = await realpath(dirname(wanted)).catch(() => undefined);
  const file = basename(wanted);
  const inside = parent === undefined ? ".." : relative(root, parent);
  if (parent === undefined || isOutside(inside) || !/^[A-Za-z0-9][A-Za-z0-9._-]{0,200}$/.test(file))
    return refused(
      "archive_unusable",
      `\`${name}\` is no file below the archive directory \`${root}\`; name one there (letters, digits, dots, dashes), or set COUNTERSIGN_ARCHIVES`,
    );
  return join(parent, file);
}

const isOutside = (path: string): boolean => path === ".." || path.startsWith("../") || isAbsolute(path);

/**
 * Writes the lines of a bundle and reads them back. An existing file is accepted when it is an archive of that range.
 * Refuses with `archive_unusable`.
 */
export async function writeArchive(
  path: string,
  range: ArchiveRange,
  lines: () => AsyncIterable<string>,
): Promise<ArchiveFacts | Refusal> {
  try {
    if (await exists(path)) return await readArchive(path, range);
    return await write(path, range, lines());
  } catch (error) {
    if (!hasCode(error, "ENOENT", "EACCES", "ENOSPC", "EROFS", "EISDIR", "ENOTDIR", "EDQUOT")) throw error;
    return unusable(path, (error as Error).message);
  }
}

async function exists(path: string): Promise<boolean> {
  const file = await open(path).catch((error: unknown) => {
    if (hasCode(error, "ENOENT")) return undefined;
    throw error;
  });
  await file?.close();
  return file !== undefined;
}

/** Beside, synced, read back, then linked: a name is never that of half a file, nor taken from another. */
async function write(path: string, range: ArchiveRange, lines: AsyncIterable<string>): Promise<ArchiveFacts | Refusal> {
  const draft = `${path}.${newId()}.part`;
  const file = await open(draft, "w", 0o600);
  try {
    let pending = "";
    for await (const line of lines) {
      pending += line;
      if (pending.length < 1 << 20) continue;
      await file.writeFile(pending);
      pending = "";
    }
    await file.writeFile(pending);
    await file.sync();
    await file.close();
    const facts = await readArchive(draft, range);
    if (isRefusal(facts)) return facts;
    const taken = await link(draft, path).then(
      () => false,
      (error: unknown) => {
        if (hasCode(error, "EEXIST")) return true; // another process archived meanwhile
        throw error;
      },
    );
    await syncFolder(dirname(path));
    return taken ? await readArchive(path, range) : facts;
  } finally {
    await file.close().catch(() => undefined); // closed above, unless something failed before
    await rm(draft, { force: true });
  }
}

/** The file's facts, if it is a whole bundle of exactly this range, with the texts. */
export async function readArchive(path: string, range: ArchiveRange): Promise<ArchiveFacts | Refusal> {
  const read = new Digested(path);
  const result = await verifyBundle(read.chunks(), { tenant: range.tenant });
  // Texts that were erased before are not in it, and the entry that says so may come later than its last.
  const wrong = result.findings.filter(
    (finding) => !(finding.class === "ERASED_WITHOUT_ENTRY" && finding.expected === "body"),
  );
  const [first] = wrong;
  if (first !== undefined)
    return unusable(
      path,
      `it does not verify: ${first.class} at entry ${first.seq ?? "?"} (${first.actual.slice(0, 80)})`,
    );
  if (result.undecided !== undefined) return unusable(path, result.undecided);
  const { header } = result;
  if (header === undefined || header.from !== range.from || header.to !== range.to || header.bodies !== "included")
    return unusable(path, `it is no archive of entries ${range.from} to ${range.to}`);
  return { sha256: read.hex(), entries: result.entries, bytes: read.bytes };
}

function unusable(path: string, why: string): Refusal {
  return refused(
    "archive_unusable",
    `the archive \`${path}\` cannot be used: ${why}; nothing was pruned: choose another name`,
  );
}

/** A file's bytes, and meanwhile their digest. */
class Digested {
  readonly #path: string;
  readonly #hash = new Sha256Stream();
  bytes = 0;

  constructor(path: string) {
    this.#path = path;
  }

  async *chunks(): AsyncGenerator<Uint8Array, void, undefined> {
    for await (const chunk of createReadStream(this.#path, { highWaterMark: 1 << 20 }) as AsyncIterable<Buffer>) {
      this.#hash.update(chunk);
      this.bytes += chunk.length;
      yield chunk;
    }
  }

  hex(): string {
    return this.#hash.hex();
  }
}

export interface ArchiveCheck {
  readonly path: string;
  readonly sha256: string;
  /** The entry that names this file. Null: no entry does, so it is no archive of this ledger. */
  readonly namedBy: number | null;
  readonly header: BundleHeader | null;
  readonly entries: number;
  /**
   * Differences from the ledger's entries. If there are none and an entry names the file, it has the pruned contents.
   */
  readonly findings: readonly Finding[];
  /** It could not be read to its end. */
  readonly undecided?: string;
}

const findingsMax = 100;

/**
 * Holds an archive against the ledger: that an entry names its digest, that it verifies by itself, and that each of its entries
 * is the row of the ledger, hash for hash. `of`: the tenant it must be of; else the one it names.
 */
export async function checkArchive(login: pg.ClientConfig, path: string, of?: TenantId): Promise<ArchiveCheck> {
  const read = new Digested(path);
  const result = await verifyBundle(read.chunks(), of === undefined ? {} : { tenant: of });
  const header = result.header ?? null;
  const findings: Finding[] = result.findings.filter(
    (finding) => !(finding.class === "ERASED_WITHOUT_ENTRY" && finding.expected === "body"),
  );
  const said = { path, sha256: read.hex(), header, entries: result.entries };
  const malformed = findings.some((finding) => finding.class === "MALFORMED");
  if (result.undecided !== undefined || header === null || malformed)
    return { ...said, namedBy: null, findings, undecided: result.undecided ?? "it is not in the format of a bundle" };
  const tenant = of ?? asTenantId(header.tenant);
  const reading = await openReading(login, tenant);
  try {
    const { rows } = await reading.client.query<PrunedRow>(prunings(tenant).text, [tenant]);
    const named = rows.find(({ said: data }) => data.archive === said.sha256 && data.part === 0);
    for await (const finding of differences(path, readEntries(reading.client, tenant, header))) {
      findings.push(finding);
      if (findings.length >= findingsMax) break;
    }
    return { ...said, namedBy: named === undefined ? null : Number(named.seq), findings };
  } finally {
    await reading.close();
  }
}

interface Row {
  readonly seq: number;
  readonly timeMs: number;
  readonly hash: string;
}

async function* differences(
  path: string,
  stored: AsyncIterable<readonly Row[]>,
): AsyncGenerator<Finding, void, undefined> {
  const rows = flatten(stored);
  try {
    for await (const part of readBundle(createReadStream(path, { highWaterMark: 1 << 20 }))) {
      if (part.kind !== "entries") continue;
      for (const entry of part.entries) {
        const next = await rows.next();
        const row = next.done === true ? undefined : next.value;
        if (row?.seq === entry.seq && row.hash === entry.hash && row.timeMs === entry.timeMs) continue;
        yield {
          class: row?.seq === entry.seq ? "LINK_BROKEN" : "GAP",
          seq: entry.seq,
          expected: entry.hash,
          actual: row?.seq === entry.seq ? row.hash : "none",
          detail: "the archive's entry is not the ledger's",
        };
      }
    }
  } finally {
    await rows.return();
  }
}

async function* flatten<T>(batches: AsyncIterable<readonly T[]>): AsyncGenerator<T, void, undefined> {
  for await (const batch of batches) yield* batch;
}
