/* Inside of struct tls, shared by the files of http/ only. */
#pragma once

#include <openssl/sha.h>
#include <openssl/ssl.h>

struct tls {
    SSL_CTX *ctx;
    unsigned refs; /* of one thread */
    int days_left;
    unsigned char digest[SHA256_DIGEST_LENGTH]; /* of the files */
};
