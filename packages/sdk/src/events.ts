/** Server-sent events of the ledger's tail (WHATWG HTML §9.2), as far as our server writes them. */
import { errorCatalogue, type EntryView, type ErrorCode } from "@countersign/contract";

export interface EntryEvent {
  readonly kind: "entry";
  readonly id: number | undefined;
  readonly entry: EntryView;
}
/** No new entry; only the reader's position. */
export interface PlaceEvent {
  readonly kind: "place";
  readonly id: number | undefined;
}
export interface EndEvent {
  readonly kind: "end";
  readonly id: number | undefined;
  readonly code: ErrorCode;
  readonly message: string;
}
export type TailEvent = EntryEvent | PlaceEvent | EndEvent;

/** Takes lines without their line feeds and returns events. Unknown events are skipped. */
export async function* readEvents(lines: AsyncIterable<string>): AsyncGenerator<TailEvent, void, undefined> {
  let fields = new Map<string, string>();
  for await (const raw of lines) {
    const line = raw.endsWith("\r") ? raw.slice(0, -1) : raw;
    if (line !== "") {
      const cut = line.indexOf(":");
      if (cut > 0) fields.set(line.slice(0, cut), line.slice(cut + 1).replace(/^ /, ""));
      continue;
    }
    const event = eventOf(fields);
    fields = new Map();
    if (event !== undefined) yield event;
  }
}

function eventOf(fields: ReadonlyMap<string, string>): TailEvent | undefined {
  const text = fields.get("id") ?? "";
  const id = /^(-1|\d{1,16})$/.test(text) ? Number(text) : undefined;
  const data = fields.get("data");
  if (data === undefined) return id === undefined ? undefined : { kind: "place", id };
  const value = parsed(data);
  if (value === undefined) return undefined;
  if (fields.get("event") === "entry") return { kind: "entry", id, entry: value as EntryView };
  const { code, message } = value as { code?: unknown; message?: unknown };
  if (fields.get("event") !== "end" || typeof code !== "string" || !Object.hasOwn(errorCatalogue, code))
    return undefined;
  return { kind: "end", id, code: code as ErrorCode, message: String(message) };
}

function parsed(text: string): object | undefined {
  try {
    const value = JSON.parse(text) as unknown;
    return typeof value === "object" && value !== null ? value : undefined;
  } catch {
    return undefined; // cut off in the middle: it comes again after the reader has connected again
  }
}
