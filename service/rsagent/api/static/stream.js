// One request to /v1/segment, told as it happens.

/** What the service says went wrong (RFC 9457), or what kept it from saying anything. */
export class Problem extends Error {
  constructor(account) {
    super(account.detail);
    Object.assign(this, { code: "", retryable: true, retry_after: null, request_id: "" }, account);
  }
}

const SILENT = { code: "unreachable", detail: "The service does not answer. Is it still running?" };
const CUT = { code: "cut_off", detail: "The connection broke off before the end. Try again." };

/** Yields [name, data] for every event up to `final`. Throws Problem, or AbortError when `signal` says so. */
export async function* ask(image, query, options, { signal, key }) {
  const body = new FormData();
  body.append("image", image, "picture");
  body.append("query", query);
  body.append("options", JSON.stringify(options));
  const headers = { Accept: "text/event-stream", ...(key ? { Authorization: `Bearer ${key}` } : {}) };
  const response = await guarded(fetch("/v1/segment", { method: "POST", body, headers, signal }), SILENT);
  if (!response.ok) throw await refusal(response);
  for await (const [name, data] of events(response.body)) {
    if (name === "error") throw new Problem(data);
    yield [name, data];
    if (name === "final") return;
  }
  throw new Problem(CUT);
}

/** `promise`, with what a browser throws for a dead connection told in our words. */
async function guarded(promise, account) {
  try { return await promise; } catch (error) { throw error.name === "AbortError" ? error : new Problem(account); }
}

async function refusal(response) {
  try { return new Problem(await response.json()); } catch {
    return new Problem({ code: `http_${response.status}`, detail: `Something between here and the service answered with HTTP ${response.status}.` });
  }
}

async function* events(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  try {
    for (let rest = ""; ;) {
      const { value, done } = await guarded(reader.read(), CUT);
      if (done) return;
      const blocks = (rest + value).split("\n\n");
      rest = blocks.pop();
      for (const block of blocks) {
        const fields = Object.fromEntries(block.split("\n").filter(line => line && !line.startsWith(":")).map(line => line.split(/: ?(.*)/s)));
        if (fields.event) yield [fields.event, JSON.parse(fields.data)];
      }
    }
  } finally { reader.cancel().catch(() => {}); }
}
