/** The command's connections to the outside: arguments, files, output. */
export interface World {
  readonly args: readonly string[];
  readonly stdin: AsyncIterable<Uint8Array>;
  readonly out: (text: string) => void;
  readonly err: (text: string) => void;
  /** Somebody watches stderr. */
  readonly watched: boolean;
  readonly nowMs: () => number;
}
