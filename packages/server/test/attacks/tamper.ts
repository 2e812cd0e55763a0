/** What somebody with all rights on the database, and now and then a stolen key, can do: the moves of the attack corpus. */
import {
  appendSignature,
  entryContentText,
  entryHashHex,
  generateSigningKeyPair,
  originOf,
  parseCheckpoint,
  RightEdge,
  signCheckpoint,
  signCosignature,
  signerOf,
  type JsonObject,
  type NoteSigner,
} from "@countersign/proof";
import type pg from "pg";
import { newId } from "../../src/platform/index.js";
import type { Stage } from "./stage.js";

export class Tamper {
  readonly stage: Stage;
  readonly tenant: string;

  constructor(stage: Stage) {
    this.stage = stage;
    this.tenant = stage.tenant;
  }

  at(seq: number): string {
    return `tenant_id = '${this.tenant}' and seq = ${seq}`;
  }

  /** Another text of the same entry; columns and constraints agree with it. */
  editContent(seq: number): string {
    return `update countersign.entries set content = ${edited} where ${this.at(seq)}`;
  }

  editContentAndHash(seq: number): string {
    return `update countersign.entries set content = ${edited}, content_hash = sha256(convert_to(${edited}, 'UTF8')) where ${this.at(seq)}`;
  }

  swap(a: number, b: number): string[] {
    return [
      `update countersign.entries set seq = 1000000 where ${this.at(a)}`,
      `update countersign.entries set seq = ${a} where ${this.at(b)}`,
      `update countersign.entries set seq = ${b} where ${this.at(1000000)}`,
    ];
  }

  /** The entry again, under another number. */
  again(seq: number, as: number): string {
    const columns = "time_ms, entry_id, prev, content, content_hash, hash, action, actor_id, subject_id";
    return `insert into countersign.entries (tenant_id, seq, ${columns}) select tenant_id, ${as}, ${columns} from countersign.entries where ${this.at(seq)}`;
  }

  /** Chains everything from `seq` on again, as one who knows the format would. */
  async rechain(client: pg.Client, seq: number): Promise<void> {
    const found = await client.query<{ seq: string; time_ms: string; content_hash: string; hash: string }>(
      "select seq, time_ms, encode(content_hash, 'hex') as content_hash, encode(hash, 'hex') as hash from countersign.entries where tenant_id = $1 and seq >= $2 order by seq",
      [this.tenant, seq - 1],
    );
    let prev = found.rows[0]?.hash ?? "";
    for (const row of found.rows.slice(1)) {
      const { tenant } = this;
      const link = { tenant, seq: Number(row.seq), timeMs: Number(row.time_ms), prev, contentHash: row.content_hash };
      const hash = entryHashHex(link);
      await client.query(
        "update countersign.entries set prev = decode($3, 'hex'), hash = decode($4, 'hex') where tenant_id = $1 and seq = $2",
        [tenant, row.seq, prev, hash],
      );
      prev = hash;
    }
  }

  /** Edits an entry and hashes everything after it again: the chain is whole afterwards. */
  async rewrite(client: pg.Client, seq: number): Promise<void> {
    await client.query(this.editContentAndHash(seq));
    await this.rechain(client, seq);
  }

  async rootOf(client: pg.Client, size: number): Promise<Uint8Array> {
    const found = await client.query<{ hash: Buffer }>(
      "select hash from countersign.entries where tenant_id = $1 and seq < $2 order by seq",
      [this.tenant, size],
    );
    const edge = new RightEdge();
    for (const { hash } of found.rows) edge.append(hash);
    return edge.root();
  }

  /** The operator's key, stolen: of the first time, or the current one. */
  logSigner(which: 0 | 1): NoteSigner {
    const key = this.stage.logKeys[which];
    if (key === undefined) throw new Error("no such key");
    return signerOf(key);
  }

  get origin(): string {
    return originOf({ deployment: this.stage.deployment, tenant: this.tenant, incarnation: 0 });
  }

  /** Puts a checkpoint in the place of those from its size on; `cosignedAtMs`: a witness was made to sign it as well. */
  async putCheckpoint(
    client: pg.Client,
    given: { size: number; root: Uint8Array; signer: NoteSigner; cosignedAtMs?: number },
  ): Promise<void> {
    const { size, root, signer, cosignedAtMs } = given;
    const origin = this.origin;
    let note = await signCheckpoint({ origin, size, root }, signer);
    if (cosignedAtMs !== undefined) {
      const { witnessKey } = this.stage;
      const parsed = parseCheckpoint(note);
      if (!parsed.ok) throw new Error(parsed.problem);
      const by = { name: witnessKey.name, signer: signerOf(witnessKey), atSeconds: Math.floor(cosignedAtMs / 1000) };
      note = appendSignature(note, await signCosignature(parsed.checkpoint, by));
    }
    await this.dropCheckpoints(client, size);
    await client.query(
      "insert into countersign.checkpoints (tenant_id, incarnation, size, root, note, signed_ms) values ($1, 0, $2, $3, $4, $5)",
      [this.tenant, size, Buffer.from(root), note, Date.now()],
    );
  }

  async dropCheckpoints(client: pg.Client, fromSize: number): Promise<void> {
    await client.query("delete from countersign.checkpoints where tenant_id = $1 and size >= $2", [
      this.tenant,
      fromSize,
    ]);
  }

  /** Through the database's own function, so that content, link and columns are all right. */
  async append(
    client: pg.Client,
    given: {
      action: string;
      actor: { type: string; id: string };
      subject: { type: string; id: string };
      data: JsonObject;
    },
  ): Promise<void> {
    const id = newId();
    const { action, actor, subject, data } = given;
    const humans = actor.type === "human" ? [actor.id] : [];
    const content = entryContentText({
      ...{ id, nonce: "0".repeat(32), at: Date.now(), action, subject, data },
      actor: { type: actor.type as "human", id: actor.id, humans },
    });
    await client.query("select set_config('app.tenants', $1, false)", [`{${this.tenant}}`]);
    const args = await client.query<{ arguments: number }>(
      "select pronargs as arguments from pg_proc where proname = 'append_entries'",
    );
    const rest = Array.from({ length: (args.rows[0]?.arguments ?? 0) - 8 }, () => ", '{}'").join("");
    await client.query(`select countersign.append_entries($1, $2, '{1}', $3, $4, $5, $6, $7${rest})`, [
      Date.now(),
      [this.tenant],
      [id],
      [content],
      [action],
      [actor.id],
      [subject.id],
    ]);
  }

  async entryData(client: pg.Client, action: string): Promise<{ seq: number; subject: string; data: JsonObject }> {
    const found = await client.query<{ seq: string; subject_id: string; content: string }>(
      "select seq, subject_id, content from countersign.entries where tenant_id = $1 and action = $2 order by seq desc limit 1",
      [this.tenant, action],
    );
    const row = found.rows[0];
    if (row === undefined) throw new Error(`no entry ${action}`);
    return {
      seq: Number(row.seq),
      subject: row.subject_id,
      data: (JSON.parse(row.content) as { data: JsonObject }).data,
    };
  }
}

/** A nonce is 32 digits: the first is made another. */
const edited = `regexp_replace(content, '"nonce":"(.)', '"nonce":"' || case when content ~ '"nonce":"f' then '0' else 'f' end)`;

export const freeOfKeys = ["entries_pkey", "entries_prev_key", "entries_entry_id_key"].map(
  (name) => `alter table countersign.entries drop constraint ${name} cascade`,
);

export const somebody = generateSigningKeyPair(Buffer.alloc(32, 9));
