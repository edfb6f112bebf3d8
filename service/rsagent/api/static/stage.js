// The picture, the masks that fade in over it, what the agent pointed at, and what the user points at.
import { union } from "/static/rle.js";

const $ = id => document.getElementById(id);
const COLOURS = [[46, 214, 150], [255, 176, 59], [86, 156, 255], [240, 98, 170], [160, 120, 255], [64, 208, 226]];
const LONGEST = 1400;   // pixels of a drawn mask's longer side: as fine as a screen shows, however large the picture
const EDGE = 4;         // pixels of a mask's outline
const SVG = "http://www.w3.org/2000/svg";

let size = null;

/** A picture that can be shown at once. Throws if the browser cannot open it. */
export async function load(blob) {
  const address = URL.createObjectURL(blob), probe = new Image();
  probe.src = address;
  await probe.decode();
  return { address, probe };
}

/** Put a picture that is loaded in place of the one before, its masks and marks with it. Its {width, height}, upright. */
export function open({ address, probe }) {
  const image = $("picture");
  if (image.src.startsWith("blob:")) URL.revokeObjectURL(image.src);
  image.src = address;
  image.hidden = false;
  $("hint").hidden = true;
  size = { width: probe.naturalWidth, height: probe.naturalHeight };
  $("sheet").style.setProperty("--ratio", size.width / size.height);
  $("marks").setAttribute("viewBox", `0 0 ${size.width} ${size.height}`);
  mask([]);
  mark(null);
  return size;
}

/** Fade to `masks`. A `result` stands in the light, the rest of the picture steps back. */
export function mask(masks, { result = false, colour = 0 } = {}) {
  for (const old of $("masks").children) retire(old);
  if (!masks.length) return;
  const layers = masks.map((one, index) => tinted(one, COLOURS[(colour + index) % COLOURS.length], result ? 0.16 : 0.42));
  if (result) layers.unshift(shade(union(masks)));
  for (const layer of layers) $("masks").append(layer);
  $("masks").offsetWidth;  // lets the browser see them transparent once, so that they fade
  for (const layer of layers) layer.classList.add("shown");
}

function retire(layer) {
  layer.classList.remove("shown");
  layer.classList.add("gone");
  setTimeout(() => layer.remove(), 700);
}

/** The mask's coverage on a canvas of screen size, with soft edges: [canvas, pixels]. */
function drawn({ width, height, inside }) {
  const raw = new OffscreenCanvas(width, height), paper = raw.getContext("2d"), flat = paper.createImageData(width, height);
  for (let i = 0; i < inside.length; i++) if (inside[i]) flat.data[4 * i + 3] = 255;
  paper.putImageData(flat, 0, 0);
  const scale = LONGEST / Math.max(width, height), canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(width * scale));
  canvas.height = Math.max(1, Math.round(height * scale));
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.imageSmoothingQuality = "high";
  context.drawImage(raw, 0, 0, canvas.width, canvas.height);
  const pixels = context.getImageData(0, 0, canvas.width, canvas.height), sharpness = Math.max(1, scale);
  for (let i = 3; i < pixels.data.length; i += 4) pixels.data[i] = 128 + (pixels.data[i] - 128) * sharpness;  // clamps
  return [canvas, pixels];
}

function tinted(one, [red, green, blue], strength) {
  const [canvas, pixels] = drawn(one), { width, height, data } = pixels, cover = new Uint8Array(width * height);
  for (let i = 0; i < cover.length; i++) cover[i] = data[4 * i + 3];
  const reach = Math.round(EDGE), steps = [-reach, reach, -reach * width, reach * width];
  for (let i = 0; i < cover.length; i++) {
    if (!cover[i]) continue;
    let least = 255;
    for (const step of steps) least = Math.min(least, cover[i + step] ?? 0);
    data[4 * i] = red; data[4 * i + 1] = green; data[4 * i + 2] = blue;
    data[4 * i + 3] = Math.max(cover[i] * strength, Math.min(cover[i], 255 - least) * 0.95);
  }
  canvas.getContext("2d").putImageData(pixels, 0, 0);
  return canvas;
}

function shade(one) {
  const [canvas, pixels] = drawn(one), { data } = pixels;
  for (let i = 0; i < data.length; i += 4) { data[i] = 8; data[i + 1] = 11; data[i + 2] = 14; data[i + 3] = (255 - data[i + 3]) * 0.55; }
  canvas.getContext("2d").putImageData(pixels, 0, 0);
  return canvas;
}

/** Draw where an action points: its box, its points, or the frame that a zoom opens. */
export function mark(action) {
  $("marks").replaceChildren();
  for (const old of $("points").querySelectorAll(".theirs")) old.remove();
  if (action?.bbox) {
    const [x1, y1, x2, y2] = action.bbox;
    if (action.tool === "zoom") shape("path", "outside", { d: `M0 0H${size.width}V${size.height}H0ZM${x1} ${y1}V${y2}H${x2}V${y1}Z`, "fill-rule": "evenodd" });
    shape("rect", action.tool, { x: x1, y: y1, width: x2 - x1, height: y2 - y1 });
  }
  for (const point of action?.points ?? []) pin(point, "theirs");
}

function shape(name, kind, attributes) {
  const made = document.createElementNS(SVG, name);
  made.setAttribute("class", kind);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  $("marks").append(made);
}

/** Put a pin at a point [x, y, label] of the picture. */
export function pin([x, y, label], kind) {
  const made = document.createElement("i");
  made.className = `pin ${kind} ${label ? "plus" : "minus"}`;
  made.style.left = `${100 * x / size.width}%`;
  made.style.top = `${100 * y / size.height}%`;
  $("points").append(made);
  return made;
}

/** The user's pointing, by mouse, finger or keyboard: calls `add([x, y, label])` and `undo()`. */
export function pointing({ add, undo, label, may }) {
  let cursor = null;
  const place = event => {
    const box = $("sheet").getBoundingClientRect();
    const x = (event.clientX - box.left) / box.width * size.width, y = (event.clientY - box.top) / box.height * size.height;
    return [Math.min(Math.max(x, 0), size.width), Math.min(Math.max(y, 0), size.height)].map(value => Math.round(value * 10) / 10);
  };
  $("sheet").addEventListener("click", event => may() && add([...place(event), event.altKey ? 0 : label()]));
  $("sheet").addEventListener("contextmenu", event => { if (may()) { event.preventDefault(); add([...place(event), 0]); } });
  $("stage").addEventListener("blur", () => { cursor?.remove(); cursor = null; });
  $("stage").addEventListener("keydown", event => {
    if (event.target !== $("stage") || !size || !may()) return;
    const step = Math.max(size.width, size.height) / (event.shiftKey ? 10 : 50);
    const moves = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] };
    const labels = { Enter: 1, "+": 1, "=": 1, "-": 0 };
    if (event.key in moves) cursor = moved(cursor, moves[event.key]);
    else if (event.key in labels) { cursor ??= moved(null, [0, 0]); add([cursor.x, cursor.y, labels[event.key]]); }
    else if (event.key === "Backspace") undo();
    else return;
    event.preventDefault();
  });
}

function moved(cursor, [dx, dy]) {
  const x = Math.min(Math.max((cursor?.x ?? size.width / 2) + dx, 0), size.width);
  const y = Math.min(Math.max((cursor?.y ?? size.height / 2) + dy, 0), size.height);
  cursor?.remove();
  return Object.assign(pin([x, y, 1], "cursor"), { x: Math.round(x * 10) / 10, y: Math.round(y * 10) / 10 });
}
