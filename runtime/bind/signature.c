#include "bind/signature.h"

#include <limits.h>

#include <openssl/bio.h>
#include <openssl/decoder.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

enum kind { KIND_RSA, KIND_PSS, KIND_EC };

struct signature_algorithm {
    const char *name, *digest;
    enum kind kind;
    const char *curve, *curve_name; /* OpenSSL's and ours */
    int half;                       /* bytes of each of the two numbers of an EC signature */
};

static const struct signature_algorithm algorithms[] = {
    {"RS256", "SHA256", KIND_RSA, NULL, NULL, 0},
    {"RS384", "SHA384", KIND_RSA, NULL, NULL, 0},
    {"RS512", "SHA512", KIND_RSA, NULL, NULL, 0},
    {"PS256", "SHA256", KIND_PSS, NULL, NULL, 0},
    {"PS384", "SHA384", KIND_PSS, NULL, NULL, 0},
    {"PS512", "SHA512", KIND_PSS, NULL, NULL, 0},
    {"ES256", "SHA256", KIND_EC, "prime256v1", "P-256", 32},
    {"ES384", "SHA384", KIND_EC, "secp384r1", "P-384", 48},
    {"ES512", "SHA512", KIND_EC, "secp521r1", "P-521", 66},
};

enum { RSA_BITS_MIN = 2048, RSA_BITS_MAX = 8192, DER_MAX = 160 };

const struct signature_algorithm *signature_algorithm(const char *name)
{
    for (size_t i = 0; i < sizeof(algorithms) / sizeof(algorithms[0]); i++) {
        if (strcmp(algorithms[i].name, name) == 0)
            return &algorithms[i];
    }
    return NULL;
}

/* --- keys --- */

/* Instead of OpenSSL's own, which asks on the terminal. */
static int no_password(char *out, int size, int writing, void *arg)
{
    (void)out, (void)size, (void)writing, (void)arg;
    return -1;
}

static EVP_PKEY *read_certificate(BIO *bio)
{
    X509 *certificate = PEM_read_bio_X509(bio, NULL, no_password, NULL);
    EVP_PKEY *key = certificate ? X509_get_pubkey(certificate) : NULL;

    X509_free(certificate);
    return key;
}

static EVP_PKEY *read_public(BIO *bio)
{
    EVP_PKEY *key = NULL;
    OSSL_DECODER_CTX *decoder = OSSL_DECODER_CTX_new_for_pkey(
        &key, "PEM", NULL, NULL, OSSL_KEYMGMT_SELECT_PUBLIC_KEY, NULL, NULL);

    if (decoder) {
        OSSL_DECODER_CTX_set_pem_password_cb(decoder, no_password, NULL);
        if (!OSSL_DECODER_from_bio(decoder, bio))
            key = NULL;
    }
    OSSL_DECODER_CTX_free(decoder);
    return key;
}

static bool mentions(struct str text, const char *word)
{
    return memmem(text.at, text.len, word, strlen(word)) != NULL;
}

EVP_PKEY *signature_key(struct str pem, bool private, struct err *err)
{
    BIO *bio = pem.len < INT_MAX ? BIO_new_mem_buf(pem.at, (int)pem.len) : NULL;
    EVP_PKEY *key = NULL;

    if (bio && private)
        key = PEM_read_bio_PrivateKey(bio, NULL, no_password, NULL);
    else if (bio && mentions(pem, "-----BEGIN CERTIFICATE-----"))
        key = read_certificate(bio);
    else if (bio && mentions(pem, " PUBLIC KEY-----") && !mentions(pem, "PRIVATE"))
        key = read_public(bio);
    BIO_free(bio);
    ERR_clear_error();
    if (key)
        return key;
    if (mentions(pem, "ENCRYPTED"))
        err_set(err, "INVALID_KEY", "the key is encrypted: a key without a password is needed");
    else
        err_set(err, "INVALID_KEY", "expected a %s key in PEM", private ? "private" : "public");
    return NULL;
}

static bool fits_rsa(const struct signature_algorithm *algorithm, EVP_PKEY *key, struct err *err)
{
    const int bits = EVP_PKEY_get_bits(key);

    if (!EVP_PKEY_is_a(key, "RSA"))
        return err_set(err, "INVALID_KEY", "%s needs an RSA key", algorithm->name);
    if (bits < RSA_BITS_MIN || bits > RSA_BITS_MAX)
        return err_set(err, "INVALID_KEY", "%s needs an RSA key of 2048 to 8192 bits, got %d",
                       algorithm->name, bits);
    return true;
}

