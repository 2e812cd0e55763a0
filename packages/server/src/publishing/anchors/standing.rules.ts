/** Decides from an anchor's answer its standing, and when it is tried again. Pure. */
import type { AnchorState } from "./states.js";

export const firstPauseMs = 100;
export const longestPauseMs = 5 * 60_000;
const errorCharactersMax = 1_000;

export function freshState(anchor: string): AnchorState {
  return {
    anchor,
    incarnation: 0,
    standing: "new",
    size: 0,
    confirmedMs: null,
    wanted: 0,
    attempts: 0,
    failures: 0,
    sinceMs: null,
    lastError: null,
    nextMs: null,
  };
}

/**
 * A new checkpoint is there. Another incarnation is another log: nothing of it is confirmed yet, and problems of the
 * old log are over.
 */
export function wanting(
  state: AnchorState,
  offered: { readonly incarnation: number; readonly size: number },
): AnchorState {
  if (state.incarnation !== offered.incarnation)
    return { ...freshState(state.anchor), attempts: state.attempts, ...offeredMembers(offered) };
  return { ...state, ...offeredMembers(offered) };
}

function offeredMembers({
  incarnation,
  size,
}: {
  readonly incarnation: number;
  readonly size: number;
}): Pick<AnchorState, "incarnation" | "wanted"> {
  return { incarnation, wanted: size };
}

export function confirmed(
  state: AnchorState,
  answer: { readonly size: number; readonly nowMs: number; readonly everyMs: number },
): AnchorState {
  return {
    ...state,
    standing: "ok",
    size: answer.size,
    confirmedMs: answer.nowMs,
    attempts: state.attempts + 1,
    failures: 0,
    sinceMs: null,
    lastError: null,
    nextMs: answer.everyMs === 0 ? null : answer.nowMs + answer.everyMs,
  };
}

/**
 * Twice as long each time, from 100 ms to 5 minutes, less up to half of it by chance, so that many tenants do not come back at once.
 * A contradiction waits the longest time at once. It is checked again, and logged again, because a missing disk may be
 * mounted by then.
 */
export function failed(
  state: AnchorState,
  answer: { readonly nowMs: number; readonly chance: number; readonly message: string; readonly contradicts: boolean },
): AnchorState {
  const standing = answer.contradicts ? "contradicts" : "failing";
  const doubled = answer.contradicts
    ? longestPauseMs
    : Math.min(longestPauseMs, firstPauseMs * 2 ** Math.min(state.failures, 30));
  return {
    ...state,
    standing,
    attempts: state.attempts + 1,
    failures: state.failures + 1,
    sinceMs: state.standing === standing ? state.sinceMs : answer.nowMs,
    lastError: answer.message.slice(0, errorCharactersMax),
    nextMs: answer.nowMs + Math.ceil(doubled * (1 - answer.chance / 2)),
  };
}

/** Whether there is something to take there. */
export function isBehind(state: AnchorState): boolean {
  return state.standing !== "ok" || state.size < state.wanted;
}

export interface Reach {
  /** Entries of the present ledger that the anchor has confirmed. */
  readonly confirmed: number;
  /** Entries it has not: nobody there would miss them. */
  readonly behind: number;
  /** When the anchor is asked next; in the past if no server runs. Null: as soon as there is a new checkpoint. */
  readonly dueMs: number | null;
}

/**
 * `incarnation`: that of the newest checkpoint; undefined: there is none. Confirmations of an earlier incarnation
 * belong to another log.
 */
export function reachOf(
  state: AnchorState,
  { incarnation, entries, nowMs }: { incarnation: number | undefined; entries: number; nowMs: number },
): Reach {
  const confirmed = incarnation === undefined || state.incarnation === incarnation ? state.size : 0;
  const behind = Math.max(0, entries - confirmed);
  const rests = behind === 0 && (state.standing === "ok" || state.standing === "new");
  return { confirmed, behind, dueMs: rests ? null : (state.nextMs ?? nowMs) };
}
