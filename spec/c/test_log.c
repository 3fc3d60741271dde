#include "base/log.h"

#include <fcntl.h>
#include <unistd.h>

#include "check.h"

/* Standard error goes to a file while a case runs, so that its bytes can be compared. */
static int saved, captured;

static void capture(enum log_level level, enum log_format format)
{
    char name[] = "/tmp/test_log_XXXXXX";

    captured = mkstemp(name);
    CHECK(captured >= 0);
    unlink(name);
    saved = dup(STDERR_FILENO);
    dup2(captured, STDERR_FILENO);
    log_setup(level, format);
}

/* What was written since capture(); valid until the next call. */
static const char *release(void)
{
    static char text[65536];
    ssize_t n;

    dup2(saved, STDERR_FILENO);
    close(saved);
    n = pread(captured, text, sizeof(text) - 1, 0);
    CHECK(n >= 0);
    text[n] = '\0';
    close(captured);
    return text;
}

/* The line without its time, whose shape is checked. */
static const char *after_time(const char *line, const char *shape, size_t skip)
{
    for (; *shape; shape++, line++)
        CHECK(*shape == '0' ? *line >= '0' && *line <= '9' : *line == *shape);
    return line + skip;
}

#define JSON_TIME "{\"time\":\"0000-00-00T00:00:00.000Z\""
#define PRETTY_TIME "00:00:00.000"

static const struct {
    const char *title;
    struct log_line line;
    const char *json, *pretty;
} cases[] = {
    {"bare",
     {.level = LOG_INFO, .message = "hi"},
     ",\"level\":\"info\",\"msg\":\"hi\"}\n",
     " INFO  hi\n"},
    {"everything",
     {LOG_WARN, "slow", "p", "r-1",
      "{\"ms\":12,\"why\":\"a b\",\"who\":\"me\",\"l\":[1,{\"x\":2}]}", "t1\nt2", "00-abc-def-01"},
     ",\"level\":\"warn\",\"msg\":\"slow\",\"plugin\":\"p\",\"requestId\":\"r-1\","
     "\"traceId\":\"abc\",\"ms\":12,"
     "\"why\":\"a b\",\"who\":\"me\",\"l\":[1,{\"x\":2}],\"traceback\":\"t1\\nt2\"}\n",
     " WARN  [p] slow ms=12 why=\"a b\" who=me l=[1,{\"x\":2}] requestId=r-1\n    t1\n    t2\n"},
    {"a field that poses as ours",
     {.level = LOG_INFO, .message = "m", .fields = "{ \"level\" : \"error\" , \"a\":\"}\\\",\" }"},
     ",\"level\":\"info\",\"msg\":\"m\",\"_level\":\"error\",\"a\":\"}\\\",\"}\n",
     " INFO  m level=error a=\"}\\\",\"\n"},
    {"no fields",
     {.level = LOG_INFO, .message = "m", .fields = "{}"},
     ",\"level\":\"info\",\"msg\":\"m\"}\n",
     " INFO  m\n"},
    {"fields that are none",
     {.level = LOG_INFO, .message = "m", .fields = "[1]"},
     ",\"level\":\"info\",\"msg\":\"m\",\"fields\":\"[1]\"}\n",
     " INFO  m [1]\n"},
    {"a forged line",
     {.level = LOG_ERROR, .message = "a\n12:00:00.000 INFO  b\x1b[2J"},
     ",\"level\":\"error\",\"msg\":\"a\\n12:00:00.000 INFO  b\\u001b[2J\"}\n",
     " ERROR a\n    12:00:00.000 INFO  b\\x1b[2J\n"},
};

static void test_lines(void)
{
    for (size_t i = 0; i < LEN(cases); i++) {
        capture(LOG_DEBUG, LOG_JSON);
        log_write(&cases[i].line);
        CHECK_STR(after_time(release(), JSON_TIME, 0), cases[i].json);
        capture(LOG_DEBUG, LOG_PRETTY);
        log_write(&cases[i].line);
        CHECK_STR(after_time(release(), PRETTY_TIME, 0), cases[i].pretty);
    }
}

