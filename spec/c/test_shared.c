/* The shared dictionary against a plain array, through growth and expiry; SipHash against the
 * vectors of its paper.
 */
#include <time.h>

#include "base/siphash.h"
#include "data/shared.h"
#include "data/shared_redis.h"
#include "ev/loop.h"

#include "check.h"

/* --- SipHash --- */

static void test_siphash(void)
{
    static const struct {
        size_t len;
        uint64_t hash;
    } vectors[] = {{0, 0x726fdb47dd0e0e31},
                   {1, 0x74f839c593dc67fd},
                   {7, 0xab0200f58b01d137},
                   {8, 0x93f5f5799a932462},
                   {15, 0xa129ca6149be45e5}};
    const uint64_t key[2] = {0x0706050403020100, 0x0f0e0d0c0b0a0908};
    char bytes[16];

    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (char)i;
    for (size_t i = 0; i < LEN(vectors); i++)
        CHECK(siphash(key, (struct str){bytes, vectors[i].len}) == vectors[i].hash);
}

/* --- helpers --- */

static struct err err;

static bool set_text(struct shared *shared, const char *key, const char *text, uint64_t ttl)
{
    const struct shared_value value = {.type = SHARED_TEXT, .text = str_of(text)};

    return shared_set(shared, str_of(key), &value, ttl, &err);
}

/* The text of a key; "(none)" when there is none. */
static const char *get_text(struct shared *shared, const char *key)
{
    static char text[256];
    struct shared_value value;

    if (!shared_get(shared, str_of(key), &value))
        return "(none)";
    CHECK(value.type == SHARED_TEXT);
    snprintf(text, sizeof(text), "%.*s", (int)value.text.len, value.text.len ? value.text.at : "");
    return text;
}

/* --- the clock: in place of libc's, for the runtime as well --- */

static int64_t fake_ns = (int64_t)1000 * 1000000000;

int clock_gettime(clockid_t id, struct timespec *out)
{
    (void)id;
    out->tv_sec = fake_ns / 1000000000;
    out->tv_nsec = fake_ns % 1000000000;
    return 0;
}

static void pass_ms(int64_t ms)
{
    fake_ns += ms * 1000000;
}

/* --- values --- */

static void test_values(void)
{
    struct shared *shared = shared_new(NULL, SHARED_BYTES);
    struct shared_value value = {.type = SHARED_BOOLEAN, .flag = true};
    double number;

    CHECK_STR(get_text(shared, "a"), "(none)");
    CHECK(set_text(shared, "a", "one", 0));
    CHECK(set_text(shared, "a", "two", 0));
    CHECK(set_text(shared, "empty", "", 0));
    CHECK_STR(get_text(shared, "a"), "two");
    CHECK_STR(get_text(shared, "empty"), "");
    CHECK(shared_set(shared, str_of("flag"), &value, 0, &err));
    CHECK(shared_get(shared, str_of("flag"), &value) && value.type == SHARED_BOOLEAN && value.flag);
    CHECK(shared_incr(shared, str_of("n"), 2, 0, &number, &err) && number == 2);
    CHECK(shared_incr(shared, str_of("n"), -0.5, 0, &number, &err) && number == 1.5);
    CHECK(!shared_incr(shared, str_of("a"), 1, 0, &number, &err));
    CHECK_STR(err.message, "the value of \"a\" is not a number");
    CHECK_STR(err.code, "NOT_A_NUMBER");
    CHECK(shared_count(shared) == 4);
    CHECK(shared_delete(shared, str_of("a")) && !shared_delete(shared, str_of("a")));
    CHECK(shared_set(shared, (struct str){"k\0x", 3}, &value, 0, &err));
    CHECK(!shared_get(shared, (struct str){"k\0y", 3}, &value));
    CHECK(!set_text(shared, "", "x", 0));
    CHECK_STR(err.message, "a key has 1 to 1024 bytes, got 0");
    shared_free(shared);
}

