/** Principals, keys, workspaces, kill-switches for people. */
import type {
  ApiKeyView,
  KillSwitchView,
  OperationOutput,
  PrincipalView,
  SigningKeyView,
  WorkspaceView,
} from "@countersign/contract";
import { facts, table } from "../table.js";
import { lines, show, shortened, type Painter, type Shown } from "../text.js";
import { moment, roughly } from "../when.js";

export function principalTable(paint: Painter, rows: readonly PrincipalView[], whenEmpty: string): Shown {
  return table(
    paint,
    rows,
    [
      { head: "name", cell: (row) => shortened(row.name, 40) },
      { head: "kind", cell: (row) => (row.agentType === null ? row.kind : `${row.kind} ${row.agentType}`) },
      { head: "status", cell: (row) => (row.status === "ACTIVE" ? paint.green(row.status) : paint.red(row.status)) },
      { head: "answerable", cell: (row) => row.answerable?.name ?? "" },
      { head: "roles", cell: (row) => row.roles.join(", ") },
      { head: "groups", cell: (row) => row.groups.join(", ") },
      { head: "signing keys", cell: (row) => row.signingKeys, right: true },
      { head: "id", cell: (row) => paint.dim(row.id) },
    ],
    whenEmpty,
  );
}

export function apiKeyTable(paint: Painter, rows: readonly ApiKeyView[], nowMs: number): Shown {
  const state = (row: ApiKeyView): Shown => {
    if (row.revokedAt !== null) return paint.red("revoked");
    return Date.parse(row.expiresAt) < nowMs ? paint.red("expired") : show`${roughly(row.expiresAt, nowMs)}`;
  };
  return table(
    paint,
    rows,
    [
      { head: "name", cell: (row) => shortened(row.name, 40) },
      { head: "of", cell: (row) => shortened(row.principal.name, 32) },
      {
        head: "scopes",
        cell: (row) => (row.scopes.length === 0 || row.scopes.includes("*") ? "all" : row.scopes.join(", ")),
      },
      { head: "expires", cell: state },
      {
        head: "last used",
        cell: (row) => (row.lastUsedAt === null ? paint.dim("never") : roughly(row.lastUsedAt, nowMs)),
      },
      { head: "id", cell: (row) => paint.dim(row.id) },
    ],
    "no API keys",
  );
}

export function signingKeyTable(paint: Painter, rows: readonly SigningKeyView[]): Shown {
  return table(
    paint,
    rows,
    [
      { head: "of", cell: (row) => shortened(row.principal.name, 32) },
      { head: "label", cell: (row) => shortened(row.label, 32) },
      { head: "status", cell: (row) => (row.status === "ACTIVE" ? paint.green(row.status) : paint.red(row.status)) },
      { head: "public key", cell: (row) => row.publicKey },
      { head: "enrolled", cell: (row) => moment(row.enrolledAt) },
      { head: "id", cell: (row) => paint.dim(row.id) },
    ],
    "no signing keys",
  );
}

export function workspaceTable(paint: Painter, rows: readonly WorkspaceView[]): Shown {
  return table(
    paint,
    rows,
    [
      { head: "name", cell: (row) => row.name },
      { head: "root", cell: (row) => row.root },
      { head: "environment", cell: (row) => row.environment },
      { head: "status", cell: (row) => (row.status === "ACTIVE" ? paint.green(row.status) : paint.dim(row.status)) },
      { head: "id", cell: (row) => paint.dim(row.id) },
    ],
    "no workspaces; register a folder with `countersign workspace add NAME FOLDER`",
  );
}

export function killTable(paint: Painter, rows: readonly KillSwitchView[], nowMs: number): Shown {
  const inForce = rows.filter((row) => row.status !== "RELEASED");
  if (inForce.length === 0) return paint.green("no kill-switch is engaged");
  return lines(...inForce.map((row) => killText(paint, row, nowMs)));
}

export function killText(paint: Painter, row: KillSwitchView, nowMs: number): Shown {
  const until =
    row.holdUntil === null
      ? ""
      : `, a hold until ${moment(row.holdUntil)} (${roughly(row.holdUntil, nowMs)}) unless a person confirms it`;
  return lines(
    show`${paint.red(row.status)} by ${row.engagedBy.name} ${paint.dim(moment(row.engagedAt))}${row.reason === null ? "" : `: ${row.reason}`}${until}`,
    row.status !== "RELEASED" &&
      row.releaseVotes > 0 &&
      show`  release: ${row.releaseVotes} of ${row.releaseVotesRequired} people`,
    row.inFlight.length > 0 && show`  in flight when it was engaged: ${row.inFlight.join(", ")}`,
  );
}

export function whoText(paint: Painter, me: OperationOutput<"whoAmI">, url: string): Shown {
  const { principal, tenant } = me;
  return facts(paint, [
    [
      "you are",
      show`${paint.bold(principal.name)} ${paint.dim(principal.agentType === null ? principal.kind : `${principal.kind}, ${principal.agentType}`)}`,
    ],
    ["answerable", principal.answerable === null ? undefined : principal.answerable.name],
    ["tenant", show`${tenant.name} ${paint.dim(`mode ${tenant.mode}`)}`],
    ["server", url],
    ["roles", principal.roles.join(", ")],
    ["groups", principal.groups.length === 0 ? undefined : principal.groups.join(", ")],
    ["permissions", me.permissions.join(", ")],
    ["signing keys", principal.kind === "human" ? principal.signingKeys : undefined],
    ["key expires", me.keyExpiresAt === null ? undefined : moment(me.keyExpiresAt)],
  ]);
}
