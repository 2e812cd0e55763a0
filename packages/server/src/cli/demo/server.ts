/** A server of the demo's own: in this process, on a data directory nobody else uses, at a port the system chooses. */
import { openLog } from "../../platform/index.js";
import { startServer } from "../../server.js";

export interface DemoServer {
  readonly url: string;
  /** The one-time code of the first human. */
  readonly enrolmentCode: string;
  close(): Promise<void>;
}

export async function startDemoServer(dataDirectory: string): Promise<DemoServer> {
  // Refusals are part of the story, which tells them; only unexpected events get a line.
  const log = openLog({ level: "error" });
  const server = await startServer({ dataDirectory, port: 0, firstHuman: "Ada", log });
  return { url: server.url, enrolmentCode: server.firstCode?.text ?? "", close: () => server.close() };
}
