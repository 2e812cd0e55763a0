/** The real command line against a real server in a process of its own: a person's home, a repository, a data directory. */
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll } from "vitest";
import { runCli } from "../../src/cli/main.js";
import type { Terminal } from "../../src/cli/terminal.js";
import { temporaryDirectory } from "./postgres.js";

const hooks = new URL("./typescriptHooks.mjs", import.meta.url).href;
const program = fileURLToPath(new URL("./cliProgram.ts", import.meta.url));
const running = new Set<ChildProcess>();
afterAll(async () => {
  const left = [...running].filter((child) => child.exitCode === null && child.signalCode === null);
  for (const child of left) child.kill("SIGTERM");
  await Promise.all(left.map((child) => once(child, "exit")));
});

export interface Done {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunOptions {
  readonly env?: Readonly<Record<string, string>>;
  readonly input?: string;
  readonly cwd?: string;
}

export class Machine {
  readonly home = temporaryDirectory();
  readonly repository = join(this.home, "shop");
  readonly data = join(this.home, "data");
  readonly #env: Readonly<Record<string, string>>;

  constructor(env: Readonly<Record<string, string>> = {}) {
    mkdirSync(this.repository);
    this.#env = {
      PATH: process.env["PATH"] ?? "",
      HOME: this.home,
      COUNTERSIGN_DATA: this.data,
      COUNTERSIGN_PASSPHRASE: "correct horse",
      ...env,
    };
  }

  #spawn(args: readonly string[], options: RunOptions): ChildProcess {
    const child = spawn(process.execPath, ["--import", hooks, program, ...args], {
      cwd: options.cwd ?? this.repository,
      env: { ...this.#env, ...options.env },
      stdio: ["pipe", "pipe", "pipe"],
    });
    running.add(child);
    return child;
  }

  /** In this process, for speed: the program is the same but for its streams, environment and folder. */
  async run(args: readonly string[], options: RunOptions = {}): Promise<Done> {
    const output = { stdout: "", stderr: "" };
    const terminal: Terminal = {
      env: { ...this.#env, ...options.env },
      cwd: options.cwd ?? this.repository,
      home: this.home,
      nowMs: Date.now,
      interactive: false,
      colors: false,
      columns: 400,
      out: async (text) => void (output.stdout += text),
      err: (text) => void (output.stderr += text),
      readStdin: async () => Buffer.from(options.input ?? ""),
    };
    const code = await runCli(args, terminal);
    return { code, ...output };
  }

  /** The same in a process of its own. */
  async process(args: readonly string[], options: RunOptions = {}): Promise<Done> {
    const child = this.#spawn(args, options);
    const output = { stdout: "", stderr: "" };
    child.stdout?.setEncoding("utf8").on("data", (text: string) => void (output.stdout += text));
    child.stderr?.setEncoding("utf8").on("data", (text: string) => void (output.stderr += text));
    child.stdin?.end(options.input ?? "");
    const [code] = (await once(child, "close")) as [number | null];
    return { code, ...output };
  }

  /** A command that must do what it says; its `--json` answer. */
  async json<T = Record<string, unknown>>(args: readonly string[], options: RunOptions = {}): Promise<T> {
    const done = await this.run([...args, "--json"], options);
    if (done.code !== 0) throw new Error(`countersign ${args.join(" ")} ended with ${done.code}\n${done.stderr}`);
    return JSON.parse(done.stdout) as T;
  }

  /** `countersign start`, until it listens. */
  async start(): Promise<{ readonly url: string; stop(): Promise<number | null> }> {
    const child = this.#spawn(["start", "--port", "0", "--human", "ada", "--json"], {
      env: { COUNTERSIGN_LOG: "error" },
    });
    let errors = "";
    child.stderr?.setEncoding("utf8").on("data", (text: string) => void (errors += text));
    let text = "";
    for await (const chunk of child.stdout ?? []) {
      text += String(chunk);
      if (text.endsWith("}\n")) break;
    }
    if (!text.endsWith("}\n")) throw new Error(`the server did not start\n${errors}`);
    const { url } = JSON.parse(text) as { url: string };
    return {
      url,
      stop: async () => {
        child.kill("SIGTERM");
        const [code] = (await once(child, "exit")) as [number | null];
        return code;
      },
    };
  }
}
