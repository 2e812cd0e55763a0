import { operationIds, operationRow } from "@countersign/contract";
import { describe, expect, test } from "vitest";
import { buildRequest } from "../src/request.js";
import { Countersign, streamOperations } from "../src/index.js";

const id = "01936b0e-7a3c-7def-8123-456789abcdef";

describe("an operation's flat input becomes a request", () => {
  const rows = [
    [
      "path parameter",
      "getChangeSet",
      { id: "CS-2026-1120-001" },
      { method: "GET", path: "/api/ledger/changesets/CS-2026-1120-001", body: undefined, headers: {} },
    ],
    [
      "path parameter is escaped",
      "getChangeSet",
      { id: "../principals?x=1" },
      { path: "/api/ledger/changesets/..%2Fprincipals%3Fx%3D1" },
    ],
    [
      "rest of a GET is the query",
      "listResources",
      { type: "CONFIG", prefix: "a b&c", deleted: true, limit: 5 },
      { path: "/api/ledger/resources?type=CONFIG&prefix=a+b%26c&deleted=true&limit=5" },
    ],
    [
      "several values",
      "listChangeSets",
      { status: ["DRAFT", "APPROVED"] },
      { path: "/api/ledger/changesets?status=DRAFT%2CAPPROVED" },
    ],
    ["undefined is left out", "listChangeSets", { search: undefined }, { path: "/api/ledger/changesets" }],
    [
      "rest of a POST is the body",
      "rejectChangeSet",
      { id, reason: "no" },
      {
        method: "POST",
        path: `/api/ledger/changesets/${id}/reject`,
        body: '{"reason":"no"}',
        headers: { "content-type": "application/json", "idempotency-key": "k1" },
      },
    ],
    [
      "If-Match",
      "reviseChangeSet",
      { id, revision: 3, title: "t" },
      {
        method: "PUT",
        body: '{"title":"t"}',
        headers: { "content-type": "application/json", "if-match": '"3"', "idempotency-key": "k1" },
      },
    ],
    [
      "not idempotent: no key",
      "enrol",
      { code: "c", publicKey: "p", signature: "s" },
      { headers: { "content-type": "application/json" } },
    ],
    [
      "DELETE has no body",
      "removeWorkspace",
      { id },
      { method: "DELETE", path: `/api/ledger/workspaces/${id}`, body: undefined },
    ],
    [
      "a stream asks for its type",
      "exportAudit",
      { from: 3 },
      { path: "/api/ledger/audit/export?from=3", headers: { accept: "application/jsonl, application/json" } },
    ],
  ] as const;
  test.each(rows)("%s", (_name, operation, input, expected) => {
    const request = buildRequest(operation, input, "k1");
    const { headers, body, ...rest } = expected as { headers?: Record<string, string>; body?: string };
    expect(request).toMatchObject(rest);
    if (headers !== undefined) expect(request.headers).toEqual({ accept: "application/json", ...headers });
    if ("body" in expected) expect(request.body).toBe(body);
  });

  test.each([{ id: "" }, {}, { id: 7 }])("a missing path parameter is refused before anything is sent: %j", (input) => {
    expect(() => buildRequest("getChangeSet", input, undefined)).toThrow("getChangeSet needs `id`");
  });
});

test("every operation of the contract is a method", () => {
  const client = new Countersign() as unknown as Record<string, unknown>;
  for (const operation of operationIds) expect(typeof client[operation], operation).toBe("function");
  expect(operationIds.length).toBeGreaterThan(30);
  expect(operationIds.filter((name) => operationRow(name).stream !== undefined)).toEqual([...streamOperations]);
});
