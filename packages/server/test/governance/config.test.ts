/** Configuration: documents, defaults, problems; and the two things governance reads from a real database. */
import { readFileSync } from "node:fs";
import {
  configurationDefaults,
  configurationId,
  configurationNames,
  configurationSchemas,
  ruleId,
  targetPattern,
  tenantModes,
  type ConfigurationName,
  type JsonValue,
} from "@countersign/contract";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { z } from "zod";
import {
  checkConfiguration,
  decidePolicy,
  effectiveConfiguration,
  engageKill,
  loadConfiguration,
  loadKill,
  makeRoute,
  parseConfiguration,
  permissionsOf,
  policySet,
  releaseKill,
  startingBindings,
  startingConfiguration,
  type PolicyPrincipal,
} from "../../src/governance/index.js";
import { problemsOfMarked } from "../../src/governance/config.js";
import type { Ledger } from "../../src/ledger/index.js";
import { newId } from "../../src/platform/index.js";
import { configuration, target } from "../support/governance.js";
import { commit, committed, entry, newTenant, openTestLedger } from "../support/ledger.js";
import { createDatabase } from "../support/postgres.js";

describe("documents", () => {
  test.each(configurationNames)("the built-in %s is valid, and what its schema makes of it is valid again", (name) => {
    const parsed = parseConfiguration(name, configurationDefaults[name]);
    if (parsed.kind === "problems") throw new Error(JSON.stringify(parsed.problems));
    expect(parseConfiguration(name, parsed.value)).toMatchObject({ kind: "configuration" });
  });

  test("the built-in configuration has no problem and no warning", () => {
    expect(effectiveConfiguration([])).toMatchObject({ version: "built-in", problems: [], warnings: [] });
  });

  const risk = configuration().risk;
  const refused: [string, ConfigurationName, unknown, string[]][] = [
    ["not an object", "grants", [], [""]],
    ["a member nobody reads", "grants", { grants: [], grnats: [], more: 1 }, ["/grnats", "/more"]],
    [
      "several problems at once",
      "grants",
      { grants: [{ id: "A b", principals: [], operations: ["FLY"], targets: ["*"] }] },
      ["/grants/0/id", "/grants/0/principals", "/grants/0/operations/0"],
    ],
    [
      "a pattern that does not parse",
      "grants",
      { grants: [{ id: "a", principals: ["*"], operations: ["*"], targets: ["*", "files/**"] }] },
      ["/grants/0/targets/1"],
    ],
    [
      "the same id twice",
      "policy",
      {
        rules: [
          { id: "a", effect: "forbid" },
          { id: "a", effect: "permit" },
        ],
      },
      ["/rules/1/id"],
    ],
    ["an effect that is none", "policy", { rules: [{ id: "a", effect: "allow" }] }, ["/rules/0/effect"]],
    [
      "a selector that is none",
      "policy",
      { rules: [{ id: "a", effect: "permit", principals: ["checkout-bot"] }] },
      ["/rules/0/principals/0"],
    ],
    [
      "approval without require_approval",
      "policy",
      { rules: [{ id: "a", effect: "forbid", approval: { groups: ["ui"] } }] },
      ["/rules/0/approval"],
    ],
    [
      "a permit from a level up",
      "policy",
      { rules: [{ id: "a", effect: "permit", minLevel: "HIGH" }] },
      ["/rules/0/minLevel"],
    ],
    [
      "a quorum of nobody",
      "routes",
      { categories: {}, otherwise: [{ groups: ["ui"], quorum: 0 }] },
      ["/otherwise/0/quorum"],
    ],
    [
      "a category that is none",
      "routes",
      { categories: { LAYOUT: [{ groups: ["ui"] }] }, otherwise: [{ groups: ["ui"] }] },
      ["/categories/LAYOUT"],
    ],
    [
      "a pattern in a condition",
      "routes",
      {
        categories: {},
        otherwise: [{ groups: ["ui"] }],
        additional: [{ id: "a", when: { targets: ["x"] }, stages: [{ groups: ["ui"] }] }],
      },
      ["/additional/0/when/targets/0"],
    ],
    ["weights that do not add up", "risk", { ...risk, weights: { ...risk.weights, scope: 16 } }, ["/weights"]],
    ["a factor above 100", "risk", { ...risk, operation: { ...risk.operation, update: 101 } }, ["/operation/update"]],
    ["levels out of order", "risk", { ...risk, levels: { CRITICAL: 50, HIGH: 70, MEDIUM: 30 } }, ["/levels"]],
    [
      "more items, less risk",
      "risk",
      {
        ...risk,
        quantity: {
          steps: [
            { upTo: 5, value: 20 },
            { upTo: 10, value: 10 },
          ],
          otherwise: 50,
        },
      },
      ["/quantity/steps/1/value"],
    ],
    [
      "a level without approvals",
      "risk",
      { ...risk, approvals: { CRITICAL: 3, HIGH: 2, MEDIUM: 0, LOW: 0 } },
      ["/approvals/MEDIUM"],
    ],
    [
      "a floor left out",
      "risk",
      { ...risk, floors: { ...risk.floors, production: undefined } },
      ["/floors/production"],
    ],
    [
      "a deadline longer than idempotency",
      "approvals",
      { ...configuration().approvals, deadlineHours: { LOW: 49, NORMAL: 24, HIGH: 8, CRITICAL: 2 } },
      ["/deadlineHours/LOW"],
    ],
    [
      "a window that ends before it begins",
      "freeze",
      { windows: [{ id: "w", from: "2026-11-20T10:00:00Z", until: "2026-11-20T09:00:00Z", reason: "" }], weekly: [] },
      ["/windows/0/until"],
    ],
    [
      "a week's window over midnight",
      "freeze",
      { windows: [], weekly: [{ id: "w", days: ["fri"], from: "20:00", until: "06:00", reason: "" }] },
      ["/weekly/0/until"],
    ],
    [
      "a permission that is none",
      "roles",
      { roles: { admin: { permissions: ["everything"] } }, groups: {} },
      ["/roles/admin/permissions/0"],
    ],
    [
      "nobody could bind anybody",
      "roles",
      { roles: { admin: { permissions: ["change_sets.vote", "change_sets.propose"] } }, groups: {} },
      ["/roles"],
    ],
    ["a member name with a slash", "roles", { roles: { "a/b": { permissions: [] } }, groups: {} }, ["/roles/a~1b"]],
  ];
  test.each(refused)("%s", (_, name, document, pointers) => {
    const parsed = parseConfiguration(name, document);
    if (parsed.kind === "configuration") throw new Error("accepted");
    expect(parsed.problems.map((problem) => problem.pointer)).toEqual(pointers);
    for (const problem of parsed.problems) expect(problem.message.length).toBeGreaterThan(10);
  });

  test.each([
    ["system.config/risk", configurationDefaults.risk as unknown as JsonValue, []],
    ["system.config/risk", null, []],
    ["system.config/colours", {}, ["unknown_configuration"]],
    ["system.config/", {}, ["unknown_configuration"]],
    ["elsewhere/risk", {}, ["unknown_configuration"]],
    ["system.config/grants", { grants: [{ id: "a" }] }, ["invalid_request", "invalid_request", "invalid_request"]],
    [
      "system.config/roles",
      { roles: {}, groups: {} },
      ["last_administrator", "last_administrator", "last_administrator"],
    ],
  ] as [string, JsonValue, string[]][])("as a resource: %s %j", (id, document, codes) => {
    const problems = checkConfiguration(id, document, "/items/0/after");
    expect(problems.map((problem) => problem.code)).toEqual(codes);
    for (const problem of problems) expect(problem.pointer?.startsWith("/items/0/after")).toBe(true);
  });

  test("groups and roles nobody defined are warned of, where they are asked", () => {
    const routes = {
      categories: { UI_LAYOUT: [{ groups: ["ui", "uix"] }] },
      otherwise: [{ groups: ["role:boss"] }],
      escalation: ["role:admin", "ghosts"],
    };
    const { warnings, problems } = configuration({ routes });
    expect(problems).toEqual([]);
    expect(warnings.map((warning) => warning.pointer)).toEqual([
      "/categories/UI_LAYOUT/0/groups/1",
      "/otherwise/0/groups/0",
      "/escalation/1",
    ]);
  });

  test("version and sources say what is written and what is built in", () => {
    const found = effectiveConfiguration([
      { name: "policy", revision: 2, document: { rules: [] } },
      { name: "grants", revision: 7, document: { grants: [] } },
    ]);
    expect(found.version).toBe("grants@7 policy@2");
    expect(found.sources.grants).toEqual({ source: "resource", revision: 7, document: { grants: [] } });
    expect(found.sources.risk).toEqual({ source: "default", revision: null, document: configurationDefaults.risk });
  });

  test("a broken document is a problem, its default holds, and nothing is permitted", () => {
    const found = configuration({ limits: { perHour: {} } });
    expect(found.problems).not.toEqual([]);
    expect(found.limits).toEqual(configuration().limits);
    expect(policySet(found).unreadable).toBeDefined();
  });
});

