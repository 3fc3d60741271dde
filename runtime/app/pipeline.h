/* The way of a request: the order of stages as one table (SPEC 6).
 *
 * A run is one request on its way: it holds the generation that received it until the answer is
 * sent, and at most one task at a time works for it. Counted, because a task that was given up
 * on may end later than the request.
 */
#pragma once

struct exchange;
struct instance;
struct server;

/* For server_options.on_request: routes the exchange and answers it, now or later. */
void pipeline_request(void *server, struct exchange *x);

/* Answers the requests that are in `instance` with 503 and cancels their tasks; cuts its streams.
 */
void pipeline_cut(struct server *server, struct instance *instance);

/* The same for every request; at the end of a shutdown. */
void pipeline_cut_all(struct server *server);

/* Ends event streams and sockets, which would go on for ever; at the start of a shutdown. */
void pipeline_end_events(struct server *server);

/* The traceparent of the request with this id, if it is being answered; else NULL. */
const char *pipeline_trace(const struct server *server, const char *request_id);

void pipeline_free_spares(struct server *server);
