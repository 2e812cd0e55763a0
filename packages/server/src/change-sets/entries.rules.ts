/** What a decision about a change-set puts into the ledger, and what it rests on. */
import type { ChangeSetAction, ChangeSetView, EventData } from "@countersign/contract";
import type { Actor, Decided, DecideContext, EntryDraft, Guard, Write } from "../ledger/index.js";
import type { Caller } from "../tenancy/index.js";
import type { Loaded } from "./loaded.rules.js";
import type { Whole } from "./rows.js";
import { view } from "./view.rules.js";

/** What a command decided, and the change-set as its answer shows it. */
export type Answered = Decided<{ changeSet: ChangeSetView }>;

/** Time and fresh ids for a decision. */
export type At = Pick<DecideContext, "nowMs" | "uuid">;

/** What a decision about this change-set depended on besides what it writes. */
export function guardsOf(loaded: Loaded, caller: Caller): Guard[] {
  const { changeSet } = loaded.whole;
  return [
    ...caller.guards,
    { kind: "row", table: "change_sets", id: changeSet.id, version: changeSet.version },
    { kind: "epoch", name: "config", value: loaded.configurationEpoch },
    { kind: "epoch", name: "members", value: loaded.people.epoch },
  ];
}

/** An entry about this change-set. `data`: as the catalogue of events says; texts go to `body`. */
export function entry<A extends ChangeSetAction>(
  actor: Actor,
  changeSetId: string,
  action: A,
  more: { data: EventData<A>; body?: EntryDraft["body"]; refs?: EntryDraft["refs"]; writes?: readonly Write[] },
): EntryDraft {
  const draft = {
    actor,
    action,
    subject: { type: "change_set" as const, id: changeSetId },
    data: more.data,
    ...(more.body === undefined ? {} : { body: more.body }),
    ...(more.refs === undefined ? {} : { refs: more.refs }),
    ...(more.writes === undefined ? {} : { writes: more.writes }),
  };
  return draft as unknown as EntryDraft; // `A` and `EventData<A>` belong together; the compiler does not follow it for every `A`
}

/** The change that these entries record, guarded by what it rests on. `after`: the change-set once it is committed. */
export function answered(
  loaded: Loaded,
  caller: Caller,
  of: { readonly entries: readonly EntryDraft[]; readonly after: Whole; readonly guards?: readonly Guard[] },
): Answered {
  return {
    kind: "change",
    change: { guards: [...guardsOf(loaded, caller), ...(of.guards ?? [])], entries: of.entries },
    result: { changeSet: view(loaded, of.after) },
  };
}
