// The story beside the picture: a card for each turn.

const $ = id => document.getElementById(id);
const make = (tag, className, text) => Object.assign(document.createElement(tag), { className: className ?? "", textContent: text ?? "" });

/** The policy's text without its tags and its tool call. */
export const spoken = raw => raw.split("<tool_call")[0].replace(/<\/?think>?|<[^>]*$/g, "").trim();

const seconds = ms => (ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`);

/** What a turn did, in words. */
export function title({ action, user, thought }) {
  if (user) return "You point";
  if (!action) return thought ? "Thinks" : "Looks";
  switch (action.tool) {
    case "segment": return action.base_mask ? "Refines a mask" : action.bbox ? "Draws a box" : "Points";
    case "zoom": return "Looks closer";
    case "finish": return action.mask_ids.length > 1 ? `Submits ${action.mask_ids.length} masks` : "Submits the mask";
    case "report_no_target": return "Finds nothing of the kind";
    default: return "Says something that is no move";
  }
}

/** A new card for `turn`, at the end; choosing it calls `choose`. */
export function card(turn, choose) {
  const root = make("li", "turn"), head = make("button", "head");
  head.type = "button";
  const parts = { root, number: make("span", "number", turn.index), title: make("span", "title"), time: make("span", "time") };
  head.append(parts.number, parts.title, parts.time);
  head.onclick = choose;
  parts.thought = make("p", "thought");
  parts.facts = make("div", "facts");
  root.append(head, parts.thought, parts.facts);
  $("turns").append(root);
  turn.card = parts;
  refresh(turn);
}

/** Bring a turn's card up to date. */
export function refresh(turn) {
  const { root, title: name, time, thought, facts } = turn.card;
  root.classList.toggle("yours", Boolean(turn.user));
  root.classList.toggle("before", Boolean(turn.before));
  root.classList.toggle("live", !turn.done);
  name.textContent = title(turn);
  time.textContent = turn.ms === undefined ? "" : seconds(turn.ms);
  if (turn.stages) time.title = `policy ${seconds(turn.stages.policy)}, segmenter ${seconds(turn.stages.segmenter)}, drawing ${seconds(turn.stages.render)}`;
  thought.textContent = turn.user ? "" : turn.thought ?? "";
  facts.replaceChildren(...told(turn));
}

function* told(turn) {
  if (turn.score !== undefined) yield* scored(turn);
  if (turn.action?.tool === "malformed") yield make("p", "advice", turn.action.advice);
  else if (turn.note) yield make("p", "advice", turn.note);
  if (turn.action?.tool === "report_no_target" && turn.action.reason) yield make("p", "advice", turn.action.reason);
  if (turn.view) {
    const frame = make("img", "frame");
    Object.assign(frame, { src: `data:${turn.view.media_type};base64,${turn.view.data}`, alt: `Frame ${turn.frame.index}: the part it looks at`, width: turn.view.width, height: turn.view.height });
    yield frame;
  }
}

function* scored({ score, area, maskId }) {
  const meter = make("meter");
  Object.assign(meter, { min: 0, max: 1, low: 0.5, high: 0.8, optimum: 1, value: score, title: "The segmenter's own estimate of its IoU" });
  meter.setAttribute("aria-label", `Score of mask ${maskId}`);
  yield meter;
  yield make("span", "score", score.toFixed(2));
  yield make("span", "area", area ? `${area.toLocaleString("en")} px` : "empty");
}

/** Show which turn is looked at. */
export function choose(turns, index) {
  for (const turn of turns) {
    const here = turn.index === index;
    turn.card.root.classList.toggle("chosen", here);
    turn.card.root.querySelector(".head").ariaCurrent = here ? "step" : null;
    if (here && matchMedia("(min-width: 861px)").matches) turn.card.root.scrollIntoView({ block: "nearest" });
  }
}
