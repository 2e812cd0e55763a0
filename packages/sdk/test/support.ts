/** A real HTTP server that answers as told, and remembers what it was asked. */
import { createServer, type IncomingMessage, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach } from "vitest";

export interface Asked {
  readonly method: string;
  readonly path: string;
  readonly headers: IncomingMessage["headers"];
  readonly body: string;
}
export interface Answer {
  readonly status?: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: unknown;
  /** Sent piece by piece; `null` at its end breaks the connection. */
  readonly pieces?: readonly (string | null)[];
  /** Breaks the connection without an answer. */
  readonly hangUp?: true;
  /** Never answers. */
  readonly silent?: true;
}

const open: Server[] = [];
afterEach(() => {
  for (const server of open.splice(0)) {
    server.closeAllConnections();
    server.close();
  }
});

/** Answers the requests in this order; the last answer is repeated. */
export async function serve(...answers: readonly Answer[]): Promise<{ url: string; asked: Asked[] }> {
  const asked: Asked[] = [];
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      asked.push({
        method: request.method ?? "",
        path: request.url ?? "",
        headers: request.headers,
        body: Buffer.concat(chunks).toString("utf8"),
      });
      const answer = answers[Math.min(asked.length, answers.length) - 1] ?? {};
      if (answer.hangUp === true) return void request.socket.destroy();
      if (answer.silent === true) return;
      const text = typeof answer.body === "string" ? answer.body : JSON.stringify(answer.body ?? {});
      response.writeHead(answer.status ?? 200, { "content-type": "application/json", ...answer.headers });
      if (answer.pieces === undefined) return void response.end(text);
      void sendPieces(answer.pieces);
    });
    async function sendPieces(pieces: readonly (string | null)[]): Promise<void> {
      for (const piece of pieces) {
        if (piece === null) return void response.destroy();
        await new Promise((resolve) => response.write(Buffer.from(piece, "latin1"), resolve));
      }
      response.end();
    }
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  open.push(server);
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, asked };
}

export const problem = (code: string, status: number, more: Readonly<Record<string, unknown>> = {}): Answer => ({
  status,
  headers: { "content-type": "application/problem+json" },
  body: {
    type: `https://countersign.dev/problems/${code}`,
    title: "title",
    status,
    detail: `about \`${code}\``,
    code,
    ...more,
  },
});
