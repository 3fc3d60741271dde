/* Landlock by its raw system calls: Debian 12's headers and libc know no more than its version 2.
 */
#include "worker/sandbox_impl.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The numbers are the same on every architecture. */
enum { SYS_CREATE = 444, SYS_ADD_RULE = 445, SYS_RESTRICT = 446 };
enum { GET_VERSION = 1, PATH_BENEATH = 1 };

struct ruleset {
    uint64_t files, net, scopes;
};

struct path_beneath {
    uint64_t access;
    int32_t parent;
} __attribute__((packed));

#define BIT(n) (UINT64_C(1) << (n))

enum {
    FILE_EXECUTE = BIT(0),
    FILE_WRITE = BIT(1),
    FILE_READ = BIT(2),
    DIR_READ = BIT(3),
    DIR_REMOVE = BIT(4),
    DIR_REMOVE_FILE = BIT(5),
    DIR_MAKE_DIR = BIT(7),
    DIR_MAKE_FILE = BIT(8),
    DIR_MAKE_LINK = BIT(12),
    DIR_REFER = BIT(13),     /* version 2: renaming from one folder to another */
    FILE_TRUNCATE = BIT(14), /* version 3 */

    FILE_ALL = FILE_EXECUTE | FILE_WRITE | FILE_READ | FILE_TRUNCATE,
    READ = FILE_READ | DIR_READ,
    /* No devices, sockets and pipes: nothing here makes them. */
    WRITE = READ | FILE_WRITE | FILE_TRUNCATE | DIR_REMOVE | DIR_REMOVE_FILE | DIR_MAKE_DIR |
            DIR_MAKE_FILE | DIR_MAKE_LINK | DIR_REFER,

    TCP_ALL = 3,    /* version 4: binding, connecting */
    SCOPES_ALL = 3, /* version 6: abstract sockets, signals */
};

/* What each version can hold back in the file system, and what it holds back by being asked. */
static uint64_t known_files(int version)
{
    static const unsigned bits[] = {0, 13, 14, 15, 15, 16};
    const int last = (int)(sizeof(bits) / sizeof(bits[0])) - 1;

    return BIT(bits[version < last ? version : last]) - 1;
}

int landlock_version(void)
{
    const long version = syscall(SYS_CREATE, NULL, 0, GET_VERSION);

    return version > 0 ? (int)version : 0;
}

static int create(int version)
{
    struct ruleset ruleset = {.files = known_files(version)};
    size_t size = sizeof(ruleset.files);

    if (version >= LANDLOCK_HAS_NET) {
        ruleset.net = TCP_ALL;
        size += sizeof(ruleset.net);
    }
    if (version >= LANDLOCK_HAS_SCOPES) {
        ruleset.scopes = SCOPES_ALL;
        size += sizeof(ruleset.scopes);
    }
    return (int)syscall(SYS_CREATE, &ruleset, size, 0);
}

/* What is not there cannot be opened either: no rule, no error. */
static bool open_path(int ruleset, const char *path, uint64_t access, struct err *err)
{
    struct path_beneath rule = {.access = access, .parent = open(path, O_PATH | O_CLOEXEC)};
    struct stat info;
    long rc;

    if (rule.parent < 0)
        return errno == ENOENT || errno == ENOTDIR ||
               err_set(err, "SANDBOX_FAILED", "cannot open %s: %s", path, strerror(errno));
    if (fstat(rule.parent, &info) == 0 && !S_ISDIR(info.st_mode))
        rule.access &= FILE_ALL;
    rc = syscall(SYS_ADD_RULE, ruleset, PATH_BENEATH, &rule, 0);
    close(rule.parent);
    return rc == 0 || err_set(err, "SANDBOX_FAILED", "cannot allow %s: %s", path, strerror(errno));
}

static bool open_paths(int ruleset, const char *const *paths, uint64_t access, struct err *err)
{
    for (; paths && *paths; paths++) {
        if (!open_path(ruleset, *paths, access, err))
            return false;
    }
    return true;
}

bool landlock_enter(const struct sandbox *sandbox, int version, struct err *err)
{
    const uint64_t known = known_files(version);
    const int ruleset = create(version);
    bool ok;

    if (ruleset < 0)
        return err_set(err, "SANDBOX_FAILED", "Landlock: %s", strerror(errno));
    ok = open_paths(ruleset, sandbox->read, READ & known, err) &&
         open_paths(ruleset, sandbox->write, WRITE & known, err);
    if (ok && syscall(SYS_RESTRICT, ruleset, 0) != 0)
        ok = err_set(err, "SANDBOX_FAILED", "Landlock: %s", strerror(errno));
    close(ruleset);
    return ok;
}
