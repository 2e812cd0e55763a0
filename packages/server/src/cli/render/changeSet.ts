/** A change-set for people: what changes, how risky, what policy says, who is waited for, what can be done now. */
import {
  type ApplicationView,
  type Command,
  type RiskAssessment,
  type Status,
  targetText,
} from "@countersign/contract";
import { facts, table } from "../table.js";
import { block, empty, indent, lines, show, shortened, type Painter, type Shown } from "../text.js";
import { moment, roughly } from "../when.js";
import { itemDiff } from "./diff.js";
import type { ChangeSetSummary, ChangeSetView, ItemView } from "./types.js";

export function paintStatus(paint: Painter, status: Status): Shown {
  const color = {
    DRAFT: paint.dim,
    PENDING_APPROVAL: paint.yellow,
    APPROVED: paint.cyan,
    APPLYING: paint.yellow,
    APPLIED: paint.green,
    PARTIALLY_APPLIED: paint.red,
    ROLLING_BACK: paint.yellow,
    ROLLED_BACK: paint.cyan,
    REJECTED: paint.red,
    CANCELLED: paint.dim,
    ARCHIVED: paint.dim,
  }[status];
  return color(status);
}

export function paintLevel(paint: Painter, level: string): Shown {
  if (level === "CRITICAL" || level === "HIGH") return paint.red(level);
  return level === "MEDIUM" ? paint.yellow(level) : paint.green(level);
}

export function changeSetTable(
  paint: Painter,
  rows: readonly ChangeSetSummary[],
  nowMs: number,
  titleWidth: number,
): Shown {
  return table(
    paint,
    rows,
    [
      { head: "number", cell: (row) => row.number },
      { head: "status", cell: (row) => paintStatus(paint, row.status) },
      {
        head: "risk",
        cell: (row) =>
          row.riskLevel === null ? "" : show`${paintLevel(paint, row.riskLevel)} ${paint.dim(row.riskScore ?? "")}`,
      },
      { head: "category", cell: (row) => row.category },
      { head: "author", cell: (row) => shortened(row.author.name, 24) },
      { head: "title", cell: (row) => shortened(row.title, titleWidth) },
      { head: "changed", cell: (row) => paint.dim(roughly(row.updatedAt, nowMs)) },
    ],
    "no change-sets; propose one with `countersign change-set create --help`",
  );
}

/** Everything about one change-set. `full`: diffs of the items too. */
export function changeSetText(
  paint: Painter,
  set: ChangeSetView,
  options: { readonly nowMs: number; readonly diffs: boolean },
): Shown {
  return lines(
    heading(paint, set),
    set.description !== "" && indent(block(set.description)),
    empty,
    summary(paint, set, options.nowMs),
    empty,
    options.diffs ? itemsWithDiffs(paint, set.items) : itemList(paint, set.items),
    ...riskText(paint, set),
    ...policyText(paint, set),
    ...votesText(paint, set),
    ...conflictsText(paint, set),
    ...nextSteps(paint, set),
  );
}

/** After a command: the new status and the next commands; `show` has the rest. */
export function changeSetBrief(paint: Painter, set: ChangeSetView): Shown {
  const approvals = approvalsLine(paint, set);
  const votes = set.votes.filter((vote) => !vote.dismissed).map((vote) => indent(voteLine(paint, vote)));
  return lines(
    heading(paint, set),
    indent(itemList(paint, set.items)),
    set.blocked !== null && show`  ${paint.red(`blocked: ${set.blocked}`)}`,
    approvals !== undefined && show`  approvals ${approvals}`,
    votes,
    ...nextSteps(paint, set),
  );
}

export function heading(paint: Painter, set: ChangeSetSummary): Shown {
  const reason = set.statusReason === null ? empty : paint.dim(show` (${set.statusReason})`);
  return show`${paint.bold(set.number)}  ${paint.bold(set.title)}  ${paintStatus(paint, set.status)}${reason}`;
}

function summary(paint: Painter, set: ChangeSetView, nowMs: number): Shown {
  const when = (iso: string | null): Shown | undefined =>
    iso === null ? undefined : show`${moment(iso)} ${paint.dim(roughly(iso, nowMs))}`;
  return facts(paint, [
    [
      "author",
      show`${set.author.name} ${paint.dim(set.agentType === null ? set.author.kind : `${set.author.kind}, ${set.agentType}`)}`,
    ],
    [
      "category",
      show`${set.category}, priority ${set.priority}, ${set.applyMode === "AUTO" ? "applied by the engine when approved" : "applied by hand"}`,
    ],
    ["risk", set.riskLevel === null ? undefined : show`${paintLevel(paint, set.riskLevel)} ${set.riskScore ?? ""}`],
    [
      "undo",
      {
        exact: paint.green("exact: every byte can be brought back"),
        compensating: paint.yellow("compensating: undone by another action"),
        irreversible: paint.red("irreversible: cannot be undone"),
      }[set.reversibility],
    ],
    ["blocked", set.blocked === null ? undefined : paint.red(set.blocked)],
    ["approvals", approvalsLine(paint, set)],
    ["decide until", set.status === "PENDING_APPROVAL" ? when(set.deadlineAt) : undefined],
    ["apply until", set.status === "APPROVED" ? when(set.approvedUntil) : undefined],
    [
      "erased",
      set.erasedAt === null
        ? undefined
        : show`${when(set.erasedAt) ?? empty} ${paint.dim("its texts and states; the rest is shown here")}`,
    ],
    ["applied", when(set.appliedAt)],
    ["undo at once until", set.status === "APPLIED" ? when(set.undoUntil) : undefined],
    ["revision", show`${set.revision} ${paint.dim(set.revisionDigest)}`],
    ["approval digest", set.approvalDigest === null ? undefined : paint.dim(set.approvalDigest)],
  ]);
}

