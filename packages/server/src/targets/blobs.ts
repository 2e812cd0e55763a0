/**
 * Content-addressed bytes of a tenant: backups, and the contents plans bring. Sealed at rest, found by their SHA-256.
 * INVARIANT: what `get` returns has the digest it was asked for; anything else is `backup_unusable`.
 * Rows are inserted and never changed; they are evidence only through the governed rows that name their digest.
 */
import { limits, refuse, RefusalError, type TenantId } from "@countersign/contract";
import { sha256Hex } from "@countersign/proof";
import type { Sealing } from "../platform/index.js";
import type { Storage } from "../storage/index.js";
import { insertBlob, selectBlob } from "./queries.js";
import type { Blobs } from "./target.js";

const binding = (tenant: TenantId, digest: string): string => `blob ${tenant} ${digest}`;

export function openBlobs(storage: Storage, sealing: Sealing, tenant: TenantId): Blobs {
  return {
    put: (bytes) => put(storage, sealing, tenant, bytes),
    get: (digest) => get(storage, sealing, tenant, digest),
  };
}

async function put(storage: Storage, sealing: Sealing, tenant: TenantId, bytes: Uint8Array): Promise<string> {
  // What asks for more is our own mistake: kinds check their limits before.
  if (bytes.length > limits.fileBytesMax)
    throw new Error(`a blob of ${bytes.length} bytes is more than ${limits.fileBytesMax}`);
  const digest = sha256Hex(bytes);
  const sealed = sealing.seal(bytes, binding(tenant, digest));
  await storage.inTenant(tenant, (client) => client.query(insertBlob, [tenant, digest, bytes.length, sealed]));
  return digest;
}

async function get(storage: Storage, sealing: Sealing, tenant: TenantId, digest: string): Promise<Uint8Array> {
  const { rows } = await storage.inTenant(tenant, (client) =>
    client.query<{ bytes: number; sealed: Buffer }>(selectBlob, [tenant, digest]),
  );
  const row = rows[0];
  if (row === undefined)
    return refuse(
      "backup_unusable",
      `the bytes \`${digest}\` are not stored; restore the database from a backup that has them`,
    );
  const bytes = open(sealing, row.sealed, binding(tenant, digest));
  if (bytes.length !== row.bytes || sha256Hex(bytes) !== digest)
    refuse("backup_unusable", `the stored bytes \`${digest}\` are damaged; restore the database from a backup`);
  return bytes;
}

function open(sealing: Sealing, sealed: Uint8Array, what: string): Uint8Array {
  try {
    return sealing.open(sealed, what);
  } catch (error) {
    if (!(error instanceof RefusalError)) throw error;
    throw new RefusalError(
      { kind: "refused", code: "backup_unusable", message: error.refusal.message },
      { cause: error },
    );
  }
}
