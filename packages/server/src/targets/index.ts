/**
 * Targets: the things change-sets change. `target.ts` has the seam and its promises, `kinds.ts` the list of kinds, a folder each; what
 * each operation does is in `docs/targets.md`. Nobody outside a kind's folder asks which kind a target is of.
 */
import type { Refusal, TargetKindName } from "@countersign/contract";
import { isRefusal } from "@countersign/contract";
import type { ErasureBy, ErasureSubject, Ledger, ModuleErasure, Snapshot } from "../ledger/index.js";
import { kinds } from "./kinds.js";
import type {
  BackupNeed,
  Effect,
  PartsOfKey,
  PlannedItem,
  TargetKind,
  TargetKindModule,
  TargetRules,
  TargetsOptions,
} from "./target.js";

export * from "./target.js";
export { openBlobs } from "./blobs.js";
export { gate } from "./locks.js";
export { targetHandlers } from "./operations.js";
export {
  listResources,
  resourceByName,
  resourceName,
  resourceVersions,
  type ResourceFilter,
  type ResourceRow,
  type ResourceVersionRow,
} from "./resource/queries.js";
export { resourceRef } from "./resource/resource.rules.js";
export { allWorkspaces, workspaceById, workspaceByName, type WorkspaceRow } from "./file/queries.js";
export {
  registerWorkspace,
  removeWorkspace,
  type WorkspaceChange,
  type WorkspaceContext,
  type WorkspaceInput,
} from "./file/workspaces.js";

export interface Targets {
  kind(name: TargetKindName): TargetKind;
}

const modules = Object.entries(kinds) as [TargetKindName, TargetKindModule][];

export function createTargets(options: TargetsOptions): Targets {
  const opened = new Map(modules.map(([name, module]) => [name, module.open(options)]));
  return {
    kind: (name) => {
      const kind = opened.get(name);
      if (kind === undefined) throw new Error(`there is no target kind \`${name}\``);
      return kind;
    },
  };
}

/** What can be said of stored targets and states of a kind; undefined of a kind that there is not. */
export function findTargetRules(kind: string): TargetRules | undefined {
  return Object.hasOwn(kinds, kind) ? (kinds[kind as TargetKindName] as TargetKindModule).rules : undefined;
}

export function targetRules(kind: TargetKindName): TargetRules {
  const rules = findTargetRules(kind);
  if (rules === undefined) throw new Error(`there is no target kind \`${kind}\``);
  return rules;
}

/** Whether an effect says what its digest covers. One of a kind that there is not says nothing. */
export function isTrueToDigest(effect: Effect): boolean {
  try {
    return findTargetRules(effect.target.kind)?.isTrue(effect) ?? false;
  } catch {
    return false; // a row that was changed by hand may hold anything: what cannot be read is not true
  }
}

/** The backups of effects, in their order; `act` stores the bytes, the caller's `backups` rows name them. */
export function backupsOf(effects: readonly Effect[]): BackupNeed[] {
  return effects.flatMap((effect) => targetRules(effect.target.kind).backups(effect));
}

/** Characters of text that a planned item keeps. */
export function charactersOf({ effects }: PlannedItem): number {
  const size = ({ target, before, after }: Effect): number => {
    const rules = targetRules(target.kind);
    return rules.characters(before) + rules.characters(after);
  };
  return effects.reduce((sum, effect) => sum + size(effect), 0);
}

/** Reads keys of targets of all kinds; the kind stands before the first colon. */
export async function openKeys(snapshot: Snapshot): Promise<PartsOfKey> {
  const readers = new Map<string, PartsOfKey>();
  for (const [name, { rules }] of modules) readers.set(name, await rules.openKeys(snapshot));
  return (key) => readers.get(key.slice(0, key.indexOf(":")))?.(key);
}

/** What erasing leaves of targets, of every kind there is: what lies beyond our reach first. */
export function targetsThatStay(): string[] {
  const stays = modules.map(([, { rules }]) => rules.stays);
  return [...stays.filter(({ beyond }) => beyond), ...stays.filter(({ beyond }) => !beyond)].map(({ what }) => what);
}

/** What erasing a subject takes away of what the kinds themselves keep. */
export async function eraseSubject(
  ledger: Pick<Ledger, "attest">,
  snapshot: Snapshot,
  subject: ErasureSubject,
  by: ErasureBy,
): Promise<ModuleErasure | Refusal> {
  const parts: ModuleErasure[] = [];
  for (const [, { rules }] of modules) {
    const part = await rules.erase?.(ledger, snapshot, subject, by);
    if (part === undefined) continue;
    if (isRefusal(part)) return part;
    parts.push(part);
  }
  return {
    writes: parts.flatMap(({ writes }) => writes),
    entries: parts.flatMap(({ entries = [] }) => entries),
    guards: parts.flatMap(({ guards = [] }) => guards),
    erased: parts.flatMap(({ erased }) => erased),
    notReached: parts.flatMap(({ notReached = [] }) => notReached),
  };
}
