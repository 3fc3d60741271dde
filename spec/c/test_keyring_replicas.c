/* Two keyrings over one database, as two replicas have them. Needs a PostgreSQL: see
 * keyring_support.h, and is run by spec/integration/replicas_keys_spec.lua.
 */
#include "keyring_support.h"

enum { SKIPPED = 77 };

struct replica {
    struct postgres *pool;
    struct keyring *ring;
};

static struct replica start(const char *root)
{
    struct replica replica = {.pool = open_database()};

    replica.ring = load_ring(make_ring_on(replica.pool, root));
    return replica;
}

static void stop(struct replica *replica)
{
    keyring_free(replica->ring);
    postgres_close(replica->pool);
}

static bool is_over(uint64_t end)
{
    loop_turn(loop, 5);
    return clock_now_ns() > end;
}

#define EVENTUALLY(cond)                                              \
    do {                                                              \
        const uint64_t end_ = clock_now_ns() + UINT64_C(20000000000); \
        while (!(cond) && !is_over(end_))                             \
            continue;                                                 \
        CHECK(cond);                                                  \
    } while (0)

static void test_told_at_once(void)
{
    struct replica a = start("secret"), b = start("secret");
    const struct key_made made = create(a.ring, "viewer", "", 0);
    char first[TOKEN_SIZE], second[TOKEN_SIZE];
    struct identity who;

    EVENTUALLY(key_fits(b.ring, made.key, &who) == CREDENTIAL_FITS);
    CHECK_STR(who.key->name, "a key");
    CHECK_STR(who.namespaces, "@a @b");
    CHECK(who.permissions == role_find(STR("viewer"))->set);
    log_in(a.ring, made.key, first);
    log_in(b.ring, "secret", second);
    EVENTUALLY(token_fits(b.ring, first, &who) == CREDENTIAL_FITS);
    CHECK_STR(who.key->id, made.id);
    EVENTUALLY(token_fits(a.ring, second, &who) == CREDENTIAL_FITS);
    CHECK_STR(who.principal, "root");

    log_out(a.ring, second);
    EVENTUALLY(token_fits(b.ring, second, &who) == CREDENTIAL_EXPIRED);
    CHECK(end_key(b.ring, made.id));
    EVENTUALLY(key_fits(a.ring, made.key, &who) == CREDENTIAL_WRONG);
    CHECK(token_fits(a.ring, first, &who) == CREDENTIAL_EXPIRED);
    CHECK(!keyring_first(a.ring) && !keyring_first(b.ring));
    stop(&a);
    stop(&b);
    remove_state();
}

/* Listed in the order they were made, wherever that was; when it was used is known everywhere. */
static void test_order_and_use(void)
{
    struct replica a = start(NULL), b = start(NULL);
    struct key_made made[4];
    const struct api_key *key;
    struct identity who;

    for (size_t i = 0; i < LEN(made); i++) {
        const uint64_t now = clock_now_ns() / 1000000;

        made[i] = create(i % 2 ? a.ring : b.ring, "admin", "", 0);
        while (clock_now_ns() / 1000000 < now + 3)
            loop_turn(loop, 1);
    }
    EVENTUALLY(keyring_find(a.ring, made[2].id) && keyring_find(b.ring, made[3].id));
    key = keyring_first(a.ring);
    for (size_t i = 0; i < LEN(made); i++, key = key->next)
        CHECK_STR(key->id, made[i].id);
    key = keyring_first(b.ring);
    for (size_t i = 0; i < LEN(made); i++, key = key->next)
        CHECK_STR(key->id, made[i].id);
    CHECK(keyring_find(b.ring, made[1].id)->used == 0);
    CHECK(key_fits(a.ring, made[1].key, &who) == CREDENTIAL_FITS);
    EVENTUALLY(keyring_find(b.ring, made[1].id)->used > 0);
    stop(&a);
    stop(&b);
    remove_state();
}

