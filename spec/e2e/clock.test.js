// clock-sse: events arrive, and go on arriving after the connection was lost.

import assert from "node:assert/strict";
import { test } from "node:test";

import { world } from "./support.js";

const w = world(["clock-sse"]);

test("the page shows the time, and how many watch", async () => {
  const page = await w.open("/clock");
  await page.waitForFunction(() => /^\d\d:\d\d:\d\d$/.test(document.getElementById("time").textContent));
  const first = await page.textContent("#time");
  await page.waitForFunction((was) => document.getElementById("time").textContent !== was, first);

  const other = await w.open("/clock");
  await page.waitForFunction(() => document.getElementById("watching").textContent === "2");
  await other.close();
  await page.waitForFunction(() => document.getElementById("watching").textContent === "1");
  assert.deepEqual(page.problems, []);
});

test("the page goes on after a reload of the plugin", async () => {
  const page = await w.open("/clock");
  await page.waitForFunction(() => document.getElementById("time").textContent.includes(":"));
  const answer = await fetch(w.url + "/api/plugins/clock-sse/reload", { method: "POST" });
  assert.equal(answer.status, 200);
  const now = await page.textContent("#time");
  await page.waitForFunction((was) => document.getElementById("time").textContent !== was, now);
});
