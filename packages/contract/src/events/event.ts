/**
 * What a row of the catalogue of events says, and the forms that members of `data` have.
 *
 * INVARIANT: `data` holds ids, enums, integers, booleans, digests and signatures only; texts and names go to an entry's body, which
 * can be erased. What was written once is read for ever: a member is added as optional, and never removed, renamed or narrowed.
 */
import { z } from "zod";
import { agentTypes, uuid } from "../changeSets.js";
import { errorCodes } from "../errors.js";
import { statuses } from "../lifecycle.js";
import { digest } from "../ids.js";

/** What entries are about. `operation`: a refusal before anybody looked for the thing that was named. */
export const subjectTypes = [
  "change_set",
  "deployment",
  "kill_switch",
  "ledger",
  "legal_hold",
  "operation",
  "principal",
  "resource",
  "tenant",
  "workspace",
] as const;
export type SubjectType = (typeof subjectTypes)[number];

/** Whom an event is of concern to: what decides who is told, and nothing else. */
export const concerned = {
  author: "who proposed the change-set",
  author_humans: "the people answerable for its author",
  voters: "who voted on it",
  may_vote: "who may vote on it and has not",
  operators: "who may resolve what ended partly, and runs the deployment",
  administrators: "who manages people, keys and rules",
  principal: "the principal it is about",
  answerable: "the person answerable for that principal",
  auditors: "who may read the audit log",
} as const;
export type Concerned = keyof typeof concerned;

/** Ids replaced by names where somebody knows them: what a sentence is made of. */
export interface Told<D> {
  readonly actor: string;
  readonly subject: string;
  readonly data: D;
}

/** Facts that readers ask a row for, instead of looking at its name. */
export interface EventMarks {
  /** Who may read and do what is other than before: live streams ask again whether their reader still may. */
  readonly changesAccess?: true;
  /** Bears on all change-sets of its time: the report of an audit tells it by itself. */
  readonly reported?: true;
  /** `packages/proof` reads it, and so may any verifier: docs/ledger-format.md specifies its members. */
  readonly verified?: true;
  /** `stopped`: something did not happen, or was stopped. `taken_back`: something was undone. Left out: it went on. */
  readonly tone?: "stopped" | "taken_back";
}

/** What any entry's `data` may hold besides: the first entry of a command that a person gave with their key unlocked. */
const common = {
  proof: z
    .object({
      key: uuid,
      atMs: z.int().nonnegative(),
      signature: z.string(),
      operation: z
        .string()
        .optional()
        .meta({ description: "The command; docs/authentication.md has the bytes signed." }),
      input: digest.optional().meta({ description: "SHA-256 of the command's input." }),
    })
    .optional()
    .meta({ description: "That the person's key was unlocked for the command that this entry begins." }),
};
export const commonMembers: readonly string[] = Object.keys(common);

export interface EventRow<
  S extends SubjectType = SubjectType,
  D extends z.ZodRawShape = z.ZodRawShape,
> extends EventMarks {
  /** The types of subject an entry of this action may have. */
  readonly subjects: readonly S[];
  readonly data: z.ZodObject<D & typeof common>;
  /** One sentence for people, without a full stop. */
  readonly sentence: (told: Told<z.infer<z.ZodObject<D>>>) => string;
  readonly concerns: readonly Concerned[];
}

/** A row of the catalogue: the types of subject, the shape of `data`, and what else is said of it. */
export function event<const S extends SubjectType, D extends z.ZodRawShape>(
  subject: S | readonly S[],
  data: D,
  row: Omit<EventRow<S, D>, "subjects" | "data">,
): EventRow<S, D> {
  return {
    subjects: typeof subject === "string" ? [subject] : subject,
    data: z.object({ ...data, ...common }),
    ...row,
  };
}

// ── Forms of members ─────────────────────────────────────────────────────────────────────────────────────────────────

const form = (schema: z.ZodString, description: string) => schema.meta({ description });

export const id = uuid;
export const sha256 = digest;
export const count = z.int().nonnegative();
export const timeMs = z.int().nonnegative().meta({ description: "Milliseconds since 1970-01-01T00:00Z." });
export const signature = form(z.string().regex(/^[A-Za-z0-9_-]{86}$/), "Ed25519, 64 bytes, base64url.");
export const publicKey = form(z.string().regex(/^[A-Za-z0-9_-]{43}$/), "Ed25519, 32 bytes, base64url.");
export const status = z.enum(statuses);
export const errorCode = z.enum(errorCodes);
export const agentType = z.enum(agentTypes);
/** Of the verifier (docs/forensics.md), or of the publisher's memory. */
export const findingClass = form(z.string().regex(/^[A-Z][A-Z_]*$/), "A class of finding; docs/forensics.md.");
export const deploymentName = form(z.string().min(1).max(200), "The name in the origin of its checkpoints.");
/** `*`: everything its principal may. */
export const scope = form(z.string().regex(/^(\*|[a-z_]+\.[a-z_]+)$/), "A permission, or `*`.");

// ── Words of sentences ───────────────────────────────────────────────────────────────────────────────────────────────

export const counted = (number: number, one: string, many = `${one}s`): string =>
  `${number} ${number === 1 ? one : many}`;
/** For a fact that was not always recorded, or is left out where it does not hold. */
export const when = (condition: unknown, text: string): string =>
  condition === undefined || condition === null || condition === false ? "" : text;
