// chat-websocket: two pages talk to each other.

import assert from "node:assert/strict";
import { test } from "node:test";

import { world } from "./support.js";

const w = world(["chat-websocket"]);

function named(name) {
  return (page) => page.on("dialog", (dialog) => dialog.accept(name));
}

function message(page, text) {
  return page.locator("#messages li", { hasText: text }).first().waitFor();
}

async function say(page, text) {
  await page.fill("input[name=text]", text);
  await page.click("button");
}

test("two pages see what each of them says", async () => {
  const ann = await w.open("/chat", named("Ann"));
  await message(ann, "Ann: is here");
  const bob = await w.open("/chat", named("Bob"));
  await message(ann, "Bob: is here");

  await say(ann, "hello <b>Bob</b>");
  await message(bob, "Ann: hello <b>Bob</b>");
  await say(bob, "zażółć 🙂");
  await message(ann, "Bob: zażółć 🙂");
  assert.equal(await ann.locator("#messages b").count(), 0);
  assert.deepEqual([...ann.problems, ...bob.problems], []);
});

test("a page is back after a reload of the plugin", async () => {
  const page = await w.open("/chat", named("Cleo"));
  await message(page, "Cleo: is here");
  const answer = await fetch(w.url + "/api/plugins/chat-websocket/reload", { method: "POST" });
  assert.equal(answer.status, 200);
  await page.locator("#messages li", { hasText: "Cleo: is here" }).nth(1).waitFor();
  await say(page, "still here");
  await message(page, "Cleo: still here");
});
