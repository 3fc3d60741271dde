/* What a listener that speaks TLS needs: a certificate chain, its key, and how we speak.
 *
 * Counted, since a connection keeps the one it began with when a new one takes its place. Protocol
 * 1.2 and 1.3, ALPN for h2 and http/1.1, session tickets, no renegotiation, no session cache.
 */
#pragma once

#include <stdbool.h>

#include "base/err.h"

struct tls;

/* Reads two PEM files: the certificate with the chain behind it, and its private key, without a
 * passphrase. Counted for the caller. NULL with `err` set; nothing of the key is in it.
 */
struct tls *tls_load(const char *cert_file, const char *key_file, struct err *err);

struct tls *tls_ref(struct tls *tls);
void tls_unref(struct tls *tls); /* NULL: nothing */

bool tls_equal(const struct tls *a, const struct tls *b); /* of the same bytes */

/* Days until the certificate ends, negative when it has. */
int tls_days_left(const struct tls *tls);
