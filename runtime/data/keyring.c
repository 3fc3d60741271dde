#include "data/keyring.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>

#include "base/mem.h"
#include "base/permission.h"
#include "data/keyring_impl.h"
#include "ev/loop.h"

enum {
    USE_SAVE_MS = 60000, /* how often "last used" is written */
    CLOSE_MS = 5000,
    TURN_MS = 50,
};

static const struct role everything = {.name = "admin"};

const struct identity identity_anonymous = {.principal = "anonymous", .namespaces = ""};
const struct identity identity_local = {
    .principal = "local", .role = &everything, .permissions = ~0U, .namespaces = "*"};
const struct identity identity_root = {
    .principal = "root", .role = &everything, .permissions = ~0U, .namespaces = "*"};

int64_t keyring_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* --- digests --- */

static void digest_of(struct str a, struct str b, unsigned char out[static DIGEST_BYTES])
{
    EVP_MD_CTX *context = EVP_MD_CTX_new();

    if (!context || !EVP_DigestInit_ex(context, EVP_sha256(), NULL) ||
        !EVP_DigestUpdate(context, a.at, a.len) || !EVP_DigestUpdate(context, b.at, b.len) ||
        !EVP_DigestFinal_ex(context, out, NULL))
        abort();
    EVP_MD_CTX_free(context);
}

void keyring_session_digest(const struct keyring *ring,
                            struct str token,
                            unsigned char out[static DIGEST_BYTES])
{
    const struct str root = {(const char *)ring->root, ring->has_root ? DIGEST_BYTES : 0};

    digest_of(root, token, out);
}

/* --- life --- */

struct keyring *keyring_new(const struct keyring_options *options)
{
    struct keyring *ring = mem_alloc(sizeof(*ring));
    struct key_sink sink = keyring_sink(ring);

    ring->options = *options;
    ring->has_root = options->root_key != NULL;
    if (ring->has_root)
        digest_of(str_of(options->root_key), STR(""), ring->root);
    ring->options.root_key = NULL;
    if (options->database) {
        ring->store = key_store_postgres(options->loop, options->database, &sink);
        ring->blind = true;
        err_set(&ring->problem, "KEY_STORE_FAILED", "the keys have not been read yet");
        /* A door that was closed stays closed. */
        ring->ever = options->state_dir && key_store_sqlite_exists(options->state_dir);
    } else if (options->state_dir)
        ring->store = key_store_sqlite(options->loop, options->state_dir, &sink);
    return ring;
}

static void loaded(void *arg, const struct err *err)
{
    struct keyring *ring = arg;

    ring->loaded = true;
    ring->failed = err != NULL;
    if (err)
        ring->problem = *err;
}

bool keyring_load(struct keyring *ring, struct err *err)
{
    bool turns = true;

    ring->store->load(ring->store, (struct key_done){loaded, ring});
    while (!ring->loaded && turns)
        turns = loop_turn(ring->options.loop, TURN_MS);
    if (!ring->loaded)
        return err_set(err, "STOPPED", "the loop ended while the keys were read");
    if (ring->failed)
        *err = ring->problem;
    return !ring->failed || ring->store->shared;
}

void keyring_free(struct keyring *ring)
{
    const uint64_t end = clock_now_ns() + (uint64_t)CLOSE_MS * 1000000;

    if (!ring)
        return;
    ring->closing = true;
    while (ring->changes > 0 && clock_now_ns() < end)
        loop_turn(ring->options.loop, TURN_MS);
    if (ring->store)
        ring->store->close(ring->store);
    if (ring->changes > 0)
        return; /* they will look for it, if they ever end */
    keyring_drop_all(ring);
    OPENSSL_cleanse(ring->root, DIGEST_BYTES);
    free(ring);
}

/* --- changes --- */

struct change {
    struct keyring *ring;
    struct key_done done;
};

static void change_ended(void *arg, const struct err *err)
{
    struct change *change = arg;
    const struct keyring_options *options = &change->ring->options;

    change->ring->changes--;
    if (change->done.call)
        change->done.call(change->done.arg, err);
    else if (err && options->on_problem && !change->ring->closing)
        options->on_problem(options->app, err);
    free(change);
}

struct key_done keyring_change(struct keyring *ring, struct key_done done)
{
    struct change *change = mem_alloc(sizeof(*change));

