/* The names of an archive's entries. */
#include "plugin/archive.h"

#include <stdio.h>
#include <string.h>

#include "base/utf8.h"

enum { SHOWN_MAX = 120 };

/* The name as a message may show it. */
static const char *shown(struct str name, char out[static SHOWN_MAX + 1])
{
    size_t len = 0;

    for (; len < name.len && len < SHOWN_MAX; len++) {
        const char c = name.at[len];
        out[len] = c >= ' ' && c <= '~' ? c : '?';
    }
    out[len] = '\0';
    return out;
}

static bool refuse(struct err *err, struct str name, const char *why)
{
    char text[SHOWN_MAX + 1];

    return err_set(err, "ARCHIVE_ENTRY_PATH", "the entry \"%s\" %s", shown(name, text), why);
}

static const char *bad_bytes(struct str name)
{
    if (name.len == 0)
        return "has no name";
    if (name.at[0] == '/')
        return "has an absolute path";
    for (size_t i = 0; i < name.len; i++) {
        const unsigned char c = (unsigned char)name.at[i];
        if (c == '\\')
            return "has a backslash in its name";
        if (c < ' ' || c == 0x7f)
            return "has a control character in its name";
    }
    return utf8_valid(name) ? NULL : "has a name that is not UTF-8";
}

static struct str take_part(struct str *rest)
{
    const char *slash = memchr(rest->at, '/', rest->len);
    const struct str part = {rest->at, slash ? (size_t)(slash - rest->at) : rest->len};
    const size_t used = slash ? part.len + 1 : part.len;

    rest->at += used;
    rest->len -= used;
    return part;
}

bool archive_path(struct str name, char out[static ARCHIVE_PATH_MAX + 1], struct err *err)
{
    const char *bad = bad_bytes(name);
    struct str rest = name;
    size_t len = 0, depth = 0;

    if (bad)
        return refuse(err, name, bad);
    while (rest.len > 0) {
        const struct str part = take_part(&rest);
        if (part.len == 0 || str_equal(part, STR(".")))
            continue;
        if (str_equal(part, STR("..")))
            return refuse(err, name, "leaves the package by \"..\"");
        if (part.len > ARCHIVE_NAME_MAX || len + part.len + 1 > ARCHIVE_PATH_MAX)
            return refuse(err, name, "has too long a name");
        if (++depth > ARCHIVE_DEPTH_MAX)
            return refuse(err, name, "is in too many folders");
        if (len > 0)
            out[len++] = '/';
        memcpy(out + len, part.at, part.len);
        len += part.len;
    }
    out[len] = '\0';
    return true;
}

static bool ends_in(struct str name, struct str suffix)
{
    return name.len > suffix.len &&
           str_equal_nocase((struct str){name.at + name.len - suffix.len, suffix.len}, suffix);
}

bool archive_form_of(struct str filename, enum archive_form *form)
{
    if (ends_in(filename, STR(".tgz")) || ends_in(filename, STR(".tar.gz")))
        *form = ARCHIVE_TGZ;
    else if (ends_in(filename, STR(".zip")))
        *form = ARCHIVE_ZIP;
    else
        return false;
    return true;
}
