// The API's documentation, drawn from /openapi.json.
const make = (tag, props = {}, ...children) => { const e = Object.assign(document.createElement(tag), props); e.append(...children); return e; };
const flow = text => (text ?? "").replace(/([^\n])\n(?!\n)/g, "$1 ");
const prose = text => flow(text).split("`").map((piece, i) => i % 2 ? make("code", { textContent: piece }) : piece);  // `x` is code

function type(schema) {
  if (!schema || !Object.keys(schema).length) return "";
  if (schema.$ref) { const name = schema.$ref.split("/").pop(); return make("a", { href: `#${name}`, textContent: name }); }
  const options = schema.anyOf ?? schema.oneOf;
  if (options) return make("span", {}, ...options.flatMap((one, i) => [i ? " or " : "", type(one)]));
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  if (schema.enum) return schema.enum.map(value => JSON.stringify(value)).join(" or ");
  if (schema.prefixItems) return make("span", {}, "[", ...schema.prefixItems.flatMap((one, i) => [i ? ", " : "", type(one)]), "]");
  if (schema.type === "array") return make("span", {}, "list of ", type(schema.items));
  return schema.format ? `${schema.type} (${schema.format})` : schema.type ?? "";
}

function fields(schema) {
  const rows = Object.entries(schema.properties ?? {}).map(([name, field]) => {
    const notes = [schema.required?.includes(name) ? "required" : "", field.default !== undefined && field.default !== null ? `default ${JSON.stringify(field.default)}` : ""];
    return make("tr", {}, make("td", {}, make("code", { textContent: name })), make("td", {}, type(field)),
      make("td", {}, ...prose(field.description), make("span", { className: "quiet", textContent: ` ${notes.filter(Boolean).join(", ")}` })));
  });
  return rows.length ? make("table", {}, ...rows) : type(schema);
}

function content(media, body) {
  const box = make("div", {}, make("h3", { textContent: media }), body.schema?.properties ? fields(body.schema) : type(body.schema ?? {}));
  if (body.schema?.description && !body.schema.properties) box.append(make("p", {}, ...prose(body.schema.description)));
  if (body["x-events"]) box.append(make("table", {}, ...Object.entries(body["x-events"]).map(([name, ref]) => make("tr", {}, make("td", {}, make("code", { textContent: name })), make("td", {}, type(ref))))));
  const examples = { ...(body.example !== undefined ? { example: { value: body.example } } : {}), ...body.examples };
  for (const example of Object.values(examples)) box.append(make("pre", { textContent: typeof example.value === "string" ? example.value : JSON.stringify(example.value, null, 1) }));
  return box;
}

function operation(path, method, op) {
  const section = make("section", {}, make("h2", {}, make("b", { textContent: `${method.toUpperCase()} ` }), path), make("p", {}, ...prose(op.description ?? op.summary)));
  if (op.requestBody) section.append(make("details", { open: true }, make("summary", { textContent: "Request" }), ...Object.entries(op.requestBody.content).map(pair => content(...pair))));
  for (const [status, response] of Object.entries(op.responses))
    section.append(make("details", {}, make("summary", {}, `${status} · `, ...prose(response.description)), ...Object.entries(response.content ?? {}).map(pair => content(...pair))));
  return section;
}

fetch("/openapi.json").then(r => r.json()).then(api => {
  document.querySelector("h1").textContent = `${api.info.title} API`;
  document.getElementById("about").replaceChildren(...prose(api.info.description));
  for (const [path, item] of Object.entries(api.paths)) for (const [method, op] of Object.entries(item)) document.getElementById("paths").append(operation(path, method, op));
  for (const [name, schema] of Object.entries(api.components.schemas).sort())
    document.getElementById("schemas").append(make("details", { id: name }, make("summary", { textContent: name }), make("p", {}, ...prose(schema.description)), fields(schema)));
  const open = () => { const target = document.getElementById(location.hash.slice(1)); if (target) { target.open = true; target.scrollIntoView(); } };
  addEventListener("hashchange", open); open();
});
