/**
 * `countersign-verify`: a verdict on a bundle or a receipt, from nothing but the file and the auditor's own policy,
 * keys and anchors. It trusts no key and no anchor that comes with the file, uses no network, and says which checks it
 * could not make.
 */
import { createReadStream, readFileSync } from "node:fs";
import {
  exitCodeOf,
  exitCodes,
  findingTitle,
  reportLines,
  Summary,
  verdictOf,
  verifyBundle,
  verifyReceipt,
  type BundleResult,
  type ReceiptResult,
  type Trust,
} from "@countersign/proof";
import {
  loadTrust,
  PolicyFileError,
  readKeyStatements,
  readPolicyFile,
  type LedgerName,
} from "@countersign/proof/load";
import { endsOf, readArchive, withArchives, type Archive } from "./archives.js";
import { openInput, readWhole, type Input } from "./input.js";
import { helpText, readArguments, type Options } from "./options.js";
import { progress } from "./progress.js";
import type { World } from "./world.js";

export async function main(): Promise<void> {
  // It is no error when the reader of our output goes away (`| head`).
  process.stdout.on("error", () => undefined);
  process.exitCode = await run({
    args: process.argv.slice(2),
    stdin: process.stdin,
    out: (text) => void process.stdout.write(text),
    err: (text) => void process.stderr.write(text),
    watched: process.stderr.isTTY,
    nowMs: () => performance.now(),
  });
}

/** Returns the exit code. */
export async function run(world: World): Promise<number> {
  const asked = readArguments(world.args);
  switch (asked.kind) {
    case "help":
      world.out(helpText);
      return exitCodes.ok;
    case "version":
      world.out(`countersign-verify ${version()}\n`);
      return exitCodes.ok;
    case "usage":
      return wrong(world, `${asked.problem}\nTry countersign-verify --help`);
    case "verify":
      return verify(world, asked.options);
  }
}

/** A file that is no policy has one problem for each line. */
const problemsShown = 10;

async function verify(world: World, options: Options): Promise<number> {
  const { policy, keys, requireAnchored } = options;
  let trustOf: (ledger: LedgerName) => Trust;
  try {
    // Checked before anything is read, so a mistyped path is reported at once.
    if (policy !== undefined) readPolicyFile(policy);
    const keyStatements = keys === undefined ? [] : readKeyStatements(keys);
    trustOf = (ledger) => loadTrust({ policyPath: policy, ledger, requireAnchored, keyStatements });
  } catch (error) {
    if (error instanceof PolicyFileError)
      return wrong(
        world,
        [
          ...error.problems
            .slice(0, problemsShown)
            .map(({ line, message }) => `${policy ?? ""}${line === 0 ? "" : `:${line}`}: ${message}`),
          ...(error.problems.length > problemsShown ? [`… and ${error.problems.length - problemsShown} more`] : []),
        ].join("\n"),
      );
    return wrong(world, `cannot use \`${keys ?? ""}\`: ${reasonOf(error)}`);
  }
  let input: Input;
  try {
    input = await openInput(options.input, world.stdin);
  } catch (error) {
    return unreadable(world, options, reasonOf(error));
  }
  return input.kind === "receipt" ? receipt(world, options, input, trustOf) : bundle(world, options, input, trustOf);
}

// ---- bundles ------------------------------------------------------------------------------------------------------------

async function bundle(
  world: World,
  options: Options,
  input: Input,
  trustOf: (ledger: LedgerName) => Trust,
): Promise<number> {
  if (options.content !== undefined) return wrong(world, "--content belongs to a receipt; this is a bundle");
  const archives: Archive[] = [];
  try {
    for (const path of options.archives) archives.push(await readArchive(path, piecesOf(path), options.tenant));
  } catch (error) {
    return unreadable(world, options, reasonOf(error));
  }
  const summary = new Summary();
  const watcher = progress(world, input.size);
  let policySource = "none";
  const result = await verifyBundle(watcher.count(input.bytes), {
    summary,
    clock: world.nowMs,
    hashesAt: endsOf(archives),
    ...(options.tenant === undefined ? {} : { tenant: options.tenant }),
    trust: (header) => {
      const trust = trustOf(header);
      policySource = trust.policySource;
      return trust;
    },
  });
  watcher.end();
  const whole = withArchives(result, archives);
  const told = { source: options.input, policySource, header: whole.header, summary: summary.result };
  if (options.json)
    print(world, whole, {
      ...told,
      archives: archives.map(({ path, sha256, result: { entries } }) => ({ path, sha256, entries })),
    });
  else world.out(`${[...reportLines(whole, told), ...archiveLines(archives, whole)].join("\n")}\n`);
  return exitCodeOf(whole);
}

