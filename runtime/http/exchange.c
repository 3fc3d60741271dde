#include "http/exchange_impl.h"

#include <assert.h>
#include <stdint.h>
#include <stdio.h>

#include "base/buf.h"
#include "base/urlpath.h"
#include "http/chars.h"

/* --- text --- */

struct str exchange_copy(struct exchange *x, struct str s)
{
    if (!s.at)
        return s;
    char *copy = x->ops->alloc(x, s.len + 1);
    memcpy(copy, s.at, s.len);
    copy[s.len] = '\0';
    return (struct str){copy, s.len};
}

static struct str copy_lower(struct exchange *x, struct str name)
{
    char *copy = x->ops->alloc(x, name.len + 1);
    for (size_t i = 0; i < name.len; i++) {
        char c = name.at[i];
        copy[i] = (char)(c >= 'A' && c <= 'Z' ? c | 0x20 : c);
    }
    copy[name.len] = '\0';
    return (struct str){copy, name.len};
}

bool header_valid(struct str name, struct str value)
{
    if (name.len == 0 || span(name.at, name.len, CHAR_TOKEN) != name.len)
        return false;
    for (size_t i = 0; i < value.len; i++) {
        i += span_text(value.at + i, value.len - i);
        if (i < value.len && value.at[i] != '\t')
            return false;
    }
    return true;
}

bool request_id_valid(struct str id)
{
    return id.len >= 1 && id.len <= 128 && span(id.at, id.len, CHAR_ID) == id.len;
}

/* --- header lists --- */

static void append(struct exchange *x, struct header_list *list, struct header header)
{
    if (list->count == list->cap) {
        size_t cap = list->cap ? 2 * list->cap : 16;
        struct header *at = x->ops->alloc(x, cap * sizeof(*at));
        if (list->count)
            memcpy(at, list->at, list->count * sizeof(*at));
        list->at = at;
        list->cap = cap;
    }
    list->at[list->count++] = header;
}

/* `name` in any case; the list's names are lower-case. */
static size_t find(const struct header_list *list, struct str name, size_t from)
{
    for (size_t i = from; i < list->count; i++) {
        if (str_equal_nocase(list->at[i].name, name))
            return i;
    }
    return SIZE_MAX;
}

static void remove_at(struct header_list *list, size_t i)
{
    list->count--;
    memmove(&list->at[i], &list->at[i + 1], (list->count - i) * sizeof(list->at[0]));
}

static void remove_all(struct header_list *list, struct str name, size_t from)
{
    for (size_t i = from; (i = find(list, name, i)) != SIZE_MAX;)
        remove_at(list, i);
}

static const struct header json_type = {{"content-type", 12}, {"application/json", 16}};

static bool is_json_type(struct str name, struct str value)
{
    return value.len == json_type.value.len && str_equal(name, json_type.name) &&
           str_equal(value, json_type.value);
}

/* The one header that nearly every answer has is not worth a copy. */
static void add(struct exchange *x, struct header_list *list, struct str name, struct str value)
{
    if (is_json_type(name, value))
        append(x, list, json_type);
    else if (header_valid(name, value))
        append(x, list, (struct header){copy_lower(x, name), exchange_copy(x, value)});
}

/* The first of that name takes the value, where it stands; the others go. */
static void set(struct exchange *x, struct header_list *list, struct str name, struct str value)
{
    size_t i = find(list, name, 0);
    if (i == SIZE_MAX) {
        add(x, list, name, value);
    } else if (header_valid(name, value)) {
        list->at[i].value = exchange_copy(x, value);
        remove_all(list, name, i + 1);
    }
}

/* --- request --- */

struct str exchange_id(const struct exchange *x)
{
    return x->id;
}

struct str exchange_method(const struct exchange *x)
{
    return x->method;
}

struct str exchange_path(const struct exchange *x)
{
    return x->path;
}

struct str exchange_query(const struct exchange *x)
{
    return x->query;
}

struct str exchange_body(const struct exchange *x)
{
    return x->body;
}

struct str exchange_ip(const struct exchange *x)
{
    if (!x->ip.at)
        x->ops->name_peer((struct exchange *)x);
    return x->ip;
}

struct str exchange_scheme(const struct exchange *x)
{
    return x->scheme;
}

