/**
 * What erasing takes away of a change-set: title, texts, targets' names, states and diffs, reasons; of every revision and every
 * run. What stays: ids, number, statuses, times, decisions, signatures and digests, which say nothing to who does not hold the text.
 *
 * INVARIANT: only what is finished is erased, and only rows that the ledger knows: no forged row becomes its newest.
 */
import { finishedStatuses, isIn, type Refusal, refused, type RiskAssessment } from "@countersign/contract";
import type { ErasureBy, ErasureSubject, Ledger, ModuleErasure, Snapshot, Write } from "../ledger/index.js";
import { type Effect, targetRules, targetsThatStay } from "../targets/index.js";
import { countAuthored, type Everything, readEverything } from "./queries.js";
import { type ItemRow, update } from "./rows.js";

/** Stands where a text was. */
export const erasedText = "erased";

export async function eraseSubject(
  ledger: Pick<Ledger, "attest">,
  snapshot: Snapshot,
  subject: ErasureSubject,
  by: ErasureBy,
): Promise<ModuleErasure | Refusal> {
  if (subject.type === "principal") return authored(snapshot, subject.id);
  const all = await readEverything(snapshot, subject.id);
  if (all === undefined) return refused("not_found", `there is no change-set \`${subject.id}\``);
  const { changeSet } = all;
  if (changeSet.erased_at_ms !== null && changeSet.erased_at_ms !== undefined)
    return { writes: [], erased: [], notReached: stays() };
  if (!isIn(finishedStatuses, changeSet.status))
    return refused(
      "illegal_transition",
      `\`${changeSet.number}\` is ${changeSet.status} and not finished; cancel or finish it first, then erase it`,
      { details: { status: changeSet.status } },
    );
  const { mismatches } = await ledger.attest(snapshot, { subjectId: changeSet.id, rows: rowsOf(all) });
  if (mismatches.length > 0)
    return refused(
      "ledger_mismatch",
      `the database and the ledger disagree about \`${changeSet.number}\`; nothing was erased: run \`countersign audit verify\``,
    );
  return {
    writes: writesOf(all, by.nowMs),
    erased: [
      { what: "titles and descriptions", count: 1 },
      { what: "revisions", count: all.revisions.length },
      { what: "items with their states and diffs", count: all.items.length },
      { what: "reasons of votes", count: all.votes.filter((vote) => vote.reason !== null).length },
      { what: "reasons and errors of runs", count: all.applications.length },
      { what: "backups", count: all.backups.length },
    ].filter(({ count }) => count > 0),
    notReached: stays(),
  };
}

const stays = (): string[] => [
  `the targets themselves: ${targetsThatStay().join("; ")}`,
  "bundles and reports that were exported before, archives of prunings, backups of the database",
  "anchors and checkpoints: they hold digests alone, and never had the texts",
];

/** Of a person nothing is erased here: what they wrote belongs to the change-sets. */
async function authored(snapshot: Snapshot, principalId: string): Promise<ModuleErasure> {
  const { changeSets, votes } = await countAuthored(snapshot, principalId);
  const notReached = [
    changeSets === 0
      ? undefined
      : `the texts of ${changeSets} change-set${changeSets === 1 ? "" : "s"} they proposed: erase each with \`countersign audit erase --subject change_set:CS-…\``,
    votes === 0
      ? undefined
      : `reasons they gave with ${votes} vote${votes === 1 ? "" : "s"}: they go with the change-sets`,
  ];
  return { writes: [], erased: [], notReached: notReached.filter((text) => text !== undefined) };
}

function rowsOf(all: Everything): {
  table:
    "change_sets" | "revisions" | "items" | "item_targets" | "votes" | "applications" | "application_items" | "backups";
  id: string;
}[] {
  const of = <T extends string>(table: T, rows: readonly { readonly id: string }[]) =>
    rows.map(({ id }) => ({ table, id }));
  return [
    ...of("change_sets", [all.changeSet]),
    ...of("revisions", all.revisions),
    ...of("items", all.items),
    ...of("item_targets", all.itemTargets),
    ...of("votes", all.votes),
    ...of("applications", all.applications),
    ...of("application_items", all.applicationItems),
    ...of("backups", all.backups),
  ];
}

function writesOf(all: Everything, nowMs: number): Write[] {
  return [
    update("change_sets", all.changeSet, {
      title: erasedText,
      description: "",
      tags: [],
      metadata: {},
      blocked: null,
      erased_at_ms: nowMs,
    }),
    ...all.revisions.map((row) => update("revisions", row, { risk: bareRisk(row.risk), policy: null, route: null })),
    ...all.items.map((row) => update("items", row, bareItem(row))),
    ...all.itemTargets.map((row) => update("item_targets", row, { target_key: erasedText, target_id: erasedText })),
    ...all.votes
      .filter((row) => row.reason !== null && row.reason !== undefined)
      .map((row) => update("votes", row, { reason: null })),
    ...all.applications.map((row) =>
      update("applications", row, {
        reason: null,
        errors: row.errors.map((error) => ({ ...error, message: erasedText })),
      }),
    ),
    ...all.applicationItems
      .filter((row) => row.problem !== null && row.problem !== undefined)
      .map((row) => update("application_items", row, { problem: null })),
    ...all.backups.map((row) => update("backups", row, { target_key: erasedText, released: true })),
  ];
}

/** Numbers and enums; what people are told about targets and rules is left out. */
function bareRisk({ score, level, scoreLevel, approvalsByLevel, auto }: RiskAssessment): RiskAssessment {
  const numbers = { score, level, scoreLevel, approvalsByLevel, auto };
  return { ...numbers, factors: [], floors: [], autoWhy: "", recommendations: [] };
}

const bareTargetOf = (row: ItemRow): ItemRow["input"]["target"] =>
  targetRules(row.target_kind).bareTarget(row.target_environment, erasedText);

function bareItem(row: ItemRow): Partial<Omit<ItemRow, "id" | "version">> {
  return {
    target_type: erasedText,
    target_id: erasedText,
    target_key: erasedText,
    other_target_key: null,
    input: { operation: row.operation, target: bareTargetOf(row) },
    effects: row.effects.map((effect) => bareEffect(effect, row)),
    diff: { format: erasedText },
    policy: null,
  };
}

/** Digests of states stay: they stand in the ledger's entries as well. */
function bareEffect({ before, after }: Effect, row: ItemRow): Effect {
  const { target_kind: kind, target_environment: environment } = row;
  const { bareImage } = targetRules(kind);
  return {
    target: { kind, type: erasedText, id: erasedText, environment, key: erasedText },
    before: bareImage(before),
    after: bareImage(after),
  };
}
