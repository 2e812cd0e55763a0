/**
 * Erasing a person, an agent or a service removes their name, and the names they gave their keys. Their actions stay,
 * under their id, with signatures that still verify by their public keys.
 */
import { refused, type Refusal } from "@countersign/contract";
import { moveEpoch, type ErasureSubject, type Ledger, type ModuleErasure, type Snapshot } from "../ledger/index.js";
import { loadMembers, membersEpoch } from "./people.js";
import { readApiKeysOf } from "./queries.js";
import { type ApiKeyRow, update } from "./rows.js";

const erasedText = "erased";

export async function eraseSubject(
  ledger: Pick<Ledger, "attest">,
  snapshot: Snapshot,
  subject: ErasureSubject,
  by: { readonly nowMs: number },
): Promise<ModuleErasure | Refusal> {
  if (subject.type !== "principal") return { writes: [], erased: [] };
  const members = await loadMembers(snapshot);
  const row = members.rows.principals.get(subject.id);
  if (row === undefined) return refused("not_found", `there is no principal \`${subject.id}\``);
  if (row.erased_at_ms !== null && row.erased_at_ms !== undefined) return { writes: [], erased: [], notReached: stays };
  // A principal that may act must have a name. And the suspension before it protects the last administrator, and checks
  // who is asking.
  if (row.status === "ACTIVE")
    return refused(
      "illegal_transition",
      `\`${row.name}\` is active; suspend them first (\`countersign agent suspend\` or \`countersign human suspend\`), then erase them`,
    );
  const signingKeys = members.rows.signingKeys.filter((key) => key.principal_id === row.id);
  const apiKeys = await readApiKeysOf(snapshot, row.id);
  const { mismatches } = await ledger.attest(snapshot, {
    subjectId: row.id,
    rows: [
      { table: "principals", id: row.id },
      ...signingKeys.map(({ id }) => ({ table: "signing_keys" as const, id })),
      ...apiKeys.map(({ id }) => ({ table: "api_keys" as const, id })),
    ],
    onlyThese: true,
  });
  if (mismatches.length > 0)
    return refused(
      "ledger_mismatch",
      `the database and the ledger disagree about \`${row.name}\`; nothing was erased: run \`countersign audit verify\``,
    );
  return {
    writes: [
      update("principals", row, { name: erasedName(row.id), erased_at_ms: by.nowMs }),
      ...signingKeys.map((key) => update("signing_keys", key, { label: erasedText })),
      ...apiKeys.map((key: ApiKeyRow) => update("api_keys", key, { name: erasedText })),
      moveEpoch(membersEpoch, members.epoch),
    ],
    guards: [{ kind: "epoch", name: membersEpoch, value: members.epoch }],
    erased: [
      { what: "names", count: 1 },
      { what: "labels of signing keys", count: signingKeys.length },
      { what: "names of API keys", count: apiKeys.length },
    ].filter(({ count }) => count > 0),
    notReached: stays,
  };
}

const stays = [
  "texts by others that have the name: titles, descriptions, reasons",
  "the user of the operating system, git and its history, and earlier bundles, archives and backups",
];

/** Unique, for names are. */
export function erasedName(id: string): string {
  return `erased-${id.slice(-12)}`;
}
