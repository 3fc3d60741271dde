/* HTTP/2 connections: frames.c in front of h2o's reader, and what h2o does not do by itself:
 * answering while a body still comes in, time-outs of bodies and of readers, closing at once.
 *
 * What is cut is told ENHANCE_YOUR_CALM or the like in a GOAWAY if that gets through.
 */
#pragma once

#include "http/server_impl.h"

void http2_accept(struct connection *c); /* the handshake is done */
void http2_read(struct connection *c);   /* socket->bytes_read more are in its input */
void http2_tick(struct connection *c);   /* a quarter of the client's time-out has passed */
void http2_close(struct connection *c);
void http2_free(struct http2 *http2);

/* Of an entry of h2o's timeout for idle connections; NULL if a request is on its way. */
struct connection *http2_of_idle(h2o_timeout_entry_t *entry);

/* For a request that begins: takes trailers out of its headers; what to refuse it for, or NULL. */
bool http2_is_refusing(const struct connection *c, h2o_req_t *req);
const struct refusal *http2_begin(struct connection *c, h2o_req_t *req);
void http2_refused(struct connection *c, h2o_req_t *req); /* the answer was sent: end the upload */
