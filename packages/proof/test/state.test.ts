/** Rows against the ledger, both ways, as two sorted streams. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { compareCounters, compareStates, compareUtf8, type Finding, type RowState } from "../src/index.js";

const row = (table: string, id: string, version = 1, digest = "a"): RowState => ({
  table,
  id,
  version,
  digest: digest.repeat(64),
});
async function namesOf(ledger: readonly RowState[], rows: readonly RowState[]): Promise<string[]> {
  const names: string[] = [];
  for await (const finding of compareStates(ledger, rows)) names.push(nameOf(finding));
  return names;
}
const nameOf = ({ class: name, table, id }: Finding): string => `${name} ${table} ${id}`;

describe("compareStates", () => {
  const both = [row("change_sets", "1"), row("change_sets", "2", 3), row("items", "1")];
  it.each<[string, RowState[], RowState[], string[]]>([
    ["equal", both, both, []],
    ["nothing", [], [], []],
    ["digest differs", both, [both[0]!, row("change_sets", "2", 3, "b"), both[2]!], ["STATE_MISMATCH change_sets 2"]],
    ["version differs", both, [both[0]!, row("change_sets", "2", 2), both[2]!], ["STATE_MISMATCH change_sets 2"]],
    ["row removed", both, [both[0]!, both[2]!], ["ENTRY_WITHOUT_STATE change_sets 2"]],
    ["first row removed", both, both.slice(1), ["ENTRY_WITHOUT_STATE change_sets 1"]],
    [
      "all rows removed",
      both,
      [],
      ["ENTRY_WITHOUT_STATE change_sets 1", "ENTRY_WITHOUT_STATE change_sets 2", "ENTRY_WITHOUT_STATE items 1"],
    ],
    ["row added", both, [...both, row("votes", "1")], ["STATE_WITHOUT_ENTRY votes 1"]],
    ["row added in front", both, [row("a", "1"), ...both], ["STATE_WITHOUT_ENTRY a 1"]],
    [
      "one for another",
      both,
      [both[0]!, row("change_sets", "3"), both[2]!],
      ["ENTRY_WITHOUT_STATE change_sets 2", "STATE_WITHOUT_ENTRY change_sets 3"],
    ],
  ])("%s", async (_, ledger, rows, expected) => expect(await namesOf(ledger, rows)).toEqual(expected));

  it.each<[string, RowState[]]>([
    ["unsorted", [row("b", "1"), row("a", "1")]],
    ["one row twice", [row("a", "1"), row("a", "1")]],
  ])("refuses to say anything of streams that are %s", async (_, rows) => {
    await expect(namesOf(rows, [])).rejects.toThrow("not sorted");
    await expect(namesOf([], rows)).rejects.toThrow("not sorted");
  });

  it("finds exactly what was changed, in any state", async () => {
    const ids = fc.uniqueArray(fc.string({ unit: "grapheme", minLength: 1, maxLength: 4 }), { maxLength: 20 });
    await fc.assert(
      fc.asyncProperty(ids, fc.nat(), fc.constantFrom("drop", "add", "edit"), async (list, n, attack) => {
        const rows = list.sort(compareUtf8).map((id) => row("t", id));
        expect(await namesOf(rows, rows)).toEqual([]);
        if (rows.length === 0) return;
        const at = n % rows.length;
        const id = rows[at]?.id ?? "";
        const others = rows.filter((_, i) => i !== at);
        const [ledger, state, name] =
          attack === "drop"
            ? [rows, others, "ENTRY_WITHOUT_STATE"]
            : attack === "add"
              ? [others, rows, "STATE_WITHOUT_ENTRY"]
              : [rows, rows.map((one, i) => (i === at ? row("t", id, 2) : one)), "STATE_MISMATCH"];
        expect(await namesOf(ledger, state)).toEqual([`${name} t ${id}`]);
      }),
    );
  });
});

describe("compareUtf8", () => {
  it("orders as the bytes do", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), fc.string({ unit: "binary" }), (a, b) => {
        expect(Math.sign(compareUtf8(a, b))).toBe(Buffer.compare(Buffer.from(a), Buffer.from(b)));
      }),
      { numRuns: 2_000 },
    );
    expect(compareUtf8("\u{1f600}", "\uffff")).toBeGreaterThan(0);
    expect(compareUtf8("\ud7ff", "\u{10000}")).toBeLessThan(0);
  });
});

describe("compareCounters", () => {
  const counter = (key: string, value: number) => ({ key, value });
  it.each<[string, [string, number][], [string, number][], string[]]>([
    ["equal", [["a", 3]], [["a", 3]], []],
    ["lowered", [["a", 3]], [["a", 2]], ["STATE_MISMATCH counters a"]],
    ["row removed", [["a", 3]], [], ["STATE_MISMATCH counters a"]],
    ["row added", [], [["b", 1]], ["STATE_MISMATCH counters b"]],
    ["never used", [], [["b", 0]], []],
  ])("%s", (_, sums, rows, expected) => {
    const found = compareCounters(
      sums.map(([key, value]) => counter(key, value)),
      rows.map(([key, value]) => counter(key, value)),
    );
    expect(found.map(nameOf)).toEqual(expected);
  });
});
