/* Files below a folder: nothing leaves it, with openat2 and without. */
#include "check.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <sys/stat.h>
#include <unistd.h>

#include "data/files.h"

static char dir[] = "/tmp/buntime-files-XXXXXX";
static int root;

static void put(const char *path, const char *text)
{
    CHECK(files_write(root, path, str_of(text)) == 0);
}

static void link_to(const char *target, const char *name)
{
    CHECK(symlinkat(target, root, name) == 0);
}

static int read_rc(const char *path)
{
    struct buf out = {0};
    const int rc = files_read(root, path, 1000, &out);

    buf_fini(&out);
    return rc;
}

static void check_text(const char *path, const char *want)
{
    struct buf out = {0};

    CHECK(files_read(root, path, 1000, &out) == 0);
    CHECK(out.len == strlen(want) && memcmp(out.data ? out.data : "", want, out.len) == 0);
    buf_fini(&out);
}

static void lay_out(void)
{
    CHECK(files_mkdir(root, "a/b/c") == 0);
    put("a/file", "inside");
    put("a/b/empty", "");
    link_to("/etc", "absolute");
    link_to("../..", "up");
    link_to("/etc/passwd", "passwd");
    link_to("nowhere", "dangling");
    link_to("a", "within");
}

static void clear(void)
{
    struct buf names = {0};
    size_t count;
    const char *name;

    CHECK(files_list(root, "", &names, &count) == 0);
    name = names.data;
    for (size_t i = 0; i < count; i++, name += strlen(name) + 1)
        CHECK(files_remove(root, name, true) == 0);
    buf_fini(&names);
}

struct reading {
    const char *path;
    int rc, rc_without; /* without openat2, when that differs */
};

static const struct reading readings[] = {
    {"a/file", 0, 0},
    {"./a//file", 0, 0},
    {"a/./file", 0, 0},
    {"a/b/empty", 0, 0},
    {"within/file", 0, EACCES}, /* a link that stays inside: only the kernel can tell */
    {"", EISDIR, EISDIR},
    {".", EISDIR, EISDIR},
    {"a", EISDIR, EISDIR},
    {"no", ENOENT, ENOENT},
    {"a/file/x", ENOTDIR, ENOTDIR},
    {"..", EACCES, EACCES},
    {"a/../a/file", EACCES, EACCES},
    {"../files", EACCES, EACCES},
    {"/etc/passwd", EACCES, EACCES},
    {"absolute/passwd", EACCES, EACCES},
    {"up/etc/passwd", EACCES, EACCES},
    {"passwd", EACCES, EACCES},
    {"dangling", ENOENT, EACCES},
};

static void test_reading(bool without)
{
    for (size_t i = 0; i < LEN(readings); i++) {
        const struct reading *r = &readings[i];
        const int want = without ? r->rc_without : r->rc;
        if (read_rc(r->path) != want)
            fprintf(stderr, "%s: %s\n", r->path, strerror(read_rc(r->path)));
        CHECK(read_rc(r->path) == want);
    }
}

/* After test_reading(): the kernel has looked all of them up. */
static void test_cached(bool without)
{
    for (size_t i = 0; i < LEN(readings); i++) {
        const struct reading *r = &readings[i];
        const bool opens = r->rc == 0 || r->rc == EISDIR;
        const int want = without ? EAGAIN : opens ? 0 : r->rc == ENOENT ? ENOENT : EAGAIN;
        int fd = -1;
        const int rc = files_open_cached(dir, r->path, O_RDONLY, &fd);
        if (rc != want)
            fprintf(stderr, "%s: %s\n", r->path, strerror(rc));
        CHECK(rc == want);
        if (rc == 0)
            close(fd);
    }
}

