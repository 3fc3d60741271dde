#include "bind/session_cookie.h"

#include "http/exchange.h"

#include "check.h"

static const struct {
    const char *title;
    const char *cookies[3]; /* a header each */
    const char *token;      /* NULL: none */
    const char *left;       /* of Cookie; NULL: no header */
} cases[] = {
    {"no cookies", {NULL}, NULL, NULL},
    {"others", {"a=b; c=d"}, NULL, "a=b; c=d"},
    {"others, as they are", {"a=b;c = d ;"}, NULL, "a=b;c = d ;"},
    {"alone", {"buntime_session=x"}, "x", NULL},
    {"first", {"buntime_session=x; a=b"}, "x", "a=b"},
    {"in the middle", {"a=b; buntime_session=x-_Y; c=d"}, "x-_Y", "a=b; c=d"},
    {"last, without spaces", {"a=b;buntime_session=x"}, "x", "a=b"},
    {"spaces", {"a=b ;\t buntime_session = x ; c=d"}, "x", "a=b; c=d"},
    {"several", {"buntime_session=x; buntime_session=y; a=b"}, "x", "a=b"},
    {"several headers", {"a=b", "buntime_session=x; c=d", "buntime_session=y"}, "x", "a=b; c=d"},
    {"empty", {"buntime_session=; a=b"}, "", "a=b"},
    {"an equals sign in it", {"buntime_session=x=y"}, "x=y", NULL},
    {"another name", {"buntime_sessions=x"}, NULL, "buntime_sessions=x"},
    {"another case", {"Buntime_Session=x"}, NULL, "Buntime_Session=x"},
    {"a longer name", {"my_buntime_session=x"}, NULL, "my_buntime_session=x"},
    {"only the name", {"buntime_session"}, NULL, "buntime_session"},
    {"as a value", {"a=buntime_session=x"}, NULL, "a=buntime_session=x"},
    {"nothing", {""}, NULL, ""},
    {"semicolons", {";;buntime_session=x;;"}, "x", NULL},
};

static struct exchange *make(const char *const cookies[static 3])
{
    struct header headers[4] = {{STR("host"), STR("localhost")}};
    struct exchange_init init = {
        .method = STR("GET"), .target = STR("/"), .headers = headers, .header_count = 1};
    struct exchange *x;

    for (size_t i = 0; i < 3 && cookies[i]; i++)
        headers[init.header_count++] = (struct header){STR("cookie"), str_of(cookies[i])};
    x = exchange_new(&init, NULL);
    CHECK(x);
    return x;
}

static bool is(struct str got, const char *want)
{
    return (got.at != NULL) == (want != NULL) && str_equal(got, str_of(want));
}

int main(void)
{
    for (size_t i = 0; i < LEN(cases); i++) {
        struct exchange *x = make(cases[i].cookies);
        bool ok;

        session_cookie_take(x);
        ok = is(exchange_token(x), cases[i].token) &&
             is(exchange_header(x, STR("cookie")), cases[i].left);
        if (!ok)
            fprintf(stderr, "%s: \"%.*s\"\n", cases[i].title,
                    (int)exchange_header(x, STR("cookie")).len,
                    exchange_header(x, STR("cookie")).at);
        CHECK(ok);
        exchange_free(x);
    }
    return 0;
}
