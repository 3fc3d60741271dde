/* buntime.core.crypto: digests, HMAC, randomness, base64 and hexadecimal, signatures. Everything
 * here is computed at once, on the loop; digests and HMACs are bytes.
 */
#include <string.h>

#include <lauxlib.h>
#include <lua.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "base/base64.h"
#include "base/random.h"
#include "bind/bind.h"
#include "bind/signature.h"

#define KEY_TYPE "buntime.crypto.key"

enum { RANDOM_MAX = 1 << 20 };

static struct str check_str(lua_State *L, int arg)
{
    struct str s;

    s.at = luaL_checklstring(L, arg, &s.len);
    return s;
}

/* --- digests --- */

static const EVP_MD *check_digest(lua_State *L, int arg)
{
    static const char *const names[] = {"sha256", "sha1", "sha384", "sha512", "md5", NULL};
    const EVP_MD *(*const makers[])(void) = {EVP_sha256, EVP_sha1, EVP_sha384, EVP_sha512, EVP_md5};

    return makers[luaL_checkoption(L, arg, NULL, names)]();
}

/* digest(algorithm, text) -> bytes */
static int digest(lua_State *L)
{
    const EVP_MD *algorithm = check_digest(L, 1);
    const struct str text = check_str(L, 2);
    unsigned char out[EVP_MAX_MD_SIZE];
    unsigned len = 0;

    if (!EVP_Digest(text.at, text.len, out, &len, algorithm, NULL))
        return luaL_error(L, "the digest could not be computed");
    lua_pushlstring(L, (const char *)out, len);
    return 1;
}

/* hmac(algorithm, key, text) -> bytes */
static int hmac(lua_State *L)
{
    const EVP_MD *algorithm = check_digest(L, 1);
    const struct str key = check_str(L, 2), text = check_str(L, 3);
    unsigned char out[EVP_MAX_MD_SIZE];
    unsigned len = 0;

    luaL_argcheck(L, key.len < 1u << 30, 2, "the key is too long");
    if (!HMAC(algorithm, key.at, (int)key.len, (const unsigned char *)text.at, text.len, out, &len))
        return luaL_error(L, "the HMAC could not be computed");
    lua_pushlstring(L, (const char *)out, len);
    return 1;
}

/* --- bytes --- */

/* random(count) -> bytes */
static int random_text(lua_State *L)
{
    const lua_Number count = luaL_checknumber(L, 1);
    void *out;

    luaL_argcheck(L, count >= 0 && count <= RANDOM_MAX && count == (lua_Number)(size_t)count, 1,
                  "expected a whole number from 0 to 1048576");
    out = lua_newuserdata(L, (size_t)count + 1);
    random_bytes(out, (size_t)count);
    lua_pushlstring(L, out, (size_t)count);
    OPENSSL_cleanse(out, (size_t)count);
    return 1;
}

/* equals(a, b) -> boolean; how long it takes tells the lengths and nothing else */
static int equals(lua_State *L)
{
    const struct str a = check_str(L, 1), b = check_str(L, 2);

    lua_pushboolean(L, a.len == b.len && CRYPTO_memcmp(a.at, b.at, a.len) == 0);
    return 1;
}

/* base64(bytes, url?) -> text */
static int base64(lua_State *L)
{
    const struct str bytes = check_str(L, 1);
    char *out = lua_newuserdata(L, BASE64_SIZE(bytes.len) + 1);

    lua_pushlstring(L, out, base64_encode(bytes, lua_toboolean(L, 2), out));
    return 1;
}

/* unbase64(text, url?) -> bytes, or nothing */
static int unbase64(lua_State *L)
{
    const struct str text = check_str(L, 1);
    char *out = lua_newuserdata(L, text.len / 4 * 3 + 4);
    size_t len;

    if (!base64_decode(text, lua_toboolean(L, 2), out, &len))
        return 0;
    lua_pushlstring(L, out, len);
    return 1;
}

/* hex(bytes) -> text */
static int hex(lua_State *L)
{
    const struct str bytes = check_str(L, 1);
    char *out = lua_newuserdata(L, 2 * bytes.len + 1);

    hex_encode(bytes, out);
    lua_pushlstring(L, out, 2 * bytes.len);
    return 1;
}

/* unhex(text) -> bytes, or nothing */
static int unhex(lua_State *L)
{
    const struct str text = check_str(L, 1);
    char *out = lua_newuserdata(L, text.len / 2 + 1);

    if (!hex_decode(text, out))
        return 0;
    lua_pushlstring(L, out, text.len / 2);
    return 1;
}

/* --- signatures --- */

static int push_problem(lua_State *L, const struct err *err)
{
    lua_pushnil(L);
    lua_pushstring(L, err->message);
    return 2;
}

/* key(pem, private) -> key, or nil and why not */
static int read_key(lua_State *L)
{
    const struct str pem = check_str(L, 1);
    const bool private = lua_toboolean(L, 2);
    EVP_PKEY **key = lua_newuserdata(L, sizeof(*key));
    struct err err;

    *key = NULL;
    luaL_getmetatable(L, KEY_TYPE);
    lua_setmetatable(L, -2);
    *key = signature_key(pem, private, &err);
    return *key ? 1 : push_problem(L, &err);
}

static int collect_key(lua_State *L)
{
    EVP_PKEY **key = lua_touserdata(L, 1);

    EVP_PKEY_free(*key);
    *key = NULL;
    return 0;
}

static const struct signature_algorithm *check_algorithm(lua_State *L, int arg)
{
    const struct signature_algorithm *algorithm = signature_algorithm(luaL_checkstring(L, arg));

    luaL_argcheck(L, algorithm, arg, "not an algorithm with a key pair");
    return algorithm;
}

/* sign(algorithm, key, text) -> bytes, or nil and why not */
static int sign(lua_State *L)
{
    const struct signature_algorithm *algorithm = check_algorithm(L, 1);
    EVP_PKEY **key = luaL_checkudata(L, 2, KEY_TYPE);
    const struct str text = check_str(L, 3);
    unsigned char out[SIGNATURE_MAX];
    struct err err;
    size_t len;

    if (!signature_make(algorithm, *key, text, out, &len, &err))
        return push_problem(L, &err);
    lua_pushlstring(L, (const char *)out, len);
    return 1;
}

/* verify(algorithm, key, text, signature) -> boolean, or nil and why the key does not fit */
static int verify(lua_State *L)
{
    const struct signature_algorithm *algorithm = check_algorithm(L, 1);
    EVP_PKEY **key = luaL_checkudata(L, 2, KEY_TYPE);
    const struct str text = check_str(L, 3), signature = check_str(L, 4);
    struct err err;

    if (!signature_fits(algorithm, *key, &err))
        return push_problem(L, &err);
    lua_pushboolean(L, signature_check(algorithm, *key, text, signature));
    return 1;
}

static const luaL_Reg functions[] = {
    {"digest", digest}, {"hmac", hmac},     {"random", random_text},
    {"equals", equals}, {"base64", base64}, {"unbase64", unbase64},
    {"hex", hex},       {"unhex", unhex},   {"key", read_key},
    {"sign", sign},     {"verify", verify}, {NULL, NULL},
};

int bind_crypto_open(lua_State *L)
{
    luaL_newmetatable(L, KEY_TYPE);
    lua_pushcfunction(L, collect_key);
    lua_setfield(L, -2, "__gc");
    lua_pop(L, 1);
    lua_newtable(L);
    luaL_register(L, NULL, functions);
    return 1;
}
