/* The route tree: each row builds a small tree and asks it once. */
#include "check.h"

#include "ev/loop.h"
#include "http/route.h"

enum { MOST = 8 };

static struct str constraints[64];
static int constraint_count;

static int number(void *arg, struct str text)
{
    CHECK(arg == &constraint_count);
    constraints[constraint_count] = text;
    return constraint_count++;
}

/* Constraints of this test: "digits", "lower", "[a-z]/{2}" (never), "any". */
static bool satisfies(void *arg, int constraint, struct str value)
{
    CHECK(arg == &constraint_count && constraint < constraint_count && value.len > 0);
    struct str name = constraints[constraint];
    bool digits = str_equal(name, STR("digits")), lower = str_equal(name, STR("lower"));
    for (size_t i = 0; i < value.len; i++) {
        char c = value.at[i];
        if ((digits && (c < '0' || c > '9')) || (lower && (c < 'a' || c > 'z')))
            return false;
    }
    return digits || lower || str_equal(name, STR("any"));
}

static struct route_tree *tree_of(const char *const routes[])
{
    struct route_tree *tree = route_tree_new();
    struct err err;
    constraint_count = 0;
    for (int i = 0; i < MOST && routes[i]; i++) {
        const char *space = strchr(routes[i], ' ');
        struct str method = {routes[i], (size_t)(space - routes[i])};
        if (str_equal(method, STR("ALL")))
            method.len = 0;
        if (!route_add(tree, method, str_of(space + 1), i, number, &constraint_count, &err)) {
            fprintf(stderr, "%s\n", err.message);
            exit(1);
        }
    }
    return tree;
}

static void print_match(enum route_result result, const struct route_match *match, char *out)
{
    static const char *const words[] = {"none", "found", "other method"};
    if (result != ROUTE_FOUND) {
        strcpy(out, words[result]);
        return;
    }
    out += sprintf(out, "%d", match->value);
    for (size_t i = 0; i < match->param_count; i++) {
        *out++ = ' ';
        memcpy(out, match->params[i].name.at, match->params[i].name.len);
        out += match->params[i].name.len;
        *out++ = '=';
        memcpy(out, match->params[i].value.at, match->params[i].value.len);
        out += match->params[i].value.len;
    }
    *out = '\0';
}

