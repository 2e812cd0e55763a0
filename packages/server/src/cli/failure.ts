/** Prints a failure: code, message, every problem with its pointer, and the command that would help. */
import { RefusalError, errorCatalogue, type ErrorCode } from "@countersign/contract";
import { CountersignError } from "@countersign/sdk";
import { CliError, exit, exitCodeOfCode, exitCodeOfError, localCodes, type ExitCode } from "./exit.js";
import { helpFor, type HintContext } from "./hints.js";
import { block, empty, lines, show, type Painter, type Shown } from "./text.js";

export interface Failure {
  readonly exitCode: ExitCode;
  readonly code: string;
  readonly message: string;
  readonly status?: number;
  readonly problems: readonly { readonly code?: string; readonly pointer?: string; readonly message: string }[];
  readonly legal?: readonly string[];
  readonly retryAfterSeconds?: number;
  readonly help: readonly string[];
}

export function failureOf(error: unknown, context: HintContext): Failure {
  if (error instanceof CliError)
    return {
      exitCode: localCodes[error.code],
      code: error.code,
      message: error.message,
      problems: error.problems,
      help: error.help,
    };
  if (error instanceof CountersignError) {
    const { code, detail, status, problems, legal, retryAfterSeconds } = error;
    const seconds = retryAfterSeconds === undefined ? {} : { retryAfterSeconds };
    return {
      exitCode: exitCodeOfError(error),
      code,
      message: detail,
      status,
      problems: told(detail, problems),
      ...(legal === undefined ? {} : { legal }),
      ...seconds,
      help: helpFor(code, legal, context),
    };
  }
  if (error instanceof RefusalError) {
    const { code, message, problems = [] } = error.refusal;
    return {
      exitCode: exitCodeOfCode(code, errorCatalogue[code as ErrorCode].status),
      code,
      message,
      problems: told(message, problems),
      help: helpFor(code, undefined, context),
    };
  }
  const message = error instanceof Error ? error.message : String(error);
  return {
    exitCode: exit.unreachable,
    code: "internal",
    message: `${message} (this is a fault of countersign; COUNTERSIGN_DEBUG=1 shows where)`,
    problems: [],
    help: [],
  };
}

/** A single problem that only repeats the message, without a place, says nothing new. */
function told<P extends { readonly pointer?: string; readonly message: string }>(
  message: string,
  problems: readonly P[],
): readonly P[] {
  return problems.length === 1 && problems[0]?.message === message && (problems[0].pointer ?? "") === ""
    ? []
    : problems;
}

export function failureText(paint: Painter, failure: Failure): Shown {
  const problems = failure.problems.map((problem) => {
    const place =
      problem.pointer === undefined
        ? empty
        : show`${paint.bold(problem.pointer === "" ? "(whole)" : problem.pointer)} `;
    return show`  ${place}${problem.code === undefined || problem.code === failure.code ? empty : show`${problem.code}: `}${problem.message}`;
  });
  return lines(
    show`${paint.red(failure.code)}: ${block(failure.message)}`,
    ...problems,
    failure.retryAfterSeconds !== undefined && show`  try again in ${failure.retryAfterSeconds} s`,
    ...failure.help.map((line, index) => show`${paint.dim(index === 0 ? "help: " : "      ")}${paint.cyan(line)}`),
  );
}

/** The document of `--json`, on stderr. */
export function failureDocument(failure: Failure): unknown {
  const { exitCode, ...error } = failure;
  return { error: { ...error, exitCode } };
}
