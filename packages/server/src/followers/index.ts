/** Followers: modules that read the ledger as it grows. No module calls them, and they decide nothing. */
export { type Followed, openTails, type Tails, type TailOptions, type TailTurn } from "./tail.js";
