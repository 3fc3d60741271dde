/* Where keys and sessions are kept: what the keyring (data/keyring.h) wants of a database.
 *
 * The keyring answers every question from memory; a store is told of changes, and tells of what
 * it finds through its sink: everything once, at load(), and, where others change the same
 * database (replicas), later as well. Nothing here blocks. `done` is called exactly once, never
 * from inside the call, with NULL when it came through; texts are borrowed for the call.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct loop;
struct postgres;

/* Times are ms since 1970; 0: never. */
struct key_record {
    const unsigned char *digest; /* SHA-256 of the key, DIGEST_BYTES */
    const char *id, *name, *prefix, *role;
    const char *permissions, *namespaces; /* each with single spaces in between */
    const char *creator;                  /* a principal */
    int64_t created, expires, used;
    bool revoked;
};

struct session_record {
    const unsigned char *digest;
    const char *key; /* the key's id; "": the root key */
    int64_t created, used;
};

/* What a store knows goes here; a record that is known already is replaced. A store that others
 * change too reads everything again when it may have missed something: what is not told between
 * reading() and read(NULL) is gone.
 */
struct key_sink {
    void *keyring;
    void (*key)(void *keyring, const struct key_record *record);
    void (*key_revoked)(void *keyring, const char *id);
    void (*session)(void *keyring, const struct session_record *record);
    void (*session_ended)(void *keyring, const unsigned char *digest);
    void (*reading)(void *keyring);
    void (*read)(void *keyring, const struct err *err); /* err: it is tried again */
};

struct key_done {
    void (*call)(void *arg, const struct err *err); /* may be NULL */
    void *arg;
};

/* The first member of every store. */
struct key_store {
    bool shared; /* with replicas: it tells of its reading, which goes on when load() fails */
    void (*load)(struct key_store *store, struct key_done done);
    void (*add_key)(struct key_store *store, const struct key_record *key, struct key_done done);
    /* Ends its sessions as well. */
    void (*revoke_key)(struct key_store *store, const char *id, int64_t now, struct key_done done);
    void (*use_key)(struct key_store *store, const char *id, int64_t now, struct key_done done);
    void (*add_session)(struct key_store *store,
                        const struct session_record *session,
                        struct key_done done);
    void (*use_session)(struct key_store *store,
                        const unsigned char *digest,
                        int64_t now,
                        struct key_done done);
    void (*end_session)(struct key_store *store, const unsigned char *digest, struct key_done done);
    void (*close)(struct key_store *store); /* frees it; what waits fails, and is told so */
};

/* How long a session lives: unused, and at all. Stores drop what is older. */
#define SESSION_IDLE_MS (INT64_C(12) * 3600 * 1000)
#define SESSION_LIFE_MS (INT64_C(7) * 24 * 3600 * 1000)

/* keys.db in `dir`, which is made (0700) with the first key: before that there is no file, and
 * load() finds nothing.
 */
struct key_store *key_store_sqlite(struct loop *loop, const char *dir, const struct key_sink *sink);
bool key_store_sqlite_exists(const char *dir); /* whether there is something of that name */

/* The tables buntime_keys and buntime_sessions, which are made when they are not there. Others
 * hear of each change at once, over the channel buntime_keys. The pool is the caller's and is
 * closed after the store.
 */
struct key_store *
key_store_postgres(struct loop *loop, struct postgres *database, const struct key_sink *sink);
