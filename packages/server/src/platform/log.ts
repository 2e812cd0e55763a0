/**
 * The log of the process: JSON lines on stderr.
 * Promises: no key, token, password, cookie or authorization header is written, under whatever member it stands, nor the
 * password within a connection string.
 */
import pino, { type DestinationStream, type Logger } from "pino";
import type { LogLevel } from "./config.js";

/** The destination of the program's log. */
export type Log = Logger;

/** Members whose value is a secret, at any depth the program logs (pino's wildcard is one level, so each is listed). */
const secretMembers = [
  ...[
    "authorization",
    "Authorization",
    "cookie",
    "set-cookie",
    "password",
    "passphrase",
    "secret",
    "token",
    "apiKey",
    "api_key",
  ],
  ...[
    "key",
    "privateKey",
    "private_key",
    "sealingKey",
    "enrolmentCode",
    "code_plain",
    "signature_key",
    "COUNTERSIGN_SEALING_KEY",
  ],
] as const;
const MASK = "[secret]";
const DEPTH = 4;

export interface LogOptions {
  readonly level: LogLevel;
  readonly destination?: DestinationStream;
}

export function openLog(options: LogOptions): Log {
  const quoted = secretMembers.map((name) => `["${name}"]`);
  const paths = Array.from({ length: DEPTH }, (_, depth) =>
    quoted.map((name) => `${"*.".repeat(depth)}`.replace(/\.$/, "") + name),
  ).flat();
  return pino(
    {
      level: options.level,
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      redact: { paths, censor: MASK },
      serializers: { err: maskedError, error: maskedError },
      hooks: {
        logMethod(args, method) {
          method.apply(
            this,
            args.map((argument) => (typeof argument === "string" ? maskText(argument) : argument)) as typeof args,
          );
        },
        streamWrite: maskText,
      },
    },
    options.destination ?? pino.destination({ fd: 2, sync: true }),
  );
}

/** Hides the password of every connection string, bearer token, API key and enrolment code in a text. */
export function maskText(text: string): string {
  return text
    .replaceAll(/([a-z][a-z0-9+.-]*:\/\/[^\s:/?#@"]*):[^\s@"]*@/gi, `$1:${MASK}@`)
    .replaceAll(/([?&](?:password|sslpassword|token|key)=)[^&\s"]*/gi, `$1${MASK}`)
    .replaceAll(/\b(Bearer|Basic)\s+[A-Za-z0-9._~+/=-]+/g, `$1 ${MASK}`)
    .replaceAll(/\b(cs[ke])_[A-Za-z0-9_-]{20,}/g, `$1_${MASK}`);
}

function maskedError(error: unknown): unknown {
  return error instanceof Error ? pino.stdSerializers.errWithCause(error) : error;
}
