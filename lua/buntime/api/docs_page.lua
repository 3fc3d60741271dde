--- The page of /api/docs: reads openapi.json beside it and shows what is in it. Text only ever becomes text, as plugins
--- write some of it.

local M = {}

M.STYLE = [[
:root { color-scheme: light dark; --line: #8884; --dim: #888; --get: #2a7; --post: #27c; --delete: #c33; --put: #a60 }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.5rem; margin: 0 } h2 { font-size: 1.1rem; margin: 2rem 0 .5rem }
p, td { margin: .25rem 0 } .dim { color: var(--dim) }
details { border: 1px solid var(--line); border-radius: .4rem; margin: .3rem 0; padding: .3rem .6rem }
summary { cursor: pointer; display: flex; gap: .8rem; align-items: baseline; flex-wrap: wrap }
code, pre { font: 13px/1.45 ui-monospace, monospace } pre { overflow: auto; border: 1px solid var(--line); padding: .5rem; margin: .3rem 0 }
.method { font: 700 12px ui-monospace, monospace; min-width: 4rem; text-transform: uppercase; color: var(--dim) }
.get { color: var(--get) } .post { color: var(--post) } .delete { color: var(--delete) } .put, .patch { color: var(--put) }
table { border-collapse: collapse; width: 100% } td { border-top: 1px solid var(--line); padding: .2rem .5rem .2rem 0; vertical-align: top }
input { font: inherit; width: 100%; box-sizing: border-box; padding: .4rem .6rem; margin: 1rem 0 0 }
]]

M.SCRIPT = [==[
"use strict";
const make = (tag, text, className) => {
  const node = document.createElement(tag);
  if (text !== undefined) node.textContent = text;
  if (className) node.className = className;
  return node;
};
const main = document.querySelector("main");
const resolve = (api, schema, depth = 0) => {
  if (!schema || typeof schema !== "object" || depth > 8) return schema;
  if (Array.isArray(schema)) return schema.map((one) => resolve(api, one, depth + 1));
  if (schema.$ref) return resolve(api, api.components.schemas[schema.$ref.split("/").pop()], depth + 1);
  return Object.fromEntries(Object.entries(schema).map(([key, value]) => [key, resolve(api, value, depth + 1)]));
};
const schemaOf = (api, content) => {
  const [type, media] = Object.entries(content || {})[0] || [];
  return type && [type, JSON.stringify(resolve(api, media.schema), null, 2)];
};
const table = (rows) => {
  const node = make("table");
  for (const cells of rows) {
    const row = node.insertRow();
    for (const cell of cells) row.insertCell().append(cell);
  }
  return node;
};
const body = (api, operation) => {
  const node = make("div");
  if (operation.description) node.append(make("p", operation.description));
  if (operation.parameters.length)
    node.append(make("h3", "Parameters"), table(operation.parameters.map((p) =>
      [make("code", p.name), make("span", p.in + (p.required ? ", required" : ""), "dim"), p.description || ""])));
  const request = operation.requestBody && schemaOf(api, operation.requestBody.content);
  if (request) node.append(make("h3", "Body"), make("p", request[0], "dim"), make("pre", request[1]));
  node.append(make("h3", "Responses"));
  for (const [status, response] of Object.entries(operation.responses)) {
    const schema = schemaOf(api, response.content);
    node.append(make("p", status + " " + response.description));
    if (schema && status !== "default") node.append(make("pre", schema[1]));
  }
  return node;
};
const show = (api) => {
  document.title = api.info.title + " " + api.info.version;
  main.append(make("h1", document.title), make("p", api.info.description, "dim"));
  const filter = make("input");
  filter.type = "search";
  filter.placeholder = "Filter by path, summary or plugin";
  filter.setAttribute("aria-label", "Filter");
  main.append(filter);
  const sections = new Map(api.tags.map((tag) => [tag.name, []]));
  for (const [path, item] of Object.entries(api.paths))
    for (const [method, operation] of Object.entries(item)) {
      const tag = operation.tags[0];
      if (!sections.has(tag)) sections.set(tag, []);
      sections.get(tag).push({ path, method, operation });
    }
  for (const [tag, list] of sections) {
    const section = make("section");
    section.append(make("h2", tag));
    list.sort((a, b) => a.path.localeCompare(b.path));
    for (const { path, method, operation } of list) {
      const entry = make("details"), summary = make("summary");
      summary.append(make("span", method, "method " + method), make("code", path), make("span", operation.summary || "", "dim"));
      entry.append(summary);
      entry.addEventListener("toggle", () => entry.children.length < 2 && entry.append(body(api, operation)));
      entry.dataset.text = [tag, method, path, operation.summary].join(" ").toLowerCase();
      section.append(entry);
    }
    main.append(section);
  }
  filter.addEventListener("input", () => {
    for (const section of document.querySelectorAll("section")) {
      let any = false;
      for (const entry of section.querySelectorAll("details")) {
        entry.hidden = !entry.dataset.text.includes(filter.value.toLowerCase());
        any = any || !entry.hidden;
      }
      section.hidden = !any;
    }
  });
};
fetch("openapi.json").then((response) => response.json()).then(show).catch((error) => main.append(make("p", "openapi.json: " + error.message)));
]==]

M.HTML = '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
  .. "<title>buntime</title><style>"
  .. M.STYLE
  .. "</style><main></main><script>"
  .. M.SCRIPT
  .. "</script></html>"

return M
