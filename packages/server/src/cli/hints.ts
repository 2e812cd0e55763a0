/**
 * The command that would help, for every refusal a command line can meet. A test compares this table with the
 * catalogue.
 */
import type { Command, ErrorCode } from "@countersign/contract";
import { commandsFor } from "./render/changeSet.js";
import type { ClientCode } from "@countersign/sdk";

export interface HintContext {
  /** Number or id of the change-set the command was about, if any. */
  readonly changeSet?: string;
  readonly url?: string;
  /** The command it is one of, such as `audit`. */
  readonly group?: string;
}
type Hint = (context: HintContext) => readonly string[];

const id = (context: HintContext): string => context.changeSet ?? "ID";
const own =
  (...hints: readonly string[]): Hint =>
  () =>
    hints;
const about =
  (...templates: readonly string[]): Hint =>
  (context) =>
    templates.map((template) => template.replaceAll("ID", id(context)));

const wait = own("wait a moment and run the command again; nothing is lost");
const login = own("countersign login   (with another API key)", "countersign enrol   (a person, with a one-time code)");
const access = own("countersign whoami", "countersign human grant NAME --role ROLE   (by an administrator)");
const rules = own(
  "countersign config pull DIR   (policy.json and grants.json say what is permitted)",
  "countersign config push DIR --submit   (by a person, after changing them)",
);
const show = about("countersign change-set show ID");
const fix = own("correct the item at the pointer and run the command again; docs/targets.md has the operations");
const file = own("correct the value at the pointer and run the command again");
const enrol = own(
  "countersign key list --signing",
  "countersign enrol   (with a one-time code of `countersign human code NAME`)",
);
const rebase = about(
  "countersign change-set diff ID",
  "countersign change-set revise ID --rebase   (plans again on the targets' present state)",
);
/** Where a name that was not found is listed. */
const lists: Hint = ({ group }) =>
  group === "audit"
    ? ["countersign audit log", "countersign audit holds"]
    : group === "keys"
      ? ["countersign keys list"]
      : ["countersign change-set list", "countersign resource list", "countersign agent list"];
const server = own("countersign start   (its last lines say what is wrong)");

/** Codes where no command of the CLI would help: the message says what to do. */
export const withoutHint: readonly (ErrorCode | ClientCode)[] = [
  "method_not_allowed",
  "unsupported_media_type",
  "internal",
  "aborted",
  "last_administrator",
  "priority_needs_human",
  "category_lowered",
  "masked_value",
  "json_number_unsafe",
];

