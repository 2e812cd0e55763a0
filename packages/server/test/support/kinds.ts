/** Target kinds by the way they are applied, and a set of targets in which one kind is another: for tests that look into the middle. */
import type { TargetKindName } from "@countersign/contract";
import type { AtomicTargetKind, CompensatingTargetKind, TargetKind, Targets } from "../../src/targets/index.js";

export function atomicKind(targets: Targets, name: TargetKindName): AtomicTargetKind {
  const kind = targets.kind(name);
  if (!kind.atomic) throw new Error(`\`${name}\` is not atomic`);
  return kind;
}

export function compensatingKind(targets: Targets, name: TargetKindName): CompensatingTargetKind {
  const kind = targets.kind(name);
  if (kind.atomic) throw new Error(`\`${name}\` is atomic`);
  return kind;
}

export function withKind(targets: Targets, other: TargetKind): Targets {
  return { kind: (name) => (name === other.name ? other : targets.kind(name)) };
}
