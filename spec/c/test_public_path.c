#include "app/public_path.h"

#include "check.h"

static const struct {
    const char *pattern, *path;
    bool want;
} cases[] = {
    {"/a/open", "/a/open", true},
    {"/a/open", "/a/closed", false},
    {"/a/*", "/a/x", true},
    /* the router takes it for the same, other code may not */
    {"/a/open", "/a/%6Fpen", false},
    {"/a/*", "/a/%6fpen", true},
    {"/a/o p*", "/a/o%20pen", true},
    {"/a/o p*", "/a/o%20%70en", false},
    {"/a/o pen", "/a/o%20%70en", false},
    {"/a/caf\xC3\xA9", "/a/caf%C3%A9", true},
    {"/a/caf%C3%A9", "/a/caf%C3%A9", true},
    {"/a/caf%C3%A9", "/a/cafe", false},
    {"/a/*", "/a/%20", true},
    /* case counts, escaped or not */
    {"/a/open", "/a/%4Fpen", false},
    /* a slash that is escaped is one segment's to the router, and parts two to others */
    {"/a/*", "/a/x%2Fsecret", false},
    {"/a/*", "/a/x%2fsecret", false},
    {"/a/*", "/a/x%5Csecret", false},
    {"/a/*", "/a/x\\secret", false},
    {"/a/x/*", "/a/x%2Fy", false},
    {"/a/**", "/a/x%2Fy", true},
    {"/a/**", "/a/x%5Cy", true},
    {"/a/x-*", "/a/x-%2Fsecret", false},
    {"/a/**/health", "/a/secret%2Fhealth", false},
    {"/a/**/health", "/a/secret/health", true},
    {"/*/health", "/a%2Fb/health", false},
    {"/a/*/health", "/a%2Fb/health", false},
    /* what could be unescaped again */
    {"/a/*", "/a/%252E%252E", false},
    {"/a/**", "/a/x%252Fy", false},
    {"/a/*", "/a/100%25", true},
    {"/a/*", "/a/100%25x", true},
    /* what would end the path */
    {"/a/**/health", "/a/secret%3F/health", false},
    {"/a/**/health", "/a/secret%23/health", false},
    /* stars of the path are no stars, those of an escaped pattern widen nothing */
    {"/a/open", "/a/*", false},
    {"/a/%2A", "/a/x", false},
    {"/a/%2A", "/a/%2A", true},
    {"/a/%2A%2A", "/a/x/y", false},
    {"/a/%2F", "/a/x", false},
};

int main(void)
{
    for (size_t i = 0; i < LEN(cases); i++) {
        if (public_path_matches(str_of(cases[i].pattern), str_of(cases[i].path)) != cases[i].want) {
            fprintf(stderr, "\"%s\" on \"%s\"\n", cases[i].pattern, cases[i].path);
            return 1;
        }
    }
    printf("ok %zu cases\n", LEN(cases));
    return 0;
}
