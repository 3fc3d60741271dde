#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "data/fetch_impl.h"

/* "http://host:8080/path": no credentials, and no query, which may hold keys. */
static void add_place(struct buf *buf, CURLU *url)
{
    static const CURLUPart parts[] = {CURLUPART_SCHEME, CURLUPART_HOST, CURLUPART_PORT,
                                      CURLUPART_PATH};
    static const char *const before[] = {"", "://", ":", ""};

    for (size_t i = 0; i < 4; i++) {
        char *part = NULL;
        if (curl.url_get(url, parts[i], &part, 0) == CURLUE_OK) {
            buf_puts(buf, before[i]);
            buf_puts(buf, part);
        }
        curl.free(part);
    }
}

void fetch_fail(struct fetch *f, const char *code, const char *fmt, ...)
{
    struct buf text = {0};
    char message[512];
    va_list args;

    if (f->code)
        return;
    va_start(args, fmt);
    vsnprintf(message, sizeof(message), fmt, args);
    va_end(args);
    buf_printf(&text, "%s ", f->method);
    add_place(&text, f->url);
    buf_printf(&text, ": %s", message);
    f->code = code;
    f->message = text.data;
}

static const struct {
    CURLcode result;
    const char *code;
} codes[] = {
    {CURLE_COULDNT_RESOLVE_HOST, "DNS_FAILED"},
    {CURLE_COULDNT_RESOLVE_PROXY, "DNS_FAILED"},
    {CURLE_COULDNT_CONNECT, "CONNECTION_FAILED"},
    {CURLE_PROXY, "CONNECTION_FAILED"},
    {CURLE_OPERATION_TIMEDOUT, "TIMEOUT"},
    {CURLE_GOT_NOTHING, "CONNECTION_CLOSED"},
    {CURLE_SEND_ERROR, "CONNECTION_CLOSED"},
    {CURLE_RECV_ERROR, "CONNECTION_CLOSED"},
    {CURLE_PARTIAL_FILE, "CONNECTION_CLOSED"},
    {CURLE_SEND_FAIL_REWIND, "CONNECTION_CLOSED"},
    {CURLE_HTTP2, "BAD_RESPONSE"},
    {CURLE_HTTP2_STREAM, "BAD_RESPONSE"},
    {CURLE_WEIRD_SERVER_REPLY, "BAD_RESPONSE"},
    {CURLE_UNSUPPORTED_PROTOCOL, "BAD_RESPONSE"}, /* HTTP/0.9: schemes were looked at before */
    {CURLE_BAD_CONTENT_ENCODING, "BAD_RESPONSE"},
    {CURLE_FILESIZE_EXCEEDED, "BODY_TOO_LARGE"},
    {CURLE_URL_MALFORMAT, "INVALID_URL"},
    {CURLE_SSL_CONNECT_ERROR, "TLS_FAILED"},
    {CURLE_SSL_ENGINE_NOTFOUND, "TLS_FAILED"},
    {CURLE_SSL_ENGINE_SETFAILED, "TLS_FAILED"},
    {CURLE_SSL_CERTPROBLEM, "TLS_FAILED"},
    {CURLE_SSL_CIPHER, "TLS_FAILED"},
    {CURLE_PEER_FAILED_VERIFICATION, "TLS_FAILED"},
    {CURLE_SSL_CACERT_BADFILE, "TLS_FAILED"},
    {CURLE_SSL_SHUTDOWN_FAILED, "TLS_FAILED"},
    {CURLE_SSL_CRL_BADFILE, "TLS_FAILED"},
    {CURLE_SSL_ISSUER_ERROR, "TLS_FAILED"},
    {CURLE_SSL_PINNEDPUBKEYNOTMATCH, "TLS_FAILED"},
    {CURLE_SSL_INVALIDCERTSTATUS, "TLS_FAILED"},
    {CURLE_SSL_CLIENTCERT, "TLS_FAILED"},
};

static const char *code_of(struct fetch *f, CURLcode result)
{
    long number = 0;

    if (result == CURLE_COULDNT_CONNECT) {
        curl.easy_getinfo(f->easy, CURLINFO_OS_ERRNO, &number);
        if (number == ECONNREFUSED)
            return "CONNECTION_REFUSED";
        if (number == ETIMEDOUT)
            return "TIMEOUT";
    }
    for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
        if (codes[i].result == result)
            return codes[i].code;
    }
    return "FETCH_FAILED";
}

void fetch_fail_curl(struct fetch *f, CURLcode result)
{
    if (result == CURLE_FILESIZE_EXCEEDED)
        fetch_fail(f, "BODY_TOO_LARGE", "the body has more than %llu bytes",
                   (unsigned long long)f->max_size);
    else
        fetch_fail(f, code_of(f, result), "%s",
                   f->detail[0] ? f->detail : curl.easy_strerror(result));
}
