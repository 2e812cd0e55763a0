/**
 * What an item does to a file. Pure: states come in, effects go out. `docs/targets.md` has the table.
 * INVARIANT: equal hashes are equal bytes and equal permission bits; an effect brings exactly these from one to the other.
 */
import {
  isProduction,
  limits,
  targetKind,
  visible,
  type EffectFlag,
  type FileTarget,
  type ItemInput,
  type JsonValue,
  type Problem,
} from "@countersign/contract";
import { fileStateHash, sha256Hex } from "@countersign/proof";
import { createTwoFilesPatch } from "diff";
import { checkFields } from "../fields.rules.js";
import { checkDocument, empties } from "../json/json.rules.js";
import { editJsonText, isFailure, parseJsonText, printJson, type TextFailure } from "../json/json-edit.rules.js";
import { isEdits, jsonEdits } from "../json/jsonOperations.rules.js";
import { checkPath, foldPath, parentPath, pathFlags } from "./paths.rules.js";
import { absentState, type Effect, type StateImage, type TargetRef, type TargetState } from "../target.js";

/** `id`: `<workspace>:<path>`; `key`: `file:<workspace id>:<path folded>`. */
export interface FileRef extends TargetRef {
  readonly kind: "file";
  /** Below the root, as given. */
  readonly path: string;
  /** Id of the workspace's row. */
  readonly workspaceId: string;
}

/** `hash` covers bytes and permission bits; the bytes are those of `blob`. */
export interface FileImage extends StateImage {
  readonly bytes?: number;
  readonly mode?: number;
  /** How many folders above it its creation makes; undoing the creation removes those that are empty. Not part of the hash. */
  readonly madeParents?: number;
}
export type FileEffect = Effect<FileRef, FileImage>;
export type FileTargetState = TargetState<FileImage>;

const modeDefault = 0o644;

/** Form of an item: fields, paths, content. All problems. */
export function checkFileItem(item: ItemInput, pointer: string): Problem[] {
  const rule = targetKind("file").fields[item.operation];
  if (rule === undefined) {
    return [
      {
        code: "operation_unsupported",
        message: `${item.operation} means nothing for a file; use UPDATE`,
        pointer: `${pointer}/operation`,
      },
    ];
  }
  const { path } = item.target as FileTarget;
  const problems = [
    ...checkFields(item, rule, pointer, "a file"),
    checkPath(path, `${pointer}/target/path`),
    item.to?.path === undefined ? undefined : checkPath(item.to.path, `${pointer}/to/path`),
    ...checkContent(item, pointer),
    checkMode(item, pointer),
    checkDestination(item, path, pointer),
  ];
  return problems.filter((problem) => problem !== undefined);
}

function checkContent(item: ItemInput, pointer: string): Problem[] {
  const { content, after, value, patch } = item;
  if (after !== undefined) return checkDocument(after, `${pointer}/after`);
  if (value !== undefined) return checkDocument(value, `${pointer}/value`);
  if (patch !== undefined) return checkDocument(patch as unknown as JsonValue, `${pointer}/patch`);
  if (content === undefined) return [];
  if ((content.text === undefined) === (content.base64 === undefined)) {
    return [
      {
        code: "item_invalid",
        message: "`content` takes exactly one of `text` and `base64`",
        pointer: `${pointer}/content`,
      },
    ];
  }
  const bytes = contentBytes(item).length;
  if (bytes > limits.fileBytesMax)
    return [
      {
        code: "limit_exceeded",
        message: `the file would have \`${bytes}\` bytes, more than ${limits.fileBytesMax}`,
        pointer: `${pointer}/content`,
      },
    ];
  return content.text === undefined ? [] : checkDocument(content.text, `${pointer}/content/text`);
}

function checkMode({ mode }: ItemInput, pointer: string): Problem | undefined {
  if (mode === undefined || (Number.parseInt(mode, 8) & 0o600) === 0o600) return undefined;
  return {
    code: "item_invalid",
    message: `with mode \`${mode}\` the owner could not read and write the file; use e.g. \`644\``,
    pointer: `${pointer}/mode`,
  };
}

function checkDestination(item: ItemInput, path: string, pointer: string): Problem | undefined {
  const to = item.to?.path;
  if (to === undefined) return undefined;
  if (foldPath(to) === foldPath(path))
    return {
      code: "no_effect",
      message: `\`${visible(to)}\` is the same name on some filesystems; choose another one`,
      pointer: `${pointer}/to/path`,
    };
  if (item.operation === "RENAME" && parentPath(to) !== parentPath(path)) {
    return { code: "item_invalid", message: "RENAME stays in its folder; use MOVE", pointer: `${pointer}/to/path` };
  }
  return undefined;
}

export interface WorkspaceFacts {
  readonly id: string;
  readonly name: string;
  readonly environment: string;
}

