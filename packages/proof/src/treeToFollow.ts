/**
 * Chooses the tree that the verifier follows while it reads. The tree keeps its root at every size for which somebody
 * claims a root, and compares its leaves with those that anchors keep. If nobody claims anything, no tree is followed,
 * since following costs time for every entry.
 *
 * Claims are only collected here; `completeness.ts` judges them.
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