static const struct {
    const char *routes[MOST];
    const char *ask, *want;
} rows[] = {
    /* fixed */
    {{"GET /"}, "GET /", "0"},
    {{"GET /"}, "GET /a", "none"},
    {{"GET /a"}, "GET /a", "0"},
    {{"GET /a"}, "GET /a/", "none"},
    {{"GET /a/"}, "GET /a", "none"},
    {{"GET /a/"}, "GET /a/", "0"},
    {{"GET /a"}, "GET /A", "none"},
    {{"GET /a/b/c"}, "GET /a/b/c", "0"},
    {{"GET /a/b/c"}, "GET /a/b", "none"},
    {{"GET /a/b/c"}, "GET /a/b/c/d", "none"},
    {{"GET /ab", "GET /abc", "GET /a", "GET /b", "GET /abd"}, "GET /abc", "1"},
    {{"GET /ab", "GET /abc", "GET /a", "GET /b", "GET /abd"}, "GET /abd", "4"},
    {{"GET /ab", "GET /abc", "GET /a", "GET /b", "GET /abd"}, "GET /b", "3"},
    {{"GET /ab", "GET /abc", "GET /a", "GET /b", "GET /abd"}, "GET /abe", "none"},
    {{"GET /a"}, "GET ", "none"},
    {{"GET /a"}, "GET a", "none"},
    {{"GET /a:b"}, "GET /a:b", "0"},
    {{NULL}, "GET /", "none"},

    /* parameters */
    {{"GET /:id"}, "GET /7", "0 id=7"},
    {{"GET /:id"}, "GET /", "none"},
    {{"GET /u/:id"}, "GET /u/", "none"},
    {{"GET /u/:id"}, "GET /u/a%2Fb", "0 id=a%2Fb"},
    {{"GET /u/:id/posts/:post"}, "GET /u/1/posts/2", "0 id=1 post=2"},
    {{"GET /u/:id/posts/:post"}, "GET /u/1/posts", "none"},
    {{"GET /:a", "POST /:b"}, "POST /x", "1 b=x"},
    {{"GET /:a/x", "GET /:b/y"}, "GET /1/y", "1 b=1"},

    /* what is best, whatever the order */
    {{"GET /*", "GET /:x", "GET /:n{digits}", "GET /7"}, "GET /7", "3"},
    {{"GET /*", "GET /:x", "GET /:n{digits}", "GET /7"}, "GET /8", "2 n=8"},
    {{"GET /*", "GET /:x", "GET /:n{digits}", "GET /7"}, "GET /a", "1 x=a"},
    {{"GET /*", "GET /:x", "GET /:n{digits}", "GET /7"}, "GET /a/b", "0 *=a/b"},
    {{"GET /7", "GET /:n{digits}", "GET /:x", "GET /*"}, "GET /7", "0"},
    {{"GET /:a", "GET /:b"}, "GET /x", "0 a=x"},
    {{"GET /:a{lower}", "GET /:b{any}"}, "GET /x", "0 a=x"},
    {{"GET /:b{any}", "GET /:a{lower}"}, "GET /x", "0 b=x"},
    {{"GET /:a{lower}", "GET /:b{any}"}, "GET /7", "1 b=7"},
    {{"GET /a/*", "GET /*/b"}, "GET /a/b", "0 *=b"},
    {{"GET /:x/b", "GET /*/b"}, "GET /a/b", "0 x=a"},
    {{"GET /*/b", "GET /:x/b"}, "GET /a/b", "1 x=a"},

    /* a branch that fails further on */
    {{"GET /a/b/c", "GET /a/:x/d"}, "GET /a/b/d", "1 x=b"},
    {{"GET /a/b/c", "GET /:y/b/d"}, "GET /a/b/d", "1 y=a"},
    {{"GET /:n{digits}/x", "GET /:m/y"}, "GET /1/y", "1 m=1"},
    {{"GET /:n{digits}/x", "GET /:m{any}/y"}, "GET /1/y", "1 m=1"},
    {{"GET /a/:x/c", "GET /a/*"}, "GET /a/b/d", "1 *=b/d"},
    {{"GET /a/b/:x", "GET /:p/:q/:r/:s", "GET /*"}, "GET /a/b/c/d", "1 p=a q=b r=c s=d"},
    {{"GET /a/b/:x", "GET /:p/:q/:r/z", "GET /*"}, "GET /a/b/c/d", "2 *=a/b/c/d"},
    {{"GET /a", "POST /:x"}, "POST /a", "1 x=a"},

    /* optional */
    {{"GET /a/:id?"}, "GET /a", "0"},
    {{"GET /a/:id?"}, "GET /a/1", "0 id=1"},
    {{"GET /a/:id?"}, "GET /a/", "none"},
    {{"GET /a/:id?"}, "GET /a/1/2", "none"},
    {{"GET /:id?"}, "GET /", "0"},
    {{"GET /:id?"}, "GET /1", "0 id=1"},
    {{"GET /:x/:id?"}, "GET /1", "0 x=1"},
    {{"GET /*/:id?"}, "GET /1", "0"},
    {{"GET /*/:id?"}, "GET /1/2", "0 id=2"},
    {{"GET /a/:id{digits}?"}, "GET /a", "0"},
    {{"GET /a/:id{digits}?"}, "GET /a/1", "0 id=1"},
    {{"GET /a/:id{digits}?"}, "GET /a/b", "none"},
    {{"GET /a/:id?", "GET /a"}, "GET /a", "0"},
    {{"GET /a", "GET /a/:id?"}, "GET /a", "0"},

    /* constraints */
    {{"GET /:n{digits}"}, "GET /12", "0 n=12"},
    {{"GET /:n{digits}"}, "GET /1a", "none"},
    {{"GET /:n{[a-z]/{2}}"}, "GET /ab", "none"},
    {{"GET /:n{digits}/:n2{lower}"}, "GET /1/b", "0 n=1 n2=b"},
    {{"GET /:n{digits}", "POST /:m{digits}"}, "POST /1", "1 m=1"},

    /* wildcards */
    {{"GET /*"}, "GET /", "0 *="},
    {{"GET *"}, "GET /x/y", "0 *=x/y"},
    {{"GET /f/*"}, "GET /f", "0 *="},
    {{"GET /f/*"}, "GET /f/", "0 *="},
    {{"GET /f/*"}, "GET /f/a/b/c", "0 *=a/b/c"},
    {{"GET /f/*"}, "GET /fa", "none"},
    {{"GET /f/*", "GET /f"}, "GET /f", "1"},
    {{"GET /f/*", "GET /f/"}, "GET /f/", "1"},
    {{"GET /*/b"}, "GET /a/b", "0"},
    {{"GET /*/b"}, "GET /a/a/b", "none"},
    {{"GET /*/b"}, "GET //b", "none"},
    {{"GET /:a/*/c/*"}, "GET /1/2/c/3/4", "0 a=1 *=3/4"},
    {{"GET /f/:id/*"}, "GET /f/1", "0 id=1 *="},

    /* escapes */
    {{"GET /caf\xc3\xa9"}, "GET /caf%C3%A9", "0"},
    {{"GET /caf\xc3\xa9"}, "GET /caf%c3%a9", "0"},
    {{"GET /caf\xc3\xa9"}, "GET /caf\xc3\xa9", "0"},
    {{"GET /caf%c3%a9"}, "GET /caf\xc3\xa9", "0"},
    {{"GET /caf\xc3\xa9"}, "GET /cafe", "none"},
    {{"GET /a b"}, "GET /a%20b", "0"},
    {{"GET /ab"}, "GET /%61b", "0"},
    {{"GET /a/b"}, "GET /a%2Fb", "none"},
    {{"GET /a%2fb"}, "GET /a%2Fb", "0"},
    {{"GET /a%2Fb"}, "GET /a/b", "none"},
    {{"GET /a%2Fb"}, "GET /a%252Fb", "none"},
    {{"GET /a%252Fb"}, "GET /a%252Fb", "0"},
    {{"GET /100%"}, "GET /100%", "0"},
    {{"GET /100%"}, "GET /100%25", "0"},
    {{"GET /a%2"}, "GET /a%2", "0"},
    {{"GET /%2"}, "GET /%252", "0"},
    {{"GET /\xe6\x97\xa5/:x"}, "GET /%E6%97%A5/%E6%9C%AC", "0 x=%E6%9C%AC"},

    /* methods */
    {{"GET /a"}, "HEAD /a", "0"},
    {{"GET /a", "HEAD /a"}, "HEAD /a", "1"},
    {{"HEAD /a"}, "GET /a", "other method"},
    {{"POST /a"}, "HEAD /a", "other method"},
    {{"ALL /a"}, "HEAD /a", "0"},
    {{"ALL /a"}, "PURGE /a", "0"},
    {{"ALL /a", "GET /a"}, "GET /a", "0"},
    {{"GET /a", "ALL /a"}, "GET /a", "0"},
    {{"GET /a", "ALL /a"}, "POST /a", "1"},
    {{"GET /a"}, "POST /a", "other method"},
    {{"GET /a"}, "POST /b", "none"},
    {{"GET /a/:x"}, "POST /a/1", "other method"},
    {{"GET /a/*"}, "POST /a", "other method"},
    {{"GET /a", "ALL /*"}, "POST /a", "1 *=a"},
    {{"GET /a", "GET /:x{digits}"}, "POST /b", "none"},
    {{"get /a"}, "GET /a", "other method"},
};

