// COCO's compressed run lengths (column-major), as cocoapi's maskApi.c packs them: see rsagent/masks/rle.py.

/** The runs of a `counts` string; the first counts zeros. */
function runs(counts) {
  const found = [];
  for (let at = 0; at < counts.length;) {
    let value = 0, shift = 0, group;
    do {
      group = counts.charCodeAt(at++) - 48;
      value |= (group & 31) << shift;
      shift += 5;
    } while (group & 32);
    if (group & 16) value |= -1 << shift;
    found.push(found.length > 2 ? value + found[found.length - 2] : value);
  }
  return found;
}

/** {width, height, inside}: inside is a Uint8Array, row-major, 1 where the mask is. */
export function decode({ size: [height, width], counts }) {
  const inside = new Uint8Array(width * height);
  let at = 0, one = 0;
  for (const run of runs(counts)) {
    if (one) for (let end = at + run, i = at; i < end; i++) inside[(i % height) * width + Math.floor(i / height)] = 1;
    at += run;
    one ^= 1;
  }
  return { width, height, inside };
}

/** One mask that holds all of `masks`, which are of one size. */
export function union(masks) {
  const [{ width, height }] = masks, inside = new Uint8Array(width * height);
  for (const mask of masks) for (let i = 0; i < inside.length; i++) inside[i] |= mask.inside[i];
  return { width, height, inside };
}

/** [x1, y1, x2, y2] around the mask, x2 and y2 exclusive; null if it is empty. */
export function bounds({ width, height, inside }) {
  let x1 = width, y1 = height, x2 = 0, y2 = 0;
  for (let y = 0, i = 0; y < height; y++) for (let x = 0; x < width; x++, i++) if (inside[i]) {
    if (x < x1) x1 = x;
    if (x >= x2) x2 = x + 1;
    if (y < y1) y1 = y;
    y2 = y + 1;
  }
  return x2 ? [x1, y1, x2, y2] : null;
}
