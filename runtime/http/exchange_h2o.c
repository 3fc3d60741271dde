/* An exchange over a request of h2o's. It lives in the request's pool and dies with it. */
#include "http/http2.h"
#include "http/http2_head.h"
#include "http/server_impl.h"

#include <assert.h>
#include <stdio.h>

/* h2o's strings and ours have one shape, so that header names can be lent without a copy. */
static_assert(sizeof(struct str) == sizeof(h2o_iovec_t) &&
                  offsetof(struct str, len) == offsetof(h2o_iovec_t, len),
              "a str is an iovec");

static struct h2o_exchange *h2o_of(const struct exchange *x)
{
    return (struct h2o_exchange *)x;
}

static struct str str_of_iovec(h2o_iovec_t v)
{
    return (struct str){v.base, v.len};
}

/* h2o leaves trailing white space on. */
static struct str trimmed(h2o_iovec_t v)
{
    while (v.len > 0 && (v.base[v.len - 1] == ' ' || v.base[v.len - 1] == '\t'))
        v.len--;
    return str_of_iovec(v);
}

static void *alloc(struct exchange *x, size_t size)
{
    return h2o_mem_alloc_pool(&h2o_of(x)->req->pool, size);
}

static struct connection *peer_of(const h2o_req_t *req)
{
    return connection_of(req->conn->callbacks->get_socket(req->conn));
}

static void name_peer(struct exchange *x)
{
    struct connection *c = peer_of(h2o_of(x)->req);
    x->ip = c ? connection_ip(c) : STR("0.0.0.0");
}

/* --- the request's headers --- */

static struct str body_length(const struct exchange *x)
{
    struct h2o_exchange *hx = h2o_of(x);
    if (!hx->req->entity.base)
        return (struct str){0};
    char *text = h2o_mem_alloc_pool(&hx->req->pool, 24);
    int len = snprintf(text, 24, "%zu", x->body.len);
    return (struct str){text, (size_t)len};
}

static struct str upgrade(const struct exchange *x)
{
    return str_of_iovec(h2o_of(x)->req->upgrade);
}

/* Those that h2o takes out of its list. Transfer-Encoding is not among them: the body is whole
 * by now and has a length.
 */
static const struct {
    const char *name;
    size_t len;
    struct str (*value)(const struct exchange *x);
} special[] = {
    {"host", 4, exchange_authority},
    {"content-length", 14, body_length},
    {"upgrade", 7, upgrade},
};

enum { SPECIAL_COUNT = sizeof(special) / sizeof(special[0]) };

static struct str find(const struct exchange *x, struct str name, size_t skip)
{
    const h2o_headers_t *headers = &h2o_of(x)->req->headers;
    for (size_t i = 0; i < SPECIAL_COUNT; i++) {
        if (str_equal_nocase(name, (struct str){special[i].name, special[i].len}))
            return skip == 0 ? special[i].value(x) : (struct str){0};
    }
    for (size_t i = 0; i < headers->size; i++) {
        if (str_equal_nocase(str_of_iovec(*headers->entries[i].name), name) && skip-- == 0)
            return trimmed(headers->entries[i].value);
    }
    return (struct str){0};
}

static void load(struct exchange *x)
{
    const h2o_headers_t *headers = &h2o_of(x)->req->headers;
    for (size_t i = 0; i < SPECIAL_COUNT; i++) {
        struct str value = special[i].value(x);
        if (value.at)
            exchange_load_header(x, (struct str){special[i].name, special[i].len}, value);
    }
    for (size_t i = 0; i < headers->size; i++)
        exchange_load_header(x, str_of_iovec(*headers->entries[i].name),
                             trimmed(headers->entries[i].value));
}

/* --- the response --- */

