/* Keys and sessions, with the SQLite file that they are kept in. */
#include "check.h"

#include <fcntl.h>
#include <stdbool.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/permission.h"
#include "data/files.h"
#include "data/keyring.h"
#include "data/sqlite.h"
#include "ev/loop.h"

static struct loop *loop;
static char dir[] = "/tmp/buntime-keyring-XXXXXX";
static char *state; /* a folder below `dir`, which the keyring makes */
static unsigned problems;

static void on_problem(void *app, const struct err *err)
{
    (void)app;
    fprintf(stderr, "%s\n", err->message);
    problems++;
}

static struct keyring *make_ring(const char *root)
{
    const struct keyring_options options = {
        .loop = loop, .state_dir = state, .root_key = root, .on_problem = on_problem};

    return keyring_new(&options);
}

static struct keyring *open_ring(const char *root)
{
    struct keyring *ring = make_ring(root);
    struct err err;
    const bool ok = keyring_load(ring, &err);

    if (!ok)
        fprintf(stderr, "%s\n", err.message);
    CHECK(ok);
    return ring;
}

struct outcome {
    bool done, ok;
};

static void settle(void *arg, const struct err *err)
{
    struct outcome *outcome = arg;

    CHECK(!outcome->done); /* exactly once */
    outcome->done = true;
    outcome->ok = !err;
    if (err)
        fprintf(stderr, "(%s)\n", err->message);
}

static bool wait_for(const struct outcome *outcome)
{
    const uint64_t end = clock_now_ns() + UINT64_C(30000000000);

    while (!outcome->done && clock_now_ns() < end)
        loop_turn(loop, 10);
    CHECK(outcome->done);
    return outcome->ok;
}

static struct key_made
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

static bool end_key(struct keyring *ring, const char *id)
{
    struct outcome outcome = {.done = false};

    if (!keyring_revoke(ring, id, (struct key_done){settle, &outcome}))
        return false;
    CHECK(wait_for(&outcome));
    return true;
}

static enum credential key_fits(struct keyring *ring, const char *key, struct identity *who)
{
    return keyring_key(ring, str_of(key), who);
}

static enum credential token_fits(struct keyring *ring, const char *token, struct identity *who)
{
    return keyring_session(ring, str_of(token), who);
}

static void remove_state(void)
{
    int root;

    CHECK(files_root(dir, false, &root) == 0);
    files_remove(root, "state", true);
    close(root);
}

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

