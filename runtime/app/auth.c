#include "app/auth.h"

#include <stdio.h>
#include <stdlib.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>

#include "app/attempts.h"
#include "app/origin.h"
#include "app/server.h"
#include "base/mem.h"
#include "http/exchange.h"
#include "plugin/plugins.h"

enum { DIGEST_SIZE = 32 };

struct auth {
    bool has_root;
    unsigned char root[DIGEST_SIZE];
    struct attempts attempts;
};

/* Digests have one length and no order that a caller could steer, so comparing them tells nothing
 * of the key: not how long it is, not where a guess went wrong.
 */
static void digest(struct str s, unsigned char out[static DIGEST_SIZE])
{
    if (!EVP_Digest(s.at, s.len, out, NULL, EVP_sha256(), NULL))
        abort();
}

static struct auth *auth_of(struct server *server)
{
    const char *root = server->settings->root_key;

    if (server->auth)
        return server->auth;
    server->auth = mem_alloc(sizeof(*server->auth));
    server->auth->has_root = root != NULL;
    if (root)
        digest(str_of(root), server->auth->root);
    return server->auth;
}

void auth_fini(struct server *server)
{
    if (!server->auth)
        return;
    attempts_fini(&server->auth->attempts);
    OPENSSL_cleanse(server->auth->root, DIGEST_SIZE);
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
static struct str credential(const struct exchange *x)
{
    const struct str key = exchange_header(x, STR("x-api-key"));

    return key.len > 0 ? key : bearer(exchange_header(x, STR("authorization")));
}

static bool is_root(const struct auth *auth, struct str key)
{
    unsigned char sum[DIGEST_SIZE];

    digest(key, sum);
    return CRYPTO_memcmp(sum, auth->root, sizeof(sum)) == 0;
}

static bool must_wait(unsigned seconds, struct denial *denial)
{
    deny(denial, 429, "TOO_MANY_REQUESTS", "Too many wrong keys from here; wait and try again");
    denial->retry_after = seconds;
    return false;
}

static bool by_key(struct auth *auth, const struct exchange *x, struct denial *denial)
{
    const uint64_t now_ms = clock_now_ns() / 1000000;
    const struct str ip = exchange_ip(x), key = credential(x);
    const unsigned wait = attempts_wait(&auth->attempts, ip, now_ms);

    if (wait > 0)
        return must_wait(wait, denial);
    if (key.len == 0)
        return deny(denial, 401, "AUTH_REQUIRED",
                    "A key is needed: send it as X-API-Key or as Authorization: Bearer");
    if (is_root(auth, key))
        return true;
    attempts_add(&auth->attempts, ip, now_ms);
    return deny(denial, 401, "AUTH_REQUIRED", "The key is not valid");
}

static bool by_place(const struct exchange *x, struct denial *denial)
{
    return origin_is_local(x) ||
           deny(denial, 401, "AUTH_REQUIRED",
                "No key is set, so only this machine may call, directly and as localhost. To call "
                "from elsewhere set RUNTIME_ROOT_KEY or RUNTIME_ROOT_KEY_FILE and send the key as "
                "X-API-Key");
}

static bool
identify(struct auth *auth, const struct exchange *x, const char **principal, struct denial *denial)
{
    if (!(auth->has_root ? by_key(auth, x, denial) : by_place(x, denial)))
        return false;
    *principal = auth->has_root ? "root" : "local";
    return true;
}

bool auth_authorize(void *app,
                    const struct exchange *x,
                    const char *permission,
                    bool mutating,
                    const char **principal,
                    struct denial *denial)
{
    struct server *server = app;

    (void)permission; /* root and local may do everything */
    if (!identify(auth_of(server), x, principal, denial))
        return false;
    return !mutating || !origin_is_foreign(x) ||
           deny(denial, 403, "CROSS_SITE_REQUEST",
                "A page of another site may not do this: Origin must be this server's own");
}
