/**
 * A reporter of vitest: when the run is ended from outside (SIGTERM, as by `timeout`), says what had not come to its end. A test
 * that hangs is found by its name then, not by its absence.
 */
export default class RunningReporter {
  #running = new Map();

  onInit() {
    process.once("SIGTERM", () => {
      this.#tell();
      process.exit(143);
    });
  }

  onTestModuleStart(module) {
    this.#begin(module.id, module.relativeModuleId ?? module.moduleId, "its tests are being collected or prepared");
  }

  onTestModuleQueued(module) {
    this.onTestModuleStart(module);
  }

  onTestCaseReady(test) {
    this.#begin(test.module.id, test.module.relativeModuleId, test.fullName);
  }

  onTestCaseResult(test) {
    this.#begin(test.module.id, test.module.relativeModuleId, `after: ${test.fullName}`);
  }

  onTestModuleEnd(module) {
    this.#running.delete(module.id);
  }

  #begin(id, file, what) {
    this.#running.set(id, { file, what, sinceMs: Date.now() });
  }

  #tell() {
    for (const { file, what, sinceMs } of this.#running.values())
      console.log(`not at its end: ${file} (${what}, ${Math.round((Date.now() - sinceMs) / 1000)} s)`);
  }
}
