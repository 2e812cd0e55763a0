/** Nothing is signed that is not what the screen shows. */
import { approvalDigest, revisionDigestOfItems, type JsonObject } from "@countersign/proof";
import type { ChangeSetView, PolicyDecision } from "@countersign/contract";
import { expect, test } from "vitest";
import { checkedDigest } from "../../src/cli/signing.js";
import { policyOutcome } from "../../src/governance/index.js";

const decision: PolicyDecision = {
  outcome: "require_approval",
  version: "policy@3",
  items: [{ sequence: 1, outcome: "require_approval", policies: ["production-needs-a-person"], why: "because" }],
  stages: [{ name: "extra", groups: ["backend"], quorum: 1 }],
};
const route = { mode: "team", required: 1, uncapped: 2, capped: true, auto: false, stages: [], escalation: [] };
const nonce = "0".repeat(64);
const item = {
  sequence: 1,
  position: 1,
  input: {
    operation: "UPDATE",
    target: { kind: "resource", type: "CONFIG", id: "a", environment: "production" },
    after: { v: 2 },
  },
  effects: [
    {
      target: { key: "a" },
      before: { exists: true, hash: "1".repeat(64) },
      after: { exists: true, hash: "2".repeat(64) },
    },
  ],
  reversibility: "exact",
};
const revision = revisionDigestOfItems(nonce, [item]);
const said = approvalDigest({ revision, route, riskLevel: "HIGH", policy: policyOutcome(decision) as JsonObject });
const view = {
  number: "CS-1",
  status: "PENDING_APPROVAL",
  approvalDigest: said,
  revisionDigest: revision,
  revisionNonce: nonce,
  items: [item],
  route,
  riskLevel: "HIGH",
  policy: decision,
} as unknown as ChangeSetView;

test("what governance hashed is what the command line recomputes", () => {
  expect(checkedDigest(view)).toBe(said);
});

test.each([
  ["another item on the screen", { items: [{ ...item, input: { ...item.input, after: { v: 3 } } }] }],
  [
    "another state on the screen",
    { items: [{ ...item, effects: [{ ...item.effects[0], after: { hash: "3".repeat(64) } }] }] },
  ],
  ["an item left out", { items: [] }],
  ["another revision", { revisionDigest: "b".repeat(64) }],
  ["a lower risk on the screen", { riskLevel: "LOW" }],
  ["another route on the screen", { route: { ...route, required: 2 } }],
  ["another policy outcome on the screen", { policy: { ...decision, outcome: "allow" } }],
  ["another digest", { approvalDigest: "c".repeat(64) }],
  ["nothing to vote on", { approvalDigest: null }],
])("%s: refused", (_name, change) => {
  expect(() => checkedDigest({ ...view, ...change } as ChangeSetView)).toThrow(/nothing was signed|nothing to vote on/);
});
