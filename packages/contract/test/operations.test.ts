/** What stands in a row beside its schemas fits together: who reads it (dispatch, agents' tools) does not check it again. */
import { describe, expect, it } from "vitest";
import { operationIds, operationRow, pathParameters, type Permission } from "../src/index.js";

/** What no agent is given a tool for, whatever else it may do: deciding, releasing, people, keys, and what is kept. */
const peoplesOwn: ReadonlySet<Permission> = new Set([
  "change_sets.vote",
  "change_sets.apply",
  "change_sets.resolve",
  "change_sets.archive",
  "kill.release",
  "keys.mint",
  "principals.manage",
  "workspaces.manage",
  "tenant.manage",
  "tenants.create",
  "audit.erase",
  "audit.hold",
  "audit.prune",
]);

describe.each(operationIds.map((id) => [id, operationRow(id)] as const))("%s", (id, row) => {
  it("has a class for agents, and a tool where it is offered to them", () => {
    const { class: of, tool } = row.mcp;
    expect(tool === null).toBe(of === "GOVERN" || of === "ADMIN");
    if (tool !== null) expect(tool).toMatch(/^[a-z]+(_[a-z]+)*$/);
    if (of === "READ") expect(row.method).toBe("GET");
    if (of === "PROPOSE" || of === "ENGAGE") expect(row.method).not.toBe("GET");
    if (row.permission !== null && peoplesOwn.has(row.permission)) expect(tool).toBeNull();
    if (row.proof === true || id === "enrol") expect(tool).toBeNull();
  });

  it("names a subject only where its path names one", () => {
    if (row.subject !== undefined) expect(pathParameters(row.path)).toContain("id");
  });

  it("decides at once only without a proof, which is looked up before", () => {
    if (row.decidesAtOnce === true)
      expect([row.proof, row.stream, row.idempotent]).toEqual([undefined, undefined, true]);
  });

  it("begins a run only of a change-set, and only where a repeat is recognised", () => {
    if (row.run === true) expect([row.idempotent, row.subject]).toEqual([true, "change_set"]);
  });
});

it("no two tools have one name", () => {
  const tools = operationIds.flatMap((id) => operationRow(id).mcp.tool ?? []);
  expect(new Set(tools).size).toBe(tools.length);
});
