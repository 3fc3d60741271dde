/* Keys and sessions, whatever store they are kept in. */
#include "keyring_support.h"

/* --- keys --- */

static void test_nothing(void)
{
    struct keyring *ring = open_ring(NULL);
    struct identity who;
    struct stat info;

    CHECK(!keyring_locked(ring));
    CHECK(!keyring_first(ring) && !keyring_find(ring, ""));
    CHECK(key_fits(ring, "", &who) == CREDENTIAL_WRONG);
    CHECK(key_fits(ring, "btk_", &who) == CREDENTIAL_WRONG);
    CHECK(!end_key(ring, "x"));
    keyring_free(ring);
    CHECK(stat(state, &info) != 0); /* no file without a key */
    keyring_free(NULL);
}

static void test_root(void)
{
    struct keyring *ring = open_ring("secret");
    struct identity who;

    CHECK(keyring_locked(ring));
    CHECK(key_fits(ring, "secret", &who) == CREDENTIAL_FITS);
    CHECK_STR(who.principal, "root");
    CHECK(!who.key && (who.permissions & permission_of(STR("any:thing"))));
    CHECK_STR(who.namespaces, "*");
    CHECK(key_fits(ring, "secre", &who) == CREDENTIAL_WRONG);
    CHECK(key_fits(ring, "secret1", &who) == CREDENTIAL_WRONG);
    keyring_free(ring);
}

static void check_made(struct keyring *ring, const struct key_made *made)
{
    struct identity who;

    CHECK(strlen(made->key) == 47 && strncmp(made->key, "btk_", 4) == 0);
    CHECK(strlen(made->prefix) == 12 && strncmp(made->key, made->prefix, 12) == 0);
    CHECK(key_fits(ring, made->key, &who) == CREDENTIAL_FITS);
    CHECK(strncmp(who.principal, "key:", 4) == 0);
    CHECK_STR(who.principal + 4, made->id);
    CHECK_STR(who.key->id, made->id);
    CHECK_STR(who.key->name, "a key");
    CHECK_STR(who.key->prefix, made->prefix);
    CHECK_STR(who.key->creator, "root");
    CHECK_STR(who.namespaces, "@a @b");
    CHECK(who.key->created > 0 && who.key->used >= who.key->created);
    CHECK(!who.session);
}

static void test_keys(void)
{
    struct keyring *ring = open_ring(NULL);
    const struct key_made admin = create(ring, "admin", "", 0);
    const struct key_made viewer = create(ring, "viewer", "plugins:install", 0);
    const struct key_made custom = create(ring, "custom", "keys:read metrics:read", 0);
    const struct key_made brief = create(ring, "editor", "", 1);
    struct identity who;

    CHECK(keyring_locked(ring));
    for (int i = 0; i < 2; i++) {
        check_made(ring, &admin);
        check_made(ring, &viewer);
        check_made(ring, &custom);
        key_fits(ring, admin.key, &who);
        CHECK(who.permissions == permissions_all);
        key_fits(ring, viewer.key, &who);
        CHECK(who.permissions == role_find(STR("viewer"))->set); /* its own do not count */
        key_fits(ring, custom.key, &who);
        CHECK(who.permissions == permissions_read(STR("keys:read metrics:read")));
        while (key_fits(ring, brief.key, &who) == CREDENTIAL_FITS)
            loop_turn(loop, 1);
        CHECK(key_fits(ring, brief.key, &who) == CREDENTIAL_EXPIRED);
        CHECK_STR(keyring_first(ring)->id, admin.id);
        CHECK(keyring_find(ring, viewer.id)->used > 0);
        if (i == 0) { /* and after a restart */
            keyring_free(ring);
            ring = open_ring(NULL);
            CHECK(keyring_locked(ring));
            CHECK(keyring_find(ring, viewer.id)->used > 0);
        }
    }
    CHECK(strcmp(admin.key, viewer.key) != 0);
    CHECK(end_key(ring, viewer.id) && !end_key(ring, viewer.id));
    CHECK(key_fits(ring, viewer.key, &who) == CREDENTIAL_WRONG);
    CHECK(end_key(ring, admin.id) && end_key(ring, brief.id) && end_key(ring, custom.id));
    CHECK(!keyring_first(ring) && keyring_locked(ring));
    create(ring, "admin", "", 0);
    keyring_free(ring);

    ring = open_ring(NULL);
    CHECK(key_fits(ring, viewer.key, &who) == CREDENTIAL_WRONG);
    CHECK(key_fits(ring, admin.key, &who) == CREDENTIAL_WRONG);
    CHECK(end_key(ring, keyring_first(ring)->id));
    keyring_free(ring);

    ring = open_ring(NULL); /* there is none any more, but was */
    CHECK(!keyring_first(ring) && keyring_locked(ring));
    keyring_free(ring);
    remove_state();
}

/* --- sessions --- */

