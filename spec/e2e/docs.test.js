// The server's description: valid OpenAPI 3.1 by a validator that is not ours, and its page in a browser.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Validator } from "@seriousme/openapi-schema-validator";

import { world } from "./support.js";

const w = world([
  "plugin-hello",
  "chat-websocket",
  "spa-notes",
  {
    name: "shop",
    files: {
      "manifest.yaml": "name: '@acme/shop'\nbase: /shop\nversion: 1.2.0\n",
      "plugin.lua": `local routes = require("buntime.router").new()
local ITEM = { type = "object", properties = { id = { type = "integer" } }, required = { "id" } }
routes:get("/items/:id{%d+}", {
  summary = "One item <b>bold</b>",
  params = { { name = "id", schema = { type = "integer" } }, { name = "full", schema = { type = "boolean" } } },
  responses = { [200] = { description = "The item", schema = ITEM }, [404] = "There is none" },
}, function(c) return c:json({ id = 1 }) end)
routes:post("/items", { summary = "A new item", body = ITEM }, function(c) return c:json({}) end)
routes:get("/pages/:year/:month?", function(c) return c:text("") end)
routes:all("/any/*", function(c) return c:text("") end)
routes:get("/items/:other{%a+}", function(c) return c:text("") end)
routes:get("/secret", { hidden = true }, function(c) return c:text("") end)
routes:on("PURGE", "/cache", function(c) return c:text("") end)
return {
  routes = routes,
  server = { routes = { ["/robots.txt"] = function(c) return c:text("") end } },
}
`,
    },
  },
]);

const description = async () => (await fetch(w.url + "/api/openapi.json")).json();

test("a validator finds nothing wrong with it", async () => {
  const validator = new Validator();
  const result = await validator.validate(await description());
  assert.deepEqual(result.errors ?? [], []);
  assert.equal(validator.version, "3.1");
});

test("it has the plugins' routes with what they say of themselves", async () => {
  const { paths, tags } = await description();
  const item = paths["/shop/items/{id}"].get;
  assert.equal(item.summary, "One item <b>bold</b>");
  assert.deepEqual(item.tags, ["@acme/shop"]);
  assert.deepEqual(item.parameters.map((p) => [p.name, p.in, p.required, p.schema.type]), [
    ["id", "path", true, "integer"],
    ["full", "query", false, "boolean"],
  ]);
  assert.equal(item.responses["200"].content["application/json"].schema.properties.id.type, "integer");
  assert.equal(item.responses["404"].description, "There is none");
  assert.equal(paths["/shop/items"].post.requestBody.required, true);
  assert.deepEqual(Object.keys(paths["/shop/any/{rest3}"]).sort(), ["delete", "get", "patch", "post", "put"]);
  assert.ok(paths["/shop/pages/{year}"].get && paths["/shop/pages/{year}/{month}"].get);
  assert.ok(paths["/robots.txt"].get && paths["/chat/socket"].get.responses["101"]);
  assert.ok(paths["/hello/api/greeting"].get);
  for (const hidden of ["/shop/secret", "/shop/cache", "/shop/items/{other}"]) assert.equal(paths[hidden], undefined);
  assert.ok(tags.some((tag) => tag.name === "@acme/shop"));
  const ids = Object.values(paths).flatMap((i) => Object.values(i).map((o) => o.operationId));
  assert.equal(new Set(ids).size, ids.length);
});

test("its page shows it with nothing from elsewhere", async () => {
  const asked = [];
  const page = await w.open("/api/docs", (p) => p.on("request", (request) => asked.push(request.url())));
  await page.waitForSelector("section");
  assert.ok(asked.every((url) => url.startsWith(w.url)), asked.join(" "));
  await page.fill("input", "@acme/shop");
  const shown = page.locator("details:visible");
  assert.ok((await shown.count()) >= 8);
  const item = page.locator("details:visible", { hasText: "/shop/items/{id}" });
  await item.locator("summary").click();
  await item.getByText("200 The item").waitFor();
  const text = await item.textContent();
  assert.match(text, /One item <b>bold<\/b>/);
  assert.match(text, /"integer"/);
  assert.deepEqual(page.problems, []);
});
