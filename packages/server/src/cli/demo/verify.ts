/** The ledger verified twice: by the server, and here from an exported bundle. */
import type { VerifyReport } from "@countersign/contract";
import { verifyBundle } from "@countersign/proof";
import type { Person } from "./people.js";

export interface Verified {
  readonly report: VerifyReport;
  /** Of the exported bundle, computed here without the server. */
  readonly bundle: { readonly integrity: string; readonly entries: number; readonly head: string | undefined };
}

/** Once by the server against its database and state, once here from an exported bundle, trusting nothing but its bytes. */
export async function verifyTwice(auditor: Person): Promise<Verified> {
  const report = await auditor.client.verifyChain({});
  if (report.kind === "job") throw new Error("a whole verification was not asked for");
  const bundle = await verifyBundle(bytesOf(auditor.client.exportAudit({ to: report.to ?? 0 })), {
    tenant: auditor.tenant,
  });
  return { report, bundle: { integrity: bundle.integrity, entries: bundle.entries, head: bundle.head?.hash } };
}

async function* bytesOf(lines: AsyncIterable<string>): AsyncGenerator<Buffer> {
  for await (const line of lines) yield Buffer.from(`${line}\n`, "utf8");
}
