/** Evidence that leaves the server: bundles, receipts, and a policy file to begin with. */
import {
  type AuditPolicy,
  type CheckedInput,
  type EntryProof,
  type EntryView,
  isRefusal,
  type OperationOutput,
  refused,
  type Refusal,
  RefusalError,
  type TenantId,
} from "@countersign/contract";
import {
  fingerprintOf,
  formatReceipt,
  formatVerifierKey,
  parseKeyStatement,
  parseOrigin,
  parsePolicy,
  spacedFingerprint,
} from "@countersign/proof";
import type { AuditEntry, AuditQuery, Ledger } from "../ledger/index.js";
import { type anchorSpecs, keyRows, type Publishing } from "../publishing/index.js";
import type { Selection, Verification } from "../verification/index.js";
import type { Caller } from "../tenancy/index.js";

type AnchorSpec = Awaited<ReturnType<typeof anchorSpecs>>[number];

export interface EvidenceDesk {
  readonly ledger: Pick<Ledger, "snapshot" | "auditLog">;
  readonly verification: Pick<Verification, "findEntry" | "receiptOf" | "exportBundle">;
  readonly publishing: Pick<Publishing, "publish" | "deployment" | "keyStatements" | "latest" | "status">;
  /** As configured. */
  readonly anchors: readonly AnchorSpec[];
  readonly idOfChangeSet: (tenant: TenantId, ref: string) => Promise<string | undefined>;
  /** Id of a principal by id or name; null when nobody has it. */
  readonly idOfActor: (tenant: TenantId, actor: string) => Promise<string | null>;
  readonly named: (tenant: TenantId, entries: readonly AuditEntry[]) => Promise<readonly EntryView[]>;
}

// ── Receipts ─────────────────────────────────────────────────────────────────────────────────────────────────────────

/** How long a receipt waits for anchors that have not confirmed its checkpoint yet. */
const confirmationMs = 3_000;
const confirmationLookMs = 250;

export async function proveEntry(
  desk: EvidenceDesk,
  { tenant }: Caller,
  { entry, content }: CheckedInput<"proveEntry">,
): Promise<OperationOutput<"proveEntry"> | Refusal> {
  const { ledger, verification, publishing } = desk;
  const place = await ledger.snapshot(tenant, (snapshot) => verification.findEntry(snapshot, entry));
  if (place === undefined)
    return refused("not_found", `there is no entry \`${entry}\`; \`countersign audit log\` shows the entries`);
  const known = await publishing.keyStatements();
  const look = () => ledger.snapshot(tenant, (snapshot) => verification.receiptOf(snapshot, place, known));
  let receipt = await look();
  if (receipt === undefined) {
    await publishing.publish(tenant); // says itself why there will be none
    receipt = await look();
  }
  const prompt = promptAnchors(desk, tenant);
  for (let waitedMs = 0; waitedMs < confirmationMs; waitedMs += confirmationLookMs) {
    const { anchors } = receipt ?? { anchors: prompt };
    if (prompt.every((name) => anchors.includes(name))) break;
    await new Promise((resolve) => setTimeout(resolve, confirmationLookMs));
    receipt = await look();
  }
  if (receipt === undefined)
    return refused("not_published", `no checkpoint covers entry \`${place.seq}\` yet; ask again in a second`);
  const { timeMs, anchors, path, ...shown } = receipt;
  const given = await keyStatementsOf(desk, receipt.origin); // again: a key may have been made meanwhile
  const { text: proof, keyStatements } = formatReceipt({ ...path, link: receipt.link, keyStatements: given });
  return {
    ...shown,
    proof,
    keyStatements,
    at: new Date(timeMs).toISOString(),
    anchors: [...anchors],
    content: content ? receipt.content : null,
  } satisfies EntryProof;
}

/**
 * The statements of the checkpoint's deployment. Read after the checkpoint, so no statement about its key is missing.
 * In a copied database the checkpoint may still be of the original deployment; statements of another deployment say
 * nothing about it.
 */
async function keyStatementsOf({ publishing }: EvidenceDesk, origin: string): Promise<readonly string[]> {
  const statements = await publishing.keyStatements();
  const first = statements[0] === undefined ? undefined : parseKeyStatement(statements[0]);
  const isOfOrigin = first?.ok === true && first.statement.deployment === parseOrigin(origin)?.deployment;
  return isOfOrigin ? statements : [];
}

/** Names of the witnesses and anchors that confirm a checkpoint at once, so they are worth waiting for. */
function promptAnchors({ anchors, publishing }: EvidenceDesk, tenant: TenantId): string[] {
  const standings = publishing.status().anchors.filter((one) => one.tenant === tenant);
  const good = (name: string): boolean =>
    standings.some(({ anchor, standing }) => anchor === name && (standing === "ok" || standing === "new"));
  return anchors.filter(({ name, everyMs }) => everyMs <= confirmationMs && good(name)).map(({ name }) => name);
}

// ── Exports ──────────────────────────────────────────────────────────────────────────────────────────────────────────

const unpublishedName = "unpublished";

