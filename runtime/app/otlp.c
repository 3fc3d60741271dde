#include "app/otlp.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/buf.h"
#include "base/log.h"
#include "base/mem.h"
#include "conf/settings.h"
#include "data/fetch.h"
#include "ev/loop.h"
#include "http/trace.h"

enum {
    DELAY_MS = 5000,
    BATCH = 512,
    SPANS_MAX = 2048,
    TIMEOUT_MS = 10000,
    ANSWER_MAX = 64 * 1024,
    HEADERS_MAX = 32,
};

struct otlp {
    struct loop *loop;
    const struct settings *settings;
    char *url;
    struct fetch_header headers[HEADERS_MAX + 1];
    size_t header_count;
    char *header_text; /* what they borrow from */
    struct buf spans;  /* of the next batch, with commas between */
    size_t len, sending;
    struct timer timer;
    struct fetch *fetch; /* NULL: nothing is on its way */
    struct fetch_meter meter;
    struct otlp_counts counts;
    bool failing; /* so that it is logged once */
};

/* --- settings --- */

/* The endpoint is the collector's base; a path of ours is below it. */
static char *traces_url(const char *endpoint)
{
    const size_t len = strlen(endpoint);
    const bool slash = len > 0 && endpoint[len - 1] == '/';

    return mem_printf("%s%sv1/traces", endpoint, slash ? "" : "/");
}

/* "name=value,name=value", as OTEL_EXPORTER_OTLP_HEADERS has it. */
static void read_headers(struct otlp *o, const char *text)
{
    char *rest = NULL, *word;

    o->headers[o->header_count++] =
        (struct fetch_header){STR("content-type"), STR("application/json")};
    o->header_text = mem_copy(text);
    for (word = text ? strtok_r(o->header_text, ",", &rest) : NULL;
         word && o->header_count <= HEADERS_MAX; word = strtok_r(NULL, ",", &rest)) {
        char *value = strchr(word, '=');
        if (!value)
            continue;
        *value++ = '\0';
        word += strspn(word, " ");
        o->headers[o->header_count++] = (struct fetch_header){str_of(word), str_of(value)};
    }
}

/* --- sending --- */

static void send_batch(struct otlp *o);

static void arm(struct otlp *o)
{
    timer_start(o->loop, &o->timer, o->len >= BATCH ? 0 : DELAY_MS);
}

static void on_timer(struct timer *timer)
{
    struct otlp *o = (struct otlp *)((char *)timer - offsetof(struct otlp, timer));

    if (!o->fetch && o->len > 0)
        send_batch(o);
}

static void tell_failure(struct otlp *o, const char *why, unsigned status)
{
    if (!o->failing)
        log_printf(LOG_WARN, "spans cannot be sent to the collector: %s%s%.0u", why,
                   status ? " " : "", status);
    o->failing = true;
}

static void batch_done(struct otlp *o, const char *failure, unsigned status)
{
    if (!failure && status >= 200 && status < 300) {
        o->counts.sent += o->sending;
        o->failing = false;
    } else {
        o->counts.dropped += o->sending;
        tell_failure(o, failure ? failure : "it answered", status);
    }
    o->sending = 0;
    if (o->len > 0)
        arm(o);
}

static void changed(struct fetch *fetch, void *arg)
{
    struct otlp *o = arg;
    const char *failure;

    fetch_consume(fetch);
    if (!fetch_is_done(fetch))
        return;
    failure = fetch_code(fetch) ? fetch_message(fetch) : NULL;
    batch_done(o, failure, fetch_status(fetch));
    fetch_close(fetch);
    o->fetch = NULL;
}

static void add_attribute(struct buf *out, const char *key, struct str value)
{
    buf_printf(out, "{\"key\":\"%s\",\"value\":{\"stringValue\":", key);
    buf_json_string(out, value);
    buf_puts(out, "}}");
}

static void make_batch(const struct otlp *o, struct buf *out)
{
    buf_puts(out, "{\"resourceSpans\":[{\"resource\":{\"attributes\":[");
    add_attribute(out, "service.name", str_of(o->settings->otel_service_name));
    buf_putc(out, ',');
    add_attribute(out, "service.version", STR(BUNTIME_VERSION));
    buf_puts(out,
             "]},\"scopeSpans\":[{\"scope\":{\"name\":\"buntime\",\"version\":\"" BUNTIME_VERSION
             "\"},\"spans\":[");
    buf_add_str(out, buf_str(&o->spans));
    buf_puts(out, "]}]}]}");
}

