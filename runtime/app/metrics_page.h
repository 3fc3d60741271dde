/* What GET /api/metrics answers: the state of the whole server in Prometheus' text format. */
#pragma once

struct buf;

/* `app` is the struct server. */
void metrics_page(void *app, struct buf *out);
