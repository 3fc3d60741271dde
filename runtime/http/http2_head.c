#include "http/http2_head.h"

#include "http/chars.h"

#define REFUSAL(name, status, code, message) \
    static const struct refusal name = {status, code, message}
#define BAD_REQUEST(name, message) REFUSAL(name, 400, "BAD_REQUEST", message)

const struct refusal http2_bad_length = {400, "BAD_REQUEST",
                                         "Content-Length is not that of the body"};

BAD_REQUEST(bad_scheme, ":scheme must be https");
BAD_REQUEST(no_host, "missing :authority");
BAD_REQUEST(bad_host, "malformed :authority");
BAD_REQUEST(bad_method, "malformed method");
BAD_REQUEST(bad_target, "malformed :path");
BAD_REQUEST(bad_name, "malformed header name");
BAD_REQUEST(bad_value, "a header value begins or ends with white space");
BAD_REQUEST(of_connection, "a header of the connection in HTTP/2");
REFUSAL(bad_method_use, 405, "METHOD_NOT_ALLOWED", "TRACE and CONNECT are not served");
REFUSAL(bad_expect, 417, "EXPECTATION_FAILED", "only 100-continue can be expected");
REFUSAL(too_large, 431, "HEADERS_TOO_LARGE", "the request head is larger than 16 KiB");
REFUSAL(too_many, 431, "HEADERS_TOO_LARGE", "the request has more than 100 headers");

enum { FIELD_OVERHEAD = 4 }; /* of a line in HTTP/1 */

static struct str str_of_iovec(h2o_iovec_t v)
{
    return (struct str){v.base, v.len};
}

static const struct refusal *check_method(struct str method)
{
    if (method.len == 0 || method.len > 32 || span(method.at, method.len, CHAR_TOKEN) != method.len)
        return &bad_method;
    if (str_equal(method, STR("TRACE")) || str_equal(method, STR("CONNECT")))
        return &bad_method_use;
    return NULL;
}

static const struct refusal *check_line(const h2o_req_t *req)
{
    const struct str path = str_of_iovec(req->input.path);
    if (req->input.scheme != &H2O_URL_SCHEME_HTTPS)
        return &bad_scheme;
    if (req->authority.base == req->hostconf->authority.hostport.base) /* h2o's stand-in */
        return &no_host;
    if (!head_host_valid(str_of_iovec(req->input.authority)))
        return &bad_host;
    if (path.len == 0 || path.at[0] != '/' || span(path.at, path.len, CHAR_TARGET) != path.len)
        return &bad_target;
    return check_method(str_of_iovec(req->input.method));
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t';
}

/* `connection`, `transfer-encoding`, `upgrade` and `te` are h2o's: it ends the connection. */
static bool is_of_connection(struct str name)
{
    return str_equal(name, STR("keep-alive")) || str_equal(name, STR("proxy-connection")) ||
           str_equal(name, STR("http2-settings"));
}

static const struct refusal *check_header(struct str name, struct str value)
{
    if (name.len == 0 || span(name.at, name.len, CHAR_TOKEN) != name.len)
        return &bad_name;
    if (value.len > 0 && (is_space(value.at[0]) || is_space(value.at[value.len - 1])))
        return &bad_value;
    if (is_of_connection(name))
        return &of_connection;
    if (str_equal(name, STR("expect")) && !str_equal_nocase(value, STR("100-continue")))
        return &bad_expect;
    return NULL;
}

const struct refusal *http2_head_check(const h2o_req_t *req)
{
    const h2o_headers_t *headers = &req->headers;
    const struct refusal *refusal = check_line(req);
    size_t size = req->input.path.len + req->input.method.len;
    if (refusal)
        return refusal;
    if (headers->size > HEAD_HEADERS_MAX)
        return &too_many;
    for (size_t i = 0; i < headers->size; i++) {
        const h2o_header_t *header = &headers->entries[i];
        refusal = check_header(str_of_iovec(*header->name), str_of_iovec(header->value));
        if (refusal)
            return refusal;
        size += header->name->len + header->value.len + FIELD_OVERHEAD;
    }
    return size > HEAD_SIZE_MAX ? &too_large : NULL;
}

void http2_join_cookies(h2o_req_t *req)
{
    h2o_headers_t *headers = &req->headers;
    ssize_t first = h2o_find_header(headers, H2O_TOKEN_COOKIE, -1), next;
    size_t kept, size = 0;
    char *at;
    if (first < 0 || (next = h2o_find_header(headers, H2O_TOKEN_COOKIE, first)) < 0)
        return;
    for (ssize_t i = first; i >= 0; i = h2o_find_header(headers, H2O_TOKEN_COOKIE, i))
        size += headers->entries[i].value.len + 2;
    h2o_iovec_t *joined = &headers->entries[first].value;
    char *text = at = h2o_mem_alloc_pool(&req->pool, size);
    kept = (size_t)first + 1;
    for (size_t i = (size_t)first; i < headers->size; i++) {
        const h2o_header_t header = headers->entries[i];
        if (header.name != &H2O_TOKEN_COOKIE->buf) {
            headers->entries[kept++] = header;
            continue;
        }
        if (at != text)
            at = (char *)memcpy(at, "; ", 2) + 2;
        at = (char *)memcpy(at, header.value.base, header.value.len) + header.value.len;
    }
    *joined = h2o_iovec_init(text, (size_t)(at - text));
    headers->size = kept;
}