/* What was changed while nobody listened is found out when the connection is there again. */
static void test_connection_lost(void)
{
    struct replica a = start("secret");
    const struct key_made gone = create(a.ring, "admin", "", 0),
                          lost = create(a.ring, "admin", "", 0);
    const struct key_made stays = create(a.ring, "admin", "", 0);
    char ended[TOKEN_SIZE], kept[TOKEN_SIZE], *sql;
    struct identity who;

    log_in(a.ring, gone.key, ended);
    log_in(a.ring, stays.key, kept);
    sql = mem_printf("UPDATE buntime_keys SET revoked = 1 WHERE id = '%s'", gone.id);
    run_sql(sql); /* which tells nobody */
    free(sql);
    sql = mem_printf("DELETE FROM buntime_keys WHERE id = '%s'", lost.id);
    run_sql(sql);
    free(sql);
    CHECK(key_fits(a.ring, lost.key, &who) == CREDENTIAL_FITS);
    run_sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE pid <> pg_backend_pid() AND query LIKE '%listen%'");
    EVENTUALLY(key_fits(a.ring, lost.key, &who) == CREDENTIAL_WRONG);
    CHECK(key_fits(a.ring, gone.key, &who) == CREDENTIAL_WRONG);
    CHECK(key_fits(a.ring, stays.key, &who) == CREDENTIAL_FITS);
    CHECK(token_fits(a.ring, ended, &who) == CREDENTIAL_EXPIRED);
    CHECK(token_fits(a.ring, kept, &who) == CREDENTIAL_FITS);
    stop(&a);
    problems = 0; /* of "last used", where its connection was among those */
    remove_state();
}

/* The tables are gone: nobody has a key, but there was one. They are made again. */
static void test_tables_lost(void)
{
    struct replica a = start(NULL);
    const struct key_made made = create(a.ring, "admin", "", 0);
    struct identity who;

    remove_state();
    run_sql("NOTIFY buntime_keys, 'key 0'");
    EVENTUALLY(key_fits(a.ring, made.key, &who) == CREDENTIAL_WRONG);
    CHECK(keyring_locked(a.ring));
    create(a.ring, "admin", "", 0);
    stop(&a);
    problems = 0;
    remove_state();
}

/* --- the tables are made once --- */

enum { AT_ONCE = 4 };

static void ignore_reading(void *keyring)
{
    (void)keyring;
}

static void count_read(void *keyring, const struct err *err)
{
    if (err)
        fprintf(stderr, "%s\n", err->message);
    CHECK(!err);
    ++*(unsigned *)keyring;
}

static bool is_true(const char *condition)
{
    char *sql = mem_printf("SELECT 1 WHERE %s", condition);
    struct run run = {.request = {.verb = POSTGRES_ROWS, .sql = sql, .done = ran}};
    bool is;

    run.request.sql_len = strlen(sql);
    postgres_submit(database, &run.request);
    while (!run.done)
        loop_turn(loop, 10);
    CHECK(run.request.ok);
    is = run.request.row_count == 1;
    postgres_request_fini(&run.request);
    return is;
}

/* All of them find no tables, and wait for somebody who is about to make one and then does not. */
static void test_tables_made_once(void)
{
    struct postgres *pools[AT_ONCE];
    struct key_store *stores[AT_ONCE];
    unsigned read = 0;
    const struct key_sink sink = {.keyring = &read, .reading = ignore_reading, .read = count_read};
    const uint64_t other = run_in(0, POSTGRES_BEGIN, NULL);

    run_in(other, POSTGRES_EXEC, "CREATE TABLE buntime_keys (id text)");
    for (size_t i = 0; i < AT_ONCE; i++) {
        pools[i] = open_database();
        stores[i] = key_store_postgres(loop, pools[i], &sink);
        stores[i]->load(stores[i], (struct key_done){0});
    }
    EVENTUALLY(
        is_true("(SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock') = 4"));
    postgres_rollback(database, other);
    EVENTUALLY(read == AT_ONCE);
    for (size_t i = 0; i < AT_ONCE; i++) {
        stores[i]->close(stores[i]);
        postgres_close(pools[i]);
    }
    remove_state();
}