export function fileRef(workspace: WorkspaceFacts, path: string): FileRef {
  return {
    kind: "file",
    type: "FILE",
    id: `${workspace.name}:${path}`,
    environment: workspace.environment,
    key: `file:${workspace.id}:${foldPath(path)}`,
    path,
    workspaceId: workspace.id,
  };
}

/** The targets of a checked item: the file, and where it goes. */
export function fileTargets(item: ItemInput, workspace: WorkspaceFacts): [FileRef, ...FileRef[]] {
  const source = fileRef(workspace, (item.target as FileTarget).path);
  return item.to?.path === undefined ? [source] : [source, fileRef(workspace, item.to.path)];
}

export function fileImage(bytes: Uint8Array, mode: number): FileImage {
  return { exists: true, hash: fileStateHash(bytes, mode), blob: sha256Hex(bytes), bytes: bytes.length, mode };
}

/** A state with its bytes, as planning sees it. */
export interface FileView extends FileTargetState {
  readonly ref: FileRef;
  /** Folders above it that are not there. */
  readonly missingParents: number;
}

export interface FilePlan {
  readonly effects: readonly FileEffect[];
  readonly diff: JsonValue;
  readonly blobs: ReadonlyMap<string, Uint8Array>;
  readonly flags: readonly EffectFlag[];
}

/** What the item does to these states (in the order of `fileTargets`). */
export function planFile(item: ItemInput, views: readonly FileView[], pointer: string): FilePlan | readonly Problem[] {
  const [source, destination] = views;
  if (source === undefined) throw new Error("an item has a target");
  const path = visible(source.ref.path);
  if (item.operation === "CREATE") {
    if (source.image.exists)
      return [
        {
          code: "target_exists",
          message: `\`${path}\` is there already; use UPDATE`,
          pointer: `${pointer}/target/path`,
        },
      ];
    return create(item, source, pointer);
  }
  if (!source.image.exists)
    return [
      {
        code: "target_not_found",
        message: `there is no file \`${path}\`; use CREATE`,
        pointer: `${pointer}/target/path`,
      },
    ];
  if (item.operation === "DELETE") return remove(source);
  if (destination !== undefined) return move(source, destination, pointer);
  return update(item, source, pointer);
}

const bytesOf = (state: FileTargetState): Uint8Array => {
  if (state.bytes === undefined) throw new Error("the state of a file is planned with its bytes");
  return state.bytes;
};

function withBytes(...pairs: readonly [FileImage, Uint8Array][]): Map<string, Uint8Array> {
  return new Map(pairs.flatMap(([image, bytes]) => (image.blob === undefined ? [] : [[image.blob, bytes] as const])));
}

function create(item: ItemInput, source: FileView, pointer: string): FilePlan | Problem[] {
  const bytes = contentBytes(item);
  if (bytes.length > limits.fileBytesMax)
    return [
      {
        code: "limit_exceeded",
        message: `the file would have \`${bytes.length}\` bytes, more than ${limits.fileBytesMax}`,
        pointer,
      },
    ];
  const image = fileImage(bytes, item.mode === undefined ? modeDefault : Number.parseInt(item.mode, 8));
  const after = source.missingParents > 0 ? { ...image, madeParents: source.missingParents } : image;
  const effects = [{ target: source.ref, before: absentState.image, after }];
  return {
    effects,
    diff: diffFiles(source.ref, absentState, { image: after, bytes }),
    blobs: withBytes([after, bytes]),
    flags: fileFlags(effects),
  };
}

function remove(source: FileView): FilePlan {
  const bytes = bytesOf(source);
  const effects = [{ target: source.ref, before: source.image, after: absentState.image }];
  return {
    effects,
    diff: diffFiles(source.ref, source, absentState),
    blobs: withBytes([source.image, bytes]),
    flags: fileFlags(effects),
  };
}

function move(source: FileView, destination: FileView, pointer: string): FilePlan | Problem[] {
  const to = destination.ref.path;
  if (destination.image.exists)
    return [
      {
        code: "target_exists",
        message: `\`${visible(to)}\` is there already; choose another path`,
        pointer: `${pointer}/to/path`,
      },
    ];
  const { madeParents: _made, ...image } = source.image;
  const after = destination.missingParents > 0 ? { ...image, madeParents: destination.missingParents } : image;
  // The new file first: at no moment the bytes are nowhere.
  const effects = [
    { target: destination.ref, before: absentState.image, after },
    { target: source.ref, before: image, after: absentState.image },
  ];
  return {
    effects,
    diff: { format: "moved", from: source.ref.path, to },
    blobs: withBytes([image, bytesOf(source)]),
    flags: fileFlags(effects),
  };
}

