/* The keyring's memory, and what a store tells of. */
#include "data/keyring_impl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/permission.h"

/* --- sessions --- */

void keyring_drop_session(struct keyring *ring, struct session *session)
{
    digest_map_remove(&ring->sessions, &session->node);
    if (session->prev)
        session->prev->next = session->next;
    else
        ring->first_session = session->next;
    if (session->next)
        session->next->prev = session->prev;
    free(session);
}

struct session *keyring_add_session(struct keyring *ring,
                                    const unsigned char *digest,
                                    const struct api_key *key,
                                    int64_t created)
{
    struct session *session = mem_alloc(sizeof(*session));

    memcpy(session->node.digest, digest, DIGEST_BYTES);
    session->key = key;
    session->created = session->used = session->saved = created;
    session->seen = ring->round;
    session->next = ring->first_session;
    if (session->next)
        session->next->prev = session;
    ring->first_session = session;
    digest_map_add(&ring->sessions, &session->node);
    return session;
}

bool keyring_session_over(const struct session *session, int64_t now)
{
    return now >= session->used + SESSION_IDLE_MS || now >= session->created + SESSION_LIFE_MS ||
           (session->key && session->key->expires && now >= session->key->expires);
}

/* --- keys --- */

static void free_key(struct api_key *key)
{
    free(key->name);
    free(key->namespaces);
    free(key->creator);
    free(key);
}

void keyring_drop_sessions(struct keyring *ring, const struct api_key *key)
{
    for (struct session *session = ring->first_session, *next; session; session = next) {
        next = session->next;
        if (session->key == key)
            keyring_drop_session(ring, session);
    }
}

void keyring_drop_key(struct keyring *ring, struct api_key *key)
{
    struct api_key **at = &ring->first_key, *before = NULL;

    keyring_drop_sessions(ring, key);
    for (; *at != key; at = &(*at)->next)
        before = *at;
    *at = key->next;
    if (ring->last_key == key)
        ring->last_key = before;
    digest_map_remove(&ring->keys, &key->node);
    free_key(key);
}

static struct api_key *new_key(const struct key_record *record)
{
    struct api_key *key = mem_alloc(sizeof(*key));

    memcpy(key->node.digest, record->digest, DIGEST_BYTES);
    snprintf(key->id, sizeof(key->id), "%s", record->id);
    snprintf(key->principal, sizeof(key->principal), "key:%s", key->id);
    snprintf(key->prefix, sizeof(key->prefix), "%s", record->prefix);
    key->name = mem_copy(record->name);
    key->namespaces = mem_copy(record->namespaces);
    key->creator = mem_copy(record->creator);
    key->role = role_find(str_of(record->role));
    key->permissions = permissions_read(str_of(record->permissions));
    if (key->role && !key->role->custom)
        key->permissions = key->role->set;
    key->created = record->created;
    key->expires = record->expires;
    key->used = key->saved = record->used;
    return key;
}

/* The order they were made in, wherever that was. */
static bool is_before(const struct api_key *a, const struct api_key *b)
{
    return a->created < b->created || (a->created == b->created && strcmp(a->id, b->id) < 0);
}

struct api_key *keyring_add_key(struct keyring *ring, const struct key_record *record)
{
    struct api_key *key = new_key(record), **at = &ring->first_key;

    if (ring->last_key && is_before(ring->last_key, key))
        at = &ring->last_key->next;
    while (*at && is_before(*at, key))
        at = &(*at)->next;
    key->next = *at;
    *at = key;
    if (!key->next)
        ring->last_key = key;
    key->seen = ring->round;
    digest_map_add(&ring->keys, &key->node);
    return key;
}

void keyring_drop_all(struct keyring *ring)
{
    while (ring->first_session)
        keyring_drop_session(ring, ring->first_session);
    for (struct api_key *key = ring->first_key, *next; key; key = next) {
        next = key->next;
        free_key(key);
    }
    digest_map_fini(&ring->keys);
    digest_map_fini(&ring->sessions);
}

/* --- what a store tells --- */

/* When another replica's clock is ahead, its use is one of now. */
static void heard_of_use(int64_t heard, int64_t *used, int64_t *saved)
{
    const int64_t now = keyring_now(), at = heard < now ? heard : now;

    if (*used < at)
        *used = at;
    if (*saved < at)
        *saved = at;
}

static void on_key(void *arg, const struct key_record *record)
{
    struct keyring *ring = arg;
    struct api_key *key = (struct api_key *)digest_map_find(&ring->keys, record->digest);

    ring->ever = true;
    if (key && record->revoked) {
        keyring_drop_key(ring, key);
    } else if (key) {
        heard_of_use(record->used, &key->used, &key->saved);
        key->seen = ring->round;
    } else if (!record->revoked) {
        keyring_add_key(ring, record);
    }
}

static void on_key_revoked(void *arg, const char *id)
{
    struct keyring *ring = arg;
    const struct api_key *key = keyring_find(ring, id);

    if (key)
        keyring_drop_key(ring, (struct api_key *)(uintptr_t)key);
}

static void on_session(void *arg, const struct session_record *record)
{
    struct keyring *ring = arg;
    const struct api_key *key = *record->key ? keyring_find(ring, record->key) : NULL;
    struct digest_node *known = digest_map_find(&ring->sessions, record->digest);
    struct session *session = (struct session *)known;

    if (*record->key && (!key || key->revoked))
        return; /* its key is gone */
    if (!session)
        session = keyring_add_session(ring, record->digest, key, record->created);
    heard_of_use(record->used, &session->used, &session->saved);
    session->seen = ring->round;
}

static void on_session_ended(void *arg, const unsigned char *digest)
{
    struct keyring *ring = arg;
    struct digest_node *known = digest_map_find(&ring->sessions, digest);

    if (known)
        keyring_drop_session(ring, (struct session *)known);
}

static void on_reading(void *arg)
{
    struct keyring *ring = arg;

    ring->round++;
}

static void drop_unseen(struct keyring *ring)
{
    for (struct session *session = ring->first_session, *next; session; session = next) {
        next = session->next;
        if (session->seen != ring->round)
            keyring_drop_session(ring, session);
    }
    for (struct api_key *key = ring->first_key, *next; key; key = next) {
        next = key->next;
        if (key->seen != ring->round)
            keyring_drop_key(ring, key);
    }
}

static void on_read(void *arg, const struct err *err)
{
    struct keyring *ring = arg;

    if (err) {
        ring->problem = *err;
    } else {
        drop_unseen(ring);
        ring->blind = false;
    }
    if (ring->options.on_read && !ring->closing)
        ring->options.on_read(ring->options.app, err);
}

struct key_sink keyring_sink(struct keyring *ring)
{
    return (struct key_sink){
        .keyring = ring,
        .key = on_key,
        .key_revoked = on_key_revoked,
        .session = on_session,
        .session_ended = on_session_ended,
        .reading = on_reading,
        .read = on_read,
    };
}
