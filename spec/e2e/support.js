// A server with some plugins, and one browser, for tests that need a real page.

import { spawn } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { after, before } from "node:test";

import { chromium } from "playwright-core";

const ROOT = resolve(import.meta.dirname ?? new URL(".", import.meta.url).pathname, "../..");
const BINARY = resolve(process.env.BUNTIME_BIN ?? join(ROOT, "build/buntime"));
const BROWSER = process.env.CHROMIUM ?? "/usr/bin/chromium";
const PATIENCE = 60000;

const ARGS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

function layOut(dir, plugins) {
  for (const plugin of plugins) {
    if (typeof plugin === "string") {
      cpSync(join(ROOT, "plugins", plugin), join(dir, "plugins", plugin), { recursive: true });
      continue;
    }
    const folder = join(dir, "plugins", plugin.name);
    mkdirSync(folder, { recursive: true });
    for (const [file, text] of Object.entries(plugin.files)) writeFileSync(join(folder, file), text);
  }
}

// The port, from the log.
function listening(server) {
  return new Promise((done, fail) => {
    let log = "";
    server.stderr.on("data", (chunk) => {
      log += chunk;
      server.log = log;
      for (const line of log.split("\n")) {
        if (!line.includes('"listening')) continue;
        try {
          done(JSON.parse(line).port);
        } catch {
          // half of a line
        }
      }
    });
    server.once("exit", () => fail(new Error("the server did not start:\n" + log)));
  });
}

async function startServer(dir, plugins) {
  mkdirSync(join(dir, "plugins"), { recursive: true });
  layOut(dir, plugins);
  const server = spawn(BINARY, ["serve"], {
    cwd: dir,
    stdio: ["ignore", "inherit", "pipe"],
    env: {
      ...process.env,
      PORT: "0",
      RUNTIME_LOG_FORMAT: "json",
      RUNTIME_PLUGIN_DIRS: "plugins",
      RUNTIME_DRAIN_TIMEOUT: "1s", // streams of a page end with it
    },
  });
  const port = await listening(server);
  return { server, url: `http://127.0.0.1:${port}` };
}

function stopServer(server) {
  if (!server || server.exitCode !== null) return undefined;
  const ended = new Promise((done) => server.once("exit", done));
  server.kill("SIGTERM");
  return ended;
}

// What one test file works with; call it at the file's top. `plugins`: names of shipped ones, or
// { name, files }. Afterwards the server must have ended well.
export function world(plugins) {
  const w = {};
  const dir = mkdtempSync(join(tmpdir(), "buntime-e2e-"));

  before(async () => {
    Object.assign(w, await startServer(dir, plugins));
    w.browser = await chromium.launchPersistentContext(join(dir, "profile"), {
      executablePath: BROWSER,
      headless: true,
      args: ARGS,
      timeout: PATIENCE,
    });
    w.browser.setDefaultTimeout(PATIENCE);
  });

  after(async () => {
    await w.browser?.close();
    const code = await stopServer(w.server);
    rmSync(dir, { recursive: true, force: true, maxRetries: 5 });
    if (code !== 0) throw new Error(`the server ended with ${code}:\n${w.server?.log}`);
  });

  // A page whose own errors fail the test that opened it.
  w.open = async (path, prepare) => {
    const page = await w.browser.newPage();
    page.problems = [];
    page.on("pageerror", (error) => page.problems.push(String(error)));
    prepare?.(page);
    page.answer = await page.goto(w.url + path);
    return page;
  };
  return w;
}

