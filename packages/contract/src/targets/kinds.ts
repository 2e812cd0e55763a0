/** Every target kind there is. `packages/server/src/targets/kinds.ts` has what each does, and does not compile while one is missing. */
import { fileDescriptor } from "./file.js";
import { resourceDescriptor } from "./resource.js";

export const kinds = { resource: resourceDescriptor, file: fileDescriptor };
