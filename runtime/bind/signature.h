/* Signatures with the key pairs of JSON Web Algorithms (RFC 7518): RS, PS and ES, 256 to 512.
 *
 * A key fits an algorithm or it does not: RSA has 2,048 to 8,192 bits, ES256 is on P-256 and so
 * on. Signatures are as JWS has them, so those of ES are the two numbers side by side.
 */
#pragma once

#include <stdbool.h>

#include <openssl/evp.h>

#include "base/err.h"
#include "base/str.h"

enum { SIGNATURE_MAX = 1024 };

struct signature_algorithm;

const struct signature_algorithm *signature_algorithm(const char *name); /* NULL: unknown */

/* A private key, or a public one from "PUBLIC KEY", "RSA PUBLIC KEY" or a certificate. The caller
 * frees it with EVP_PKEY_free(). Encrypted keys are refused.
 */
EVP_PKEY *signature_key(struct str pem, bool private, struct err *err);

bool signature_fits(const struct signature_algorithm *algorithm, EVP_PKEY *key, struct err *err);

bool signature_make(const struct signature_algorithm *algorithm,
                    EVP_PKEY *key,
                    struct str data,
                    unsigned char out[static SIGNATURE_MAX],
                    size_t *len,
                    struct err *err);

bool signature_check(const struct signature_algorithm *algorithm,
                     EVP_PKEY *key,
                     struct str data,
                     struct str signature);
