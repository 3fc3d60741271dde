#include <errno.h>
#include <string.h>

#include "data/files.h"

struct name {
    int number;
    const char *name, *text;
};

/* The system's own words would tell of links and file systems. */
static const struct name names[] = {
    {EACCES, "EACCES", "not inside the plugin's folders, or not permitted"},
    {EBUSY, "EBUSY", "this is the folder itself"},
    {EDQUOT, "EDQUOT", NULL},
    {EEXIST, "EEXIST", NULL},
    {EFBIG, "EFBIG", "larger than the limit"},
    {EINVAL, "EINVAL", "not a regular file"},
    {EIO, "EIO", NULL},
    {EISDIR, "EISDIR", NULL},
    {EMFILE, "EMFILE", NULL},
    {ENAMETOOLONG, "ENAMETOOLONG", NULL},
    {ENFILE, "ENFILE", NULL},
    {ENOENT, "ENOENT", NULL},
    {ENOSPC, "ENOSPC", NULL},
    {ENOTDIR, "ENOTDIR", NULL},
    {ENOTEMPTY, "ENOTEMPTY", NULL},
    {EPERM, "EPERM", NULL},
    {EROFS, "EROFS", NULL},
};

static const struct name *find(int number)
{
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (names[i].number == number)
            return &names[i];
    }
    return NULL;
}

const char *files_error_name(int number)
{
    const struct name *found = find(number);

    return found ? found->name : "EIO";
}

const char *files_error_text(int number)
{
    const struct name *found = find(number);

    return found && found->text ? found->text : strerror(number);
}
