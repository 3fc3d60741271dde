#include "base/semver.h"

#include "check.h"

/* In order of precedence, from the specification and a few of our own. */
static const char *const ordered[] = {
    "0.0.0-0",
    "0.0.0",
    "0.0.1",
    "0.1.0",
    "1.0.0-1",
    "1.0.0-2",
    "1.0.0-10",
    "1.0.0-A",
    "1.0.0-a",
    "1.0.0-alpha",
    "1.0.0-alpha.1",
    "1.0.0-alpha.beta",
    "1.0.0-beta",
    "1.0.0-beta.2",
    "1.0.0-beta.11",
    "1.0.0-rc.1",
    "1.0.0",
    "1.0.1",
    "1.2.0",
    "1.10.0",
    "2.0.0",
    "10.0.0",
    "9007199254740991.0.0",
};

static const char *const bad[] = {
    "",
    "1",
    "1.2",
    "1.2.3.4",
    "v1.2.3",
    "=1.2.3",
    " 1.2.3",
    "1.2.3 ",
    "01.2.3",
    "1.02.3",
    "1.2.03",
    "1.2.3-",
    "1.2.3-01",
    "1.2.3-a..b",
    "1.2.3-a.",
    "1.2.3+",
    "1.2.3+a..b",
    "1.2.3-\xC3\xA9",
    "1.2.3-a_b",
    "-1.2.3",
    "1.-2.3",
    "a.b.c",
    "1.2.x",
    "9007199254740992.0.0",
    "99999999999999999999999.0.0",
    "1.2.3+a+b",
};

static const char *const good[] = {"1.2.3-0a", "1.2.3-0",           "1.2.3+001",
                                   "1.2.3--",  "1.2.3-a-b.c+d-e.f", "1.2.3+0.build.1-rc"};

static const struct {
    const char *range, *yes, *no;
} ranges[] = {
    {"1.2.3", "1.2.3", "1.2.4 1.2.3-a 0.1.2"},
    {"=1.2.3", "1.2.3 1.2.3+build", "1.2.4"},
    {"v1.2.3", "1.2.3", "1.2.4"},
    {"*", "0.0.0 1.2.3", "1.0.0-a"},
    {"", "0.0.0 9.9.9", "1.0.0-a"},
    {"1", "1.0.0 1.9.9", "0.9.9 2.0.0 2.0.0-a 1.2.3-a"},
    {"1.x", "1.0.0 1.9.9", "2.0.0"},
    {"1.X.*", "1.0.0 1.9.9", "2.0.0"},
    {"1.2", "1.2.0 1.2.9", "1.3.0 1.1.9"},
    {"1.2.x", "1.2.0 1.2.9", "1.3.0"},
    {"^1.2.3", "1.2.3 1.9.0", "1.2.2 2.0.0 2.0.0-a 1.3.0-a"},
    {"^0.2.3", "0.2.3 0.2.9", "0.3.0 0.2.2"},
    {"^0.0.3", "0.0.3", "0.0.4 0.0.2"},
    {"^1", "1.0.0 1.9.9", "2.0.0"},
    {"^0", "0.0.0 0.9.9", "1.0.0"},
    {"^0.0", "0.0.0 0.0.9", "0.1.0"},
    {"^0.1", "0.1.0 0.1.9", "0.2.0"},
    {"^1.2.x", "1.2.0 1.9.9", "2.0.0 1.1.9"},
    {"^1.2.3-beta.2", "1.2.3-beta.2 1.2.3-beta.4 1.2.3 1.9.0", "1.2.3-beta.1 1.2.4-beta.2 2.0.0"},
    {"~1.2.3", "1.2.3 1.2.9", "1.3.0 1.2.2"},
    {"~1.2", "1.2.0 1.2.9", "1.3.0"},
    {"~1", "1.0.0 1.9.9", "2.0.0"},
    {"~> 1.2.3", "1.2.9", "1.3.0"},
    {">1.2.3", "1.2.4 2.0.0", "1.2.3"},
    {">1.2", "1.3.0", "1.2.9 1.3.0-a"},
    {">=1.2", "1.2.0 3.0.0", "1.1.9"},
    {"<1.2", "1.1.9", "1.2.0 1.2.0-a"},
    {"<=1.2", "1.2.9 0.0.1", "1.3.0"},
    {"<=1.2.3", "1.2.3", "1.2.4"},
    {">= 1.2.0 < 2.0.0", "1.2.0 1.9.9", "1.1.9 2.0.0"},
    {">=1.2.0 <1.5.0 || ^3.0.0", "1.3.0 3.4.5", "1.6.0 2.0.0 4.0.0"},
    {"1||2", "1.1.1 2.2.2", "3.0.0"},
    {"1.2.3 - 2.3.4", "1.2.3 2.3.4", "1.2.2 2.3.5"},
    {"1.2 - 2.3", "1.2.0 2.3.9", "1.1.9 2.4.0"},
    {"1.2.3 - 2", "2.9.9", "3.0.0"},
    {">1.2.3-alpha.3", "1.2.3-alpha.7 1.2.3 3.4.5", "1.2.3-alpha.2 3.4.5-alpha.9"},
    {"<*", "", "0.0.0 1.0.0"},
    {"^1.2.3 ^1.4", "1.4.0", "1.3.0 2.0.0"},
};

