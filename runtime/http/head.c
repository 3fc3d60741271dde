#include "http/head.h"

#include "http/chars.h"

#define REFUSAL(name, status, code, message) \
    static const struct refusal name = {status, code, message}
#define BAD_REQUEST(name, message) REFUSAL(name, 400, "BAD_REQUEST", message)

BAD_REQUEST(bad_byte, "control byte in the request head");
BAD_REQUEST(bad_line_end, "a line of the request head must end in CRLF");
BAD_REQUEST(bad_request_line, "malformed request line");
BAD_REQUEST(bad_method, "malformed method");
BAD_REQUEST(bad_target, "malformed request target");
BAD_REQUEST(bad_name, "malformed header name");
BAD_REQUEST(folded, "folded header lines are not accepted");
BAD_REQUEST(bad_length, "malformed Content-Length");
BAD_REQUEST(two_lengths, "more than one Content-Length");
BAD_REQUEST(bad_coding, "Transfer-Encoding must be exactly \"chunked\"");
BAD_REQUEST(old_coding, "Transfer-Encoding in HTTP/1.0");
BAD_REQUEST(two_framings, "Content-Length together with Transfer-Encoding");
BAD_REQUEST(bad_host, "malformed Host");
BAD_REQUEST(no_host, "missing Host");
BAD_REQUEST(two_hosts, "more than one Host");
BAD_REQUEST(other_host, "the request target names another host than Host does");
REFUSAL(bad_method_use, 405, "METHOD_NOT_ALLOWED", "TRACE and CONNECT are not served");
REFUSAL(bad_expect, 417, "EXPECTATION_FAILED", "only 100-continue can be expected");
REFUSAL(too_large, 431, "HEADERS_TOO_LARGE", "the request head is larger than 16 KiB");
REFUSAL(too_many, 431, "HEADERS_TOO_LARGE", "the request has more than 100 headers");
REFUSAL(bad_version, 505, "HTTP_VERSION_NOT_SUPPORTED", "only HTTP/1.0 and HTTP/1.1 are served");

static bool refuse(struct head *head, const struct refusal *refusal)
{
    head->refusal = refusal;
    return false;
}

static struct head_part part_of(const char *head_start, struct str s)
{
    return (struct head_part){(uint32_t)(s.at - head_start), (uint32_t)s.len};
}

static bool has_trailing_space(struct str s)
{
    return s.len > 0 && (s.at[s.len - 1] == ' ' || s.at[s.len - 1] == '\t');
}

/* --- the request line --- */

static bool scan_version(struct head *head, struct str version)
{
    if (version.len != 8 || !str_starts(version, STR("HTTP/")) || version.at[6] != '.' ||
        !(http_chars[(unsigned char)version.at[5]] & http_chars[(unsigned char)version.at[7]] &
          CHAR_DIGIT))
        return refuse(head, &bad_request_line);
    if (version.at[5] != '1' || version.at[7] > '1')
        return refuse(head, &bad_version);
    head->old_version = version.at[7] == '0';
    return true;
}

/* Origin form, or absolute form for http and https. */
static bool scan_target(struct head *head, struct str target)
{
    if (target.len == 0 || span(target.at, target.len, CHAR_TARGET) != target.len)
        return refuse(head, &bad_target);
    if (target.at[0] != '/' && !str_starts(target, STR("http://")) &&
        !str_starts(target, STR("https://")))
        return refuse(head, &bad_target);
    return true;
}

static bool scan_request_line(struct head *head, const char *start, struct str line)
{
    size_t method = span(line.at, line.len, CHAR_TOKEN);
    if (method == 0 || method == line.len || line.at[method] != ' ' || method > 32)
        return refuse(head, &bad_method);
    struct str rest = {line.at + method + 1, line.len - method - 1};
    const char *space = memchr(rest.at, ' ', rest.len);
    if (!space)
        return refuse(head, &bad_request_line);
    struct str target = {rest.at, (size_t)(space - rest.at)};
    struct str verb = {line.at, method};
    head->method = part_of(start, verb);
    head->target = part_of(start, target);
    if (!scan_version(head, (struct str){space + 1, rest.len - target.len - 1}))
        return false;
    if (str_equal(verb, STR("TRACE")) || str_equal(verb, STR("CONNECT")))
        return refuse(head, &bad_method_use);
    return scan_target(head, target);
}

/* --- headers --- */

static bool scan_length(struct head *head, const char *start, struct str value)
{
    (void)start;
    if (head->has_length)
        return refuse(head, &two_lengths);
    if (value.len == 0 || value.len > 18 || span(value.at, value.len, CHAR_DIGIT) != value.len)
        return refuse(head, &bad_length);
    for (size_t i = 0; i < value.len; i++)
        head->length = head->length * 10 + (uint64_t)(value.at[i] - '0');
    head->has_length = true;
    head->framing = HEAD_LENGTH;
    return true;
}

static bool scan_coding(struct head *head, const char *start, struct str value)
{
    (void)start;
    if (head->has_coding || !str_equal_nocase(value, STR("chunked")))
        return refuse(head, &bad_coding);
    head->has_coding = true;
    head->framing = HEAD_CHUNKED;
    return true;
}

bool head_host_valid(struct str host)
{
    size_t name = span(host.at, host.len, CHAR_HOST);
    if (host.len > 0 && host.at[0] == '[') {
        name = 1;
        while (name < host.len && (http_chars[(unsigned char)host.at[name]] & CHAR_HEX ||
                                   host.at[name] == ':' || host.at[name] == '.'))
            name++;
        if (name < 3 || name == host.len || host.at[name++] != ']')
            return false;
    }
    if (name == 0)
        return false;
    if (name == host.len)
        return true;
    size_t port = host.len - name - 1;
    return host.at[name] == ':' && port >= 1 && port <= 5 &&
           span(host.at + name + 1, port, CHAR_DIGIT) == port;
}

