/* A boundary, the size of the pieces and a body: nothing is read outside, and what is told does not
 * depend on the pieces.
 */
#include "fuzz.h"

#include "base/buf.h"
#include "base/utf8.h"
#include "http/multipart.h"

static void tell_part(const struct multipart *m, struct buf *told)
{
    const struct multipart_part *part = multipart_part(m);
    char base[MULTIPART_NAME_MAX + 1];

    buf_add_str(told, part->name);
    buf_add_str(told, part->filename);
    buf_add_str(told, part->type);
    if (part->filename.at) {
        const size_t len = multipart_basename(part->filename, base);

        require(len == strlen(base) && len <= MULTIPART_NAME_MAX);
        require(!strpbrk(base, "/\\\r\n") && strcmp(base, "..") != 0);
        require(utf8_valid((struct str){base, len}));
    }
}

static bool feed(struct multipart *m, struct str piece, struct buf *told)
{
    enum multipart_event event;

    while ((event = multipart_next(m, &piece)) != MULTIPART_MORE) {
        if (event == MULTIPART_END || event == MULTIPART_BAD)
            return false;
        if (event == MULTIPART_PART)
            tell_part(m, told);
        else if (event == MULTIPART_DATA)
            buf_add_str(told, multipart_data(m));
        else
            buf_putc(told, ';');
    }
    return true;
}

/* A copy no longer than the piece: ASan sees an overrun. */
static bool feed_copy(struct multipart *m, struct str piece, struct buf *told)
{
    char *copy = malloc(piece.len ? piece.len : 1);
    bool more;

    require(copy != NULL);
    if (piece.len)
        memcpy(copy, piece.at, piece.len);
    more = feed(m, (struct str){copy, piece.len}, told);
    free(copy);
    return more;
}

static bool read_body(struct str boundary, struct str body, size_t step, struct buf *told)
{
    struct multipart *m = multipart_new(boundary);
    bool more = true, whole;

    for (size_t at = 0; more && at < body.len; at += step) {
        const size_t left = body.len - at;
        more = feed_copy(m, (struct str){body.at + at, left < step ? left : step}, told);
    }
    whole = multipart_end(m);
    require(whole || multipart_problem(m));
    multipart_free(m);
    return whole;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *end = size > 1 ? memchr(data + 1, '\n', size - 1) : NULL;
    struct buf type = {0}, told = {0}, again = {0};
    struct str boundary, body;

    if (!end)
        return 0;
    buf_puts(&type, "multipart/form-data; boundary=");
    buf_add(&type, data + 1, (size_t)(end - data) - 1);
    body = (struct str){(const char *)end + 1, size - (size_t)(end - data) - 1};
    if (multipart_boundary(buf_str(&type), &boundary)) {
        const bool whole = read_body(boundary, body, body.len + 1, &told);

        require(read_body(boundary, body, (size_t)data[0] + 1, &again) == whole);
        require(!whole || str_equal(buf_str(&told), buf_str(&again)));
    }
    buf_fini(&type);
    buf_fini(&told);
    buf_fini(&again);
    return 0;
}