test("docs/configuration.md names every document, and shows every default role", () => {
  const text = readFileSync(new URL("../../../../docs/configuration.md", import.meta.url), "utf8");
  for (const name of Object.keys(configurationSchemas))
    expect(text).toContain(`\`${configurationId(name as ConfigurationName)}\``);
  for (const role of Object.keys(configurationDefaults.roles.roles)) expect(text).toContain(`| \`${role}\` |`);
});

describe("roles", () => {
  test.each([
    [["admin"], "principals.manage", true],
    [["member"], "change_sets.vote", true],
    [["member"], "principals.manage", false],
    [["agent"], "change_sets.propose", true],
    [["agent"], "change_sets.vote", false],
    [["auditor"], "change_sets.propose", false],
    [["auditor", "member"], "change_sets.propose", true],
    [["nobody"], "change_sets.read", false],
    [["constructor"], "change_sets.read", false],
    [[], "change_sets.read", false],
  ] as const)("%j has %s: %s", (roles, permission, expected) =>
    expect(permissionsOf(roles, configuration()).has(permission)).toBe(expected),
  );
});

describe("what init writes", () => {
  const bot: PolicyPrincipal = { id: "b", name: "bot", type: "agent", roles: ["agent"], groups: [], permissions: [] };
  test.each(tenantModes)("%s: valid, and as it says", (mode) => {
    const documents = startingConfiguration(mode, { workspace: "my:shop*" });
    const found = effectiveConfiguration(
      documents.map(({ name, document }) => ({ name, revision: 1, document: document as unknown as JsonValue })),
    );
    expect(found).toMatchObject({ problems: [], warnings: [] });
    const outcome = (operation: "UPDATE" | "read", on: string, environment?: string): string => {
      const path = on.slice(on.lastIndexOf(":") + 1);
      const about = on.startsWith("my:shop*")
        ? { kind: "file", type: "FILE", id: on, path, environment: environment ?? "development" }
        : target(on);
      return decidePolicy({ principal: bot, items: [{ sequence: 1, operation, targets: [about] }] }, policySet(found))
        .outcome;
    };
    expect(outcome("UPDATE", "my:shop*:config/app.json")).toBe("allow");
    expect(outcome("UPDATE", "my:shop*:config/app.json", "production")).toBe("require_approval");
    expect(outcome("UPDATE", "my:shop*:deploy/.ENV")).toBe("deny");
    expect(outcome("read", "my:shop*:deploy/.env")).toBe("deny");
    expect(outcome("UPDATE", "resource:development:CONFIG:a")).toBe("allow");
    expect(outcome("UPDATE", "resource:production:CONFIG:a")).toBe("deny");
    expect(outcome("read", "resource:production:CONFIG:a")).toBe("require_approval");
    expect(outcome("UPDATE", "resource:system:SYSTEM_CONFIG:system.config/grants")).toBe("deny");

    const { roles, groups } = startingBindings(mode);
    const ann = { id: "ann", name: "ann", active: true, roles, groups, keys: [{ id: "k", mintedBy: [], first: true }] };
    const assessment = {
      score: 0,
      level: "MEDIUM",
      scoreLevel: "MEDIUM",
      factors: [],
      floors: [],
      approvalsByLevel: 1,
      auto: false,
      autoWhy: "",
      recommendations: [],
    } as const;
    const context = {
      mode,
      voters: [ann],
      author: { id: "b", humansAtProposal: ["zoe"], humansNow: ["zoe"] },
      configuration: found,
    };
    const route = makeRoute(
      {
        category: "OTHER",
        assessment: { ...assessment, factors: [], floors: [], recommendations: [] },
        decision: { outcome: "allow", version: "", items: [], stages: [] },
        targets: [],
        irreversible: false,
      },
      context,
    );
    expect(route).toMatchObject({ required: 1, stages: [{ groups: ["reviewers"] }] });
    expect(permissionsOf(roles, found).has("principals.manage")).toBe(true);
  });
});

