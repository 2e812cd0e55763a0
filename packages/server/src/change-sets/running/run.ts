/**
 * `Runner` is the one path on which targets are changed: called at once, after a restart, by resume. It asks `run.rules.ts`
 * for the next step, does it, records it, and asks again, until the application has an end.
 *
 * If we die here, anywhere: the next run finds what is recorded, and goes on from it.
 */
import type { TenantId } from "@countersign/contract";
import { loadConfiguration, undoUntilMs } from "../../governance/index.js";
import type { Receipt, Snapshot } from "../../ledger/index.js";
import { changeItems, undoItems } from "./atomicItems.js";
import { runMismatch } from "../authority.js";
import { CompensatingItems } from "./compensatingItems.js";
import type { Desk } from "../desk.js";
import type { Leases } from "./leases.js";
import { type ApplicationWhole, readApplication, readHoldsOf, readItems, readWhole } from "../queries.js";
import { type ItemRow, update, type Whole } from "../rows.js";
import { endOf, nextStep, stepsOf } from "./run.rules.js";
import { commitStep, type Run, TakenOver } from "./runCommit.js";

export class Runner {
  readonly #desk: Desk;
  readonly #leases: Leases;
  readonly #compensating: CompensatingItems;
  readonly #running = new Map<string, Promise<Receipt[]>>();

  constructor(desk: Desk, leases: Leases) {
    this.#desk = desk;
    this.#leases = leases;
    this.#compensating = new CompensatingItems(desk);
  }

  /**
   * Brings an application to its end. Callers of one application share one run. `items`: as they were held against the
   * ledger when it was decided; without them it is a run that was found, and is held against the ledger first.
   */
  run(tenant: TenantId, applicationId: string, items?: readonly ItemRow[]): Promise<Receipt[]> {
    const known = this.#running.get(applicationId);
    if (known !== undefined) return known;
    const run = this.#toTheEnd(tenant, applicationId, items).finally(() => this.#running.delete(applicationId));
    this.#running.set(applicationId, run);
    return run;
  }

  /** Whether this process runs the application now. */
  has(applicationId: string): boolean {
    return this.#running.has(applicationId);
  }

  /** Resolves when no run is under way in this process. */
  async idle(): Promise<void> {
    while (this.#running.size > 0) await Promise.allSettled(this.#running.values());
  }

  async #toTheEnd(tenant: TenantId, applicationId: string, given: readonly ItemRow[] | undefined): Promise<Receipt[]> {
    const receipts: Receipt[] = [];
    const lease = await this.#leases.take(tenant, applicationId);
    if (lease === undefined) return receipts;
    const { log } = this.#desk;
    const begun = new Set<string>();
    try {
      const items = given ?? (await this.#found(tenant, applicationId));
      if (items === undefined) return receipts;
      for (;;) {
        const found = { applicationId, items, begun, lost: lease.lost };
        const run = await this.#desk.ledger.snapshot(tenant, (snapshot) => this.#load(snapshot, found));
        if (run.application.status !== "RUNNING") return receipts;
        receipts.push(...(await this.#step(run)));
      }
    } catch (error) {
      if (!(error instanceof TakenOver)) throw error;
      log.warn(
        { tenant, applicationId },
        "a run goes no further here: another process has it, or recovery takes it up",
      );
      return receipts;
    } finally {
      await lease
        .release()
        .catch(() => log.warn({ applicationId }, "the lease of a run was not released; it ends by itself"));
    }
  }

  /** Items of a run that has no end; undefined when it has one, or when the ledger does not know it: then nothing is done. */
  #found(tenant: TenantId, applicationId: string): Promise<readonly ItemRow[] | undefined> {
    return this.#desk.ledger.snapshot(tenant, async (snapshot) => {
      const found = await readApplication(snapshot, applicationId);
      if (found === undefined || found.application.status !== "RUNNING") return undefined;
      const mismatch = await runMismatch(this.#desk, snapshot, found.application, found.items);
      if (mismatch === undefined) return readItems(snapshot, found.application.revision_id);
      this.#desk.log.error(
        { tenant, applicationId, mismatches: mismatch.details?.["mismatches"] },
        "a run is not what the ledger says: it is left as it is; run `countersign audit verify`",
      );
      const system = this.#desk.tenancy.systemCaller(tenant);
      this.#desk.ledger.recordRefusal(tenant, {
        actor: system.actor,
        code: mismatch.code,
        subject: { type: "change_set", id: found.application.change_set_id },
      });
      return undefined;
    });
  }

  async #load(
    snapshot: Snapshot,
    { applicationId, ...given }: Pick<Run, "items" | "lost" | "begun"> & { readonly applicationId: string },
  ): Promise<Run> {
    const found = (await readApplication(snapshot, applicationId)) as ApplicationWhole | undefined;
    if (found === undefined) throw new Error(`application ${applicationId} is gone`);
    const steps = stepsOf(found.application.kind, given.items, (kind) => this.#desk.targets.kind(kind).atomic);
    return { tenant: snapshot.tenant, application: found.application, recorded: found.items, steps, ...given };
  }

  async #step(run: Run): Promise<readonly Receipt[]> {
    const next = nextStep(run.application, run.steps, run.recorded);
    switch (next.kind) {
      case "begin":
        return this.#compensating.begin(run, next.step);
      case "carry_out":
        return this.#compensating.carryOut(run, next.step);
      case "change":
        return changeItems(this.#desk, run, next.step);
      case "compensate":
        return next.step.atomic ? undoItems(this.#desk, run, next.step) : this.#compensating.undo(run, next.step);
      case "finish":
        return this.#finish(run, next.outcome);
    }
  }

  async #finish(run: Run, outcome: "succeeded" | "compensated" | "partial"): Promise<readonly Receipt[]> {
    const { application } = run;
    const partly = outcome === "compensated" && application.plan.resumed ? "partial" : outcome;
    return commitStep(
      this.#desk,
      run,
      async (snapshot) => {
        const whole = (await readWhole(snapshot, application.change_set_id)) as Whole;
        return {
          whole,
          holds: await readHoldsOf(snapshot, application.id),
          configuration: await loadConfiguration(snapshot),
        };
      },
      ({ whole, holds, configuration }, write) => {
        const verified = run.recorded.filter((row) => row.status === "VERIFIED").length;
        const end = endOf({
          application,
          outcome: partly,
          recorded: run.recorded,
          changeSet: whole.changeSet,
          nowMs: write.nowMs,
          undoUntilMs: undoUntilMs(write.nowMs, configuration.approvals),
        });
        const ended = update("applications", application, {
          status: end.status,
          applied_items: verified,
          failed_items: run.items.length - verified,
          ended_at_ms: write.nowMs,
        });
        const released = holds.map((hold) =>
          update("target_holds", hold, { application_id: null, change_set_id: null }),
        );
        const changed = update("change_sets", whole.changeSet, { ...end.changes, updated_at_ms: write.nowMs });
        return {
          guards: [{ kind: "row", table: "change_sets", id: whole.changeSet.id, version: whole.changeSet.version }],
          entries: [
            write.entry(
              end.action,
              {
                application: application.id,
                outcome: end.status,
                applied: verified,
                failed: run.items.length - verified,
                ...(end.changes.status_reason == null ? {} : { reason: end.changes.status_reason }),
              },
              [ended, changed, ...released],
              {
                items: run.recorded.map((row) => ({
                  sequence: row.sequence,
                  status: row.status,
                  problem: row.problem ?? null,
                })),
              },
            ),
          ],
        };
      },
    );
  }
}