static void test_hostile_messages(void)
{
    static const char *const payloads[] = {
        "",
        "key",
        "key ",
        "key x y",
        "ended 00",
        "session '' or 1=1",
        "revoke",
        "revoked %s",
        "session zz00000000000000000000000000000000000000000000000000000000000000",
        "a-kind-that-is-too-long 00",
    };
    struct replica a = start("secret");
    const struct key_made made = create(a.ring, "admin", "", 0),
                          last = create(a.ring, "admin", "", 0);
    struct identity who;
    char *sql;

    for (size_t i = 0; i < LEN(payloads); i++) {
        sql = mem_printf("SELECT pg_notify('buntime_keys', $x$%s$x$)", payloads[i]);
        run_sql(sql);
        free(sql);
    }
    for (int i = 0; i < 1000; i++) { /* of what is not there; more than are kept */
        sql = mem_printf("NOTIFY buntime_keys, 'key %036d'", i);
        run_sql(sql);
        free(sql);
    }
    sql = mem_printf("NOTIFY buntime_keys, 'revoked %s'", last.id);
    run_sql(sql);
    EVENTUALLY(key_fits(a.ring, last.key, &who) == CREDENTIAL_WRONG);
    free(sql);
    CHECK(key_fits(a.ring, made.key, &who) == CREDENTIAL_FITS);
    stop(&a);
    remove_state();
}

static void check_sql(const char *condition)
{
    char *sql =
        mem_printf("DO $$ BEGIN IF NOT (%s) THEN RAISE 'it is not so'; END IF; END $$", condition);

    run_sql(sql);
    free(sql);
}

static void test_prune(void)
{
    struct replica a = start("secret");
    struct key_made made[3];
    char token[TOKEN_SIZE];

    for (size_t i = 0; i < LEN(made); i++)
        made[i] = create(a.ring, "admin", "", 0);
    log_in(a.ring, made[2].key, token);
    stop(&a);
    run_sql("UPDATE buntime_keys SET revoked = 1 WHERE id <> (SELECT max(id) FROM buntime_keys)");
    run_sql("INSERT INTO buntime_sessions VALUES (sha256('a'), '', 1, 1),"
            " (sha256('b'), '', 1, (SELECT max(used) FROM buntime_sessions))");
    a = start("secret");
    check_sql("(SELECT count(*) FROM buntime_sessions) = 1");
    check_sql("(SELECT count(*) FROM buntime_keys) = 2"); /* the first one's stays */
    CHECK(!keyring_first(a.ring)->next);
    CHECK(end_key(a.ring, keyring_first(a.ring)->id));
    stop(&a);
    a = start(NULL);
    CHECK(keyring_locked(a.ring) && !keyring_first(a.ring));
    stop(&a);
    remove_state();
}

/* There is no database yet: only the root key is good, and nobody comes in without one. */
static void test_blind(void)
{
    static const char key[] = "btk_0123456789012345678901234567890123456789012";
    const struct postgres_options options = {.url = "postgres://nobody@127.0.0.1:1/x",
                                             .max = 1,
                                             .connect_timeout_ms = 1000,
                                             .acquire_timeout_ms = 1000};
    struct err err;
    struct postgres *pool = postgres_open(loop, &options, &err);
    struct keyring *ring = make_ring_on(pool, "secret");
    struct outcome outcome = {.done = false};
    struct identity who;
    char token[TOKEN_SIZE];

    CHECK(keyring_load(ring, &err) && keyring_problem(ring));
    CHECK(strstr(keyring_problem(ring), "nobody@127.0.0.1:1/x"));
    CHECK(key_fits(ring, "secret", &who) == CREDENTIAL_FITS);
    CHECK(key_fits(ring, key, &who) == CREDENTIAL_UNKNOWN);
    CHECK(key_fits(ring, "guess", &who) == CREDENTIAL_WRONG);
    CHECK(token_fits(ring, key + 4, &who) == CREDENTIAL_UNKNOWN);
    keyring_log_in(ring, "", token, (struct key_done){settle, &outcome});
    CHECK(!wait_for(&outcome));
    keyring_free(ring);
    ring = make_ring_on(pool, NULL);
    CHECK(keyring_load(ring, &err) && keyring_locked(ring));
    keyring_free(ring);
    postgres_close(pool);
}

int main(void)
{
    static const keyring_test tests[] = {
        test_told_at_once,     test_order_and_use,    test_connection_lost, test_tables_lost,
        test_tables_made_once, test_hostile_messages, test_prune,           test_blind,
    };

    return getenv("KEYRING_DATABASE_URL") ? run_tests(tests, LEN(tests)) : SKIPPED;
}
