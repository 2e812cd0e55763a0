/** Publishers in processes of their own, killed between two steps and beside each other: never two roots for one size. */
import { describe, expect, test } from "vitest";
import { withClient } from "../support/postgres.js";
import { startProgram, type Program } from "../support/processes.js";
import type { PublishMessage, PublishOrder } from "../support/publishProgram.js";
import { bench, copyFolder, until, type Bench } from "../support/publishing.js";

function start(on: Bench, order: Partial<PublishOrder> = {}): Program<PublishMessage> {
  const { ownerUrl, appUrl } = on.database;
  const whole: PublishOrder = { ownerUrl, appUrl, folder: on.folder, tenant: on.tenant, leaseMs: 300, ...order };
  return startProgram(new URL("../support/publishProgram.ts", import.meta.url), [JSON.stringify(whole)]);
}

async function sizes(on: Bench): Promise<number[]> {
  const { rows } = await withClient(on.database.superuser, (client) =>
    client.query<{ size: string }>("select size from countersign.checkpoints where tenant_id = $1 order by size", [
      on.tenant,
    ]),
  );
  return rows.map(({ size }) => Number(size));
}

/** Every stored checkpoint is of the tree that is there: a second history would not be. */
async function consistent(on: Bench): Promise<void> {
  const publishing = on.open();
  for (const { checkpoint } of await publishing.checkpoints(on.tenant)) {
    const root = (await publishing.edge(on.tenant, checkpoint.size)).root();
    expect(Buffer.from(checkpoint.root).equals(root)).toBe(true);
  }
}

describe("killed between two steps, the next goes on", () => {
  for (const dieAt of ["remembered", "stored"] as const)
    for (const nth of [1, 2])
      test(`${dieAt}, checkpoint ${nth}`, async () => {
        const on = await bench();
        await on.fill(5);
        const program = start(on, { dieAt, nth });
        await program.next(); // it leads
        if (nth === 2) {
          await program.next(); // and has stored one
          await on.fill(5);
        }
        expect((await program.ended).signal).toBe("SIGKILL");
        expect(await sizes(on)).toEqual([...(nth === 2 ? [5] : []), ...(dieAt === "stored" ? [5 * nth] : [])]);
        await on.fill(1);
        const publishing = on.publisher({ leaseMs: 300 });
        expect((await publishing.publish(on.tenant)).checkpoint.size).toBe(5 * nth + 1);
        expect(on.reports.map(([event]) => event)).not.toContain("publishing.tenant_stopped");
        await consistent(on);
      });
});

describe("two servers on one database", () => {
  for (const [what, folderOf] of [
    ["with one key directory", (folder: string) => folder],
    ["with two copies of it", (folder: string) => copyFolder(folder)],
  ] as const)
    test(`${what}: one leads, and the other takes over when it is killed`, async () => {
      const on = await bench();
      await on.fill(1);
      const first = start(on);
      expect(await first.next()).toEqual({ leading: true });
      await first.next();
      const other = await bench({ database: on.database, tenants: on.tenants, folder: folderOf(on.folder) });
      const second = other.publisher({ leaseMs: 300 });
      await until(() => (second.status().state === "following" ? true : undefined));
      for (let n = 0; n < 5; n++) {
        await on.fill(3);
        await first.next();
      }
      expect(second.status().state).toBe("following");
      first.kill("SIGKILL");
      await first.ended;
      await on.fill(3);
      const published = await second.publish(on.tenant);
      expect(published.checkpoint.size).toBe(19);
      expect(second.status().state).toBe("leading");
      await consistent(on);
    });

  test("one that ends gives the lease to the next at once; one that was away does not sign", async () => {
    const on = await bench();
    await on.fill(1);
    const first = on.publisher({ leaseMs: 3_600_000 });
    await first.publish(on.tenant);
    await first.stop();
    const second = on.publisher({ leaseMs: 3_600_000 });
    await on.fill(1);
    expect((await second.publish(on.tenant)).checkpoint.size).toBe(2);
    // As if it had been suspended until its lease was over and somebody else's.
    await withClient(on.database.superuser, (client) =>
      client.query(
        "update countersign.publisher_leases set fence = fence + 1, holder = gen_random_uuid(), expires_at = 'infinity'",
      ),
    );
    await on.fill(1);
    await until(() => (second.status().state === "following" ? true : undefined));
    expect(await sizes(on)).toEqual([1, 2]);
  });
});
