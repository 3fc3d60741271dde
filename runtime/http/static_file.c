#include "http/static_file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "ev/loop.h"
#include "http/exchange.h"
#include "http/h2o.h"
#include "http/mime.h"

enum {
    WHOLE = 128 * 1024, /* files up to this are read at once */
    PIECE = 64 * 1024,
    OPEN_FLAGS = O_RDONLY | O_NONBLOCK | O_NOCTTY,
};

/* --- finding --- */

static bool has_hidden_part(const char *path)
{
    for (const char *at = path; at; at = strchr(at, '/')) {
        at += *at == '/';
        if (*at == '.')
            return true;
    }
    return false;
}

/* `cached`: only what needs not be waited for. */
static bool read_whole(struct static_file *file, bool cached)
{
    while (file->bytes.len < file->size) {
        const size_t want = (size_t)file->size - file->bytes.len;
        const struct iovec room = {buf_reserve(&file->bytes, want), want};
        const ssize_t got = cached ? preadv2(file->fd, &room, 1, (off_t)file->bytes.len, RWF_NOWAIT)
                                   : readv(file->fd, &room, 1);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return false;
        file->bytes.len += (size_t)got;
    }
    close(file->fd);
    file->fd = -1;
    return true;
}

static void describe(struct static_file *file, const struct stat *info)
{
    file->size = (uint64_t)info->st_size;
    file->modified = info->st_mtim.tv_sec;
    snprintf(file->etag, sizeof(file->etag), "\"%" PRIx64 "-%" PRIx64 "%09lx\"", file->size,
             (uint64_t)info->st_mtim.tv_sec, (unsigned long)info->st_mtim.tv_nsec);
}

static int open_file(const struct file_opener *opener, const char *dir, const char *path, int *fd)
{
    int root, rc = opener->root(dir, false, &root);

    if (rc != 0)
        return rc;
    rc = opener->open(root, path, OPEN_FLAGS, fd);
    close(root);
    return rc;
}

static bool is_regular(struct static_file *file)
{
    struct stat info;

    if (fstat(file->fd, &info) != 0 || !S_ISREG(info.st_mode))
        return false;
    describe(file, &info);
    return true;
}

bool static_file_find(const struct file_opener *opener,
                      const char *dir,
                      const char *path,
                      size_t whole,
                      struct static_file *file)
{
    *file = (struct static_file){.fd = -1};
    if (!*path || has_hidden_part(path) || open_file(opener, dir, path, &file->fd) != 0)
        return false;
    if (is_regular(file) &&
        (file->size > (whole > WHOLE ? whole : WHOLE) || read_whole(file, false)))
        return true;
    static_file_fini(file);
    return false;
}

enum static_found static_file_find_cached(const struct file_opener *opener,
                                          const char *dir,
                                          const char *path,
                                          size_t whole,
                                          struct static_file *file)
{
    enum static_found found = STATIC_NONE;
    int rc;

    *file = (struct static_file){.fd = -1};
    if (!*path || has_hidden_part(path))
        return STATIC_NONE;
    rc = opener->open_cached(dir, path, OPEN_FLAGS, &file->fd);
    if (rc != 0)
        return rc == ENOENT ? STATIC_NONE : STATIC_BLOCKS;
    if (is_regular(file)) {
        const bool read = file->size <= WHOLE && read_whole(file, true);
        if (read || (file->size > WHOLE && file->size > whole))
            return STATIC_FOUND;
        found = STATIC_BLOCKS;
    }
    static_file_fini(file);
    return found;
}

void static_file_fini(struct static_file *file)
{
    if (file->fd >= 0)
        close(file->fd);
    file->fd = -1;
    buf_fini(&file->bytes);
}

/* --- the body of a large file --- */

struct file_body {
    struct exchange_source source; /* first: start() and drop() cast back */
    struct job job;
    struct loop *loop;
    struct exchange *x; /* NULL once it is over */
    int fd;
    uint64_t at, end;
    ssize_t got;
    bool reading;
    char piece[PIECE];
};

static struct file_body *body_of(struct job *job)
{
    return (struct file_body *)((char *)job - offsetof(struct file_body, job));
}

static void free_body(struct file_body *body)
{
    close(body->fd);
    free(body);
}

