/* The name of an entry of an archive, or of the archive itself. What is taken is the normal form of
 * a path: relative, below the folder, and the parts of the name that say something, in their order.
 */
#include "fuzz.h"

#include "base/buf.h"
#include "base/path.h"
#include "base/utf8.h"
#include "bind/url.h"
#include "plugin/archive.h"

/* The parts of the name that are neither empty nor ".", with a slash between. */
static void join_parts(struct str name, struct buf *out)
{
    while (name.len > 0) {
        const struct str part = take_until(&name, '/');
        if (part.len == 0 || str_equal(part, STR(".")))
            continue;
        buf_puts(out, out->len ? "/" : "");
        buf_add_str(out, part);
    }
}

static void check_path(struct str name, const char *path)
{
    char again[ARCHIVE_PATH_MAX + 1];
    struct str rest = str_of(path);
    struct buf want = {0};
    size_t depth = 0;
    struct err err;

    require(rest.len <= ARCHIVE_PATH_MAX && utf8_valid(rest) && rest.len <= name.len);
    require(path_stays_below(path) && !url_climbs(rest) && !strpbrk(path, "\\\r\n\t\x1b\x7f"));
    join_parts(name, &want);
    require(str_equal(rest, buf_str(&want)));
    while (rest.len > 0) {
        require(take_until(&rest, '/').len <= ARCHIVE_NAME_MAX);
        depth++;
    }
    require(depth <= ARCHIVE_DEPTH_MAX);
    if (*path)
        require(archive_path(str_of(path), again, &err) && strcmp(again, path) == 0);
    buf_fini(&want);
}

static void check_refusal(const struct err *err)
{
    require(strcmp(err->code, "ARCHIVE_ENTRY_PATH") == 0);
    for (const char *c = err->message; *c; c++)
        require(*c >= ' ' && *c <= '~');
}

static bool ends_in(struct str name, const char *suffix)
{
    const size_t len = strlen(suffix);

    return name.len >= len &&
           str_equal_nocase((struct str){name.at + name.len - len, len}, str_of(suffix));
}

static void check_form(struct str name)
{
    enum archive_form form;

    if (!archive_form_of(name, &form)) {
        require(!ends_in(name, "x.zip") && !ends_in(name, "x.tgz") && !ends_in(name, "x.tar.gz"));
        return;
    }
    require(form == ARCHIVE_ZIP ? ends_in(name, ".zip")
                                : ends_in(name, ".tgz") || ends_in(name, ".tar.gz"));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *copy = exact_copy((struct str){(const char *)data, size});
    const struct str name = {copy, size};
    char path[ARCHIVE_PATH_MAX + 1];
    struct err err;

    if (archive_path(name, path, &err))
        check_path(name, path);
    else
        check_refusal(&err);
    check_form(name);
    free(copy);
    return 0;
}
