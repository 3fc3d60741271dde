/* What the files of fetch share. Not for others.
 *
 * fetch.c: a fetch from its start over its redirects to its end · fetch_hop.c: one request as
 * libcurl wants it · fetch_receive.c: what libcurl calls with bytes · fetch_error.c: what went
 * wrong · fetcher.c: the loop's side.
 */
#pragma once

#include "base/buf.h"
#include "data/fetch.h"
#include "data/libcurl.h"
#include "ev/loop.h"

enum { IDLE_EASIES = 64 };

/* One a loop: the connections, and the fetches that have news. */
struct fetcher {
    struct loop_guest guest; /* first: close_fetcher() casts back */
    struct loop *loop;
    CURLM *multi;
    struct timer timer; /* libcurl's */
    struct post post;   /* tells news that did not come from the loop */
    struct fetch *first_news, *last_news;
    struct watched **watched; /* by descriptor */
    size_t watched_len;
    CURL *idle[IDLE_EASIES]; /* handles to be used again */
    size_t idle_count;
    size_t open;
    char *ca_file, *ca_dir; /* whom to trust; NULL: as libcurl was built */
    bool telling;
};

struct fetch {
    struct fetcher *fetcher;
    CURL *easy; /* NULL when done */
    CURLU *url;
    char *given; /* the URL as the caller wrote it */
    char *method;
    struct curl_slist *headers;
    struct timer timer;
    bool timed_out, done;

    enum fetch_body body_kind;
    struct buf body; /* FETCH_TEXT: all of it; FETCH_CHUNKS: what the network has not taken */
    size_t body_at;
    int64_t body_size;
    bool body_ended, body_paused;

    bool stream, follow, encoded_by_caller;
    unsigned redirects, redirects_left;
    uint64_t timeout_ms, max_size;
    struct fetch_meter *meter;

    struct buf head; /* "name:value\n"... */
    size_t head_count;
    unsigned status;
    bool has_head, decoded;
    bool redirecting; /* the body that comes now is of no interest */
    struct buf received;
    uint64_t received_total;
    bool paused;
    uint64_t active_ms;   /* when something last came */
    curl_off_t sent_seen; /* how much was sent when the timer looked last */

    const char *code;
    char *message;
    char detail[CURL_ERROR_SIZE];

    void (*changed)(struct fetch *fetch, void *arg);
    void *arg;
    bool has_news;
    struct fetch *prev_news, *next_news;
};

/* --- fetcher.c --- */
struct fetcher *fetcher_of(struct loop *loop);
CURL *fetcher_take_easy(struct fetcher *fetcher); /* with the options that are always the same */
void fetcher_give_easy(struct fetcher *fetcher, CURL *easy);
void fetcher_add_news(struct fetch *fetch); /* `changed` will be called, soon */
void fetcher_drop_news(struct fetch *fetch);
void fetcher_tell(struct fetcher *fetcher); /* from the loop: calls them now */

/* --- fetch.c --- */
void fetch_complete(struct fetch *fetch, CURLcode result); /* libcurl is through with it */

/* --- fetch_hop.c --- */
bool fetch_hop_start(struct fetch *fetch);
void fetch_hop_stop(struct fetch *fetch);
/* Makes the fetch ask for what the redirect says; false: refused, with the error set. */
bool fetch_hop_redirect(struct fetch *fetch);
CURLU *fetch_parse_url(const char *url, struct err *err);
struct curl_slist *fetch_make_headers(const struct fetch_options *options);

/* --- fetch_receive.c --- */
size_t fetch_on_header(char *at, size_t one, size_t len, void *arg);
size_t fetch_on_body(char *at, size_t one, size_t len, void *arg);
size_t fetch_on_send(char *into, size_t one, size_t room, void *arg);
struct str fetch_find_header(const struct fetch *fetch, struct str name);

/* --- fetch_error.c: the first error stands --- */
void fetch_fail(struct fetch *fetch, const char *code, const char *fmt, ...) PRINTF_LIKE(3, 4);
void fetch_fail_curl(struct fetch *fetch, CURLcode result);
