#include "app/keys.h"

#include <stdio.h>
#include <string.h>

#include "app/server.h"
#include "base/log.h"
#include "data/keyring.h"

enum { TELL_MS = 10000 };

/* A change of "last used", or of a session, that was not kept. With a database that is away there
 * is one for each caller and minute.
 */
static void on_problem(void *app, const struct err *err)
{
    struct server *server = app;
    const uint64_t now = loop_now_ms(server->loop);

    if (server->database && now < server->key_problem_ms + TELL_MS)
        return;
    server->key_problem_ms = now;
    log_err(NULL, NULL, err);
}

static void tell_unread(const struct server *server, const struct err *err)
{
    struct err told = *err;

    if (keyring_problem(server->keyring))
        err_wrap(&told, "the keys cannot be read from DATABASE_URL, so only the root key is good "
                        "until they can");
    else
        err_wrap(&told, "the keys cannot be read again from DATABASE_URL, so what other replicas "
                        "change is not seen until they can");
    log_err(NULL, NULL, &told);
}

/* It is tried every few seconds; the same failure is told once. */
static void on_read(void *app, const struct err *err)
{
    struct server *server = app;
    char *last = server->keys_unread;

    if (err && strncmp(last, err->message, sizeof(server->keys_unread) - 1) != 0)
        tell_unread(server, err);
    else if (!err && *last)
        log_printf(LOG_INFO, "the keys were read from DATABASE_URL");
    snprintf(last, sizeof(server->keys_unread), "%.159s", err ? err->message : "");
}

struct keyring *keys_open(struct server *server)
{
    const struct keyring_options options = {
        .loop = server->loop,
        .state_dir = server->settings->state_dir,
        .database = server->database,
        .root_key = server->settings->root_key,
        .on_problem = on_problem,
        .on_read = on_read,
        .app = server,
    };

    return keyring_new(&options);
}

bool keys_load(struct server *server, struct err *err)
{
    const char *dir = server->settings->state_dir;

    if (server->database && key_store_sqlite_exists(dir))
        log_printf(LOG_WARN,
                   "the keys in %s/keys.db are not read, since there is a DATABASE_URL: make them "
                   "anew, with the root key, and delete the file",
                   dir);
    return keyring_load(server->keyring, err) ||
           err_wrap(err, "the keys cannot be read, so nobody could be let in");
}