static bool scan_host(struct head *head, const char *start, struct str value)
{
    if (head->has_host)
        return refuse(head, &two_hosts);
    if (!head_host_valid(value))
        return refuse(head, &bad_host);
    head->has_host = true;
    head->host = part_of(start, value);
    return true;
}

static bool scan_expect(struct head *head, const char *start, struct str value)
{
    (void)start;
    return str_equal_nocase(value, STR("100-continue")) || refuse(head, &bad_expect);
}

static bool scan_id(struct head *head, const char *start, struct str value)
{
    while (has_trailing_space(value))
        value.len--;
    if (head->id.len == 0 && value.len >= 1 && value.len <= 128 &&
        span(value.at, value.len, CHAR_ID) == value.len)
        head->id = part_of(start, value);
    return true;
}

/* The headers that mean something here, by the length of their names: no two are the same. Those of
 * framing are read without trailing space, since h2o does not take it off: with some it is refused.
 */
static const struct {
    const char *name;
    bool (*scan)(struct head *head, const char *start, struct str value);
} known[] = {
    [4] = {"host", scan_host},
    [6] = {"expect", scan_expect},
    [12] = {"x-request-id", scan_id},
    [14] = {"content-length", scan_length},
    [17] = {"transfer-encoding", scan_coding},
};

static bool scan_known(struct head *head, const char *start, struct str name, struct str value)
{
    if (name.len >= sizeof(known) / sizeof(known[0]) || !known[name.len].name ||
        !str_same_nocase(known[name.len].name, name.at, name.len))
        return true;
    return known[name.len].scan(head, start, value);
}

static bool scan_header(struct head *head, const char *start, struct str line)
{
    if (line.at[0] == ' ' || line.at[0] == '\t')
        return refuse(head, &folded);
    size_t name = span(line.at, line.len, CHAR_TOKEN);
    if (name == 0 || name == line.len || line.at[name] != ':')
        return refuse(head, &bad_name);
    if (++head->headers > HEAD_HEADERS_MAX)
        return refuse(head, &too_many);
    struct str value = {line.at + name + 1, line.len - name - 1};
    while (value.len > 0 && (value.at[0] == ' ' || value.at[0] == '\t'))
        value.at++, value.len--;
    return scan_known(head, start, (struct str){line.at, name}, value);
}

/* --- the whole --- */

/* An absolute target counts only if Host says the same. */
static bool check_authority(struct head *head, const char *start)
{
    struct str target = {start + head->target.at, head->target.len};
    if (target.at[0] == '/')
        return true;
    const char *from = (const char *)memchr(target.at, ':', target.len) + 3;
    const char *end = target.at + target.len, *at = from;
    while (at < end && *at != '/' && *at != '?')
        at++;
    struct str host = {start + head->host.at, head->host.len};
    return str_equal_nocase((struct str){from, (size_t)(at - from)}, host) ||
           refuse(head, &other_host);
}

static bool check_whole(struct head *head, const char *start)
{
    if (!head->has_host && !head->old_version)
        return refuse(head, &no_host);
    if (head->has_length && head->has_coding)
        return refuse(head, &two_framings);
    if (head->has_coding && head->old_version)
        return refuse(head, &old_coding);
    return check_authority(head, start);
}

/* One line without its CRLF. Sets head->end at the empty one. */
static bool scan_line(struct head *head, const char *start, struct str line)
{
    if (line.len == 0 && head->method.len > 0) {
        head->end = head->next;
        return check_whole(head, start);
    }
    if (line.len == 0) { /* some clients send one empty line after a body; h2o skips one */
        bool first = !head->begun;
        head->begun = true;
        return first || refuse(head, &bad_request_line);
    }
    head->begun = true;
    return head->method.len > 0 ? scan_header(head, start, line)
                                : scan_request_line(head, start, line);
}

/* Moves head->next behind the line's CRLF. SCAN_MORE when the line is not complete yet. */
static enum scan_result find_line_end(struct head *head, const char *at, uint32_t len)
{
    for (;;) {
        head->next += (uint32_t)span_text(at + head->next, len - head->next);
        if (head->next == len)
            return SCAN_MORE;
        char c = at[head->next];
        if (c == '\t' && head->method.len > 0) {
            head->next++;
            continue;
        }
        if (c != '\r') {
            head->refusal = c == '\n' ? &bad_line_end : &bad_byte;
            return SCAN_REFUSED;
        }
        if (head->next + 1 == len)
            return SCAN_MORE;
        if (at[head->next + 1] != '\n') {
            head->refusal = &bad_line_end;
            return SCAN_REFUSED;
        }
        head->next += 2;
        return SCAN_DONE;
    }
}

enum scan_result head_scan(struct head *head, const char *at, size_t len)
{
    uint32_t seen = len <= HEAD_SIZE_MAX ? (uint32_t)len : HEAD_SIZE_MAX;
    for (;;) {
        enum scan_result found = find_line_end(head, at, seen);
        if (found == SCAN_MORE && len > HEAD_SIZE_MAX) {
            head->refusal = &too_large;
            return SCAN_REFUSED;
        }
        if (found != SCAN_DONE)
            return found;
        struct str line = {at + head->line, head->next - 2 - head->line};
        head->line = head->next;
        if (!scan_line(head, at, line))
            return SCAN_REFUSED;
        if (head->end)
            return SCAN_DONE;
    }
}
