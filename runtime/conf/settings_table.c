#include "conf/settings_impl.h"

#include <stddef.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/duration.h"
#include "base/mem.h"
#include "base/path.h"

enum { MB = 1024 * 1024, MANY = 1000000 };

#define FIELD(name) offsetof(struct settings, name)

/* clang-format off */
const struct setting settings_table[SETTING_COUNT_ALL] = {
    {"PORT", SETTING_PORT, FIELD(port), 0, 0, "8000", NULL,
     "port to listen on; 0 picks a free one"},
    {"HOST", SETTING_TEXT, FIELD(host), 0, 0, "127.0.0.1", NULL,
     "address to listen on"},
    {"RUNTIME_ENV", SETTING_ENV, FIELD(env), 0, 0, "development", NULL,
     "development, production, staging or test"},
    {"RUNTIME_PLUGIN_DIRS", SETTING_LIST, FIELD(plugin_dirs), 0, 0, "plugins", "./plugins",
     "plugin directories, \":\" between them, built-in ones first"},
    {"RUNTIME_WORKER_DIRS", SETTING_LIST, FIELD(worker_dirs), 0, 0, "apps", "./apps",
     "directories of worker apps, \":\" between them"},
    {"RUNTIME_STATE_DIR", SETTING_TEXT, FIELD(state_dir), 0, 0, ".buntime", "./.buntime",
     "keys, kept plugin versions, plugin data"},
    {"RUNTIME_POOL_SIZE", SETTING_COUNT, FIELD(pool_size), 1, MANY, NULL, "10, 500, 50 or 5 by env",
     "most worker VMs alive"},
    {"RUNTIME_EPHEMERAL_CONCURRENCY", SETTING_COUNT, FIELD(ephemeral_concurrency), 1, MANY, NULL,
     "cores x 2", "requests with ttl 0 served at once"},
    {"RUNTIME_EPHEMERAL_QUEUE_LIMIT", SETTING_COUNT, FIELD(ephemeral_queue_limit), 0, MANY, "100",
     NULL, "requests with ttl 0 that may wait; more get 503"},
    {"RUNTIME_SANDBOX", SETTING_SANDBOX, FIELD(sandbox), 0, 0, "auto", NULL,
     "how worker apps are held back by the kernel: auto, require or off"},
    {"RUNTIME_API_PREFIX", SETTING_PREFIX, FIELD(api_prefix), 0, 0, NULL, "none",
     "/_ moves the control plane to /_/api"},
    {"RUNTIME_ROOT_KEY", SETTING_SECRET, FIELD(root_key), 0, 0, NULL, "unset",
     "key of the principal root"},
    {"RUNTIME_ROOT_KEY_FILE", SETTING_TEXT, FIELD(root_key_file), 0, 0, NULL, "unset",
     "file whose first line is the root key"},
    {"RUNTIME_ENV_FILE", SETTING_TEXT, FIELD(env_file), 0, 0, NULL, "unset",
     "dotenv file under the real environment, read at start and at each reload"},
    {"RUNTIME_LOG_LEVEL", SETTING_LEVEL, FIELD(log_level), 0, 0, NULL, "by env",
     "debug, info, warn or error"},
    {"RUNTIME_LOG_FORMAT", SETTING_FORMAT, FIELD(log_format), 0, 0, NULL, "by env",
     "pretty or json"},
    {"RUNTIME_BODY_LIMIT", SETTING_SIZE, FIELD(body_limit), 0, 0, NULL, "10mb",
     "largest request body"},
    {"RUNTIME_BODY_LIMIT_MAX", SETTING_SIZE, FIELD(body_limit_max), 0, 0, "100mb", NULL,
     "most that a manifest may raise the body limit to"},
    {"RUNTIME_CLIENT_TIMEOUT", SETTING_DURATION, FIELD(client_timeout), 1, 0, "30s", NULL,
     "longest a client may take to send its headers or body"},
    {"RUNTIME_VM_MEMORY", SETTING_SIZE, FIELD(vm_memory), MB, 0, "128mb", NULL,
     "memory budget of one VM"},
    {"RUNTIME_INIT_TIMEOUT", SETTING_DURATION, FIELD(init_timeout), 1, 0, "30s", NULL,
     "longest one onInit"},
    {"RUNTIME_DRAIN_TIMEOUT", SETTING_DURATION, FIELD(drain_timeout), 0, 0, "30s", NULL,
     "longest an old generation drains after a reload"},
    {"RUNTIME_SHUTDOWN_TIMEOUT", SETTING_DURATION, FIELD(shutdown_timeout), 0, 0, "30s", NULL,
     "longest the whole shutdown"},
    {"RUNTIME_WATCHDOG", SETTING_DURATION, FIELD(watchdog), 0, 0, "10s", NULL,
     "longest one function may compute without waiting; 0 turns it off"},
    {"RUNTIME_LAG_WARN", SETTING_DURATION, FIELD(lag_warn), 0, 0, "100ms", NULL,
     "what holds the loop longer is logged; 0 turns it off"},
    {"TLS_CERT", SETTING_TEXT, FIELD(tls_cert), 0, 0, NULL, "unset", "PEM file: HTTPS"},
    {"TLS_KEY", SETTING_TEXT, FIELD(tls_key), 0, 0, NULL, "unset", "PEM file: HTTPS"},
    {"DATABASE_URL", SETTING_SECRET, FIELD(database_url), 0, 0, NULL, "unset",
     "PostgreSQL that keeps keys and sessions for all replicas, as postgres://user@host/name"},
    {"REDIS_URL", SETTING_SECRET, FIELD(redis_url), 0, 0, NULL, "unset",
     "Redis that replicas share, as redis://user:password@host:6379/0"},
    {"OTEL_EXPORTER_OTLP_ENDPOINT", SETTING_TEXT, FIELD(otel_endpoint), 0, 0, NULL, "unset",
     "collector that gets a span of each request, as http://localhost:4318"},
    {"OTEL_EXPORTER_OTLP_HEADERS", SETTING_SECRET, FIELD(otel_headers), 0, 0, NULL, "unset",
     "headers for the collector: name=value, commas between"},
    {"OTEL_SERVICE_NAME", SETTING_TEXT, FIELD(otel_service_name), 0, 0, "buntime", NULL,
     "what the spans call this server"},
};
/* clang-format on */

