/** Platform: the services of the machine and the process. It knows nothing of Countersign's purpose. */
export { systemClock, type Clock } from "./clock.js";
export {
  defaultHost,
  defaultPort,
  selfCheckMinutesDefault,
  logLevels,
  parseConfig,
  type LogLevel,
  type ProcessConfig,
} from "./config.js";
export { dataDirectoryPath, openDataDirectory } from "./dataDirectory.js";
export { hasCode, makeFolder, readIfPresent, replaceFile, syncFolder, writeOnce } from "./durable.js";
export { idSource, newId, systemRandom, type NewId, type RandomBytes } from "./ids.js";
export type { Job } from "./job.js";
export { maskText, openLog, type Log } from "./log.js";
export { startRounds, type Rounds } from "./rounds.js";
export {
  openSealing,
  sealedOverheadBytes,
  sealingWith,
  subjectKeyId,
  subjectSealing,
  type Sealing,
} from "./sealing.js";
export { dayMs, hourMs, iso, minuteMs } from "./time.js";
export { realTimers, type Timers } from "./timers.js";