static void test_limit(void)
{
    struct shared *shared = shared_new(NULL, 10000);
    char key[32], large[5000];
    size_t count = 0, bytes;

    memset(large, 'x', sizeof(large) - 1);
    large[sizeof(large) - 1] = '\0';
    CHECK(set_text(shared, "large", large, 0));
    CHECK(!set_text(shared, "other", large, 0));
    CHECK_STR(err.code, "SHARED_FULL");
    CHECK(set_text(shared, "large", large + 1, 0)); /* in place of itself */
    CHECK_STR(get_text(shared, "other"), "(none)");
    while (snprintf(key, sizeof(key), "k%zu", count), set_text(shared, key, "v", 0))
        count++;
    CHECK(count > 10 && count < 100);
    CHECK(shared_bytes(shared) <= 10000);
    bytes = shared_bytes(shared);
    CHECK(shared_delete(shared, str_of("large")));
    CHECK(bytes - shared_bytes(shared) > 4990);
    CHECK(set_text(shared, "other", large + 500, 0));
    for (size_t i = 0; i < count; i++) {
        snprintf(key, sizeof(key), "k%zu", i);
        CHECK(shared_delete(shared, str_of(key)));
    }
    CHECK(shared_delete(shared, str_of("other")));
    CHECK(shared_bytes(shared) == 0 && shared_count(shared) == 0);
    shared_free(shared);
}

/* --- against an array --- */

enum { KEYS = 3000 };

static void test_random(void)
{
    static int values[KEYS]; /* 0: not there */
    struct shared *shared = shared_new(NULL, SHARED_BYTES);
    size_t count = 0;

    srand(7);
    for (int i = 0; i < 300000; i++) {
        const int n = rand() % (i / 100 + 1) % KEYS;
        char key[32], text[32];

        snprintf(key, sizeof(key), "key:%d", n);
        if (rand() % 3 == 0) {
            CHECK(shared_delete(shared, str_of(key)) == (values[n] != 0));
            count -= values[n] != 0;
            values[n] = 0;
        } else if (rand() % 2) {
            count += values[n] == 0;
            values[n] = rand() % 1000000 + 1;
            snprintf(text, sizeof(text), "%d", values[n]);
            CHECK(set_text(shared, key, text, (uint64_t)(rand() % 2) * 100000));
        } else {
            snprintf(text, sizeof(text), "%d", values[n]);
            CHECK_STR(get_text(shared, key), values[n] ? text : "(none)");
        }
        CHECK(shared_count(shared) == count);
    }
    CHECK(count > 1000);
    shared_free(shared);
}

/* --- expiry --- */

static void test_lazy(void)
{
    struct shared *shared = shared_new(NULL, SHARED_BYTES);
    double number;

    CHECK(set_text(shared, "short", "x", 5));
    CHECK(set_text(shared, "long", "x", 100000));
    CHECK(set_text(shared, "kept", "x", 5));
    CHECK(set_text(shared, "kept", "y", 0)); /* for ever now */
    CHECK(shared_incr(shared, str_of("n"), 1, 20, &number, &err));
    CHECK_STR(get_text(shared, "short"), "x");
    pass_ms(8);
    CHECK_STR(get_text(shared, "short"), "(none)");
    CHECK_STR(get_text(shared, "long"), "x");
    CHECK_STR(get_text(shared, "kept"), "y");
    CHECK(shared_incr(shared, str_of("n"), 1, 100000, &number, &err) && number == 2);
    pass_ms(20); /* the second incr has not prolonged it */
    CHECK(shared_incr(shared, str_of("n"), 1, 100000, &number, &err) && number == 1);
    CHECK(!shared_delete(shared, str_of("short")));
    shared_free(shared);
}

struct counter {
    struct shared_watch watch;
    int sets, gone;
    char last[64];
};

static void
count_change(struct shared_watch *watch, struct str key, const struct shared_value *value)
{
    struct counter *counter = (struct counter *)watch;

    counter->sets += value != NULL;
    counter->gone += value == NULL;
    snprintf(counter->last, sizeof(counter->last), "%.*s=%.*s", (int)key.len, key.at,
             value ? (int)value->text.len : 0, value && value->text.at ? value->text.at : "");
}

