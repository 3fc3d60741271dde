// The page that development shows for an error: readable, and nothing of it runs.

import assert from "node:assert/strict";
import { test } from "node:test";

import { world } from "./support.js";

const w = world([
  {
    name: "broken",
    files: {
      "manifest.yaml": "name: broken\nbase: /broken\n",
      "plugin.lua": `local routes = require("buntime.router").new()
routes:get("/", function(c)
  error("<script>window.ran = true</script><img src=x onerror='window.ran = true'>")
end)
return { routes = routes }
`,
    },
  },
]);

test("an error is shown with its place, and what it says stays text", async () => {
  const page = await w.open("/broken");
  assert.equal(page.answer.status(), 500);
  assert.match(page.answer.headers()["content-type"], /^text\/html/);
  const text = await page.textContent("body");
  assert.ok(text.includes("<script>window.ran = true</script>"), text);
  assert.ok(text.includes("plugin.lua"), text);
  assert.equal(await page.evaluate(() => window.ran), undefined);
  assert.equal(await page.locator("img").count(), 0);
});