function piecesOf(path: string): AsyncIterable<Uint8Array> {
  return createReadStream(path, { highWaterMark: 1 << 20 });
}

function archiveLines(archives: readonly Archive[], result: BundleResult): string[] {
  return archives.flatMap(({ path, sha256, result: { entries } }) => {
    const bad = result.findings.some(({ detail }) => detail?.includes(path) === true);
    return bad ? [] : [`archive ${path}: ${entries} entries verify, and a pruning names it by its SHA-256 ${sha256}`];
  });
}

// ---- receipts -----------------------------------------------------------------------------------------------------------

const receiptBytesMax = 1 << 20;
const contentBytesMax = 4 << 20;

async function receipt(
  world: World,
  options: Options,
  input: Input,
  trustOf: (ledger: LedgerName) => Trust,
): Promise<number> {
  if (options.archives.length > 0) return wrong(world, "--archive belongs to a bundle; this is a receipt");
  let content: Uint8Array | undefined;
  let bytes: Uint8Array | undefined;
  try {
    bytes = await readWhole(input.bytes, receiptBytesMax);
    if (options.content !== undefined) content = await contentOf(options.content, world);
  } catch (error) {
    return unreadable(world, options, reasonOf(error));
  }
  let policySource = "none";
  const result = verifyReceipt(bytes ?? new Uint8Array(receiptBytesMax + 1), {
    ...(content === undefined ? {} : { content }),
    trust: (ledger) => {
      const trust = trustOf(ledger);
      policySource = trust.policySource;
      return trust;
    },
  });
  if (options.json) print(world, result, { source: options.input, policySource });
  else world.out(`${receiptLines(result, options, policySource).join("\n")}\n`);
  return exitCodeOf(result);
}

async function contentOf(path: string, world: World): Promise<Uint8Array> {
  const { bytes } = await openInput(path, world.stdin);
  const content = await readWhole(bytes, contentBytesMax);
  if (content === undefined) throw new Error(`\`${path}\` is larger than any content`);
  return content;
}

function receiptLines(result: ReceiptResult, options: Options, policySource: string): string[] {
  const lines = reportLines(result, { source: options.input, policySource });
  const { receipt: read } = result;
  if (read === undefined) return lines;
  const { seq, origin, size, timeMs, contentHash, content } = read;
  const what =
    content === undefined
      ? `its content has the SHA-256 ${contentHash}; give it with --content to see that it is the one`
      : `${content.action} of ${content.subject.type} ${content.subject.id} by ${content.actor.type} ${content.actor.id}`;
  const about = `entry ${seq} of ${origin}, committed ${new Date(timeMs).toISOString()}, is in its tree of ${size} entries: ${what}`;
  return result.integrity === "tampered" ? lines : [...lines.slice(0, 1), about, ...lines.slice(1)];
}

// ---- talking ------------------------------------------------------------------------------------------------------------

function print(world: World, result: BundleResult | ReceiptResult, more: Readonly<Record<string, unknown>>): void {
  const findings = result.findings.map((finding) => ({ ...finding, title: findingTitle(finding) }));
  const told = { verdict: verdictOf(result), exitCode: exitCodeOf(result), ...result, findings, ...more };
  world.out(`${JSON.stringify(told, null, 2)}\n`);
}

function wrong(world: World, problem: string): number {
  world.err(`countersign-verify: ${problem}\n`);
  return exitCodes.usage;
}

function unreadable(world: World, { json }: Options, reason: string): number {
  if (json)
    world.out(
      `${JSON.stringify({ verdict: "undecided", exitCode: exitCodes.undecided, undecided: reason }, null, 2)}\n`,
    );
  else world.err(`countersign-verify: could not decide: ${reason}\n`);
  return exitCodes.undecided;
}

function reasonOf(error: unknown): string {
  const { code, path } = error as { readonly code?: unknown; readonly path?: unknown };
  if (code === "ENOENT" && typeof path === "string") return `there is no file \`${path}\``;
  return error instanceof Error ? error.message : String(error);
}

function version(): string {
  const text = readFileSync(new URL("../package.json", import.meta.url), "utf8");
  return (JSON.parse(text) as { version: string }).version;
}