describe("from the database", () => {
  let ledger: Ledger;
  beforeAll(async () => {
    ledger = await openTestLedger((await createDatabase()).storage);
  });
  afterAll(() => ledger.close());

  const resource = (
    name: string,
    document: JsonValue,
    more: Record<string, JsonValue> = {},
  ): ReturnType<typeof entry> => {
    const id = newId();
    const row = {
      id,
      environment: "system",
      type: "SYSTEM_CONFIG",
      resource_id: `system.config/${name}`,
      document,
      deleted: false,
      revision: 1,
      hash: "0".repeat(64),
      change_set_id: null,
      ...more,
    };
    return entry({ subject: { type: "resource", id }, writes: [{ verb: "insert", table: "resources", row }] });
  };

  test("configuration: its tenant's, of the right environment and type, not deleted", async () => {
    const tenant = newTenant();
    const other = newTenant();
    expect(await ledger.snapshot(tenant, loadConfiguration)).toMatchObject({ version: "built-in" });
    await committed(
      commit(ledger, tenant, {
        entries: [
          resource("policy", { rules: [{ id: "no", effect: "forbid" }] }),
          resource("grants", { grants: [] }, { environment: "development" }),
          resource("routes", { otherwise: [] }, { type: "CONFIG" }),
          resource("freeze", null, { deleted: true, hash: null }),
          resource("schema/CONFIG", { type: "object" }),
        ],
      }),
    );
    await committed(commit(ledger, other, { entries: [resource("policy", { rules: "broken" })] }));
    expect(await ledger.snapshot(tenant, loadConfiguration)).toMatchObject({
      version: "policy@1",
      problems: [],
      warnings: [],
      policy: { rules: [{ id: "no" }] },
    });
    expect((await ledger.snapshot(other, loadConfiguration)).problems).toHaveLength(1);
  });

  test("kill-switch: engaged by one, released by two, once", async () => {
    const tenant = newTenant();
    const [ann, bob] = [newId(), newId()];
    const human = (id: string): ReturnType<typeof entry> =>
      entry({
        subject: { type: "principal", id },
        writes: [
          {
            verb: "insert",
            table: "principals",
            row: { id, kind: "human", name: id, status: "ACTIVE", created_at_ms: 1 },
          },
        ],
      });
    await committed(commit(ledger, tenant, { entries: [human(ann), human(bob)] }));
    const permissions = permissionsOf(["admin"], configuration());
    const command = (id: string) => ({
      actor: { type: "human" as const, id, humans: [id] },
      permissions,
      reason: "smoke",
    });
    const engage = (id: string) =>
      ledger.transact(tenant, loadKill, (loaded, context) =>
        engageKill(loaded, command(id), "team", configuration().limits, context),
      );
    const release = (id: string) =>
      ledger.transact(tenant, loadKill, (loaded, context) => releaseKill(loaded, command(id), "team", context));

    const engaged = await Promise.all(Array.from({ length: 20 }, () => engage(ann)));
    expect(engaged.map((outcome) => (outcome.kind === "refused" ? outcome.code : outcome.kind)).sort()).toEqual([
      ...Array<string>(19).fill("already_exists"),
      "committed",
    ]);
    expect(await release(ann)).toMatchObject({
      kind: "committed",
      result: { status: "ENGAGED", releaseVotes: 1, releaseVotesRequired: 2 },
    });
    expect(await release(ann)).toMatchObject({ kind: "refused", code: "release_needs_another" });
    expect((await ledger.snapshot(tenant, loadKill)).rows).toMatchObject([
      { status: "ENGAGED", engagedBy: ann, reason: "smoke", releaseVotes: [{ principal: ann }] },
    ]);
    expect(await release(bob)).toMatchObject({ kind: "committed", result: { status: "RELEASED" } });
    expect(await release(bob)).toMatchObject({ kind: "refused", code: "kill_not_engaged" });
    expect(await ledger.snapshot(tenant, loadKill)).toMatchObject({ rows: [], epoch: 2 });
  });
});

describe("a document of a new kind", () => {
  const schema = z.strictObject({
    channels: z.array(z.strictObject({ id: z.string(), targets: z.array(z.string()) })),
    rules: z.array(z.strictObject({ name: ruleId, about: z.array(targetPattern) })),
  });

  test("is not held to rules by the names of its members", () => {
    const channel = { id: "ops", targets: ["https://no.pattern"] };
    expect(problemsOfMarked(schema, { channels: [channel, channel], rules: [] })).toEqual([]);
  });

  test("is held to what its parts are marked as", () => {
    const rules = [
      { name: "a", about: ["*"] },
      { name: "a", about: ["files/**"] },
    ];
    expect(problemsOfMarked(schema, { channels: [], rules }, "/value")).toMatchObject([
      { code: "invalid_request", pointer: "/value/rules/1/about/0" },
      {
        code: "invalid_request",
        pointer: "/value/rules/1/name",
        message: "`a` stands at `/value/rules/0` already; give every rule its own id",
      },
    ]);
  });
});
