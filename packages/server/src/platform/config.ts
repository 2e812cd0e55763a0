/**
 * Configuration of the process, from its environment, parsed once.
 * Promises: every problem is reported at once and by the variable's name; no value of a secret appears in a message;
 * unknown variables that look like ours are named, so a misspelt variable is not silently ignored.
 */
import { isIP } from "node:net";
import { delimiter, isAbsolute } from "node:path";
import { refused, RefusalError, type Problem } from "@countersign/contract";
import { z } from "zod";

export const logLevels = ["trace", "debug", "info", "warn", "error", "fatal", "silent"] as const;
export type LogLevel = (typeof logLevels)[number];

export interface ProcessConfig {
  /** DATABASE_URL: a PostgreSQL of one's own; absent: the embedded one. */
  readonly databaseUrl?: string;
  /** COUNTERSIGN_APP_DATABASE_URL: a login of its own for the server's role there. */
  readonly applicationDatabaseUrl?: string;
  /** COUNTERSIGN_HOST: the address to listen on. */
  readonly host: string;
  /** COUNTERSIGN_PORT: 0 lets the system choose. */
  readonly port: number;
  /** COUNTERSIGN_LOG. */
  readonly logLevel: LogLevel;
  /** COUNTERSIGN_SEALING_KEY: 32 bytes each, the first seals, all open; absent: the file in the data directory. */
  readonly sealingKeys?: readonly Uint8Array[];
  /** COUNTERSIGN_ARCHIVES: the folder archives of prunings are written to; absent: below the data directory. */
  readonly archives?: string;
  /** COUNTERSIGN_SELF_CHECK_MINUTES: minutes between two verifications of new entries; 0: only on request. */
  readonly selfCheckMinutes: number;
  /**
   * COUNTERSIGN_METRICS_TOKEN: a request with it may read /metrics; absent: only keys of the deployment's tenant may.
   */
  readonly metricsToken?: string;
  /** COUNTERSIGN_WORKSPACE_ROOTS: workspaces are registered below these folders alone; absent: wherever the server may. */
  readonly workspaceRoots?: readonly string[];
  /** COUNTERSIGN_ANCHORS: one anchor each, as in `<data directory>/anchors`; absent: that file. */
  readonly anchors?: readonly string[];
  /** COUNTERSIGN_ANCHORS_REQUIRED: below this many confirming anchors the server calls itself degraded. */
  readonly anchorsRequired: number;
  /** COUNTERSIGN_LOG_KEYS: the key directory; absent: `log-keys` in the data directory. */
  readonly logKeys?: string;
  /** Variables that look like ours and are not. */
  readonly unknownVariables: readonly string[];
}

export const defaultHost = "127.0.0.1";
export const defaultPort = 7117;
export const selfCheckMinutesDefault = 15;

/** Read elsewhere: by the data directory, the CLI as a client, the tests. */
const readElsewhere = [
  ...[
    "COUNTERSIGN_DATA",
    "COUNTERSIGN_URL",
    "COUNTERSIGN_API_KEY",
    "COUNTERSIGN_KEY",
    "COUNTERSIGN_TENANT",
    "COUNTERSIGN_PASSPHRASE",
    "COUNTERSIGN_PASSPHRASE_FILE",
    "COUNTERSIGN_CONFIG",
    "COUNTERSIGN_PROFILE",
    "COUNTERSIGN_DEBUG",
  ],
  ...["COUNTERSIGN_TEST_DATABASE_URL"],
];

const connectionString = z
  .string()
  .refine(isPostgresUrl, "is not a PostgreSQL connection string; write `postgres://user:password@host:5432/database`");
const host = z
  .string()
  .refine(
    (text) => text === "localhost" || isIP(text) !== 0 || /^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$/i.test(text),
    "is no address or host name; write `127.0.0.1` or `0.0.0.0`",
  );
const port = z
  .string()
  .regex(/^\d{1,5}$/, "is no port; write a number from 0 to 65535")
  .transform(Number)
  .refine((number) => number <= 65_535, "is no port; write a number from 0 to 65535");
const logLevel = z.enum(logLevels, { error: `is no level; write one of ${logLevels.join(", ")}` });
const sealingKeys = z.string().transform((text, context) => {
  const keys = text.split(",").map((part) => parseSealingKey(part.trim()));
  if (keys.every((key) => key !== undefined)) return keys;
  context.addIssue({
    code: "custom",
    message: "is not 32 bytes as 64 hex digits or base64; make one with `openssl rand -hex 32`",
  });
  return z.NEVER;
});

const folders = z
  .string()
  .transform((text) => text.split(delimiter).filter((folder) => folder !== ""))
  .refine(
    (list) => list.every((folder) => isAbsolute(folder)),
    `is no list of absolute paths separated by \`${delimiter}\``,
  );

// The code that opens the anchors checks the content of a line: this module cannot read verifier keys.
const anchors = z.string().transform((text) =>
  text
    .split(",")
    .map((line) => line.trim())
    .filter((line) => line !== ""),
);
const anchorsRequired = z
  .string()
  .regex(/^\d{1,2}$/, "is no number of anchors; write a number from 0 to 16")
  .transform(Number)
  .refine((count) => count <= 16, "is no number of anchors; write a number from 0 to 16");

const folder = z.string().refine(isAbsolute, "is no absolute path");

