/** What the page and the worker say to each other. */
import type { BundleResult, SummaryResult } from "@countersign/proof";
import type { TrustReport } from "./trust.js";

/** What there is of one log in an anchor: a file with its checkpoints, or a folder with tiles too. */
export interface AnchorFiles {
  /** Of the file or the folder that was dropped. */
  readonly name: string;
  /** Known from the folder; "" if it was a file by itself. */
  readonly origin: string;
  readonly files: readonly File[];
  readonly tiles: readonly { readonly index: number; readonly width: number; readonly file: File }[];
}

export interface Job {
  readonly bundle: File;
  readonly archives: readonly File[];
  readonly policies: readonly File[];
  readonly anchors: readonly AnchorFiles[];
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
