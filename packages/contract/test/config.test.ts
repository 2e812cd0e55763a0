/** Configuration documents: their defaults fit, and what is checked beyond the form hangs on marks, not on names of members. */
import { describe, expect, it } from "vitest";
import { z } from "zod";
import {
  configurationDefaults,
  configurationNames,
  configurationSchemas,
  type ConfigurationDocument,
  type ConfigurationName,
  groupName,
  markedMembers,
  ruleId,
  targetPattern,
} from "../src/index.js";

const marked = (schema: z.ZodType, document: unknown): string[] =>
  markedMembers(schema, document).map(({ mark, path }) => `${mark} ${path.join("/")}`);

describe("marks", () => {
  const scope = { principals: ["*"], operations: ["*" as const], targets: ["*", "file:*:**"] };
  const documents: { readonly [N in ConfigurationName]?: [document: ConfigurationDocument<N>, marks: string[]] } = {
    grants: [
      { grants: [{ id: "a", description: "b", ...scope }] },
      ["ruleId grants/0/id", "pattern grants/0/targets/0", "pattern grants/0/targets/1"],
    ],
    policy: [
      {
        rules: [
          { id: "a", effect: "forbid" },
          { id: "b", effect: "require_approval", targets: ["*"], approval: { groups: ["ui", "role:admin"] } },
        ],
      },
      [
        "ruleId rules/0/id",
        "ruleId rules/1/id",
        "pattern rules/1/targets/0",
        "group rules/1/approval/groups/0",
        "group rules/1/approval/groups/1",
      ],
    ],
    routes: [
      {
        categories: { SECURITY: [{ groups: ["backend"] }] },
        otherwise: [{ name: "all", groups: ["reviewers"] }],
        additional: [{ id: "a", when: { targets: ["*"] }, stages: [{ groups: ["ui"] }] }],
        escalation: ["role:admin"],
      },
      [
        "group categories/SECURITY/0/groups/0",
        "group otherwise/0/groups/0",
        "ruleId additional/0/id",
        "pattern additional/0/when/targets/0",
        "group additional/0/stages/0/groups/0",
        "group escalation/0",
      ],
    ],
    freeze: [
      {
        windows: [{ id: "a", from: "2026-01-01T00:00:00Z", until: "2026-01-02T00:00:00Z", reason: "", targets: ["*"] }],
        weekly: [{ id: "b", days: ["fri"], from: "17:00", until: "24:00", reason: "" }],
      },
      ["ruleId windows/0/id", "pattern windows/0/targets/0", "ruleId weekly/0/id"],
    ],
    categories: [{ rules: [{ category: "SECURITY", targets: ["*"] }] }, ["pattern rules/0/targets/0"]],
  };

  it.each(configurationNames)("%s", (name) => {
    const [document, marks] = documents[name] ?? [configurationDefaults[name], []];
    const { success } = configurationSchemas[name].safeParse(document);
    expect({ success, marks: marked(configurationSchemas[name], document) }).toEqual({ success: true, marks });
  });

  it("are no part of the published schema", () => {
    expect(JSON.stringify(z.toJSONSchema(configurationSchemas.policy, { io: "input" }))).not.toMatch(/"mark"|ruleId/);
  });
});

it("a member is what its schema says, whatever it is called", () => {
  const schema = z.strictObject({
    channels: z.array(z.strictObject({ id: z.string(), targets: z.array(z.string()), groups: z.array(z.string()) })),
    rules: z.record(z.string(), z.strictObject({ name: ruleId, about: z.array(targetPattern).optional() })).default({}),
    asked: z.union([groupName.meta({ description: "Another description." }), z.array(groupName)]).nullable(),
  });
  const document = {
    channels: [{ id: "x", targets: ["no pattern"], groups: ["nobody"] }],
    rules: { first: { name: "r", about: ["*"] } },
    asked: ["ui", "design"],
  };
  expect(marked(schema, document)).toEqual([
    "ruleId rules/first/name",
    "pattern rules/first/about/0",
    "group asked/0",
    "group asked/1",
  ]);
  expect(marked(schema, { channels: [], asked: "ui" })).toEqual(["group asked"]);
  expect(marked(schema, { channels: [], asked: null })).toEqual([]);
});
