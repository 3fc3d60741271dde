#include "plugin/gunzip.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include <zlib.h>

#include "base/mem.h"
#include "plugin/tree.h"

enum { INPUT = 64 * 1024, GZIP_ONLY = 16 };

struct gunzip {
    z_stream stream;
    int file;
    off_t at;
    bool between; /* two members, or behind the last */
    bool padding; /* nothing but zeros may come */
    unsigned char input[INPUT];
};

struct gunzip *gunzip_open(int file)
{
    struct gunzip *gunzip = mem_alloc(sizeof(*gunzip));

    gunzip->file = file;
    if (inflateInit2(&gunzip->stream, MAX_WBITS + GZIP_ONLY) != Z_OK)
        abort(); /* no memory */
    return gunzip;
}

void gunzip_close(struct gunzip *gunzip)
{
    if (!gunzip)
        return;
    inflateEnd(&gunzip->stream);
    free(gunzip);
}

static ssize_t bad(struct err *err, const char *what)
{
    err_set(err, "ARCHIVE_INVALID", "the archive cannot be read: %s", what);
    return -1;
}

/* 1, 0 at the end of the file, or -1. */
static int fill(struct gunzip *gunzip, struct err *err)
{
    ssize_t got;

    if (gunzip->stream.avail_in > 0)
        return 1;
    do
        got = pread(gunzip->file, gunzip->input, sizeof(gunzip->input), gunzip->at);
    while (got < 0 && errno == EINTR);
    if (got < 0) {
        tree_err(err, "the upload cannot be read");
        return -1;
    }
    gunzip->at += got;
    gunzip->stream.next_in = gunzip->input;
    gunzip->stream.avail_in = (uInt)got;
    return got > 0;
}

/* Behind a member: another one, padding, or the end (0). */
static int next_member(struct gunzip *gunzip, struct err *err)
{
    int more;

    while ((more = fill(gunzip, err)) > 0) {
        if (!gunzip->padding && *gunzip->stream.next_in == 0x1f) {
            gunzip->between = false;
            return inflateReset(&gunzip->stream) == Z_OK ? 1 : (int)bad(err, "it is damaged");
        }
        if (*gunzip->stream.next_in != 0)
            return (int)bad(err, "something else is behind its end");
        gunzip->padding = true;
        gunzip->stream.next_in++;
        gunzip->stream.avail_in--;
    }
    return more;
}

/* One try; what it gave is in front of next_out. False: it is damaged or cut off (`err`). */
static bool inflate_some(struct gunzip *gunzip, struct err *err)
{
    const int more = fill(gunzip, err);
    int result;

    if (more < 0)
        return false;
    if (more == 0)
        return bad(err, "its end is missing") > 0;
    result = inflate(&gunzip->stream, Z_NO_FLUSH);
    gunzip->between = result == Z_STREAM_END;
    return result == Z_OK || result == Z_STREAM_END || bad(err, "it is damaged") > 0;
}

ssize_t gunzip_read(struct gunzip *gunzip, void *out, size_t len, struct err *err)
{
    z_stream *stream = &gunzip->stream;

    stream->next_out = out;
    stream->avail_out = (uInt)len;
    while (stream->avail_out == len) {
        const int more = gunzip->between ? next_member(gunzip, err) : 1;
        if (more <= 0)
            return more;
        if (!inflate_some(gunzip, err))
            return -1;
    }
    return (ssize_t)(len - stream->avail_out);
}