static const char *reason_of(unsigned status)
{
    static const struct {
        unsigned status;
        const char *reason;
    } known[] = {
        {101, "Switching Protocols"},
        {200, "OK"},
        {201, "Created"},
        {202, "Accepted"},
        {204, "No Content"},
        {206, "Partial Content"},
        {207, "Multi-Status"},
        {301, "Moved Permanently"},
        {302, "Found"},
        {303, "See Other"},
        {304, "Not Modified"},
        {307, "Temporary Redirect"},
        {308, "Permanent Redirect"},
        {400, "Bad Request"},
        {401, "Unauthorized"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {406, "Not Acceptable"},
        {408, "Request Timeout"},
        {409, "Conflict"},
        {410, "Gone"},
        {412, "Precondition Failed"},
        {413, "Content Too Large"},
        {415, "Unsupported Media Type"},
        {416, "Range Not Satisfiable"},
        {422, "Unprocessable Content"},
        {426, "Upgrade Required"},
        {429, "Too Many Requests"},
        {500, "Internal Server Error"},
        {501, "Not Implemented"},
        {502, "Bad Gateway"},
        {503, "Service Unavailable"},
        {504, "Gateway Timeout"},
    };
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        if (known[i].status == status)
            return known[i].reason;
    }
    return "Unknown";
}

static bool wants_close(struct str value)
{
    return h2o_contains_token(value.at, value.len, H2O_STRLIT("close"), ',') != 0;
}

/* Headers that are the connection's affair, or that h2o writes itself. */
static bool is_ours(const h2o_token_t *token)
{
    return token == H2O_TOKEN_CONNECTION || token == H2O_TOKEN_CONTENT_LENGTH ||
           token == H2O_TOKEN_TRANSFER_ENCODING || token == H2O_TOKEN_DATE ||
           token == H2O_TOKEN_SERVER || token == H2O_TOKEN_UPGRADE || token == H2O_TOKEN_KEEP_ALIVE;
}

static void give_headers(struct exchange *x, h2o_req_t *req)
{
    h2o_vector_reserve(&req->pool, &req->res.headers, x->res.count);
    for (size_t i = 0; i < x->res.count; i++) {
        struct header *from = &x->res.at[i];
        const h2o_token_t *token = h2o_lookup_token(from->name.at, from->name.len);
        if (token && is_ours(token)) {
            if (token == H2O_TOKEN_CONNECTION && wants_close(from->value))
                req->http1_is_persistent = 0;
            continue;
        }
        h2o_header_t *to = &req->res.headers.entries[req->res.headers.size++];
        to->name = token ? (h2o_iovec_t *)&token->buf : (h2o_iovec_t *)(void *)&from->name;
        to->orig_name = NULL;
        to->value = h2o_iovec_init(from->value.at, from->value.len);
    }
}

/* A hook may have changed the method; to the client its own counts. */
static bool is_silent(const struct h2o_exchange *hx)
{
    const h2o_iovec_t method = hx->req->input.method;
    return hx->x.status == 204 || hx->x.status == 304 ||
           h2o_memis(method.base, method.len, H2O_STRLIT("HEAD"));
}

/* h2o writes the head; the exchange ends with it. */
static void start_upgrade(struct exchange *x)
{
    struct exchange_source *source = x->source;
    x->source = NULL;
    waiting_end(h2o_of(x));
    source->start(source, x);
}

static void send_response(struct exchange *x)
{
    static h2o_generator_t generator; /* nothing to proceed with: all is given at once */
    struct h2o_exchange *hx = h2o_of(x);
    h2o_req_t *req = hx->req;
    if (hx->server->stopping)
        req->http1_is_persistent = 0;
    req->res.status = (int)x->status;
    req->res.reason = reason_of(x->status);
    give_headers(x, req);
    if (x->source && x->source->upgrade && x->status == 101) {
        start_upgrade(x);
        return;
    }
    if (x->source && x->source->upgrade)
        exchange_drop_source(x); /* a hook made another answer of it */
    if (x->source && !is_silent(hx)) {
        stream_start(hx);
        return;
    }
    waiting_end(hx);
    /* without a length h2o would chunk; these two have none, and h2o knows it */
    bool bodiless = x->status == 204 || x->status == 304;
    req->res.content_length = bodiless ? SIZE_MAX : x->source ? x->source->length : x->res_body.len;
    exchange_drop_source(x);
    h2o_iovec_t body = h2o_iovec_init(x->res_body.at, x->res_body.len);
    bool silent = body.len == 0 || is_silent(hx);
    h2o_start_response(req, &generator);
    h2o_send(req, &body, silent ? 0 : 1, H2O_SEND_STATE_FINAL);
}

