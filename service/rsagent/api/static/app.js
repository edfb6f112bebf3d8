// The page: a picture and a sentence in, a story of turns out, and a way to point and let it go on.
import { refined, start } from "/static/onward.js";
import { decode } from "/static/rle.js";
import { SAVES, slug } from "/static/save.js";
import * as stage from "/static/stage.js";
import { Problem, ask } from "/static/stream.js";
import { card, choose, refresh, spoken } from "/static/turns.js";

const $ = id => document.getElementById(id);
const make = (tag, props = {}, ...children) => { const made = Object.assign(document.createElement(tag), props); made.append(...children); return made; };

/**
 * What is known: the picture, the story so far, and the points that the user has set since. `hidden` are the moves that
 * a request only brings along, `before` the turns that were there when it began: the service counts anew each time.
 */
const now = { picture: null, size: null, query: "", turns: [], answer: null, at: 0, points: [], running: null, opening: null, key: "", hidden: 0, before: 0 };
const prompts = new WeakMap();  // what each object was asked for by

// ---- the picture

/** Show a picture, or one that is still fetched; whether it is shown in the end. Of several that are opened at once the
 * one that was chosen last is. */
function show(chosen, title = "Your picture") {
  halt();
  const opening = now.opening = opened(chosen, title, () => now.opening === opening).finally(() => { if (now.opening === opening) now.opening = null; });
  return opening;
}

async function opened(chosen, title, wanted) {
  let blob, loaded;
  try { blob = await chosen; loaded = await stage.load(blob); } catch {
    if (!wanted()) return;
    forget();
    return complain(new Problem({ code: "bad_image", detail: "The browser cannot open this picture. Try a JPEG, PNG or WebP file.", retryable: false }));
  }
  if (!wanted()) return URL.revokeObjectURL(loaded.address);
  now.size = stage.open(loaded);
  now.picture = blob;
  $("picture").alt = title;
  forget();
  $("pens").hidden = false;
  say("");
  return true;
}

/** Back to an empty story, or to the first turns of this one. */
function forget(kept = []) {
  Object.assign(now, { turns: kept, answer: null, at: kept.length, points: [] });
  $("turns").replaceChildren(...kept.map(turn => turn.card.root));
  for (const turn of kept) { turn.before = true; refresh(turn); }
  $("problem").replaceChildren();
  settle();
}

function choosePicture(button, sentences = []) {
  for (const tile of $("pictures").querySelectorAll("button")) tile.ariaPressed = String(tile === button);
  $("sentences").replaceChildren(...sentences.map(text => make("button", { type: "button", textContent: text, onclick: () => { $("query").value = text; begin(); } })));
}

async function mine(file) {
  if (!file) return;
  choosePicture(null);
  await show(file, file.name || "Your picture");
  $("query").select();
}

// ---- a request

async function begin(moves = [], kept = []) {
  while (now.opening) {  // what is asked is meant of the picture that was just chosen
    if (moves.length) return;
    say("Opening the picture …");
    const done = await now.opening;
    if (!done && !now.opening) return;
  }
  if (!now.picture) return say("Choose a picture first.");
  now.query = $("query").value.trim();
  if (!now.query) return $("query").focus();
  return run(moves, kept);
}

async function run(moves, kept) {
  halt();
  forget(kept);
  Object.assign(now, { hidden: Math.max(0, moves.length - 1), before: kept.length, masks: new Map() });
  const running = now.running = new AbortController();
  busy(true);
  say("Sending the picture …");
  try {
    const options = { include: ["turns", "thoughts", "overlays"], start: moves };
    for await (const [name, data] of ask(now.picture, now.query, options, { signal: running.signal, key: now.key })) {
      if (running !== now.running) return;
      EVENTS[name]?.(data);
    }
  } catch (error) {
    if (running !== now.running) return;
    if (error.name === "AbortError") say("Stopped.");
    else complain(error instanceof Problem ? error : new Problem({ code: "page", detail: `This page stumbled: ${error.message}` }), () => begin(moves, kept));
  }
  if (running === now.running) { now.running = null; busy(false); for (const turn of now.turns) { turn.done = true; refresh(turn); } settle(); }
}

function halt() {
  now.running?.abort();
  now.running = null;
  busy(false);
}

function busy(is) {
  $("go").hidden = is;
  $("stop").hidden = !is;
  document.body.classList.toggle("busy", is);
}

// ---- what the stream tells

