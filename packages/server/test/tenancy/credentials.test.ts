/** API keys and enrolment codes as text: what a scanner finds, what is refused before the database is asked. */
import { asTenantId, permissionNames } from "@countersign/contract";
import { sha256Hex } from "@countersign/proof";
import { describe, expect, test } from "vitest";
import { newId, systemRandom } from "../../src/platform/index.js";
import { narrow, permissionsOfRoles } from "../../src/tenancy/permissions.rules.js";
import { credentialLength, mintCredential, parseCredential } from "../../src/tenancy/index.js";
import { isDownward } from "../../src/tenancy/mode.rules.js";

const tenant = asTenantId(newId());
const id = newId();
const minted = mintCredential("csk", tenant, id, systemRandom);

describe("a credential", () => {
  test("names its tenant and its row, and is stored as the digest of its secret", () => {
    expect(parseCredential("csk", minted.text)).toEqual({ tenant, id, secretHash: minted.secretHash });
    expect(minted.text).toMatch(/^csk_[A-Za-z0-9_-]{43}_[A-Za-z0-9_-]{43}[0-9a-f]{6}$/);
    expect(minted.text).toHaveLength(credentialLength);
    expect(minted.secretHash).toBe(sha256Hex(minted.text.slice(48, 91)));
    expect(minted.text).not.toContain(minted.secretHash);
  });

  const at = (position: number, char: string): string =>
    minted.text.slice(0, position) + char + minted.text.slice(position + 1);
  const other = (char: string | undefined): string => (char === "A" ? "B" : "A");
  test.each([
    ["empty", ""],
    ["of another kind", minted.text.replace("csk_", "cse_")],
    ["cut", minted.text.slice(0, -1)],
    ["too long", `${minted.text}0`],
    ["with another place", at(10, other(minted.text[10]))],
    ["with another secret", at(60, other(minted.text[60]))],
    ["with another checksum", at(minted.text.length - 1, minted.text.endsWith("0") ? "1" : "0")],
    ["without its separator", at(47, "x")],
    ["with white space around", ` ${minted.text}`],
    ["with a line feed", `${minted.text}\n`],
    ["not ASCII", at(20, "é")],
    ["10 MB long", "csk_".repeat(2_500_000)],
  ])("%s is none of ours", (_, text) => {
    expect(parseCredential("csk", text)).toBeUndefined();
  });

  test("every character counts: no text but itself is parsed to it", () => {
    for (let position = 0; position < minted.text.length; position++) {
      const changed = parseCredential("csk", at(position, other(minted.text[position])));
      expect(changed).toBeUndefined();
    }
  });
});

describe("permissions", () => {
  const configuration = {
    roles: {
      reader: { description: "", permissions: ["change_sets.read" as const] },
      admin: { description: "", permissions: [...permissionNames] },
    },
    groups: {},
  };
  test.each([
    [["reader"], ["*"], ["change_sets.read"]],
    [["reader", "nobody"], ["*"], ["change_sets.read"]],
    [["__proto__", "constructor", "toString"], ["*"], []],
    [["admin"], ["change_sets.read", "kill.engage"], ["change_sets.read", "kill.engage"]],
    [["reader"], ["kill.engage"], []],
    [["admin"], [], []],
    [[], ["*"], []],
  ])("roles %j with scopes %j permit %j", (roles, scopes, expected) => {
    expect([...narrow(permissionsOfRoles(roles, configuration), scopes)].sort()).toEqual([...expected].sort());
  });
});

test.each([
  ["solo", "team", false],
  ["team", "organisation", false],
  ["organisation", "team", true],
  ["organisation", "solo", true],
  ["team", "solo", true],
  ["team", "team", false],
] as const)("from %s to %s is downward: %s", (from, to, expected) => {
  expect(isDownward(from, to)).toBe(expected);
});
