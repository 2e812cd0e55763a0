/**
 * The witness: a program of its own, best on a machine of somebody else, that cosigns the checkpoints of the logs it knows.
 * `countersign witness …` is its command line; docs/anchors.md says how to run one.
 */
import { existsSync, statSync } from "node:fs";
import { join } from "node:path";
import {
  formatVerifierKey,
  fromBase64Url,
  generateSigningKeyPair,
  publicKeyOf,
  signMessage,
  verifierKey,
} from "@countersign/proof";
import { z } from "zod";
import { type Clock, openDataDirectory, readIfPresent, writeOnce } from "../platform/index.js";
import { witnessFailure } from "./failure.js";
import { readLogs, trustedKeys, type KnownLog, type WitnessedLog } from "./logs.js";
import { serve, type WitnessTimeouts } from "./serve.js";
import { isNameable, makeStateFolder, WitnessState } from "./state.js";
import { addCheckpoint, type WitnessAnswer } from "./witness.js";

export { addLog, followStatements, type KnownLog } from "./logs.js";
export type { WitnessTimeouts } from "./serve.js";
export type { WitnessAnswer } from "./witness.js";

const about = z.strictObject({ v: z.literal(1), name: z.string(), publicKey: z.string() });

export interface WitnessIdentity {
  readonly name: string;
  /** The verifier key that logs and verifiers get: `NAME+90b3a1c2+BA…`. */
  readonly vkey: string;
  readonly directory: string;
}

/** Makes a witness's folder, key (0600) and memory. Throws `witness_unusable` when there is one already: a key is never replaced. */
export async function initWitness(request: {
  readonly directory: string;
  readonly name: string;
}): Promise<WitnessIdentity> {
  const { name } = request;
  if (!/^[!-*,-~]{1,100}$/.test(name))
    throw witnessFailure(
      `\`${name.slice(0, 100)}\` is no name of a witness; write 1 to 100 characters without spaces and plus signs, e.g. \`witness.example.org/w1\``,
    );
  const directory = openDataDirectory(request.directory);
  const pair = generateSigningKeyPair();
  // The key first: if we die before the description is there, `init` finds the key and goes on with it.
  await writeOnce(join(directory, "key"), `${pair.privateKey}\n`, 0o600);
  const { publicKey } = await readKey(directory);
  if (!existsSync(join(directory, "state"))) {
    if (existsSync(join(directory, "witness.json"))) throw forgotten(directory);
    await makeStateFolder(join(directory, "state"));
  }
  const text = `${JSON.stringify({ v: 1, name, publicKey })}\n`;
  if (!(await writeOnce(join(directory, "witness.json"), text, 0o600)))
    throw witnessFailure(`there is a witness in \`${directory}\` already; name another folder with \`--dir\``);
  return identity(directory, name, publicKey);
}

function identity(directory: string, name: string, publicKey: string): WitnessIdentity {
  return { directory, name, vkey: formatVerifierKey(verifierKey({ name, type: 4, publicKey })) };
}

async function readKey(directory: string): Promise<{ publicKey: string; privateKey: string }> {
  const file = join(directory, "key");
  const privateKey = (await readIfPresent(file))?.toString("utf8").trim() ?? "";
  if (fromBase64Url(privateKey, 32) === undefined)
    throw witnessFailure(`the key \`${file}\` is missing or damaged; put it back from where you keep a copy`);
  if (process.platform !== "win32" && (statSync(file).mode & 0o077) !== 0)
    throw witnessFailure(`other users may read the key \`${file}\`; run \`chmod 600 '${file}'\``);
  return { publicKey: publicKeyOf(privateKey), privateKey };
}

function forgotten(directory: string): Error {
  return witnessFailure(
    `\`${join(directory, "state")}\` is missing: a witness that has forgotten could sign a second history. Put it back, or make a new witness with a new name and key`,
  );
}

export interface Witness extends WitnessIdentity {
  addCheckpoint(body: Uint8Array): Promise<WitnessAnswer>;
  /** The newest note that was cosigned for a log. */
  newest(origin: string): Promise<string | undefined>;
  logs(): Promise<readonly KnownLog[]>;
  /** The checkpoint cosigned last, for each log. */
  cosigned(): Promise<readonly { readonly origin: string; readonly size: number; readonly atSeconds: number }[]>;
}

/** Opens the witness of a folder. Throws `witness_unusable`. */
export async function openWitness(request: { readonly directory: string; readonly clock: Clock }): Promise<Witness> {
  const directory = request.directory;
  const text = (await readIfPresent(join(directory, "witness.json")))?.toString("utf8");
  if (text === undefined)
    throw witnessFailure(
      `there is no witness in \`${directory}\`; make one with \`countersign witness init --name NAME\``,
    );
  const described = about.safeParse(parseJson(text));
  if (!described.success) throw witnessFailure(`\`${join(directory, "witness.json")}\` is damaged; put it back`);
  const { publicKey, privateKey } = await readKey(directory);
  if (publicKey !== described.data.publicKey)
    throw witnessFailure(
      `the key in \`${directory}\` is not the one of \`${described.data.name}\`; put the right one back`,
    );
  if (!existsSync(join(directory, "state"))) throw forgotten(directory);
  const { name } = described.data;
  const state = new WitnessState(join(directory, "state"));
  const signer = { publicKey, sign: (message: Uint8Array) => signMessage(privateKey, message) };
  const logs = (): Promise<WitnessedLog[]> => readLogs(directory);
  return {
    ...identity(directory, name, publicKey),
    addCheckpoint: (body) => addCheckpoint({ name, signer, state, logs, clock: request.clock }, body),
    newest: async (origin) => (isNameable(origin) ? (await state.read(origin))?.note : undefined),
    logs: async () => (await logs()).map((log) => ({ ...log, trusted: trustedKeys(log) })),
    cosigned: () => cosigned(state),
  };
}

async function cosigned(state: WitnessState): Promise<{ origin: string; size: number; atSeconds: number }[]> {
  const found = [];
  for (const origin of await state.origins()) {
    const last = await state.read(origin);
    if (last !== undefined) found.push({ origin, size: last.size, atSeconds: last.atSeconds });
  }
  return found;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined; // the caller says that it is damaged
  }
}

export interface RunningWitness {
  readonly url: string;
  close(): Promise<void>;
}

/** Answers requests until it is closed. Logs added meanwhile are known at once. */
export function runWitness(request: {
  readonly witness: Witness;
  readonly host: string;
  readonly port: number;
  readonly report: (event: string, details: Readonly<Record<string, unknown>>) => void;
  readonly timeouts?: WitnessTimeouts;
}): Promise<RunningWitness> {
  const { witness, ...rest } = request;
  return serve({
    ...rest,
    addCheckpoint: (body) => witness.addCheckpoint(body),
    newest: (origin) => witness.newest(origin),
    page: async () => page(witness, await witness.logs()),
  });
}

/** Of the logs only the names: how many tenants one has is not everybody's business. */
function page({ name, vkey }: WitnessIdentity, logs: readonly WitnessedLog[]): string {
  return [
    `Countersign witness ${name}`,
    "",
    `key      ${vkey}`,
    "submit   POST /add-checkpoint       https://c2sp.org/tlog-witness",
    "look up  GET  /checkpoint?origin=…  the newest note cosigned for a log",
    `logs     ${logs.length}`,
    "",
  ].join("\n");
}
