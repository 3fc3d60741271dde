#include "conf/settings.h"

#include <unistd.h>

#include "base/buf.h"
#include "base/log.h"
#include "conf/settings_impl.h"

#include "check.h"

#define SIZE_TEXT "a size: 10kb, 10mb, 1gb or a number of bytes"
#define TIME_TEXT "a duration: 250ms, 30s, 5m, 1h, 7d, 2w, 1y or a number of seconds"

#define WORDS(...)        \
    (char *const[])       \
    {                     \
        __VA_ARGS__, NULL \
    }

static struct settings settings;
static struct problems problems;
static char *rest[16];

static bool load(char *const *words)
{
    settings_fini(&settings);
    problems_fini(&problems);
    memset(rest, 0, sizeof(rest));
    return settings_load(&settings, words, rest, &problems);
}

static bool load_env(const char *name, const char *value)
{
    bool ok;

    setenv(name, value, 1);
    ok = load((char *const[]){NULL});
    unsetenv(name);
    return ok;
}

/* All problems, each on a line. */
static const char *told(void)
{
    static struct buf text;

    buf_reset(&text);
    buf_puts(&text, "");
    for (size_t i = 0; i < problems.len; i++) {
        char *line = problem_text(&problems.items[i]);
        buf_printf(&text, "%s%s\n", problems.items[i].warning ? "warning: " : "", line);
        free(line);
    }
    return text.data;
}

static void test_defaults(void)
{
    CHECK(load((char *const[]){NULL}) && problems.len == 0);
    CHECK(settings.port == 8000 && settings.env == ENV_DEVELOPMENT);
    CHECK_STR(settings.host, "127.0.0.1");
    CHECK(settings.plugin_dirs.len == 1 && settings.worker_dirs.len == 1);
    CHECK_STR(settings.plugin_dirs.items[0], "plugins");
    CHECK(!settings.plugin_dirs.items[1]);
    CHECK_STR(settings.worker_dirs.items[0], "apps");
    CHECK_STR(settings.state_dir, ".buntime");
    CHECK(settings.pool_size == 10 && settings.ephemeral_queue_limit == 100);
    CHECK(settings.ephemeral_concurrency >= 2);
    CHECK_STR(settings.api_prefix, "");
    CHECK(!settings.root_key && !settings.env_file && !settings.tls_cert);
    CHECK(settings.log_level == LOG_DEBUG && settings.log_format == LOG_PRETTY);
    CHECK(settings.body_limit == 10 << 20 && settings.body_limit_max == 100 << 20);
    CHECK(settings.vm_memory == 128 << 20);
    CHECK(settings.client_timeout == 30000 && settings.init_timeout == 30000);
    CHECK(settings.drain_timeout == 30000 && settings.shutdown_timeout == 30000);
    CHECK(settings.watchdog == 10000);
    CHECK(settings.sandbox == SANDBOX_AUTO);
}

static void test_by_env(void)
{
    static const struct {
        const char *name;
        unsigned pool;
    } cases[] = {{"production", 500}, {"staging", 50}, {"test", 5}};

    for (size_t i = 0; i < LEN(cases); i++) {
        CHECK(load_env("RUNTIME_ENV", cases[i].name));
        CHECK_STR(runtime_env_name(settings.env), cases[i].name);
        CHECK(settings.pool_size == cases[i].pool);
        CHECK(settings.log_level == LOG_INFO && settings.log_format == LOG_JSON);
    }
    CHECK(load(
        WORDS("--env=production", "--pool-size=7", "--log-level=warn", "--log-format=pretty")));
    CHECK(settings.pool_size == 7 && settings.log_level == LOG_WARN &&
          settings.log_format == LOG_PRETTY);
}

static void test_flags(void)
{
    CHECK(load(WORDS("--sandbox=require")) && settings.sandbox == SANDBOX_REQUIRE);
    CHECK(load(WORDS("--sandbox", "off")) && settings.sandbox == SANDBOX_OFF);
    setenv("PORT", "9000", 1);
    CHECK(load(WORDS("serve", "--port", "0", "--plugin-dirs=./a//:/b/:.c", "-d", "x",
                     "--watchdog=0", "--", "--y")));
    unsetenv("PORT");
    CHECK(settings.port == 0 && settings.watchdog == 0);
    CHECK(settings.plugin_dirs.len == 3);
    CHECK_STR(settings.plugin_dirs.items[0], "a");
    CHECK_STR(settings.plugin_dirs.items[1], "/b");
    CHECK_STR(settings.plugin_dirs.items[2], ".c");
    CHECK_STR(rest[0], "serve");
    CHECK_STR(rest[1], "-d");
    CHECK_STR(rest[2], "x");
    CHECK_STR(rest[3], "--y");
    CHECK(!rest[4]);

    CHECK(!load(WORDS("--plugin-dir=x", "--nonsense", "--host", "--port=1", "--body-limit")));
    CHECK_STR(told(), "unknown flag --plugin-dir; did you mean --plugin-dirs?\n"
                      "unknown flag --nonsense; --help lists the flags\n"
                      "--host needs a value\n"
                      "--body-limit needs a value\n");
    CHECK(settings.port == 1);
}

