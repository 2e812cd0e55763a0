/** Enrolling: a key pair made here, its public half registered with a one-time code, its private half kept encrypted. */
import { rmSync } from "node:fs";
import { join } from "node:path";
import { enrolmentBytes, generateSigningKeyPair, signMessage } from "@countersign/proof";
import { isCountersignError } from "@countersign/sdk";
import type { OperationOutput } from "@countersign/contract";
import type { Cli } from "./cli.js";
import { readIfThere, writeProfile } from "./credentials.js";
import { CliError } from "./exit.js";
import {
  passphraseLengthMin,
  removePendingKey,
  sealKey,
  unlockKey,
  writeEnrolledKey,
  writePendingKey,
} from "./keyFile.js";
import { keepUnlocked } from "./signing.js";
import { show } from "./text.js";

export type Enrolled = OperationOutput<"enrol">;

const firstCodeFile = (cli: Cli): string => join(cli.dataDirectory, "first-enrolment-code");

/** The code of the first human, written by a server on this machine. */
export function firstCode(cli: Cli): string | undefined {
  // The first line; then when it expires, and for whom it is.
  const text = readIfThere(firstCodeFile(cli))?.split("\n")[0]?.trim();
  return text === "" ? undefined : text;
}

/** Makes, registers and stores a signing key and the login that comes with it. */
export async function enrol(cli: Cli, options: { readonly code: string; readonly label: string }): Promise<Enrolled> {
  const url = cli.url;
  const passphrase = await newPassphrase(cli);
  const pair = generateSigningKeyPair();
  const sealed = await sealKey(pair.privateKey, passphrase, {
    label: options.label,
    createdAt: new Date(cli.terminal.nowMs()).toISOString(),
  });
  // Written before the server is asked: if we die in between, the key whose code was used up is not lost.
  writePendingKey(cli.folder, sealed);
  const signature = signMessage(pair.privateKey, enrolmentBytes({ code: options.code, publicKey: pair.publicKey }));
  const enrolled = await cli
    .anonymous(url)
    .enrol({ code: options.code, publicKey: pair.publicKey, label: options.label, signature })
    .catch((error: unknown) => {
      // Refused for certain: the key is of no use. Without an answer it may have been enrolled, and is kept.
      if (isCountersignError(error) && error.status >= 400 && error.status < 500) removePendingKey(cli.folder, sealed);
      throw error;
    });
  // Used up: the server would take the file away at its next start.
  if (firstCode(cli) === options.code) rmSync(firstCodeFile(cli), { force: true });
  const { tenant, principal, signingKey, secret } = enrolled;
  const key = { ...sealed, keyId: signingKey.id, tenant: tenant.id, principal: principal.id };
  writeEnrolledKey(cli.folder, key);
  writeProfile(cli.folder, cli.profileName, {
    url,
    key: secret,
    tenant: tenant.id,
    principal: principal.id,
    name: principal.name,
    signingKey: signingKey.id,
  });
  cli.forget();
  keepUnlocked(cli, await unlockKey(key, passphrase));
  return enrolled;
}

async function newPassphrase(cli: Cli): Promise<string> {
  const first = await cli.passphrase(
    show`Choose a passphrase for your signing key (at least ${passphraseLengthMin} characters)`,
  );
  if ([...first].length < passphraseLengthMin)
    throw new CliError(
      "passphrase_short",
      `the passphrase is shorter than ${passphraseLengthMin} characters; choose a longer one`,
    );
  if (cli.passphraseIsGiven) return first;
  const again = await cli.ask.secret(show`The same passphrase once more`, "`--passphrase-file FILE`");
  if (again !== first)
    throw new CliError("passphrase_wrong", "the two passphrases differ; nothing was enrolled", {
      help: ["countersign enrol"],
    });
  return first;
}
