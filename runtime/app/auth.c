#include "app/auth.h"

#include <stdio.h>
#include <stdlib.h>

#include "app/attempts.h"
#include "app/origin.h"
#include "app/server.h"
#include "base/mem.h"
#include "base/permission.h"
#include "data/bus.h"
#include "data/keyring.h"
#include "http/exchange.h"
#include "plugin/plugins.h"

/* Wrong credentials that the other replicas are told of, in a second; there are only more when
 * somebody tries from many places, and then each replica goes by its own count.
 */
enum { TOLD_MAX = 100 };

struct auth {
    struct attempts attempts;
    bool shared;
    struct bus_listener elsewhere; /* what was tried at other replicas */
    uint64_t second;               /* in which `told` were told */
    unsigned told;
};

static struct attempts *attempts_of(struct server *server)
{
    if (!server->auth)
        server->auth = mem_alloc(sizeof(*server->auth));
    return &server->auth->attempts;
}

static void heard(struct bus_listener *listener, struct str from, struct str ip)
{
    struct auth *auth = (struct auth *)((char *)listener - offsetof(struct auth, elsewhere));

    (void)from;
    if (attempts_address(ip))
        attempts_add(&auth->attempts, ip, clock_now_ns() / 1000000);
}

void auth_share(struct server *server)
{
    attempts_of(server);
    server->auth->shared = true;
    server->auth->elsewhere = (struct bus_listener){"attempt", heard, NULL, NULL};
    bus_listen(server->bus, &server->auth->elsewhere);
}

static void count_wrong(struct server *server, struct str ip)
{
    const uint64_t now = clock_now_ns() / 1000000;
    struct auth *auth;

    attempts_add(attempts_of(server), ip, now);
    auth = server->auth;
    if (!auth->shared)
        return;
    if (auth->second != now / 1000) {
        auth->second = now / 1000;
        auth->told = 0;
    }
    if (auth->told++ < TOLD_MAX)
        bus_broadcast(server->bus, "attempt", ip);
}

void auth_fini(struct server *server)
{
    if (!server->auth)
        return;
    if (server->auth->shared)
        bus_unlisten(server->bus, &server->auth->elsewhere);
    attempts_fini(&server->auth->attempts);
    free(server->auth);
    server->auth = NULL;
}

static bool deny(struct denial *denial, unsigned status, const char *code, const char *message)
{
    *denial = (struct denial){.status = status};
    snprintf(denial->code, sizeof(denial->code), "%s", code);
    snprintf(denial->message, sizeof(denial->message), "%s", message);
    return false;
}

/* --- credentials --- */

/* The token of "Bearer TOKEN", whose scheme has no case; absent for anything else. */
static struct str bearer(struct str value)
{
    static const struct str scheme = {"bearer ", 7};

    if (value.len < scheme.len || !str_equal_nocase((struct str){value.at, scheme.len}, scheme))
        return (struct str){0};
    value.at += scheme.len;
    value.len -= scheme.len;
    while (value.len > 0 && *value.at == ' ') {
        value.at++;
        value.len--;
    }
    return value;
}

/* An empty credential is a missing one. */
static struct str key_of(const struct exchange *x)
{
    const struct str key = exchange_header(x, STR("x-api-key"));

    return key.len > 0 ? key : bearer(exchange_header(x, STR("authorization")));
}

static bool must_wait(struct server *server, const struct exchange *x, struct denial *denial)
{
    const unsigned seconds =
        attempts_wait(attempts_of(server), exchange_ip(x), clock_now_ns() / 1000000);

    if (seconds == 0)
        return false;
    deny(denial, 429, "TOO_MANY_REQUESTS", "Too many wrong keys from here; wait and try again");
    denial->retry_after = seconds;
    return true;
}

/* It may be good, so it is not counted as wrong. */
static bool deny_unread(struct denial *denial)
{
    return deny(denial, 503, "KEYS_UNAVAILABLE",
                "The keys cannot be read from the database yet; until they are only the root key "
                "is good");
}

/* What a credential was. One that was good once is counted too, but not a session that has ended:
 * its browser goes on asking, and nobody finds a token by trying.
 */
static bool judge(struct server *server,
                  const struct exchange *x,
                  enum credential credential,
                  struct denial *denial)
{
    if (credential == CREDENTIAL_FITS)
        return true;
    if (credential == CREDENTIAL_UNKNOWN)
        return deny_unread(denial);
    count_wrong(server, exchange_ip(x));
    return deny(denial, 401, "AUTH_REQUIRED",
                credential == CREDENTIAL_EXPIRED ? "The key has expired" : "The key is not valid");
}