/* All go on time, though nobody asks: 3,000 of them, many set anew or deleted meanwhile. */
static void test_timed(void)
{
    static int due[KEYS]; /* ms from the start */
    struct loop *loop = loop_new(&err);
    struct shared *shared = shared_new(loop, SHARED_BYTES);
    struct counter counter = {.watch = {.changed = count_change, .prefix = STR("")}};
    char key[32];
    size_t left = 0;

    shared_watch_start(shared, &counter.watch);
    for (int i = 0; i < 3 * KEYS; i++) {
        const int n = rand() % KEYS;

        snprintf(key, sizeof(key), "key:%d", n);
        if (rand() % 4 == 0) {
            shared_delete(shared, str_of(key));
            due[n] = 0;
        } else {
            due[n] = 1 + rand() % 400;
            CHECK(set_text(shared, key, "x", (uint64_t)due[n]));
        }
    }
    CHECK(set_text(shared, "stays", "x", 0));
    counter.gone = 0;
    for (int i = 0; i < KEYS; i++)
        left += due[i] != 0;
    CHECK(left > 1000 && shared_count(shared) == left + 1);
    for (int ms = 1; ms <= 400; ms++) {
        pass_ms(1);
        for (int i = 0; i < KEYS; i++)
            left -= due[i] == ms;
        for (int i = 0; i < 4; i++)
            loop_turn(loop, 0);
        CHECK(shared_count(shared) == left + 1);
    }
    CHECK_STR(get_text(shared, "stays"), "x");
    shared_watch_stop(&counter.watch);
    shared_free(shared);
    loop_free(loop);
}

static void test_watch(void)
{
    struct shared *shared = shared_new(NULL, SHARED_BYTES);
    struct counter a = {.watch = {.changed = count_change, .prefix = STR("a:")}};
    struct counter b = {.watch = {.changed = count_change, .prefix = STR("a:b")}};
    double number;

    shared_watch_start(shared, &a.watch);
    shared_watch_start(shared, &b.watch);
    set_text(shared, "a:b1", "x", 0);
    CHECK_STR(a.last, "a:b1=x");
    CHECK_STR(b.last, "a:b1=x");
    set_text(shared, "a:c", "y", 0);
    set_text(shared, "other", "z", 0);
    shared_incr(shared, str_of("a:n"), 1, 0, &number, &err);
    shared_incr(shared, str_of("a:n"), 1, 0, &number, &err);
    CHECK(a.sets == 4 && b.sets == 1 && a.gone == 0);
    shared_watch_stop(&a.watch);
    shared_watch_stop(&a.watch);
    shared_delete(shared, str_of("a:b1"));
    shared_delete(shared, str_of("a:b1"));
    CHECK(a.gone == 0 && b.gone == 1);
    CHECK_STR(b.last, "a:b1=");
    shared_watch_stop(&b.watch);
    shared_free(shared);
}

/* --- as it stands in Redis --- */

static void test_decode(void)
{
    static const struct {
        struct str bytes;
        bool ok;
        enum shared_type type;
        double number;
        bool flag;
    } cases[] = {
        {{"s", 1}, true, SHARED_TEXT, 0, false},
        {{"sa\0b", 4}, true, SHARED_TEXT, 0, false},
        {{"j{}", 3}, true, SHARED_JSON, 0, false},
        {{"n1.5", 4}, true, SHARED_NUMBER, 1.5, false},
        {{"n-0.10000000000000001", 21}, true, SHARED_NUMBER, -0.1, false},
        {{"n1e+308", 7}, true, SHARED_NUMBER, 1e308, false},
        {{"b1", 2}, true, SHARED_BOOLEAN, 0, true},
        {{"b0", 2}, true, SHARED_BOOLEAN, 0, false},
        {{NULL, 0}, false, 0, 0, false},
        {{"n", 1}, false, 0, 0, false},
        {{"n1x", 3}, false, 0, 0, false},
        {{"n1\0", 3}, false, 0, 0, false},
        {{"n1111111111111111111111111111111111111111111", 44}, false, 0, 0, false},
        {{"b", 1}, false, 0, 0, false},
        {{"b2", 2}, false, 0, 0, false},
        {{"x1", 2}, false, 0, 0, false},
    };
    struct shared_value value;

    for (size_t i = 0; i < LEN(cases); i++) {
        CHECK(shared_redis_decode(cases[i].bytes, &value) == cases[i].ok);
        if (!cases[i].ok)
            continue;
        CHECK(value.type == cases[i].type && value.number == cases[i].number);
        CHECK(value.flag == cases[i].flag);
        if (value.type <= SHARED_JSON)
            CHECK(value.text.at == cases[i].bytes.at + 1 &&
                  value.text.len == cases[i].bytes.len - 1);
    }
}

int main(void)
{
    test_decode();
    test_siphash();
    test_values();
    test_limit();
    test_random();
    test_lazy();
    test_timed();
    test_watch();
    return 0;
}