static void test_rows(void)
{
    for (size_t i = 0; i < LEN(rows); i++) {
        struct route_tree *tree = tree_of(rows[i].routes);
        struct route_match match;
        char got[256];
        const char *space = strchr(rows[i].ask, ' ');
        struct str method = {rows[i].ask, (size_t)(space - rows[i].ask)};
        /* a copy of the exact size: reading beyond it shows */
        struct str path = str_of(space + 1);
        char *copy = malloc(path.len + !path.len);
        memcpy(copy, path.at, path.len);
        path.at = copy;
        print_match(route_find(tree, method, path, satisfies, &constraint_count, &match), &match,
                    got);
        if (strcmp(got, rows[i].want) != 0) {
            fprintf(stderr, "row %zu (%s on %s): got \"%s\", want \"%s\"\n", i, rows[i].ask,
                    rows[i].routes[0], got, rows[i].want);
            exit(1);
        }
        free(copy);
        route_tree_free(tree);
    }
}

static void test_allow(void)
{
    static const struct {
        const char *routes[MOST];
        const char *path, *want;
    } allow[] = {
        {{"GET /a", "POST /a"}, "/a", "GET, HEAD, OPTIONS, POST"},
        {{"POST /a", "GET /a", "POST /a"}, "/a", "GET, HEAD, OPTIONS, POST"},
        {{"POST /a", "GET /:x", "PUT /*"}, "/a", "GET, HEAD, OPTIONS, POST, PUT"},
        {{"POST /a", "GET /:x", "PUT /*"}, "/b/c", "OPTIONS, PUT"},
        {{"ALL /a"}, "/a", "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT"},
        {{"PURGE /:n{digits}"}, "/1", "OPTIONS, PURGE"},
        {{"PURGE /:n{digits}"}, "/a", ""},
        {{"GET /a"}, "/b", ""},
        {{"GET /a"}, "b", ""},
    };
    for (size_t i = 0; i < LEN(allow); i++) {
        struct route_tree *tree = tree_of(allow[i].routes);
        char out[128], small[8];
        struct str path = str_of(allow[i].path);
        size_t len = route_allow(tree, path, satisfies, &constraint_count, out, sizeof(out));
        CHECK_STR(out, allow[i].want);
        CHECK(len == strlen(allow[i].want));
        memset(small, 'x', sizeof(small));
        CHECK(route_allow(tree, path, satisfies, &constraint_count, small, 5) == len);
        CHECK(strlen(small) == (len < 4 ? len : 4) && small[5] == 'x');
        CHECK(route_allow(tree, path, satisfies, &constraint_count, NULL, 0) == len);
        route_tree_free(tree);
    }
}