const variables = z.object({
  DATABASE_URL: connectionString.optional(),
  COUNTERSIGN_APP_DATABASE_URL: connectionString.optional(),
  COUNTERSIGN_HOST: host.default(defaultHost),
  COUNTERSIGN_PORT: port.default(defaultPort),
  COUNTERSIGN_LOG: logLevel.default("info"),
  COUNTERSIGN_SEALING_KEY: sealingKeys.optional(),
  COUNTERSIGN_WORKSPACE_ROOTS: folders.optional(),
  COUNTERSIGN_ARCHIVES: z
    .string()
    .refine((folder) => isAbsolute(folder), "is no absolute path")
    .optional(),
  COUNTERSIGN_LOG_KEYS: folder.optional(),
  COUNTERSIGN_SELF_CHECK_MINUTES: z
    .string()
    .regex(/^\d{1,4}$/, "is no number of minutes; write 15, or 0 to verify only when asked")
    .transform(Number)
    .refine((minutes) => minutes <= 1_440, "is more than a day (1440 minutes)")
    .default(selfCheckMinutesDefault),
  COUNTERSIGN_METRICS_TOKEN: z
    .string()
    .regex(
      /^[\x21-\x7e]{16,256}$/,
      "is no token of 16 to 256 visible ASCII characters; make one with `openssl rand -hex 32`",
    )
    .optional(),
  COUNTERSIGN_ANCHORS: anchors.optional(),
  COUNTERSIGN_ANCHORS_REQUIRED: anchorsRequired.default(0),
});

/** Parses an environment. Empty variables count as unset. Throws `configuration_invalid` with all problems. */
export function parseConfig(env: Readonly<Record<string, string | undefined>>): ProcessConfig {
  const known = Object.keys(variables.shape);
  const given = Object.fromEntries(
    known.flatMap((name) => (env[name] === undefined || env[name] === "" ? [] : [[name, env[name]]])),
  );
  const parsed = variables.safeParse(given);
  const problems: Problem[] =
    parsed.error?.issues.map((issue) => ({
      code: "configuration_invalid",
      message: `\`${issue.path.join(".")}\` ${issue.message}`,
    })) ?? [];
  if (given["COUNTERSIGN_APP_DATABASE_URL"] !== undefined && given["DATABASE_URL"] === undefined) {
    problems.push({
      code: "configuration_invalid",
      message: "`COUNTERSIGN_APP_DATABASE_URL` needs `DATABASE_URL` beside it, the owner's login",
    });
  }
  if (parsed.data === undefined || problems.length > 0) {
    throw new RefusalError(
      refused("configuration_invalid", problems.map((problem) => problem.message).join("; "), { problems }),
    );
  }
  const { data } = parsed;
  return {
    ...(data.DATABASE_URL === undefined ? {} : { databaseUrl: data.DATABASE_URL }),
    ...(data.COUNTERSIGN_APP_DATABASE_URL === undefined
      ? {}
      : { applicationDatabaseUrl: data.COUNTERSIGN_APP_DATABASE_URL }),
    ...(data.COUNTERSIGN_SEALING_KEY === undefined ? {} : { sealingKeys: data.COUNTERSIGN_SEALING_KEY }),
    ...(data.COUNTERSIGN_ARCHIVES === undefined ? {} : { archives: data.COUNTERSIGN_ARCHIVES }),
    ...(data.COUNTERSIGN_WORKSPACE_ROOTS === undefined ? {} : { workspaceRoots: data.COUNTERSIGN_WORKSPACE_ROOTS }),
    ...(data.COUNTERSIGN_ANCHORS === undefined ? {} : { anchors: data.COUNTERSIGN_ANCHORS }),
    anchorsRequired: data.COUNTERSIGN_ANCHORS_REQUIRED,
    selfCheckMinutes: data.COUNTERSIGN_SELF_CHECK_MINUTES,
    ...(data.COUNTERSIGN_METRICS_TOKEN === undefined ? {} : { metricsToken: data.COUNTERSIGN_METRICS_TOKEN }),
    ...(data.COUNTERSIGN_LOG_KEYS === undefined ? {} : { logKeys: data.COUNTERSIGN_LOG_KEYS }),
    host: data.COUNTERSIGN_HOST,
    port: data.COUNTERSIGN_PORT,
    logLevel: data.COUNTERSIGN_LOG,
    unknownVariables: Object.keys(env)
      .filter((name) => name.startsWith("COUNTERSIGN_") && !known.includes(name) && !readElsewhere.includes(name))
      .sort(),
  };
}

function isPostgresUrl(text: string): boolean {
  // An empty host beside ?host=/socket is legal for PostgreSQL, and not for a URL parser.
  const filled = text.replace("@/", "@localhost/");
  if (!URL.canParse(filled)) return false;
  const url = new URL(filled);
  return (url.protocol === "postgres:" || url.protocol === "postgresql:") && url.pathname.length > 1;
}

/** 32 bytes written as hex or base64(url); undefined when it is neither. */
export function parseSealingKey(text: string): Uint8Array | undefined {
  if (/^[0-9a-f]{64}$/i.test(text)) return Buffer.from(text, "hex");
  if (!/^[A-Za-z0-9+/_-]{43}=?$/.test(text)) return undefined;
  const bytes = Buffer.from(text, "base64");
  return bytes.length === 32 ? bytes : undefined;
}
