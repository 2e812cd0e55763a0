/** Branded ids. A value of such a type was checked when it entered the program. */
declare const brand: unique symbol;
type Brand<T, B extends string> = T & { readonly [brand]: B };

export type TenantId = Brand<string, "TenantId">;
export type PrincipalId = Brand<string, "PrincipalId">;
export type ChangeSetId = Brand<string, "ChangeSetId">;

/** Lower-case hyphenated UUID. */
export const uuidPattern = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;
/** `CS-2026-1120-001`: tenant-wide, UTC day of creation, running number of at least three digits. */
export const changeSetNumberPattern = /^CS-\d{4}-\d{4}-\d{3,}$/;
/** Lower-case hex SHA-256. */
export const digestPattern = /^[0-9a-f]{64}$/;

export function isUuid(text: string): boolean {
  return uuidPattern.test(text);
}

export function asTenantId(text: string): TenantId {
  if (!isUuid(text)) throw new Error(`not a tenant id: ${text}`);
  return text as TenantId;
}
