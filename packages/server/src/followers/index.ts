/** Followers: what reads the ledger as it grows. No module calls them; nothing is decided by them. */
export { type Followed, openTails, type Tails, type TailOptions, type TailTurn } from "./tail.js";