static void send_batch(struct otlp *o)
{
    struct buf body = {0};
    struct fetch_options options = {
        .url = o->url,
        .method = "POST",
        .headers = o->headers,
        .header_count = o->header_count,
        .body_kind = FETCH_TEXT,
        .timeout_ms = TIMEOUT_MS,
        .max_size = ANSWER_MAX,
        .meter = &o->meter,
        .changed = changed,
        .arg = o,
    };
    struct err err;

    make_batch(o, &body);
    options.body = buf_str(&body);
    o->sending = o->len;
    o->len = 0;
    buf_reset(&o->spans);
    if (fetch_load(&err))
        o->fetch = fetch_open(o->loop, &options, &err);
    buf_fini(&body);
    if (!o->fetch)
        batch_done(o, err.message, 0);
}

/* --- spans --- */

static void add_member(struct buf *out, const char *key, const char *value)
{
    if (*value)
        buf_printf(out, ",\"%s\":\"%s\"", key, value);
}

static void add_attributes(struct buf *out, const struct otlp_span *span)
{
    const struct {
        const char *key;
        struct str value;
    } texts[] = {
        {"http.request.method", span->method},
        {"url.path", span->path},
        {"http.route", str_of(span->route)},
        {"buntime.plugin", str_of(span->plugin)},
        {"buntime.request_id", str_of(span->request_id)},
    };

    buf_printf(out,
               ",\"attributes\":[{\"key\":\"http.response.status_code\",\"value\":{\"intValue\":"
               "\"%u\"}}",
               span->status);
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        if (texts[i].value.len == 0)
            continue;
        buf_putc(out, ',');
        add_attribute(out, texts[i].key, texts[i].value);
    }
    buf_putc(out, ']');
}

static uint64_t wall_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_REALTIME, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static void add_name(struct buf *out, const struct otlp_span *span)
{
    char *name = mem_printf("%.*s%s%s", (int)span->method.len, span->method.at,
                            *span->route ? " " : "", span->route);

    buf_puts(out, ",\"name\":");
    buf_json_string(out, str_of(name));
    free(name);
}

void otlp_add(struct otlp *o, const struct otlp_span *span)
{
    const uint64_t end = wall_ns();
    struct buf *out = &o->spans;

    if (!span->trace->sampled)
        return;
    if (o->len >= SPANS_MAX) {
        o->counts.dropped++;
        return;
    }
    if (o->len++ > 0)
        buf_putc(out, ',');
    buf_printf(out, "{\"traceId\":\"%s\",\"spanId\":\"%s\"", span->trace->id, span->trace->span);
    add_member(out, "parentSpanId", span->trace->parent);
    add_name(out, span);
    buf_printf(out, ",\"kind\":2,\"startTimeUnixNano\":\"%llu\",\"endTimeUnixNano\":\"%llu\"",
               (unsigned long long)(end - span->ns), (unsigned long long)end);
    add_attributes(out, span);
    buf_puts(out, span->status >= 500 ? ",\"status\":{\"code\":2}}" : "}");
    if (!o->fetch && (o->len == 1 || o->len == BATCH))
        arm(o);
}

void otlp_flush(struct otlp *o)
{
    if (o && !o->fetch && o->len > 0)
        send_batch(o);
}

struct otlp_counts otlp_counts(const struct otlp *o)
{
    return o->counts;
}

struct otlp *otlp_new(struct loop *loop, const struct settings *settings)
{
    struct otlp *o;

    if (!settings->otel_endpoint)
        return NULL;
    o = mem_alloc(sizeof(*o));
    o->loop = loop;
    o->settings = settings;
    o->url = traces_url(settings->otel_endpoint);
    o->meter.most = (size_t)16 << 20;
    o->timer.fire = on_timer;
    read_headers(o, settings->otel_headers);
    return o;
}

void otlp_free(struct otlp *o)
{
    if (!o)
        return;
    if (o->fetch)
        fetch_close(o->fetch);
    timer_stop(&o->timer);
    buf_fini(&o->spans);
    free(o->header_text);
    free(o->url);
    free(o);
}