bool signature_fits(const struct signature_algorithm *algorithm, EVP_PKEY *key, struct err *err)
{
    char curve[64] = "";

    if (algorithm->kind != KIND_EC)
        return fits_rsa(algorithm, key, err);
    if (!EVP_PKEY_is_a(key, "EC") || !EVP_PKEY_get_group_name(key, curve, sizeof(curve), NULL) ||
        strcmp(curve, algorithm->curve) != 0)
        return err_set(err, "INVALID_KEY", "%s needs an EC key on %s", algorithm->name,
                       algorithm->curve_name);
    return true;
}

/* --- the signatures of EC: DER inside OpenSSL, two numbers outside --- */

static bool to_pair(int half, const unsigned char *der, size_t len, unsigned char *out)
{
    ECDSA_SIG *pair = d2i_ECDSA_SIG(NULL, &der, (long)len);
    const bool ok = pair && BN_bn2binpad(ECDSA_SIG_get0_r(pair), out, half) == half &&
                    BN_bn2binpad(ECDSA_SIG_get0_s(pair), out + half, half) == half;

    ECDSA_SIG_free(pair);
    return ok;
}

/* 0 when it cannot be. */
static size_t to_der(int half, struct str signature, unsigned char out[static DER_MAX])
{
    const unsigned char *at = (const unsigned char *)signature.at;
    ECDSA_SIG *pair = ECDSA_SIG_new();
    BIGNUM *r = BN_bin2bn(at, half, NULL), *s = BN_bin2bn(at + half, half, NULL);
    int len = 0;

    if (pair && r && s && ECDSA_SIG_set0(pair, r, s)) {
        r = s = NULL; /* the pair's now */
        len = i2d_ECDSA_SIG(pair, NULL);
        len = len > 0 && len <= DER_MAX ? i2d_ECDSA_SIG(pair, &out) : 0;
    }
    BN_free(r);
    BN_free(s);
    ECDSA_SIG_free(pair);
    return len > 0 ? (size_t)len : 0;
}

/* --- signing --- */

/* The salt is as long as the digest, as RFC 7518 has it. */
static bool pad(const struct signature_algorithm *algorithm, EVP_PKEY_CTX *context)
{
    return algorithm->kind != KIND_PSS ||
           (EVP_PKEY_CTX_set_rsa_padding(context, RSA_PKCS1_PSS_PADDING) > 0 &&
            EVP_PKEY_CTX_set_rsa_pss_saltlen(context, RSA_PSS_SALTLEN_DIGEST) > 0);
}

static bool sign(const struct signature_algorithm *algorithm,
                 EVP_PKEY *key,
                 struct str data,
                 unsigned char *out,
                 size_t *len)
{
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    EVP_PKEY_CTX *options = NULL;
    const bool ok =
        context &&
        EVP_DigestSignInit_ex(context, &options, algorithm->digest, NULL, NULL, key, NULL) > 0 &&
        pad(algorithm, options) &&
        EVP_DigestSign(context, out, len, (const unsigned char *)data.at, data.len) > 0;

    EVP_MD_CTX_free(context);
    ERR_clear_error();
    return ok;
}

bool signature_make(const struct signature_algorithm *algorithm,
                    EVP_PKEY *key,
                    struct str data,
                    unsigned char out[static SIGNATURE_MAX],
                    size_t *len,
                    struct err *err)
{
    unsigned char der[SIGNATURE_MAX];
    size_t der_len = sizeof(der);
    bool ok;

    if (!signature_fits(algorithm, key, err))
        return false;
    *len = SIGNATURE_MAX;
    if (algorithm->kind != KIND_EC) {
        ok = sign(algorithm, key, data, out, len);
    } else {
        *len = 2 * (size_t)algorithm->half;
        ok = sign(algorithm, key, data, der, &der_len) &&
             to_pair(algorithm->half, der, der_len, out);
    }
    return ok || err_set(err, "SIGN_FAILED", "the key cannot sign with %s", algorithm->name);
}

bool signature_check(const struct signature_algorithm *algorithm,
                     EVP_PKEY *key,
                     struct str data,
                     struct str signature)
{
    unsigned char der[DER_MAX];
    const unsigned char *bytes = (const unsigned char *)signature.at;
    size_t len = signature.len;
    EVP_PKEY_CTX *options = NULL;
    EVP_MD_CTX *context;
    bool ok;

    if (algorithm->kind == KIND_EC) {
        len = len == 2 * (size_t)algorithm->half ? to_der(algorithm->half, signature, der) : 0;
        bytes = der;
    }
    context = len > 0 ? EVP_MD_CTX_new() : NULL;
    ok = context &&
         EVP_DigestVerifyInit_ex(context, &options, algorithm->digest, NULL, NULL, key, NULL) > 0 &&
         pad(algorithm, options) &&
         EVP_DigestVerify(context, bytes, len, (const unsigned char *)data.at, data.len) == 1;
    EVP_MD_CTX_free(context);
    ERR_clear_error();
    return ok;
}
