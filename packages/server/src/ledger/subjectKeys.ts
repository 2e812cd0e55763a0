/**
 * Keys by which the texts of one subject are sealed: random, themselves sealed with the server's key, each a row beside the
 * bodies. Erasing a subject deletes its keys, so copies of its bodies elsewhere become unreadable.
 *
 * Promises: a key is remembered only once its commit is known, so no body is sealed with a key that was never stored ·
 * two processes, or two commits at once, may each make a key for one subject: a body names its own · a key that another
 * process erased is not used again: the commit checks that its row exists, and a process that still remembers the key
 * makes another one.
 */
import type { TenantId } from "@countersign/contract";
import { subjectKeyId, subjectSealing, type RandomBytes, type Sealing } from "../platform/index.js";
import type { OpenBody } from "./reading.js";
import type { Reference } from "./types.js";

export interface SubjectKey {
  /** Hex. */
  readonly id: string;
  seal(plain: Uint8Array, binding: string): Uint8Array;
}

/** One that has no row yet: the change it was made for inserts it. */
export interface NewSubjectKey extends SubjectKey {
  readonly tenant: TenantId;
  readonly subject: Reference;
  /** The key under the server's key. */
  readonly sealed: Uint8Array;
}

/** Keys remembered; each takes some 300 bytes. */
const rememberedMax = 10_000;
const keyBytes = 32;

export class SubjectKeys {
  readonly #sealing: Pick<Sealing, "seal" | "open">;
  readonly #random: RandomBytes;
  readonly #bySubject = new Recent<SubjectKey>(rememberedMax);
  readonly #opened = new Recent<Sealing>(rememberedMax);

  constructor(sealing: Pick<Sealing, "seal" | "open">, random: RandomBytes) {
    this.#sealing = sealing;
    this.#random = random;
  }

  /** A key of the subject whose row is known to have been there. */
  known(tenant: TenantId, subject: Reference): SubjectKey | undefined {
    return this.#bySubject.get(place(tenant, subject));
  }

  make(tenant: TenantId, subject: Reference): NewSubjectKey {
    const key = this.#random(keyBytes);
    const { keyId: id, seal } = subjectSealing(key, this.#random);
    return { id, seal, tenant, subject, sealed: this.#sealing.seal(key, keyBinding(tenant, id)) };
  }

  /** Their change was committed. */
  learn(keys: readonly NewSubjectKey[]): void {
    for (const { tenant, subject, id, seal } of keys) this.#bySubject.set(place(tenant, subject), { id, seal });
  }

  /** Their rows are gone. */
  forget(ids: ReadonlySet<string>): void {
    this.#bySubject.forget(({ id }) => ids.has(id));
  }

  /**
   * Opens a body with its subject's stored key, or with the server's key. The server's key sealed all bodies in the
   * past, and still seals bodies without a subject. Undefined: the key is gone. Throws `sealed_unreadable`.
   */
  open(
    tenant: TenantId,
    { sealed, binding, key }: { sealed: Uint8Array; binding: string; key: Uint8Array | null },
  ): Uint8Array | undefined {
    const id = subjectKeyId(sealed);
    if (id === undefined) return this.#sealing.open(sealed, binding);
    if (key === null) return undefined;
    const name = `${tenant} ${id}`;
    let opened = this.#opened.get(name);
    if (opened === undefined) {
      opened = subjectSealing(this.#sealing.open(key, keyBinding(tenant, id)), this.#random);
      this.#opened.set(name, opened);
    }
    return opened.open(sealed, binding);
  }
}

/** Opens bodies, of whichever subject, for reading alone. */
export function bodyOpener(keys: SubjectKeys): OpenBody {
  return (tenant, entryId, { sealed, key }) =>
    keys.open(tenant, { sealed, binding: bodyBinding(tenant, entryId), key });
}

/** The binding of a sealed body: moved to another entry it does not open. */
export function bodyBinding(tenant: TenantId, entryId: string): string {
  return `body ${tenant} ${entryId}`;
}

const place = (tenant: TenantId, { type, id }: Reference): string => `${tenant} ${type} ${id}`;
const keyBinding = (tenant: TenantId, id: string): string => `subject key ${tenant} ${id}`;

/** The last that were used. */
class Recent<V> {
  readonly #max: number;
  readonly #values = new Map<string, V>();

  constructor(max: number) {
    this.#max = max;
  }

  get(key: string): V | undefined {
    const value = this.#values.get(key);
    // To the end only when it is near being dropped: a map reorders by deleting and inserting, which costs as much as sealing.
    if (value !== undefined && this.#values.size * 2 > this.#max) {
      this.#values.delete(key);
      this.#values.set(key, value);
    }
    return value;
  }

  set(key: string, value: V): void {
    this.#values.delete(key);
    this.#values.set(key, value);
    if (this.#values.size <= this.#max) return;
    const [oldest] = this.#values.keys();
    if (oldest !== undefined) this.#values.delete(oldest);
  }

  forget(which: (value: V) => boolean): void {
    for (const [key, value] of this.#values) if (which(value)) this.#values.delete(key);
  }
}
