/** Every target kind there is. What everybody knows of each is in `packages/contract/src/targets/kinds.ts`. */
import type { TargetKindName } from "@countersign/contract";
import { file } from "./file/index.js";
import { resource } from "./resource/index.js";
import type { TargetKindModule } from "./target.js";

export const kinds = { resource, file } satisfies Readonly<Record<TargetKindName, TargetKindModule>>;
