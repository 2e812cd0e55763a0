/**
 * `git` as a child process. No setting of the machine or the user changes its behaviour: no hooks, no signing, no
 * filters, no prompts, and no environment variable that points git elsewhere. Its time and the size of its answer are
 * bounded.
 */
import { spawn } from "node:child_process";
import { maskText } from "../../platform/index.js";

export interface GitResult {
  readonly code: number;
  readonly stdout: Buffer;
  /** Without passwords, at most 2,000 characters. */
  readonly stderr: string;
}

export interface GitRun {
  readonly input?: AsyncIterable<Uint8Array | string> | Iterable<Uint8Array | string>;
  readonly timeoutMs?: number;
}

const timeoutMsUsual = 60_000;
const stdoutBytesMax = 64 * 1024 * 1024;
const stderrCharactersMax = 2_000;

const settings = [
  "core.hooksPath=/dev/null",
  "core.fsmonitor=false",
  "core.attributesFile=/dev/null",
  "core.autocrlf=false",
  // git 2.36: committed objects are on the disk.
  "core.fsync=all",
  "core.fsyncMethod=fsync",
  "commit.gpgSign=false",
  "push.gpgSign=false",
  "gc.autoDetach=false",
  "protocol.ext.allow=never",
].flatMap((setting) => ["-c", setting]);

function environment(): NodeJS.ProcessEnv {
  const kept = Object.entries(process.env).filter(([name]) => !name.startsWith("GIT_") || name === "GIT_SSH_COMMAND");
  return {
    GIT_SSH_COMMAND: "ssh -o BatchMode=yes -o ConnectTimeout=15",
    ...Object.fromEntries(kept),
    GIT_CONFIG_NOSYSTEM: "1",
    GIT_CONFIG_GLOBAL: "/dev/null",
    GIT_TERMINAL_PROMPT: "0",
    GIT_OPTIONAL_LOCKS: "0",
    LC_ALL: "C",
  };
}

/** Git in one folder. */
export class Git {
  readonly directory: string;
  readonly #signal: AbortSignal;

  /** `signal` ends a running command. */
  constructor(directory: string, signal: AbortSignal) {
    this.directory = directory;
    this.#signal = signal;
  }

  /** Rejects when git cannot be started, answers too much or does not end in time; an exit code is an answer. */
  run(args: readonly string[], run: GitRun = {}): Promise<GitResult> {
    if (this.#signal.aborted) return Promise.reject(new Error("the anchor is being closed"));
    return runGit({ directory: this.directory, signal: this.#signal, args, ...run });
  }

  /** The answer of a git that has to succeed. */
  async answer(args: readonly string[], run?: GitRun): Promise<Buffer> {
    const { code, stdout, stderr } = await this.run(args, run);
    if (code === 0) return stdout;
    throw new Error(`\`git ${args[0] ?? ""}\` failed (${code}): ${stderr.slice(0, 500)}`);
  }
}

interface Command extends GitRun {
  readonly directory: string;
  readonly args: readonly string[];
  readonly signal: AbortSignal;
}

function runGit({ directory, args, signal, input = [], timeoutMs = timeoutMsUsual }: Command): Promise<GitResult> {
  return new Promise((resolve, reject) => {
    const child = spawn("git", [...settings, ...args], {
      cwd: directory,
      env: environment(),
      stdio: ["pipe", "pipe", "pipe"],
    });
    const pieces: Buffer[] = [];
    let bytes = 0;
    let stderr = "";
    const give = (problem: Error): void => {
      child.kill("SIGKILL");
      reject(problem);
    };
    const cut = (): void => give(new Error("the anchor is being closed"));
    signal.addEventListener("abort", cut, { once: true });
    const late = (): void => give(new Error(`\`git ${args[0] ?? ""}\` did not end within ${timeoutMs} ms`));
    const timer = setTimeout(late, timeoutMs);
    const ended = (): void => {
      clearTimeout(timer);
      signal.removeEventListener("abort", cut);
    };
    child.on("error", (cause) => {
      ended();
      give(new Error(`git cannot be run: ${cause.message}`, { cause }));
    });
    child.stdout.on("data", (piece: Buffer) => {
      bytes += piece.length;
      if (bytes > stdoutBytesMax) give(new Error(`\`git ${args[0] ?? ""}\` answered too much`));
      else pieces.push(piece);
    });
    child.stderr.on("data", (piece: Buffer) => {
      if (stderr.length < stderrCharactersMax) stderr += piece.toString("utf8");
    });
    child.on("close", (code) => {
      ended();
      const said = maskText(stderr.slice(0, stderrCharactersMax)).trim();
      resolve({ code: code ?? -1, stdout: Buffer.concat(pieces), stderr: said });
    });
    // EPIPE: git ended early; its exit code says why.
    child.stdin.on("error", () => undefined);
    feed(child.stdin, input).catch(give);
  });
}

async function feed(stdin: NodeJS.WritableStream, input: NonNullable<GitRun["input"]>): Promise<void> {
  for await (const piece of input) {
    if (!stdin.writable) return;
    if (!stdin.write(piece)) await drained(stdin);
  }
  stdin.end();
}

function drained(stdin: NodeJS.WritableStream): Promise<void> {
  return new Promise((resolve) => {
    stdin.once("drain", resolve);
    stdin.once("close", resolve);
  });
}
