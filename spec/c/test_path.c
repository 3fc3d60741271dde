#include "base/path.h"
#include "base/urlpath.h"

#include <sys/stat.h>
#include <unistd.h>

#include "check.h"

#define BYTES(literal)               \
    {                                \
        literal, sizeof(literal) - 1 \
    }

/* `want` NULL: refused. */
static const struct {
    struct str raw;
    const char *want;
} paths[] = {
    {BYTES("/"), "/"},
    {BYTES("/a/b"), "/a/b"},
    {BYTES("/a/b/"), "/a/b/"},
    {BYTES("/style.css"), "/style.css"},
    {BYTES("/..."), "/..."},
    {BYTES("/.well-known/x"), "/.well-known/x"},
    {BYTES("/a/..b/c.."), "/a/..b/c.."},
    {BYTES("//"), "/"},
    {BYTES("//a///b//"), "/a/b/"},
    {BYTES("/./a/./b/."), "/a/b/"},
    {BYTES("/a/../b"), "/b"},
    {BYTES("/a/b/.."), "/a/"},
    {BYTES("/a/b/../"), "/a/"},
    {BYTES("/../../a"), "/a"},
    {BYTES("/.."), "/"},
    {BYTES("/a//../b"), "/b"},
    {BYTES("/%2e%2E/a"), "/a"},
    {BYTES("/a/%2e./b"), "/b"},
    {BYTES("/a/%2E/b"), "/a/b"},
    {BYTES("/a%20b"), "/a%20b"},
    {BYTES("/a%2Fb"), "/a%2Fb"},
    {BYTES("/caf%C3%A9"), "/caf%C3%A9"},
    {BYTES("/a%0Ab"), "/a%0Ab"},
    {BYTES("/%252e%252e/a"), "/%252e%252e/a"},
    {BYTES("/a%2F.b"), "/a%2F.b"},
    {BYTES("/a\\b"), "/a\\b"},
    {BYTES("/caf\xC3\xA9"), "/caf\xC3\xA9"},
    {BYTES("/a/%2e%2e%2fb"), NULL},
    {BYTES("/a/..%2Fb"), NULL},
    {BYTES("/a%2F.."), NULL},
    {BYTES("/a%2f..%2fb"), NULL},
    {BYTES("/a/..\\b"), NULL},
    {BYTES("/a\\..\\b"), NULL},
    {BYTES("/a%5C..%5cb"), NULL},
    {BYTES("/a\\%2e%2e"), NULL},
    {BYTES(""), NULL},
    {BYTES("a"), NULL},
    {BYTES("*"), NULL},
    {BYTES("http://x/"), NULL},
    {BYTES("/a\0b"), NULL},
    {BYTES("/a%00b"), NULL},
    {BYTES("/a\nb"), NULL},
    {BYTES("/a\x7f"), NULL},
    {BYTES("/a%"), NULL},
    {BYTES("/a%2"), NULL},
    {BYTES("/a%zz"), NULL},
    {BYTES("/a%2g/b"), NULL},
};

static void test_urlpaths(void)
{
    struct buf scratch = {0};

    for (size_t i = 0; i < LEN(paths); i++) {
        struct str got = {0};
        const bool ok = urlpath_normalize(paths[i].raw, &scratch, &got);

        if (ok != (paths[i].want != NULL) || (ok && !str_equal(got, str_of(paths[i].want)))) {
            fprintf(stderr, "\"%s\" gave \"%.*s\"\n", paths[i].raw.at, (int)got.len, got.at);
            exit(1);
        }
    }
    buf_fini(&scratch);
}

/* The usual path is not copied. */
static void test_no_copy(void)
{
    const struct str raw = STR("/hello/api/greeting.v2");
    struct buf scratch = {0};
    struct str got;

    CHECK(urlpath_normalize(raw, &scratch, &got));
    CHECK(got.at == raw.at && scratch.data == NULL);
}

