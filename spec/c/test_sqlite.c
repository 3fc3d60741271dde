/* SQLite on the thread pool: requests that are cancelled, databases that are closed while they
 * work, files that are not what they should be.
 */
#include "check.h"

#include <fcntl.h>
#include <stdbool.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "data/files.h"
#include "data/sqlite.h"
#include "data/sqlite_value.h"
#include "ev/loop.h"

#define FOREVER \
    "with recursive n(i) as (select 1 union all select i + 1 from n) select count(*) from n"

static struct loop *loop;
static char dir[] = "/tmp/buntime-sqlite-XXXXXX";
static unsigned open_requests;

struct result {
    struct sqlite_request request; /* first */
    bool done;
};

static void settle(struct sqlite_request *request)
{
    struct result *result = (struct result *)request;

    CHECK(!result->done); /* exactly once */
    result->done = true;
    open_requests--;
}

static struct result *new_result(enum sqlite_verb verb, const char *sql)
{
    struct result *result = mem_alloc(sizeof(*result));

    result->request.verb = verb;
    result->request.sql = mem_copy(sql);
    result->request.sql_len = sql ? strlen(sql) : 0;
    result->request.done = settle;
    open_requests++;
    return result;
}

static void drop(struct result *result)
{
    CHECK(result->done);
    sqlite_request_fini(&result->request);
    free(result);
}

static void wait_for(const struct result *result)
{
    const uint64_t end = clock_now_ns() + UINT64_C(20000000000);

    while (!result->done && clock_now_ns() < end)
        loop_turn(loop, 10);
    CHECK(result->done);
}

static struct sqlite *open_named(const char *name, struct result **result)
{
    const struct sqlite_options options = {
        .root = dir, .name = name, .busy_timeout_ms = 200, .readers = 2};
    struct sqlite *db;

    *result = new_result(VERB_OPEN, NULL);
    db = sqlite_open(loop, &options, &(*result)->request);
    wait_for(*result);
    return db;
}

static struct sqlite *open_ok(const char *name)
{
    struct result *result;
    struct sqlite *db = open_named(name, &result);

    CHECK(result->request.ok);
    drop(result);
    return db;
}

static struct result *submit(struct sqlite *db, enum sqlite_verb verb, const char *sql, uint64_t tx)
{
    struct result *result = new_result(verb, sql);

    result->request.transaction = tx;
    sqlite_submit(db, &result->request);
    return result;
}

static void run(struct sqlite *db, const char *sql, uint64_t tx)
{
    struct result *result = submit(db, VERB_EXEC, sql, tx);

    wait_for(result);
    if (!result->request.ok)
        fprintf(stderr, "%s: %s\n", sql, result->request.error.message);
    CHECK(result->request.ok);
    drop(result);
}

static int64_t number(struct sqlite *db, const char *sql, uint64_t tx)
{
    struct result *result = submit(db, VERB_FIRST, sql, tx);
    struct sql_value value;

    wait_for(result);
    CHECK(result->request.ok && result->request.row_count == 1);
    sql_get(result->request.cells.data, &value);
    CHECK(value.type == SQL_INTEGER);
    drop(result);
    return value.integer;
}

static void fail_with(struct result *result, const char *code)
{
    wait_for(result);
    CHECK(!result->request.ok);
    CHECK_STR(result->request.error.code, code);
    drop(result);
}

static uint64_t begin(struct sqlite *db)
{
    struct result *result = submit(db, VERB_BEGIN, NULL, 0);
    uint64_t tx;

    wait_for(result);
    CHECK(result->request.ok);
    tx = result->request.transaction;
    drop(result);
    return tx;
}

static void turn_for(unsigned ms)
{
    const uint64_t end = clock_now_ns() + ms * UINT64_C(1000000);

    while (clock_now_ns() < end)
        loop_turn(loop, 1);
}

/* --- tests --- */

static void test_cancel_waiting(void)
{
    struct sqlite *db = open_ok("a.db");
    struct result *results[4];

    run(db, "create table t(v)", 0);
    for (int i = 0; i < 4; i++)
        results[i] = submit(db, VERB_EXEC, "insert into t values (1)", 0);
    sqlite_cancel(&results[1]->request); /* in the middle */
    CHECK(results[1]->done);
    sqlite_cancel(&results[3]->request); /* the last */
    CHECK(results[3]->done);
    wait_for(results[0]);
    wait_for(results[2]);
    for (int i = 0; i < 4; i++)
        drop(results[i]);
    run(db, "insert into t values (1)", 0);
    CHECK(number(db, "select count(*) from t", 0) == 3);
    sqlite_close(db);
}

