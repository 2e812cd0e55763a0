/** Values for tests of governance: short ways to write targets, people and configurations. */
import type { EffectFlag, FileFacts, ItemOperation, JsonValue } from "@countersign/contract";
import { effectiveConfiguration, type Configuration, type RiskItem, type Voter } from "../../src/governance/index.js";

/** `resource:<environment>:<TYPE>:<id>` or `file:<workspace>:<path>`, without escapes. */
export function target(text: string, environment = "development"): FileFacts {
  const [kind, a = "", b = "", ...rest] = text.split(":");
  if (kind === "file") {
    const path = [b, ...rest].join(":");
    return { kind, type: "FILE", id: `${a}:${path}`, path, environment };
  }
  return { kind: "resource", type: b, id: rest.join(":"), environment: a };
}

export function item(
  operation: ItemOperation,
  name: string,
  flags: readonly EffectFlag[] = [],
  reversibility: RiskItem["reversibility"] = "exact",
): RiskItem {
  return { operation, targets: [target(name)], flags, reversibility };
}

export function configuration(documents: Readonly<Record<string, JsonValue>> = {}): Configuration {
  return effectiveConfiguration(Object.entries(documents).map(([name, document]) => ({ name, revision: 1, document })));
}

/** An active human with one key they enrolled with a code from `mintedBy`. */
export function voter(name: string, groups: readonly string[], more: Partial<Voter> = {}): Voter {
  return {
    id: name,
    name,
    active: true,
    roles: ["member"],
    groups,
    keys: [{ id: `key-${name}`, mintedBy: [], first: true }],
    ...more,
  };
}
