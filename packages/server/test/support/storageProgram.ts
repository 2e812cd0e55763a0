/**
 * A server reduced to its storage: opens a data directory, says so, and ends in order at SIGINT and SIGTERM.
 * Arguments: data directory, address, `write` to insert rows for ever and report each that was acknowledged.
 */
import { RefusalError } from "@countersign/contract";
import { openDataDirectory } from "../../src/platform/index.js";
import { openStorage, type Storage } from "../../src/storage/index.js";
import { testSettings } from "./testSettings.js";

export type StorageMessage =
  | {
      readonly kind: "ready";
      readonly how: string;
      readonly at: string;
      readonly milliseconds: number;
      readonly password: string;
    }
  | { readonly kind: "refused"; readonly code: string; readonly message: string }
  | { readonly kind: "acknowledged"; readonly number: number };

const [dataDirectory = "", address = "", mode = ""] = process.argv.slice(2);
const say = (message: StorageMessage): void => void process.send?.(message);

try {
  const storage = await openStorage({
    dataDirectory: openDataDirectory(dataDirectory),
    doing: `the server at ${address}`,
    mayJoin: mode === "join",
    ...(mode === "durable" ? {} : { embedded: { settings: testSettings } }),
  });
  const end = (): void => {
    void storage.close().then(() => process.exit(0));
  };
  process.once("SIGINT", end);
  process.once("SIGTERM", end);
  const { how, at } = await storage.describe();
  say({
    kind: "ready",
    how,
    at,
    milliseconds: Math.round(performance.now()),
    password: String(storage.ownerLogin.password),
  });
  if (mode === "write") await writeForEver(storage);
} catch (error) {
  if (!(error instanceof RefusalError)) throw error;
  say({ kind: "refused", code: error.refusal.code, message: error.refusal.message });
  process.disconnect();
}

async function writeForEver(storage: Storage): Promise<void> {
  await storage.owner.query("create table if not exists written (number integer primary key)");
  for (let number = 0; ; number += 1) {
    await storage.owner.query("insert into written values ($1)", [number]);
    say({ kind: "acknowledged", number });
  }
}