static void test_cancel_running(void)
{
    struct sqlite *db = open_ok("a.db");
    struct result *r = submit(db, VERB_ROWS, FOREVER, 0);

    turn_for(20);
    CHECK(!r->done);
    sqlite_cancel(&r->request);
    fail_with(r, "SQLITE_INTERRUPT");

    r = submit(db, VERB_EXEC, "insert into t select i from (" FOREVER ")", 0);
    turn_for(20);
    sqlite_cancel(&r->request);
    wait_for(r);
    drop(r);
    CHECK(number(db, "select count(*) from t", 0) == 3);
    sqlite_close(db);
}

static void test_cancel_begin(void)
{
    struct sqlite *db = open_ok("a.db");

    for (unsigned i = 0; i < 50; i++) {
        struct result *r = submit(db, VERB_BEGIN, NULL, 0);
        for (unsigned turns = 0; turns < i % 5 && !r->done; turns++)
            loop_turn(loop, 1);
        if (!r->done)
            sqlite_cancel(&r->request);
        else
            sqlite_rollback(db, r->request.transaction);
        wait_for(r);
        drop(r);
    }
    run(db, "insert into t values (2)", 0); /* nobody holds the writer */
    sqlite_close(db);
}

static void test_transaction_ends(void)
{
    struct sqlite *db = open_ok("a.db");
    const uint64_t tx = begin(db);
    struct result *commit, *late, *waiting = submit(db, VERB_EXEC, "delete from t where v = 9", 0);

    run(db, "insert into t values (3)", tx);
    CHECK(number(db, "select count(*) from t where v = 3", tx) == 1);
    CHECK(number(db, "select count(*) from t where v = 3", 0) == 0);
    commit = submit(db, VERB_COMMIT, NULL, tx);
    late = submit(db, VERB_EXEC, "insert into t values (4)", tx);
    wait_for(commit);
    CHECK(commit->request.ok);
    drop(commit);
    fail_with(late, "SQLITE_MISUSE");
    wait_for(waiting);
    CHECK(waiting->request.ok);
    drop(waiting);
    fail_with(submit(db, VERB_EXEC, "insert into t values (5)", tx), "SQLITE_MISUSE");
    CHECK(number(db, "select count(*) from t where v = 3", 0) == 1);
    CHECK(number(db, "select count(*) from t where v = 4", 0) == 0);
    sqlite_close(db);
}

static void test_close_while_working(void)
{
    for (unsigned delay = 0; delay < 6; delay++) {
        struct sqlite *db = open_ok(delay % 2 ? "a.db" : NULL);
        struct result *results[12];
        const uint64_t tx = delay >= 4 ? begin(db) : 0;

        for (size_t i = 0; i < LEN(results); i++)
            results[i] = submit(db, i % 2 ? VERB_ROWS : VERB_EXEC, i == 3 ? FOREVER : "select 1",
                                i == 5 ? tx : 0);
        for (unsigned i = 0; i < delay; i++)
            loop_turn(loop, 1);
        sqlite_cancel(&results[3]->request); /* else it would hold up the end of the test */
        sqlite_close(db);
        for (size_t i = 0; i < LEN(results); i++) {
            wait_for(results[i]);
            drop(results[i]);
        }
    }
}

static void test_close_while_opening(void)
{
    const struct sqlite_options options = {.root = dir, .name = "b.db", .readers = 1};
    struct result *r = new_result(VERB_OPEN, NULL);
    struct sqlite *db = sqlite_open(loop, &options, &r->request);

    loop_turn(loop, 0);
    sqlite_close(db);
    wait_for(r);
    drop(r);
}

/* What is cancelled may be forgotten by a loop that never turns again. */
static void test_loop_that_ends(void)
{
    struct loop *outer = loop;
    struct sqlite *db;
    struct result *r, *waiting;
    uint64_t tx;
    struct err err;

    loop = loop_new(&err);
    CHECK(loop);
    db = open_ok("a.db");
    tx = begin(db);
    r = submit(db, VERB_ROWS, FOREVER, 0);
    waiting = submit(db, VERB_EXEC, "delete from t", 0);
    loop_turn(loop, 0);
    sqlite_cancel(&r->request);
    sqlite_cancel(&waiting->request);
    sqlite_rollback(db, tx);
    sqlite_close(db);
    loop_free(loop);
    drop(r);
    drop(waiting);
    loop = outer;
}

static void write_file(const char *name, const void *bytes, size_t len, off_t at)
{
    char path[200];
    int fd;

    snprintf(path, sizeof(path), "%s/%s", dir, name);
    fd = open(path, O_WRONLY | O_CREAT, 0600);
    CHECK(fd >= 0 && pwrite(fd, bytes, len, at) == (ssize_t)len && close(fd) == 0);
}

static void fail_to_open(const char *name, const char *code)
{
    struct result *r;
    struct sqlite *db = open_named(name, &r);

    if (r->request.ok)
        fprintf(stderr, "%s opens\n", name);
    fail_with(r, code);
    sqlite_close(db);
}

