/* The keys and sessions of the control plane (SPEC 8): whom a credential belongs to, and what that
 * one may do.
 *
 * All of it is in memory, so asking never waits; every change is written to a store
 * (data/key_store.h), which tells of what other replicas change. Of a key or a session's token only
 * the SHA-256 is kept. A session lives for SESSION_LIFE_MS, and for SESSION_IDLE_MS after its last
 * use, and not longer than its key; it ends with a change of the root key. When a key or session
 * was used is written once a minute.
 *
 * Knows nothing of requests: that is app/auth.c. Times are ms since 1970; 0: never.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/random.h"
#include "base/str.h"
#include "data/digest_map.h"
#include "data/key_store.h"

struct keyring;
struct loop;
struct role;

enum {
    SECRET_TEXT = 43,               /* 32 random bytes in base64url */
    KEY_SIZE = 4 + SECRET_TEXT + 1, /* "btk_…" and a NUL */
    TOKEN_SIZE = SECRET_TEXT + 1,   /* of a session */
    KEY_PREFIX_SIZE = 4 + 8 + 1,    /* what lists show of a key */
    PRINCIPAL_SIZE = 4 + UUID_SIZE, /* "key:" and the id */
    KEYS_MAX = 10000,               /* that are not revoked */
    SESSIONS_MAX = 4096,            /* then the one not used for longest ends */
};

struct api_key {
    struct digest_node node; /* first */
    char id[UUID_SIZE], principal[PRINCIPAL_SIZE], prefix[KEY_PREFIX_SIZE];
    char *name, *namespaces, *creator; /* namespaces: "*", or scopes with spaces in between */
    const struct role *role;
    unsigned permissions; /* base/permission.h */
    int64_t created, expires, used, saved;
    bool revoked; /* no good any more, and goes as soon as that is written */
    unsigned seen;
    struct api_key *next; /* in the order they were made */
};

/* Who calls. The texts are the key's: good until the loop turns. */
struct identity {
    const char *principal; /* "root", "local", "key:<id>", "anonymous" */
    const struct api_key *key;
    const struct role *role; /* NULL: nobody's */
    unsigned permissions;
    const char *namespaces;
    bool session;
    int64_t expires;
};

extern const struct identity identity_anonymous, identity_local, identity_root;

struct keyring_options {
    struct loop *loop;
    const char *state_dir;
    struct postgres *database; /* for all replicas; NULL: a file in `state_dir` */
    const char *root_key;      /* or NULL */
    /* A change that nobody waits for could not be written. May be NULL. */
    void (*on_problem)(void *app, const struct err *err);
    /* The database could not be read, which is tried again; NULL: it could. May be NULL. */
    void (*on_read)(void *app, const struct err *err);
    void *app;
};

struct keyring *keyring_new(const struct keyring_options *options);

/* Reads what there is, running the loop meanwhile. Without it there is only the root key. A
 * database that cannot be read is no failure: until it can, only the root key fits.
 */
bool keyring_load(struct keyring *ring, struct err *err);

/* Runs the loop until what was changed is written, for a few seconds at most. NULL is fine. */
void keyring_free(struct keyring *ring);

/* Why nothing but the root key is known; NULL when all is. */
const char *keyring_problem(const struct keyring *ring);

/* Whether callers need a credential: there is a root key, or ever was another, or who knows. */
bool keyring_locked(const struct keyring *ring);

/* Of a session, EXPIRED is any that is not there (any more); WRONG is what never was a token.
 * UNKNOWN is what may be a key or a session: see keyring_problem().
 */
enum credential { CREDENTIAL_WRONG, CREDENTIAL_EXPIRED, CREDENTIAL_UNKNOWN, CREDENTIAL_FITS };

enum credential keyring_key(struct keyring *ring, struct str key, struct identity *who);
enum credential keyring_session(struct keyring *ring, struct str token, struct identity *who);

/* --- keys --- */
const struct api_key *keyring_first(const struct keyring *ring); /* walk by ->next */
const struct api_key *keyring_find(const struct keyring *ring, const char *id);
bool keyring_full(const struct keyring *ring);

struct key_spec {
    const char *name, *namespaces, *creator;
    const struct role *role;
    unsigned permissions; /* of the role "custom" */
    int64_t lifetime;     /* ms; 0: for ever */
};

struct key_made {
    char key[KEY_SIZE], id[UUID_SIZE], prefix[KEY_PREFIX_SIZE];
};

/* The key is good when `done` is told so. `made` is filled at once. */
void keyring_create(struct keyring *ring,
                    const struct key_spec *spec,
                    struct key_made *made,
                    struct key_done done);

/* False when there is no such key. It and its sessions are no good any more, at once; `done` tells
 * whether for good. If not the key is still there, so that it can be tried again.
 */
bool keyring_revoke(struct keyring *ring, const char *id, struct key_done done);

/* --- sessions --- */
/* For the key of this id; "": the root key. The session is good when `done` is told so; `token` is
 * filled at once.
 */
void keyring_log_in(struct keyring *ring,
                    const char *key,
                    char token[TOKEN_SIZE],
                    struct key_done done);

/* False when there is no such session. It ends at once; `done` tells whether for good. */
bool keyring_log_out(struct keyring *ring, struct str token, struct key_done done);
