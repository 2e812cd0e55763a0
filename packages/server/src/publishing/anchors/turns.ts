/** Helpers of anchors: turns by name, and a small cache between submissions. */

/** Runs tasks of the same name one after the other. */
export class Turns {
  readonly #tails = new Map<string, Promise<unknown>>();

  take<T>(name: string, use: () => Promise<T>): Promise<T> {
    const before = this.#tails.get(name) ?? Promise.resolve();
    const turn = before.then(use, use);
    const tail = turn.then(
      () => undefined,
      () => undefined,
    );
    this.#tails.set(name, tail);
    void tail.then(() => {
      if (this.#tails.get(name) === tail) this.#tails.delete(name);
    });
    return turn;
  }
}

/** The values used last. A forgotten value is read again. */
export class Memory<V> {
  readonly #values = new Map<string, V>();
  readonly #max: number;

  constructor(max = 1_000) {
    this.#max = max;
  }

  get(name: string): V | undefined {
    return this.#values.get(name);
  }

  set(name: string, value: V): void {
    this.#values.delete(name);
    this.#values.set(name, value);
    if (this.#values.size <= this.#max) return;
    const [oldest] = this.#values.keys();
    if (oldest !== undefined) this.#values.delete(oldest);
  }

  delete(name: string): void {
    this.#values.delete(name);
  }
}