static void test_bad_files(void)
{
    char garbage[5000], path[200];
    struct sqlite *db;

    memset(garbage, 'x', sizeof(garbage));
    write_file("garbage.db", garbage, sizeof(garbage), 0);
    fail_to_open("garbage.db", "SQLITE_NOTADB");

    snprintf(path, sizeof(path), "%s/link.db", dir);
    CHECK(symlink("/tmp/buntime-outside.db", path) == 0);
    fail_to_open("link.db", "SQLITE_CANTOPEN");
    CHECK(access("/tmp/buntime-outside.db", F_OK) != 0);

    snprintf(path, sizeof(path), "%s/out", dir);
    CHECK(symlink("/tmp", path) == 0);
    fail_to_open("out/x.db", "SQLITE_CANTOPEN");
    fail_to_open("out/deep/x.db", "SQLITE_CANTOPEN");
    CHECK(access("/tmp/x.db", F_OK) != 0 && access("/tmp/deep", F_OK) != 0);

    db = open_ok("bad.db");
    run(db, "create table t(v)", 0);
    run(db, "insert into t select zeroblob(3000) from (values (1), (2), (3), (4))", 0);
    sqlite_close(db);
    turn_for(50); /* the log is in the file now */
    write_file("bad.db", garbage, sizeof(garbage), 4096);
    db = open_ok("bad.db");
    fail_with(submit(db, VERB_ROWS, "select * from t", 0), "SQLITE_CORRUPT");
    sqlite_close(db);
}

static void test_statement_cache(void)
{
    struct sqlite *db = open_ok(NULL);

    for (int i = 0; i < 200; i++) {
        char sql[64];
        snprintf(sql, sizeof(sql), "select %d", i % 150);
        CHECK(number(db, sql, 0) == i % 150);
    }
    run(db, "create table t(a)", 0);
    run(db, "insert into t values (1)", 0);
    CHECK(number(db, "select * from t", 0) == 1);
    run(db, "alter table t rename to u", 0); /* what is cached is compiled again */
    run(db, "create table t(b)", 0);
    run(db, "insert into t values (2)", 0);
    CHECK(number(db, "select * from t", 0) == 2);
    sqlite_close(db);
}

static void test_many_at_once(void)
{
    struct sqlite *db = open_ok("many.db");
    struct result *results[300];

    run(db, "create table t(v)", 0);
    for (size_t i = 0; i < LEN(results); i++) {
        const bool writes = i % 3 == 0;
        results[i] =
            submit(db, writes ? VERB_EXEC : VERB_ROWS,
                   writes        ? "insert into t values (1)"
                   : i % 50 == 1 ? "with recursive n(i) as (select 1 union all select i + 1 "
                                   "from n where i < 100000) select count(*) from n"
                                 : "select count(*) from t",
                   0);
    }
    for (size_t i = 0; i < LEN(results); i++) {
        wait_for(results[i]);
        CHECK(results[i]->request.ok);
        drop(results[i]);
    }
    CHECK(number(db, "select count(*) from t", 0) == 100);
    sqlite_close(db);
}

/* SQLite looks at the time every so many steps, and at its end even after a commit: what was over
 * the budget of a turn by then is done, and must not be done again.
 */
static void test_slow_writes(void)
{
    enum { TERMS = 400 }; /* some steps each, without a jump, where it would look earlier */
    struct sqlite *db = open_ok("slow.db");
    struct result *results[6];
    struct buf sql = {0};

    run(db, "create table t(n, bytes)", 0);
    for (size_t i = 0; i < LEN(results); i++) {
        buf_reset(&sql);
        buf_printf(&sql, "insert into t values (%zu", i);
        for (int k = 0; k < TERMS; k++)
            buf_add_str(&sql, STR(" + (random() & 0)"));
        buf_add(&sql, ", zeroblob(500000))", sizeof(", zeroblob(500000))"));
        results[i] = submit(db, VERB_EXEC, sql.data, 0);
    }
    for (size_t i = 0; i < LEN(results); i++) {
        wait_for(results[i]);
        CHECK(results[i]->request.ok);
        drop(results[i]);
    }
    CHECK(number(db, "select count(*) from t", 0) == LEN(results));
    buf_fini(&sql);
    sqlite_close(db);
}

int main(void)
{
    static void (*const tests[])(void) = {
        test_cancel_waiting,   test_cancel_running,      test_cancel_begin,
        test_transaction_ends, test_close_while_working, test_close_while_opening,
        test_loop_that_ends,   test_bad_files,           test_statement_cache,
        test_many_at_once,     test_slow_writes,
    };
    struct err err;
    int parent;

    CHECK(mkdtemp(dir));
    loop = loop_new(&err);
    CHECK(loop);
    for (size_t i = 0; i < LEN(tests); i++)
        tests[i]();
    loop_free(loop);
    CHECK(open_requests == 0);
    CHECK(files_root("/tmp", false, &parent) == 0);
    CHECK(files_remove(parent, dir + strlen("/tmp/"), true) == 0);
    close(parent);
    return 0;
}