    change->ring = ring;
    change->done = done;
    ring->changes++;
    return (struct key_done){change_ended, change};
}

/* --- asking --- */

bool keyring_locked(const struct keyring *ring)
{
    return ring->has_root || ring->ever || ring->blind;
}

const char *keyring_problem(const struct keyring *ring)
{
    return ring->blind ? ring->problem.message : NULL;
}

const struct api_key *keyring_first(const struct keyring *ring)
{
    return ring->first_key;
}

const struct api_key *keyring_find(const struct keyring *ring, const char *id)
{
    for (const struct api_key *key = ring->first_key; key; key = key->next) {
        if (strcmp(key->id, id) == 0)
            return key;
    }
    return NULL;
}

bool keyring_full(const struct keyring *ring)
{
    return ring->keys.count >= KEYS_MAX;
}

static void identify(const struct api_key *key, struct identity *who)
{
    *who = (struct identity){
        .principal = key->principal,
        .key = key,
        .role = key->role,
        .permissions = key->permissions,
        .namespaces = key->namespaces,
        .expires = key->expires,
    };
}

static void use_key(struct keyring *ring, struct api_key *key, int64_t now)
{
    key->used = now;
    if (now - key->saved < USE_SAVE_MS && key->saved <= now)
        return;
    key->saved = now;
    ring->store->use_key(ring->store, key->id, now, keyring_change(ring, (struct key_done){0}));
}

static void use_session(struct keyring *ring, struct session *session, int64_t now)
{
    session->used = now;
    if (now - session->saved < USE_SAVE_MS && session->saved <= now)
        return;
    session->saved = now;
    ring->store->use_session(ring->store, session->node.digest, now,
                             keyring_change(ring, (struct key_done){0}));
}

static bool is_key(struct str text)
{
    return text.len == KEY_SIZE - 1 && str_starts(text, STR("btk_"));
}

enum credential keyring_key(struct keyring *ring, struct str text, struct identity *who)
{
    const int64_t now = keyring_now();
    unsigned char sum[DIGEST_BYTES];
    struct api_key *key;

    digest_of(text, STR(""), sum);
    if (ring->has_root && CRYPTO_memcmp(sum, ring->root, sizeof(sum)) == 0) {
        *who = identity_root;
        return CREDENTIAL_FITS;
    }
    if (ring->blind)
        return is_key(text) ? CREDENTIAL_UNKNOWN : CREDENTIAL_WRONG; /* of the root key */
    key = (struct api_key *)digest_map_find(&ring->keys, sum);
    if (!key || key->revoked)
        return CREDENTIAL_WRONG;
    if (key->expires && now >= key->expires)
        return CREDENTIAL_EXPIRED;
    use_key(ring, key, now);
    identify(key, who);
    return CREDENTIAL_FITS;
}

static bool is_token(struct str text)
{
    if (text.len != SECRET_TEXT)
        return false;
    for (size_t i = 0; i < text.len; i++) {
        const char c = text.at[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
              c == '-' || c == '_'))
            return false;
    }
    return true;
}

static int64_t session_end(const struct session *session)
{
    const int64_t idle = session->used + SESSION_IDLE_MS, life = session->created + SESSION_LIFE_MS;
    const int64_t end = idle < life ? idle : life;

    return session->key && session->key->expires && session->key->expires < end
               ? session->key->expires
               : end;
}

enum credential keyring_session(struct keyring *ring, struct str token, struct identity *who)
{
    const int64_t now = keyring_now();
    unsigned char sum[DIGEST_BYTES];
    struct session *session;

    if (!is_token(token))
        return CREDENTIAL_WRONG;
    if (ring->blind)
        return CREDENTIAL_UNKNOWN;
    keyring_session_digest(ring, token, sum);
    session = (struct session *)digest_map_find(&ring->sessions, sum);
    if (!session || keyring_session_over(session, now))
        return CREDENTIAL_EXPIRED;
    use_session(ring, session, now);
    if (session->key) {
        use_key(ring, (struct api_key *)(uintptr_t)session->key, now);
        identify(session->key, who);
    } else {
        *who = identity_root;
    }
    who->session = true;
    who->expires = session_end(session);
    return CREDENTIAL_FITS;
}