static const struct {
    const char *name, *value, *allowed;
} bad[] = {
    {"PORT", "65536", "a number from 0 to 65535"},
    {"PORT", "80a", "a number from 0 to 65535"},
    {"PORT", "-1", "a number from 0 to 65535"},
    {"RUNTIME_ENV", "prod", "development, production, staging, test"},
    {"RUNTIME_PLUGIN_DIRS", ":", "directories with \":\" between them"},
    {"RUNTIME_POOL_SIZE", "0", "a whole number from 1 to 1000000"},
    {"RUNTIME_POOL_SIZE", "1.5", "a whole number from 1 to 1000000"},
    {"RUNTIME_EPHEMERAL_QUEUE_LIMIT", "many", "a whole number from 0 to 1000000"},
    {"RUNTIME_API_PREFIX", "/x", "/_"},
    {"RUNTIME_LOG_LEVEL", "verbose", "debug, info, warn, error"},
    {"RUNTIME_LOG_FORMAT", "xml", "pretty, json"},
    {"RUNTIME_SANDBOX", "on", "auto, require, off"},
    {"RUNTIME_BODY_LIMIT", "10 mb", SIZE_TEXT},
    {"RUNTIME_VM_MEMORY", "10kb", SIZE_TEXT ", at least 1mb"},
    {"RUNTIME_INIT_TIMEOUT", "0", TIME_TEXT ", at least 1ms"},
    {"RUNTIME_DRAIN_TIMEOUT", "soon", TIME_TEXT},
    {"RUNTIME_WATCHDOG", "99999999999y", TIME_TEXT},
};

static void test_bad_values(void)
{
    char want[512];

    for (size_t i = 0; i < LEN(bad); i++) {
        CHECK(!load_env(bad[i].name, bad[i].value));
        snprintf(want, sizeof(want), "%s: \"%s\" is not allowed (allowed: %s)\n", bad[i].name,
                 bad[i].value, bad[i].allowed);
        CHECK_STR(told(), want);
        CHECK_STR(problems.items[0].code, "SETTINGS_INVALID");
    }
}

/* Everything at once, and the flag named when it was the flag. */
static void test_all_at_once(void)
{
    setenv("PORT", "x", 1);
    setenv("RUNTIME_BODY_LIMIT", "200mb", 1);
    setenv("TLS_CERT", "cert.pem", 1);
    setenv("RUNTIME_WORKER_DIRS", "a,b", 1);
    CHECK(!load(WORDS("--watchdog=never")));
    CHECK_STR(
        told(),
        "PORT: \"x\" is not allowed (allowed: a number from 0 to 65535)\n"
        "warning: RUNTIME_WORKER_DIRS: \"a,b\" has a comma in it; the directories of a list are "
        "parted by \":\"\n"
        "--watchdog (RUNTIME_WATCHDOG): \"never\" is not allowed (allowed: " TIME_TEXT ")\n"
        "RUNTIME_BODY_LIMIT: \"200mb\" is above RUNTIME_BODY_LIMIT_MAX (allowed: at most 100mb)\n"
        "TLS_CERT is set, but not TLS_KEY (allowed: both or neither)\n");
    unsetenv("PORT");
    unsetenv("RUNTIME_BODY_LIMIT");
    unsetenv("TLS_CERT");
    unsetenv("RUNTIME_WORKER_DIRS");
}

static void test_body_limit(void)
{
    CHECK(load(WORDS("--body-limit=200mb", "--body-limit-max=1gb")));
    CHECK(settings.body_limit == 200 << 20);
    /* Only the maximum is set: the default gives way instead of stopping the start. */
    CHECK(load(WORDS("--body-limit-max=1mb")));
    CHECK(settings.body_limit == 1 << 20);
}

static void test_empty_is_unset(void)
{
    setenv("PORT", "", 1);
    setenv("RUNTIME_API_PREFIX", "", 1);
    CHECK(load(WORDS("--host=", "--log-level", "")));
    CHECK(settings.port == 8000);
    CHECK_STR(settings.host, "127.0.0.1");
    CHECK_STR(settings.api_prefix, "");
    unsetenv("PORT");
    unsetenv("RUNTIME_API_PREFIX");
    CHECK(load_env("RUNTIME_API_PREFIX", "/_"));
    CHECK_STR(settings.api_prefix, "/_");
}

static void write_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");

    CHECK(file && fputs(text, file) >= 0 && fclose(file) == 0);
}

