/**
 * The actions that verifiers read, and what they read them for; docs/ledger-format.md specifies their members. Written down here, because
 * this package depends on nothing: a test holds the list equal to the rows that the catalogue of events marks
 * (packages/server/test/events.test.ts).
 */

export const voteActions = {
  cast: "change_set.vote_cast",
  keyEnrolled: "principal.key_enrolled",
  keyRevoked: "principal.key_revoked",
} as const;

export const excuseActions = { erased: "subject.erased", pruned: "ledger.pruned" } as const;

export const restoredAction = "ledger.restored";

export const killSwitchActions: ReadonlySet<string> = new Set([
  "kill_switch.engaged",
  "kill_switch.held",
  "kill_switch.confirmed",
  "kill_switch.release_voted",
  "kill_switch.released",
]);

export const logKeyActions: ReadonlySet<string> = new Set(["log_key.created", "log_key.rotated", "log_key.revoked"]);

/** Read for the summary of what happened; all of the above are among them. */
export const verifiedActions: ReadonlySet<string> = new Set([
  ...Object.values(voteActions),
  ...Object.values(excuseActions),
  restoredAction,
  ...killSwitchActions,
  ...logKeyActions,
  "principal.created",
  "change_set.created",
  "change_set.apply_started",
  "change_set.applied",
  "change_set.rollback_started",
  "change_set.rolled_back",
]);