static bool by_key(struct server *server,
                   const struct exchange *x,
                   struct str key,
                   struct identity *who,
                   struct denial *denial)
{
    return !must_wait(server, x, denial) &&
           judge(server, x, keyring_key(server->keyring, key, who), denial);
}

static bool by_session(struct server *server,
                       const struct exchange *x,
                       struct str token,
                       struct identity *who,
                       struct denial *denial)
{
    const enum credential credential = keyring_session(server->keyring, token, who);

    if (credential == CREDENTIAL_EXPIRED)
        return deny(denial, 401, "AUTH_REQUIRED", "The session has ended; log in again");
    return judge(server, x, credential, denial);
}

static bool by_place(const struct exchange *x, struct identity *who, struct denial *denial)
{
    if (!origin_is_local(x))
        return deny(denial, 401, "AUTH_REQUIRED",
                    "No key is set, so only this machine may call, directly and as localhost. To "
                    "call from elsewhere set RUNTIME_ROOT_KEY or RUNTIME_ROOT_KEY_FILE and send "
                    "the key as X-API-Key");
    *who = identity_local;
    return true;
}

static bool identify(struct server *server,
                     const struct exchange *x,
                     struct identity *who,
                     struct denial *denial)
{
    const struct str key = key_of(x), token = exchange_token(x);

    if (!keyring_locked(server->keyring))
        return by_place(x, who, denial);
    if (key.len > 0)
        return by_key(server, x, key, who, denial);
    if (must_wait(server, x, denial))
        return false;
    if (token.len > 0)
        return by_session(server, x, token, who, denial);
    return deny(denial, 401, "AUTH_REQUIRED",
                "A key is needed: send it as X-API-Key or as Authorization: Bearer");
}

/* For what is open to everybody. A key that is not good is still refused, so that keys cannot be
 * tried here.
 */
static bool identify_if_told(struct server *server,
                             const struct exchange *x,
                             struct identity *who,
                             struct denial *denial)
{
    struct denial ignored;
    const struct str key = key_of(x), token = exchange_token(x);

    if (!keyring_locked(server->keyring))
        by_place(x, who, &ignored);
    else if (key.len > 0)
        return by_key(server, x, key, who, denial);
    else if (token.len > 0 && keyring_session(server->keyring, token, who) != CREDENTIAL_FITS)
        *who = identity_anonymous;
    return true;
}

/* --- what the control plane asks --- */

static bool may(const struct identity *who, const char *permission, struct denial *denial)
{
    char message[sizeof(denial->message)];

    if (who->permissions & permission_of(str_of(permission)))
        return true;
    snprintf(message, sizeof(message), "The permission %.60s is needed", permission);
    return deny(denial, 403, "PERMISSION_DENIED", message);
}

static bool is_own_page(const struct exchange *x, struct denial *denial)
{
    return !origin_is_foreign(x) ||
           deny(denial, 403, "CROSS_SITE_REQUEST",
                "A page of another site may not do this: Origin must be this server's own");
}

bool auth_authorize(void *app,
                    const struct exchange *x,
                    const char *permission,
                    bool mutating,
                    struct identity *who,
                    struct denial *denial)
{
    struct server *server = app;

    *who = identity_anonymous;
    if (!(permission ? identify(server, x, who, denial) : identify_if_told(server, x, who, denial)))
        return false;
    return (!mutating || is_own_page(x, denial)) && (!permission || may(who, permission, denial));
}

bool auth_login(void *app,
                const struct exchange *x,
                struct str key,
                struct identity *who,
                struct denial *denial)
{
    *who = identity_anonymous;
    return by_key(app, x, key, who, denial);
}

bool auth_reaches(const struct identity *who, const char *name, struct denial *denial)
{
    return namespaces_include(who->namespaces, str_of(name)) ||
           deny(denial, 403, "NAMESPACE_DENIED", "The key's namespaces do not include this name");
}

void auth_take(struct server *server, struct exchange *x)
{
    if (!keyring_locked(server->keyring))
        return;
    if (exchange_header(x, STR("x-api-key")).len > 0)
        exchange_remove_header(x, STR("x-api-key"));
    else if (bearer(exchange_header(x, STR("authorization"))).len > 0)
        exchange_remove_header(x, STR("authorization"));
}