static void test_sessions(void)
{
    struct keyring *ring = open_ring("secret");
    const struct key_made one = create(ring, "viewer", "", 0), two = create(ring, "admin", "", 0);
    char root[TOKEN_SIZE], first[TOKEN_SIZE], second[TOKEN_SIZE], other[TOKEN_SIZE];
    struct identity who;

    log_in(ring, "secret", root);
    log_in(ring, one.key, first);
    log_in(ring, one.key, second);
    log_in(ring, two.key, other);
    CHECK(token_fits(ring, "", &who) == CREDENTIAL_WRONG);
    CHECK(token_fits(ring, one.key, &who) == CREDENTIAL_WRONG);
    CHECK(token_fits(ring, "0123456789012345678901234567890123456789012", &who) ==
          CREDENTIAL_EXPIRED);
    CHECK(key_fits(ring, first, &who) == CREDENTIAL_WRONG); /* a token is no key */
    keyring_free(ring);

    ring = open_ring("secret"); /* they outlive a restart */
    CHECK(token_fits(ring, root, &who) == CREDENTIAL_FITS);
    CHECK(who.session && !who.key && who.expires > 0);
    CHECK_STR(who.principal, "root");
    CHECK(token_fits(ring, first, &who) == CREDENTIAL_FITS);
    CHECK_STR(who.key->id, one.id);
    CHECK(who.permissions == role_find(STR("viewer"))->set);
    log_out(ring, second);
    CHECK(token_fits(ring, second, &who) == CREDENTIAL_EXPIRED);
    CHECK(token_fits(ring, first, &who) == CREDENTIAL_FITS);
    CHECK(end_key(ring, one.id));
    CHECK(token_fits(ring, first, &who) == CREDENTIAL_EXPIRED);
    CHECK(token_fits(ring, other, &who) == CREDENTIAL_FITS);
    keyring_free(ring);

    ring = open_ring("secret");
    CHECK(token_fits(ring, second, &who) == CREDENTIAL_EXPIRED);
    CHECK(token_fits(ring, first, &who) == CREDENTIAL_EXPIRED);
    CHECK(token_fits(ring, root, &who) == CREDENTIAL_FITS);
    keyring_free(ring);

    ring = open_ring("another"); /* a new root key ends what the old one opened */
    CHECK(token_fits(ring, root, &who) == CREDENTIAL_EXPIRED);
    keyring_free(ring);
    remove_state();
}

/* A key that is about to expire, and a session of it; a busy machine needs a longer one. */
static struct key_made log_in_briefly(struct keyring *ring, char token[TOKEN_SIZE])
{
    for (int64_t lifetime = 200;; lifetime *= 2) {
        const struct key_made made = create(ring, "viewer", "", lifetime);
        struct identity who;

        CHECK(lifetime < 60000);
        struct outcome outcome = {.done = false};

        keyring_log_in(ring, made.id, token, (struct key_done){settle, &outcome});
        CHECK(wait_for(&outcome));
        if (token_fits(ring, token, &who) == CREDENTIAL_FITS)
            return made;
    }
}

static void test_session_of_brief_key(void)
{
    struct keyring *ring = open_ring(NULL);
    char token[TOKEN_SIZE];
    const struct key_made made = log_in_briefly(ring, token);
    struct identity who;

    while (token_fits(ring, token, &who) == CREDENTIAL_FITS) {
        CHECK(who.expires == keyring_find(ring, made.id)->expires);
        loop_turn(loop, 10);
    }
    CHECK(token_fits(ring, token, &who) == CREDENTIAL_EXPIRED);
    keyring_free(ring);
    remove_state();
}

static void count_done(void *arg, const struct err *err)
{
    if (err)
        fprintf(stderr, "%s\n", err->message);
    CHECK(!err);
    ++*(unsigned *)arg;
}

static void test_many_sessions(void)
{
    struct keyring *ring = open_ring("secret");
    char first[TOKEN_SIZE], token[TOKEN_SIZE];
    struct identity who;
    unsigned done = 0;
    uint64_t begun;

    log_in(ring, "secret", first);
    begun = clock_now_ns();
    while (clock_now_ns() < begun + 5000000)
        loop_turn(loop, 1);
    for (int i = 1; i < SESSIONS_MAX; i++)
        keyring_log_in(ring, "", token, (struct key_done){count_done, &done});
    while (done < SESSIONS_MAX - 1)
        loop_turn(loop, 10);
    log_in(ring, "secret", token);
    CHECK(token_fits(ring, token, &who) == CREDENTIAL_FITS);
    CHECK(token_fits(ring, first, &who) == CREDENTIAL_EXPIRED); /* not used for longest */
    keyring_free(ring);
    remove_state();
}

int main(void)
{
    static const keyring_test tests[] = {
        test_nothing,       test_root, test_keys, test_sessions, test_session_of_brief_key,
        test_many_sessions,
    };

    return run_tests(tests, LEN(tests));
}
