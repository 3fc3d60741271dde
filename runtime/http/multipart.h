/* multipart/form-data (RFC 7578) taken apart.
 *
 * Pure and incremental: it is fed a body in pieces of any size and tells one event at a time, each
 * byte looked at a bounded number of times. Data is borrowed from the piece (or from the parser,
 * until the next call), so a body that is whole gives each part's data in one run, uncopied. The
 * number of parts and the size of their headers are bounded; the size of data is the caller's
 * business. The client's texts are hostile: multipart_basename() makes a file name harmless.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "base/str.h"

enum {
    MULTIPART_PARTS_MAX = 1000,
    MULTIPART_PART_HEAD_MAX = 8192,
    MULTIPART_HEADS_MAX = 262144, /* of all parts together */
    MULTIPART_BOUNDARY_MAX = 70,
    MULTIPART_NAME_MAX = 255, /* bytes that multipart_basename() leaves */
};

struct multipart;

struct multipart_part {
    struct str name;     /* as the client meant it */
    struct str filename; /* raw; absent: this is a field and no file */
    struct str type;     /* absent: the client did not say */
};

enum multipart_event {
    MULTIPART_MORE, /* the piece is used up: go on with the next, or call multipart_end() */
    MULTIPART_PART, /* a part begins: multipart_part() */
    MULTIPART_DATA, /* some of it: multipart_data(), never empty */
    MULTIPART_PART_END,
    MULTIPART_END, /* the last boundary was there; the rest of the body means nothing */
    MULTIPART_BAD, /* multipart_problem() */
};

/* Whether the content type is multipart/form-data at all, whatever its boundary. */
bool multipart_is(struct str content_type);

/* The boundary of a content type, borrowed. False: none, or one that RFC 2046 does not allow. */
bool multipart_boundary(struct str content_type, struct str *boundary);

struct multipart *multipart_new(struct str boundary); /* as multipart_boundary() gave it */
void multipart_free(struct multipart *m);

/* Takes from the start of `*piece` what it needs for one event. */
enum multipart_event multipart_next(struct multipart *m, struct str *piece);
const struct multipart_part *multipart_part(const struct multipart *m); /* until its end */
struct str multipart_data(const struct multipart *m);

/* When the body is over: whether it was whole. */
bool multipart_end(struct multipart *m);
const char *multipart_problem(const struct multipart *m);

/* The last part of a file's name, safe to show and to store: no folder, no control characters,
 * valid UTF-8, MULTIPART_NAME_MAX bytes at most; "" for what would be no name ("..", "dir/").
 * Returns the length; `out` has room for MULTIPART_NAME_MAX + 1.
 */
size_t multipart_basename(struct str filename, char *out);

/* One file of a body that is whole. */
struct multipart_file {
    struct str data;                       /* borrowed from the body */
    char filename[MULTIPART_NAME_MAX + 1]; /* by multipart_basename() */
};

/* The first file of the field `name`. INVALID_FORM: no multipart form, a broken one, or one
 * without such a file.
 */
bool multipart_find(struct str content_type,
                    struct str body,
                    struct str name,
                    struct multipart_file *file,
                    struct err *err);