function approvalsLine(paint: Painter, set: ChangeSetView): Shown | undefined {
  if (set.approvals === null) return undefined;
  const { received, required, waitingFor } = set.approvals;
  if (required === 0) return paint.green("none required");
  const waiting =
    waitingFor.length === 0 || set.status !== "PENDING_APPROVAL"
      ? empty
      : show`, waiting for ${paint.yellow(waitingFor.join("; "))}`;
  return show`${received} of ${required}${waiting}`;
}

export function itemTitle(paint: Painter, item: ItemView): Shown {
  const verb =
    item.operation === "DELETE"
      ? paint.red(item.operation)
      : item.operation === "CREATE"
        ? paint.green(item.operation)
        : paint.yellow(item.operation);
  const to =
    item.input.to === undefined
      ? empty
      : show` → ${item.input.to.path ?? item.input.to.id ?? item.input.to.pointer ?? ""}`;
  const flags = item.flags.length === 0 ? empty : paint.red(` [${item.flags.join(", ")}]`);
  const undo = item.reversibility === "exact" ? empty : paint.red(` ${item.reversibility}`);
  const result = item.result === null ? empty : paint.dim(show` ${item.result.status}`);
  return show`${paint.dim(`${item.sequence}.`)} ${verb} ${targetText(item.input.target)}${to}${flags}${undo}${result}`;
}

function itemList(paint: Painter, items: readonly ItemView[]): Shown {
  return lines(...items.map((item) => itemTitle(paint, item)));
}

export function itemsWithDiffs(paint: Painter, items: readonly ItemView[]): Shown {
  return lines(...items.flatMap((item) => [itemTitle(paint, item), indent(itemDiff(paint, item), 3)]));
}

function riskText(paint: Painter, set: ChangeSetView): Shown[] {
  const risk = set.risk as unknown as Partial<RiskAssessment> | null;
  if (risk === null || risk.factors === undefined) return [];
  const factors = table(
    paint,
    risk.factors,
    [
      { head: "factor", cell: (row) => row.factor },
      { head: "value", cell: (row) => row.value, right: true },
      { head: "share", cell: (row) => `${row.weight} %`, right: true },
      { head: "why", cell: (row) => row.why },
    ],
    "",
  );
  const floors = (risk.floors ?? []).map(
    (floor) =>
      show`at least ${paintLevel(paint, floor.level)}: ${floor.why}${floor.items.length === 0 ? "" : ` (item ${floor.items.join(", ")})`}`,
  );
  const advice = (risk.recommendations ?? []).map((row) => show`${paint.cyan("advice")}: ${row.text}`);
  const title = show`${paint.bold("Risk")} ${paintLevel(paint, risk.level ?? "")} ${risk.score ?? ""}${risk.scoreLevel !== undefined && risk.scoreLevel !== risk.level ? ` (${risk.scoreLevel} by score)` : ""}`;
  return [empty, title, indent(factors), ...[...floors, ...advice].map((line) => indent(line))];
}

interface PolicyShape {
  readonly outcome: string;
  readonly items: readonly {
    readonly sequence: number;
    readonly outcome: string;
    readonly policies: readonly string[];
    readonly why: string;
  }[];
}

function policyText(paint: Painter, set: ChangeSetView): Shown[] {
  const policy = set.policy as unknown as PolicyShape | null;
  if (policy === null) return [];
  const color = (outcome: string): Shown =>
    outcome === "deny" ? paint.red(outcome) : outcome === "allow" ? paint.green(outcome) : paint.yellow(outcome);
  const items = policy.items.map((item) =>
    indent(
      show`${paint.dim(`${item.sequence}.`)} ${color(item.outcome)} ${paint.dim(`${item.why}${item.policies.length === 0 ? "" : ` [${item.policies.join(", ")}]`}`)}`,
    ),
  );
  return [empty, show`${paint.bold("Policy")} ${color(policy.outcome)}`, ...items];
}

