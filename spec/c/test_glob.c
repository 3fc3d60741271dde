#include "base/glob.h"

#include <time.h>

#include "check.h"

static const struct {
    const char *pattern, *path;
    bool want;
} cases[] = {
    {"/health", "/health", true},
    {"/health", "/health/", false},
    {"/health", "/healthy", false},
    {"/health", "/", false},
    {"/Health", "/health", false},
    {"/", "/", true},
    {"/a/*", "/a/b", true},
    {"/a/*", "/a/b/c", false},
    {"/a/*", "/a", false},
    {"/a/*", "/a/", false},
    {"/a/*/c", "/a/b/c", true},
    {"/a/*/c", "/a/b/b/c", false},
    {"/a/**", "/a", true},
    {"/a/**", "/a/", true},
    {"/a/**", "/a/b", true},
    {"/a/**", "/a/b/c/d", true},
    {"/a/**", "/ab", false},
    {"/a/**", "/ab/c", false},
    {"/**", "/", true},
    {"/**", "/a/b", true},
    {"/**/x", "/x", true},
    {"/**/x", "/a/b/x", true},
    {"/**/x", "/a/x/y", false},
    {"/a/**/z", "/a/z", true},
    {"/a/**/z", "/a/b/c/z", true},
    {"/a/**/b/*/c/**", "/a/b/b/x/c", true},
    {"/a/**/b/*/c/**", "/a/b/x/b/y/c/d/e", true},
    {"/a/**/b/*/c/**", "/a/b/c", false},
    {"/**/**/a", "/a", true},
    {"/a/**/**", "/a", true},
    {"/img/*.png", "/img/cat.png", true},
    {"/img/*.png", "/img/.png", true},
    {"/img/*.png", "/img/a/b.png", false},
    {"/img/*.png", "/img/cat.png.gif", false},
    {"/img/a*b*c", "/img/axxbyyc", true},
    {"/img/a*b*c", "/img/abcx", false},
    {"/v**/x", "/v12/x", true},
    {"/v**/x", "/v1/2/x", false},
    {"", "/", false},
    {"**", "/a", true},
    {"/a?c", "/abc", false},
    {"/[ab]", "/a", false},
};

/* Patterns that make a naive matcher try exponentially many splits. */
static void test_bombs(void)
{
    char pattern[2001], path[4001], segments[4001];
    const clock_t start = clock();

    for (size_t i = 0; i < 2000; i++)
        pattern[i] = i == 0 ? '/' : "a*"[i % 2];
    pattern[1999] = 'b';
    pattern[2000] = '\0';
    memset(path, 'a', 4000);
    path[0] = '/';
    path[4000] = '\0';
    CHECK(!glob_match(str_of(pattern), str_of(path)));

    for (size_t i = 0; i < 4000; i++)
        segments[i] = "/a"[i % 2];
    segments[4000] = '\0';
    CHECK(!glob_match(STR("/**/a/**/a/**/a/**/a/**/a/**/a/**/a/**/a/**/a/**/a/**/b"),
                      str_of(segments)));
    CHECK((clock() - start) / CLOCKS_PER_SEC < 2);
}

int main(void)
{
    for (size_t i = 0; i < LEN(cases); i++) {
        if (glob_match(str_of(cases[i].pattern), str_of(cases[i].path)) != cases[i].want) {
            fprintf(stderr, "\"%s\" on \"%s\"\n", cases[i].pattern, cases[i].path);
            return 1;
        }
    }
    test_bombs();
    printf("ok %zu cases\n", LEN(cases));
    return 0;
}
