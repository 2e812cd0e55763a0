/** A server of the demo's own: in this process, on a data directory nobody else uses, at a port the system chooses. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { startServer } from "../../server.js";

export interface DemoServer {
  readonly url: string;
  /** The one-time code of the first human, as the server left it for whoever can read its directory. */
  enrolmentCode(): string;
  close(): Promise<void>;
}

export async function startDemoServer(data: string): Promise<DemoServer> {
  const server = await startServer({ dataDirectory: data, port: 0, logLevel: "warn" });
  return {
    url: server.address,
    enrolmentCode: () => readFileSync(join(data, "first-enrolment-code"), "utf8").trim(),
    close: () => server.close(),
  };
}