static void test_bad_patterns(void)
{
    static const struct {
        const char *pattern, *message;
    } bad[] = {
        {"", "route \"\": must start with \"/\""},
        {"a", "route \"a\": must start with \"/\""},
        {"/:", "route \"/:\": a parameter without a name"},
        {"/:?", "route \"/:?\": a parameter without a name"},
        {"/:{x}", "route \"/:{x}\": a parameter without a name"},
        {"/:a?/b", "route \"/:a?/b\": only the last parameter can be optional"},
        {"/:a/:a", "route \"/:a/:a\": two parameters of one name"},
        {"/:a{", "route \"/:a{\": unbalanced braces"},
        {"/:a{}", "route \"/:a{}\": expected :name{pattern}"},
        {"/:a{x}b", "route \"/:a{x}b\": expected :name{pattern}"},
        {"/:a:b", "route \"/:a:b\": a parameter's name cannot hold any of : * ? { }"},
        {"/:a{%}", "route \"/:a{%}\": the Lua pattern in braces: ends with \"%\""},
        {"/:a{[ab}", "route \"/:a{[ab}\": the Lua pattern in braces: a \"[\" without its \"]\""},
        {"/a*", "route \"/a*\": a \"*\" must be a whole segment"},
    };
    struct route_tree *tree = route_tree_new();
    for (size_t i = 0; i < LEN(bad); i++) {
        struct err err;
        CHECK(!route_add(tree, STR("GET"), str_of(bad[i].pattern), 0, number, &constraint_count,
                         &err));
        CHECK_STR(err.message, bad[i].message);
        CHECK_STR(err.code, "INVALID_ROUTE");
    }
    char long_pattern[600] = "/";
    struct err err;
    memset(long_pattern + 1, 'a', 256);
    CHECK(!route_add(tree, STR("GET"), str_of(long_pattern), 0, number, NULL, &err));
    memset(long_pattern, '/', 65);
    long_pattern[65] = '\0';
    CHECK(!route_add(tree, STR("GET"), str_of(long_pattern), 0, number, NULL, &err));
    strcpy(long_pattern, "");
    for (int i = 0; i < 33; i++)
        sprintf(long_pattern + strlen(long_pattern), "/:p%d", i);
    CHECK(!route_add(tree, STR("GET"), str_of(long_pattern), 0, number, NULL, &err));
    route_tree_free(tree);
}

