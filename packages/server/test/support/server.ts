/** A whole server in this process, over a database of its own, and people who use it over HTTP. */
import { randomUUID } from "node:crypto";
import { rmSync } from "node:fs";
import {
  operationRow,
  type OperationId,
  type OperationInput,
  type OperationOutput,
  pathParameters,
} from "@countersign/contract";
import {
  enrolmentBytes,
  generateSigningKeyPair,
  type JsonObject,
  keyProofBytes,
  signMessage,
} from "@countersign/proof";
import { openLog } from "../../src/platform/index.js";
import { type RunningServer, type ServerConfig, startServer } from "../../src/server.js";
import { createDatabase, temporaryDirectory, type TestDatabase } from "./postgres.js";

export const quietLog = openLog({ level: "silent" });

export interface TestServer extends RunningServer {
  readonly database: TestDatabase;
  /** The person who was let in by the first code. */
  firstPerson(): Promise<Person>;
}

/** Starts a server; `database`: beside others on the same one. */
export async function startTestServer(
  config: Partial<ServerConfig> & { readonly database?: TestDatabase } = {},
): Promise<TestServer> {
  const { database = await createDatabase(), ...given } = config;
  const dataDirectory = given.dataDirectory ?? temporaryDirectory();
  const server = await startServer({
    dataDirectory,
    databaseUrl: database.ownerUrl,
    applicationDatabaseUrl: database.appUrl,
    port: 0,
    log: quietLog,
    firstHuman: "ada",
    ...given,
  });
  let first: Promise<Person> | undefined;
  return {
    ...server,
    database,
    firstPerson: () => (first ??= enrol(server.url, server.firstCode?.text ?? "")),
    close: async () => {
      await server.close();
      if (given.dataDirectory === undefined) rmSync(dataDirectory, { recursive: true, force: true });
    },
  };
}

export interface Answer<T = Record<string, unknown>> {
  readonly status: number;
  readonly headers: Headers;
  readonly body: T;
}

export interface Person {
  readonly url: string;
  readonly tenant: string;
  readonly id: string;
  readonly apiKey: string;
  readonly keyId: string;
  readonly privateKey: string;
  /** Calls an operation; proofs are made where it takes one. */
  call<K extends OperationId>(
    id: K,
    input: OperationInput<K>,
    options?: CallOptions,
  ): Promise<Answer<OperationOutput<K>>>;
}

export interface CallOptions {
  readonly idempotencyKey?: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** Default: made for operations that take one. */
  readonly proof?: object | null;
  readonly apiKey?: string;
}

/** Sends an operation as it stands in the contract. */
export async function call<K extends OperationId>(
  url: string,
  id: K,
  input: OperationInput<K>,
  options: CallOptions = {},
): Promise<Answer<OperationOutput<K>>> {
  const row = operationRow(id);
  const rest = { ...(input as Record<string, unknown>) };
  let path: string = row.path;
  for (const name of pathParameters(row.path)) {
    path = path.replace(`{${name}}`, encodeURIComponent(String(rest[name])));
    delete rest[name];
  }
  const headers: Record<string, string> = { ...options.headers };
  if (row.ifMatch !== undefined && rest[row.ifMatch] !== undefined) {
    headers["if-match"] = `"${String(rest[row.ifMatch])}"`;
    delete rest[row.ifMatch];
  }
  if (options.apiKey !== undefined) headers["authorization"] = `Bearer ${options.apiKey}`;
  if (options.idempotencyKey !== undefined) headers["idempotency-key"] = options.idempotencyKey;
  const asQuery = row.method === "GET" || row.method === "DELETE";
  const query = asQuery
    ? new URLSearchParams(
        Object.entries(rest).map(([name, value]): [string, string] => [name, String(value)]),
      ).toString()
    : "";
  const init: RequestInit = { method: row.method, headers };
  if (!asQuery && Object.keys(rest).length > 0) {
    headers["content-type"] = "application/json";
    init.body = JSON.stringify(rest);
  }
  const response = await fetch(`${url}${path}${query === "" ? "" : `?${query}`}`, init);
  const text = await response.text();
  return {
    status: response.status,
    headers: response.headers,
    body: (text === "" ? {} : JSON.parse(text)) as OperationOutput<K>,
  };
}

/** Makes a key pair and enrols it with a one-time code. */
export async function enrol(url: string, code: string, label = "laptop"): Promise<Person> {
  const { publicKey, privateKey } = generateSigningKeyPair();
  const answer = await call(url, "enrol", {
    code,
    publicKey,
    label,
    signature: signMessage(privateKey, enrolmentBytes({ code, publicKey })),
  });
  if (answer.status !== 201) throw new Error(`could not enrol: ${JSON.stringify(answer.body)}`);
  const { tenant, principal, signingKey, secret } = answer.body;
  return personOf({ url, tenant: tenant.id, id: principal.id, apiKey: secret, keyId: signingKey.id, privateKey });
}

/** The same person, at another server of the same deployment. */
export function personAt(url: string, person: Person): Person {
  const { tenant, id, apiKey, keyId, privateKey } = person;
  return personOf({ url, tenant, id, apiKey, keyId, privateKey });
}

function personOf(known: Omit<Person, "call">): Person {
  return {
    ...known,
    call: (id, input, options = {}) => {
      const proven =
        options.proof === undefined && operationRow(id).proof === true
          ? { proof: proofOf(known, id, input as JsonObject) }
          : options.proof == null
            ? {}
            : { proof: options.proof };
      return call(known.url, id, { ...(input as object), ...proven } as typeof input, {
        apiKey: known.apiKey,
        ...options,
      });
    },
  };
}

export function proofOf(
  person: Pick<Person, "tenant" | "id" | "keyId" | "privateKey">,
  operation: OperationId,
  input: JsonObject,
  atMs = Date.now(),
) {
  const bytes = keyProofBytes({ tenant: person.tenant, operation, input, principal: person.id, atMs });
  return { keyId: person.keyId, atMs, signature: signMessage(person.privateKey, bytes) };
}

/** Another human of the first person's tenant, enrolled. */
export async function addHuman(
  by: Person,
  name: string,
  roles: readonly string[] = ["member"],
  groups: readonly string[] = [],
): Promise<Person> {
  const made = await by.call("createHuman", { name, roles: [...roles], groups: [...groups] });
  if (made.status !== 201) throw new Error(`could not add ${name}: ${JSON.stringify(made.body)}`);
  return enrol(by.url, made.body.enrolmentCode);
}

export interface Agent {
  readonly id: string;
  readonly apiKey: string;
  readonly keyId: string;
  call<K extends OperationId>(
    id: K,
    input: OperationInput<K>,
    options?: CallOptions,
  ): Promise<Answer<OperationOutput<K>>>;
}

export async function addAgent(by: Person, name: string): Promise<Agent> {
  const made = await by.call("createAgent", { name });
  if (made.status !== 201) throw new Error(`could not add ${name}: ${JSON.stringify(made.body)}`);
  const { principal, key, secret } = made.body;
  return {
    id: principal.id,
    apiKey: secret,
    keyId: key.id,
    call: (id, input, options = {}) => call(by.url, id, input, { apiKey: secret, ...options }),
  };
}

export const newKey = (): string => randomUUID();
