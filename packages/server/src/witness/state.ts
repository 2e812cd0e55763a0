/**
 * The checkpoint that a witness cosigned last, for each log. The witness is worth nothing if it forgets.
 *
 * Promises: the first process to compare and set wins, also after a kill at any point; the state is on the disk before
 * `advance` resolves; an existing state that cannot be read is an error, never "nothing cosigned yet".
 *
 * How: every state is a file `state/<encodeURIComponent(origin)>/<n>.json`, the highest `n` counts, and `n + 1` comes into being by
 * a hard link, which exactly one process gets. No lock that a killed process could leave behind.
 */
import { mkdir, readdir, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { hasLoneSurrogate } from "@countersign/proof";
import { z } from "zod";
import { hasCode, makeFolder, writeOnce } from "../platform/index.js";
import { witnessFailure } from "./failure.js";

const cosigned = z.strictObject({
  v: z.literal(1),
  origin: z.string().min(1),
  size: z.int().min(0),
  /** Hex. */
  root: z.string().regex(/^[0-9a-f]{64}$/),
  atSeconds: z.int().min(0),
  /** The checkpoint with the log's signature and ours. */
  note: z.string().min(1),
});
export type Cosigned = Omit<z.infer<typeof cosigned>, "v">;
/** `n`: the number of its file, with which a change is compared. */
export type Remembered = Cosigned & { readonly n: number };

const fileName = /^([1-9][0-9]{0,14})\.json$/;
/** Older states that stay, so that a number is not free again while somebody slow still holds it for the next. */
const statesKept = 32;

export class WitnessState {
  readonly #folder: string;

  /** `folder` must exist: a vanished folder must not look like a fresh start. */
  constructor(folder: string) {
    this.#folder = folder;
  }

  /** Undefined: nothing was ever cosigned for this log. */
  async read(origin: string): Promise<Remembered | undefined> {
    const folder = this.#logFolder(origin);
    for (let tries = 0; tries < 8; tries += 1) {
      const n = await newest(folder);
      if (n === undefined) return undefined;
      const text = await readText(join(folder, `${n}.json`));
      if (text !== undefined) return { n, ...parse(join(folder, `${n}.json`), text, origin) };
    }
    throw witnessFailure(
      `the record of cosigned checkpoints in \`${folder}\` is listed and cannot be opened; check the file system`,
    );
  }

  /** Remembers `to` if `from` is still the newest. False: somebody else was faster. */
  async advance(from: Remembered | undefined, to: Cosigned): Promise<boolean> {
    // INVARIANT: a witness's memory only goes forward; at the same size it has the same root.
    const forward =
      from === undefined ||
      (to.atSeconds >= from.atSeconds && (to.size > from.size || (to.size === from.size && to.root === from.root)));
    if (!forward) throw new Error(`a witness would go back from size ${from.size} to ${to.size}`);
    const folder = this.#logFolder(to.origin);
    await makeFolder(folder, this.#folder, 0o700);
    const n = (from?.n ?? 0) + 1;
    if (!(await writeOnce(join(folder, `${n}.json`), `${JSON.stringify({ v: 1, ...pick(to) })}\n`, 0o600)))
      return false;
    // A process that was faster by more than `statesKept` has removed our number again: the highest number is that
    // process's.
    if ((await newest(folder)) !== n) return false;
    await sweep(folder, n - statesKept);
    return true;
  }

  /** Names of all logs something was cosigned for. */
  async origins(): Promise<string[]> {
    return (await readdir(this.#folder)).map((name) => decodeURIComponent(name)).sort();
  }

  #logFolder(origin: string): string {
    if (!isNameable(origin)) throw new Error(`\`${origin.slice(0, 80)}\` cannot name a folder`);
    return join(this.#folder, encodeURIComponent(origin));
  }
}

/** Whether a log's name fits into the name of a folder. */
export function isNameable(origin: string): boolean {
  return !/^\.*$/.test(origin) && !hasLoneSurrogate(origin) && encodeURIComponent(origin).length <= 240;
}

function pick({ origin, size, root, atSeconds, note }: Cosigned): Cosigned {
  return { origin, size, root, atSeconds, note };
}

async function newest(folder: string): Promise<number | undefined> {
  const numbers = await numbersIn(folder);
  return numbers.length === 0 ? undefined : Math.max(...numbers);
}

async function numbersIn(folder: string): Promise<number[]> {
  try {
    return (await readdir(folder)).flatMap((name) => fileName.exec(name)?.[1] ?? []).map(Number);
  } catch (error) {
    if (hasCode(error, "ENOENT")) return [];
    throw error;
  }
}

async function readText(file: string): Promise<string | undefined> {
  try {
    return await readFile(file, "utf8");
  } catch (error) {
    if (hasCode(error, "ENOENT")) return undefined; // many newer ones have replaced it meanwhile
    throw error;
  }
}

async function sweep(folder: string, upTo: number): Promise<void> {
  for (const n of await numbersIn(folder)) if (n <= upTo) await rm(join(folder, `${n}.json`), { force: true });
}

function parse(file: string, text: string, origin: string): Cosigned {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    value = undefined; // damaged: said below
  }
  const checked = cosigned.safeParse(value);
  if (checked.success && checked.data.origin === origin) return pick(checked.data);
  throw witnessFailure(
    `\`${file}\` is damaged; nothing is cosigned for \`${origin}\` until it is put back from a copy`,
  );
}

/** Makes the folder of states, once, at `init`. */
export async function makeStateFolder(folder: string): Promise<void> {
  await mkdir(folder, { mode: 0o700 });
}
