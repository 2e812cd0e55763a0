/**
 * The witness over HTTP, for strangers: two resources and a page, plain HTTP behind a proxy that speaks TLS.
 * Promises: bodies, headers and connections have limits; a slow sender or reader is cut off; one request cannot end the process.
 */
import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

export interface WitnessHttpOptions {
  readonly host: string;
  /** 0 lets the system choose. */
  readonly port: number;
  readonly addCheckpoint: (body: Uint8Array) => Promise<HttpAnswer>;
  /** The newest cosigned note of a log. */
  readonly newest: (origin: string) => Promise<string | undefined>;
  readonly page: () => Promise<string>;
  readonly report: (event: string, details: Readonly<Record<string, unknown>>) => void;
  readonly timeouts?: WitnessTimeouts;
}

export interface HttpAnswer {
  readonly status: number;
  readonly contentType: string;
  readonly body: string;
}

/** Milliseconds. A sender of one byte a second is not waited for longer than `request`. */
const usualTimeouts = { headers: 10_000, request: 15_000, keepAlive: 30_000, idle: 30_000 };
export type WitnessTimeouts = Partial<typeof usualTimeouts>;
/** 63 lines of proof and a checkpoint with a hundred signatures are some 20 KiB. */
export const requestBytesMax = 64 * 1024;
const headerBytesMax = 8 * 1024;
const connectionsMax = 1_024;
const originBytesMax = 400;
const text = "text/plain; charset=utf-8";

export interface RunningHttp {
  readonly url: string;
  close(): Promise<void>;
}

export async function serve(options: WitnessHttpOptions): Promise<RunningHttp> {
  const timeouts = { ...usualTimeouts, ...options.timeouts };
  const server = createServer(
    {
      maxHeaderSize: headerBytesMax,
      headersTimeout: timeouts.headers,
      requestTimeout: timeouts.request,
      keepAliveTimeout: timeouts.keepAlive,
      connectionsCheckingInterval: Math.min(1_000, timeouts.headers),
    },
    (request, response) => void handle(options, request, response),
  );
  server.maxConnections = connectionsMax;
  // Also ends the connection of a client that does not read the answer.
  server.setTimeout(timeouts.idle);
  server.listen({ host: options.host, port: options.port });
  await once(server, "listening");
  const { address, family, port } = server.address() as AddressInfo;
  return {
    url: `http://${family === "IPv6" ? `[${address}]` : address}:${port}`,
    close: () => close(server),
  };
}

async function close(server: Server): Promise<void> {
  server.close();
  server.closeIdleConnections();
  // A request under way is a signature and a write: it needs no longer.
  const cut = setTimeout(() => server.closeAllConnections(), 5_000);
  if (server.listening || (await connections(server)) > 0) await once(server, "close");
  clearTimeout(cut);
}

function connections(server: Server): Promise<number> {
  return new Promise((resolve) => server.getConnections((error, count) => resolve(error === null ? count : 0)));
}

async function handle(options: WitnessHttpOptions, request: IncomingMessage, response: ServerResponse): Promise<void> {
  let answer: HttpAnswer;
  try {
    answer = await route(options, request);
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    options.report("witness.failed", { url: request.url?.slice(0, 200), message });
    answer = { status: 500, contentType: text, body: "the witness cannot answer now; its operator's log says why\n" };
  }
  if (response.destroyed) return;
  const unread = !request.complete;
  response.writeHead(answer.status, {
    "content-type": answer.contentType,
    "content-length": Buffer.byteLength(answer.body),
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
    "content-security-policy": "default-src 'none'",
    ...(answer.status === 405 ? { allow: "GET, HEAD, POST" } : {}),
    // The rest of a body that is too long is not waited for.
    ...(unread ? { connection: "close" } : {}),
  });
  response.end(request.method === "HEAD" ? "" : answer.body);
}

async function route(options: WitnessHttpOptions, request: IncomingMessage): Promise<HttpAnswer> {
  const { method = "", url = "" } = request;
  const [path, query = ""] = url.split("?", 2);
  const reads = method === "GET" || method === "HEAD";
  if (path === "/add-checkpoint") {
    if (method !== "POST") return wrongMethod;
    const body = await readBody(request);
    return body === undefined
      ? { status: 413, contentType: text, body: `a request has at most ${requestBytesMax} bytes\n` }
      : options.addCheckpoint(body);
  }
  if (path === "/checkpoint") return reads ? newest(options, query) : wrongMethod;
  if (path === "/") {
    return reads ? { status: 200, contentType: text, body: await options.page() } : wrongMethod;
  }
  return { status: 404, contentType: text, body: "there are /add-checkpoint, /checkpoint?origin=… and /\n" };
}

const wrongMethod: HttpAnswer = { status: 405, contentType: text, body: "not with this method\n" };

async function newest(options: WitnessHttpOptions, query: string): Promise<HttpAnswer> {
  const origin = new URLSearchParams(query).get("origin") ?? "";
  if (origin === "" || origin.length > originBytesMax)
    return { status: 400, contentType: text, body: "name a log: /checkpoint?origin=…\n" };
  const note = await options.newest(origin);
  return note === undefined
    ? { status: 404, contentType: text, body: "nothing was cosigned for this log\n" }
    : { status: 200, contentType: text, body: note };
}

/** Undefined: it is longer than allowed. */
async function readBody(request: IncomingMessage): Promise<Uint8Array | undefined> {
  if (Number(request.headers["content-length"] ?? 0) > requestBytesMax) return undefined;
  const pieces: Uint8Array[] = [];
  let bytes = 0;
  for await (const piece of request as AsyncIterable<Uint8Array>) {
    bytes += piece.length;
    if (bytes > requestBytesMax) return undefined;
    pieces.push(piece);
  }
  return Buffer.concat(pieces);
}
