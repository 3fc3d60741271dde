// The same routes and files on Bun with Hono. PORT and FILES (a folder) from the environment.
import { Hono } from "hono";
import { serveStatic } from "hono/bun";

const app = new Hono();
app.use(async (c, next) => {
  const id = c.req.header("x-request-id") ?? crypto.randomUUID();
  await next();
  c.res.headers.set("x-request-id", id);
  if (c.req.header("connection") === "close") { // Bun does not say it by itself
    c.res.headers.set("connection", "close");
  }
});
app.get("/hello/api/greeting", (c) => c.json({ message: "Hello from Buntime" }));
app.post("/hello/api/echo", async (c) => c.json(await c.req.json()));
app.get("/pages/*", serveStatic({
  root: process.env.FILES,
  rewriteRequestPath: (path) => path.slice("/pages".length),
}));

Bun.serve({ port: Number(process.env.PORT), hostname: "127.0.0.1", fetch: app.fetch });
