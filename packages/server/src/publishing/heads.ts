/**
 * The deployment's ledger records the size of every tenant's log, at most once a minute and only if it changed. So a
 * tenant whose whole ledger vanishes is missed, and one anchor of the deployment's log covers all tenants.
 */
import { isRefusal, type TenantId } from "@countersign/contract";
import { parseEntryContent } from "@countersign/proof";
import type { Storage } from "../storage/index.js";
import type { Door } from "./ports.js";
import type { Actor, EntryDraft } from "../ledger/index.js";
import { newestByAction, statement } from "./queries.js";

export const headsAction = "ledger.heads_recorded";
const headsAnEntry = 200;
/** Entries that are read to learn the recorded heads: enough for a million heads, each recorded once. */
const entriesRead = 5_000;

export interface Head {
  readonly size: number;
  /** Hex. */
  readonly root: string;
}

export class Heads {
  readonly #deployment: TenantId;
  readonly #actor: Actor;
  #recorded: Map<string, number> | undefined;

  constructor(deployment: TenantId, actor: Actor) {
    this.#deployment = deployment;
    this.#actor = actor;
  }

  /** Another process may have recorded since. */
  forget(): void {
    this.#recorded = undefined;
  }

  /** Records the heads that moved. The deployment's own log is not among them: it would move with every record. */
  async record(
    { ledger, storage }: { readonly ledger: Pick<Door, "transact">; readonly storage: Pick<Storage, "withSnapshot"> },
    heads: ReadonlyMap<TenantId, Head>,
  ): Promise<void> {
    const recorded = (this.#recorded ??= await this.#read(storage));
    const moved = [...heads].filter(
      ([tenant, head]) => tenant !== this.#deployment && head.size > (recorded.get(tenant) ?? 0),
    );
    if (moved.length === 0) return;
    const entries: EntryDraft[] = [];
    for (let at = 0; at < moved.length; at += headsAnEntry)
      entries.push({
        actor: this.#actor,
        action: headsAction,
        subject: { type: "tenant", id: this.#deployment },
        data: { heads: moved.slice(at, at + headsAnEntry).map(([tenant, { size, root }]) => [tenant, size, root]) },
      });
    const outcome = await ledger.transact(
      this.#deployment,
      () => Promise.resolve(undefined),
      () => ({ kind: "change", change: { guards: [], entries }, result: undefined }),
    );
    if (isRefusal(outcome)) return; // the next minute tries again
    for (const [tenant, head] of moved) recorded.set(tenant, head.size);
  }

  async #read(storage: Pick<Storage, "withSnapshot">): Promise<Map<string, number>> {
    const rows = await storage.withSnapshot(this.#deployment, async (client) => {
      const query = newestByAction(this.#deployment, [headsAction], entriesRead);
      return (await client.query<{ content: string }>(statement(query))).rows;
    });
    const recorded = new Map<string, number>();
    // Newest first: the last record of a tenant counts.
    for (const { content } of rows) {
      const parsed = parseEntryContent(content);
      const heads = parsed.ok ? parsed.content.data["heads"] : undefined;
      for (const head of Array.isArray(heads) ? heads : []) {
        const pair: readonly unknown[] = Array.isArray(head) ? head : [];
        const [tenant, size] = pair;
        if (typeof tenant === "string" && typeof size === "number" && !recorded.has(tenant)) recorded.set(tenant, size);
      }
    }
    return recorded;
  }
}
