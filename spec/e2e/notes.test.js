// spa-notes: the page, its relative addresses, and the API behind it.

import assert from "node:assert/strict";
import { test } from "node:test";

import { world } from "./support.js";

const w = world(["spa-notes"]);

test("notes are added, are there after a reload of the page, and are removed", async () => {
  const page = await w.open("/notes/");
  await page.fill("input[name=text]", "buy <i>milk</i>");
  await page.click("form button");
  await page.locator("#notes li", { hasText: "buy <i>milk</i>" }).waitFor();
  await page.reload();
  const note = page.locator("#notes li", { hasText: "buy <i>milk</i>" });
  await note.waitFor();
  assert.equal(await page.locator("#notes i").count(), 0);
  await note.locator("button").click();
  await note.waitFor({ state: "detached" });
  assert.deepEqual(await (await fetch(w.url + "/notes/api/notes")).json(), []);
  assert.deepEqual(page.problems, []);
});

test("any path of the application shows the page, with its style and script", async () => {
  const page = await w.open("/notes/some/deep/path");
  assert.equal(page.answer.status(), 200);
  await page.fill("input[name=text]", "from afar");
  await page.click("form button");
  await page.locator("#notes li", { hasText: "from afar" }).waitFor();
  const sheets = await page.evaluate(() => [...document.styleSheets].map((sheet) => sheet.cssRules.length));
  assert.ok(sheets.length === 1 && sheets[0] > 0);
});

test("the bare base leads to the page", async () => {
  const page = await w.open("/notes");
  assert.equal(page.url(), w.url + "/notes/");
  assert.equal(await page.title(), "Notes");
});
