/**
 * Workspaces: the folders whose files may be changed. Registering one is what opens a folder to agents, so it is refused
 * wherever it would open more than a project.
 *
 * INVARIANT: the root of an active workspace is a real folder (its own real path), is neither `/` nor a home unless that was
 * confirmed, neither holds nor lies in the data directory, and neither holds nor lies in another active workspace of the tenant.
 */
import * as fs from "node:fs/promises";
import { homedir } from "node:os";
import { isAbsolute, parse, sep } from "node:path";
import { visible, type Problem } from "@countersign/contract";
import type { Actor, DecideContext, EntryDraft, Guard, Row, Snapshot } from "../../ledger/index.js";
import { allWorkspaces, workspaceById, type WorkspaceRow } from "./queries.js";
import { codeOf } from "./tree.js";

export interface WorkspaceInput {
  readonly name: string;
  readonly root: string;
  readonly environment: string;
  /** The whole home directory was meant. */
  readonly confirmHome?: boolean;
}

/** The decided half: what a commit needs, and the workspace as it is after it. */
export type WorkspaceChange = (decide: DecideContext) => {
  readonly guards: readonly Guard[];
  readonly entries: readonly EntryDraft[];
  readonly workspace: WorkspaceRow;
};

export interface WorkspaceContext {
  readonly actor: Actor;
  readonly snapshot: Snapshot;
}

const namePattern = /^[a-z0-9][a-z0-9._-]{0,62}$/;

/** Checks a folder and registers it; a removed workspace of the same name and root comes back. */
export async function registerWorkspace(
  input: WorkspaceInput,
  context: WorkspaceContext & {
    readonly dataDirectory: string;
    readonly home?: string;
    /** The operator lets workspaces be registered below these alone. */
    readonly allowedRoots?: readonly string[];
  },
): Promise<WorkspaceChange | readonly Problem[]> {
  const problems: Problem[] = namePattern.test(input.name)
    ? []
    : [{ code: "invalid_request", message: "a workspace's name is 1 to 63 of `a-z0-9._-`", pointer: "/name" }];
  const root = await realFolder(input.root);
  if (typeof root !== "string") return [...problems, root];
  const known = await allWorkspaces(context.snapshot);
  const active = known.filter((row) => row.status === "ACTIVE");
  const data = await realPathOf(context.dataDirectory);
  const home = await realPathOf(context.home ?? homedir());
  const allowed =
    context.allowedRoots === undefined ? undefined : await Promise.all(context.allowedRoots.map(realPathOf));
  if (
    allowed !== undefined &&
    !allowed.some((one) => root === one || root.startsWith(one.endsWith(sep) ? one : one + sep))
  ) {
    problems.push(
      invalid(
        `\`${visible(root)}\` is below none of the folders that the operator opened (COUNTERSIGN_WORKSPACE_ROOTS)`,
      ),
    );
  }
  problems.push(...checkRoot(root, { active, data, home, confirmHome: input.confirmHome === true }));
  const same = known.find((row) => row.name === input.name);
  if (same !== undefined && (same.status === "ACTIVE" || same.root !== root)) {
    problems.push({
      code: "name_taken",
      message: `the name \`${input.name}\` is that of \`${visible(same.root)}\`; choose another name`,
      pointer: "/name",
    });
  }
  if (problems.length > 0) return problems;
  return (decide) => register(input, root, same, context.actor, decide);
}

const invalid = (message: string): Problem => ({ code: "workspace_invalid", message, pointer: "/root" });

async function realFolder(root: string): Promise<string | Problem> {
  if (!isAbsolute(root)) return invalid(`\`${visible(root)}\` is not an absolute path`);
  try {
    const real = await fs.realpath(root);
    if (!(await fs.stat(real)).isDirectory()) return invalid(`\`${visible(root)}\` is not a folder`);
    return real;
  } catch (error) {
    return invalid(`\`${visible(root)}\` cannot be used (${codeOf(error)}); give a folder that the server can read`);
  }
}

/** The real path; as given if it does not exist yet. */
async function realPathOf(path: string): Promise<string> {
  try {
    return await fs.realpath(path);
  } catch (error) {
    if (codeOf(error) === "ENOENT") return path;
    throw error;
  }
}

