// What is shown, as a file: a mask, its run lengths, or the thing itself cut out.
import { bounds, union } from "/static/rle.js";

function hand(blob, name) {
  const link = Object.assign(document.createElement("a"), { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

/** Lower-case words of a sentence, fit for a file's name. */
export const slug = text => text.toLowerCase().normalize("NFKD").replace(/[^\p{L}\p{N}]+/gu, "-").replace(/^-|-$/g, "").slice(0, 60) || "mask";

export const SAVES = {
  /** White inside, black outside, of the picture's size. */
  async png({ masks }, name) {
    const { width, height, inside } = union(masks), canvas = new OffscreenCanvas(width, height);
    const context = canvas.getContext("2d"), pixels = context.createImageData(width, height);
    for (let i = 0; i < inside.length; i++) pixels.data.set([255 * inside[i], 255 * inside[i], 255 * inside[i], 255], 4 * i);
    context.putImageData(pixels, 0, 0);
    hand(await canvas.convertToBlob({ type: "image/png" }), `${name}-mask.png`);
  },

  /** As the service spells it: COCO's compressed run lengths. */
  async rle({ objects, query }, name) {
    hand(new Blob([JSON.stringify({ query, objects }, null, 1)], { type: "application/json" }), `${name}.json`);
  },

  /** The picture where the mask is, nothing elsewhere, cut to fit. */
  async cutout({ masks, picture }, name) {
    const mask = union(masks), [x1, y1, x2, y2] = bounds(mask), bitmap = await createImageBitmap(picture);
    const canvas = new OffscreenCanvas(x2 - x1, y2 - y1), context = canvas.getContext("2d");
    context.drawImage(bitmap, -x1, -y1);
    const pixels = context.getImageData(0, 0, x2 - x1, y2 - y1);
    for (let y = y1, i = 3; y < y2; y++) for (let x = x1; x < x2; x++, i += 4) pixels.data[i] *= mask.inside[y * mask.width + x];
    context.putImageData(pixels, 0, 0);
    hand(await canvas.convertToBlob({ type: "image/png" }), `${name}.png`);
  },
};
