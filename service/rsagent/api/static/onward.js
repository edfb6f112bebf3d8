// Going on from what is shown: what its masks were asked for by, and the user's points put to it.
// The same as rsagent/client/onward.py, which says why.

const MARGIN = 0.02;
const MOST = 16;

/** A mask's whole prompt: `base`'s (if it refines one) and what `action` adds. */
export const refined = (base, action, thought) => ({
  bbox: action.bbox ?? base?.bbox ?? null,
  points: [...(base?.points ?? []), ...(action.points ?? [])],
  thought: thought || base?.thought,
});

/** A prompt and the user's points; its box is grown to hold the positive ones. */
function pointed({ bbox, points: before, thought }, points, { width, height }) {
  const margin = MARGIN * Math.max(width, height);
  const grown = bbox && points.filter(point => point[2]).reduce(([x1, y1, x2, y2], [x, y]) => [
    Math.min(x1, Math.max(0, x - margin)), Math.min(y1, Math.max(0, y - margin)),
    Math.max(x2, Math.min(width, x + margin)), Math.max(y2, Math.min(height, y + margin)),
  ], bbox);
  return { bbox: grown, points: [...before, ...points], thought };
}

const move = ({ bbox, points, thought }) => ({ tool: "segment", ...(bbox ? { bbox } : {}), points: points.slice(-MOST), ...(thought ? { thought } : {}) });

/** The `start` of a request: the `objects` shown, and `points` put to the one they are nearest to, which comes last. */
export function start(objects, prompts, points, size) {
  const [x, y] = points[0], far = ({ bbox: [x1, y1, x2, y2] }) => Math.max(x1 - x, 0, x - x2) + Math.max(y1 - y, 0, y - y2);
  const [corrected, ...others] = objects.filter(one => one.area && prompts.has(one)).sort((a, b) => far(a) - far(b));
  const mine = corrected ? prompts.get(corrected) : { bbox: null, points: [] };
  return [...others.map(one => move(prompts.get(one))), move(pointed(mine, points, size))];
}