static void test_writing(void)
{
    struct stat info;

    CHECK(files_write(root, "absolute/x", STR("x")) == EACCES);
    CHECK(files_write(root, "up/x", STR("x")) == EACCES);
    CHECK(files_write(root, "../x", STR("x")) == EACCES);
    CHECK(files_write(root, "/tmp/x", STR("x")) == EACCES);
    CHECK(files_write(root, "no/x", STR("x")) == ENOENT);
    CHECK(files_write(root, "a", STR("x")) == EISDIR);
    CHECK(files_write(root, "", STR("x")) == EISDIR);
    CHECK(files_mkdir(root, "absolute/x") == EACCES);
    CHECK(files_mkdir(root, "up/x") == EACCES);
    CHECK(files_mkdir(root, "../x") == EACCES);
    CHECK(files_mkdir(root, "a/file") == EEXIST);
    CHECK(files_mkdir(root, "a/file/x") != 0);
    CHECK(files_mkdir(root, "dangling") != 0);

    /* A link is replaced, what it leads to is not touched. */
    put("passwd", "mine");
    check_text("passwd", "mine");
    CHECK(fstatat(root, "passwd", &info, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(info.st_mode));
    CHECK(stat("/etc/passwd", &info) == 0 && info.st_size > 4);

    CHECK(fchmodat(root, "a/file", 0600, 0) == 0);
    put("a/file", "replaced");
    CHECK(files_stat(root, "a/file", &info) == 0 && (info.st_mode & 07777) == 0600);
    check_text("a/file", "replaced");
}

static void test_limits(void)
{
    struct buf out = {0};
    char name[300];

    CHECK(files_read(root, "a/file", 7, &out) == EFBIG);
    buf_fini(&out);
    memset(name, 'x', sizeof(name));
    name[sizeof(name) - 1] = '\0';
    CHECK(read_rc(name) == ENAMETOOLONG);
    CHECK(files_write(root, name, STR("")) == ENAMETOOLONG);
    name[255] = '\0';
    put(name, "as long as a name can be");
    CHECK(files_remove(root, name, false) == 0);
}

static void test_removing(void)
{
    CHECK(files_remove(root, "a", false) == ENOTEMPTY);
    CHECK(files_remove(root, "", true) == EBUSY);
    CHECK(files_remove(root, "..", true) == EACCES);
    CHECK(files_remove(root, "absolute/passwd", false) == EACCES);
    CHECK(symlinkat("/etc", root, "a/b/c/out") == 0);
    CHECK(files_remove(root, "a", true) == 0);
    CHECK(access("/etc/passwd", F_OK) == 0);
    CHECK(read_rc("a/file") == ENOENT);
    CHECK(files_remove(root, "absolute", true) == 0); /* the link alone */
}

static void test_listing(void)
{
    struct buf names = {0};
    size_t count;

    CHECK(files_list(root, "a", &names, &count) == 0);
    CHECK(count == 2 && memcmp(names.data, "b\0file", 7) == 0);
    buf_fini(&names);
    CHECK(files_list(root, "a/b/c", &names, &count) == 0 && count == 0);
    CHECK(files_list(root, "absolute", &names, &count) == EACCES);
    CHECK(files_list(root, "a/file", &names, &count) == ENOTDIR);
    buf_fini(&names);
}

/* Names of half-written files are not shown. */
static void test_no_leftovers(void)
{
    struct buf names = {0};
    size_t count;
    int fd = openat(root, ".buntime-0123456789abcdef", O_WRONLY | O_CREAT, 0600);

    CHECK(fd >= 0 && close(fd) == 0);
    CHECK(files_list(root, "", &names, &count) == 0 && count == 0);
    CHECK(unlinkat(root, ".buntime-0123456789abcdef", 0) == 0);
    buf_fini(&names);
}

static void test_roots(void)
{
    char path[100];
    struct stat info;
    int fd;

    snprintf(path, sizeof(path), "%s/state/data/@scope/name", dir);
    CHECK(files_root(path, false, &fd) == ENOENT);
    CHECK(files_root(path, true, &fd) == 0);
    CHECK(stat(path, &info) == 0 && (info.st_mode & 07777) == 0700);
    close(fd);
    CHECK(files_remove(root, "state", true) == 0);
}

int main(void)
{
    CHECK(mkdtemp(dir));
    CHECK(files_root(dir, false, &root) == 0);
    test_roots();
    for (int without = 0; without < 2; without++) {
        files_without_openat2(without);
        lay_out();
        test_reading(without);
        test_cached(without);
        test_listing();
        test_writing();
        test_limits();
        test_removing();
        clear();
        test_no_leftovers();
    }
    close(root);
    CHECK(rmdir(dir) == 0);
    return 0;
}