static const char *const env_names[] = {"development", "production", "staging", "test", NULL};
static const char *const level_names[] = {"debug", "info", "warn", "error", NULL};
static const char *const sandbox_names[] = {"auto", "require", "off", NULL};
static const char *const format_names[] = {"pretty", "json", NULL};

const char *runtime_env_name(enum runtime_env env)
{
    return env_names[env];
}

void setting_flag(const struct setting *setting, char out[static FLAG_SIZE])
{
    static const char prefix[] = "RUNTIME_";
    const char *name = setting->name;

    if (strncmp(name, prefix, sizeof(prefix) - 1) == 0)
        name += sizeof(prefix) - 1;
    for (; *name; name++)
        *out++ = *name == '_' ? '-' : (char)(*name | 0x20);
    *out = '\0';
}

static bool parse_choice(const char *const *names, struct str text, unsigned *out)
{
    for (unsigned i = 0; names[i]; i++) {
        if (str_equal(str_of(names[i]), text)) {
            *out = i;
            return true;
        }
    }
    return false;
}

static bool parse_digits(struct str text, uint64_t max, uint64_t *out)
{
    uint64_t number = 0;

    for (size_t i = 0; i < text.len; i++) {
        if (text.at[i] < '0' || text.at[i] > '9')
            return false;
        number = number * 10 + (uint64_t)(text.at[i] - '0');
        if (number > max)
            return false;
    }
    *out = number;
    return text.len > 0;
}

static void set_text(char **field, struct str text)
{
    free(*field);
    *field = mem_copy_n(text.at, text.len);
}

/* One directory of a list, as messages and answers show it: no "./" in front, no "/" behind. */
static char *tidy_dir(struct str text)
{
    char *copy, *tidy;

    while (text.len > 1 && text.at[text.len - 1] == '/')
        text.len--;
    copy = mem_copy_n(text.at, text.len);
    tidy = mem_copy(path_tidy(copy));
    free(copy);
    return tidy;
}

