/** All SQL of `blobs`. */

/** Content is named by its digest: a second insert of it changes nothing. */
export const insertBlob = `insert into countersign.blobs (tenant_id, digest, bytes, sealed) values ($1, $2, $3, $4) on conflict do nothing`;

export const selectBlob = `select bytes, sealed from countersign.blobs where tenant_id = $1 and digest = $2`;