static void read_piece(struct job *job)
{
    struct file_body *body = body_of(job);
    const uint64_t left = body->end - body->at;
    const size_t want = left < PIECE ? (size_t)left : PIECE;

    do
        body->got = pread(body->fd, body->piece, want, (off_t)body->at);
    while (body->got < 0 && errno == EINTR);
}

static void read_next(void *arg)
{
    struct file_body *body = arg;

    body->reading = true;
    loop_submit(body->loop, &body->job);
}

static void piece_read(struct job *job)
{
    struct file_body *body = body_of(job);
    struct exchange *x = body->x;

    body->reading = false;
    if (!x) {
        free_body(body);
    } else if (body->got <= 0) { /* it shrank, or the disk failed */
        exchange_stream_abort(x);
        free_body(body);
    } else {
        const struct str piece = {body->piece, (size_t)body->got};
        body->at += (uint64_t)body->got;
        if (body->at < body->end) {
            if (exchange_stream_write(x, piece, read_next, body))
                read_next(body);
            return;
        }
        exchange_stream_write(x, piece, NULL, NULL);
        if (body->x) {
            exchange_stream_end(x);
            free_body(body);
        }
    }
}

static void start(struct exchange_source *source, struct exchange *x)
{
    struct file_body *body = (struct file_body *)source;

    body->x = x;
    read_next(body);
}

static void drop(struct exchange_source *source)
{
    struct file_body *body = (struct file_body *)source;

    body->x = NULL;
    if (!body->reading)
        free_body(body);
}

static void set_body(
    struct loop *loop, struct exchange *x, struct static_file *file, uint64_t from, uint64_t end)
{
    struct file_body *body;

    if (file->fd < 0) {
        if (end > from)
            exchange_res_take_body(x, &file->bytes,
                                   (struct str){file->bytes.data + from, (size_t)(end - from)});
        return;
    }
    body = mem_alloc(sizeof(*body));
    body->source =
        (struct exchange_source){.length = (size_t)(end - from), .start = start, .drop = drop};
    body->job = (struct job){.work = read_piece, .done = piece_read};
    body->loop = loop;
    body->fd = file->fd;
    body->at = from;
    body->end = end;
    file->fd = -1;
    exchange_res_set_source(x, &body->source);
}

/* --- conditions --- */

static struct str weak_part(struct str tag)
{
    if (str_starts(tag, STR("W/"))) {
        tag.at += 2;
        tag.len -= 2;
    }
    return tag;
}

/* Whether a list of tags, or "*", names ours. */
static bool lists_tag(struct str list, const char *etag)
{
    while (list.len > 0) {
        const char *comma = memchr(list.at, ',', list.len);
        const size_t used = comma ? (size_t)(comma - list.at) + 1 : list.len;
        struct str tag = {list.at, comma ? used - 1 : used};

        while (tag.len && (tag.at[0] == ' ' || tag.at[0] == '\t'))
            tag.at++, tag.len--;
        while (tag.len && (tag.at[tag.len - 1] == ' ' || tag.at[tag.len - 1] == '\t'))
            tag.len--;
        if (str_equal(tag, STR("*")) || str_equal(weak_part(tag), str_of(etag)))
            return true;
        list.at += used;
        list.len -= used;
    }
    return false;
}

static bool parse_date(struct str text, int64_t *seconds)
{
    struct tm parts = {0};

    if (text.len != H2O_TIMESTR_RFC1123_LEN || h2o_time_parse_rfc1123(text.at, text.len, &parts))
        return false;
    *seconds = timegm(&parts);
    return true;
}

static bool is_unchanged(const struct exchange *x, const struct static_file *file)
{
    const struct str tags = exchange_header(x, STR("if-none-match"));
    const struct str date = exchange_header(x, STR("if-modified-since"));
    int64_t seconds;

    if (tags.at)
        return lists_tag(tags, file->etag);
    return date.at && parse_date(date, &seconds) && file->modified <= seconds;
}

/* --- ranges --- */

enum range { RANGE_NONE, RANGE_ONE, RANGE_BAD };

static bool take_number(struct str *text, uint64_t *number)
{
    size_t digits = 0;

    *number = 0;
    for (; digits < text->len && text->at[digits] >= '0' && text->at[digits] <= '9'; digits++) {
        if (*number > UINT64_MAX / 10 - 1)
            return false;
        *number = *number * 10 + (uint64_t)(text->at[digits] - '0');
    }
    text->at += digits;
    text->len -= digits;
    return digits > 0;
}

