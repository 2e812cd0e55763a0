/** Parses the command's arguments into options. Pure. */
import { parseArgs } from "node:util";

export interface Options {
  /** A bundle or a receipt; `-`: standard input. */
  readonly input: string;
  readonly policy?: string;
  readonly requireAnchored: boolean;
  /** The tenant the bundle must be of. */
  readonly tenant?: string;
  /** Bundles that pruned entries were moved to. */
  readonly archives: readonly string[];
  /** The content of a receipt's entry. */
  readonly content?: string;
  /** Signed key statements the auditor kept. */
  readonly keys?: string;
  readonly json: boolean;
}

export type Asked =
  | { readonly kind: "verify"; readonly options: Options }
  | { readonly kind: "help" }
  | { readonly kind: "version" }
  | { readonly kind: "usage"; readonly problem: string };

export const helpText = `Usage: countersign-verify BUNDLE [options]
       countersign-verify RECEIPT.tlog-proof --policy FILE [--content FILE]

Verifies a part of a Countersign ledger offline: nothing is asked but the file and what you bring along.
BUNDLE or RECEIPT may be - for standard input.

Options:
  --policy FILE        keys you pinned, anchors and witnesses to ask, and how many must confirm (a tlog-policy);
                       without it every key is the bundle's own word
  --require-anchored   what confirms must cover the last entry
  --tenant UUID        the ledger the bundle must be of
  --archive FILE       a bundle that pruned entries were moved to; may be given several times
  --keys FILE          signed key statements that you kept, one after the other
  --content FILE       with a receipt: the entry's content
  --json               the verdict for programs
  --version, --help

Exit codes: 0 integrity holds and completeness as far as it was demanded · 1 tampered · 2 completeness demanded and not shown
            3 could not decide (cannot read) · 4 malformed input · 64 called wrongly

Examples:
  countersign-verify ledger.bundle
  countersign-verify ledger.bundle --policy audit/policy --require-anchored
  countersign-verify entry-17.tlog-proof --policy audit/policy --content entry-17.json
  curl -s … | countersign-verify - --policy audit/policy --json
`;

export function readArguments(args: readonly string[]): Asked {
  try {
    const { values, positionals } = parseArgs({
      args: [...args],
      allowPositionals: true,
      options: {
        policy: { type: "string" },
        "require-anchored": { type: "boolean" },
        tenant: { type: "string" },
        archive: { type: "string", multiple: true },
        content: { type: "string" },
        keys: { type: "string" },
        json: { type: "boolean" },
        help: { type: "boolean", short: "h" },
        version: { type: "boolean", short: "V" },
      },
    });
    if (values.help === true) return { kind: "help" };
    if (values.version === true) return { kind: "version" };
    const [input, ...more] = positionals;
    if (input === undefined)
      return { kind: "usage", problem: "which bundle or receipt? Give its path, or - for standard input" };
    if (more.length > 0) return { kind: "usage", problem: `one file at a time; \`${more[0] ?? ""}\` is one too many` };
    if (values.tenant !== undefined && !/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(values.tenant))
      return { kind: "usage", problem: `\`${values.tenant}\` is no tenant: its UUID, in lower case` };
    const { policy, tenant, content, keys } = values;
    return {
      kind: "verify",
      options: {
        input,
        requireAnchored: values["require-anchored"] === true,
        archives: values.archive ?? [],
        json: values.json === true,
        ...(policy === undefined ? {} : { policy }),
        ...(tenant === undefined ? {} : { tenant }),
        ...(content === undefined ? {} : { content }),
        ...(keys === undefined ? {} : { keys }),
      },
    };
  } catch (error) {
    return { kind: "usage", problem: error instanceof Error ? error.message : String(error) };
  }
}
