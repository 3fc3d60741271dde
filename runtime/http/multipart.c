#include "http/multipart.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "http/multipart_impl.h"

enum state { PREAMBLE, BOUNDARY, HEAD, DATA, END, BAD };

struct multipart {
    enum state state;
    char delimiter[4 + MULTIPART_BOUNDARY_MAX]; /* "\r\n--" and the boundary */
    size_t delimiter_len;
    size_t matched; /* bytes of it that were seen */
    bool implied;   /* the first two of them were not in the body, or belong to a head */
    bool in_part;
    char mark; /* what stands behind a boundary so far */
    struct str data;
    const char *problem;

    struct multipart_part part;
    size_t parts, heads; /* bytes of all heads */
    size_t head_len;
    char head[MULTIPART_PART_HEAD_MAX];
    char text[MULTIPART_PART_HEAD_MAX];
};

/* The start of the body and the end of a head count as the line end before a boundary. */
static void expect_delimiter(struct multipart *m, enum state state)
{
    m->state = state;
    m->matched = 2;
    m->implied = true;
}

struct multipart *multipart_new(struct str boundary)
{
    struct multipart *m = mem_alloc(sizeof(*m));

    memcpy(m->delimiter, "\r\n--", 4);
    memcpy(m->delimiter + 4, boundary.at, boundary.len);
    m->delimiter_len = 4 + boundary.len;
    expect_delimiter(m, PREAMBLE);
    return m;
}

void multipart_free(struct multipart *m)
{
    free(m);
}

const struct multipart_part *multipart_part(const struct multipart *m)
{
    return &m->part;
}

struct str multipart_data(const struct multipart *m)
{
    return m->data;
}

const char *multipart_problem(const struct multipart *m)
{
    return m->problem;
}

static enum multipart_event bad(struct multipart *m, const char *problem)
{
    m->state = BAD;
    m->problem = problem;
    return MULTIPART_BAD;
}

static void skip(struct str *piece, size_t count)
{
    piece->at += count;
    piece->len -= count;
}

/* --- data, up to a delimiter --- */

/* Data before the first boundary is nobody's. */
static bool give(struct multipart *m, const char *at, size_t len)
{
    m->data = (struct str){at, len};
    return len > 0 && m->state == DATA;
}

static void reach_boundary(struct multipart *m)
{
    m->in_part = m->state == DATA;
    m->state = BOUNDARY;
    m->mark = 0;
}

/* Goes on with a delimiter that began before this piece. What turns out to be none is data; as long
 * as all of it is in this piece it stays there, so that data is one run.
 */
static bool finish_match(struct multipart *m, struct str *piece)
{
    const struct str start = *piece;
    const bool whole = m->implied && m->matched == 2;
    const size_t from = m->implied ? 2 : 0;
    size_t len;

    while (piece->len && m->matched < m->delimiter_len && *piece->at == m->delimiter[m->matched]) {
        m->matched++;
        skip(piece, 1);
    }
    if (m->matched == m->delimiter_len) {
        reach_boundary(m);
        return false;
    }
    if (!piece->len)
        return false;
    len = whole ? 0 : m->matched - from;
    m->matched = 0;
    if (whole)
        *piece = start;
    return give(m, m->delimiter + from, len);
}

/* How many bytes at the end may be the start of a delimiter. Only its first byte is a CR. */
static size_t open_end(const struct multipart *m, struct str piece)
{
    const size_t most = piece.len < m->delimiter_len ? piece.len : m->delimiter_len - 1;
    const char *end = piece.at + piece.len, *cr = memrchr(end - most, '\r', most);

    if (!cr || memcmp(cr, m->delimiter, (size_t)(end - cr)) != 0)
        return 0;
    return (size_t)(end - cr);
}

/* Whether there is data to tell of. */
static bool scan(struct multipart *m, struct str *piece)
{
    const char *start = piece->at;
    const char *found = memmem(start, piece->len, m->delimiter, m->delimiter_len);
    bool any;

    m->implied = false;
    if (found) {
        any = give(m, start, (size_t)(found - start));
        skip(piece, (size_t)(found - start) + m->delimiter_len);
        reach_boundary(m);
        return any;
    }
    m->matched = open_end(m, *piece);
    any = give(m, start, piece->len - m->matched);
    skip(piece, piece->len);
    return any;
}

static enum multipart_event read_data(struct multipart *m, struct str *piece)
{
    if (m->matched && finish_match(m, piece))
        return MULTIPART_DATA;
    if (m->state == BOUNDARY || !piece->len)
        return MULTIPART_MORE;
    return scan(m, piece) ? MULTIPART_DATA : MULTIPART_MORE;
}

/* --- behind a boundary --- */

