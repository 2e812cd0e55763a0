/** The folder of a file or git anchor, as somebody drops it: which of its files are checkpoints, which are leaf tiles. */
import { parseTilePath } from "@countersign/proof";
import type { AnchorFiles } from "./messages.js";

export interface FileAt {
  readonly path: string;
  readonly file: File;
}

/** 64 million leaves; a folder with more names its first altered entry less exactly. */
const tilesMax = 250_000;
const filesMax = 300_000;

/** One for each log in the folder (docs/anchors.md: `<origin>/checkpoints`, `<origin>/tile/0/…`). */
export function anchorsIn(name: string, found: readonly FileAt[]): AnchorFiles[] {
  const logs = new Map<string, { files: File[]; tiles: { index: number; width: number; file: File }[] }>();
  for (const { path } of found) {
    const folder = /^(.*\/)checkpoints(?:\.\d+)?$/.exec(path)?.[1];
    if (folder !== undefined && !logs.has(folder)) logs.set(folder, { files: [], tiles: [] });
  }
  for (const { path, file } of found) {
    const [, folder = "", rest = ""] = /^(.*?\/)?((?:tile\/0\/.*)|(?:checkpoints(?:\.\d+)?))$/.exec(path) ?? [];
    const log = logs.get(folder);
    if (log === undefined) continue;
    const tile = parseTilePath(rest);
    if (rest.startsWith("checkpoints")) log.files.push(file);
    else if (tile !== undefined && log.tiles.length < tilesMax)
      log.tiles.push({ index: tile.index, width: tile.width, file });
  }
  return [...logs].map(([folder, { files, tiles }]) => ({ name, origin: originOf(folder), files, tiles }));
}

function originOf(folder: string): string {
  const escaped = folder.split("/").at(-2) ?? "";
  try {
    return decodeURIComponent(escaped);
  } catch {
    // Not written by an anchor: no ledger has this origin.
    return escaped;
  }
}

/** Everything below what was dropped. Git's own files and what is beyond the bound are left out. */
export async function filesIn(entry: FileSystemEntry): Promise<FileAt[]> {
  const found: FileAt[] = [];
  const waiting = [entry];
  for (let next = waiting.pop(); next !== undefined && found.length < filesMax; next = waiting.pop()) {
    if (next.isFile) found.push({ path: next.fullPath, file: await fileOf(next as FileSystemFileEntry) });
    else if (next.name !== ".git") waiting.push(...(await entriesOf(next as FileSystemDirectoryEntry)));
  }
  return found;
}

function fileOf(entry: FileSystemFileEntry): Promise<File> {
  return new Promise((resolve, reject) => entry.file(resolve, reject));
}

/** Browsers give a hundred at a time, and then none. */
async function entriesOf(folder: FileSystemDirectoryEntry): Promise<FileSystemEntry[]> {
  const reader = folder.createReader();
  const all: FileSystemEntry[] = [];
  for (;;) {
    const some = await new Promise<FileSystemEntry[]>((resolve, reject) => reader.readEntries(resolve, reject));
    if (some.length === 0) return all;
    all.push(...some);
  }
}