static void test_root_key(void)
{
    char masked[] = "the key s3cret-root";
    char *in_environment;

    setenv("RUNTIME_ROOT_KEY", "s3cret-root", 1);
    in_environment = getenv("RUNTIME_ROOT_KEY");
    CHECK(load((char *const[]){NULL}));
    CHECK_STR(settings.root_key, "s3cret-root");
    CHECK(!getenv("RUNTIME_ROOT_KEY") && in_environment[0] == '\0'); /* the bytes are gone too */
    log_mask(masked);
    CHECK_STR(masked, "the key ***");

    write_file("key", "from-a-file\r\nsecond line\n");
    CHECK(load(WORDS("--root-key-file=key")));
    CHECK_STR(settings.root_key, "from-a-file");
    CHECK(load(WORDS("--root-key-file=key", "--root-key=direct")));
    CHECK_STR(settings.root_key, "direct");

    write_file("key", "\n");
    CHECK(!load(WORDS("--root-key-file=key")));
    CHECK_STR(told(),
              "RUNTIME_ROOT_KEY_FILE: \"key\" has an empty first line (allowed: the key)\n");
    CHECK(!load(WORDS("--root-key-file=none")));
    CHECK_STR(told(), "RUNTIME_ROOT_KEY_FILE: none: No such file or directory\n");
}

static void test_secrets(void)
{
    char text[] =
        "a postgres://me:p%40ss:word@db:1/x?password=0ther&a=1 b p@ss:word c p%40ss:word 0ther";
    char plain[] = "postgres me db p@ss:word 0ther headers-of-it";
    char forgotten[] = "p@ss:word";

    setenv("DATABASE_URL", "postgres://me:p%40ss:word@db:1/x?password=0ther&a=1", 1);
    CHECK(load(WORDS("--otel-exporter-otlp-headers=headers-of-it")));
    unsetenv("DATABASE_URL");
    CHECK_STR(settings.database_url, "postgres://me:p%40ss:word@db:1/x?password=0ther&a=1");
    log_mask(text);
    CHECK_STR(text, "a *** b *** c *** ***");
    log_mask(plain);
    CHECK_STR(plain, "postgres me db *** *** ***");
    CHECK(load(WORDS("--database-url=postgres://me@db/:x@y")) && settings.database_url);
    log_mask(forgotten);
    CHECK_STR(forgotten, "p@ss:word");
    CHECK(load((char *const[]){NULL}) && !settings.database_url);
}

static void test_env_file(void)
{
    write_file("env", "PORT=7000\nHOST=::1\nRUNTIME_ROOT_KEY=in-the-file\n");
    setenv("HOST", "0.0.0.0", 1);
    CHECK(load(WORDS("--env-file=env")));
    CHECK(settings.port == 7000);        /* from the file */
    CHECK_STR(settings.host, "0.0.0.0"); /* the real environment is over it */
    CHECK_STR(settings.root_key, "in-the-file");
    CHECK_STR(settings.env_file, "env");
    unsetenv("HOST");
    CHECK(!load(WORDS("--env-file=none")));
    CHECK_STR(told(), "RUNTIME_ENV_FILE: none: No such file or directory\n");
    write_file("env", "PORT\n");
    CHECK(!load(WORDS("--env-file=env")));
    CHECK_STR(told(), "RUNTIME_ENV_FILE: env:1: expected NAME=value\n");
}

static void test_redis_url(void)
{
    CHECK(load((char *const[]){NULL}) && !settings.redis_url);
    CHECK(load_env("REDIS_URL", "redis://:word@db:1/2"));
    CHECK_STR(settings.redis_url, "redis://:word@db:1/2");
}

static void test_help_and_builtin(void)
{
    struct buf help = {0};

    settings_help(&help);
    CHECK(strstr(help.data, "--plugin-dirs "));
    CHECK(strstr(help.data, "(RUNTIME_WATCHDOG, default: 10s)\n"));
    CHECK(!strstr(help.data, "(null)"));
    buf_fini(&help);

    CHECK(plugin_dir_is_builtin(".plugins") && plugin_dir_is_builtin("/data/.plugins/"));
    CHECK(!plugin_dir_is_builtin("plugins") && !plugin_dir_is_builtin("/data/.x/plugins"));
    CHECK(!plugin_dir_is_builtin(".") && !plugin_dir_is_builtin("..") &&
          !plugin_dir_is_builtin("/"));
    CHECK(plugin_dir_is_builtin("...") && !plugin_dir_is_builtin("a/.."));
}

int main(void)
{
    char dir[] = "/tmp/test_settings_XXXXXX", command[64];
    char flag[FLAG_SIZE];

    CHECK(mkdtemp(dir) && chdir(dir) == 0);
    for (size_t i = 0; i < SETTING_COUNT_ALL; i++) {
        CHECK(settings_table[i].name);
        unsetenv(settings_table[i].name);
    }
    setting_flag(&settings_table[0], flag);
    CHECK_STR(flag, "port");

    test_defaults();
    test_by_env();
    test_flags();
    test_bad_values();
    test_all_at_once();
    test_body_limit();
    test_empty_is_unset();
    test_root_key();
    test_secrets();
    test_env_file();
    test_redis_url();
    test_help_and_builtin();
    settings_fini(&settings);
    problems_fini(&problems);
    snprintf(command, sizeof(command), "rm -r %s", dir);
    CHECK(system(command) == 0);
    printf("ok %zu cases\n", LEN(bad));
    return 0;
}