export async function* exportAudit(
  desk: EvidenceDesk,
  { tenant }: Caller,
  input: CheckedInput<"exportAudit">,
): AsyncGenerator<string, undefined, undefined> {
  const selection = await selectionOf(desk, tenant, input);
  if (isRefusal(selection)) throw new RefusalError(selection);
  const wrong = checkRange(input);
  if (wrong !== undefined) throw new RefusalError(wrong);
  if (input.format === "jsonl") {
    yield* linesForPeople(desk, tenant, input, selection);
    return undefined;
  }
  const published = await publishedUpTo(desk, tenant, input.to);
  yield* desk.verification.exportBundle(tenant, {
    ...published,
    bodies: input.bodies,
    ...(input.from === undefined ? {} : { from: input.from }),
    ...(input.to === undefined ? {} : { to: input.to }),
    ...(input.since === undefined ? {} : { sinceMs: Date.parse(input.since) }),
    ...(input.until === undefined ? {} : { untilMs: Date.parse(input.until) }),
    ...(selection === undefined ? {} : { selection }),
  });
  return undefined;
}

function checkRange({ from, to, since, until }: CheckedInput<"exportAudit">): Refusal | undefined {
  const both = (one: unknown, other: unknown): boolean => one !== undefined && other !== undefined;
  if (both(from, since) || both(to, until))
    return refused("invalid_request", "a range is by number (`from`, `to`) or by time (`since`, `until`), not both");
  return undefined;
}

/** Name and keys of the deployment, with a checkpoint that covers the exported entries, if there is one. */
async function publishedUpTo(
  { publishing }: EvidenceDesk,
  tenant: TenantId,
  to: number | undefined,
): Promise<{ deployment: string; keyStatements: () => Promise<readonly string[]>; unproven?: string }> {
  const named = async () => ({
    deployment: await publishing.deployment(),
    keyStatements: () => publishing.keyStatements(),
  });
  try {
    const newest = to === undefined ? undefined : await publishing.latest(tenant);
    if (to === undefined || newest === undefined || newest.checkpoint.size <= to) await publishing.publish(tenant);
    return await named();
  } catch (error) {
    if (!isUnpublished(error)) throw error;
    const unproven = error.refusal.code;
    // Checkpoints signed before publishing stopped are still worth including.
    const none = (): Promise<readonly string[]> => Promise.resolve([]);
    return { ...(await named().catch(() => ({ deployment: unpublishedName, keyStatements: none }))), unproven };
  }
}

function isUnpublished(error: unknown): error is RefusalError {
  return (
    error instanceof RefusalError &&
    ["publishing_stopped", "not_published", "log_key_unusable"].includes(error.refusal.code)
  );
}

async function selectionOf(
  desk: EvidenceDesk,
  tenant: TenantId,
  { changeSet, actor, subject }: CheckedInput<"exportAudit">,
): Promise<Selection | undefined | Refusal> {
  if (changeSet !== undefined && subject !== undefined)
    return refused("invalid_request", "`changeSet` and `subject` exclude each other: a change-set is a subject");
  const about: Record<string, string> = {};
  let subjectId = subject;
  if (subject !== undefined) about["subject"] = subject;
  if (changeSet !== undefined) {
    subjectId = await desk.idOfChangeSet(tenant, changeSet);
    if (subjectId === undefined) return refused("not_found", `there is no change-set \`${changeSet}\``);
    about["changeSet"] = subjectId;
  }
  let actorId: string | undefined;
  if (actor !== undefined) {
    const found = await desk.idOfActor(tenant, actor);
    if (found === null) return refused("not_found", `there is nobody called \`${actor}\``);
    actorId = about["actor"] = found;
  }
  if (subjectId === undefined && actorId === undefined) return undefined;
  return {
    about,
    ...(subjectId === undefined ? {} : { subjectId }),
    ...(actorId === undefined ? {} : { actorId }),
  };
}

const pageEntries = 200;

/** Entries as people read them, one JSON a line, up to the last there was when it began. */
async function* linesForPeople(
  { ledger, named }: EvidenceDesk,
  tenant: TenantId,
  input: CheckedInput<"exportAudit">,
  selection: Selection | undefined,
): AsyncGenerator<string, void, undefined> {
  const first = await ledger.auditLog(tenant, { order: "newest", limit: 1 });
  const to = Math.min(input.to ?? Infinity, first.entries[0]?.seq ?? -1);
  const query: Omit<AuditQuery, "cursor"> = {
    order: "oldest",
    limit: pageEntries,
    ...(selection?.actorId === undefined ? {} : { actorId: selection.actorId }),
    ...(selection?.subjectId === undefined ? {} : { subjectId: selection.subjectId }),
    ...(input.since === undefined ? {} : { fromMs: Date.parse(input.since) }),
    ...(input.until === undefined ? {} : { toMs: Date.parse(input.until) }),
  };
  let cursor = input.from === undefined || input.from === 0 ? undefined : String(input.from - 1);
  do {
    const page = await ledger.auditLog(tenant, { ...query, ...(cursor === undefined ? {} : { cursor }) });
    const within = page.entries.filter(({ seq }) => seq <= to);
    const views = await named(tenant, within);
    yield views.map((view) => `${JSON.stringify(input.bodies ? view : { ...view, body: null })}\n`).join("");
    cursor = within.length < page.entries.length ? undefined : page.next;
  } while (cursor !== undefined);
}

