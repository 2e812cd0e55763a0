/** The 25 attacks, some in several ways: what is done, and the verdict it must have. */
import { mkdirSync, cpSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { signerOf, type FindingClass, type NoteClass } from "@countersign/proof";
import { freeOfKeys, somebody, Tamper } from "./tamper.js";
import type { Scene, Stage, VerifyRequest } from "./stage.js";

export interface Attack {
  /** As in the table of verdicts. */
  readonly number: number;
  readonly done: string;
  readonly attack: (scene: Scene, tamper: Tamper) => Promise<void>;
  /** Among the findings, or the notes. */
  readonly expected: Expected;
  readonly exit: number;
  readonly verify?: (scene: Scene, stage: Stage) => VerifyRequest;
  /** From the older backup. */
  readonly fromBackup?: boolean;
}

export interface Expected {
  readonly class: FindingClass | NoteClass;
  readonly seq?: number | null;
  readonly [member: string]: unknown;
}

export function attacks(stage: Stage): Attack[] {
  const { anchored, size, tenant, other } = stage;
  const [, second = 0, third = 0] = anchored;
  /** Anchored long ago, in the middle of things. */
  const i = second - 5;
  const sql =
    (...statements: readonly string[]): Attack["attack"] =>
    (scene) =>
      scene.run(...statements);
  const t = new Tamper(stage);
  return [
    {
      number: 1,
      done: "content edited",
      attack: sql(t.editContent(i)),
      expected: { class: "CONTENT_MISMATCH", seq: i },
      exit: 1,
    },
    {
      number: 2,
      done: "content and its hash edited",
      attack: sql(t.editContentAndHash(i)),
      expected: { class: "LINK_BROKEN", seq: i + 1, suspect: i },
      exit: 1,
    },
    {
      number: 3,
      done: "an entry deleted in the middle",
      attack: sql(`delete from countersign.entries where ${t.at(i)}`),
      expected: { class: "GAP", seq: i },
      exit: 1,
    },
    {
      number: 4,
      done: "an entry duplicated",
      attack: sql(...freeOfKeys, t.again(i, i)),
      expected: { class: "DUPLICATE_SEQ", seq: i },
      exit: 1,
    },
    {
      number: 4,
      done: "an entry inserted",
      attack: sql(
        ...freeOfKeys,
        `update countersign.entries set seq = seq + 1 where tenant_id = '${tenant}' and seq >= ${i}`,
        t.again(i - 1, i),
      ),
      expected: { class: "LINK_BROKEN", seq: i },
      exit: 1,
    },
    {
      number: 5,
      done: "two entries swapped",
      attack: sql(...t.swap(i, i + 2)),
      expected: { class: "ORDER_BROKEN", seq: i },
      exit: 1,
    },
    {
      number: 6,
      done: "the tail cut",
      attack: sql(
        `delete from countersign.bodies where tenant_id = '${tenant}' and entry_id in (select entry_id from countersign.entries where tenant_id = '${tenant}' and seq >= ${third - 4})`,
        `delete from countersign.entries where tenant_id = '${tenant}' and seq >= ${third - 4}`,
      ),
      expected: { class: "TRUNCATED", have: third - 4 },
      exit: 1,
    },
    {
      number: 7,
      done: "rewritten from i with recomputed hashes",
      attack: (scene, tamper) => scene.sql((client) => tamper.rewrite(client, i)),
      expected: { class: "HISTORY_REWRITTEN", seq: i },
      exit: 1,
    },
    {
      number: 7,
      done: "the same, where the auditor has a witness alone and no leaf tiles",
      attack: (scene, tamper) => scene.sql((client) => tamper.rewrite(client, i)),
      verify: () => ({ policy: stage.witnessPolicy }),
      // Between two of the ledger's own checkpoints: which, depends on when they were signed.
      expected: { class: "HISTORY_REWRITTEN" },
      exit: 1,
    },
    {
      number: 8,
      done: "rewritten after the last anchor, where nobody has seen it",
      attack: (scene, tamper) => scene.sql((client) => tamper.rewrite(client, size - 3)),
      expected: { class: "UNANCHORED", seq: third },
      exit: 0,
    },
    {
      number: 8,
      done: "the same, where the last entry is demanded to be anchored",
      attack: (scene, tamper) => scene.sql((client) => tamper.rewrite(client, size - 3)),
      verify: () => ({ requireAnchored: true }),
      expected: { class: "UNANCHORED", seq: third },
      exit: 2,
    },
    {
      number: 9,
      done: "a whole tenant's ledger removed",
      attack: (scene) =>
        scene.sql(async (client) => {
          const found = await client.query<{ name: string }>(
            "select c.relname as name from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attname = 'tenant_id' where c.relnamespace = 'countersign'::regnamespace and c.relkind = 'r'",
          );
          for (const { name } of found.rows)
            await client.query(`delete from countersign.${name} where tenant_id = '${other}'`);
        }),
      expected: { class: "LEDGER_MISSING", id: other },
      exit: 1,
    },
    {
      number: 10,
      done: "two signed heads of one size",
      attack: (scene, tamper) =>
        scene.sql(async (client) => {
          await tamper.rewrite(client, i);
          const root = await tamper.rootOf(client, second);
          await tamper.putCheckpoint(client, { size: second, root, signer: tamper.logSigner(0) });
        }),
      expected: { class: "EQUIVOCATION", size: second },
      exit: 1,
    },
    {
      number: 11,
      done: "rewritten and signed again with the stolen log key",
      attack: (scene, tamper) =>
        scene.sql(async (client) => {
          await tamper.rewrite(client, i);
          await tamper.dropCheckpoints(client, i);
          await tamper.putCheckpoint(client, {
            size,
            root: await tamper.rootOf(client, size),
            signer: tamper.logSigner(1),
          });
        }),
      expected: { class: "ANCHOR_MISMATCH", seq: i },
      exit: 1,
    },
    {
      number: 12,
      done: "the key swapped",
      attack: (scene, tamper) =>
        scene.sql(async (client) => {
          const root = await tamper.rootOf(client, size);
          await tamper.putCheckpoint(client, { size, root, signer: signerOf(somebody) });
        }),
      expected: { class: "KEY_UNTRUSTED" },
      exit: 1,
    },
    {
      number: 13,
      done: "signed by a revoked key, and cosigned after the revocation",
      attack: (scene, tamper) => signedByRevoked(scene, tamper, true),
      expected: { class: "KEY_REVOKED" },
      exit: 1,
    },
    {
      number: 13,
      done: "the same without a cosignature: nobody can say when",
      attack: (scene, tamper) => signedByRevoked(scene, tamper, false),
      expected: { class: "KEY_REVOKED", seq: null },
      exit: 0,
    },
    {
      number: 14,
      done: "time goes backwards in the links",
      attack: (scene, tamper) =>
        scene.sql(async (client) => {
          await client.query(`update countersign.entries set time_ms = time_ms - 3600000 where ${tamper.at(size - 2)}`);
          await tamper.rechain(client, size - 2);
        }),
      expected: { class: "TIME_REGRESSION", seq: size - 2 },
      exit: 1,
    },
    {
      number: 15,
      done: "a trigger dropped",
      attack: sql("drop trigger entries_append_only on countersign.entries"),
      expected: { class: "DEFINITION_MISMATCH" },
      exit: 1,
    },
    {
      number: 15,
      done: "a policy that shows everything",
      attack: sql("alter policy tenant_rows on countersign.entries using (true)"),
      expected: { class: "DEFINITION_MISMATCH" },
      exit: 1,
    },
    {
      number: 15,
      done: "the append function redefined",
      attack: (scene) =>
        scene.sql(async (client) => {
          const found = await client.query<{ text: string }>(
            "select pg_get_functiondef(oid) as text from pg_proc where proname = 'append_entries'",
          );
          await client.query((found.rows[0]?.text ?? "").replace("behind_ms > 5000", "behind_ms > 5000000"));
        }),
      expected: { class: "DEFINITION_MISMATCH" },
      exit: 1,
    },
    {
      number: 15,
      done: "a column made to lie",
      attack: sql(
        "alter table countersign.entries drop constraint entries_columns_are_in_content",
        `update countersign.entries set subject_id = 'nobody' where ${t.at(i)}`,
      ),
      expected: { class: "COLUMN_MISMATCH", seq: i },
      exit: 1,
    },
    {
      number: 16,
      done: "a body swapped for another",
      attack: (scene) =>
        scene.sql(async (client) => {
          const found = await client.query<{ entry_id: string }>(
            "select b.entry_id from countersign.bodies b join countersign.entries e using (tenant_id, entry_id) where b.tenant_id = $1 order by e.seq limit 2",
            [tenant],
          );
          const [a, b] = found.rows.map((row) => row.entry_id);
          await client.query(
            "update countersign.bodies x set salt = y.salt, sealed = y.sealed from countersign.bodies y where x.tenant_id = $1 and x.entry_id = $2 and y.tenant_id = $1 and y.entry_id = $3",
            [tenant, a, b],
          );
        }),
      expected: { class: "REFERENCE_MISMATCH" },
      exit: 1,
    },
    {
      number: 16,
      done: "an item of an approved change-set swapped for another",
      attack: sql(
        `update countersign.items set input = jsonb_set(input, '{after,retries}', '99') where tenant_id = '${tenant}' and change_set_id = '${stage.applied[0]}'`,
      ),
      expected: { class: "STATE_MISMATCH", table: "items" },
      exit: 1,
    },
    {
      number: 17,
      done: "a row changed",
      attack: sql(`update countersign.principals set name = 'eve' where tenant_id = '${tenant}' and name = 'bob'`),
      expected: { class: "STATE_MISMATCH", table: "principals" },
      exit: 1,
    },
    {
      number: 17,
      done: "a row added",
      attack: sql(
        `insert into countersign.principals select (jsonb_populate_record(p, '{"id":"01a00000-0000-7000-8000-00000000eeee","name":"eve"}')).* from countersign.principals p where tenant_id = '${tenant}' and name = 'bob'`,
      ),
      expected: { class: "STATE_WITHOUT_ENTRY", table: "principals" },
      exit: 1,
    },
    {
      number: 17,
      done: "a row removed",
      attack: sql(`delete from countersign.votes where tenant_id = '${tenant}'`),
      expected: { class: "ENTRY_WITHOUT_STATE", table: "votes" },
      exit: 1,
    },
    {
      number: 18,
      done: "an entry moved from another tenant",
      attack: sql(
        `delete from countersign.entries where ${t.at(3)}`,
        `update countersign.entries set tenant_id = '${tenant}' where tenant_id = '${other}' and seq = 3`,
      ),
      expected: { class: "FOREIGN_ENTRY", seq: 3 },
      exit: 1,
    },
    {
      number: 19,
      done: "a body erased without an entry",
      attack: sql(
        `delete from countersign.bodies where (tenant_id, entry_id) in (select tenant_id, entry_id from countersign.bodies where tenant_id = '${tenant}' limit 1)`,
      ),
      expected: { class: "ERASED_WITHOUT_ENTRY" },
      exit: 1,
    },
    {
      number: 19,
      done: "a content erased without an entry",
      attack: sql(`update countersign.entries set content = null where ${t.at(i)}`),
      expected: { class: "ERASED_WITHOUT_ENTRY", seq: i },
      exit: 1,
    },
    {
      number: 20,
      done: "the prefix pruned without record",
      attack: sql(`delete from countersign.entries where tenant_id = '${tenant}' and seq < 5`),
      expected: { class: "PRUNED_WITHOUT_ENTRY", seq: 0 },
      exit: 1,
    },
    {
      number: 21,
      done: "an older backup put in place",
      attack: () => Promise.resolve(),
      fromBackup: true,
      expected: { class: "ROLLED_BACK", anchored: third },
      exit: 1,
    },
    {
      number: 22,
      done: "the verifier pointed at anchors beside the database",
      attack: (scene) => {
        const inside = join(scene.dataDirectory, "anchors-of-mine");
        mkdirSync(inside);
        cpSync(join(stage.auditor, "file-anchor"), inside, { recursive: true });
        const policy = `${stage.logLine}anchor mine file ${inside}\nquorum mine\n`;
        writeFileSync(join(stage.auditor, "inside-policy"), policy.replaceAll(inside, inside));
        return Promise.resolve();
      },
      verify: () => ({ policy: join(stage.auditor, "inside-policy") }),
      expected: { class: "ANCHOR_SOURCE_UNTRUSTED" },
      exit: 2,
    },
    {
      number: 23,
      done: "a byte shifted from one field of the link to the next",
      attack: sql(
        `update countersign.entries set content_hash = substring(content_hash from 2) || substring(prev from 1 for 1), prev = substring(prev from 2) || substring(content_hash from 1 for 1) where ${t.at(i)}`,
      ),
      expected: { class: "CONTENT_MISMATCH", seq: i },
      exit: 1,
    },
    {
      number: 24,
      done: "a checkpoint of two thousand signatures in the database",
      attack: sql(
        `update countersign.checkpoints set note = note || repeat('— a AAAAAAAAAAAA' || chr(10), 2000) where tenant_id = '${tenant}' and size = (select max(size) from countersign.checkpoints where tenant_id = '${tenant}')`,
      ),
      expected: { class: "MALFORMED" },
      exit: 4,
    },
    {
      number: 24,
      done: "a content nested a hundred thousand deep",
      attack: (scene) =>
        scene.sql(async (client) => {
          await client.query("alter table countersign.entries drop column meta cascade");
          await client.query(
            `update countersign.entries set content = repeat('[', 100000), content_hash = sha256(convert_to(repeat('[', 100000), 'UTF8')) where ${t.at(i)}`,
          );
        }),
      expected: { class: "LINK_BROKEN", seq: i + 1 },
      exit: 1,
    },
    {
      number: 25,
      done: "a vote in somebody's name, signed by nobody",
      attack: (scene, tamper) => forgeVote(scene, tamper, (data) => ({ ...data, decision: "REJECTED" })),
      expected: { class: "VOTE_FORGED", seq: size },
      exit: 1,
    },
    {
      number: 25,
      done: "a vote replayed on another digest",
      attack: (scene, tamper) => forgeVote(scene, tamper, (data) => ({ ...data, digest: "f".repeat(64) })),
      expected: { class: "VOTE_FORGED", seq: size },
      exit: 1,
    },
  ];
}

async function signedByRevoked(scene: Scene, tamper: Tamper, cosigned: boolean): Promise<void> {
  const first = tamper.stage.logKeys[0]?.publicKey ?? "";
  // The operator says openly that the first key does not count since a minute before its rotation was done.
  const sinceMs = Date.now() - 1;
  await scene.open(async ({ revoke }) => revoke(first, sinceMs));
  await scene.sql(async (client) => {
    const root = await tamper.rootOf(client, tamper.stage.size);
    await tamper.putCheckpoint(client, {
      ...{ size: tamper.stage.size, root, signer: tamper.logSigner(0) },
      ...(cosigned ? { cosignedAtMs: sinceMs + 60_000 } : {}),
    });
  });
}

function forgeVote(
  scene: Scene,
  tamper: Tamper,
  change: (data: Awaited<ReturnType<Tamper["entryData"]>>["data"]) => Awaited<ReturnType<Tamper["entryData"]>>["data"],
): Promise<void> {
  return scene.sql(async (client) => {
    const { subject, data } = await tamper.entryData(client, "change_set.vote_cast");
    await tamper.append(client, {
      action: "change_set.vote_cast",
      actor: { type: "human", id: data["voter"] as string },
      subject: { type: "change_set", id: subject },
      data: change(data),
    });
  });
}
