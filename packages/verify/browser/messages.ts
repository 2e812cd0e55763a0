/** What the page and the worker say to each other. */
import type { BundleResult, SummaryResult } from "@countersign/proof";
import type { TrustReport } from "./trust.js";

export interface Job {
  readonly bundle: File;
  readonly archives: readonly File[];
  readonly policies: readonly File[];
  readonly anchors: readonly File[];
  readonly receipts: readonly File[];
  readonly keys: readonly File[];
  readonly requireAnchored: boolean;
}

/** The verdict, and what it rests on. Saved as it is by "Save as JSON". */
export interface Report {
  readonly file: { readonly name: string; readonly bytes: number; readonly sha256: string | null };
  readonly exitCode: number;
  readonly durationMs: number;
  readonly trust: TrustReport;
  readonly archives: readonly { readonly name: string; readonly sha256: string; readonly entries: number }[];
  readonly summary: SummaryResult;
  readonly result: BundleResult;
}

export type Answer =
  | { readonly kind: "progress"; readonly readBytes: number; readonly totalBytes: number; readonly entries: number }
  | { readonly kind: "report"; readonly report: Report }
  | { readonly kind: "failed"; readonly why: string };
