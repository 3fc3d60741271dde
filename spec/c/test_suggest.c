#include "base/random.h"
#include "base/suggest.h"

#include "check.h"

static const char *const keys[] = {
    "name", "version", "base", "dependencies", "optionalDependencies", "jit", NULL};

static const struct {
    const char *word, *want;
} cases[] = {
    {"dependancies", "dependencies"},
    {"dependencie", "dependencies"},
    {"dependneceis", "dependencies"}, /* two swaps */
    {"naem", "name"},
    {"nmae", "name"},
    {"verion", "version"},
    {"bsae", "base"},
    {"Base", "base"},
    {"BASE", NULL},
    {"jti", "jit"},
    {"ji", NULL},
    {"name", NULL},
    {"greeting", NULL},
    {"", NULL},
};

int main(void)
{
    char a[UUID_SIZE], b[UUID_SIZE] = "", bytes[16] = {0};
    struct random_pool pool = {0};

    for (size_t i = 0; i < LEN(cases); i++) {
        const char *got = suggest(cases[i].word, keys);
        const char *want = cases[i].want;
        if (got != want && (!got || !want || strcmp(got, want) != 0)) {
            fprintf(stderr, "\"%s\": %s\n", cases[i].word, got ? got : "-");
            return 1;
        }
    }
    CHECK(
        !suggest("dependenciesdependenciesdependenciesdependenciesdependenciesdependencies", keys));

    for (int i = 0; i < 20000; i++) {
        uuid_v4(&pool, a);
        CHECK(strlen(a) == 36 && a[8] == '-' && a[13] == '-' && a[14] == '4' && a[18] == '-' &&
              a[23] == '-');
        CHECK(strchr("89ab", a[19]) && strspn(a, "0123456789abcdef-") == 36);
        CHECK(strcmp(a, b) != 0);
        memcpy(b, a, sizeof(b));
    }
    uuid_v7(&pool, b);
    for (int i = 0; i < 20000; i++) {
        uuid_v7(&pool, a);
        CHECK(a[14] == '7' && strcmp(b, a) < 0);
        memcpy(b, a, sizeof(b));
    }
    random_take(&pool, bytes, sizeof(bytes));
    CHECK(memcmp(bytes, (char[16]){0}, 16) != 0);
    printf("ok %zu cases\n", LEN(cases));
    return 0;
}
