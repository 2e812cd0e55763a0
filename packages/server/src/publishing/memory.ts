/**
 * The signer's memory: per tenant the last (origin, size, root) it signed, kept beside the key and out of the database's
 * reach. Restoring an older database cannot make the signer sign another history, because it remembers.
 *
 * Promises:
 * - The remembered state never becomes smaller or older, and never has another root for its size. The first process to
 *   compare and set wins, also after a kill at any point.
 * - It is on the disk before `advance` resolves.
 * - An existing memory that cannot be read is an error, never "nothing was signed yet".
 *
 * How: every state is a file `memory/<tenant>/<n>.json`, the highest `n` counts, and `n + 1` comes into being by a hard link,
 * which exactly one process gets. No lock that a killed process could leave behind.
 */
import { link, mkdir, open, readdir, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import type { TenantId } from "@countersign/contract";
import { asTenantId, isUuid } from "@countersign/contract";
import { z } from "zod";
import { keyFailure, quoted } from "./failure.js";

const remembered = z.strictObject({
  v: z.literal(1),
  origin: z.string().min(1).max(400),
  incarnation: z.int().min(0),
  size: z.int().min(0),
  /** Hex. */
  root: z.string().regex(/^[0-9a-f]{64}$/),
  atMs: z.int().min(0),
});
export type Signed = Omit<z.infer<typeof remembered>, "v">;

export interface Remembered extends Signed {
  /** Number of the file, with which a change is compared. */
  readonly n: number;
}

const fileName = /^([0-9]{1,15})\.json$/;

export class SignerMemory {
  readonly #folder: string;

  /** `folder`: the key directory. */
  constructor(folder: string) {
    this.#folder = join(folder, "memory");
  }

  /** The state signed last; undefined: nothing was ever signed. Throws `log_key_unusable`. */
  async read(tenant: TenantId): Promise<Remembered | undefined> {
    for (;;) {
      const n = await this.#newest(tenant);
      if (n === undefined) return undefined;
      const file = this.#file(tenant, n);
      const text = await readFile(file, "utf8").catch((cause: NodeJS.ErrnoException) => {
        if (cause.code === "ENOENT") return undefined; // a newer one has replaced it meanwhile
        throw keyFailure(
          `the signer's memory ${quoted(file)} cannot be read (${cause.code ?? "?"}); check its owner`,
          cause,
        );
      });
      if (text !== undefined) return { n, ...parse(file, text) };
      if ((await this.#newest(tenant)) === n)
        throw keyFailure(`the signer's memory ${quoted(file)} is listed and cannot be opened; check the file system`);
    }
  }

  /**
   * Remembers `to` if `from` is still the remembered state (undefined: none). False: another process was faster. Throws
   * when `to` goes back behind `from`: that is the caller's mistake.
   */
  async advance(tenant: TenantId, from: Remembered | undefined, to: Signed): Promise<boolean> {
    if (from !== undefined) assertForward(from, to);
    return this.#place(tenant, from, to);
  }

  async #place(tenant: TenantId, from: { readonly n: number } | undefined, to: Signed): Promise<boolean> {
    const folder = join(this.#folder, tenant);
    await mkdir(folder, { recursive: true, mode: 0o700 });
    const n = (from?.n ?? 0) + 1;
    const draft = join(folder, `${process.pid}-${Math.random().toString(36).slice(2)}.partial`);
    try {
      await writeDurably(draft, `${JSON.stringify({ v: 1, ...pick(to) })}\n`);
      await link(draft, this.#file(tenant, n));
    } catch (cause) {
      if ((cause as NodeJS.ErrnoException).code === "EEXIST") return false;
      throw keyFailure(
        `the signer's memory in ${quoted(folder)} cannot be written (${(cause as NodeJS.ErrnoException).code ?? "?"}); nothing is signed until it can`,
        cause,
      );
    } finally {
      await rm(draft, { force: true });
    }
    await syncFolder(folder);
    await syncFolder(this.#folder);
    // A process that was faster by two steps has removed number n again. Then our link succeeded, but the highest
    // number is that process's.
    if ((await this.#newest(tenant)) !== n) return false;
    await this.#sweep(folder, n);
    return true;
  }

  /**
   * For a restore: replaces the memory, readable or not. The number goes on, so a process that read the old memory
   * cannot set it any more.
   */
  async supersede(tenant: TenantId, to: Signed): Promise<void> {
    const n = await this.#newest(tenant);
    const anything = n === undefined ? undefined : { n };
    if (!(await this.#place(tenant, anything, to)))
      throw keyFailure(`another process uses the signer's memory of \`${tenant}\`; stop it and try again`);
  }

  /** Tenants something was signed for. */
  async tenants(): Promise<TenantId[]> {
    return (await listed(this.#folder)).filter(isUuid).map(asTenantId);
  }

  async #newest(tenant: TenantId): Promise<number | undefined> {
    const names = await listed(join(this.#folder, tenant));
    // Without a state nothing is remembered; whether that can be true the publisher asks the database.
    const numbers = names.flatMap((name) => fileName.exec(name)?.[1] ?? []).map(Number);
    return numbers.length === 0 ? undefined : Math.max(...numbers);
  }

  /** Older states have no use; drafts of the killed are older than theirs. */
  async #sweep(folder: string, n: number): Promise<void> {
    for (const name of await listed(folder)) {
      const number = fileName.exec(name)?.[1];
      if (number !== undefined && Number(number) < n) await rm(join(folder, name), { force: true });
    }
  }

  #file(tenant: TenantId, n: number): string {
    return join(this.#folder, tenant, `${n}.json`);
  }
}

function pick({ origin, incarnation, size, root, atMs }: Signed): Signed {
  return { origin, incarnation, size, root, atMs };
}

// INVARIANT: a signer's memory goes forward.
function assertForward(from: Signed, to: Signed): void {
  const forward =
    to.atMs >= from.atMs &&
    (to.incarnation > from.incarnation ||
      (to.incarnation === from.incarnation &&
        to.origin === from.origin &&
        (to.size > from.size || (to.size === from.size && to.root === from.root))));
  if (!forward)
    throw new Error(`the signer's memory would go back from ${JSON.stringify(from)} to ${JSON.stringify(to)}`);
}

function parse(file: string, text: string): Signed {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    value = undefined; // cut short or damaged: said below
  }
  const checked = remembered.safeParse(value);
  if (checked.success) return pick(checked.data);
  throw keyFailure(
    `the signer's memory ${quoted(file)} is damaged; put it back from a backup, or declare a restore: \`countersign restore --reason …\``,
  );
}

async function listed(folder: string): Promise<string[]> {
  try {
    return await readdir(folder);
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === "ENOENT") return [];
    throw keyFailure(
      `${quoted(folder)} cannot be read (${(cause as NodeJS.ErrnoException).code ?? "?"}); check its owner and permissions`,
      cause,
    );
  }
}

/** New, private, and on the disk. */
export async function writeDurably(path: string, text: string): Promise<void> {
  const file = await open(path, "wx", 0o600);
  try {
    await file.writeFile(text, "utf8");
    await file.sync();
  } finally {
    await file.close();
  }
}

/** A name is on the disk when its folder is. */
export async function syncFolder(folder: string): Promise<void> {
  if (process.platform === "win32") return; // folders cannot be opened there
  const handle = await open(folder, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