/* One range of bytes. What is no such thing, or several, is answered whole. */
static enum range parse_range(struct str text, uint64_t size, uint64_t *from, uint64_t *end)
{
    uint64_t first = 0, last = 0;
    bool has_first, has_last;

    if (!str_starts(text, STR("bytes=")))
        return RANGE_NONE;
    text.at += 6;
    text.len -= 6;
    has_first = take_number(&text, &first);
    if (text.len == 0 || text.at[0] != '-')
        return RANGE_NONE;
    text.at++;
    text.len--;
    has_last = take_number(&text, &last);
    if (text.len > 0 || (!has_first && !has_last) || (has_first && has_last && last < first))
        return RANGE_NONE;
    if (has_first ? first >= size : last == 0 || size == 0)
        return RANGE_BAD;
    *from = has_first ? first : last < size ? size - last : 0;
    *end = has_first && has_last && last < size - 1 ? last + 1 : size;
    return RANGE_ONE;
}

/* Whether If-Range, if it is there, still names this very file. */
static bool range_holds(const struct exchange *x, const struct static_file *file)
{
    const struct str condition = exchange_header(x, STR("if-range"));
    int64_t seconds;

    if (!condition.at)
        return true;
    if (condition.len && condition.at[0] == '"')
        return str_equal(condition, str_of(file->etag));
    return parse_date(condition, &seconds) && seconds == file->modified;
}

static enum range
range_of(const struct exchange *x, const struct static_file *file, uint64_t *from, uint64_t *end)
{
    const struct str range = exchange_header(x, STR("range"));

    *from = 0;
    *end = file->size;
    if (!range.at || !str_equal(exchange_method(x), STR("GET")) || !range_holds(x, file))
        return RANGE_NONE;
    return parse_range(range, file->size, from, end);
}

/* --- responding --- */

static bool has_type(const struct exchange *x)
{
    for (size_t i = 0; i < exchange_res_header_count(x); i++) {
        if (str_equal(exchange_res_header_at(x, i).name, STR("content-type")))
            return true;
    }
    return false;
}

static void set_validators(struct exchange *x, struct static_file *file)
{
    char date[H2O_TIMESTR_RFC1123_LEN + 1];
    const time_t modified = (time_t)file->modified;
    struct tm parts;

    if (file->encoding) { /* another representation, so another tag */
        const size_t len = strlen(file->etag) - 1;
        snprintf(file->etag + len, sizeof(file->etag) - len, "-%s\"", file->encoding);
        exchange_res_set_header(x, STR("content-encoding"), str_of(file->encoding));
    }
    gmtime_r(&modified, &parts);
    h2o_time2str_rfc1123(date, &parts);
    date[H2O_TIMESTR_RFC1123_LEN] = '\0';
    exchange_res_set_header(x, STR("etag"), str_of(file->etag));
    exchange_res_set_header(x, STR("last-modified"), str_of(date));
    exchange_res_set_header(x, STR("accept-ranges"), STR("bytes"));
}

static void set_content_range(struct exchange *x, const char *format, ...)
{
    char text[80];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    exchange_res_set_header(x, STR("content-range"), str_of(text));
}

void static_file_respond(struct loop *loop,
                         struct exchange *x,
                         struct static_file *file,
                         const char *name)
{
    uint64_t from, end;

    set_validators(x, file);
    if (is_unchanged(x, file)) {
        exchange_set_status(x, 304);
        static_file_fini(file);
        return;
    }
    if (!has_type(x))
        exchange_res_add_header(x, STR("content-type"), str_of(mime_of(str_of(name))));
    switch (range_of(x, file, &from, &end)) {
    case RANGE_BAD:
        exchange_set_status(x, 416);
        set_content_range(x, "bytes */%" PRIu64, file->size);
        break;
    case RANGE_ONE:
        exchange_set_status(x, 206);
        set_content_range(x, "bytes %" PRIu64 "-%" PRIu64 "/%" PRIu64, from, end - 1, file->size);
        set_body(loop, x, file, from, end);
        break;
    case RANGE_NONE:
        set_body(loop, x, file, from, end);
        break;
    }
    static_file_fini(file);
}
