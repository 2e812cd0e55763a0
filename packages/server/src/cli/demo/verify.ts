/** The ledger verified twice: by the server, and here from an exported bundle. */
import { setTimeout as pause } from "node:timers/promises";
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
  const report = await verifyWholly(auditor);
  const bundle = await verifyBundle(bytesOf(auditor.client.exportAudit({ to: report.to ?? 0 })), {
    tenant: auditor.tenant,
  });
  return { report, bundle: { integrity: bundle.integrity, entries: bundle.entries, head: bundle.head?.hash } };
}

const askAgainMs = 100;

/** Not from the last self-check on: everything, bodies and state too. */
async function verifyWholly({ client }: Person): Promise<VerifyReport> {
  const answer = await client.verifyChain({ full: "true" });
  if (answer.kind === "report") return answer;
  for (;;) {
    const { state, report } = await client.getVerification({ id: answer.verification.id });
    if (state === "done" && report !== null) return report;
    if (state === "done" || state === "abandoned") throw new Error("the server gave the verification up");
    await pause(askAgainMs);
  }
}

async function* bytesOf(lines: AsyncIterable<string>): AsyncGenerator<Buffer> {
  for await (const line of lines) yield Buffer.from(`${line}\n`, "utf8");
}
