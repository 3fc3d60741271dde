#include "data/fetch.h"

#include <stdlib.h>

#include "base/mem.h"
#include "data/fetch_impl.h"

/* --- its end --- */

static void end(struct fetch *f)
{
    fetch_hop_stop(f);
    timer_stop(&f->timer);
    f->done = true;
    fetcher_add_news(f);
}

/* A redirect whose body was too long to read was cut by us: that is no failure. */
void fetch_complete(struct fetch *f, CURLcode result)
{
    const bool redirected = f->redirecting && (result == CURLE_OK || result == CURLE_WRITE_ERROR);

    if (!redirected && result != CURLE_OK)
        fetch_fail_curl(f, result);
    fetch_hop_stop(f);
    if (!redirected || f->code || !fetch_hop_redirect(f) || !fetch_hop_start(f))
        end(f);
}

/* --- time --- */

/* Of a stream: since when nothing has come or gone, our own side's pauses not counted. */
static uint64_t idle_since(struct fetch *f)
{
    curl_off_t sent = 0;

    curl.easy_getinfo(f->easy, CURLINFO_SIZE_UPLOAD_T, &sent);
    if (f->paused || f->body_paused || sent != f->sent_seen)
        f->active_ms = loop_now_ms(f->fetcher->loop);
    f->sent_seen = sent;
    return f->active_ms;
}

static void time_out(struct timer *timer)
{
    struct fetch *f = (struct fetch *)((char *)timer - offsetof(struct fetch, timer));
    struct fetcher *fetcher = f->fetcher;
    const uint64_t now = loop_now_ms(fetcher->loop);
    const uint64_t due = f->stream ? idle_since(f) + f->timeout_ms : now;

    if (due > now) {
        timer_start(fetcher->loop, timer, due - now);
        return;
    }
    fetch_fail(f, "TIMEOUT",
               f->stream ? "nothing came for %g seconds" : "it took longer than %g seconds",
               (double)f->timeout_ms / 1000);
    end(f);
    fetcher_tell(fetcher);
}

/* --- its start --- */

static struct fetch *new_fetch(struct loop *loop, const struct fetch_options *o)
{
    struct fetch *f = mem_alloc(sizeof(*f));

    f->fetcher = fetcher_of(loop);
    f->fetcher->open++;
    f->given = mem_copy(o->url);
    f->method = mem_copy(o->method);
    f->headers = fetch_make_headers(o);
    f->timer.fire = time_out;
    f->body_kind = o->body_kind;
    if (o->body_kind == FETCH_TEXT)
        buf_add_str(&f->body, o->body);
    f->body_size = o->body_size;
    f->stream = o->stream;
    f->follow = o->follow;
    f->redirects = f->redirects_left = o->redirects;
    f->timeout_ms = o->timeout_ms;
    f->max_size = o->max_size;
    f->meter = o->meter;
    f->changed = o->changed;
    f->arg = o->arg;
    return f;
}

bool fetch_load(struct err *err)
{
    return curl_load(err);
}

struct fetch *fetch_open(struct loop *loop, const struct fetch_options *options, struct err *err)
{
    CURLU *url = fetch_parse_url(options->url, err);
    struct fetch *f;

    if (!url)
        return NULL;
    f = new_fetch(loop, options);
    f->url = url;
    f->active_ms = loop_now_ms(loop);
    if (f->timeout_ms)
        timer_start(loop, &f->timer, f->timeout_ms);
    if (!fetch_hop_start(f))
        end(f);
    return f;
}

void fetch_close(struct fetch *f)
{
    fetch_hop_stop(f);
    timer_stop(&f->timer);
    fetcher_drop_news(f);
    f->fetcher->open--;
    f->meter->used -= f->received.len;
    curl.url_cleanup(f->url);
    curl.slist_free_all(f->headers);
    buf_fini(&f->body);
    buf_fini(&f->head);
    buf_fini(&f->received);
    free(f->given);
    free(f->method);
    free(f->message);
    free(f);
}

/* --- what is known --- */

bool fetch_has_head(const struct fetch *f)
{
    return f->has_head;
}

bool fetch_is_done(const struct fetch *f)
{
    return f->done;
}

const char *fetch_code(const struct fetch *f)
{
    return f->code;
}

const char *fetch_message(const struct fetch *f)
{
    return f->message;
}

unsigned fetch_status(const struct fetch *f)
{
    return f->status;
}

struct str fetch_received(const struct fetch *f)
{
    return f->received.len ? buf_str(&f->received) : STR("");
}

/* --- both ways --- */

/* Goes on with what is not paused. libcurl may call with bytes before this returns. */
static void go_on(struct fetch *f)
{
    const int paused = (f->paused ? CURLPAUSE_RECV : 0) | (f->body_paused ? CURLPAUSE_SEND : 0);
    const CURLcode rc = curl.easy_pause(f->easy, paused);

    if (rc == CURLE_OK)
        return;
    fetch_fail_curl(f, rc);
    end(f);
}

void fetch_consume(struct fetch *f)
{
    f->meter->used -= f->received.len;
    buf_reset(&f->received);
    if (!f->paused || f->done)
        return;
    f->paused = false;
    f->active_ms = loop_now_ms(f->fetcher->loop);
    go_on(f);
}

static bool resume_sending(struct fetch *f)
{
    if (f->body_paused) {
        f->body_paused = false;
        f->active_ms = loop_now_ms(f->fetcher->loop);
        go_on(f);
    }
    return !f->done;
}

bool fetch_send(struct fetch *f, struct str bytes)
{
    if (f->done)
        return false;
    buf_add_str(&f->body, bytes);
    return resume_sending(f);
}

bool fetch_send_end(struct fetch *f)
{
    f->body_ended = true;
    return !f->done && resume_sending(f);
}

bool fetch_wants(const struct fetch *f)
{
    return f->body.len == 0 && !f->body_ended;
}