static const char *const bad_ranges[] = {
    "a",      "1.2.3.4", "^",      ">",     "1 | 2", "|| x1", "1.2.3 -",   "- 1",  "^^1",
    "1.2.3-", "01",      "latest", "1.x.2", "1..2",  "1.",    "1 - x - 2", "1 - a"};

static struct semver parse(const char *text)
{
    struct semver version;

    CHECK(semver_parse(str_of(text), &version));
    return version;
}

static void
check_words(const struct semver_range *range, const char *text, const char *words, bool want)
{
    char copy[256], *at = NULL;

    snprintf(copy, sizeof(copy), "%s", words);
    for (char *word = strtok_r(copy, " ", &at); word; word = strtok_r(NULL, " ", &at)) {
        const struct semver version = parse(word);
        if (semver_range_test(range, &version) != want) {
            fprintf(stderr, "\"%s\" on %s\n", text, word);
            exit(1);
        }
    }
}

int main(void)
{
    struct semver a, b;

    for (size_t i = 0; i < LEN(ordered); i++) {
        for (size_t j = 0; j < LEN(ordered); j++) {
            const int want = i < j ? -1 : i > j;
            a = parse(ordered[i]);
            b = parse(ordered[j]);
            if (semver_compare(&a, &b) != want) {
                fprintf(stderr, "%s against %s\n", ordered[i], ordered[j]);
                return 1;
            }
        }
    }
    for (size_t i = 0; i < LEN(good); i++)
        parse(good[i]);
    for (size_t i = 0; i < LEN(bad); i++) {
        if (semver_parse(str_of(bad[i]), &a)) {
            fprintf(stderr, "\"%s\" passed\n", bad[i]);
            return 1;
        }
    }
    a = parse("1.0.0+x");
    b = parse("1.0.0+y");
    CHECK(semver_compare(&a, &b) == 0);
    a = parse("1.2.3-a.b+c.d");
    CHECK(str_equal(a.prerelease, STR("a.b")) && str_equal(a.build, STR("c.d")));

    for (size_t i = 0; i < LEN(ranges); i++) {
        struct semver_range *range = semver_range_parse(str_of(ranges[i].range));
        if (!range)
            fprintf(stderr, "\"%s\"\n", ranges[i].range);
        CHECK(range);
        check_words(range, ranges[i].range, ranges[i].yes, true);
        check_words(range, ranges[i].range, ranges[i].no, false);
        semver_range_free(range);
    }
    for (size_t i = 0; i < LEN(bad_ranges); i++) {
        struct semver_range *range = semver_range_parse(str_of(bad_ranges[i]));
        if (range)
            fprintf(stderr, "\"%s\" passed\n", bad_ranges[i]);
        CHECK(!range);
    }
    printf("ok %zu cases\n", LEN(ordered) + LEN(bad) + LEN(ranges) + LEN(bad_ranges));
    return 0;
}
