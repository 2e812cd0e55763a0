/**
 * The rows and entries of issued credentials. The issuer is on record, because it decides who counts as a second
 * person.
 */
import { limits } from "@countersign/contract";
import { dayMs, minuteMs } from "../platform/index.js";
import type { DecideContext, EntryDraft, Write } from "../ledger/index.js";
import type { Caller } from "./caller.js";
import type { MintedCredential } from "./credentials.rules.js";
import { everyScope } from "./permissions.rules.js";
import { type ApiKeyRow, insert, type New } from "./rows.js";

/** Scopes as they are stored: all that the principal may, unless some are named. */
export function checkedScopes(scopes: readonly string[] | undefined): readonly string[] {
  return scopes === undefined ? [everyScope] : [...new Set(scopes)];
}

export function keyMinted(
  by: Pick<Caller, "actor">,
  minted: MintedCredential,
  key: {
    readonly principalId: string;
    readonly name: string;
    readonly scopes: readonly string[];
    readonly days: number;
  },
  context: DecideContext,
  writes: readonly Write[] = [],
): { readonly row: New<ApiKeyRow>; readonly entry: EntryDraft } {
  const row: New<ApiKeyRow> = {
    id: minted.id,
    principal_id: key.principalId,
    name: key.name,
    secret_hash: minted.secretHash,
    scopes: key.scopes,
    created_by: by.actor.type === "system" ? null : by.actor.id,
    created_at_ms: context.nowMs,
    expires_at_ms: context.nowMs + key.days * dayMs,
    revoked_at_ms: null,
  };
  const entry: EntryDraft = {
    actor: by.actor,
    action: "principal.api_key_minted",
    subject: { type: "principal", id: key.principalId },
    data: { apiKey: row.id, scopes: [...key.scopes], expiresAtMs: row.expires_at_ms },
    body: { name: key.name },
    writes: [insert("api_keys", row), ...writes],
  };
  return { row, entry };
}

export function codeIssued(
  by: Pick<Caller, "actor">,
  minted: MintedCredential,
  code: { readonly principalId: string },
  context: DecideContext,
  writes: readonly Write[] = [],
): { readonly entry: EntryDraft; readonly expiresAt: string } {
  const expiresAtMs = context.nowMs + limits.enrolmentCodeMinutes * minuteMs;
  const row = {
    id: minted.id,
    principal_id: code.principalId,
    code_hash: minted.secretHash,
    issued_by: by.actor.type === "system" ? null : by.actor.id,
    issued_at_ms: context.nowMs,
    expires_at_ms: expiresAtMs,
    used_at_ms: null,
  };
  const entry: EntryDraft = {
    actor: by.actor,
    action: "principal.code_issued",
    subject: { type: "principal", id: code.principalId },
    data: { code: row.id, expiresAtMs },
    writes: [insert("enrolment_codes", row), ...writes],
  };
  return { entry, expiresAt: new Date(expiresAtMs).toISOString() };
}
