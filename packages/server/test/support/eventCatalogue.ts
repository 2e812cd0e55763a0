/**
 * Every entry that a test wrote is held against the catalogue of events when its database goes, and every status against what its
 * change-set's entries lead to: so the whole suite shows that the catalogue says what is written, and nobody has to think of it.
 */
import { eventRow, isAction, statusFrom } from "@countersign/contract";
import { parseEntryContent, rowDigest, sha256Hex, type EntryContent, type JsonObject } from "@countersign/proof";
import type pg from "pg";

/** Words of the tests' own, for which the door is opened wider (`TestLedger`). */
const toyActions: ReadonlySet<string> = new Set([
  "change_set.planned",
  "item.started",
  "policy.changed",
  "tenant.looked_at",
  "thing.announced",
  "thing.done",
  "thing.moved",
  "thing.noted",
]);

const forged = new Set<string>();
/** A test writes entries of this action by hand, not as the product does: they are not looked at in this file. */
export function forgesEntriesOf(...actions: readonly string[]): void {
  for (const action of actions) forged.add(action);
}

interface StoredContent {
  readonly tenant: string;
  readonly content: string;
  readonly content_hash: string;
}

/** What of the entries and statuses in a database is not as the catalogue says; one line each. */
export async function problemsWithEvents(client: pg.ClientBase): Promise<string[]> {
  const { rows } = await client.query<StoredContent>(
    `select tenant_id as tenant, content, encode(content_hash, 'hex') as content_hash
       from countersign.entries where content is not null order by tenant_id, seq`,
  );
  const entries = rows
    // What a test altered in the database is not what was written.
    .filter(({ content, content_hash: hash }) => sha256Hex(content) === hash)
    .flatMap(({ tenant, content }) => {
      const parsed = parseEntryContent(content);
      return parsed.ok ? [{ tenant, content: parsed.content }] : [];
    });
  const wrong = new Set(entries.flatMap(({ content }) => problemsOf(content)));
  // Where contents were pruned or altered, not all is there that led to a status.
  const { rows: gone } = await client.query("select from countersign.entries where content is null limit 1");
  const isWhole = rows.length === entries.length && gone.length === 0;
  const whole = isWhole ? await wrongStatuses(client, entries) : [];
  return [...wrong, ...whole];
}

export function problemsOf({ action, subject, data }: Pick<EntryContent, "action" | "subject" | "data">): string[] {
  if (toyActions.has(action) || forged.has(action)) return [];
  if (!isAction(action)) return [`${action} is not in the catalogue of events`];
  const row = eventRow(action);
  const ofSubject = (row.subjects as readonly string[]).includes(subject.type)
    ? []
    : [`${action} is about ${subject.type}, not ${row.subjects.join(" or ")}`];
  const checked = row.data.strict().safeParse(data);
  return [
    ...ofSubject,
    ...(checked.error?.issues ?? []).map((issue) => `${action}: data ${issue.path.join(".")}: ${issue.message}`),
  ];
}

/** Rows that are as the ledger says, and whose status is not what their entries lead to. */
async function wrongStatuses(
  client: pg.ClientBase,
  entries: readonly { readonly tenant: string; readonly content: EntryContent }[],
): Promise<string[]> {
  if ([...forged].some((action) => action.startsWith("change_set."))) return [];
  const { rows } = await client.query<{
    row: JsonObject & { id: string; status: string; version: number };
    salt: Buffer;
  }>(`select to_jsonb(c) - 'row_salt' as row, row_salt as salt from countersign.change_sets as c`);
  const bySubject = new Map<string, EntryContent[]>(entries.map(({ content }) => [content.subject.id, []]));
  for (const { content } of entries) bySubject.get(content.subject.id)?.push(content);
  return rows.flatMap(({ row, salt }) => {
    const about = bySubject.get(row.id) ?? [];
    const digests = about.flatMap(({ state }) =>
      state.filter(([table, id]) => table === "change_sets" && id === row.id),
    );
    const bare = Object.fromEntries(Object.entries(row).filter(([, value]) => value !== null)) as JsonObject;
    if (digests.at(-1)?.[3] !== rowDigest(salt, bare)) return []; // altered by a test, or its entries were
    const status = statusFrom(about);
    return status === row.status
      ? []
      : [
          `a change-set is ${row.status}; its entries lead to ${status}: ${about.map(({ action }) => action).join(" ")}`,
        ];
  });
}
