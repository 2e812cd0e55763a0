/** Cursors of lists: opaque to callers, checked when they come back. */
export type ListSort = "created" | "updated" | "risk" | "deadline";

export interface Cursor {
  readonly value: number;
  readonly id: string;
}

export function writeCursor(sort: ListSort, cursor: Cursor): string {
  return Buffer.from(JSON.stringify([sort, cursor.value, cursor.id])).toString("base64url");
}

/** Undefined: not a cursor of a list in this order. */
export function readCursor(sort: ListSort, text: string): Cursor | undefined {
  let parts: unknown;
  try {
    parts = JSON.parse(Buffer.from(text, "base64url").toString("utf8"));
  } catch {
    return undefined; // not ours: the caller is told which member is wrong
  }
  if (!Array.isArray(parts) || parts.length !== 3) return undefined;
  const [of, value, id] = parts as unknown[];
  if (of !== sort || typeof value !== "number" || !Number.isSafeInteger(value) || typeof id !== "string")
    return undefined;
  return /^[0-9a-f-]{36}$/.test(id) ? { value, id } : undefined;
}
