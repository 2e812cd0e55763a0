/** The folder of a file or git anchor, which may be a mount that is not there. */
import { mkdir, stat } from "node:fs/promises";
import { dirname } from "node:path";
import { hasCode, syncFolder } from "../../platform/index.js";

/**
 * Makes the folder when nothing was ever anchored there; the folder above must exist. If something was anchored there,
 * a missing folder is an outage.
 */
export async function openDirectory(directory: string, anchored: number): Promise<void> {
  try {
    if ((await stat(directory)).isDirectory()) return;
  } catch (error) {
    if (!hasCode(error, "ENOENT")) throw error;
    if (anchored > 0)
      throw new Error(`the folder \`${directory}\` is missing; is it mounted? It held size ${anchored}`, {
        cause: error,
      });
    await makeDirectory(directory);
    return;
  }
  throw new Error(`\`${directory}\` is no folder`);
}

async function makeDirectory(directory: string): Promise<void> {
  try {
    await mkdir(directory);
  } catch (error) {
    if (hasCode(error, "EEXIST")) return; // another process was faster
    throw error;
  }
  await syncFolder(dirname(directory));
}
