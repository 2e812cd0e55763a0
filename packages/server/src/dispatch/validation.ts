/** Checks a request against the operation's schema, and reports all problems at once, with JSON pointers. */
import {
  type ErrorCode,
  errorCatalogue,
  type Operation,
  type Problem,
  refusedForProblems,
  type Refusal,
} from "@countersign/contract";
import { isStorable } from "@countersign/proof";
import type { z } from "zod";

/** Problems listed at most: a body of a hundred thousand wrong members is answered briefly. */
const problemsMax = 100;

export function validate(
  operation: Operation,
  input: Readonly<Record<string, unknown>>,
): { readonly kind: "checked"; readonly value: unknown } | Refusal {
  const unstorable = unstorableTexts(input);
  if (unstorable.length > 0) return refusedForProblems(unstorable.slice(0, problemsMax));
  const parsed = operation.input.safeParse(input, { reportInput: true });
  if (parsed.success) return { kind: "checked", value: parsed.data };
  return refusedForProblems(parsed.error.issues.flatMap((issue) => problemsOf(issue, [])).slice(0, problemsMax));
}

type Issue = z.core.$ZodIssue;

function problemsOf(issue: Issue, base: readonly PropertyKey[]): Problem[] {
  const path = [...base, ...issue.path];
  switch (issue.code) {
    case "unrecognized_keys":
      return issue.keys.map((key) => ({
        code: "invalid_request",
        pointer: pointerOf([...path, key]),
        message: `\`${key}\` is no member of this; leave it out`,
      }));
    case "invalid_union": {
      // The branch that fits best is the one whose discriminator fits: the fewest problems.
      const best = [...issue.errors].sort((a, b) => a.length - b.length)[0];
      return best === undefined || best.length === 0
        ? [problem(issue, path)]
        : best.flatMap((inner) => problemsOf(inner, path));
    }
    case "invalid_key":
    case "invalid_element":
      return issue.issues.flatMap((inner) => problemsOf(inner, path));
    default:
      return [problem(issue, path)];
  }
}

function problem(issue: Issue, path: readonly PropertyKey[]): Problem {
  return { code: codeOf(issue), pointer: pointerOf(path), message: messageOf(issue, path) };
}

function codeOf(issue: Issue): ErrorCode {
  const named: unknown = issue.code === "custom" ? issue.params?.["code"] : undefined;
  if (typeof named === "string" && Object.hasOwn(errorCatalogue, named)) return named as ErrorCode;
  if (issue.code === "too_big" && (issue.origin === "string" || issue.origin === "array")) return "limit_exceeded";
  return "invalid_request";
}

function messageOf(issue: Issue, path: readonly PropertyKey[]): string {
  const name = path.length === 0 ? "the request" : `\`${path.map(String).join(".")}\``;
  const text = issue.message.slice(0, 1).toLowerCase() + issue.message.slice(1);
  if (issue.code === "invalid_type" && issue.input === undefined) return `${name} is missing`;
  return `${name}: ${text}`;
}

export function pointerOf(path: readonly PropertyKey[]): string {
  return path.map((part) => `/${String(part).replaceAll("~", "~0").replaceAll("/", "~1")}`).join("");
}

/** The strict parser saw to the body; paths and queries are checked here. */
function unstorableTexts(input: Readonly<Record<string, unknown>>): Problem[] {
  const problems: Problem[] = [];
  for (const [name, value] of Object.entries(input)) {
    const texts =
      typeof value === "string"
        ? [value]
        : Array.isArray(value)
          ? value.filter((one): one is string => typeof one === "string")
          : [];
    if (texts.some((text) => !isStorable(text)))
      problems.push({
        code: "text_unstorable",
        pointer: pointerOf([name]),
        message: `\`${name}\` holds U+0000 or a lone surrogate; leave it out`,
      });
  }
  return problems;
}
