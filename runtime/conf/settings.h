/* The server's own settings: environment variables and flags → one struct, by one table.
 *
 * Flags win over the environment; an empty value counts as unset; every value that does not
 * parse is told at once, with the variable, the value and what is allowed. Secret values are
 * never repeated in messages.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/log.h"
#include "conf/problems.h"

/* What is asked of the kernel for worker apps: what there is, all of it, or nothing. */
enum sandbox_mode { SANDBOX_AUTO, SANDBOX_REQUIRE, SANDBOX_OFF };

enum runtime_env { ENV_DEVELOPMENT, ENV_PRODUCTION, ENV_STAGING, ENV_TEST };

struct string_list {
    char **items; /* NULL-terminated */
    size_t len;
};

/* Durations are milliseconds, sizes bytes. */
struct settings {
    uint16_t port;
    char *host;
    enum runtime_env env;
    struct string_list plugin_dirs, worker_dirs;
    char *state_dir;
    unsigned pool_size, ephemeral_concurrency, ephemeral_queue_limit;
    enum sandbox_mode sandbox;
    char *api_prefix; /* "" or "/_" */
    char *root_key;   /* NULL when unset; RUNTIME_ROOT_KEY or the first line of ..._FILE */
    char *root_key_file, *env_file; /* or NULL */
    enum log_level log_level;
    enum log_format log_format;
    size_t body_limit, body_limit_max;
    uint64_t client_timeout;
    size_t vm_memory;
    uint64_t init_timeout, drain_timeout, shutdown_timeout;
    uint64_t watchdog; /* 0 = off */
    uint64_t lag_warn; /* likewise */
    char *tls_cert, *tls_key;
    char *database_url, *redis_url;                         /* or NULL */
    char *otel_endpoint, *otel_headers, *otel_service_name; /* the first two may be NULL */
};

/* Reads flags, then the environment, then RUNTIME_ENV_FILE, then defaults. The root key is wiped
 * from the process environment, so a second call does not find it again.
 *
 * `flags` is NULL-terminated "--name=value" / "--name", "value" words; known flags are taken,
 * the words left over are written to `rest` (caller's array as long as flags). Unknown flags are
 * problems with a suggestion. Returns false when there are errors; `settings` must be freed
 * either way.
 */
bool settings_load(struct settings *settings,
                   char *const *flags,
                   char **rest,
                   struct problems *problems);
void settings_fini(struct settings *settings);

const char *runtime_env_name(enum runtime_env env);

/* A directory whose last part starts with "." holds built-in plugins. */
bool plugin_dir_is_builtin(const char *dir);

struct buf;

/* Text for --help: one line a variable with its flag, default and meaning. */
void settings_help(struct buf *out);

/* A dotenv file: NAME=value lines, '#' comments, optional `export `, quotes. */
struct dotenv;
struct dotenv *dotenv_read(const char *path, struct err *err);
const char *dotenv_get(const struct dotenv *env, const char *name); /* or NULL */
void dotenv_free(struct dotenv *env);
size_t dotenv_count(const struct dotenv *env);
const char *dotenv_name_at(const struct dotenv *env, size_t i);