export const hints: Partial<Record<ErrorCode | ClientCode, Hint>> = {
  unreachable: (context) => [
    `countersign start   (or give the right address: --url, now ${context.url ?? "the usual one"})`,
  ],
  timed_out: about("countersign status", "countersign change-set show ID   (the command may have had its effect)"),
  malformed_answer: own("countersign status --url http://HOST:PORT"),
  settled_otherwise: show,
  database_unavailable: wait,
  overloaded: wait,
  shutting_down: wait,
  not_ready: wait,
  clock_behind: own("set the server's clock right (its ledger is ahead of it), then run the command again"),
  unauthenticated: login,
  key_malformed: login,
  key_unknown: login,
  key_expired: login,
  key_revoked: login,
  principal_suspended: own("countersign agent activate NAME   (by an administrator)"),
  forbidden: access,
  scope_missing: own("countersign key create NAME --scope …   (a key with the scope that is missing)"),
  body_too_large: own("split the change-set into several"),
  malformed_json: file,
  json_duplicate_key: file,
  json_too_deep: file,
  json_too_large: own("split the change-set into several"),
  text_unstorable: file,
  invalid_request: file,
  limit_exceeded: own("split the change-set into several, or shorten the value at the pointer"),
  unknown_configuration: own("countersign config pull DIR --all   (its file names are the known names)"),
  not_found: lists,
  idempotency_key_reused: own("run the command again without your own idempotency key"),
  idempotency_in_flight: wait,
  precondition_required: own("countersign enrol   (the operation needs your signing key on this machine)"),
  precondition_failed: about("countersign change-set show ID   (somebody revised it; look again, then repeat)"),
  already_exists: ({ group }) =>
    group === "keys" ? ["countersign keys list"] : ["countersign kill status", "countersign key list --signing"],
  name_taken: own(
    "choose another name: `countersign agent list`, `countersign human list`, `countersign workspace list`",
  ),
  human_root_required: own("countersign agent accept NAME   (by the person who will be answerable)"),
  enrolment_code_invalid: own("countersign human code NAME   (by an administrator: a new code)"),
  signing_key_unknown: enrol,
  signing_key_revoked: enrol,
  signature_invalid: enrol,
  illegal_transition: show,
  erased: about("countersign change-set show ID", "countersign change-set create   (propose the change anew)"),
  legal_hold: own(
    "countersign audit holds   (shows who placed the hold, and why)",
    "countersign audit release HOLD --reason TEXT",
  ),
  checkpoint_missing: own("wait a moment and run the command again", "countersign keys list"),
  archive_unusable: own(
    "countersign audit prune --archive OTHER   (a file that does not exist yet)",
    "countersign audit archives",
  ),
  ledger_mismatch: own("countersign audit verify   (names the altered row or entry)"),
  kill_switch_engaged: own(
    "countersign kill status",
    "countersign kill release   (by a person with their signing key)",
  ),
  item_invalid: fix,
  operation_unsupported: fix,
  target_not_found: own("countersign resource list", "countersign workspace list"),
  target_exists: own("use UPDATE in place of CREATE, or `--put`, which creates or updates"),
  schema_violation: fix,
  schema_unsupported: own("docs/targets.md says which JSON Schema keywords can be used"),
  patch_failed: fix,
  no_effect: own("leave the item out: the target already has this state"),
  dependency_cycle: fix,
  dependency_unmet: about(
    "countersign change-set show ID",
    "countersign change-set apply OTHER   (first apply the change-set that this one depends on)",
  ),
  path_refused: fix,
  path_denied: own("choose another path: data directories, `.git`, keys and tokens are denied to everybody"),
  target_unavailable: own("countersign workspace list   (is the folder still there?)"),
  target_locked: wait,
  policy_denied: rules,
  read_not_granted: rules,
  route_unsatisfiable: own(
    "countersign human list",
    "countersign human grant NAME --group GROUP   (by an administrator)",
  ),
  separation_of_duties: about(
    "countersign change-set approve ID   (by another person on the route)",
    "countersign tenant show   (solo mode lets one person approve their own agents)",
  ),
  not_an_approver: about(
    "countersign change-set show ID   (its route names the approvers)",
    "countersign human grant NAME --group GROUP   (by an administrator)",
  ),
  agents_never_vote: about("countersign change-set approve ID   (by a person, with their signing key)"),
  reason_required: own('give --reason "…"'),
  digest_mismatch: about("countersign change-set approve ID   (look at the current revision, then sign it)"),
  risk_increased: about("countersign change-set revise ID --rebase   (asks for approval of the present risk)"),
  approvals_missing: about(
    "countersign change-set show ID",
    "countersign change-set approve ID   (by the people it waits for)",
  ),
  expired: about("countersign change-set revise ID --rebase --submit"),
  drift: rebase,
  conflict: own("run the command again: somebody else was faster"),
  application_in_flight: about("countersign change-set show ID   (wait until the application has ended)"),
  attempts_exhausted: rebase,
  frozen: own("countersign config pull DIR   (freeze.json says until when)"),
  rate_limited: own(
    "wait as long as the refusal says, then run the command again",
    "countersign config pull DIR --all   (limits.json has the limits)",
  ),
  rollback_blocked: about("countersign change-set rollback ID --cascade   (rolls back the later ones first)"),
  rollback_not_permitted: about(
    "countersign change-set show ID   (its author's human, an approver or the on-call role may)",
  ),
  irreversible: about("countersign change-set diff ID   (propose the opposite change)"),
  backup_unusable: own("countersign audit verify", "restore the server's data directory from your backup"),
  kill_not_engaged: own("countersign kill status"),
  release_needs_another: own("the same command, by another person with their own signing key"),
  disk_full: own("make room on the server's disk, then run the command again"),
  workspace_invalid: own(
    "countersign workspace add NAME FOLDER   (an existing folder that is not your home, the root or the data directory)",
  ),
  configuration_invalid: own("correct the variable or the file that the message names, then run the command again"),
  data_directory_in_use: own("countersign status   (a server runs already; talk to it, or stop it)"),
  data_directory_unusable: own("export COUNTERSIGN_DATA=…   (a folder of your own)"),
  postgres_unsupported: own(
    "unset DATABASE_URL   (the embedded PostgreSQL), or upgrade yours to 15 or later with encoding UTF8",
  ),
  postgres_start_failed: server,
  migration_edited: own("countersign migrate status"),
  migration_missing: own("countersign migrate status"),
  migration_newer: own("install the version of countersign that made the database newer"),
  migration_failed: own("countersign migrate status"),
  log_key_unusable: own(
    "countersign keys list   (shows the keys in the key directory)",
    "countersign keys repair   (takes statements from the deployment's ledger)",
  ),
  publishing_stopped: own(
    "countersign keys list",
    "countersign restore --reason TEXT   (if an older backup was put in place)",
  ),
  not_published: own("countersign start   (the server makes the log's key and publishes)"),
  nothing_to_restore: own("countersign audit verify"),
  witness_unusable: own("countersign witness list", "countersign witness init --name NAME   (in an empty folder)"),
  schema_behind: own("countersign migrate up"),
  down_refused: own("countersign migrate status"),
  sealing_key_invalid: own("restore the data directory's sealing key from your backup, or set COUNTERSIGN_SEALING_KEY"),
  sealed_unreadable: own("restore the data directory's sealing key from your backup, or set COUNTERSIGN_SEALING_KEY"),
};

/** The legal commands, typed out; else the hint of the code. */
export function helpFor(code: string, legal: readonly string[] | undefined, context: HintContext): readonly string[] {
  const typed = (legal ?? [])
    .flatMap((command) => commandsFor(command as Command, id(context)))
    .map(([command, why]) => `${command}   (${why})`);
  if (typed.length > 0) return typed;
  return hints[code as ErrorCode | ClientCode]?.(context) ?? [];
}