/* Limits that must be reachable: 32 parameters, 64 segments, long and deep paths. */
static void test_limits(void)
{
    struct route_tree *tree = route_tree_new();
    struct route_match match;
    struct err err;
    char pattern[600] = "", path[70000] = "";
    for (int i = 0; i < 32; i++) {
        sprintf(pattern + strlen(pattern), "/:p%d", i);
        strcat(path, "/v");
    }
    CHECK(route_add(tree, STR("GET"), str_of(pattern), 1, number, NULL, &err));
    CHECK(route_find(tree, STR("GET"), str_of(path), satisfies, NULL, &match) == ROUTE_FOUND);
    CHECK(match.param_count == 32 && match.params[31].value.at == path + 63);
    strcpy(pattern, "");
    for (int i = 0; i < 63; i++)
        strcat(pattern, "/*");
    strcat(pattern, "/*");
    CHECK(route_add(tree, STR("GET"), str_of(pattern), 2, number, NULL, &err));
    for (size_t i = 0; i < sizeof(path) - 1; i++)
        path[i] = i % 2 ? 'x' : '/';
    CHECK(route_find(tree, STR("GET"), str_of(path), satisfies, NULL, &match) == ROUTE_FOUND);
    CHECK(match.value == 2 && match.param_count == 1);
    memset(path + 1, 'x', sizeof(path) - 2);
    path[5] = '%';
    CHECK(route_find(tree, STR("GET"), str_of(path), satisfies, NULL, &match) == ROUTE_NONE);
    route_tree_free(tree);
}

static void bench(void)
{
    const char *const routes[MOST] = {"GET /api/greeting", "POST /api/echo", "GET /api/users/:id",
                                      "GET /api/users/me", "GET /assets/*"};
    struct route_tree *tree = tree_of(routes);
    struct route_match match;
    enum { N = 200000 };
    static const char *const paths[] = {"/api/greeting", "/api/users/42", "/assets/js/app.js"};
    for (size_t i = 0; i < LEN(paths); i++) {
        uint64_t start = clock_now_ns();
        struct str path = str_of(paths[i]);
        for (int j = 0; j < N; j++)
            CHECK(route_find(tree, STR("GET"), path, satisfies, &constraint_count, &match) ==
                  ROUTE_FOUND);
        printf("%-20s %.0f ns\n", paths[i], (double)(clock_now_ns() - start) / N);
    }
    route_tree_free(tree);
}

int main(void)
{
    test_rows();
    test_allow();
    test_bad_patterns();
    test_limits();
    bench();
    return 0;
}