const EVENTS = {
  accepted: ({ query }) => say(`Looking for “${query}” …`),

  thought({ turn: index, text }) {
    const turn = turnOf(index);
    turn.raw = (turn.raw ?? "") + text;
    turn.thought = spoken(turn.raw);
    refresh(turn);
    if (turn.thought) say(turn.thought, true);
  },

  action({ turn: index, action, thought, given, frame, overlay, observation }) {
    Object.assign(now, { asked: action, why: thought });
    if (index <= now.hidden) return;
    const turn = turnOf(index), done = action.tool !== "segment" || Boolean(observation);
    Object.assign(turn, { action, user: given, frame, view: overlay, done });
    turn.note = observation && !frame ? observation : "";
    if (thought) turn.thought = thought;
    clock(turn);
    settle();
  },

  mask({ turn: index, mask, mask_id, score, area, bbox }) {
    now.masks.set(mask_id, refined(now.masks.get(now.asked.base_mask), now.asked, now.why));
    if (index <= now.hidden) return;
    const turn = turnOf(index), object = { mask_id, mask, bbox, area, score };
    prompts.set(object, now.masks.get(mask_id));
    Object.assign(turn, { maskId: mask_id, score, area, done: true, object, mask: decode(mask) });
    clock(turn);
    settle();
  },

  final(answer) {
    for (const one of answer.objects) prompts.set(one, now.masks.get(one.mask_id));
    for (const told of answer.turns.slice(now.hidden)) {
      const turn = turnOf(told.index), { policy, segmenter, render } = told.timings_ms;
      Object.assign(turn, { stages: told.timings_ms, ms: policy + segmenter + render, done: true });
      if (told.thought && !turn.user) turn.thought = told.thought;
      if (told.action.tool === "segment" && told.mask_id === null) turn.note = told.observation;  // it repeated itself
      refresh(turn);
    }
    now.answer = { ...answer, masks: answer.objects.map(one => decode(one.mask)) };
    now.at = now.turns.length + 1;
    say(summary(answer));
    settle();
  },
};

/** The turn that the service calls `number`; it is made if it is new. */
function turnOf(number) {
  const index = number - now.hidden + now.before;
  let turn = now.turns.find(one => one.index === index);
  if (!turn) {
    turn = { index, since: performance.now() };
    const follows = now.at >= now.turns.length;
    now.turns.push(turn);
    card(turn, () => { now.at = index; settle(); });
    if (follows) now.at = index;
    settle();
  }
  return turn;
}

function clock(turn) {
  turn.ms = performance.now() - turn.since;
  refresh(turn);
}

function summary({ status, stop_reason, objects, timings_ms, turns }) {
  const own = turns.filter(turn => !turn.given).length;
  const spent = `${own} ${own === 1 ? "turn" : "turns"}, ${(timings_ms.total / 1000).toFixed(1)} s`;
  if (status === "no_target") return `It says that this is not in the picture. ${spent}.`;
  if (status === "segmented") return `${objects.length === 1 ? "One mask" : `${objects.length} masks`} after ${spent}. Not what you meant? Point at it.`;
  const why = { turn_budget: "it ran out of turns", repeat: "it went in circles", malformed_budget: "it lost the thread", deadline: "time was up" }[stop_reason] ?? stop_reason;
  return `${objects.length ? "Its best guess" : "Nothing found"}: ${why}. ${spent}. Point at what you mean to help it.`;
}

// ---- looking back

const isResult = () => now.answer !== null && now.at > now.turns.length;

/** What is shown at this place of the story: objects as the service spells them, and their decoded masks. */
function shown() {
  if (isResult()) return { objects: now.answer.objects, masks: now.answer.masks };
  const turn = now.turns.filter(one => one.mask && one.index <= now.at).at(-1);
  return turn ? { objects: [turn.object], masks: [turn.mask], turn } : { objects: [], masks: [] };
}

let painted = null;

/** Bring the page in line with what is known. */
function settle() {
  const last = now.turns.length + (now.answer ? 1 : 0), turn = now.turns.find(one => one.index === now.at);
  const { masks, turn: maker } = shown(), result = isResult(), key = result ? now.answer : maker?.mask ?? null;
  if (key !== painted) { painted = key; stage.mask(masks.filter((_, i) => shown().objects[i].area), { result, colour: result ? 0 : (maker?.maskId ?? 1) - 1 }); }
  stage.mark(turn?.action ?? null);
  choose(now.turns, now.at);
  $("timeline").hidden = last < 2;
  Object.assign($("slider"), { max: last, value: now.at });
  $("slider").setAttribute("aria-valuetext", $("moment").textContent = result ? "Result" : `Turn ${now.at} of ${now.turns.length}`);
  $("slider").style.setProperty("--done", last > 1 ? (now.at - 1) / (last - 1) : 1);
  $("saves").hidden = Boolean(now.running) || !masks.length || !shown().objects.some(one => one.area);
  const absent = result && now.answer.status === "no_target";
  $("absent").hidden = !absent;
  $("absent").lastElementChild.textContent = absent ? now.turns.at(-1)?.action?.reason ?? "" : "";
  pinned();
}

// ---- pointing, and going on from there

const label = () => Number($("pens").querySelector("[aria-pressed=true]").dataset.label);

function pinned() {
  for (const old of $("points").querySelectorAll(".mine")) old.remove();
  for (const point of now.points) stage.pin(point, "mine");
  $("onward").hidden = !now.points.length || Boolean(now.running);
  $("count").textContent = now.points.length === 1 ? "1 point" : `${now.points.length} points`;
}

/** Let it go on from what is shown and the user's points. Turns that led elsewhere, and ends, are left behind. */
function resume() {
  if (!now.points.length) return;
  const kept = now.turns.filter(turn => (isResult() || turn.index <= now.at) && !["finish", "report_no_target"].includes(turn.action?.tool));
  begin(start(shown().objects, prompts, now.points, now.size), kept);
}
function undo() { now.points.pop(); pinned(); }