struct str exchange_authority(const struct exchange *x)
{
    return x->authority;
}

void exchange_load_header(struct exchange *x, struct str name, struct str value)
{
    append(x, &x->req, (struct header){name, value});
}

/* Reading may be what lists the headers: const to the reader all the same. */
static struct header_list *loaded(const struct exchange *x)
{
    struct exchange *self = (struct exchange *)x;
    if (!x->loaded) {
        self->loaded = true;
        x->ops->load(self);
    }
    return &self->req;
}

size_t exchange_header_count(const struct exchange *x)
{
    return loaded(x)->count;
}

struct header exchange_header_at(const struct exchange *x, size_t i)
{
    assert(i < loaded(x)->count);
    return x->req.at[i];
}

struct str exchange_header_after(const struct exchange *x, struct str name, size_t skip)
{
    if (!x->loaded)
        return x->ops->find(x, name, skip);
    size_t i = find(&x->req, name, 0);
    while (i != SIZE_MAX && skip-- > 0)
        i = find(&x->req, name, i + 1);
    return i == SIZE_MAX ? (struct str){0} : x->req.at[i].value;
}

struct str exchange_header(const struct exchange *x, struct str name)
{
    return exchange_header_after(x, name, 0);
}

void exchange_set_method(struct exchange *x, struct str method)
{
    x->method = exchange_copy(x, method);
}

void exchange_set_path(struct exchange *x, struct str path)
{
    struct buf scratch = {0};
    struct str normal;
    if (urlpath_normalize(path, &scratch, &normal))
        x->path = exchange_copy(x, normal);
    buf_fini(&scratch);
}

void exchange_set_query(struct exchange *x, struct str query)
{
    x->query = exchange_copy(x, query);
}

static struct str print_size(struct exchange *x, size_t size)
{
    char text[24];
    int len = snprintf(text, sizeof(text), "%zu", size);
    return exchange_copy(x, (struct str){text, (size_t)len});
}

void exchange_set_body(struct exchange *x, struct str body)
{
    loaded(x);
    x->body = exchange_copy(x, body);
    exchange_remove_header(x, STR("content-length"));
    if (body.len > 0)
        exchange_load_header(x, STR("content-length"), print_size(x, body.len));
}

void exchange_add_header(struct exchange *x, struct str name, struct str value)
{
    add(x, loaded(x), name, value);
}

void exchange_set_header(struct exchange *x, struct str name, struct str value)
{
    set(x, loaded(x), name, value);
    if (str_equal_nocase(name, STR("host")))
        x->authority = exchange_header(x, STR("host"));
}

void exchange_remove_header(struct exchange *x, struct str name)
{
    remove_all(loaded(x), name, 0);
}

struct str exchange_token(const struct exchange *x)
{
    return x->token;
}

void exchange_set_token(struct exchange *x, struct str token)
{
    x->token = exchange_copy(x, token);
}

/* Absolute form: the head scanner has held its authority against Host. */
static struct str without_origin(struct str target)
{
    const char *from = memchr(target.at, ':', target.len);
    size_t skip = (size_t)(from - target.at) + 3;
    if (skip > target.len)
        return target;
    const char *at = target.at + skip, *end = target.at + target.len;
    while (at < end && *at != '/' && *at != '?')
        at++;
    return (struct str){at, (size_t)(end - at)};
}

bool exchange_set_target(struct exchange *x, struct str target)
{
    if (target.len == 0)
        return false;
    if (str_starts(target, STR("http")) && memchr(target.at, ':', target.len))
        target = without_origin(target);
    const char *mark = target.len ? memchr(target.at, '?', target.len) : NULL;
    struct str path = target;
    if (mark) {
        path.len = (size_t)(mark - target.at);
        x->query = (struct str){mark + 1, target.len - path.len - 1};
    }
    if (path.len == 0)
        path = STR("/");
    struct buf scratch = {0};
    bool ok = urlpath_normalize(path, &scratch, &x->path);
    if (ok && x->path.at != path.at)
        x->path = exchange_copy(x, x->path);
    buf_fini(&scratch);
    return ok;
}

/* --- response --- */

