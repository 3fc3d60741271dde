/* Making and ending keys and sessions. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>

#include "base/base64.h"
#include "base/mem.h"
#include "base/permission.h"
#include "data/keyring_impl.h"

enum { SECRET_BYTES = 32 };

static void make_secret(char out[static SECRET_TEXT])
{
    char bytes[SECRET_BYTES];

    random_bytes(bytes, sizeof(bytes));
    base64_encode((struct str){bytes, sizeof(bytes)}, true, out);
    OPENSSL_cleanse(bytes, sizeof(bytes));
}

/* --- keys --- */

/* What is being written; the texts belong to it. */
struct creation {
    struct keyring *ring;
    struct key_done done;
    struct key_record record;
    unsigned char digest[DIGEST_BYTES];
    char id[UUID_SIZE], prefix[KEY_PREFIX_SIZE], permissions[PERMISSIONS_TEXT_MAX];
    char *name, *namespaces, *creator;
};

static void created(void *arg, const struct err *err)
{
    struct creation *creation = arg;

    if (!err) {
        creation->ring->ever = true;
        if (!digest_map_find(&creation->ring->keys, creation->digest)) /* the store may be faster */
            keyring_add_key(creation->ring, &creation->record);
    }
    if (creation->done.call)
        creation->done.call(creation->done.arg, err);
    free(creation->name);
    free(creation->namespaces);
    free(creation->creator);
    free(creation);
}

static void fill_record(struct creation *creation, const struct key_spec *spec)
{
    const int64_t now = keyring_now();

    creation->name = mem_copy(spec->name);
    creation->namespaces = mem_copy(spec->namespaces);
    creation->creator = mem_copy(spec->creator);
    permissions_write(spec->role->custom ? spec->permissions : 0, creation->permissions);
    creation->record = (struct key_record){
        .digest = creation->digest,
        .id = creation->id,
        .name = creation->name,
        .prefix = creation->prefix,
        .role = spec->role->name,
        .permissions = creation->permissions,
        .namespaces = creation->namespaces,
        .creator = creation->creator,
        .created = now,
        .expires = spec->lifetime ? now + spec->lifetime : 0,
    };
}

void keyring_create(struct keyring *ring,
                    const struct key_spec *spec,
                    struct key_made *made,
                    struct key_done done)
{
    struct creation *creation = mem_alloc(sizeof(*creation));

    memcpy(made->key, "btk_", 4);
    make_secret(made->key + 4);
    made->key[KEY_SIZE - 1] = '\0';
    uuid_v7(&ring->ids, made->id);
    memcpy(made->prefix, made->key, KEY_PREFIX_SIZE - 1);
    made->prefix[KEY_PREFIX_SIZE - 1] = '\0';

    creation->ring = ring;
    creation->done = done;
    memcpy(creation->id, made->id, UUID_SIZE);
    memcpy(creation->prefix, made->prefix, KEY_PREFIX_SIZE);
    if (!EVP_Digest(made->key, KEY_SIZE - 1, creation->digest, NULL, EVP_sha256(), NULL))
        abort();
    fill_record(creation, spec);
    ring->store->add_key(ring->store, &creation->record,
                         keyring_change(ring, (struct key_done){created, creation}));
}

struct revocation {
    struct keyring *ring;
    struct key_done done;
    char id[UUID_SIZE];
};

static void revoked(void *arg, const struct err *err)
{
    struct revocation *revocation = arg;
    const struct api_key *key = keyring_find(revocation->ring, revocation->id);

    if (key && !err)
        keyring_drop_key(revocation->ring, (struct api_key *)(uintptr_t)key);
    if (revocation->done.call)
        revocation->done.call(revocation->done.arg, err);
    free(revocation);
}

bool keyring_revoke(struct keyring *ring, const char *id, struct key_done done)
{
    struct api_key *key = (struct api_key *)(uintptr_t)keyring_find(ring, id);
    struct revocation *revocation;

    if (!key)
        return false;
    revocation = mem_alloc(sizeof(*revocation));
    revocation->ring = ring;
    revocation->done = done;
    memcpy(revocation->id, key->id, UUID_SIZE);
    key->revoked = true;
    keyring_drop_sessions(ring, key);
    ring->store->revoke_key(ring->store, key->id, keyring_now(),
                            keyring_change(ring, (struct key_done){revoked, revocation}));
    return true;
}

/* --- sessions --- */

static void end_session(struct keyring *ring, struct session *session, struct key_done done)
{
    ring->store->end_session(ring->store, session->node.digest, keyring_change(ring, done));
    keyring_drop_session(ring, session);
}

/* The one that was not used for longest, but for `kept`. */
static struct session *find_oldest(const struct keyring *ring, const struct session *kept)
{
    struct session *oldest = NULL;

    for (struct session *session = ring->first_session; session; session = session->next) {
        if (session != kept && (!oldest || session->used < oldest->used))
            oldest = session;
    }
    return oldest;
}

/* Ends those that are over, and what is too many. */
static void make_room(struct keyring *ring, const struct session *kept)
{
    const int64_t now = keyring_now();

    for (struct session *session = ring->first_session, *next; session; session = next) {
        next = session->next;
        if (session != kept && keyring_session_over(session, now))
            end_session(ring, session, (struct key_done){0});
    }
    while (ring->sessions.count > SESSIONS_MAX)
        end_session(ring, find_oldest(ring, kept), (struct key_done){0});
}

/* What is being written. */
struct login {
    struct keyring *ring;
    struct key_done done;
    unsigned char digest[DIGEST_BYTES];
    char key[UUID_SIZE];
    int64_t created;
};

static void begin_session(const struct login *login, const struct api_key *key)
{
    struct keyring *ring = login->ring;
    struct digest_node *known = digest_map_find(&ring->sessions, login->digest);
    struct session *session = (struct session *)known; /* when the store was faster */

    if (!session)
        session = keyring_add_session(ring, login->digest, key, login->created);
    make_room(ring, session);
}

static void logged_in(void *arg, const struct err *problem)
{
    struct login *login = arg;
    const struct api_key *key = *login->key ? keyring_find(login->ring, login->key) : NULL;
    struct err err;

    if (!problem && *login->key && (!key || key->revoked)) {
        err_set(&err, "AUTH_REQUIRED", "The key was revoked");
        problem = &err;
    }
    if (!problem)
        begin_session(login, key);
    if (login->done.call)
        login->done.call(login->done.arg, problem);
    free(login);
}

void keyring_log_in(struct keyring *ring,
                    const char *key,
                    char token[TOKEN_SIZE],
                    struct key_done done)
{
    struct login *login = mem_alloc(sizeof(*login));
    struct session_record record;

    make_secret(token);
    token[TOKEN_SIZE - 1] = '\0';
    login->ring = ring;
    login->done = done;
    login->created = keyring_now();
    snprintf(login->key, sizeof(login->key), "%s", key);
    keyring_session_digest(ring, (struct str){token, SECRET_TEXT}, login->digest);
    record = (struct session_record){
        .digest = login->digest,
        .key = login->key,
        .created = login->created,
        .used = login->created,
    };
    ring->store->add_session(ring->store, &record,
                             keyring_change(ring, (struct key_done){logged_in, login}));
}

bool keyring_log_out(struct keyring *ring, struct str token, struct key_done done)
{
    unsigned char sum[DIGEST_BYTES];
    struct session *session;

    keyring_session_digest(ring, token, sum);
    session = (struct session *)digest_map_find(&ring->sessions, sum);
    if (!session)
        return false;
    end_session(ring, session, done);
    return true;
}