/** Pure: why this real path cannot be a root. */
export function checkRoot(
  root: string,
  {
    active,
    data,
    home,
    confirmHome,
  }: {
    readonly active: readonly { readonly name: string; readonly root: string }[];
    readonly data: string;
    readonly home: string;
    readonly confirmHome: boolean;
  },
): Problem[] {
  if (root === parse(root).root)
    return [invalid("the whole filesystem cannot be a workspace; choose a project's folder")];
  const problems: Problem[] = [];
  if (holds(data, root)) problems.push(invalid("the folder lies in Countersign's data directory; choose another one"));
  else if (holds(root, data))
    problems.push(
      invalid(
        `the folder holds Countersign's data directory \`${visible(data)}\`; choose one below it, or move the data (COUNTERSIGN_DATA)`,
      ),
    );
  if (root === home && !confirmHome)
    problems.push(
      invalid("the folder is the home directory; choose a project's folder, or confirm that all of it is meant"),
    );
  else if (holds(root, home) && root !== home)
    problems.push(invalid("the folder holds the home directory; choose a project's folder"));
  if (root.split(sep).includes(".git"))
    problems.push(invalid("the folder lies in a `.git` folder; choose the project's folder"));
  const nested = active.find((other) => holds(root, other.root) || holds(other.root, root));
  if (nested !== undefined)
    problems.push(
      invalid(
        `the folder overlaps with the workspace \`${nested.name}\` (\`${visible(nested.root)}\`); remove that one first`,
      ),
    );
  return problems;
}

/** True if `inner` is `outer` or lies below it. Both real paths. */
function holds(outer: string, inner: string): boolean {
  return inner === outer || inner.startsWith(outer.endsWith(sep) ? outer : outer + sep);
}

function register(
  input: WorkspaceInput,
  root: string,
  same: WorkspaceRow | undefined,
  actor: Actor,
  decide: DecideContext,
) {
  const workspace: WorkspaceRow = {
    id: same?.id ?? decide.uuid(),
    version: (same?.version ?? 0) + 1,
    name: input.name,
    root,
    environment: input.environment,
    status: "ACTIVE",
    // The system has no principal of its own.
    createdBy: same?.createdBy ?? (actor.type === "system" ? null : actor.id),
    createdAtMs: same?.createdAtMs ?? decide.nowMs,
  };
  return {
    guards: [guardOf(input.name, same)],
    entries: [entryOf("workspace.registered", workspace, same, actor)],
    workspace,
  };
}

/** Takes a workspace from the register; its files stay as they are. Changes applied to them cannot be undone until it is back. */
export async function removeWorkspace(
  id: string,
  context: WorkspaceContext,
): Promise<WorkspaceChange | readonly Problem[]> {
  const row = await workspaceById(context.snapshot, id);
  if (row === undefined || row.status !== "ACTIVE")
    return [{ code: "not_found", message: `there is no workspace \`${visible(id)}\`` }];
  const workspace: WorkspaceRow = { ...row, version: row.version + 1, status: "REMOVED" };
  return () => ({
    guards: [guardOf(row.name, row)],
    entries: [entryOf("workspace.removed", workspace, row, context.actor)],
    workspace,
  });
}

function guardOf(name: string, row: WorkspaceRow | undefined): Guard {
  return row === undefined
    ? { kind: "absent", table: "workspaces", key: { name } }
    : { kind: "row", table: "workspaces", id: row.id, version: row.version };
}

function entryOf(
  action: "workspace.registered" | "workspace.removed",
  workspace: WorkspaceRow,
  before: WorkspaceRow | undefined,
  actor: Actor,
): EntryDraft {
  const { id, name, root, environment, status, createdBy, createdAtMs } = workspace;
  const row: Row = {
    id,
    name,
    root,
    environment,
    status,
    ...(createdBy === null ? {} : { created_by: createdBy }),
    created_at_ms: createdAtMs,
  };
  return {
    actor,
    action,
    subject: { type: "workspace", id },
    body: { name, root, environment },
    writes: [
      before === undefined
        ? { verb: "insert", table: "workspaces", row }
        : { verb: "update", table: "workspaces", row, from: before.version },
    ],
  };
}
