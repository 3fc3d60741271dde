#include "conf/settings.h"

#include <unistd.h>

#include "base/buf.h"

#include "check.h"

/* `want` is "NAME=<value>" lines, or the error after the file name. */
static const struct {
    const char *text, *want;
} cases[] = {
    {"", ""},
    {"A=1", "A=<1>\n"},
    {"A=1\nB=two words\n", "A=<1>\nB=<two words>\n"},
    {"# comment\n\n  \t\n  A=1 # comment\n", "A=<1>\n"},
    {"A=a#b\nB=#c\nC=a #\n", "A=<a#b>\nB=<>\nC=<a>\n"},
    {"export A=1\nexported=2\nexport  B = 3\n", "A=<1>\nexported=<2>\nB=<3>\n"},
    {"A=  x  \nB=\nC", ":3: expected NAME=value"},
    {"A=  x  \nB=\n", "A=<x>\nB=<>\n"},
    {"A='single \\n #'\nB=\"double \\n\\t\\\"\\\\ #\"  # comment\n",
     "A=<single \\n #>\nB=<double \n\t\"\\ #>\n"},
    {"KEY=\"-----BEGIN\nabc\n-----END\"\nB=1\n", "KEY=<-----BEGIN\nabc\n-----END>\nB=<1>\n"},
    {"A=1\nA=2\n", "A=<2>\n"},
    {"A=1\r\nB=\"2\"\r\n", "A=<1>\nB=<2>\n"},
    {"\xEF\xBB\xBF"
     "A=1\n",
     "A=<1>\n"},
    {"URL=postgres://u:p@h/db?x=1&y=a%20b\n", "URL=<postgres://u:p@h/db?x=1&y=a%20b>\n"},
    {"A=1\n=2\n", ":2: expected NAME=value"},
    {"1A=2\n", ":1: expected NAME=value"},
    {"A-B=2\n", ":1: expected NAME=value"},
    {"just text\n", ":1: expected NAME=value"},
    {"A=1\nB=\"open\nC=3\n", ":2: a quote that does not end"},
    {"A='x' y\n", ":1: text after the closing quote"},
};

static void check_case(const char *path, const char *text, const char *want)
{
    FILE *file = fopen(path, "w");
    struct buf got = {0};
    struct dotenv *env;
    struct err err;

    fputs(text, file);
    fclose(file);
    env = dotenv_read(path, &err);
    if (env) {
        for (size_t i = 0; i < dotenv_count(env); i++)
            buf_printf(&got, "%s=<%s>\n", dotenv_name_at(env, i),
                       dotenv_get(env, dotenv_name_at(env, i)));
        CHECK(!dotenv_get(env, "NOT_THERE"));
    } else {
        CHECK_STR(err.code, "INVALID");
        buf_puts(&got, err.message + strlen(path));
    }
    CHECK_STR(got.data ? got.data : "", want);
    dotenv_free(env);
    buf_fini(&got);
}

int main(void)
{
    char path[] = "/tmp/test_dotenv_XXXXXX";
    struct err err;

    CHECK(close(mkstemp(path)) == 0);
    for (size_t i = 0; i < LEN(cases); i++)
        check_case(path, cases[i].text, cases[i].want);
    unlink(path);
    CHECK(!dotenv_read(path, &err));
    CHECK(strstr(err.message, ": No such file or directory"));
    CHECK(!dotenv_get(NULL, "A"));
    printf("ok %zu cases\n", LEN(cases));
    return 0;
}
