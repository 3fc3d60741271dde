/* Keys and sessions in a file: what is written, and files that are not what they should be. */
#include "keyring_support.h"

#include <fcntl.h>

#include "data/sqlite.h"

static mode_t mode_of(const char *name)
{
    char path[128];
    struct stat info;

    snprintf(path, sizeof(path), "%s%s", state, name);
    CHECK(stat(path, &info) == 0);
    return info.st_mode & 0777;
}

static void test_modes(void)
{
    struct keyring *ring = open_ring(NULL);

    create(ring, "admin", "", 0);
    CHECK(mode_of("") == 0700);
    CHECK(mode_of("/keys.db") == 0600 && mode_of("/keys.db-wal") == 0600);
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
    static const keyring_test tests[] = {
        test_modes,       test_bad_files,   test_damage,
        test_mode_mended, test_not_written, test_revoke_not_written,
    };

    return run_tests(tests, LEN(tests));
}