static const struct exchange_ops h2o_ops = {
    .alloc = alloc,
    .find = find,
    .load = load,
    .name_peer = name_peer,
    .send = send_response,
    .write = stream_write,
    .end = stream_end,
    .abort = stream_abort,
};

/* --- its life --- */

static void on_disposed(void *data)
{
    struct h2o_exchange *hx = data;
    struct exchange *x = &hx->x;
    hx->server->open_exchanges--;
    waiting_end(hx);
    stream_fini(hx);
    exchange_fini(x);
    if (hx->cut_upload)
        http2_refused(peer_of(hx->req), hx->req);
    if (x->sent)
        return;
    if (x->gone)
        x->gone(x, x->owner);
}

static struct str request_id(struct h2o_exchange *hx)
{
    h2o_req_t *req = hx->req;
    ssize_t i = h2o_find_header_by_str(&req->headers, H2O_STRLIT("x-request-id"), -1);
    if (i >= 0) {
        struct str id = trimmed(req->headers.entries[i].value);
        if (request_id_valid(id))
            return exchange_copy(&hx->x, id);
    }
    char *uuid = h2o_mem_alloc_pool(&req->pool, UUID_SIZE);
    uuid_v4(&hx->server->random, uuid);
    return (struct str){uuid, UUID_SIZE - 1};
}

static struct str authority(const h2o_req_t *req)
{
    /* HTTP/1.0 without Host: h2o puts in the name of its own configuration */
    if (req->authority.base == req->hostconf->authority.hostport.base)
        return (struct str){0};
    return str_of_iovec(req->authority);
}

/* False: it was refused. */
static bool begin_http2(struct h2o_exchange *hx, struct connection *c)
{
    hx->cut_upload = http2_is_refusing(c, hx->req);
    const struct refusal *refusal = http2_begin(c, hx->req);
    http2_join_cookies(hx->req);
    if (!refusal)
        return true;
    exchange_respond_error(&hx->x, refusal->status, refusal->code, refusal->message, NULL);
    exchange_send(&hx->x);
    return false;
}

void exchange_h2o_begin(struct http_server *server, h2o_req_t *req)
{
    struct h2o_exchange *hx = h2o_mem_alloc_shared(&req->pool, sizeof(*hx), on_disposed);
    struct exchange *x = &hx->x;
    memset(x, 0, offsetof(struct exchange, first));
    hx->req = req;
    hx->server = server;
    hx->since_ms = loop_now_ms(server->loop);
    hx->half_closed_ms = 0;
    hx->look = SIZE_MAX;
    hx->stream = NULL;
    hx->cut_upload = false;
    hx->waiting = (h2o_linklist_t){NULL, NULL};
    h2o_linklist_insert(&server->waiting, &hx->waiting);
    server->open_exchanges++;
    x->ops = &h2o_ops;
    x->method = str_of_iovec(req->method);
    x->body = str_of_iovec(req->entity);
    struct connection *c = peer_of(req);
    x->scheme = c->tls ? STR("https") : STR("http");
    x->authority = authority(req);
    x->id = request_id(hx);
    if (req->version >= 0x200 && !begin_http2(hx, c))
        return;
    if (exchange_set_target(x, str_of_iovec(req->path))) {
        server->options.on_request(server->options.app, x);
        if (!h2o_linklist_is_empty(&server->waiting))
            waiting_watch(server);
    } else {
        exchange_respond_error(x, 400, "INVALID_PATH", "the path is not acceptable", NULL);
        exchange_send(x);
    }
}
