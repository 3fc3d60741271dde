// The same routes and files on Node with Fastify. From the environment: PORT, FILES (a folder), and
// for HTTP/2 TLS_PORT, TLS_CERT and TLS_KEY (files).
import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import Fastify from "fastify";
import files from "@fastify/static";

const { PORT, FILES, TLS_PORT, TLS_CERT, TLS_KEY } = process.env;

async function serve(port, options) {
  const app = Fastify({ ...options, genReqId: () => randomUUID(), requestIdHeader: "x-request-id" });
  app.addHook("onRequest", async (request, reply) => {
    reply.header("x-request-id", request.id);
  });
  app.register(files, { root: FILES, prefix: "/pages/" });
  app.get("/hello/api/greeting", async () => ({ message: "Hello from Buntime" }));
  app.post("/hello/api/echo", async (request) => request.body);
  await app.listen({ port: Number(port), host: "127.0.0.1", backlog: 1024 });
}

await serve(PORT, {});
if (TLS_PORT) {
  await serve(TLS_PORT, { http2: true, https: { cert: readFileSync(TLS_CERT), key: readFileSync(TLS_KEY) } });
}
