/**
 * State against ledger: every governed row must be the one that the newest entry about it wrote. Pure: two streams, both sorted
 * by table and id, merged in constant memory. The caller reads them (by SQL).
 */
import type { Finding } from "./findings.js";

/** A row as the ledger's newest entry about it says, or as it was computed from the table. Digest: lower-case hex. */
export interface RowState {
  readonly table: string;
  readonly id: string;
  readonly version: number;
  readonly digest: string;
}

type Source<T> = AsyncIterable<T> | Iterable<T>;

/**
 * Compares both streams and yields the differences. Both must ascend strictly by (table, id) in UTF-8 byte order, as
 * PostgreSQL's `collate "C"` sorts; throws if one does not, because then nothing can be compared.
 */
export async function* compareStates(
  ledger: Source<RowState>,
  rows: Source<RowState>,
): AsyncGenerator<Finding, void, undefined> {
  const said = ascending(ledger, "ledger");
  const stored = ascending(rows, "rows");
  let entry = await said.next();
  let row = await stored.next();
  while (entry.done !== true || row.done !== true) {
    const order = entry.done === true ? 1 : row.done === true ? -1 : compareRows(entry.value, row.value);
    if (order < 0) {
      yield missingRow(entry.value as RowState);
    } else if (order > 0) {
      yield unknownRow(row.value as RowState);
    } else {
      const finding = differenceOf(entry.value as RowState, row.value as RowState);
      if (finding !== undefined) yield finding;
    }
    if (order <= 0) entry = await said.next();
    if (order >= 0) row = await stored.next();
  }
}

/** A counter as the entries add it up, or as its row says. */
export interface CounterState {
  readonly key: string;
  readonly value: number;
}

/** Counters against the sums over `counts` of all entries; both fit in memory, order does not matter. Sorted by key. */
export function compareCounters(sums: Iterable<CounterState>, rows: Iterable<CounterState>): Finding[] {
  const said = new Map([...sums].map(({ key, value }) => [key, value]));
  const stored = new Map([...rows].map(({ key, value }) => [key, value]));
  const keys = [...new Set([...said.keys(), ...stored.keys()])].sort(compareUtf8);
  return keys.flatMap((key) => {
    const expected = said.get(key) ?? 0;
    const actual = stored.get(key) ?? 0; // a counter that was never used has no row
    if (expected === actual) return [];
    return [
      {
        class: "STATE_MISMATCH",
        seq: null,
        table: "counters",
        id: key,
        expected: String(expected),
        actual: String(actual),
      },
    ];
  });
}

function differenceOf(entry: RowState, row: RowState): Finding | undefined {
  if (entry.version === row.version && entry.digest === row.digest) return undefined;
  return {
    class: "STATE_MISMATCH",
    seq: null,
    table: row.table,
    id: row.id,
    expected: describe(entry),
    actual: describe(row),
  };
}

function missingRow(entry: RowState): Finding {
  const { table, id } = entry;
  return { class: "ENTRY_WITHOUT_STATE", seq: null, table, id, expected: describe(entry), actual: "no row" };
}

function unknownRow(row: RowState): Finding {
  const { table, id } = row;
  return { class: "STATE_WITHOUT_ENTRY", seq: null, table, id, expected: "no row", actual: describe(row) };
}

function describe({ version, digest }: RowState): string {
  return `version ${version} ${digest}`;
}

function compareRows(a: RowState, b: RowState): number {
  return compareUtf8(a.table, b.table) || compareUtf8(a.id, b.id);
}

async function* ascending(source: Source<RowState>, name: string): AsyncGenerator<RowState, void, undefined> {
  let before: RowState | undefined;
  for await (const one of source) {
    if (before !== undefined && compareRows(before, one) >= 0)
      throw new Error(`the ${name} are not sorted at \`${one.table}\` \`${one.id}\``);
    before = one;
    yield one;
  }
}

/** Order of the UTF-8 bytes, which is that of the code points and differs from that of UTF-16 above U+D7FF. */
export function compareUtf8(a: string, b: string): number {
  const length = Math.min(a.length, b.length);
  for (let i = 0; i < length; i++) {
    let x = a.charCodeAt(i);
    let y = b.charCodeAt(i);
    if (x === y) continue;
    // Surrogates stand for code points above all others: lift them above U+E000–U+FFFF.
    if (x >= 0xd800 && y >= 0xd800) {
      x = x >= 0xe000 ? x - 0x800 : x + 0x2000;
      y = y >= 0xe000 ? y - 0x800 : y + 0x2000;
    }
    return x - y;
  }
  return a.length - b.length;
}
