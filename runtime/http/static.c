#include "http/static.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "ev/loop.h"
#include "http/exchange.h"
#include "http/gzip.h"
#include "http/mime.h"

enum { PAGE_MAX = 4 * 1024 * 1024, PACK_MIN = 1024, PACK_MAX = 1024 * 1024 };

struct static_look {
    struct job job; /* first: look_on_pool() and looked() cast back */
    struct loop *loop;
    const struct file_opener *opener;
    struct exchange *x; /* NULL once cancelled */
    void (*done)(bool answered, void *arg);
    void *arg;
    char *dir, *path, *page, *base;
    bool br, gzip, fallback;
    struct gzip_cache *packed;

    bool cached; /* nothing may be waited for */
    enum static_found found;
    bool is_page;
    struct static_file file;
};

static int hex(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The path with its escapes resolved; NULL when that would make a slash or a NUL. */
static char *unescape(struct str path)
{
    char *out = mem_alloc(path.len + 1), *to = out;

    for (size_t i = 0; i < path.len; i++) {
        char c = path.at[i];
        if (c == '%' && i + 2 < path.len && hex(path.at[i + 1]) >= 0 && hex(path.at[i + 2]) >= 0) {
            c = (char)(hex(path.at[i + 1]) * 16 + hex(path.at[i + 2]));
            i += 2;
            if (c == '/' || c == '\0') {
                free(out);
                return NULL;
            }
        }
        *to++ = c;
    }
    *to = '\0';
    return out;
}

static const char *last_part(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* Beside the page lie the plugin's own files. */
static bool is_private(const char *path)
{
    const char *name = last_part(path), *dot = strrchr(name, '.');

    return (dot && strcasecmp(dot, ".lua") == 0) || strcasecmp(name, "manifest.yaml") == 0 ||
           strcasecmp(name, "manifest.yml") == 0;
}

/* --- finding: on the loop what the kernel has in memory, else on the thread pool --- */

static enum static_found
find(const struct static_look *l, const char *path, size_t whole, struct static_file *file)
{
    if (l->cached)
        return static_file_find_cached(l->opener, l->dir, path, whole, file);
    return static_file_find(l->opener, l->dir, path, whole, file) ? STATIC_FOUND : STATIC_NONE;
}

static enum static_found
find_encoded(struct static_look *look, const char *suffix, const char *encoding)
{
    const size_t len = strlen(look->path);
    char *path = mem_alloc(len + strlen(suffix) + 1);
    enum static_found found;

    memcpy(path, look->path, len);
    strcpy(path + len, suffix);
    found = find(look, path, 0, &look->file);
    free(path);
    if (found == STATIC_FOUND)
        look->file.encoding = encoding;
    return found;
}

static bool may_pack(const struct static_look *look)
{
    return look->gzip && look->packed && gzip_is_text(str_of(mime_of(str_of(look->path))));
}

/* False: it would have to be packed, and this is the loop. */
static bool pack(struct static_look *l, const char *path)
{
    struct static_file *file = &l->file;
    struct buf key = {0}, out = {0};
    bool known;

    if (file->fd >= 0 || file->encoding || file->bytes.len < PACK_MIN)
        return true;
    buf_printf(&key, "%s/%s %s", l->dir, path, file->etag);
    known = l->cached ? gzip_kept(l->packed, key.data, &out)
                      : (gzip_pack(l->packed, key.data, buf_str(&file->bytes), &out), true);
    if (out.len > 0) {
        buf_fini(&file->bytes);
        file->bytes = out;
        file->size = out.len;
        file->encoding = "gzip";
    } else {
        buf_fini(&out);
    }
    buf_fini(&key);
    return known;
}

static enum static_found packed(struct static_look *l, const char *path)
{
    if (pack(l, path))
        return STATIC_FOUND;
    static_file_fini(&l->file);
    return STATIC_BLOCKS;
}

/* A sibling counts only beside the file itself. */
static enum static_found find_file(struct static_look *look)
{
    struct static_file plain;
    enum static_found found = find(look, look->path, may_pack(look) ? PACK_MAX : 0, &plain);

    if (found != STATIC_FOUND)
        return found;
    found = look->br ? find_encoded(look, ".br", "br") : STATIC_NONE;
    if (found == STATIC_NONE && look->gzip)
        found = find_encoded(look, ".gz", "gzip");
    if (found != STATIC_NONE) {
        static_file_fini(&plain);
        return found;
    }
    look->file = plain;
    return may_pack(look) ? packed(look, look->path) : STATIC_FOUND;
}

/* --- the page --- */

static void add_escaped(struct buf *out, const char *text)
{
    for (; *text; text++) {
        if (*text == '&')
            buf_puts(out, "&amp;");
        else if (*text == '"')
            buf_puts(out, "&quot;");
        else if (*text == '<')
            buf_puts(out, "&lt;");
        else
            buf_putc(out, *text);
    }
}

/* Where <head …> ends; 0 when there is none. */
static size_t after_head(const struct buf *page)
{
    for (size_t i = 0; i + 6 <= page->len; i++) {
        const char *at = page->data + i;
        const char *end;
        if (strncasecmp(at, "<head", 5) != 0 || !strchr(" \t\r\n/>", at[5]))
            continue;
        end = memchr(at, '>', page->len - i);
        return end ? (size_t)(end - page->data) + 1 : 0;
    }
    return 0;
}

/* Relative addresses in the page then mean the plugin's, on whatever path it is shown. */
static void inject_base(struct static_look *l)
{
    struct static_file *file = &l->file;
    const size_t at = file->fd < 0 ? after_head(&file->bytes) : 0;
    struct buf out = {0};

    if (at == 0)
        return;
    buf_add(&out, file->bytes.data, at);
    buf_puts(&out, "<base href=\"");
    add_escaped(&out, l->base);
    buf_puts(&out, "/\">");
    buf_add(&out, file->bytes.data + at, file->bytes.len - at);
    buf_fini(&file->bytes);
    file->bytes = out;
    file->size = out.len;
}

/* The page differs by its base, so its tag must. */
static void tag_page(struct static_look *l)
{
    const size_t end = strlen(l->file.etag) - 1;
    uint32_t hash = 2166136261;

    for (const char *c = l->base; *c; c++)
        hash = (hash ^ (unsigned char)*c) * 16777619;
    snprintf(l->file.etag + end, sizeof(l->file.etag) - end, "-%08x\"", hash);
}

static enum static_found find_page(struct static_look *l)
{
    const enum static_found found = find(l, l->page, PAGE_MAX, &l->file);

    if (found != STATIC_FOUND)
        return found;
    inject_base(l);
    tag_page(l);
    return l->gzip && l->packed ? packed(l, l->page) : STATIC_FOUND;
}

static void look(struct static_look *l)
{
    l->is_page = strcmp(l->path, l->page) == 0;
    l->found = l->is_page || is_private(l->path) ? STATIC_NONE : find_file(l);
    if (l->found != STATIC_NONE || (!l->is_page && !l->fallback))
        return;
    l->is_page = true;
    l->found = find_page(l);
}

static void look_on_pool(struct job *job)
{
    look((struct static_look *)job);
}

/* --- back on the loop --- */

static void respond(struct static_look *l)
{
    exchange_respond(l->x, 200);
    exchange_res_add_header(l->x, STR("x-base"), *l->base ? str_of(l->base) : STR("/"));
    exchange_res_add_header(l->x, STR("x-content-type-options"), STR("nosniff"));
    if (l->is_page) {
        exchange_res_add_header(l->x, STR("cache-control"), STR("no-cache"));
        exchange_res_add_header(l->x, STR("content-type"), STR("text/html; charset=utf-8"));
    }
    exchange_res_add_header(l->x, STR("vary"), STR("accept-encoding"));
    static_file_respond(l->loop, l->x, &l->file, l->path);
}

static void free_look(struct static_look *l)
{
    free(l->dir);
    free(l->path);
    free(l->page);
    free(l->base);
    free(l);
}

/* Whether there is a response. */
static bool finish(struct static_look *l)
{
    const bool found = l->found == STATIC_FOUND;

    if (l->x && found)
        respond(l);
    else if (found)
        static_file_fini(&l->file);
    free_look(l);
    return found;
}

static void looked(struct job *job)
{
    struct static_look *l = (struct static_look *)job;
    void (*done)(bool answered, void *arg) = l->x ? l->done : NULL;
    void *arg = l->arg;
    const bool found = finish(l);

    if (done)
        done(found, arg);
}

/* --- the request --- */

/* Whether the header lists `token` with a weight that is not 0. */
static bool accepts(const struct exchange *x, struct str header, const char *token)
{
    struct str list = exchange_header(x, header);
    const size_t len = strlen(token);

    for (size_t i = 0; list.at && i + len <= list.len; i++) {
        const char *at = list.at + i, *end = list.at + list.len, *q = at + len;
        if (strncasecmp(at, token, len) != 0 || (i > 0 && !strchr(", \t", at[-1])))
            continue;
        while (q < end && *q == ' ')
            q++;
        if (q == end || *q == ',')
            return true;
        if (*q != ';')
            continue;
        for (q++; q < end && (*q == ' ' || *q == 'q' || *q == '=' || *q == '0' || *q == '.');)
            q++;
        return q < end && *q != ',';
    }
    return false;
}

static bool refuse_method(struct exchange *x)
{
    const struct str method = exchange_method(x);

    if (str_equal(method, STR("GET")) || str_equal(method, STR("HEAD")))
        return false;
    exchange_respond_error(x, 405, "METHOD_NOT_ALLOWED", "Only GET and HEAD are answered here",
                           NULL);
    exchange_res_add_header(x, STR("allow"), STR("GET, HEAD"));
    return true;
}

static bool redirect_bare(struct exchange *x, const char *base)
{
    const struct str query = exchange_query(x);
    struct buf location = {0};

    if (!*base || !str_equal(exchange_path(x), str_of(base)))
        return false;
    buf_printf(&location, "%s/", base);
    if (query.at) {
        buf_putc(&location, '?');
        buf_add_str(&location, query);
    }
    exchange_respond(x, 308);
    exchange_res_add_header(x, STR("location"), buf_str(&location));
    buf_fini(&location);
    return true;
}

static char *join(const char *a, struct str b)
{
    struct buf out = {0};

    buf_puts(&out, a);
    buf_add_str(&out, b);
    return out.data;
}

/* The page's folder and its name in there. */
static void split_entry(struct static_look *l, const struct static_site *site)
{
    const char *name = last_part(site->entry);
    char *dir = join(site->dir, STR("/"));

    l->dir = join(dir, (struct str){site->entry, (size_t)(name - site->entry)});
    l->page = mem_copy(name);
    free(dir);
}

/* What is asked for, below the folder; NULL when no file can have that name. */
static char *wanted(const struct exchange *x, const struct static_site *site, const char *page)
{
    struct str path = exchange_path(x);
    const size_t strip = strlen(site->base) + 1;
    char *name, *folder;

    path.at += path.len < strip ? path.len : strip;
    path.len -= path.len < strip ? path.len : strip;
    name = unescape(path);
    if (!name || (*name && name[strlen(name) - 1] != '/'))
        return name;
    folder = join(name, *name ? STR("index.html") : str_of(page));
    free(name);
    return folder;
}

struct static_look *static_look_start(struct loop *loop,
                                      const struct static_site *site,
                                      struct exchange *x,
                                      void (*done)(bool answered, void *arg),
                                      void *arg,
                                      bool *answered)
{
    struct static_look *l;
    const struct str path = exchange_path(x);

    *answered = refuse_method(x) || redirect_bare(x, site->base);
    if (*answered)
        return NULL;
    l = mem_alloc(sizeof(*l));
    split_entry(l, site);
    l->path = wanted(x, site, l->page);
    l->base = mem_copy(site->base);
    if (!l->path) {
        free_look(l);
        return NULL;
    }
    l->job = (struct job){.work = look_on_pool, .done = looked};
    l->loop = loop;
    l->opener = site->opener;
    l->packed = site->gzip;
    l->x = x;
    l->done = done;
    l->arg = arg;
    l->br = accepts(x, STR("accept-encoding"), "br");
    l->gzip = accepts(x, STR("accept-encoding"), "gzip");
    l->fallback =
        (path.len == 0 || !strchr(last_part(l->path), '.') || path.at[path.len - 1] == '/') &&
        accepts(x, STR("accept"), "text/html");
    l->cached = true;
    look(l);
    if (l->found != STATIC_BLOCKS) {
        *answered = finish(l);
        return NULL;
    }
    l->cached = false;
    loop_submit(loop, &l->job);
    return l;
}

void static_look_cancel(struct static_look *look)
{
    look->x = NULL;
}
