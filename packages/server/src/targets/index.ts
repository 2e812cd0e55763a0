/**
 * Targets: the things change-sets change. One kind a file; `target.ts` has the seam and its promises, `docs/targets.md` what
 * each operation does.
 */
import { homedir } from "node:os";
import { fileKind } from "./file.js";
import { fileRef } from "./file.rules.js";
import { keyPaths } from "./paths.rules.js";
import { resourceKind, type CheckConfiguration } from "./resource.js";
import { documentImage, resourceRef } from "./resource.rules.js";
import type { AtomicTargetKind, CompensatingTargetKind, Effect, StateImage, TargetKind, TargetRef } from "./target.js";
import type { TargetKindName } from "@countersign/contract";

export * from "./target.js";
export { openBlobs } from "./blobs.js";
export { eraseSubject } from "./erase.js";
export { targetHandlers } from "./operations.js";
export { resourceRef } from "./resource.rules.js";
export type { CheckConfiguration } from "./resource.js";
export {
  allWorkspaces,
  listResources,
  resourceByName,
  resourceName,
  resourceVersions,
  workspaceById,
  workspaceByName,
  type ResourceFilter,
  type ResourceRow,
  type ResourceVersionRow,
  type WorkspaceRow,
} from "./queries.js";
export {
  registerWorkspace,
  removeWorkspace,
  type WorkspaceChange,
  type WorkspaceContext,
  type WorkspaceInput,
} from "./workspaces.js";

export interface TargetsOptions {
  /** Denied to every file target, whatever root it lies below. */
  readonly dataDirectory: string;
  /** Further files and folders that are denied. */
  readonly deniedPaths?: readonly string[];
  /** Where the keys and tokens of the person are that the server runs as; by default this process's. */
  readonly keys?: { readonly home: string; readonly env: Readonly<Record<string, string | undefined>> };
  readonly checkConfiguration: CheckConfiguration;
}

export interface Targets {
  readonly resource: AtomicTargetKind;
  readonly file: CompensatingTargetKind;
  kind(name: TargetKindName): TargetKind;
}

export function createTargets({
  dataDirectory,
  deniedPaths = [],
  keys = { home: homedir(), env: process.env },
  checkConfiguration,
}: TargetsOptions): Targets {
  const resource = resourceKind({ checkConfiguration });
  const file = fileKind({ denied: [dataDirectory, ...deniedPaths, ...keyPaths(keys)] });
  return { resource, file, kind: (name) => (name === "resource" ? resource : file) };
}

/**
 * Whether an effect says what its digest covers: its key is that of its target, and the hashes of its states are those of
 * what they hold. (The bytes of files are held against their hash when they are written.)
 */
export function isTrueToDigest({ target, before, after }: Effect): boolean {
  return keyOf(target) === target.key && isTrueImage(target, before) && isTrueImage(target, after);
}

function keyOf({ kind, environment, type, id, path, workspaceId }: TargetRef): string | undefined {
  if (kind === "resource") return resourceRef(environment, type, id).key;
  return path === undefined || workspaceId === undefined
    ? undefined
    : fileRef({ id: workspaceId, name: "", environment }, path).key;
}

function isTrueImage({ kind }: TargetRef, { exists, hash, document, blob }: StateImage): boolean {
  if (!exists) return hash === null && document === undefined && blob === undefined;
  return kind === "resource" ? document !== undefined && documentImage(document).hash === hash : blob !== undefined;
}

/** What must be kept before these effects are acted out: the bytes they replace or remove. */
export interface BackupNeed {
  readonly targetKey: string;
  readonly digest: string;
  readonly bytes: number;
  readonly mode: number;
}

/** The backups of effects on files, in their order; `act` stores the bytes, the caller's `backups` rows name them. */
export function backupsOf(effects: readonly Effect[]): BackupNeed[] {
  return effects.flatMap(({ target, before }) =>
    before.blob === undefined
      ? []
      : [{ targetKey: target.key, digest: before.blob, bytes: before.bytes ?? 0, mode: before.mode ?? 0 }],
  );
}
