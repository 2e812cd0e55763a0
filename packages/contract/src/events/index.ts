/**
 * The catalogue of events: every action that an entry of the ledger can have, what it is about, what its `data` says, the sentence for
 * people, and whom it concerns. Writers are typed by it; reports, streams, filters, notifications and documents read it.
 *
 * INVARIANT: an action that was released stays, with every member its data ever had: entries are for ever.
 */
import type { z } from "zod";
import { changeSetEvents } from "./changeSets.js";
import type { EventMarks, EventRow, SubjectType } from "./event.js";
import { killSwitchEvents } from "./killSwitch.js";
import { deploymentEvents, logEvents, refusalEvents, retentionEvents } from "./ledger.js";
import { principalEvents, tenantEvents } from "./people.js";
import { targetEvents } from "./targets.js";

export {
  commonMembers,
  concerned,
  type Concerned,
  type EventMarks,
  type EventRow,
  type SubjectType,
  subjectTypes,
} from "./event.js";

/** By area, in the order of the documents. */
export const eventAreas = {
  "Change-sets": changeSetEvents,
  "The kill-switch": killSwitchEvents,
  Tenants: tenantEvents,
  "Principals and their keys": principalEvents,
  "Resources and workspaces": targetEvents,
  Refusals: refusalEvents,
  "Erasure and retention": retentionEvents,
  "The ledger": logEvents,
  "The deployment and its log keys": deploymentEvents,
} as const;

export const events = {
  ...changeSetEvents,
  ...killSwitchEvents,
  ...tenantEvents,
  ...principalEvents,
  ...targetEvents,
  ...refusalEvents,
  ...retentionEvents,
  ...logEvents,
  ...deploymentEvents,
} as const;

type Events = typeof events;
export type Action = keyof Events;

/** `T` as a writer gives it: nothing of it is changed, and what is optional is left out, never undefined. */
type Given<T> = T extends readonly unknown[] | object
  ? { readonly [K in keyof T]: Given<Exclude<T[K], undefined>> }
  : T;
/** Data of an entry of this action; where it may be one of several, such as fits each of them. */
export type EventData<A extends Action> = Both<A extends Action ? Given<z.infer<Events[A]["data"]>> : never>;
type Both<U> = (U extends unknown ? (one: U) => void : never) extends (all: infer I) => void ? I : never;
export type EventSubject<A extends Action> = A extends Action ? Events[A]["subjects"][number] : never;

export const actions = Object.keys(events) as readonly Action[];

export function isAction(text: string): text is Action {
  return Object.hasOwn(events, text);
}

/** A row with its types forgotten, for whoever walks the catalogue. */
export function eventRow(action: Action): EventRow<SubjectType, Record<string, z.ZodType>> {
  return events[action] as unknown as EventRow<SubjectType, Record<string, z.ZodType>>;
}

/** Actions whose row has this mark. */
export function actionsMarked<M extends keyof EventMarks>(
  mark: M,
  as: NonNullable<EventMarks[M]> = true as NonNullable<EventMarks[M]>,
): readonly Action[] {
  return actions.filter((action) => eventRow(action)[mark] === as);
}

/** The row of an action as it was read; undefined for one that a newer version wrote. */
export function rowOfAction(action: string): EventRow<SubjectType, Record<string, z.ZodType>> | undefined {
  return isAction(action) ? eventRow(action) : undefined;
}

export interface EntryToTell {
  readonly action: string;
  /** Names, or ids where nobody knows one. */
  readonly actor: string;
  readonly subject: string;
  readonly data: Readonly<Record<string, unknown>>;
}

/**
 * The sentence that people read of an entry. What this version does not know, or what is not as the catalogue says (another version
 * wrote it, or somebody forged it), is told by its action alone.
 */
export function sentenceOf({ action, actor, subject, data }: EntryToTell): string {
  const row = rowOfAction(action);
  const parsed = row?.data.safeParse(data);
  const bare = `${actor}: ${action} ${subject}`;
  if (row === undefined || parsed?.success !== true) return bare;
  try {
    return row.sentence({ actor, subject, data: parsed.data });
  } catch {
    return bare; // forged within the schema: a time beyond all calendars
  }
}
