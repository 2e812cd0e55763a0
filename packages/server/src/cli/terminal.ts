/** The process's streams, environment, folder and time. All other code of the CLI takes them from here. */
import { homedir } from "node:os";

export interface Terminal {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly cwd: string;
  readonly home: string;
  readonly nowMs: () => number;
  /** People sit before both ends: prompts and progress make sense. */
  readonly interactive: boolean;
  readonly colors: boolean;
  readonly columns: number;
  readonly out: (text: string) => Promise<void>;
  readonly err: (text: string) => void;
  readonly readStdin: () => Promise<Buffer>;
}

export function processTerminal(): Terminal {
  const { stdin, stdout, stderr, env } = process;
  // A reader such as `head` that has seen enough is no failure.
  stdout.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code === "EPIPE") process.exit(0);
    throw error;
  });
  return {
    env,
    cwd: process.cwd(),
    home: homedir(),
    nowMs: Date.now,
    interactive: stdin.isTTY === true && stderr.isTTY === true,
    colors: wantsColors(env, stdout.isTTY === true),
    // Into a file or a pipe nothing is cut.
    columns: stdout.columns ?? 400,
    out: (text) => new Promise((resolve) => void stdout.write(text, () => resolve())),
    err: (text) => void stderr.write(text),
    readStdin: async () => {
      const chunks: Buffer[] = [];
      for await (const chunk of stdin) chunks.push(chunk as Buffer);
      return Buffer.concat(chunks);
    },
  };
}

/** no-color.org; FORCE_COLOR is for those who want colours in a pipe. */
export function wantsColors(env: Readonly<Record<string, string | undefined>>, isTty: boolean): boolean {
  if ((env["NO_COLOR"] ?? "") !== "") return false;
  if ((env["FORCE_COLOR"] ?? "") !== "" && env["FORCE_COLOR"] !== "0") return true;
  return isTty && env["TERM"] !== "dumb";
}
