/**
 * Which tree the verifier follows while it reads: one whose roots are kept at every size that somebody claims a root for, and
 * whose leaves are held against those that anchors keep. None where nobody asks, since following costs time for every entry.
 *
 * What is claimed is only collected here; whether the claims hold is `completeness.ts`.
 */
import { parseOrigin } from "./checkpoint.js";
import { TreeFollower, type LeafTiles } from "./tree.js";
import { noTrust, type AnchorView } from "./trust.js";
import type { VerifyOptions } from "./verifyOptions.js";

/** Follows the tree if there is anything to hold it against. */
export function treeToFollow(options: VerifyOptions): TreeFollower | undefined {
  const {
    from = 0,
    trust = noTrust,
    ownCheckpoints = [],
    recordedHead,
    leftEdge,
    selection,
    tenant,
    withRoot,
  } = options;
  const claimed = [
    ...ownCheckpoints,
    ...trust.anchors.flatMap(({ checkpoints }) => checkpoints.map((one) => one.checkpoint)),
  ];
  const sizes = claimed.map(({ size }) => size);
  if (recordedHead !== undefined) sizes.push(recordedHead.size);
  const nobodyAsks = sizes.length === 0 && leftEdge === undefined && withRoot !== true;
  if (selection !== undefined || nobodyAsks) return undefined;
  const tiles = trust.anchors.map((anchor) => leafTilesOf(anchor, tenant));
  return new TreeFollower({ from, edge: leftEdge, sizes, tiles });
}

/** Of the newest incarnation that the anchor knows. */
function leafTilesOf({ checkpoints, leafTile }: AnchorView, tenant: string): LeafTiles {
  const newest = checkpoints.reduce<{ origin: string; incarnation: number } | undefined>((best, { checkpoint }) => {
    const origin = parseOrigin(checkpoint.origin);
    const isNewer = origin?.tenant === tenant && origin.incarnation >= (best?.incarnation ?? 0);
    return isNewer ? { origin: checkpoint.origin, incarnation: origin.incarnation } : best;
  }, undefined);
  return leafTile === undefined || newest === undefined ? () => undefined : (index) => leafTile(index, newest.origin);
}
