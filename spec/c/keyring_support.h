/* What the specs of keys and sessions share: a keyring over either store. With KEYRING_DATABASE_URL
 * in the environment that is PostgreSQL (spec/integration/replicas_keys_spec.lua), else a file.
 */
#pragma once

#include "check.h"

#include <stdbool.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/permission.h"
#include "data/files.h"
#include "data/keyring.h"
#include "data/postgres.h"
#include "ev/loop.h"

static struct loop *loop;
static char dir[] = "/tmp/buntime-keyring-XXXXXX";
static char *state;               /* a folder below `dir`, which the keyring makes */
static struct postgres *database; /* or NULL */
static unsigned problems;

static inline void on_problem(void *app, const struct err *err)
{
    (void)app;
    fprintf(stderr, "%s\n", err->message);
    problems++;
}

/* NULL when it is files that are tried. */
static inline struct postgres *open_database(void)
{
    const struct postgres_options options = {
        .url = getenv("KEYRING_DATABASE_URL"),
        .max = 3,
        .connect_timeout_ms = 10000,
        .statement_timeout_ms = 30000,
        .acquire_timeout_ms = 30000,
        .statements = 32,
    };
    struct postgres *opened = NULL;
    struct err err;

    if (options.url) {
        opened = postgres_open(loop, &options, &err);
        CHECK(opened);
    }
    return opened;
}

static inline struct keyring *make_ring_on(struct postgres *on, const char *root)
{
    const struct keyring_options options = {
        .loop = loop,
        .state_dir = state,
        .database = on,
        .root_key = root,
        .on_problem = on_problem,
    };

    return keyring_new(&options);
}

static inline struct keyring *make_ring(const char *root)
{
    return make_ring_on(database, root);
}

static inline struct keyring *load_ring(struct keyring *ring)
{
    struct err err;
    const bool ok = keyring_load(ring, &err);

    if (!ok)
        fprintf(stderr, "%s\n", err.message);
    CHECK(ok && !keyring_problem(ring));
    return ring;
}

static inline struct keyring *open_ring(const char *root)
{
    return load_ring(make_ring(root));
}

struct outcome {
    bool done, ok;
};

static inline void settle(void *arg, const struct err *err)
{
    struct outcome *outcome = arg;

    CHECK(!outcome->done); /* exactly once */
    outcome->done = true;
    outcome->ok = !err;
    if (err)
        fprintf(stderr, "(%s)\n", err->message);
}

static inline bool wait_for(const struct outcome *outcome)
{
    const uint64_t end = clock_now_ns() + UINT64_C(30000000000);

    while (!outcome->done && clock_now_ns() < end)
        loop_turn(loop, 10);
    CHECK(outcome->done);
    return outcome->ok;
}

static inline struct key_made
create(struct keyring *ring, const char *role, const char *permissions, int64_t lifetime)
{
    const struct key_spec spec = {
        .name = "a key",
        .namespaces = "@a @b",
        .creator = "root",
        .role = role_find(str_of(role)),
        .permissions = permissions_read(str_of(permissions)),
        .lifetime = lifetime,
    };
    struct outcome outcome = {.done = false};
    struct key_made made;

    keyring_create(ring, &spec, &made, (struct key_done){settle, &outcome});
    CHECK(!outcome.done);
    CHECK(wait_for(&outcome));
    return made;
}

static inline bool end_key(struct keyring *ring, const char *id)
{
    struct outcome outcome = {.done = false};

    if (!keyring_revoke(ring, id, (struct key_done){settle, &outcome}))
        return false;
    CHECK(wait_for(&outcome));
    return true;
}

static inline enum credential key_fits(struct keyring *ring, const char *key, struct identity *who)
{
    return keyring_key(ring, str_of(key), who);
}

static inline enum credential
token_fits(struct keyring *ring, const char *token, struct identity *who)
{
    return keyring_session(ring, str_of(token), who);
}

struct run {
    struct postgres_request request; /* first */
    bool done;
};

static inline void ran(struct postgres_request *request)
{
    ((struct run *)request)->done = true;
}

/* A statement beside the keyring. Returns the transaction, which 0 is none of. */
static inline uint64_t run_in(uint64_t transaction, enum postgres_verb verb, const char *sql)
{
    struct run run = {.request = {.verb = verb, .transaction = transaction, .done = ran}};

    run.request.sql = mem_copy(sql);
    run.request.sql_len = sql ? strlen(sql) : 0;
    postgres_submit(database, &run.request);
    while (!run.done)
        loop_turn(loop, 10);
    if (!run.request.ok)
        fprintf(stderr, "%s: %s\n", sql ? sql : "", run.request.error.message);
    CHECK(run.request.ok);
    postgres_request_fini(&run.request);
    return run.request.transaction;
}

static inline void run_sql(const char *sql)
{
    run_in(0, POSTGRES_EXEC, sql);
}

static inline void remove_state(void)
{
    int root;

    if (database) {
        run_sql("DROP TABLE IF EXISTS buntime_keys, buntime_sessions");
        return;
    }
    CHECK(files_root(dir, false, &root) == 0);
    files_remove(root, "state", true);
    close(root);
}

static inline void log_in(struct keyring *ring, const char *key, char token[TOKEN_SIZE])
{
    struct outcome outcome = {.done = false};
    struct identity who;

    CHECK(key_fits(ring, key, &who) == CREDENTIAL_FITS);
    keyring_log_in(ring, who.key ? who.key->id : "", token, (struct key_done){settle, &outcome});
    CHECK(strlen(token) == SECRET_TEXT);
    CHECK(token_fits(ring, token, &who) == CREDENTIAL_EXPIRED); /* not before it is written */
    CHECK(wait_for(&outcome));
}

static inline void log_out(struct keyring *ring, const char *token)
{
    struct outcome outcome = {.done = false};

    CHECK(keyring_log_out(ring, str_of(token), (struct key_done){settle, &outcome}));
    CHECK(wait_for(&outcome));
    CHECK(!keyring_log_out(ring, str_of(token), (struct key_done){settle, &outcome}));
}

typedef void (*keyring_test)(void);

/* The whole program; nothing may have gone wrong that nobody waited for. */
static inline int run_tests(const keyring_test *tests, size_t count)
{
    struct err err;
    int parent;

    CHECK(mkdtemp(dir));
    state = mem_printf("%s/state", dir);
    loop = loop_new(&err);
    CHECK(loop);
    database = open_database();
    remove_state();
    for (size_t i = 0; i < count; i++)
        tests[i]();
    if (database)
        postgres_close(database);
    loop_free(loop);
    CHECK(problems == 0);
    CHECK(files_root("/tmp", false, &parent) == 0);
    CHECK(files_remove(parent, dir + strlen("/tmp/"), true) == 0);
    close(parent);
    free(state);
    return 0;
}
