/**
 * Programs in processes of their own, for tests that kill them. A program is a TypeScript file that talks by
 * `process.send` and is told by messages or signals; nothing here waits for time to pass.
 */
import { fork, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { afterAll } from "vitest";

export interface ProgramOptions {
  readonly env?: Readonly<Record<string, string>>;
  /** Run as another user (only root can). */
  readonly uid?: number;
  readonly gid?: number;
  /** A process group of its own, as a terminal gives it: signals to `-pid` reach it and what it did not detach. */
  readonly ownGroup?: boolean;
}

export interface Program<Message> {
  readonly pid: number;
  /** The next message that it sends; rejects with its output when it ends first. */
  next(): Promise<Message>;
  send(message: object): void;
  kill(signal: NodeJS.Signals): void;
  /** Resolves when it has ended. */
  readonly ended: Promise<{ code: number | null; signal: NodeJS.Signals | null; output: string }>;
}

const running = new Set<ChildProcess>();
afterAll(() => {
  for (const child of running) child.kill("SIGKILL");
});

const hooks = new URL("./typescriptHooks.mjs", import.meta.url).href;

/** Starts `file` (a path beside the tests, `./support/x.ts`). */
export function startProgram<Message>(
  file: URL,
  args: readonly string[] = [],
  options: ProgramOptions = {},
): Program<Message> {
  const { env, ownGroup, ...user } = options;
  const child = fork(fileURLToPath(file), [...args], {
    execArgv: ["--enable-source-maps", "--import", hooks],
    env: { PATH: process.env["PATH"], ...env },
    stdio: ["ignore", "pipe", "pipe", "ipc"],
    detached: ownGroup === true,
    ...user,
  });
  running.add(child);
  const { pid } = child;
  if (pid === undefined) throw new Error(`\`${file.href}\` could not be started`);

  let output = "";
  const collect = (chunk: Buffer): void => void (output += chunk.toString("utf8"));
  child.stdout?.on("data", collect);
  child.stderr?.on("data", collect);

  const messages: Message[] = [];
  const waiting: { resolve(message: Message): void; reject(error: Error): void }[] = [];
  child.on("message", (message) => {
    const first = waiting.shift();
    if (first === undefined) messages.push(message as Message);
    else first.resolve(message as Message);
  });
  // "close" comes after the last message and the last output; "exit" may come before them.
  const ended = once(child, "close").then(([code, signal]) => {
    running.delete(child);
    for (const waiter of waiting.splice(0))
      waiter.reject(new Error(`the program ended (${String(code ?? signal)}): ${output}`));
    return { code: code as number | null, signal: signal as NodeJS.Signals | null, output };
  });
  let over = false;
  void ended.then(() => (over = true));

  return {
    pid,
    ended,
    next: () => {
      const message = messages.shift();
      if (message !== undefined) return Promise.resolve(message);
      if (over) return Promise.reject(new Error(`the program has ended: ${output}`));
      return new Promise((resolve, reject) => waiting.push({ resolve, reject }));
    },
    send: (message) => void child.send(message),
    kill: (signal) => void child.kill(signal),
  };
}