// ── A policy to begin with ───────────────────────────────────────────────────────────────────────────────────────────

export async function auditPolicy(
  desk: EvidenceDesk,
  { tenant }: Caller,
  { anchors: withAnchors }: CheckedInput<"getAuditPolicy">,
): Promise<OperationOutput<"getAuditPolicy">> {
  const { deployment, current } = await logKeyOf(desk, tenant);
  const witnesses = desk.anchors.flatMap((spec) => (spec.kind === "witness" ? [spec] : []));
  const places = desk.anchors.flatMap((spec) => (spec.kind === "witness" ? [] : [spec]));
  const keys: AuditPolicy["keys"] = [
    { name: deployment, kind: "log", vkey: current.verifierKey, fingerprint: fingerprintInForce(current.publicKey) },
    ...witnesses.map(({ name, key }) => ({
      name,
      kind: "witness" as const,
      vkey: formatVerifierKey(key),
      fingerprint: fingerprintInForce(key.publicKey),
    })),
  ];
  const policy = policyText({ deployment, keys, witnesses, places, withAnchors });
  const parsed = parsePolicy(policy);
  if (!parsed.ok) throw new Error(`the policy we made is not one: ${JSON.stringify(parsed.problems)}`);
  return { policy, deployment, keys };
}

/** Right after the first start the key is still being made: the first checkpoint is signed with it. */
async function logKeyOf({ publishing }: EvidenceDesk, tenant: TenantId) {
  const look = async () => {
    const deployment = await publishing.deployment();
    const current = keyRows(await publishing.keyStatements(), deployment).find((row) => row.current);
    return current === undefined ? undefined : { deployment, current };
  };
  const known = await look().catch((error: unknown) => {
    if (isUnpublished(error)) return undefined;
    throw error;
  });
  if (known !== undefined) return known;
  await publishing.publish(tenant); // or says why nothing is signed
  const made = await look();
  if (made !== undefined) return made;
  throw new RefusalError(refused("not_published", "this deployment has no log key in force; `countersign keys list`"));
}

/** The fingerprint of a key in force. */
function fingerprintInForce(publicKey: string): string {
  const fingerprint = fingerprintOf(publicKey);
  if (fingerprint === undefined) throw new Error("a key in force is no key");
  return fingerprint;
}

function policyText(given: {
  readonly deployment: string;
  readonly keys: AuditPolicy["keys"];
  readonly witnesses: readonly (AnchorSpec & { readonly kind: "witness" })[];
  readonly places: readonly (AnchorSpec & { readonly kind: "file" | "git" })[];
  readonly withAnchors: boolean;
}): string {
  const { deployment, keys, witnesses, places, withAnchors } = given;
  const lines = [
    `# A policy for the ledgers of ${deployment}, to begin with.`,
    "#",
    "# WARNING: this is the word of the server that is to be verified. A forger of a ledger also forges the keys that come",
    "# with it. Compare every fingerprint below (SHA-256 of the key's 32 bytes) with its owner over another channel: a phone",
    "# call, a letter, a contract. Then keep the file; never take a newer one from the server without doing so again.",
    "",
    ...keys.flatMap((key) => [
      `# ${key.kind} ${key.name}: ${spacedFingerprint(key.fingerprint)}`,
      key.kind === "log" ? `log ${key.vkey}` : witnessLine(key, witnesses),
    ]),
    "",
  ];
  const anchors = places.map(({ name, kind, directory }) => `anchor ${name} ${kind} ${directory}`);
  if (anchors.length > 0)
    lines.push(
      "# Places where this server puts its checkpoints. On its own machine they prove nothing: name a copy that was out of",
      "# its reach, on a disk or in a repository of yours.",
      ...anchors.map((line) => (withAnchors ? line : `# ${line}`)),
      "",
    );
  return `${[...lines, ...quorumOf(witnesses, withAnchors ? places : [])].join("\n")}\n`;
}

function witnessLine(key: AuditPolicy["keys"][number], witnesses: readonly { name: string; url?: string }[]): string {
  const url = witnesses.find(({ name }) => name === key.name)?.url;
  return `witness ${key.name} ${key.vkey}${url === undefined ? "" : ` ${url}`}`;
}

/** More than half of the witnesses; without witnesses, one of the anchors; without anchors nothing can be demanded. */
function quorumOf(
  witnesses: readonly { readonly name: string }[],
  places: readonly { readonly name: string }[],
): string[] {
  const members = (witnesses.length > 0 ? witnesses : places).map(({ name }) => name);
  if (members.length === 0)
    return [
      "# Nothing outside confirms this ledger: only its integrity can be verified. docs/anchors.md",
      "quorum none",
    ];
  const many = witnesses.length > 0 ? Math.floor(members.length / 2) + 1 : 1;
  return [`group outside ${many} ${members.join(" ")}`, "quorum outside"];
}