static void test_decoding(void)
{
    struct buf out = {0};

    buf_puts(&out, "<");
    CHECK(percent_decode(&out, STR("a%20b+%41%c3%A9")));
    CHECK_STR(out.data, "<a b+A\xC3\xA9");
    CHECK(!percent_decode(&out, STR("x%4")) && !percent_decode(&out, STR("%")));
    CHECK(!percent_decode(&out, STR("%G0")));
    CHECK_STR(out.data, "<a b+A\xC3\xA9");
    buf_reset(&out);
    form_decode(&out, STR("a+b%2Bc%zz%4"));
    CHECK_STR(out.data, "a b+c%zz%4");
    buf_fini(&out);
}

static void test_texts(void)
{
    char *joined = path_join("a/b", "c");

    CHECK_STR(joined, "a/b/c");
    free(joined);
    joined = path_join("/", "c");
    CHECK_STR(joined, "/c");
    free(joined);
    CHECK_STR(path_tidy("./plugins/x"), "plugins/x");
    CHECK_STR(path_tidy(".//./x"), "x");
    CHECK_STR(path_tidy("./"), ".");
    CHECK_STR(path_tidy(".x"), ".x");
    CHECK_STR(path_tidy("../x"), "../x");
    CHECK_STR(path_name("a/b.lua"), "b.lua");
    CHECK(path_has_extension("x/a.lua", ".lua") && !path_has_extension("x/.lua", ".lua"));
    CHECK(!path_has_extension("a.luac", ".lua"));
    CHECK(path_stays_below("a/b") && path_stays_below("a/..b") && path_stays_below(""));
    CHECK(!path_stays_below("/a") && !path_stays_below("a/../../b") && !path_stays_below(".."));
    CHECK(!path_stays_below("a//..") && path_stays_below("./a"));
}

static void test_files(void)
{
    char dir[] = "/tmp/test_path_XXXXXX";
    struct buf out = {0};
    struct err err;

    CHECK(mkdtemp(dir) && chdir(dir) == 0);
    CHECK(mkdir("root", 0700) == 0 && mkdir("root2", 0700) == 0);
    CHECK(symlink("..", "root/up") == 0 && symlink("../root2", "root/side") == 0);
    CHECK(symlink(".", "root/self") == 0);
    fclose(fopen("root/f", "w"));
    CHECK(mkfifo("root/fifo", 0600) == 0);

    CHECK(path_place("root", "root/f") == PATH_INSIDE);
    CHECK(path_place("root", "root") == PATH_INSIDE);
    CHECK(path_place("root", "root/self/self/f") == PATH_INSIDE);
    CHECK(path_place("root", "root/up") == PATH_OUTSIDE);
    CHECK(path_place("root", "root/side") == PATH_OUTSIDE); /* "root" is a prefix of "root2" */
    CHECK(path_place("root", "root/none") == PATH_MISSING);
    CHECK(path_is_file("root/f") && !path_is_file("root") && path_is_dir("root"));

    CHECK(!file_read("root/fifo", 10, &out, &err));
    CHECK_STR(err.message, "root/fifo: not a file");
    CHECK(!file_read("root/none", 10, &out, &err));
    CHECK_STR(err.message, "root/none: No such file or directory");
    FILE *f = fopen("root/f", "w");
    fputs("0123456789", f);
    fclose(f);
    CHECK(file_read("root/f", 10, &out, &err));
    CHECK_STR(out.data, "0123456789");
    buf_reset(&out);
    CHECK(!file_read("root/f", 9, &out, &err));
    CHECK_STR(err.code, "TOO_LARGE");
    buf_fini(&out);
    CHECK(system("rm -r root root2") == 0 && rmdir(dir) == 0);
}

int main(void)
{
    test_urlpaths();
    test_no_copy();
    test_decoding();
    test_texts();
    test_files();
    printf("ok %zu cases\n", LEN(paths));
    return 0;
}
