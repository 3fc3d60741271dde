#include "http/tls.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/sha.h>
#include <openssl/ssl.h>

#include "base/mem.h"
#include "http/tls_impl.h"

enum { FILE_MAX = 1024 * 1024 };

/* What TLS 1.2 may use: forward secret and authenticated. 1.3 has nothing else. */
static const char ciphers[] = "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:"
                              "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:"
                              "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305";

/* --- reading --- */

struct pem {
    char *bytes; /* wiped when it is freed */
    size_t len;
};

static void free_pem(struct pem *pem)
{
    if (pem->bytes)
        OPENSSL_cleanse(pem->bytes, pem->len);
    free(pem->bytes);
}

static bool read_pem(struct pem *pem, const char *variable, const char *path, struct err *err)
{
    FILE *file = fopen(path, "rbe");
    *pem = (struct pem){0};
    if (!file)
        return err_set(err, "TLS", "%s: cannot read %s: %s", variable, path, strerror(errno));
    setvbuf(file, NULL, _IONBF, 0); /* no copy of the key is left in a buffer */
    pem->bytes = mem_alloc(FILE_MAX);
    pem->len = fread(pem->bytes, 1, FILE_MAX, file);
    bool failed = ferror(file);
    fclose(file);
    if (failed || pem->len == FILE_MAX)
        return err_set(err, "TLS", "%s: %s is %s", variable, path,
                       failed ? "not a readable file" : "larger than 1 MiB");
    return true;
}

static bool fail(struct err *err, const char *variable, const char *path, const char *what)
{
    const char *reason = ERR_reason_error_string(ERR_peek_last_error());
    ERR_clear_error();
    return err_set(err, "TLS", "%s: %s %s%s%s%s", variable, path, what, reason ? " (" : "",
                   reason ? reason : "", reason ? ")" : "");
}

/* OpenSSL would ask at the terminal. */
static int no_passphrase(char *out, int size, int writing, void *arg)
{
    (void)out, (void)size, (void)writing, (void)arg;
    return -1;
}

static void note_end(struct tls *tls, const X509 *leaf)
{
    int days = 0, seconds = 0;
    if (ASN1_TIME_diff(&days, &seconds, NULL, X509_get0_notAfter(leaf)))
        tls->days_left = seconds < 0 ? days - 1 : days;
}

static bool use_chain(struct tls *tls, BIO *bio)
{
    X509 *cert = PEM_read_bio_X509_AUX(bio, NULL, no_passphrase, NULL);
    bool ok = cert && SSL_CTX_use_certificate(tls->ctx, cert) == 1;
    if (ok)
        note_end(tls, cert);
    X509_free(cert);
    while (ok && (cert = PEM_read_bio_X509(bio, NULL, no_passphrase, NULL))) {
        ok = SSL_CTX_add0_chain_cert(tls->ctx, cert) == 1;
        if (!ok)
            X509_free(cert);
    }
    if (ok)
        ERR_clear_error(); /* that there was no further one */
    return ok;
}

static bool use_key(struct tls *tls, BIO *bio)
{
    EVP_PKEY *key = PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL);
    bool ok = key && SSL_CTX_use_PrivateKey(tls->ctx, key) == 1;
    EVP_PKEY_free(key);
    return ok;
}

static bool use_pem(struct tls *tls, const struct pem *pem, bool (*use)(struct tls *tls, BIO *bio))
{
    BIO *bio = BIO_new_mem_buf(pem->bytes, (int)pem->len);
    ERR_clear_error();
    bool ok = bio && use(tls, bio);
    BIO_free(bio);
    return ok;
}

static void hash(struct tls *tls, const struct pem *cert, const struct pem *key)
{
    unsigned char both[2 * SHA256_DIGEST_LENGTH];
    SHA256((const unsigned char *)cert->bytes, cert->len, both);
    SHA256((const unsigned char *)key->bytes, key->len, both + SHA256_DIGEST_LENGTH);
    SHA256(both, sizeof(both), tls->digest);
}

/* --- how we speak --- */

/* Without a protocol in common the handshake ends, so that a client of something else, led here,
 * does not come to talk to us; one that does not ask gets HTTP/1.1.
 */
static int select_protocol(SSL *ssl,
                           const unsigned char **out,
                           unsigned char *out_len,
                           const unsigned char *in,
                           unsigned in_len,
                           void *arg)
{
    static const unsigned char ours[] = "\x02h2\x08http/1.1";
    unsigned char *found;
    (void)ssl, (void)arg;
    if (SSL_select_next_proto(&found, out_len, ours, sizeof(ours) - 1, in, in_len) !=
        OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    *out = found;
    return SSL_TLSEXT_ERR_OK;
}

static void configure(SSL_CTX *ctx)
{
    SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
    SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                                 SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
    SSL_CTX_set_cipher_list(ctx, ciphers);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS); /* idle connections are many */
    SSL_CTX_set_alpn_select_cb(ctx, select_protocol, NULL);
    SSL_CTX_set_default_passwd_cb(ctx, no_passphrase);
}

static bool load(struct tls *tls,
                 const char *cert_file,
                 const struct pem *cert,
                 const char *key_file,
                 const struct pem *key,
                 struct err *err)
{
    if (!use_pem(tls, cert, use_chain))
        return fail(err, "TLS_CERT", cert_file, "is not a PEM certificate that can be used");
    if (!use_pem(tls, key, use_key))
        return fail(err, "TLS_KEY", key_file,
                    "is not the certificate's PEM private key without a passphrase");
    if (SSL_CTX_check_private_key(tls->ctx) != 1)
        return fail(err, "TLS_KEY", key_file, "is not the certificate's key");
    hash(tls, cert, key);
    return true;
}

struct tls *tls_load(const char *cert_file, const char *key_file, struct err *err)
{
    struct pem cert = {0}, key = {0};
    struct tls *tls = mem_alloc(sizeof(*tls));
    *tls = (struct tls){.refs = 1, .ctx = SSL_CTX_new(TLS_server_method())};
    if (!tls->ctx) {
        tls_unref(tls);
        err_set(err, "TLS", "OpenSSL cannot be used");
        return NULL;
    }
    configure(tls->ctx);
    bool ok = read_pem(&cert, "TLS_CERT", cert_file, err) &&
              read_pem(&key, "TLS_KEY", key_file, err) &&
              load(tls, cert_file, &cert, key_file, &key, err);
    free_pem(&cert);
    free_pem(&key);
    if (ok)
        return tls;
    tls_unref(tls);
    return NULL;
}

/* --- its life --- */

struct tls *tls_ref(struct tls *tls)
{
    if (tls)
        tls->refs++;
    return tls;
}

void tls_unref(struct tls *tls)
{
    if (!tls || --tls->refs > 0)
        return;
    SSL_CTX_free(tls->ctx);
    free(tls);
}

bool tls_equal(const struct tls *a, const struct tls *b)
{
    return memcmp(a->digest, b->digest, sizeof(a->digest)) == 0;
}

int tls_days_left(const struct tls *tls)
{
    return tls->days_left;
}
