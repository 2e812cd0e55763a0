/** Turns of this process: who holds a name excludes the others of the same process. Across processes the ledger's order decides. */

const tails = new Map<string, Promise<void>>();

/** Runs `use` when nobody else of this process holds any of the names. Names are taken in one order, so nobody waits for ever. */
export async function inTurn<T>(names: readonly string[], use: () => Promise<T>): Promise<T> {
  const [first, ...rest] = [...new Set(names)].sort();
  if (first === undefined) return use();
  const before = tails.get(first) ?? Promise.resolve();
  const turn = before.then(() => inTurn(rest, use));
  const tail = turn.then(
    () => undefined,
    () => undefined,
  );
  tails.set(first, tail);
  try {
    return await turn;
  } finally {
    if (tails.get(first) === tail) tails.delete(first);
  }
}

/** A gate that lets at most `count` through at once; the others wait in order. */
export function gate(count: number): <T>(use: () => Promise<T>) => Promise<T> {
  let free = count;
  const waiting: (() => void)[] = [];
  return async (use) => {
    if (free === 0) await new Promise<void>((resolve) => waiting.push(resolve));
    else free -= 1;
    try {
      return await use();
    } finally {
      const next = waiting.shift();
      if (next === undefined) free += 1;
      else next();
    }
  };
}
