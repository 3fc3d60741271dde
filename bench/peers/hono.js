// The same two routes on Bun with Hono. PORT from the environment.
import { Hono } from "hono";

const app = new Hono();
app.use(async (c, next) => {
  const id = c.req.header("x-request-id") ?? crypto.randomUUID();
  await next();
  c.res.headers.set("x-request-id", id);
});
app.get("/hello/api/greeting", (c) => c.json({ message: "Hello from Buntime" }));
app.post("/hello/api/echo", async (c) => c.json(await c.req.json()));

Bun.serve({ port: Number(process.env.PORT), hostname: "127.0.0.1", fetch: app.fetch });