static mode_t mode_of(const char *name)
{
    char path[128];
    struct stat info;

    snprintf(path, sizeof(path), "%s%s", state, name);
    CHECK(stat(path, &info) == 0);
    return info.st_mode & 0777;
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
    CHECK(mode_of("") == 0700);
    CHECK(mode_of("/keys.db") == 0600 && mode_of("/keys.db-wal") == 0600);
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

static void log_in(struct keyring *ring, const char *key, char token[TOKEN_SIZE])
{
    struct identity who;

    CHECK(key_fits(ring, key, &who) == CREDENTIAL_FITS);
    keyring_log_in(ring, &who, token);
    CHECK(strlen(token) == SECRET_TEXT);
}

static void log_out(struct keyring *ring, const char *token)
{
    struct outcome outcome = {.done = false};

    CHECK(keyring_log_out(ring, str_of(token), (struct key_done){settle, &outcome}));
    CHECK(wait_for(&outcome));
    CHECK(!keyring_log_out(ring, str_of(token), (struct key_done){settle, &outcome}));
}

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
        if (key_fits(ring, made.key, &who) == CREDENTIAL_FITS) {
            keyring_log_in(ring, &who, token);
            if (token_fits(ring, token, &who) == CREDENTIAL_FITS)
                return made;
        }
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

static void test_many_sessions(void)
{
    struct keyring *ring = open_ring("secret");
    char first[TOKEN_SIZE], token[TOKEN_SIZE];
    struct identity who;

    const uint64_t begun = clock_now_ns();

    log_in(ring, "secret", first);
    while (clock_now_ns() < begun + 5000000)
        loop_turn(loop, 1);
    for (int i = 0; i < SESSIONS_MAX; i++)
        keyring_log_in(ring, &identity_root, token);
    CHECK(token_fits(ring, token, &who) == CREDENTIAL_FITS);
    CHECK(token_fits(ring, first, &who) == CREDENTIAL_EXPIRED); /* not used for longest */
    keyring_free(ring);
    remove_state();
}

/* --- files that are not what they should be --- */

static void write_file(const char *name, const char *text)
{
    char path[128];
    int fd;

    mkdir(state, 0755);
    snprintf(path, sizeof(path), "%s/%s", state, name);
    fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    CHECK(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
    close(fd);
}

static void check_refused(const char *title)
{
    struct keyring *ring = make_ring("secret");
    struct err err = {.code = ""};
    const bool ok = keyring_load(ring, &err);

    if (ok)
        fprintf(stderr, "%s was accepted\n", title);
    CHECK(!ok);
    CHECK_STR(err.code, "KEY_STORE_FAILED");
    CHECK(strstr(err.message, "keys.db"));
    keyring_free(ring);
    remove_state();
}

enum { PAGE = 4096 };

static int open_file(off_t *size)
{
    char path[128];
    struct stat info;
    int fd;

    snprintf(path, sizeof(path), "%s/keys.db", state);
    fd = open(path, O_RDWR);
    CHECK(fd >= 0 && fstat(fd, &info) == 0 && info.st_size >= 3 * PAGE);
    *size = info.st_size;
    return fd;
}

/* Damages one page after the other, also those that only an index is in. */
static void test_damage(void)
{
    char junk[PAGE];
    off_t size = 4 * PAGE;

    memset(junk, 'x', sizeof(junk));
    for (off_t at = 0; at < size; at += PAGE) {
        struct keyring *ring = open_ring(NULL);
        int fd;

        create(ring, "admin", "", 0);
        keyring_free(ring);
        fd = open_file(&size);
        CHECK(pwrite(fd, junk, sizeof(junk), at) == (ssize_t)sizeof(junk));
        close(fd);
        check_refused("a damaged file");
    }
}

static void test_mode_mended(void)
{
    char path[128];
    struct keyring *ring = open_ring(NULL);

    create(ring, "admin", "", 0);
    keyring_free(ring);
    snprintf(path, sizeof(path), "%s/keys.db", state);
    CHECK(chmod(path, 0644) == 0);
    ring = open_ring(NULL);
    CHECK(mode_of("/keys.db") == 0600);
    keyring_free(ring);
    remove_state();
}

static void test_bad_files(void)
{
    char path[128];

    write_file("keys.db",
               "this is no database, and is long enough to be looked at as one: 100 bytes."
               "                                                    ");
    check_refused("a text");
    snprintf(path, sizeof(path), "%s/keys.db", state);
    CHECK(mkdir(state, 0755) == 0 && mkdir(path, 0755) == 0);
    check_refused("a folder");
    CHECK(mkdir(state, 0755) == 0 && symlink("elsewhere", path) == 0);
    check_refused("a link");
}

static void test_not_written(void)
{
    struct keyring *ring;
    struct outcome outcome = {.done = false};
    const struct key_spec spec = {
        .name = "n", .namespaces = "*", .creator = "root", .role = role_find(STR("admin"))};
    struct key_made made;
    struct identity who;
    int fd;

    fd = open(state, O_WRONLY | O_CREAT, 0644); /* where the folder should be */
    CHECK(fd >= 0);
    close(fd);
    ring = open_ring(NULL);
    keyring_create(ring, &spec, &made, (struct key_done){settle, &outcome});
    CHECK(!wait_for(&outcome));
    CHECK(key_fits(ring, made.key, &who) == CREDENTIAL_WRONG);
    CHECK(!keyring_locked(ring) && !keyring_first(ring));
    CHECK(unlink(state) == 0);
    create(ring, "admin", "", 0); /* it is tried again */
    CHECK(keyring_locked(ring));
    keyring_free(ring);
    remove_state();
}

struct hold {
    struct sqlite_request request; /* first */
    bool done;
};

static void held(struct sqlite_request *request)
{
    ((struct hold *)request)->done = true;
}

static void hold_wait(const struct hold *hold)
{
    while (!hold->done)
        loop_turn(loop, 10);
    CHECK(hold->request.ok);
}

/* Another process has the file and does not let go: the key is no good all the same. */
static void test_revoke_not_written(void)
{
    struct keyring *ring = open_ring(NULL);
    const struct key_made made = create(ring, "admin", "", 0);
    const struct sqlite_options options = {
        .root = state, .name = "keys.db", .busy_timeout_ms = 1000, .readers = 1};
    struct hold opened = {.request = {.done = held}};
    struct hold begun = {.request = {.verb = VERB_BEGIN, .done = held}};
    struct sqlite *other = sqlite_open(loop, &options, &opened.request);
    struct outcome outcome = {.done = false};
    struct identity who;
    char token[TOKEN_SIZE];

    log_in(ring, made.key, token);
    while (!opened.done)
        loop_turn(loop, 10);
    sqlite_submit(other, &begun.request);
    hold_wait(&begun);
    CHECK(keyring_revoke(ring, made.id, (struct key_done){settle, &outcome}));
    CHECK(key_fits(ring, made.key, &who) == CREDENTIAL_WRONG);
    CHECK(token_fits(ring, token, &who) == CREDENTIAL_EXPIRED);
    CHECK(!wait_for(&outcome));
    CHECK(key_fits(ring, made.key, &who) == CREDENTIAL_WRONG);
    CHECK(keyring_find(ring, made.id));
    sqlite_request_fini(&opened.request);
    sqlite_request_fini(&begun.request);
    sqlite_close(other); /* rolls back */

    CHECK(end_key(ring, made.id)); /* the second try */
    CHECK(!keyring_find(ring, made.id));
    keyring_free(ring);
    problems = 0; /* of "last used", where it came after the lock */
    ring = open_ring(NULL);
    CHECK(key_fits(ring, made.key, &who) == CREDENTIAL_WRONG);
    keyring_free(ring);
    remove_state();
}

int main(void)
{
    static void (*const tests[])(void) = {
        test_nothing,
        test_root,
        test_keys,
        test_sessions,
        test_session_of_brief_key,
        test_many_sessions,
        test_bad_files,
        test_damage,
        test_mode_mended,
        test_not_written,
        test_revoke_not_written,
    };
    struct err err;
    int parent;

    CHECK(mkdtemp(dir));
    state = mem_printf("%s/state", dir);
    loop = loop_new(&err);
    CHECK(loop);
    for (size_t i = 0; i < LEN(tests); i++)
        tests[i]();
    loop_free(loop);
    CHECK(problems == 0);
    CHECK(files_root("/tmp", false, &parent) == 0);
    CHECK(files_remove(parent, dir + strlen("/tmp/"), true) == 0);
    close(parent);
    free(state);
    return 0;
}
