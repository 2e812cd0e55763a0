/**
 * UUIDv7 (RFC 9562 §5.7): time-ordered ids.
 * Promises: lower-case hyphenated; strictly increasing within one source, also when the clock stands still or is set back
 * (method 1 of §6.2: a 12-bit counter seeded at random in its lower half, and the time moves on when it is full).
 */
import { randomBytes } from "node:crypto";
import { systemClock, type Clock } from "./clock.js";

export type RandomBytes = (count: number) => Uint8Array;
export const systemRandom: RandomBytes = (count) => randomBytes(count);

export type NewId = () => string;

const COUNTER_MAX = 0xfff;

/** A source of ids over `clock` and `random`. One a process: two sources do not order against each other. */
export function idSource(clock: Clock = systemClock, random: RandomBytes = systemRandom): NewId {
  let lastMs = -1;
  let counter = 0;
  return () => {
    const bytes = random(10);
    const nowMs = clock.nowMs();
    if (nowMs > lastMs) {
      lastMs = nowMs;
      // Seeded below half, so that at least 2048 ids fit into a millisecond before time is borrowed from the next.
      counter = ((byteAt(bytes, 8) << 8) | byteAt(bytes, 9)) & 0x7ff;
    } else if (++counter > COUNTER_MAX) {
      lastMs += 1;
      counter = 0;
    }
    return format(lastMs, counter, bytes);
  };
}

function format(ms: number, counter: number, random: Uint8Array): string {
  const time = ms.toString(16).padStart(12, "0");
  const variant = ((byteAt(random, 0) & 0x3f) | 0x80).toString(16);
  const tail = Buffer.from(random.buffer, random.byteOffset + 1, 7).toString("hex");
  const low = counter.toString(16).padStart(3, "0");
  return `${time.slice(0, 8)}-${time.slice(8)}-7${low}-${variant}${tail.slice(0, 2)}-${tail.slice(2)}`;
}

function byteAt(bytes: Uint8Array, index: number): number {
  const value = bytes[index];
  if (value === undefined) throw new Error("the source of randomness returned too few bytes");
  return value;
}

/** The process's own source. */
export const newId: NewId = idSource();
