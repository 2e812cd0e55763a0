/** What is shown of the tenant's ledger, and how long entries are kept. */
import { z } from "zod";
import { configurationDocument } from "./parts.js";

export const ledgerConfiguration = z
  .strictObject({
    public: z.boolean().default(false).meta({
      description:
        "True: anybody may read the checkpoints and the tree of hashes at `/ledger/<tenant>/…`. They hold hashes and times, no content.",
    }),
    retainDays: z.int().min(1).max(36_500).optional().meta({
      description:
        "Entries older than this are archived and pruned once a day (docs/retention.md); when left out, nothing is pruned by itself.",
    }),
  })
  .meta({ id: "LedgerConfiguration", description: "What is shown of the tenant's ledger." });

/** Holds while the document is absent. */
export const ledger = configurationDocument(ledgerConfiguration, { public: false });