static enum multipart_event begin_head(struct multipart *m)
{
    if (m->parts == MULTIPART_PARTS_MAX)
        return bad(m, "more than 1000 parts");
    m->parts++;
    m->state = HEAD;
    m->head[0] = '\r'; /* so that a head without lines ends as one with lines does */
    m->head[1] = '\n';
    m->head_len = 2;
    return MULTIPART_MORE;
}

static enum multipart_event read_mark(struct multipart *m, char c)
{
    const char before = m->mark;

    m->mark = c;
    if (before == '-' && c == '-') {
        m->state = END;
        return MULTIPART_END;
    }
    if (before == '\r' && c == '\n')
        return begin_head(m);
    if (before == 0 && c == '-')
        return MULTIPART_MORE;
    if (before != '-' && before != '\r' && (c == ' ' || c == '\t' || c == '\r'))
        return MULTIPART_MORE;
    return bad(m, "a boundary is not followed by a line end");
}

static enum multipart_event read_boundary(struct multipart *m, struct str *piece)
{
    enum multipart_event event = MULTIPART_MORE;

    if (m->in_part) {
        m->in_part = false;
        return MULTIPART_PART_END;
    }
    while (piece->len && m->state == BOUNDARY) {
        event = read_mark(m, *piece->at);
        skip(piece, 1);
    }
    return event;
}

/* --- the head of a part --- */

static enum multipart_event end_head(struct multipart *m)
{
    m->heads += m->head_len;
    if (m->heads > MULTIPART_HEADS_MAX)
        return bad(m, "the headers of the parts are too long");
    if (!multipart_read_head((struct str){m->head, m->head_len}, m->text, &m->part))
        return bad(m, "a part has no name");
    expect_delimiter(m, DATA);
    return MULTIPART_PART;
}

static enum multipart_event read_head(struct multipart *m, struct str *piece)
{
    while (piece->len) {
        if (m->head_len == sizeof(m->head))
            return bad(m, "the headers of a part do not end");
        m->head[m->head_len++] = *piece->at;
        skip(piece, 1);
        if (m->head_len >= 4 && memcmp(m->head + m->head_len - 4, "\r\n\r\n", 4) == 0)
            return end_head(m);
    }
    return MULTIPART_MORE;
}

static enum multipart_event step(struct multipart *m, struct str *piece)
{
    switch (m->state) {
    case PREAMBLE:
    case DATA:
        return read_data(m, piece);
    case BOUNDARY:
        return read_boundary(m, piece);
    case HEAD:
        return read_head(m, piece);
    case END:
        skip(piece, piece->len);
        return MULTIPART_END;
    case BAD:
        break;
    }
    return MULTIPART_BAD;
}

enum multipart_event multipart_next(struct multipart *m, struct str *piece)
{
    enum multipart_event event;

    do
        event = step(m, piece);
    while (event == MULTIPART_MORE && (piece->len || (m->state == BOUNDARY && m->in_part)));
    return event;
}

bool multipart_end(struct multipart *m)
{
    static const char *const problems[] = {
        [PREAMBLE] = "the first boundary is missing",
        [BOUNDARY] = "a boundary is not followed by a line end",
        [HEAD] = "the headers of a part do not end",
        [DATA] = "the last boundary is missing",
    };

    if (m->state < END)
        bad(m, problems[m->state]);
    return m->state == END;
}

/* --- a body that is whole --- */

static bool is_file_of(const struct multipart_part *part, struct str name)
{
    return part->filename.at && str_equal(part->name, name);
}

/* The form is read to its end: half of one is not taken. */
static bool find(struct multipart *m, struct str body, struct str name, struct multipart_file *file)
{
    bool found = false, wanted = false;
    enum multipart_event event;

    while ((event = multipart_next(m, &body)) != MULTIPART_MORE && event < MULTIPART_END) {
        if (event == MULTIPART_PART)
            wanted = !found && is_file_of(&m->part, name);
        if (!wanted)
            continue;
        found = true;
        if (event == MULTIPART_PART)
            multipart_basename(m->part.filename, file->filename);
        else if (event == MULTIPART_DATA)
            file->data = m->data;
    }
    return found;
}

bool multipart_find(struct str content_type,
                    struct str body,
                    struct str name,
                    struct multipart_file *file,
                    struct err *err)
{
    struct multipart *m;
    struct str boundary;
    bool found, whole;

    *file = (struct multipart_file){.data = STR("")};
    if (!multipart_is(content_type))
        return err_set(err, "INVALID_FORM", "the body is not multipart/form-data");
    if (!multipart_boundary(content_type, &boundary))
        return err_set(err, "INVALID_FORM", "the content type has no valid boundary");
    m = multipart_new(boundary);
    found = find(m, body, name, file);
    whole = multipart_end(m);
    if (!whole)
        err_set(err, "INVALID_FORM", "%s", multipart_problem(m));
    else if (!found)
        err_set(err, "INVALID_FORM", "the form has no file \"%.*s\"", (int)name.len, name.at);
    multipart_free(m);
    return whole && found;
}
