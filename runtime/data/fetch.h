/* HTTP requests to other servers, on libcurl's multi interface.
 *
 * A fetch is one request with its redirects. Connections are kept alive and belong to the loop: all
 * fetches on it share them, and they end with it. Nothing blocks: names are resolved by libcurl on
 * a thread of its own.
 *
 * The owner of a fetch closes it, before the loop is freed. `changed` is called on the loop, never
 * from inside a function of this header, when something happened that the owner may wait for; it
 * may close the fetch. What arrives is kept until fetch_consume(); a stream stops receiving
 * meanwhile, a whole body is received up to `max_size`.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"

struct fetch;
struct loop;

/* Bytes that the fetches of one owner hold together; one that would exceed it fails. */
struct fetch_meter {
    size_t used, most;
};

struct fetch_header {
    struct str name, value; /* a token, and no CR, LF or NUL: the caller has checked */
};

enum fetch_body {
    FETCH_NO_BODY,
    FETCH_TEXT,  /* `body` */
    FETCH_CHUNKS /* by fetch_send() */
};

/* Everything is copied but the meter, which outlives the fetch. */
struct fetch_options {
    const char *url;
    const char *method; /* upper case */
    const struct fetch_header *headers;
    size_t header_count;
    enum fetch_body body_kind;
    struct str body;
    int64_t body_size;   /* of FETCH_CHUNKS; -1: not known */
    bool stream;         /* hand the body out as it comes */
    bool follow;         /* redirects, at most `redirects` of them */
    unsigned redirects;  /* one more is TOO_MANY_REDIRECTS */
    uint64_t timeout_ms; /* of the whole, or without a byte for a stream; 0: none */
    uint64_t max_size;   /* bytes of the decoded body */
    struct fetch_meter *meter;
    void (*changed)(struct fetch *fetch, void *arg);
    void *arg;
};

/* Loads libcurl, which takes a while when it is the first time. False: it is not installed. */
bool fetch_load(struct err *err);

/* After fetch_load(). NULL, with INVALID_URL: not a URL, or neither http nor https. */
struct fetch *fetch_open(struct loop *loop, const struct fetch_options *options, struct err *err);

/* Ends the transfer if it still runs. */
void fetch_close(struct fetch *fetch);

bool fetch_has_head(const struct fetch *fetch); /* status and headers are there */
bool fetch_is_done(const struct fetch *fetch);  /* all was received, or it failed */

/* Why it failed, or NULL: CONNECTION_REFUSED, CONNECTION_FAILED, CONNECTION_CLOSED, DNS_FAILED,
 * TLS_FAILED, TIMEOUT, TOO_MANY_REDIRECTS, REDIRECT_FAILED, BODY_TOO_LARGE, BAD_RESPONSE,
 * FETCH_FAILED. The message names the URL without credentials and query.
 */
const char *fetch_code(const struct fetch *fetch);
const char *fetch_message(const struct fetch *fetch);

unsigned fetch_status(const struct fetch *fetch);
char *fetch_url(
    const struct fetch *fetch); /* after redirects, without credentials and fragment; to be freed */

/* Walks the headers, `*at` from 0. Names are in lower case. Those that describe a coding which was
 * undone are left out.
 */
bool fetch_next_header(const struct fetch *fetch, size_t *at, struct fetch_header *header);

struct str fetch_received(const struct fetch *fetch); /* borrowed until the next turn */
void fetch_consume(struct fetch *fetch);              /* the received bytes were taken */

/* The body of a FETCH_CHUNKS request. What is handed in is buffered; fetch_wants() says that the
 * network took all of it. False once the fetch is done: the server does not want more.
 */
bool fetch_send(struct fetch *fetch, struct str bytes);
bool fetch_send_end(struct fetch *fetch);
bool fetch_wants(const struct fetch *fetch);
