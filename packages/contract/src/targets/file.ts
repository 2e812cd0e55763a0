/** The file kind: files below the root of a registered workspace, by workspace and path. */
import { z } from "zod";
import { digest } from "../ids.js";
import { limits } from "../limits.js";
import type { TargetDescriptor, TargetFacts } from "./descriptor.js";

export const fileTarget = z
  .strictObject({
    kind: z.literal("file"),
    workspace: z.string().min(1).max(120).meta({ description: "Name of a registered workspace.", example: "shop" }),
    path: z
      .string()
      .min(1)
      .max(limits.pathLengthMax)
      .meta({ description: "Path below the workspace root, with `/`.", example: "config/app.json" }),
  })
  .meta({ id: "FileTarget", description: "A file below a registered workspace root." });
export type FileTarget = z.infer<typeof fileTarget>;

/** The id of a file is `<workspace>:<path>`. A workspace's name may hold colons, so the path is known by itself; not of an erased one. */
export interface FileFacts extends TargetFacts {
  readonly path?: string;
}

function parse(rest: string): FileTarget | undefined {
  const colon = rest.indexOf(":");
  const workspace = rest.slice(0, Math.max(0, colon));
  const path = rest.slice(colon + 1);
  return workspace === "" || path === "" ? undefined : { kind: "file", workspace, path };
}

export const fileDescriptor = {
  schema: fileTarget,
  imageMembers: { blob: digest.optional(), bytes: z.int().optional(), mode: z.int().optional() },
  noun: "a file",
  fields: {
    CREATE: { forms: [["content"], ["after"]], optional: ["mode"] },
    UPDATE: { forms: [["content"], ["after"], ["patch"]] },
    DELETE: {},
    RENAME: { required: ["to.path"] },
    MOVE: { forms: [["to.path"], ["pointer", "to.pointer"]] },
    CHANGE_PROPERTY: { required: ["pointer", "value"] },
    ADD_CHILD: { required: ["value"], optional: ["pointer", "key"] },
    REMOVE_CHILD: { required: ["pointer"] },
    REORDER: { required: ["order"], optional: ["pointer"] },
  },
  whole: { field: "content", of: "bytes" },
  renamedBy: "path",
  pattern: {
    parts: [
      { name: "workspace", form: "<workspace>", segments: "one" },
      {
        name: "path",
        form: "<path>",
        segments: "path",
        isBelow: "paths begin below the workspace, without `/`",
      },
    ],
    foldsCase: true,
  },
  typed: { forms: ["file:WORKSPACE:PATH"], example: "file:shop:config/app.json" },
  parse,
  text: ({ workspace, path }) => `file:${workspace}:${path}`,
  shown: ({ id }) => `file:${id}`,
  parts: ({ id, path }) =>
    path === undefined ? undefined : [id.slice(0, Math.max(0, id.length - path.length - 1)), path],
  localName: ({ id, path }) => path ?? id,
  readElsewhere: { how: "read it in its workspace", command: "countersign workspace list" },
} satisfies TargetDescriptor<FileTarget, FileFacts>;
