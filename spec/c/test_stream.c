/* Streams over a memory exchange, and the answers that files give: no socket, no Lua. */
#include "check.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "http/exchange.h"
#include "http/mime.h"
#include "http/static_file.h"

struct letters {
    struct exchange_source source; /* first: the callbacks cast back */
    unsigned left;
    bool abort, dropped;
};

static void start(struct exchange_source *source, struct exchange *x)
{
    struct letters *l = (struct letters *)source;
    while (l->left > 0 && !l->dropped) {
        l->left--;
        CHECK(exchange_stream_write(x, STR("ab"), NULL, NULL));
    }
    if (l->dropped)
        return;
    if (l->abort)
        exchange_stream_abort(x);
    else
        exchange_stream_end(x);
}

static void drop(struct exchange_source *source)
{
    ((struct letters *)source)->dropped = true;
}

static void count(struct exchange *x, void *owner)
{
    (void)x;
    ++*(int *)owner;
}

static struct exchange *request(const char *method, size_t pieces, int *sent)
{
    const struct exchange_init init = {
        .method = str_of(method), .target = STR("/"), .arg = sent, .max_pieces = pieces};
    return exchange_new(&init, count);
}

static void test_memory(void)
{
    static const struct {
        const char *method;
        unsigned status, letters;
        size_t pieces;
        bool abort;
        const char *body;
        bool dropped;
    } cases[] = {
        {"GET", 200, 3, 0, false, "ababab", false}, {"GET", 200, 0, 0, false, "", false},
        {"GET", 200, 9, 2, false, "abab", true},    {"GET", 200, 2, 0, true, "abab", false},
        {"HEAD", 200, 3, 0, false, "", true},       {"GET", 204, 3, 0, false, "", true},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct letters l = {{.length = SIZE_MAX, .start = start, .drop = drop},
                            cases[i].letters,
                            cases[i].abort,
                            false};
        int sent = 0;
        struct exchange *x = request(cases[i].method, cases[i].pieces, &sent);
        exchange_respond(x, cases[i].status);
        exchange_res_set_source(x, &l.source);
        exchange_send(x);
        CHECK(sent == 1);
        CHECK(str_equal(exchange_res_body(x), str_of(cases[i].body)));
        CHECK(l.dropped == cases[i].dropped);
        CHECK(exchange_stream_failed(x) == cases[i].abort);
        exchange_free(x);
    }
}

/* Whatever takes the source's place, it is told once, and not when it was taken away. */
static void test_drops(void)
{
    for (int way = 0; way < 4; way++) {
        struct letters l = {{.length = SIZE_MAX, .start = start, .drop = drop}, 1, false, false};
        int sent = 0;
        struct exchange *x = request("GET", 0, &sent);
        exchange_respond(x, 200);
        exchange_res_set_source(x, &l.source);
        if (way == 0)
            exchange_respond(x, 503);
        else if (way == 1)
            exchange_res_set_body(x, STR("other"));
        else if (way == 2)
            exchange_res_set_source(x, NULL);
        CHECK(l.dropped == (way < 2));
        exchange_free(x);
        CHECK(l.dropped == (way != 2));
    }
}

/* --- files --- */

static int open_root(const char *path, bool create, int *fd)
{
    (void)create;
    *fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return *fd < 0;
}

static int open_below(int root, const char *path, int flags, int *fd)
{
    *fd = openat(root, path, flags | O_CLOEXEC);
    return *fd < 0;
}

static bool in_memory;

static int open_cached(const char *dir, const char *path, int flags, int *fd)
{
    int root, rc;

    if (!in_memory)
        return EAGAIN;
    CHECK(open_root(dir, false, &root) == 0);
    rc = open_below(root, path, flags, fd) == 0 ? 0 : errno == ENOENT ? ENOENT : EAGAIN;
    close(root);
    return rc;
}

static const struct file_opener opener = {open_root, open_below, open_cached};

/* a.txt, just written, is in memory; large.txt is so large that it is not read at once. */
static void test_cached_files(const char *dir, int root)
{
    struct static_file file;
    const int fd = openat(root, "large.txt", O_WRONLY | O_CREAT, 0600);

    CHECK(ftruncate(fd, 200000) == 0);
    close(fd);
    CHECK(static_file_find_cached(&opener, dir, "a.txt", 0, &file) == STATIC_BLOCKS);
    in_memory = true;
    CHECK(static_file_find_cached(&opener, dir, "a.txt", 0, &file) == STATIC_FOUND);
    CHECK(file.fd < 0 && str_equal(buf_str(&file.bytes), STR("0123456789")));
    static_file_fini(&file);
    CHECK(static_file_find_cached(&opener, dir, "large.txt", 0, &file) == STATIC_FOUND);
    CHECK(file.fd >= 0 && file.size == 200000);
    static_file_fini(&file);
    CHECK(static_file_find_cached(&opener, dir, "large.txt", 200000, &file) == STATIC_BLOCKS);
    CHECK(static_file_find_cached(&opener, dir, "none", 0, &file) == STATIC_NONE);
    CHECK(static_file_find_cached(&opener, dir, "sub", 0, &file) == STATIC_NONE);
    CHECK(static_file_find_cached(&opener, dir, "./a.txt", 0, &file) == STATIC_NONE);
    unlinkat(root, "large.txt", 0);
}

static void test_files(void)
{
    static const char *const hidden[] = {"", ".a", "a/.b", "../a", "./a.txt", "none", "sub"};
    char dir[] = "/tmp/buntime-static-XXXXXX";
    struct static_file file;
    int root, fd;

    CHECK(mkdtemp(dir));
    root = open(dir, O_RDONLY | O_DIRECTORY);
    CHECK(mkdirat(root, "sub", 0700) == 0);
    fd = openat(root, "a.txt", O_WRONLY | O_CREAT, 0600);
    CHECK(write(fd, "0123456789", 10) == 10);
    close(fd);
    for (size_t i = 0; i < sizeof(hidden) / sizeof(hidden[0]); i++)
        CHECK(!static_file_find(&opener, dir, hidden[i], 0, &file));
    CHECK(static_file_find(&opener, dir, "a.txt", 0, &file));
    CHECK(file.size == 10 && file.fd < 0 && str_equal(buf_str(&file.bytes), STR("0123456789")));
    static_file_fini(&file);
    test_cached_files(dir, root);
    unlinkat(root, "a.txt", 0);
    unlinkat(root, "sub", AT_REMOVEDIR);
    close(root);
    rmdir(dir);
}

static void test_types(void)
{
    CHECK(strcmp(mime_of(STR("a.HTML")), "text/html; charset=utf-8") == 0);
    CHECK(strcmp(mime_of(STR("a.min.js")), "text/javascript; charset=utf-8") == 0);
    CHECK(strcmp(mime_of(STR("js")), "application/octet-stream") == 0);
    CHECK(strcmp(mime_of(STR("a.")), "application/octet-stream") == 0);
    CHECK(strcmp(mime_of(STR("")), "application/octet-stream") == 0);
}

int main(void)
{
    test_memory();
    test_drops();
    test_files();
    test_types();
    return 0;
}
