/** The tools of a command: the client, the person's key, questions, and the ways to answer. */
import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import type { OperationOutput } from "@countersign/contract";
import { Countersign } from "@countersign/sdk";
import { dataDirectoryPath } from "../platform/index.js";
import { asker, type Asker } from "./ask.js";
import { configFolder, parseJson, readIfThere, readProfiles, type Profile } from "./credentials.js";
import { CliError } from "./exit.js";
import type { Terminal } from "./terminal.js";
import { inline, lines, painter, show, type Painter, type Shown } from "./text.js";

/** Options every command takes. */
export interface GlobalOptions {
  readonly json?: boolean;
  readonly url?: string;
  readonly profile?: string;
  readonly passphraseFile?: string;
  readonly yes?: boolean;
  readonly color?: boolean;
}

export type WhoAmI = OperationOutput<"whoAmI">;

export class Cli {
  readonly terminal: Terminal;
  readonly options: GlobalOptions;
  readonly paint: Painter;
  readonly ask: Asker;
  /** Folder of credentials and keys. */
  readonly folder: string;
  #client: Countersign | undefined;
  #me: Promise<WhoAmI> | undefined;

  constructor(terminal: Terminal, options: GlobalOptions) {
    this.terminal = terminal;
    this.options = options;
    this.paint = painter(terminal.colors && options.color !== false && options.json !== true);
    this.ask = asker(terminal.interactive && options.json !== true);
    this.folder = configFolder(terminal);
  }

  get json(): boolean {
    return this.options.json === true;
  }

  /** Prints the answer of the command: the document with `--json`, else the text that `human` makes of it. */
  async answer(document: unknown, human: () => Shown): Promise<void> {
    await this.terminal.out(this.json ? `${JSON.stringify(document, null, 2)}\n` : `${human().text}\n`);
  }

  /** Beside the answer, for people: not with `--json`. */
  note(text: Shown): void {
    if (!this.json) this.terminal.err(`${text.text}\n`);
  }

  /** Goes on only if the person says so, or said so before with `--yes`. */
  async sure(question: Shown): Promise<void> {
    if (this.options.yes === true) return;
    if (!(await this.ask.confirm(question, "`--yes`"))) throw new CliError("cancelled", "cancelled; nothing was done");
  }

  path(given: string): string {
    return resolve(this.terminal.cwd, given);
  }

  get profileName(): string {
    return this.options.profile ?? this.terminal.env["COUNTERSIGN_PROFILE"] ?? "default";
  }

  get profile(): Profile | undefined {
    return readProfiles(this.folder)[this.profileName];
  }

  /** The address that was asked for, else that of the login, else of a server on this machine, else the usual one. */
  get url(): string {
    return this.chosenUrl ?? this.profile?.url ?? this.#localServer() ?? "http://127.0.0.1:7117";
  }

  get chosenUrl(): string | undefined {
    const chosen = this.options.url ?? this.terminal.env["COUNTERSIGN_URL"];
    return chosen === undefined || chosen === "" ? undefined : checkedUrl(chosen);
  }

  get dataDirectory(): string {
    return dataDirectoryPath({ env: this.terminal.env, platform: process.platform, home: this.terminal.home });
  }

  #localServer(): string | undefined {
    const parsed = parseJson(readIfThere(join(this.dataDirectory, "server.json")) ?? "");
    const url = (parsed as { url?: unknown } | undefined)?.url;
    return typeof url === "string" && URL.canParse(url) ? url : undefined;
  }

  /** A client without a key: to enrol. */
  anonymous(url = this.url): Countersign {
    return new Countersign({ url, userAgent });
  }

  get client(): Countersign {
    this.#client ??= new Countersign({ url: this.url, key: this.#key(), userAgent });
    return this.#client;
  }

  #key(): string {
    const given = this.terminal.env["COUNTERSIGN_KEY"];
    if (given !== undefined && given !== "") return given;
    const profile = this.profile;
    const help = ["countersign enrol   (a person, with a one-time code)", "countersign login   (with an API key)"];
    if (profile === undefined)
      throw new CliError("not_logged_in", `there is no login \`${this.profileName}\` in \`${this.folder}\``, { help });
    // INVARIANT: a key goes only to the server it was given for.
    if (new URL(this.url).origin !== new URL(profile.url).origin) {
      throw new CliError(
        "not_logged_in",
        `the login \`${this.profileName}\` is for \`${profile.url}\`, not for \`${this.url}\``,
        { help: [`countersign login --url ${this.url} --profile NAME`] },
      );
    }
    return profile.key;
  }

  /** Asked once. */
  me(): Promise<WhoAmI> {
    this.#me ??= this.client.whoAmI();
    return this.#me;
  }

  /** After a login within the command. */
  forget(): void {
    this.#client = undefined;
    this.#me = undefined;
  }

  /** The passphrase of the person's key, from where they put it, else asked. */
  async passphrase(question: Shown): Promise<string> {
    const path = this.options.passphraseFile ?? this.terminal.env["COUNTERSIGN_PASSPHRASE_FILE"];
    if (path !== undefined && path !== "") return firstLine(this.path(path));
    const given = this.terminal.env["COUNTERSIGN_PASSPHRASE"];
    if (given !== undefined && given !== "") return given;
    return this.ask.secret(question, "`--passphrase-file FILE` or COUNTERSIGN_PASSPHRASE");
  }

  get passphraseIsGiven(): boolean {
    const { env } = this.terminal;
    return (
      this.options.passphraseFile !== undefined ||
      (env["COUNTERSIGN_PASSPHRASE_FILE"] ?? "") !== "" ||
      (env["COUNTERSIGN_PASSPHRASE"] ?? "") !== ""
    );
  }
}

const userAgent = "countersign-cli/0.1.0";

function checkedUrl(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || !["http:", "https:"].includes(url.protocol))
    throw new CliError("usage", `\`${text}\` is no address of a server; write \`http://127.0.0.1:7117\``);
  return text.replace(/\/+$/, "");
}

function firstLine(path: string): string {
  try {
    return readFileSync(path, "utf8").replace(/\r?\n[\s\S]*$/, "");
  } catch (cause) {
    throw new CliError("file_unreadable", `cannot read the passphrase from \`${path}\``, { cause });
  }
}

/** The commands that come next, each on its line. */
export function next(
  paint: Painter,
  commands: readonly (readonly [command: string, why: string])[],
): Shown | undefined {
  if (commands.length === 0) return undefined;
  const width = Math.max(...commands.map(([command]) => command.length));
  return lines(
    paint.dim("Next:"),
    ...commands.map(([command, why]) => show`  ${paint.cyan(command.padEnd(width))}  ${paint.dim(inline(why))}`),
  );
}
