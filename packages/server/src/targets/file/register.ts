/** The register of workspaces as operations show and change it. */
import {
  type CheckedInput,
  isRefusal,
  type OperationOutput,
  type Problem,
  refusedForProblems,
  type Refusal,
  type WorkspaceView,
} from "@countersign/contract";
import { type DecideContext, type Ledger, receiptsOf, type ReceiptView, type Snapshot } from "../../ledger/index.js";
import type { Caller } from "../../tenancy/index.js";
import { allWorkspaces, type WorkspaceRow } from "./queries.js";
import { registerWorkspace, removeWorkspace, type WorkspaceChange } from "./workspaces.js";

export interface RegisterDesk {
  readonly ledger: Ledger;
  readonly dataDirectory: string;
  readonly workspaceRoots: readonly string[] | undefined;
}

export async function workspaces(desk: RegisterDesk, caller: Caller): Promise<OperationOutput<"listWorkspaces">> {
  const rows = await desk.ledger.snapshot(caller.tenant, allWorkspaces);
  return { rows: rows.filter((row) => row.status === "ACTIVE").map(workspaceView) };
}

type WorkspaceAnswer = Promise<{ workspace: WorkspaceView; receipts: ReceiptView[] } | Refusal>;

export function addWorkspace(
  desk: RegisterDesk,
  caller: Caller,
  input: CheckedInput<"registerWorkspace">,
  transact: Ledger["transact"],
): WorkspaceAnswer {
  const { name, root, environment } = input;
  return changeWorkspace(caller, transact, (snapshot) =>
    registerWorkspace(
      { name, root, environment },
      {
        actor: caller.actor,
        snapshot,
        dataDirectory: desk.dataDirectory,
        ...(desk.workspaceRoots === undefined ? {} : { allowedRoots: desk.workspaceRoots }),
      },
    ),
  );
}

export function dropWorkspace(
  caller: Caller,
  input: CheckedInput<"removeWorkspace">,
  transact: Ledger["transact"],
): WorkspaceAnswer {
  return changeWorkspace(caller, transact, (snapshot) => removeWorkspace(input.id, { actor: caller.actor, snapshot }));
}

async function changeWorkspace(
  caller: Caller,
  transact: Ledger["transact"],
  prepare: (snapshot: Snapshot) => Promise<WorkspaceChange | readonly Problem[]>,
): WorkspaceAnswer {
  const outcome = await transact(caller.tenant, prepare, (change, context: DecideContext) => {
    if (typeof change !== "function") return refusedForProblems(change);
    const { guards, entries, workspace } = change(context);
    return {
      kind: "change",
      change: { guards: [...caller.guards, ...guards], entries },
      result: { workspace: workspaceView(workspace) },
    };
  });
  if (isRefusal(outcome)) return outcome;
  return { ...outcome.result, receipts: receiptsOf(outcome) };
}

function workspaceView(row: WorkspaceRow): WorkspaceView {
  return {
    id: row.id,
    name: row.name,
    root: row.root,
    environment: row.environment,
    status: row.status,
    createdAt: new Date(row.createdAtMs).toISOString(),
  };
}