stage.pointing({ label, undo, may: () => now.picture && !now.running, add: point => { if (now.points.length < 16) { now.points.push(point); pinned(); } } });

// ---- words

function say(text, thinking = false) {
  $("status").textContent = text;
  $("status").classList.toggle("thinking", thinking);
}

const HEADINGS = {
  overloaded: "It is busy", shutting_down: "It is shutting down", timeout: "Time was up", bad_image: "This picture cannot be read",
  too_large: "This picture is too large", unsupported_format: "This format is not known", bad_query: "This cannot be asked", unreachable: "No answer",
  cut_off: "The story broke off", unauthorized: "It asks for a key", rate_limited: "Too many requests",
};

/** Say what went wrong, and what can be done; `repeat` does it again. */
function complain(problem, repeat = () => begin()) {
  say("");
  const box = make("div", { className: "problem" }, make("b", { textContent: HEADINGS[problem.code] ?? "Something went wrong" }), make("p", { textContent: problem.detail }));
  const note = [problem.code, problem.request_id && `request ${problem.request_id}`].filter(Boolean).join(" · ");
  box.append(make("code", { textContent: note }));
  if (problem.status === 401) box.append(keyForm(repeat));
  else if (problem.retryable) box.append(again(problem.retry_after, repeat));
  $("problem").replaceChildren(box);
}

function again(wait, repeat) {
  const button = make("button", { type: "button", textContent: "Try again", onclick: repeat }), until = performance.now() + (wait ?? 0) * 1000;
  const tick = () => {
    const left = Math.ceil((until - performance.now()) / 1000);
    button.disabled = left > 0;
    button.textContent = left > 0 ? `Try again in ${left} s` : "Try again";
    if (left > 0 && button.isConnected) setTimeout(tick, 250);
  };
  setTimeout(tick);
  return button;
}

function keyForm(repeat) {
  const input = make("input", { type: "password", required: true, placeholder: "API key", ariaLabel: "API key" });
  return make("form", { onsubmit: event => { event.preventDefault(); now.key = input.value; repeat(); } }, input, make("button", { textContent: "Use it" }));
}

// ---- wiring

$("form").onsubmit = event => { event.preventDefault(); begin(); };
$("stop").onclick = () => { halt(); say("Stopped."); for (const turn of now.turns) { turn.done = true; refresh(turn); } settle(); };
$("resume").onclick = resume;
$("undo").onclick = undo;
$("slider").oninput = () => { now.at = Number($("slider").value); settle(); };
$("file").onchange = event => { mine(event.target.files[0]); event.target.value = ""; };
for (const pen of $("pens").children) pen.onclick = () => { for (const other of $("pens").children) other.ariaPressed = String(other === pen); };
for (const button of $("saves").children) button.onclick = () => SAVES[button.dataset.save]({ ...shown(), picture: now.picture, query: now.query }, slug(now.query));

addEventListener("keydown", event => {
  if (event.key === "Escape" && now.running) $("stop").click();
  if (event.key === "/" && !/^(INPUT|TEXTAREA)$/.test(document.activeElement?.tagName)) { event.preventDefault(); $("query").select(); }
});
addEventListener("paste", event => { const file = [...event.clipboardData.files].find(one => one.type.startsWith("image/")); if (file) { event.preventDefault(); mine(file); } });
let depth = 0;
const drags = event => event.dataTransfer?.types.includes("Files");
addEventListener("dragenter", event => { if (drags(event)) document.body.classList.toggle("dropping", ++depth > 0); });
addEventListener("dragleave", event => { if (drags(event)) document.body.classList.toggle("dropping", --depth > 0); });
addEventListener("dragover", event => drags(event) && event.preventDefault());
addEventListener("drop", event => { if (!drags(event)) return; event.preventDefault(); depth = 0; document.body.classList.remove("dropping"); mine(event.dataTransfer.files[0]); });

async function examples() {
  const listed = await (await fetch("/v1/examples")).json();
  for (const { title, url, sentences } of listed) {
    const tile = make("button", { type: "button", className: "tile", title, ariaPressed: "false" }, make("img", { src: url, alt: title, loading: "lazy", width: 96, height: 72 }));
    tile.onclick = () => { choosePicture(tile, sentences); $("query").value = sentences[0] ?? ""; show(fetch(url).then(told => told.blob()), title); };
    $("pictures").append(tile);
  }
  if (!now.picture && !now.opening) $("pictures").querySelector("button")?.click();
}

async function engines() {
  const { policy_name: policy, segmenter_variant: segmenter } = await (await fetch("/readyz")).json();
  const toy = /nano/.test(policy) ? " The nano pair is an honest toy: it knows 266 things of a collage world. Larger checkpoints take its place by a setting." : "";
  $("engines").textContent = `Policy ${policy}, segmenter ${segmenter}.${toy}`;
}

examples().catch(() => say("The examples cannot be loaded. Choose a picture of your own."));
engines().catch(() => {});