void exchange_respond(struct exchange *x, unsigned status)
{
    exchange_drop_source(x);
    x->has_response = true;
    x->status = status;
    x->res.at = x->first;
    x->res.count = 0;
    x->res.cap = EXCHANGE_FIRST_HEADERS;
    x->res_body = (struct str){0};
}

bool exchange_has_response(const struct exchange *x)
{
    return x->has_response;
}

unsigned exchange_status(const struct exchange *x)
{
    return x->status;
}

void exchange_set_status(struct exchange *x, unsigned status)
{
    x->status = status;
}

size_t exchange_res_header_count(const struct exchange *x)
{
    return x->res.count;
}

struct header exchange_res_header_at(const struct exchange *x, size_t i)
{
    assert(i < x->res.count);
    return x->res.at[i];
}

void exchange_res_add_header(struct exchange *x, struct str name, struct str value)
{
    add(x, &x->res, name, value);
}

void exchange_res_set_header(struct exchange *x, struct str name, struct str value)
{
    set(x, &x->res, name, value);
}

void exchange_res_remove_header(struct exchange *x, struct str name)
{
    remove_all(&x->res, name, 0);
}

struct str exchange_res_body(const struct exchange *x)
{
    return x->res_body;
}

void exchange_res_set_body(struct exchange *x, struct str body)
{
    exchange_drop_source(x);
    x->res_body = exchange_copy(x, body);
}

void exchange_res_take_body(struct exchange *x, struct buf *bytes, struct str part)
{
    exchange_drop_source(x);
    buf_fini(&x->taken);
    x->taken = *bytes;
    *bytes = (struct buf){0};
    x->res_body = part;
}

void exchange_res_set_source(struct exchange *x, struct exchange_source *source)
{
    x->source = source;
}

void exchange_drop_source(struct exchange *x)
{
    struct exchange_source *source = x->source;
    x->source = NULL;
    if (source)
        source->drop(source);
}

void exchange_fini(struct exchange *x)
{
    exchange_drop_source(x);
    x->res_body = (struct str){0};
    buf_fini(&x->taken);
}

bool exchange_bodiless(const struct exchange *x)
{
    return x->status == 204 || x->status == 304 || str_equal(x->method, STR("HEAD"));
}

bool exchange_stream_write(struct exchange *x,
                           struct str bytes,
                           void (*taken)(void *arg),
                           void *arg)
{
    assert(x->source && x->sent);
    return x->ops->write(x, bytes, taken, arg);
}

void exchange_stream_end(struct exchange *x)
{
    assert(x->source && x->sent);
    x->source = NULL;
    x->ops->end(x);
}

void exchange_stream_abort(struct exchange *x)
{
    assert(x->source && x->sent);
    x->source = NULL;
    x->failed = true;
    x->ops->abort(x);
}

bool exchange_stream_failed(const struct exchange *x)
{
    return x->failed;
}

void exchange_send(struct exchange *x)
{
    assert(x->has_response && !x->sent);
    remove_all(&x->res, STR("x-request-id"), 0);
    append(x, &x->res, (struct header){STR("x-request-id"), x->id});
    x->sent = true;
    x->ops->send(x);
}

static void add_member(struct buf *json, const char *name, struct str value)
{
    buf_printf(json, ",\"%s\":", name);
    buf_json_string(json, value);
}

void exchange_respond_error(struct exchange *x,
                            unsigned status,
                            const char *code,
                            const char *message,
                            const char *traceback)
{
    struct buf json = {0};
    buf_puts(&json, "{\"success\":false");
    add_member(&json, "code", str_of(code));
    add_member(&json, "message", str_of(message));
    add_member(&json, "requestId", x->id);
    if (traceback)
        add_member(&json, "traceback", str_of(traceback));
    buf_putc(&json, '}');
    exchange_respond(x, status);
    exchange_res_add_header(x, STR("content-type"), STR("application/json"));
    exchange_res_set_body(x, buf_str(&json));
    buf_fini(&json);
}

/* --- the receiver --- */

void *exchange_alloc(struct exchange *x, size_t size)
{
    return memset(x->ops->alloc(x, size), 0, size);
}

void exchange_watch(struct exchange *x, void (*gone)(struct exchange *x, void *owner), void *owner)
{
    x->gone = gone;
    x->owner = owner;
}

void *exchange_owner(const struct exchange *x)
{
    return x->owner;
}
