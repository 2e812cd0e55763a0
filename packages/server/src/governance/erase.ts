/**
 * Erasing a principal leaves its name in the rules of the configuration. Such a rule then holds for the next bearer of
 * the name.
 */
import type { ErasureSubject, ModuleErasure, Snapshot } from "../ledger/index.js";
import { loadPeople } from "../tenancy/index.js";
import { loadConfiguration } from "./config.js";

export async function eraseSubject(snapshot: Snapshot, subject: ErasureSubject): Promise<ModuleErasure> {
  if (subject.type !== "principal") return { writes: [], erased: [] };
  const [people, configuration] = await Promise.all([loadPeople(snapshot), loadConfiguration(snapshot)]);
  const name = people.principals.get(subject.id)?.name;
  if (name === undefined) return { writes: [], erased: [] };
  const written = JSON.stringify(name).slice(1, -1);
  const naming = Object.entries(configuration.sources)
    .filter(([, { source, document }]) => source === "resource" && JSON.stringify(document).includes(written))
    .map(([document]) => document);
  return {
    writes: [],
    erased: [],
    notReached: [
      ...(naming.length === 0
        ? []
        : [
            `the configuration ${naming.map((document) => `\`${document}\``).join(", ")}, which names them: a rule for that name holds for the next bearer of the name; change it with \`countersign config push\``,
          ]),
      "reasons they gave when they engaged the kill-switch",
    ],
  };
}