static void test_levels(void)
{
    capture(LOG_WARN, LOG_PRETTY);
    log_printf(LOG_INFO, "no");
    log_printf(LOG_WARN, "%s", "yes");
    CHECK(!log_enabled(LOG_INFO) && log_enabled(LOG_ERROR));
    CHECK_STR(after_time(release(), PRETTY_TIME, 0), " WARN  yes\n");
}

static void test_err(void)
{
    struct err err;

    err_at(&err, "p/plugin.lua", 4, "boom");
    strcpy(err.traceback, "stack");
    capture(LOG_INFO, LOG_JSON);
    log_err("p", NULL, &err);
    CHECK_STR(after_time(release(), JSON_TIME, 0),
              ",\"level\":\"error\",\"msg\":\"p/plugin.lua:4: boom\",\"plugin\":\"p\",\"code\":"
              "\"INVALID\",\"file\":\"p/plugin.lua\",\"line\":4,\"traceback\":\"stack\"}\n");
}

static void check_masked(const struct log_line *line, const char *want)
{
    capture(LOG_INFO, LOG_JSON);
    log_write(line);
    CHECK_STR(after_time(release(), JSON_TIME, 0), want);
}

static void test_secrets(void)
{
    const struct log_line line = {.level = LOG_INFO,
                                  .message = "key s3cret, s3cret-longer",
                                  .fields = "{\"k\":\"as3cret\",\"n\":{\"p\":12345678}}"};

    log_secret_add("s3cret");
    log_secret_add("s3cret"); /* counted */
    log_secret_add("s3cret-longer");
    log_secret_add("345678");
    log_secret_add("key"); /* too short to hide */
    check_masked(
        &line,
        ",\"level\":\"info\",\"msg\":\"key ***, ***\",\"k\":\"a***\",\"n\":{\"p\":\"***\"}}\n");
    log_secret_forget("345678");
    log_secret_forget("s3cret-longer");
    log_secret_forget("s3cret");
    check_masked(&line, ",\"level\":\"info\",\"msg\":\"key ***, "
                        "***-longer\",\"k\":\"a***\",\"n\":{\"p\":12345678}}\n");
    log_secret_forget("s3cret");
    log_secret_forget("s3cret"); /* not there anymore */
    check_masked(&line, ",\"level\":\"info\",\"msg\":\"key s3cret, "
                        "s3cret-longer\",\"k\":\"as3cret\",\"n\":{\"p\":12345678}}\n");
}

/* A secret with bytes that JSON escapes is hidden in both forms, and JSON stays JSON. */
static void test_escaped_secret(void)
{
    char text[] = "x=a\"b\\c\n, y=a\\\"b\\\\c\\n; a\"b";
    const struct log_line line = {
        .level = LOG_INFO, .message = "m a\"b\\c\n", .fields = "{\"p\":\"a\\\"b\\\\c\\n\"}"};
    const struct log_line info = {
        .level = LOG_INFO, .message = "m", .fields = "{\"level\":true,\"m\":null}"};

    log_secret_add("a\"b\\c\n");
    log_mask(text);
    CHECK_STR(text, "x=***, y=***; a\"b");
    check_masked(&line, ",\"level\":\"info\",\"msg\":\"m ***\",\"p\":\"***\"}\n");
    log_secret_forget("a\"b\\c\n");

    log_secret_add("level");
    log_secret_add("info");
    check_masked(&info, ",\"level\":\"info\",\"msg\":\"m\",\"***\":true,\"m\":null}\n");
    log_secret_forget("level");
    log_secret_forget("info");
}

int main(void)
{
    test_lines();
    test_levels();
    test_err();
    test_secrets();
    test_escaped_secret();
    printf("ok %zu cases\n", LEN(cases));
    return 0;
}
