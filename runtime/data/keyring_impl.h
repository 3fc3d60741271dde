/* What keyring*.c share. */
#pragma once

#include "data/keyring.h"

struct session {
    struct digest_node node;   /* first */
    const struct api_key *key; /* NULL: the root key */
    int64_t created, used, saved;
    unsigned seen;
    struct session *next, *prev;
};

struct keyring {
    struct keyring_options options;
    struct key_store *store;
    bool has_root, ever; /* ever: there is or was a key beside the root key */
    unsigned char root[DIGEST_BYTES];
    struct digest_map keys, sessions;
    struct api_key *first_key, *last_key;
    struct session *first_session;
    struct random_pool ids; /* one, so that keys of one moment are in order */
    unsigned changes;       /* that are being written */
    bool closing;
    bool blind;          /* a store that is shared could not be read yet */
    unsigned round;      /* of reading; who was not seen in it is gone */
    bool loaded, failed; /* the first reading */
    struct err problem;
};

int64_t keyring_now(void);

/* Of what a session's token is, together with the root key, so that another one ends it. */
void keyring_session_digest(const struct keyring *ring,
                            struct str token,
                            unsigned char out[static DIGEST_BYTES]);

/* For a change: the keyring lives until it has ended. */
struct key_done keyring_change(struct keyring *ring, struct key_done done);

bool keyring_session_over(const struct session *session, int64_t now);

/* --- keyring_records.c: memory --- */
struct api_key *keyring_add_key(struct keyring *ring, const struct key_record *record);
void keyring_drop_key(struct keyring *ring, struct api_key *key); /* with its sessions */
void keyring_drop_sessions(struct keyring *ring, const struct api_key *key);
struct session *keyring_add_session(struct keyring *ring,
                                    const unsigned char *digest,
                                    const struct api_key *key,
                                    int64_t created);
void keyring_drop_session(struct keyring *ring, struct session *session);
void keyring_drop_all(struct keyring *ring);
struct key_sink keyring_sink(struct keyring *ring);
