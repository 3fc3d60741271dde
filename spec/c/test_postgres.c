/* What of PostgreSQL needs no server: placeholders, places of errors, URLs. */
#include <string.h>

#include "check.h"
#include "data/postgres_impl.h"
#include "data/postgres_sql.h"

static const struct {
    const char *sql, *sent;
    unsigned values;
} rewrites[] = {
    {"select 1", "select 1", 0},
    {"select ?", "select $1", 1},
    {"?,?", "$1,$2", 2},
    {"select $2, $1", "select $2, $1", 2},
    {"select $1 ? 'a'", "select $1 ? 'a'", 1},
    {"a ?? ?", "a ? $1", 1},
    {"a ??| ?", "a ?| $1", 1},
    {"'?' ?", "'?' $1", 1},
    {"'it''s ?' ?", "'it''s ?' $1", 1},
    {"'\\' ? '", "'\\' $1 '", 1}, /* a backslash is one, so the literal ends */
    {"E'\\' ? ' ?", "E'\\' ? ' $1", 1},
    {"e'\\\\' ?", "e'\\\\' $1", 1},
    {"note'\\' ?", "note'\\' $1", 1}, /* no E'' */
    {"\"?\" ?", "\"?\" $1", 1},
    {"-- ?\n?", "-- ?\n$1", 1},
    {"-- ?", "-- ?", 0},
    {"/* ? /* ? */ ? */ ?", "/* ? /* ? */ ? */ $1", 1},
    {"/* ?", "/* ?", 0},
    {"$$ ? $$ ?", "$$ ? $$ $1", 1},
    {"$a$ ? $$ ? $b$ $a$ ?", "$a$ ? $$ ? $b$ $a$ $1", 1},
    {"$a$ ?", "$a$ ?", 0},
    {"a$1 ?", "a$1 $1", 1},   /* a name */
    {"'$1' ?", "'$1' $1", 1}, /* not a placeholder */
    {"$ ?", "$ $1", 1},
    {"'?", "'?", 0},
    {"ü? ?", "ü$1 $2", 2},
    {"$99999", "$99999", 0},
    {"", "", 0},
};

static void test_rewrites(void)
{
    for (size_t i = 0; i < sizeof(rewrites) / sizeof(rewrites[0]); i++) {
        struct buf out = {0};
        const unsigned values = postgres_rewrite(str_of(rewrites[i].sql), &out);

        buf_putc(&out, '\0');
        CHECK_STR(out.data, rewrites[i].sent);
        CHECK(values == rewrites[i].values);
        buf_fini(&out);
    }
}

/* Where a mark is in the statement sent is where it is in the plugin's. */
static void test_positions(void)
{
    static const char *const statements[] = {
        "select @", "select ?, @", "'ü' ? ?? ?, ü @ ?", "?,?,?,?,?,?,?,?,?,?,?,@", "$1 @ ?",
    };

    for (size_t i = 0; i < sizeof(statements) / sizeof(statements[0]); i++) {
        const struct str sql = str_of(statements[i]);
        struct buf sent = {0};
        size_t place = 1, wanted = 1;

        postgres_rewrite(sql, &sent);
        for (const char *at = sent.data; *at != '@'; at++)
            place += ((unsigned char)*at & 0xc0) != 0x80;
        for (const char *at = sql.at; *at != '@'; at++)
            wanted += ((unsigned char)*at & 0xc0) != 0x80;
        CHECK(postgres_position(sql, place) == wanted);
        buf_fini(&sent);
    }
    CHECK(postgres_position(STR("select ?"), 11) == 10); /* one past the end, or more */
    CHECK(postgres_position(STR("?+?"), 2) == 1);        /* in the midst of $1 */
}

static const struct {
    const char *url, *label; /* NULL: refused */
} urls[] = {
    {"postgres://u:p@h:5433/d", "u@h:5433/d"},
    {"postgresql://h", "h:5432/"},
    {"postgres://u:p@h1:1,h2:2/d", "u@h1,h2:1,2/d"},
    {"postgres:///d?host=/run", "/run:5432/d"},
    {"postgres://u:p@[::1]/d", "u@::1:5432/d"},
    {"postgres://u:p%zz@h/d", NULL},
    {"postgres://u:p@h/d?no_such=1", NULL},
    {"host=h password=p", NULL},
    {"", NULL},
};

static void test_urls(void)
{
    for (size_t i = 0; i < sizeof(urls) / sizeof(urls[0]); i++) {
        struct pg_settings settings;
        struct err err;
        char label[192];

        if (!urls[i].label) {
            CHECK(!pg_settings_parse(&settings, urls[i].url, &err));
            CHECK_STR(err.code, "INVALID_URL");
            CHECK(!strstr(err.message, "zz") && !strstr(err.message, "p@"));
            continue;
        }
        CHECK(pg_settings_parse(&settings, urls[i].url, &err));
        pg_settings_label(&settings, label, sizeof(label));
        CHECK_STR(label, urls[i].label);
        CHECK_STR(pg_setting(&settings, "client_encoding"), "UTF8");
        pg_settings_fini(&settings);
    }
}

static void test_hosts_with_their_addresses(void)
{
    struct pg_settings settings, out;
    struct resolved found[] = {{0, "::1"}, {0, "127.0.0.1"}, {2, "10.0.0.1"}};
    struct resolve resolve = {.found = found, .count = 3};
    struct err err;
    unsigned count;

    CHECK(pg_settings_parse(&settings, "postgres://u:p@one:1,two:2,three:3/d", &err));
    resolve.names = pg_hosts(&settings, &count);
    CHECK(count == 3);
    pg_settings_resolved(&settings, &resolve, &out);
    CHECK_STR(pg_setting(&out, "host"), "one,one,three");
    CHECK_STR(pg_setting(&out, "hostaddr"), "::1,127.0.0.1,10.0.0.1");
    CHECK_STR(pg_setting(&out, "port"), "1,1,3");
    CHECK_STR(pg_setting(&out, "dbname"), "d");
    pg_hosts_free(resolve.names, count);
    pg_settings_fini(&out);
    pg_settings_fini(&settings);

    CHECK(pg_settings_parse(&settings, "postgres://u:p@127.0.0.1/d", &err));
    CHECK(!pg_hosts(&settings, &count)); /* nothing to look up */
    pg_settings_fini(&settings);
}

int main(void)
{
    struct err err;

    CHECK(pq_load(&err));
    test_rewrites();
    test_positions();
    test_urls();
    test_hosts_with_their_addresses();
    return 0;
}
