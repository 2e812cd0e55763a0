/** The file kind, as the list of kinds has it; what it does is in `kind.ts`, what an item does to a file in `file.rules.ts`. */
import { homedir } from "node:os";
import type { TargetKindModule, TargetRules } from "../target.js";
import { fileRef, type FileImage, type FileRef } from "./file.rules.js";
import { fileKind } from "./kind.js";
import { keyPaths } from "./paths.rules.js";
import { allWorkspaces } from "./queries.js";

/** The bytes themselves are held against their hash when they are written. */
const isTrueImage = ({ exists, hash, blob }: FileImage): boolean =>
  exists ? blob !== undefined : hash === null && blob === undefined;

/** Only what comes from the database may lack a path or a workspace. */
function isTrueRef({ environment, key, path, workspaceId }: Partial<FileRef>): boolean {
  if (path === undefined || workspaceId === undefined || environment === undefined) return false;
  return fileRef({ id: workspaceId, name: "", environment }, path).key === key;
}

const rules: TargetRules<FileRef, FileImage> = {
  isTrue: ({ target, before, after }) => isTrueRef(target) && isTrueImage(before) && isTrueImage(after),
  // Not the bytes: an item is stored as jsonb, which forgets the order of members, so new JSON in a file may come out in another order
  // when it is planned again. What is written are the stored bytes, in the order they were sent and approved.
  outcome: ({ exists }) => exists,
  characters: () => 0,
  backups: ({ target, before }) =>
    before.blob === undefined
      ? []
      : [{ targetKey: target.key, digest: before.blob, bytes: before.bytes ?? 0, mode: before.mode ?? 0 }],
  needs: ({ workspaceId }) => [{ subjectId: workspaceId, rows: [{ table: "workspaces", id: workspaceId }] }],
  bareTarget: (_, erased) => ({ kind: "file", workspace: erased, path: erased }),
  bareImage: ({ exists, hash, blob, bytes, mode }) => ({
    exists,
    hash,
    ...(blob === undefined ? {} : { blob }),
    ...(bytes === undefined ? {} : { bytes }),
    ...(mode === undefined ? {} : { mode }),
  }),
  stays: { what: "files in workspaces, and git with their history", beyond: true },
  openKeys: async (snapshot) => {
    const names = new Map((await allWorkspaces(snapshot)).map(({ id, name }) => [id, name]));
    return (key) => {
      const [, workspace = "", ...path] = key.split(":");
      return [names.get(workspace), path.join(":")];
    };
  },
};

export const file: TargetKindModule = {
  rules,
  open: ({ dataDirectory, deniedPaths = [], keys = { home: homedir(), env: process.env } }) =>
    fileKind({ denied: [dataDirectory, ...deniedPaths, ...keyPaths(keys)] }),
};