static bool parse_list(struct str text, struct string_list *list)
{
    for (size_t i = 0; i < text.len;) {
        const char *colon = memchr(text.at + i, ':', text.len - i);
        const size_t len = colon ? (size_t)(colon - text.at) - i : text.len - i;

        if (len) {
            list->items = mem_resize(list->items, (list->len + 2) * sizeof(char *));
            list->items[list->len++] = tidy_dir((struct str){text.at + i, len});
            list->items[list->len] = NULL;
        }
        i += len + 1;
    }
    return list->len > 0;
}

static bool is_within(const struct setting *setting, uint64_t number)
{
    return number >= setting->min && (setting->max == 0 || number <= setting->max);
}

static bool parse_number(const struct setting *setting, struct str text, void *field)
{
    uint64_t number;
    size_t size;

    switch (setting->kind) {
    case SETTING_PORT:
        if (!parse_digits(text, UINT16_MAX, &number))
            return false;
        *(uint16_t *)field = (uint16_t)number;
        return true;
    case SETTING_COUNT:
        if (!parse_digits(text, setting->max, &number) || !is_within(setting, number))
            return false;
        *(unsigned *)field = (unsigned)number;
        return true;
    case SETTING_SIZE:
        if (!size_parse(text, &size) || !is_within(setting, size))
            return false;
        *(size_t *)field = size;
        return true;
    default:
        if (!duration_parse(text, &number) || !is_within(setting, number))
            return false;
        *(uint64_t *)field = number;
        return true;
    }
}

static bool parse_word(const struct setting *setting, struct str text, void *field)
{
    unsigned choice = 0;

    switch (setting->kind) {
    case SETTING_ENV:
        if (!parse_choice(env_names, text, &choice))
            return false;
        *(enum runtime_env *)field = (enum runtime_env)choice;
        return true;
    case SETTING_LEVEL:
        if (!parse_choice(level_names, text, &choice))
            return false;
        *(enum log_level *)field = (enum log_level)choice;
        return true;
    case SETTING_FORMAT:
        if (!parse_choice(format_names, text, &choice))
            return false;
        *(enum log_format *)field = (enum log_format)choice;
        return true;
    case SETTING_SANDBOX:
        if (!parse_choice(sandbox_names, text, &choice))
            return false;
        *(enum sandbox_mode *)field = (enum sandbox_mode)choice;
        return true;
    default:
        if (setting->kind == SETTING_PREFIX && !str_equal(text, STR("/_")))
            return false;
        set_text(field, text);
        return true;
    }
}

bool setting_parse(const struct setting *setting, struct str text, struct settings *out)
{
    void *field = (char *)out + setting->offset;

    switch (setting->kind) {
    case SETTING_LIST:
        return parse_list(text, field);
    case SETTING_PORT:
    case SETTING_COUNT:
    case SETTING_SIZE:
    case SETTING_DURATION:
        return parse_number(setting, text, field);
    default:
        return parse_word(setting, text, field);
    }
}

void setting_allowed(const struct setting *setting, struct buf *out)
{
    static const char *const texts[] = {
        [SETTING_TEXT] = "any text",
        [SETTING_SECRET] = "any text",
        [SETTING_LIST] = "directories with \":\" between them",
        [SETTING_PORT] = "a number from 0 to 65535",
        [SETTING_COUNT] = "a whole number",
        [SETTING_SIZE] = SIZE_ALLOWED,
        [SETTING_DURATION] = DURATION_ALLOWED,
        [SETTING_ENV] = "development, production, staging, test",
        [SETTING_LEVEL] = "debug, info, warn, error",
        [SETTING_FORMAT] = "pretty, json",
        [SETTING_PREFIX] = "/_",
        [SETTING_SANDBOX] = "auto, require, off",
    };

    buf_puts(out, texts[setting->kind]);
    if (setting->kind == SETTING_COUNT)
        buf_printf(out, " from %llu to %llu", (unsigned long long)setting->min,
                   (unsigned long long)setting->max);
    else if (setting->kind == SETTING_SIZE && setting->min)
        buf_printf(out, ", at least %llumb", (unsigned long long)setting->min / MB);
    else if (setting->kind == SETTING_DURATION && setting->min)
        buf_printf(out, ", at least %llums", (unsigned long long)setting->min);
}