function update(item: ItemInput, source: FileView, pointer: string): FilePlan | readonly Problem[] {
  const before = bytesOf(source);
  const next =
    item.content === undefined ? editedBytes(item, before, pointer) : { bytes: contentBytes(item), destructive: false };
  if ("length" in next) return next;
  if (next.bytes.length > limits.fileBytesMax)
    return [
      {
        code: "limit_exceeded",
        message: `the file would have \`${next.bytes.length}\` bytes, more than ${limits.fileBytesMax}`,
        pointer,
      },
    ];
  const after = fileImage(next.bytes, source.image.mode ?? modeDefault);
  if (after.hash === source.image.hash)
    return [
      {
        code: "no_effect",
        message: `\`${visible(source.ref.path)}\` is like that already; leave the item out`,
        pointer,
      },
    ];
  const effects = [{ target: source.ref, before: source.image, after }];
  const flags = new Set(fileFlags(effects));
  if (next.destructive || next.bytes.length === 0) flags.add("destructive");
  return {
    effects,
    diff: diffFiles(source.ref, source, { image: after, bytes: next.bytes }),
    blobs: withBytes([source.image, before], [after, next.bytes]),
    flags: [...flags],
  };
}

function contentBytes(item: ItemInput): Uint8Array {
  const { content, after } = item;
  if (content?.text !== undefined) return Buffer.from(content.text, "utf8");
  if (content?.base64 !== undefined) return Buffer.from(content.base64, "base64");
  return Buffer.from(printJson(after as JsonValue), "utf8");
}

/** The bytes of a JSON file after an edit that keeps its formatting. */
function editedBytes(
  item: ItemInput,
  before: Uint8Array,
  pointer: string,
): { readonly bytes: Uint8Array; readonly destructive: boolean } | readonly Problem[] {
  const text = decodeUtf8(before);
  const source = text === undefined ? undefined : parseJsonText(text);
  if (source === undefined)
    return [{ code: "item_invalid", message: "the file is not UTF-8 text; send `content` instead", pointer }];
  if (isFailure(source)) return [textProblem(source, item, pointer)];
  const edits = jsonEdits(source.document, item, pointer);
  if (!isEdits(edits)) return edits;
  const edited = editJsonText(source, edits);
  if (typeof edited !== "string") return [textProblem(edited, item, pointer)];
  const after = parseJsonText(edited);
  const destructive = !isFailure(after) && empties(source.document, after.document);
  return { bytes: Buffer.from(edited, "utf8"), destructive };
}

function textProblem(failure: TextFailure, item: ItemInput, pointer: string): Problem {
  const own = failure.step !== undefined && item.patch !== undefined;
  return {
    code: failure.code,
    message: own ? `operation \`${failure.step}\` of the patch: ${failure.reason}` : failure.reason,
    pointer: own ? `${pointer}/patch/${failure.step}` : pointer,
  };
}

/** Undefined if the bytes are not UTF-8. A byte order mark is kept. */
function decodeUtf8(bytes: Uint8Array): string | undefined {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    // Not UTF-8: the caller treats it as binary.
    return undefined;
  }
}

const executable = 0o111;

function fileFlags(effects: readonly FileEffect[]): EffectFlag[] {
  const flags = new Set<EffectFlag>();
  const moves = effects.length === 2;
  for (const { target, before, after } of effects) {
    for (const flag of pathFlags(target.path)) flags.add(flag);
    if (((before.mode ?? 0) | (after.mode ?? 0)) & executable) flags.add("code_bearing");
    if (before.exists && !after.exists && !moves) flags.add("destructive");
    if (isProduction(target.environment)) flags.add("production");
  }
  return [...flags];
}

/** Edit distance up to which a difference is searched, and the characters of it that are kept. */
const editLengthMax = 4_000;
const unifiedLengthMax = 256 * 1024;

/** What a person sees: a unified difference of texts; sizes and digests always. */
export function diffFiles(ref: FileRef, before: FileTargetState, after: FileTargetState): JsonValue {
  const sides = { before: side(before), after: side(after) };
  const [old, next] = [textOf(before), textOf(after)];
  if (old === undefined || next === undefined) return { format: "binary", ...sides };
  const unified = unifiedDiff(ref.path, old, next);
  return { format: "text", unified: unified ?? null, ...sides };
}

function side({ image }: FileTargetState): JsonValue {
  return image.exists
    ? { bytes: image.bytes ?? 0, digest: image.blob ?? "", mode: (image.mode ?? 0).toString(8).padStart(4, "0") }
    : null;
}

/** "" when absent; undefined when it is no text. */
function textOf(state: FileTargetState): string | undefined {
  if (!state.image.exists) return "";
  const text = decodeUtf8(bytesOf(state));
  return text === undefined || text.includes("\u0000") ? undefined : text;
}

/** Undefined when it would be too long to read. */
function unifiedDiff(path: string, before: string, after: string): string | undefined {
  const name = path.replace(/\p{Cc}/gu, "?");
  const unified = createTwoFilesPatch(`a/${name}`, `b/${name}`, before, after, undefined, undefined, {
    context: 3,
    maxEditLength: editLengthMax,
  });
  return unified === undefined || unified.length > unifiedLengthMax ? undefined : unified;
}