function voteLine(paint: Painter, vote: ChangeSetView["votes"][number]): Shown {
  const color = { APPROVED: paint.green, REJECTED: paint.red, ABSTAINED: paint.dim }[vote.decision];
  const marks = [vote.selfApproved ? "self-approved (solo)" : "", vote.dismissed ? "dismissed" : ""].filter(
    (text) => text !== "",
  );
  const reason = vote.reason === null ? "" : `: ${vote.reason}`;
  const marked = marks.length === 0 ? empty : paint.yellow(` ${marks.join(", ")}`);
  return show`${color(vote.decision)} ${vote.voter.name} ${paint.dim(moment(vote.at))}${reason}${marked}`;
}

interface RouteShape {
  readonly mode: string;
  readonly required: number;
  readonly uncapped: number;
  readonly capped: boolean;
  readonly auto: boolean;
  readonly stages: readonly { readonly name: string; readonly groups: readonly string[]; readonly quorum: number }[];
}

function votesText(paint: Painter, set: ChangeSetView): Shown[] {
  const route = set.route as unknown as RouteShape | null;
  const stages = (route?.stages ?? []).map((stage, index) =>
    indent(show`${index + 1}. ${stage.name}: ${stage.quorum} of ${stage.groups.join(", ")}`),
  );
  const how =
    route === null
      ? empty
      : route.auto
        ? show` no one needs to be asked`
        : show` ${route.required} required${route.capped ? ` (${route.uncapped} by the rules, capped at the number of people)` : ""}, mode ${route.mode}`;
  const votes = set.votes.map((vote) => indent(voteLine(paint, vote)));
  if (route === null && votes.length === 0) return [];
  return [empty, show`${paint.bold("Approval")}${how}`, ...stages, ...votes];
}

function conflictsText(paint: Painter, set: ChangeSetView): Shown[] {
  if (set.conflicts.length === 0) return [];
  const rows = set.conflicts.map((row) =>
    indent(show`${row.number} ${paintStatus(paint, row.status)} ${shortened(row.title, 60)} ${paint.dim(row.target)}`),
  );
  return [
    empty,
    paint.yellow(
      "Other change-sets want to change the same targets. The one applied first wins; the others must be revised:",
    ),
    ...rows,
  ];
}

/** How each legal command is typed. A vote is two commands. */
export function commandsFor(command: Command, number: string): readonly (readonly [command: string, why: string])[] {
  const typed = (verb: string, rest = ""): string => `countersign change-set ${verb} ${number}${rest}`;
  switch (command) {
    case "submit":
      return [[typed("submit"), "ask for approval"]];
    case "revise":
      return [[typed("revise", " --rebase"), "plan again on the targets' present state (or -f FILE: other items)"]];
    case "vote":
      return [
        [typed("approve"), "approve with your signing key"],
        [typed("reject", ' --reason "…"'), "reject"],
      ];
    case "request_changes":
      return [[typed("request-changes", ' --reason "…"'), "send it back to its author"]];
    case "cancel":
      return [[typed("cancel"), "give it up"]];
    case "apply":
      return [[typed("apply"), "change the targets"]];
    case "roll_back":
      return [[`countersign undo ${number}`, "bring every target back"]];
    case "resume":
      return [[typed("resume"), "go on with it"]];
    case "resolve":
      return [[typed("resolve", ' --as applied --evidence "…"'), "say what became of it"]];
    case "archive":
      return [[typed("archive"), "archive it; its backups are released"]];
    default:
      // The engine's own events are no commands of a person.
      return [];
  }
}

function nextSteps(paint: Painter, set: ChangeSetView): Shown[] {
  // After APPROVED a vote can only withdraw the approval: the next step is apply.
  const commands =
    set.status === "APPROVED"
      ? ["apply", ...set.legalCommands.filter((command) => command !== "apply" && command !== "vote")]
      : set.legalCommands;
  const rows = (commands as readonly Command[]).flatMap((command) => commandsFor(command, set.number));
  if (rows.length === 0) return [];
  const width = Math.max(...rows.map(([command]) => command.length));
  return [
    empty,
    paint.dim("Legal now:"),
    ...rows.map(([command, why]) => show`  ${paint.cyan(command.padEnd(width))}  ${paint.dim(why)}`),
  ];
}

export function applicationText(paint: Painter, run: ApplicationView): Shown {
  const color = run.status === "SUCCEEDED" ? paint.green : run.status === "RUNNING" ? paint.yellow : paint.red;
  const verb = run.kind === "APPLY" ? "apply" : "rollback";
  const title = show`${verb} ${color(run.status)}: ${run.appliedItems} of ${run.items.length} items${run.durationMs === null ? "" : `, ${run.durationMs} ms`}`;
  const errors = run.errors.map((error) =>
    indent(
      paint.red(show`${error.sequence === undefined ? "" : `item ${error.sequence}: `}${error.code}: ${error.message}`),
    ),
  );
  return lines(title, ...errors);
}
