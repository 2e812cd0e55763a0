/** Followers: what reads the ledger as it grows. Nothing is decided by them. */
export { type Follower, followerJob, wakeOnCommit } from "./follow.js";
export { followerLags, type Lag } from "./queries.js";
export { type Followed, openTails, type Tails, type TailOptions, type TailTurn } from "./tail.js";
