/** The resource kind, as the list of kinds has it; what it does is in `kind.ts`, what an item does to a document in `resource.rules.ts`. */
import type { TargetKindModule, TargetRules } from "../target.js";
import { eraseSubject } from "./erase.js";
import { resourceKind } from "./kind.js";
import { documentImage, type ResourceImage, type ResourceRef, resourceRef } from "./resource.rules.js";

const isTrueImage = ({ exists, hash, document, blob }: ResourceImage): boolean =>
  exists
    ? document !== undefined && documentImage(document).hash === hash
    : hash === null && document === undefined && blob === undefined;

const rules: TargetRules<ResourceRef, ResourceImage> = {
  isTrue: ({ target, before, after }) =>
    resourceRef(target.environment, target.type, target.id).key === target.key &&
    isTrueImage(before) &&
    isTrueImage(after),
  outcome: ({ hash }) => hash,
  characters: ({ document }) => (document === undefined ? 0 : JSON.stringify(document).length),
  // Every revision of a document is kept in the database.
  backups: () => [],
  // It lies in the database itself, and is held against the ledger when it is changed.
  needs: () => [],
  bareTarget: (environment, erased) => ({ kind: "resource", type: erased, id: erased, environment }),
  bareImage: ({ exists, hash }) => ({ exists, hash }),
  stays: { what: "JSON resources as they are now", beyond: false },
  openKeys: async () => (key) => {
    const [, environment, type, ...id] = key.split(":");
    return [environment, type, id.join(":")];
  },
  erase: eraseSubject,
};

export const resource: TargetKindModule = { rules, open: resourceKind };
