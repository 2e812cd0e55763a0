/**
 * Recorded histories of JSON files, as `examples/histories/SOURCE.txt` describes them: read, checked, and ordered into
 * chains, one a path, each edit made on what the one before left.
 */
import { readdirSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";
import { brotliDecompressSync, gunzipSync } from "node:zlib";
import { z } from "zod";
import { limits, type JsonValue } from "@countersign/contract";
import { CliError } from "../exit.js";

const edit = z.object({
  commit: z.string().min(1),
  path: z.string().min(1),
  change: z.enum(["A", "M", "D"]),
  before: z.json().nullable(),
  after: z.json().nullable(),
  author: z.string().trim().min(1).max(limits.principalNameLengthMax),
  date: z.string(),
  message: z.string(),
});
export type Edit = Omit<z.infer<typeof edit>, "before" | "after"> & {
  readonly before: JsonValue;
  readonly after: JsonValue;
};

export interface History {
  readonly name: string;
  readonly edits: readonly Edit[];
}

/** The target kind of a path's replay: every third path is a file, a resource, and both in one change-set. */
export type Shape = "file" | "resource" | "both";

export interface Chain {
  readonly history: string;
  readonly path: string;
  readonly shape: Shape;
  readonly edits: readonly Edit[];
}

const endings = [".jsonl", ".jsonl.gz", ".jsonl.br"] as const;

/** Every history of a folder, by name. Throws `file_unreadable` and `file_malformed`. */
export function readHistories(folder: string): History[] {
  const files = listed(folder).filter((file) => endings.some((ending) => file.endsWith(ending)));
  if (files.length === 0)
    throw new CliError(
      "file_malformed",
      `there is no history in \`${folder}\`: no file ends with ${endings.join(", ")}`,
      {
        help: ["countersign demo   (without --histories: the included ones)"],
      },
    );
  return files.sort().map((file) => ({
    name: basename(file).replace(/\.jsonl(\.gz|\.br)?$/, ""),
    edits: readEdits(join(folder, file)),
  }));
}

function listed(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch (cause) {
    throw new CliError("file_unreadable", `cannot read the folder \`${folder}\` of histories`, { cause });
  }
}

function readEdits(file: string): Edit[] {
  let text: string;
  try {
    const bytes = readFileSync(file);
    text = (
      file.endsWith(".gz") ? gunzipSync(bytes) : file.endsWith(".br") ? brotliDecompressSync(bytes) : bytes
    ).toString("utf8");
  } catch (cause) {
    throw new CliError("file_unreadable", `cannot read the history \`${file}\``, { cause });
  }
  return text
    .split("\n")
    .filter((line) => line !== "")
    .map((line, index) => readEdit(line, `${basename(file)}:${index + 1}`));
}

function readEdit(line: string, place: string): Edit {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch (cause) {
    throw new CliError("file_malformed", `\`${place}\` is not JSON`, { cause });
  }
  const checked = edit.safeParse(value);
  if (checked.success) return checked.data as Edit;
  const [issue] = checked.error.issues;
  throw new CliError(
    "file_malformed",
    `\`${place}\` is no recorded edit: \`${issue?.path.join("/") ?? ""}\` ${issue?.message ?? ""}`,
  );
}

/** The first `limit` edits, an equal share of each history, as chains. */
export function chainsOf(histories: readonly History[], limit: number): Chain[] {
  const shapes: readonly Shape[] = ["file", "resource", "both"];
  const chains: Chain[] = [];
  for (const [index, history] of histories.entries()) {
    const share = Math.floor((limit + index) / histories.length);
    const byPath = new Map<string, Edit[]>();
    for (const one of history.edits.slice(0, share)) byPath.set(one.path, [...(byPath.get(one.path) ?? []), one]);
    for (const [path, edits] of byPath)
      chains.push({ history: history.name, path, shape: shapes[chains.length % shapes.length] ?? "file", edits });
  }
  return chains;
}
